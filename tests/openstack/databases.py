"""MariaDB's data as every lab begins with it: Keystone's and both Troves' schemas, with users, projects and datastores.

It takes half a minute to make, so it is made once for each set of versions, beside the installed programs, and copied."""
import fcntl
import getpass
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import uuid

import pymysql

import configuration
import identities
from configuration import HERE, PROGRAMS, REGIONS, Ports, database, program
from services import Failed, Services, answers, free_ports

KEYSTONE_MANAGE = program('keystone-manage')

# Least grants: what the source's catalog reads, and what the target's reads and writes. No row of a backup is ever
# changed or removed by them.
GRANTS = {
    'source': {'SELECT': ('backups', 'datastores', 'datastore_versions')},
    'target': {'SELECT': ('backups', 'datastores', 'datastore_versions', 'quotas', 'quota_usages'),
               'INSERT': ('backups', 'quota_usages'), 'UPDATE': ('quota_usages',)},
}

# Datastore, version's name and number. One of region-one's is missing in region-two, which has another.
DATASTORES = {
    'region-one': (('mysql', '8.0', '8.0.36'), ('mysql', '5.7.29', '5.7.29'), ('mysql', '5.6.51', '5.6.51'),
                   ('mariadb', '10.11', '10.11')),
    'region-two': (('mysql', '8.0', '8.0.36'), ('mysql', '5.7.29', '5.7.29'), ('mysql', '5.7.44', '5.7.44'),
                   ('mariadb', '10.11', '10.11')),
}


def connect(port, name=None, user='root'):
    return pymysql.connect(host='127.0.0.1', port=port, user=user, password=user + '-db-pw', database=name,
                           autocommit=True)


def start(services, folder, port, init=None):
    """Relative to its data, so that the path of the folder may be as long as it likes. What is committed outlives the process,
    which may be killed, but not the machine."""
    command = ['mariadbd', '--no-defaults', '--user=' + getpass.getuser(), '--datadir=' + folder + '/mariadb',
               '--tmpdir=' + folder + '/run', '--bind-address=127.0.0.1', '--port=%d' % port, '--socket=socket',
               '--pid-file=' + folder + '/run/mariadbd.own', '--character-set-server=utf8mb4', '--skip-name-resolve',
               '--innodb-log-file-size=16M', '--innodb-buffer-pool-size=64M', '--innodb-flush-log-at-trx-commit=2',
               '--max-connections=300']
    if init:
        command.append('--init-file=' + init)
    services.start('mariadb', command)
    services.wait('mariadb', lets_in(port))


def lets_in(port):
    """It listens before it has run its first file."""
    def asked():
        try:
            connect(port).close()
        except pymysql.err.OperationalError:
            return False
        return True
    return asked


def template():
    """The folder to copy from, made when it is not there."""
    digest = hashlib.sha256(subprocess.run(['mariadbd', '--version'], check=True, stdout=subprocess.PIPE).stdout)
    for name in ('constraints.txt', 'databases.py', 'identities.py'):
        with open(os.path.join(HERE, name), 'rb') as file:
            digest.update(file.read())
    home = os.path.dirname(PROGRAMS)
    made = os.path.join(home, 'openstack-databases-' + digest.hexdigest()[:12])
    with open(os.path.join(home, '.openstack-databases.lock'), 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.isdir(made):
            with tempfile.TemporaryDirectory(prefix='.filling-', dir=home) as folder:
                _make(folder)
                os.rename(os.path.join(folder, 'made'), made)
    return made


def _make(folder):
    for name in ('run', 'log', 'made'):
        os.mkdir(os.path.join(folder, name))
    services = Services(folder)
    numbers, held = free_ports()
    ports = Ports(numbers)
    try:
        _install(folder)
        init = folder + '/init.sql'
        configuration.write(init, "DELETE FROM mysql.global_priv WHERE User = '';\nFLUSH PRIVILEGES;\n"
                            "ALTER USER 'root'@'127.0.0.1' IDENTIFIED BY 'root-db-pw';\n")
        start(services, folder, ports.mariadb, init)
        db = connect(ports.mariadb)
        _make_schemas(db, folder, ports)
        made = _make_identities(services, folder, ports)
        _grant(db)
        services.end(['keystone'])
        with open(folder + '/made/identities.json', 'w') as file:
            json.dump(made, file)
        with db.cursor() as cursor:
            cursor.execute('SHUTDOWN')
        services.wait_for_end('mariadb')
        os.rename(folder + '/keystone/fernet-keys', folder + '/made/fernet-keys')
        os.rename(folder + '/mariadb', folder + '/made/mariadb')
    finally:
        services.end(services.names())
        held.close()


def _install(folder):
    done = subprocess.run(
        ['mariadb-install-db', '--no-defaults', '--user=' + getpass.getuser(), '--datadir=' + folder + '/mariadb',
         '--tmpdir=' + folder + '/run', '--auth-root-authentication-method=normal', '--skip-test-db',
         '--innodb-log-file-size=16M'],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise Failed('mariadb-install-db: ' + done.stdout[-2000:])


def _make_schemas(db, folder, ports):
    with db.cursor() as cursor:
        for name, characters in [('keystone', 'utf8mb4')] + [(database(region), 'utf8mb3') for region in REGIONS]:
            user = 'keystone' if name == 'keystone' else 'trove'
            cursor.execute(f'CREATE DATABASE {name} CHARACTER SET {characters}')
            cursor.execute(f"CREATE USER IF NOT EXISTS '{user}'@'127.0.0.1' IDENTIFIED BY '{user}-db-pw'")
            cursor.execute(f"GRANT ALL ON {name}.* TO '{user}'@'127.0.0.1'")
    running = []
    for region in REGIONS:
        configuration.trove(folder, ports, region)
        log = open(f'{folder}/log/setup-{region}.log', 'wb')
        running.append((log, subprocess.Popen(
            [sys.executable, '-W', 'ignore', os.path.abspath(__file__), f'{folder}/trove/{region}/trove.conf', region],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log)))
    for log, child in running:
        if child.wait():
            with open(log.name, errors='replace') as file:
                raise Failed('the schema of Trove was not made: ' + file.read()[-2000:])


def _make_identities(services, folder, ports):
    configuration.keystone(folder, ports)
    options = ['--config-file', folder + '/keystone/keystone.conf']
    owner = ['--keystone-user', str(os.getuid()), '--keystone-group', str(os.getgid())]
    for command in (['db_sync'], ['fernet_setup', *owner],
                    ['bootstrap', '--bootstrap-password', 'admin-pw']):
        done = subprocess.run(KEYSTONE_MANAGE + options + command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True)
        if done.returncode:
            raise Failed('keystone-manage %s: %s' % (command[0], done.stdout[-2000:]))
    start_keystone(services, folder)
    services.wait('keystone', answers(ports.keystone_url))
    return identities.fill(ports.keystone_url, REGIONS)


def start_keystone(services, folder):
    services.start('keystone', program('gunicorn'), {
        'OS_KEYSTONE_CONFIG_FILES': folder + '/keystone/keystone.conf',
        'GUNICORN_CMD_ARGS': '-c %s/keystone/gunicorn.conf.py' % folder}, folder)


def _grant(db):
    with db.cursor() as cursor:
        for user, grants in GRANTS.items():
            cursor.execute(f"CREATE USER '{user}'@'127.0.0.1' IDENTIFIED BY '{user}-db-pw'")
            for region in REGIONS:
                for right, tables in grants.items():
                    for table in tables:
                        cursor.execute(f"GRANT {right} ON {database(region)}.{table} TO '{user}'@'127.0.0.1'")


def _make_trove(conf, region):
    """A process of its own: what `trove-manage` does in one import of Trove for each step."""
    from trove.cmd import manage
    from trove.common import cfg
    from trove.db import get_db_api
    cfg.parse_args(['trove-manage', '--config-file', conf])
    db_api = get_db_api()
    db_api.db_sync(cfg.CONF)
    db_api.configure_db()
    commands = manage.Commands.__new__(manage.Commands)
    commands.db_api = db_api
    for datastore in sorted({known[0] for known in DATASTORES[region]}):
        commands.datastore_update(datastore, '')
        versions = [known for known in DATASTORES[region] if known[0] == datastore]
        for _, name, number in versions:
            commands.datastore_version_update(datastore, name, datastore, str(uuid.uuid4()), '', 1, None, None,
                                              version=number)
        commands.datastore_update(datastore, versions[0][1])


def copy(folder, ports):
    """The template's data for one lab, which then gets its addresses by `set_addresses`."""
    made = template()
    # `cp` shares the blocks where the file system can.
    subprocess.run(['cp', '-a', '--reflink=auto', made + '/mariadb', folder + '/mariadb'], check=True)
    shutil.copytree(made + '/fernet-keys', folder + '/keystone/fernet-keys')
    with open(made + '/identities.json') as file:
        return json.load(file)


def set_addresses(ports):
    db = connect(ports.mariadb, 'keystone')
    addresses = {'keystone.invalid': '127.0.0.1:%d' % ports.keystone}
    for region in REGIONS:
        addresses['swift.%s.invalid' % region] = '127.0.0.1:%d' % ports.of[region]['proxy']
        addresses['trove.%s.invalid' % region] = '127.0.0.1:%d' % ports.of[region]['trove']
    with db.cursor() as cursor:
        for name, address in addresses.items():
            cursor.execute('UPDATE endpoint SET url = REPLACE(url, %s, %s)', (name, address))
    db.close()


def datastore_versions(ports, region):
    with connect(ports.mariadb, database(region)).cursor(pymysql.cursors.DictCursor) as cursor:
        cursor.execute('SELECT d.name AS datastore, v.name, v.version, v.id FROM datastore_versions v '
                       'JOIN datastores d ON d.id = v.datastore_id ORDER BY 1, 2')
        return list(cursor.fetchall())


if __name__ == '__main__':
    _make_trove(*sys.argv[1:])
