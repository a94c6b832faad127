"""restore FOLDER REGION TENANT ID [--server]: restores a backup as a tenant, from one region alone, with Trove's own code.

The backup's location and checksum are those of its row in that region's Trove, as its API would hand them to a guest. Trove's
`stream_restore_from_storage`, its restore classes and its `SwiftStorage` then read the chain: they follow Parent-Location,
and check Parent-Checksum. Every location must be one of that region and tenant: Trove itself would not notice.

Prints a line of JSON for each link, the full backup first: location, bytes, sha256 of the object. With `--server` the
chain is one of mariadb-backup's; it is restored with it, a server is started on the result, and the last line has
its `rows`. Without, the bytes are only unpacked by gzip, and what would prepare them is left out."""
import argparse
import hashlib
import json
import os
import sys
import types

import pymysql
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
        raise Failed('%s has no backup %s in %s' % (tenant, id, region))
    if row['state'] not in ('COMPLETED', 'RESTORED') or row['storage_driver'] != 'swift':
        raise Failed('%s is %s in %s' % (id, row['state'], row['storage_driver']))
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


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    for name in ('folder', 'region', 'tenant', 'id'):
        parser.add_argument(name)
    parser.add_argument('--server', action='store_true')
    asked = parser.parse_args()
    lab = trovecode.lab_of(asked.folder)
    row = registered(lab, asked.region, asked.tenant, asked.id)
    code, links, failures = trovecode.load(), [], []
    account = trovecode.account_url(lab, asked.region, asked.tenant)
    storage = watched(trovecode.storage(code, lab, asked.region, asked.tenant), account, links)
    code.CONF.set_override('restore_from', row['location'])
    code.CONF.set_override('restore_checksum', row['checksum'])
    incremental = storage.is_incremental_backup(row['location'])
    if incremental != (row['parent_id'] is not None):
        raise Failed('%s: Parent-Location of the object and parent_id of the row do not agree' % asked.id)
    with mariadb.Server() as server:
        os.mkdir(server.folder + '/data')
        os.mkdir(server.folder + '/links')
        unpack_incrementals_in(server.folder + '/links')
        base = for_server(incremental, server) if asked.server else hash_only(incremental, server.folder)
        code.stream_restore_from_storage(remembering(base, failures), storage)
        if failures:
            raise Failed('%s: %s' % (asked.id, failures[0] or 'the command that takes the bytes has failed'))
        for link in links:
            print(json.dumps(link))
        if asked.server:
            server.start('--skip-grant-tables')
            print(json.dumps({'rows': server.rows()}))


if __name__ == '__main__':
    try:
        main()
    except (Failed, ClientException) as error:
        sys.exit('restore: %s' % error)
