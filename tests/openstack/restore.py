"""restore FOLDER REGION TENANT ID... [--server]: restores backups as a tenant, from one region alone, with Trove's own code.

A backup's location and checksum are those of its row in that region's Trove, as its API would hand them to a guest. Trove's
`stream_restore_from_storage`, its restore classes and its `SwiftStorage` then read the chain: they follow Parent-Location,
and check Parent-Checksum. Every location must be one of that region and tenant: Trove itself would not notice.

Prints a line of JSON for each backup: its id, and `links`, the full backup first, each with location, checksum, bytes and
sha256 of the object; or `why` it cannot be restored, and the exit code is 1. With `--server` the chains are
mariadb-backup's; they are restored with it, a server is started on the result, and the line has its `rows`. Without, the
bytes are only unpacked by gzip, and what would prepare them is left out."""
import argparse
import hashlib
import json
import os
import sys
import types

import pymysql
import requests
from swiftclient.exceptions import ClientException

import mariadb
import trovecode
from services import Failed


def registered(lab, region, tenant, id):
    """The row, as Trove's API finds it for the tenant."""
    where = lab['regions'][region]['database']
    db = pymysql.connect(host=where['host'], port=where['port'], user=where['owner']['user'],
                         password=where['owner']['password'], database=where['name'])
    with db.cursor(pymysql.cursors.DictCursor) as cursor:
        cursor.execute('SELECT b.*, d.name AS datastore FROM backups b '
                       'LEFT JOIN datastore_versions v ON v.id = b.datastore_version_id '
                       'LEFT JOIN datastores d ON d.id = v.datastore_id '
                       'WHERE b.id = %s AND b.tenant_id = %s AND b.deleted = 0', (id, lab['projects'][tenant]))
        row = cursor.fetchone()
    if not row:
        raise Failed('%s has no such backup in %s' % (tenant, region))
    if row['state'] not in ('COMPLETED', 'RESTORED') or row['storage_driver'] != 'swift':
        raise Failed('it is %s in %s' % (row['state'], row['storage_driver']))
    return row


def watched(storage, account, links):
    """The storage, each link hashed on its way and held to the region's and the tenant's own account."""
    load, load_metadata, is_incremental = storage.load, storage.load_metadata, storage.is_incremental_backup

    def own(location):
        if not location.startswith(account + '/'):
            raise Failed('%s is not below %s' % (location, account))
        return location

    def hashing(location, checksum):
        sha256, count = hashlib.sha256(), 0
        for chunk in load(own(location), checksum):
            sha256.update(chunk)
            count += len(chunk)
            yield chunk
        links.append({'location': location, 'checksum': checksum, 'bytes': count, 'sha256': sha256.hexdigest()})

    storage.load = hashing
    storage.load_metadata = lambda location, checksum: load_metadata(own(location), checksum)
    storage.is_incremental_backup = lambda location: is_incremental(own(location))
    return storage


def remembering(base, failures):
    """Trove logs what goes wrong, and ends as if all were well."""
    class Remembering(base):
        def restore(self):
            try:
                return super().restore()
            except BaseException as error:
                failures.append(error)
                raise
    return Remembering


def hash_only(incremental, folder):
    """Trove's class with commands that take the bytes and make nothing of them."""
    from backup.drivers import xtrabackup

    class HashOnly(xtrabackup.XtraBackupIncremental if incremental else xtrabackup.XtraBackup):
        cmd = prepare_cmd = ''
        restore_cmd = 'dd of=/dev/null status=none'
        incremental_prep = 'true'
        encrypt_key = 'a key'

        def __init__(self, **values):
            super().__init__(db_datadir=folder, **values)

        def post_restore(self):
            """Nothing was unpacked that could be prepared."""
    return HashOnly


def for_server(incremental, server):
    """Trove's class for MariaDB, its options file ours."""
    from backup.drivers import mariabackup
    base = mariabackup.MariaBackupIncremental if incremental else mariabackup.MariaBackup

    class ForServer(base):
        cmd = ''
        prepare_cmd = base.prepare_cmd.replace(mariabackup.DEFAULTS_FILE, server.options)
        incremental_prep = getattr(base, 'incremental_prep', '').replace(mariabackup.DEFAULTS_FILE, server.options)

        def __init__(self, **values):
            super().__init__(db_datadir=server.folder + '/data', **values)
    return ForServer


def unpack_incrementals_in(folder):
    """Trove's container unpacks them in /var/lib/mysql, which may be somebody's here."""
    from backup.drivers import mysql_base

    def join(first, *others):
        return os.path.join(folder if first == '/var/lib/mysql' else first, *others)
    mysql_base.os = types.SimpleNamespace(path=types.SimpleNamespace(join=join), makedirs=os.makedirs)


class Restorer:
    def __init__(self, asked):
        self.lab, self.region, self.tenant = trovecode.lab_of(asked.folder), asked.region, asked.tenant
        self.in_server, self.code, self.links, self.failures = asked.server, trovecode.load(), [], []
        account = trovecode.account_url(self.lab, self.region, self.tenant)
        self.storage = watched(trovecode.storage(self.code, self.lab, self.region, self.tenant), account, self.links)

    def restore(self, id):
        self.links.clear()
        self.failures.clear()
        row = registered(self.lab, self.region, self.tenant, id)
        self.code.CONF.set_override('restore_from', row['location'])
        self.code.CONF.set_override('restore_checksum', row['checksum'])
        incremental = self.storage.is_incremental_backup(row['location'])
        if incremental != (row['parent_id'] is not None):
            raise Failed('Parent-Location of the object and parent_id of the row do not agree')
        with mariadb.Server() as server:
            os.mkdir(server.folder + '/data')
            os.mkdir(server.folder + '/links')
            unpack_incrementals_in(server.folder + '/links')
            base = for_server(incremental, server) if self.in_server else hash_only(incremental, server.folder)
            self.code.stream_restore_from_storage(remembering(base, self.failures), self.storage)
            if self.failures:
                raise Failed(str(self.failures[0]) or 'the command that takes the bytes has failed')
            told = {'id': id, 'links': list(self.links)}
            if self.in_server:
                server.start('--skip-grant-tables')
                told['rows'] = server.rows()
            return told


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    for name in ('folder', 'region', 'tenant'):
        parser.add_argument(name)
    parser.add_argument('ids', nargs='+', metavar='ID')
    parser.add_argument('--server', action='store_true')
    asked = parser.parse_args()
    restorer, code = Restorer(asked), 0
    for id in asked.ids:
        try:
            told = restorer.restore(id)
        except (Failed, ClientException, requests.RequestException) as error:
            told, code = {'id': id, 'why': str(error)}, 1
        print(json.dumps(told), flush=True)
    return code


if __name__ == '__main__':
    sys.exit(main())
