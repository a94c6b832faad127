"""ask FOLDER REGION USER PROJECT PATH: GETs PATH (`/backups`) of a project from a region's Trove API with a user's token, and
prints one line of JSON: status and body."""
import json
import sys

import requests

import trovecode


def main(folder, region, user, project, path):
    lab = trovecode.lab_of(folder)
    token, _ = trovecode.token(lab['auth_url'], user, user if user in lab['projects'] else project)
    url = '%s/v1.0/%s%s' % (lab['regions'][region]['trove'], lab['projects'][project], path)
    answer = requests.get(url, headers={'X-Auth-Token': token}, timeout=60)
    try:
        body = answer.json()
    except ValueError:
        body = answer.text
    print(json.dumps({'status': answer.status_code, 'body': body}))


if __name__ == '__main__':
    main(*sys.argv[1:])
