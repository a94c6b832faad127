"""What a tenant's backups are: by name, in the order they were made."""
from dataclasses import dataclass

SEGMENT = 1 << 20


@dataclass
class Backup:
    name: str
    size: int = 0                     # bytes of the object
    version: str = '8.0'
    datastore: str = 'mysql'
    parent: str = None                # the name of one before it
    container: str = 'database_backups'
    encrypted: bool = False           # by its name only
    # ok, or what is wrong with it: checksum-mismatch, object-missing, segment-missing, parent-missing,
    # version-missing (no such datastore version in region-two), state-failed, row-deleted, cinder-snapshot
    expect: str = 'ok'

    @property
    def instance(self):
        """Backups of one chain are of one instance, and others of another."""
        return self.name.partition('-')[0] if self.parent or self.name.endswith('-full') else 'single'


def segments(count):
    return int(count * SEGMENT)


STANDARD = (
    Backup('plain', 300_000),
    Backup('slo', segments(5.3)),
    # As Trove makes it when the stream ends with a segment: one more, of no bytes.
    Backup('slo-empty-end', segments(2)),
    Backup('a-full', segments(3.2)),
    Backup('a-inc1', segments(0.2), parent='a-full'),
    Backup('a-inc2', segments(2.4), parent='a-inc1'),
    Backup('b-full', 500_001, '5.7.29', container='db57_backups'),
    Backup('b-inc1', 100_001, '5.7.29', container='db57_backups', parent='b-full'),
    Backup('b-inc2', 100_002, '5.7.29', container='db57_backups', parent='b-inc1'),
    Backup('maria', segments(1.7), '10.11', 'mariadb'),
    Backup('encrypted', 200_000, encrypted=True),
    Backup('bad-checksum', 100_000, expect='checksum-mismatch'),
    Backup('gone-object', 100_000, expect='object-missing'),
    Backup('gone-segment', segments(2.2), expect='segment-missing'),
    Backup('c-full', 100_000, expect='object-missing'),
    Backup('c-inc1', 50_000, parent='c-full', expect='parent-missing'),
    Backup('old-version', 100_000, '5.6.51', expect='version-missing'),
    Backup('failed', expect='state-failed'),
    Backup('deleted', 100_000, expect='row-deleted'),
    Backup('snapshot', expect='cinder-snapshot'),
)

SMALL = tuple(backup for backup in STANDARD if backup.name in ('plain', 'slo', 'a-full', 'a-inc1', 'a-inc2'))

# Not backups: container, object, bytes. The last looks like what a failed backup leaves.
FOREIGN = (
    ('database_backups', 'notes.txt', b'kept by hand\n'),
    ('database_backups', 'old/dump.sql.gz', b'\x1f\x8b' + bytes(1000)),
    ('database_backups', '9e0c4f4e-0f3a-4a5e-8f2f-0b8f5d3f5a11_00000000', bytes(70_000)),
    ('photos', 'cat.jpg', bytes(5_000)),
)


def wanted(what, count):
    """`standard`, `small`, `many:COUNT`, `large:SEGMENTS`."""
    if what == 'many':
        return tuple(Backup('many-%04d' % number, 2_000 + number) for number in range(1, count + 1))
    if what == 'large':
        return (Backup('large-%d' % count, segments(count) - 100_000),)
    return {'standard': STANDARD, 'small': SMALL}[what]
