"""The services of one lab, their ports and their configuration files."""
import getpass
import os
import subprocess

from swiftserver import TEMPLATE

PROGRAMS = os.environ['BACKHAUL_OPENSTACK_PROGRAMS']
HERE = os.path.dirname(os.path.abspath(__file__))
REGIONS = ('region-one', 'region-two')
SWIFT = ('account', 'container', 'object', 'proxy')


def setting(name, default):
    return int(os.environ.get('BACKHAUL_OPENSTACK_' + name, default))


def program(name):
    """A program of the virtual environment, which may have been moved since its first line was written."""
    return [os.path.join(PROGRAMS, 'venv/bin/python3'), '-W', 'ignore', os.path.join(PROGRAMS, 'venv/bin', name)]


def database(region):
    return 'trove_' + region.replace('-', '_')


class Ports:
    def __init__(self, ports):
        ports = iter(ports)
        self.mariadb, self.keystone = next(ports), next(ports)
        self.of = {region: {name: next(ports) for name in SWIFT + ('memcached', 'trove')} for region in REGIONS}

    def url(self, region, name):
        return 'http://127.0.0.1:%d' % self.of[region][name]

    @property
    def keystone_url(self):
        return 'http://127.0.0.1:%d/v3' % self.keystone

    def database_url(self, user, name, driver='mysql'):
        return '%s://%s:%s-db-pw@127.0.0.1:%d/%s' % (driver, user, user, self.mariadb, name)


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'w') as file:
        file.write(text)


def keystone(folder, ports):
    """Writes Keystone's files; its keys are the template's."""
    write(folder + '/keystone/keystone.conf', f'''
[DEFAULT]
public_endpoint = http://127.0.0.1:{ports.keystone}
use_stderr = true
[database]
connection = {ports.database_url('keystone', 'keystone', 'mysql+pymysql')}?charset=utf8mb4
[token]
provider = fernet
expiration = {setting('TOKEN_SECONDS', 86400)}
[fernet_tokens]
key_repository = {folder}/keystone/fernet-keys
[fernet_receipts]
key_repository = {folder}/keystone/fernet-keys
[identity]
password_hash_rounds = 4
[cache]
enabled = true
backend = dogpile.cache.memory
''')
    # Keystone reads the command line itself, so gunicorn's options are in a file.
    write(folder + '/keystone/gunicorn.conf.py', f'''
wsgi_app = 'keystone.wsgi.api:application'
bind = '127.0.0.1:{ports.keystone}'
workers = 1
threads = 8
timeout = 300
control_socket_disable = True
''')


def service_user(ports, name):
    return f'''www_authenticate_uri = http://127.0.0.1:{ports.keystone}
auth_url = http://127.0.0.1:{ports.keystone}
auth_type = password
project_domain_id = default
user_domain_id = default
project_name = service
username = {name}
password = {name}-pw
service_token_roles_required = true'''


def swift(folder, ports, region):
    """Writes the files of a region's Swift, its rings too."""
    home = f'{folder}/swift/{region}'
    os.makedirs(home + '/devices/disk')
    os.makedirs(home + '/cache')
    write(home + '/swift.conf', f'''
[swift-hash]
swift_hash_path_prefix = {region}
swift_hash_path_suffix = {region}
[storage-policy:0]
name = Policy-0
default = yes
''')
    memcached = '127.0.0.1:%d' % ports.of[region]['memcached']
    common = f'''
[DEFAULT]
bind_ip = 127.0.0.1
swift_dir = {home}
devices = {home}/devices
mount_check = false
disable_fallocate = true
fallocate_reserve = 0
user = {getpass.getuser()}
workers = 0
log_level = INFO
'''
    write(home + '/internal-client.conf', f'''
[DEFAULT]
swift_dir = {home}
[pipeline:main]
pipeline = catch_errors cache proxy-server
[app:proxy-server]
use = egg:swift#proxy
[filter:cache]
use = egg:swift#memcache
memcache_servers = {memcached}
[filter:catch_errors]
use = egg:swift#catch_errors
''')
    for kind in ('account', 'container', 'object'):
        port = ports.of[region][kind]
        write(f'{home}/{kind}-server.conf', common + f'''bind_port = {port}
[pipeline:main]
pipeline = {kind}-server
[app:{kind}-server]
use = egg:swift#{kind}
recon_cache_path = {home}/cache
''')
    # There is one disk only: by default the proxy would leave it alone for a minute after one 507.
    write(f'{home}/proxy-server.conf', common + f'''bind_port = {ports.of[region]['proxy']}
[pipeline:main]
pipeline = catch_errors gatekeeper healthcheck proxy-logging cache listing_formats bulk ratelimit authtoken keystoneauth tempauth copy container-quotas account-quotas slo dlo versioned_writes symlink proxy-logging proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
allow_account_management = true
error_suppression_interval = 0.2
[filter:proxy-logging]
use = egg:swift#proxy_logging
log_msg_template = {TEMPLATE}
[filter:cache]
use = egg:swift#memcache
memcache_servers = {memcached}
[filter:authtoken]
paste.filter_factory = keystonemiddleware.auth_token:filter_factory
{service_user(ports, 'swift')}
delay_auth_decision = true
cache = swift.cache
include_service_catalog = false
[filter:keystoneauth]
use = egg:swift#keystoneauth
operator_roles = admin, swiftoperator, member
reseller_admin_role = ResellerAdmin
system_reader_roles = SwiftReader
[filter:tempauth]
use = egg:swift#tempauth
reseller_prefix = TEMPAUTH
user_test_tester = testing .admin
[filter:container-quotas]
use = egg:swift#container_quotas
[filter:account-quotas]
use = egg:swift#account_quotas
[filter:versioned_writes]
use = egg:swift#versioned_writes
allow_versioned_writes = true
''' + ''.join(f'[filter:{name}]\nuse = egg:swift#{name}\n' for name in (
        'catch_errors', 'gatekeeper', 'healthcheck', 'listing_formats', 'bulk', 'ratelimit', 'copy', 'slo', 'dlo', 'symlink')))
    rings = '\n'.join('''
builder = RingBuilder(4, 1, 1)
builder.add_dev(dict(region=1, zone=1, weight=1, ip='127.0.0.1', port=%d, device='disk'))
builder.rebalance()
builder.get_ring().save('%s/%s.ring.gz')''' % (ports.of[region][kind], home, kind) for kind in SWIFT[:3])
    subprocess.run([program('')[0], '-W', 'ignore', '-c', 'from swift.common.ring import RingBuilder' + rings],
                   check=True)


def trove(folder, ports, region):
    home = f'{folder}/trove/{region}'
    os.makedirs(home + '/lock')
    write(home + '/policy.yaml', '{}\n')
    rate = setting('TROVE_RATE', 6000)
    write(home + '/trove.conf', f'''
[DEFAULT]
bind_host = 127.0.0.1
bind_port = {ports.of[region]['trove']}
trove_api_workers = 1
api_paste_config = {PROGRAMS}/trove/etc/trove/api-paste.ini
transport_url = fake://
control_exchange = trove
use_stderr = true
swift_service_type = object-store
swift_endpoint_type = publicURL
default_datastore = mysql
max_backups_per_tenant = {setting('MAX_BACKUPS', 1000)}
http_get_rate = {rate}
http_post_rate = {rate}
http_put_rate = {rate}
http_delete_rate = {rate}
[database]
connection = {ports.database_url('trove', database(region), 'mysql+pymysql')}?charset=utf8mb3
[service_credentials]
auth_url = {ports.keystone_url}
region_name = {region}
project_name = service
username = trove
password = trove-pw
project_domain_name = Default
user_domain_name = Default
[keystone_authtoken]
memcached_servers = 127.0.0.1:{ports.of[region]['memcached']}
{service_user(ports, 'trove')}
region_name = {region}
[oslo_policy]
policy_file = {home}/policy.yaml
[oslo_concurrency]
lock_path = {home}/lock
''')
