"""Trove's own code: that of its backup containers (`backup/`, from the source release), as its `main` sets it up."""
import hashlib
import json
import os
import sys

from configuration import PROGRAMS
from identities import token

TROVE = os.path.join(PROGRAMS, 'trove')


def lab_of(folder):
    with open(os.path.join(folder, 'lab.json')) as file:
        return json.load(file)


def load():
    """`backup.main`, its options registered."""
    sys.path.insert(0, TROVE)
    argv0, sys.argv[0] = sys.argv[0], os.path.join(TROVE, 'backup', 'main.py')
    try:
        from backup import main
    finally:
        sys.argv[0] = argv0
    main.CONF.register_cli_opts(main.cli_opts)
    main.logging.register_options(main.CONF)
    main.CONF(['--db-user=root', '--db-password=', '--db-host=localhost'], project='trove-backup',
              default_config_files=[])
    return main


def account_url(lab, region, tenant):
    return '%s/v1/AUTH_%s' % (lab['regions'][region]['swift'], lab['projects'][tenant])


def storage(main, lab, region, tenant):
    """SwiftStorage for a tenant's account in one region, with a token of the tenant's own user, as a guest gets it."""
    main.CONF.set_override('swift_url', account_url(lab, region, tenant))
    main.CONF.set_override('os_token', token(lab['auth_url'], tenant, tenant)[0])
    made = main.importutils.import_class(main.storage_mapping['swift'])()
    made.client.starting_backoff = 0.05  # it tries as often as ever, but a Swift that is stopped need not be waited for
    return made


def counted(base, log):
    """Trove's runner, its bytes hashed on their way, its log in a file of ours."""
    class Counted(base):
        add_incremental_opts = False  # would look at the version of xtrabackup in a container

        def __init__(self, *args, **values):
            super().__init__(*args, **values)
            self.backup_log = log
            self.sha256, self.count = hashlib.sha256(), 0

        def read(self, size):
            chunk = self.read_chunk(size)
            self.sha256.update(chunk)
            self.count += len(chunk)
            return chunk

        def read_chunk(self, size):
            return super().read(size)
    return Counted
