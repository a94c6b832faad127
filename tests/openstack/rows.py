"""A process of its own, since Trove's options and its backup container's are at odds: writes rows of `backups` by
Trove's models, step by step as its API (NEW), its guest and its conductor do. stdin: one JSON list of values."""
import datetime
import json
import sys


def write(values):
    from trove.backup.models import DBBackup
    from trove.backup.state import BackupState
    state, deleted, created = values.pop('state'), values.pop('deleted'), values.pop('created')
    later = {name: values.pop(name) for name in ('location', 'checksum', 'size')}
    row = DBBackup.create(state=BackupState.NEW, deleted=False, **values)
    row.created = datetime.datetime.fromisoformat(created)
    for name, value in dict(later, state=state).items():
        setattr(row, name, value)
    row.save()
    if deleted:
        row.deleted, row.deleted_at, row.datastore_version_id = True, row.updated, None
        row.save()


def main(conf):
    from trove.common import cfg
    cfg.parse_args(['rows', '--config-file', conf])
    from trove.db import get_db_api
    get_db_api().configure_db()
    from trove.backup import models  # noqa: F401: imported before the rows are there
    for values in json.load(sys.stdin):
        write(values)


if __name__ == '__main__':
    main(*sys.argv[1:])
