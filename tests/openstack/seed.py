"""seed FOLDER [--region REGION] TENANT/WHAT...: makes backups of tenants with Trove's own storage code, and their rows.

WHAT is `standard` (good ones, chains, and one of every defect), `small` (five good ones), `many:COUNT` small ones,
`large:SEGMENTS` (one SLO), or `mariadb`, a chain of three that the real mariadb-backup makes of a server which is
started for it. All bytes pass through Trove's `stream_backup_to_storage`, its runner's classes and its `SwiftStorage.save`;
only segments are of 1 MiB instead of 2 GiB, and except for `mariadb` the bytes are pseudo-random ones (gzip, as Trove's are).

FOLDER/seed.json then tells all backups of all runs: `backups` by id, `latest` has ids by `TENANT/NAME`."""
import argparse
import datetime
import fcntl
import io
import json
import os
import random
import subprocess
import sys
import uuid
import zlib

import contents
import mariadb
import trovecode
from configuration import HERE
from services import Failed


def gzipped(seed, size):
    """A gzip file of exactly so many bytes, always the same."""
    noise, length = random.Random(seed), size
    data = noise.randbytes(length)
    while True:
        packer = zlib.compressobj(0, zlib.DEFLATED, 31)
        packed = packer.compress(data[:length]) + packer.flush()
        if len(packed) == size:
            return packed
        length -= len(packed) - size


class Seeder:
    def __init__(self, folder, region):
        self.folder, self.region, self.lab = folder, region, trovecode.lab_of(folder)
        self.main = trovecode.load()
        self.versions = {(known['datastore'], known['name']): known['id']
                         for known in self.lab['regions'][region]['datastore_versions']}
        self.rows, self.made, self.latest, self.saved = [], {}, {}, None
        self.work = os.path.join(folder, 'seed')
        os.makedirs(self.work, exist_ok=True)
        self._make_segments_small()

    def _make_segments_small(self):
        from backup.storage import swift
        real = swift.StreamReader.__init__

        def small(reader, stream, container, filename, max_file_size):
            assert max_file_size == 2 * 1024 ** 3
            real(reader, stream, container, filename, contents.SEGMENT)
        swift.StreamReader.__init__ = small

    def tenant(self, tenant, backups, runner):
        """`runner(backup, id, parent)` gives the class of Trove's runner that reads the backup's bytes."""
        storage = trovecode.storage(self.main, self.lab, self.region, tenant)
        real = storage.save

        def save(stream, **values):
            self.saved = (stream, real(stream, **values))
            return self.saved[1]
        storage.save = save
        self.bytes_of, made = tenant, {}
        now = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0, tzinfo=None)
        for number, backup in enumerate(backups):
            id = str(uuid.uuid4())
            parent = made.get(backup.parent)
            values = self._row(tenant, backup, id, parent, now - datetime.timedelta(minutes=len(backups) - number))
            told = {name: values[name] for name in ('id', 'name', 'parent_id', 'instance_id', 'size', 'created')}
            told.update(tenant=tenant, region=self.region, container=backup.container, datastore=backup.datastore,
                        datastore_version=backup.version, expect=backup.expect)
            if values['state'] == 'COMPLETED' and values['storage_driver'] == 'swift':
                self._upload(storage, backup, id, parent, runner, values, told)
            self.rows.append(values)
            made[backup.name] = self.made[id] = told
            self.latest['%s/%s' % (tenant, backup.name)] = id
        return storage

    def _row(self, tenant, backup, id, parent, created):
        cinder = backup.expect == 'cinder-snapshot'
        return {
            'id': id, 'name': backup.name, 'description': 'seeded %s \u00e9' % backup.name,
            'tenant_id': self.lab['projects'][tenant],
            'instance_id': str(uuid.uuid5(uuid.UUID(self.lab['projects'][tenant]), backup.instance)),
            'state': 'FAILED' if backup.expect == 'state-failed' else 'COMPLETED',
            'backup_type': 'incremental' if parent else 'full',
            'location': 'cinder://%s' % uuid.uuid4() if cinder else None,
            'storage_driver': 'cinder' if cinder else 'swift',
            'checksum': None, 'size': round(0.1 + backup.size / 1e8, 2),
            'deleted': backup.expect == 'row-deleted', 'parent_id': parent['id'] if parent else None,
            'datastore_version_id': self.versions[backup.datastore, backup.version], 'created': created.isoformat(),
        }

    def _upload(self, storage, backup, id, parent, runner, values, told):
        main = self.main
        for name in ('incremental', 'parent_location', 'parent_checksum'):
            main.CONF.clear_override(name)
        if parent:
            main.CONF.set_override('incremental', True)
            main.CONF.set_override('parent_location', parent['location'])
            main.CONF.set_override('parent_checksum', parent['checksum'])
        main.CONF.set_override('backup_id', id)
        main.CONF.set_override('swift_container', backup.container)
        main.CONF.set_override('swift_extra_metadata',
                               {'datastore': backup.datastore, 'datastore_version': backup.version})
        self.saved = None
        main.stream_backup_to_storage(runner(backup, id, parent), storage)  # it logs what failed, and returns
        if self.saved is None:
            raise Failed('%s was not stored; Trove says why above' % backup.name)
        stream, (checksum, location) = self.saved
        name = location.rpartition('/')[2]
        head = storage.client.head_object(backup.container, name)
        told.update(location=location, checksum=checksum, object=name, sha256=stream.sha256.hexdigest(),
                    bytes=stream.count, lsn=head['x-object-meta-lsn'],
                    slo=head.get('x-static-large-object', '').lower() == 'true')
        values.update(location=location, checksum=checksum)
        if backup.expect == 'checksum-mismatch':
            values['checksum'] = '0' * 32
        elif backup.expect == 'segment-missing':
            storage.client.delete_object(backup.container, '%s_%08d' % (id, 1))

    def take_away(self, storage, tenant):
        """At the end: an incremental was to find its parent."""
        for name in {told['id'] for told in self.made.values()
                     if told['tenant'] == tenant and told['expect'] == 'object-missing'}:
            storage.client.delete_object(self.made[name]['container'], self.made[name]['object'])

    def lay_beside(self, storage):
        for container, name, data in contents.FOREIGN:
            storage.client.put_container(container)
            storage.client.put_object(container, name, data)

    def random_runner(self, backup, id, parent):
        from backup.drivers import mariabackup, xtrabackup
        base = {('mysql', False): xtrabackup.XtraBackup, ('mysql', True): xtrabackup.XtraBackupIncremental,
                ('mariadb', False): mariabackup.MariaBackup, ('mariadb', True): mariabackup.MariaBackupIncremental,
                }[backup.datastore, parent is not None]
        lsn = (int(parent['lsn']) if parent else 1_000_000) + backup.size // 1000
        return stand_in(base, os.path.join(self.work, id + '.log'), gzipped('%s %s' % (self.bytes_of, backup.name), backup.size), lsn,
                        backup.encrypted)

    def keep(self):
        """Adds to what was told before; two may seed at once."""
        path = os.path.join(self.folder, 'seed.json')
        with open(path + '.lock', 'w') as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            told = {'backups': {}, 'latest': {}}
            if os.path.exists(path):
                with open(path) as file:
                    told = json.load(file)
            told['backups'].update(self.made)
            told['latest'].update(self.latest)
            with open(path + '.new', 'w') as file:
                json.dump(told, file, indent=1)
            os.rename(path + '.new', path)


def stand_in(base, log, data, lsn, encrypted):
    """A runner whose command is replaced by bytes."""
    class StandIn(trovecode.counted(base, log)):
        cmd = ''
        encrypt_key = 'a key' if encrypted else None

        def _run(self):
            self.data = io.BytesIO(data)
            with open(self.backup_log, 'w') as file:
                file.write("xtrabackup: The latest check point (for incremental): '%d'\ncompleted OK!\n" % lsn)

        def read_chunk(self, size):
            return self.data.read(size)
    return StandIn


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('folder')
    parser.add_argument('--region', default='region-one')
    parser.add_argument('what', nargs='+', metavar='TENANT/WHAT')
    asked = parser.parse_args()
    conf = os.path.join(asked.folder, 'trove', asked.region, 'trove.conf')
    # It imports Trove meanwhile.
    rows = subprocess.Popen([sys.executable, '-W', 'ignore', os.path.join(HERE, 'rows.py'), conf],
                            stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    seeder = Seeder(asked.folder, asked.region)
    for what in asked.what:
        tenant, _, what = what.partition('/')
        what, _, count = what.partition(':')
        if what == 'mariadb':
            with mariadb.Shop() as shop:
                seeder.tenant(tenant, mariadb.CHAIN, shop.runner)
                for id, content in shop.rows_of.items():
                    seeder.made[id]['rows'] = content
            continue
        storage = seeder.tenant(tenant, contents.wanted(what, int(count or 0)), seeder.random_runner)
        if what == 'standard':
            seeder.take_away(storage, tenant)
            seeder.lay_beside(storage)
    _, errors = rows.communicate(json.dumps(seeder.rows))
    if rows.returncode:
        raise Failed('the rows were not written: ' + errors[-2000:])
    seeder.keep()


if __name__ == '__main__':
    try:
        main()
    except Failed as error:
        sys.exit('seed: %s' % error)
