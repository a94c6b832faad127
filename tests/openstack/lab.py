"""Starts and ends a lab, and single services of one; see the file `lab`."""
import concurrent.futures
import fcntl
import getpass
import json
import os
import shutil
import signal
import sys
import time

import requests

import configuration
import databases
import identities
from configuration import HERE, REGIONS, SWIFT, Ports, program
from services import Failed, Services, answers, free_ports, listens


class Lab:
    def __init__(self, folder, numbers):
        self.folder, self.ports, self.services = folder, Ports(numbers), Services(folder)

    @classmethod
    def of(cls, folder):
        """One that is up."""
        folder = os.path.abspath(folder)
        with open(folder + '/lab.json') as file:
            return cls(folder, json.load(file)['ports'])

    def starts(self):
        """How each service starts, by name, and how it is seen to be ready."""
        folder, ports = self.folder, self.ports
        starts = {
            'mariadb': (lambda: databases.start(self.services, folder, ports.mariadb),
                        databases.lets_in(ports.mariadb)),
            'keystone': (lambda: databases.start_keystone(self.services, folder), checks_tokens(ports.keystone_url)),
        }
        for region in REGIONS:
            port = ports.of[region]
            self._add(starts, 'memcached-' + region, [
                'memcached', '-u', getpass.getuser(), '-l', '127.0.0.1', '-p', str(port['memcached']), '-U', '0', '-m', '32', '-I', '2m',
            ], listens(port['memcached']))
            for kind in SWIFT:
                requests = ['%s/log/swift-%s.requests' % (folder, region)] if kind == 'proxy' else []
                self._add(starts, 'swift-%s-%s' % (region, kind), program('python3')[:-1] + [
                    HERE + '/swiftserver.py', kind, '%s/swift/%s/%s-server.conf' % (folder, region, kind), *requests,
                ], answers(ports.url(region, kind) + '/healthcheck') if kind == 'proxy' else listens(port[kind]))
            self._add(starts, 'trove-' + region, program('trove-api') + [
                '--config-file', '%s/trove/%s/trove.conf' % (folder, region),
            ], answers(ports.url(region, 'trove')))
        return starts

    def _add(self, starts, name, command, is_ready):
        starts[name] = (lambda: self.services.start(name, command, folder=self.folder), is_ready)

    def names(self, wanted):
        """`swift-region-one` is four."""
        known = self.starts()
        found = [name for name in known if any(name == want or name.startswith(want + '-') for want in wanted)]
        if not found:
            raise Failed('no service is called %s; there are %s' % (' or '.join(wanted), ', '.join(known)))
        return found

    def start(self, names):
        starts = self.starts()
        for name in names:
            if not self.services.pid(name):
                starts[name][0]()
        for name in names:
            self.services.wait(name, starts[name][1])

    def up(self):
        for name in ('run', 'log'):
            os.mkdir(os.path.join(self.folder, name))
        for region in REGIONS:
            configuration.trove(self.folder, self.ports, region)
        configuration.keystone(self.folder, self.ports)
        with concurrent.futures.ThreadPoolExecutor() as at_once:
            swifts = [at_once.submit(self._swift_up, region) for region in REGIONS]
            made = databases.copy(self.folder, self.ports)
            self.start(['mariadb'])
            databases.set_addresses(self.ports)
            self.start(['keystone'] + ['trove-' + region for region in REGIONS])
            for swift in swifts:
                swift.result()
        self._tell(made)

    def _swift_up(self, region):
        configuration.swift(self.folder, self.ports, region)
        self.start(self.names(['memcached-' + region, 'swift-' + region]))

    def _tell(self, made):
        ports = self.ports
        told = {
            'auth_url': ports.keystone_url,
            'projects': made['projects'],
            'users': passwords(made['users']),
            'application_credential': made['application_credential'],
            'clouds': self.folder + '/clouds.yaml',
            'run': self.services.run,
            'log': self.services.log,
            'ports': [ports.mariadb, ports.keystone] + [port for region in REGIONS for port in ports.of[region].values()],
            'regions': {region: {
                'swift': ports.url(region, 'proxy'),
                'trove': ports.url(region, 'trove'),
                'requests': '%s/swift-%s.requests' % (self.services.log, region),
                'database': {'host': '127.0.0.1', 'port': ports.mariadb, 'name': configuration.database(region),
                             'source_url': ports.database_url('source', configuration.database(region)),
                             'target_url': ports.database_url('target', configuration.database(region)),
                             'owner': {'user': 'trove', 'password': 'trove-db-pw'}},
                'datastore_versions': databases.datastore_versions(ports, region),
            } for region in REGIONS},
        }
        self._keep(told)

    def _keep(self, told):
        for name, text in (('clouds.yaml', clouds(told)), ('lab.json', json.dumps(told, indent=1))):
            configuration.write('%s/%s.new' % (self.folder, name), text)
            os.chmod('%s/%s.new' % (self.folder, name), 0o600)
            os.rename('%s/%s.new' % (self.folder, name), '%s/%s' % (self.folder, name))

    def add_tenants(self, names):
        with open(self.folder + '/lab.lock', 'w') as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with open(self.folder + '/lab.json') as file:
                told = json.load(file)
            projects, users = identities.add_tenants(told['auth_url'], names, told['users']['mover']['id'])
            told['projects'].update(projects)
            told['users'].update(passwords(users))
            self._keep(told)

    def down(self):
        if os.path.isdir(self.services.run):
            self.services.end(self.services.names())


def checks_tokens(auth_url):
    """It answers before it has read its rules, and until then it may refuse services that ask it about tokens."""
    def asked():
        try:
            own, _ = identities.token(auth_url, 'swift', 'service')
            headers = {'X-Auth-Token': own, 'X-Subject-Token': own}
            return requests.get(auth_url + '/auth/tokens', headers=headers, timeout=60).ok
        except requests.RequestException:
            return False
    return asked


def passwords(users):
    return {name: {'id': id, 'password': name + '-pw'} for name, id in users.items()}


def clouds(told):
    """REGION-USER-PROJECT for everybody with a role; REGION-mover has no project, REGION-application-credential a fixed one."""
    pairs = {(user, project) for user, grants in identities.GRANTS.items() for project, _ in grants}
    added = set(told['projects']) - set(identities.PROJECTS) - {'service', 'operators'}
    pairs |= {(user, project) for project in added for user in (project, 'mover')}
    pairs = sorted(pair for pair in pairs if pair[1] != 'service') + [('mover', None)]
    lines = ['clouds:']
    for region in REGIONS:
        for user, project in pairs:
            lines += ['  %s:' % '-'.join(filter(None, (region, user, project))), '    region_name: ' + region,
                      '    identity_api_version: 3', '    auth:', '      auth_url: ' + told['auth_url'],
                      '      username: ' + user, '      password: %s-pw' % user, '      user_domain_id: default']
            if project:
                lines += ['      project_name: ' + project, '      project_domain_id: default']
        credential = told['application_credential']
        lines += ['  %s-application-credential:' % region, '    region_name: ' + region,
                  '    auth_type: v3applicationcredential', '    auth:', '      auth_url: ' + told['auth_url'],
                  '      application_credential_id: ' + credential['id'],
                  '      application_credential_secret: ' + credential['secret']]
    return '\n'.join(lines) + '\n'


def up(folder):
    folder = os.path.abspath(folder)
    os.makedirs(folder, exist_ok=True)
    if os.listdir(folder):
        raise Failed('%s is not empty' % folder)
    databases.template()
    numbers, held = free_ports()
    lab = Lab(folder, numbers)
    try:
        lab.up()
    except BaseException:
        lab.down()
        raise
    finally:
        held.close()
    return lab


def hold(folder):
    """Ends with the process that holds the other end of stdin, however that one ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    lab = up(folder)
    try:
        print('ready', flush=True)
        sys.stdin.read()
    finally:
        lab.down()
        shutil.rmtree(lab.folder, ignore_errors=True)


def main(command, *arguments):
    if command == 'prepare':
        databases.template()
    elif command == 'up':
        began = time.monotonic()
        lab = up(*arguments)
        print('up in %.1f s: %s/lab.json' % (time.monotonic() - began, lab.folder))
    elif command == 'hold':
        hold(*arguments)
    else:
        lab = Lab.of(arguments[0])
        if command == 'down':
            lab.down()
        elif command == 'stop':
            lab.services.end(lab.names(arguments[1:]))
        elif command == 'start':
            lab.start(lab.names(arguments[1:]))
        elif command == 'tenant':
            lab.add_tenants(arguments[1:])


if __name__ == '__main__':
    try:
        main(*sys.argv[1:])
    except Failed as error:
        sys.exit('lab: %s' % error)
