"""Who there is: fills an empty Keystone. All passwords are NAME-pw.

| project | its own user, a member |
| alpha, beta, gamma | alpha, beta, gamma |
| alpha-two, beta-two (other names for the tenants in region-two) | alpha-two, beta-two |

| user | may |
| mover | member of alpha, beta, alpha-two, beta-two: one token a project. Nothing in gamma |
| reseller | ResellerAdmin in `operators`: every account of Swift; nothing in Trove, and cannot look up projects |
| operator | ResellerAdmin and admin in `operators`: also looks up projects, and lists all of Trove |
| auditor | SwiftReader in `operators`: reads every account, writes none |
| reader | reader in alpha and beta, which Swift refuses |

An application credential of mover is bound to alpha."""
import requests

PROJECTS = ('alpha', 'beta', 'gamma', 'alpha-two', 'beta-two')
GRANTS = {
    'swift': [('service', 'admin'), ('service', 'service')],
    'trove': [('service', 'admin'), ('service', 'service')],
    'mover': [(project, 'member') for project in PROJECTS if project != 'gamma'],
    'reseller': [('operators', 'ResellerAdmin')],
    'operator': [('operators', 'ResellerAdmin'), ('operators', 'admin')],
    'auditor': [('operators', 'SwiftReader')],
    'reader': [('alpha', 'reader'), ('beta', 'reader')],
    **{project: [(project, 'member')] for project in PROJECTS},
}
# What stands in the catalog until a lab has its ports.
SERVICES = {
    'identity': ('keystone', 'http://keystone.invalid/v3'),
    'object-store': ('swift', 'http://swift.REGION.invalid/v1/AUTH_%(project_id)s'),
    'database': ('trove', 'http://trove.REGION.invalid/v1.0/%(project_id)s'),
}


def token(auth_url, user, project, password=None):
    """A token and what Keystone says about it."""
    answer = requests.post(auth_url + '/auth/tokens', timeout=60, json={'auth': {
        'identity': {'methods': ['password'], 'password': {'user': {
            'name': user, 'domain': {'id': 'default'}, 'password': password or user + '-pw'}}},
        'scope': {'project': {'name': project, 'domain': {'id': 'default'}}}}})
    answer.raise_for_status()
    return answer.headers['X-Subject-Token'], answer.json()['token']


class Keystone:
    """By its administrator."""

    def __init__(self, auth_url):
        self.auth_url = auth_url
        self.admin, _ = token(auth_url, 'admin', 'admin')

    def call(self, method, path, body=None, by=None):
        answer = requests.request(method, self.auth_url + path, json=body, timeout=60,
                                  headers={'X-Auth-Token': by or self.admin})
        if not answer.ok:
            raise RuntimeError('%s %s: %s %s' % (method, path, answer.status_code, answer.text))
        return answer.json() if answer.content else None

    def make(self, kind, **values):
        return self.call('POST', '/%ss' % kind, {kind: values})[kind]['id']

    def make_user(self, name):
        return self.make('user', name=name, domain_id='default', password=name + '-pw')

    def grant(self, project, user, role):
        self.call('PUT', '/projects/%s/users/%s/roles/%s' % (project, user, role))

    def roles(self):
        return {role['name']: role['id'] for role in self.call('GET', '/roles')['roles']}


def fill(auth_url, regions):
    """Makes them all, and returns their ids."""
    keystone = Keystone(auth_url)
    roles = keystone.roles()
    for name in ('swiftoperator', 'ResellerAdmin', 'SwiftReader'):
        roles[name] = keystone.make('role', name=name)
    projects = {name: keystone.make('project', name=name, domain_id='default')
                for name in PROJECTS + ('service', 'operators')}
    users = {}
    for name, grants in GRANTS.items():
        users[name] = keystone.make_user(name)
        for project, role in grants:
            keystone.grant(projects[project], users[name], roles[role])

    for region in regions:
        keystone.call('POST', '/regions', {'region': {'id': region}})
    for kind, (name, url) in SERVICES.items():
        service = keystone.make('service', name=name, type=kind)
        for region in regions:
            for interface in ('public', 'internal', 'admin'):
                keystone.make('endpoint', service_id=service, region_id=region, interface=interface,
                              url=url.replace('REGION', region))

    mover, _ = token(auth_url, 'mover', 'alpha')
    made = keystone.call('POST', '/users/%s/application_credentials' % users['mover'], {
        'application_credential': {'name': 'mover-alpha', 'secret': 'mover-alpha-secret'}}, by=mover)
    return {
        'projects': projects,
        'users': users,
        'application_credential': {
            'id': made['application_credential']['id'], 'secret': 'mover-alpha-secret', 'project': 'alpha'},
    }


def add_tenants(auth_url, names, mover):
    """More projects like alpha; returns the ids of projects and users."""
    keystone, projects, users = Keystone(auth_url), {}, {}
    member = keystone.roles()['member']
    for name in names:
        projects[name] = keystone.make('project', name=name, domain_id='default')
        users[name] = keystone.make_user(name)
        for user in (users[name], mover):
            keystone.grant(projects[name], user, member)
    return projects, users
