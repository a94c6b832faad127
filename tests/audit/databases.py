"""Backhaul's tables as rows of plain values, and the triggers that write down every change of a row, which no runner gets
around. `SQLite` is read by its own library; what runs as a server is in `servers`."""

import os
import sqlite3

import stores

CHANGES = "audit_changes"
# What is read of each table: no texts that a store or a server has made, and no hash states.
BACKUPS = (
    "id, region, location, state, parent_id, source_region, source_location, bytes, sha256, verified, upload_token, "
    "record, registered_id, claim, claimed_by, changed_ms"
)
_COLUMNS = (
    "event, begun_ms, at_ms, connection, id, old_state, new_state, old_claim, new_claim, old_by, new_by, lease_until_ms, pid"
)
_TYPES = """event VARCHAR(8) NOT NULL, begun_ms BIGINT NOT NULL, at_ms BIGINT NOT NULL, connection BIGINT NOT NULL,
    id VARCHAR(36) NOT NULL, old_state VARCHAR(32), new_state VARCHAR(32), old_claim BIGINT, new_claim BIGINT, old_by VARCHAR(36),
    new_by VARCHAR(36), lease_until_ms BIGINT, pid BIGINT"""
_LEASE = "(SELECT lease_until_ms FROM runners WHERE runners.id = OLD.claimed_by)"
_OF_RUNNER = "NEW.id, NULL, NULL, NULL, NULL, NULL, NULL"
# Its name, table, event, and what is written down of it. A runner counts its commits as the last thing in each transaction: so it
# is known who has made the changes before it on the same connection. Of leases is written down until when each is, and
# once more which are taken anew after they were over.
_TRIGGERS = [
    ("INSERT", "backups", "INSERT", "NEW.id, NULL, NEW.state, NULL, NEW.claim, NULL, NEW.claimed_by, NULL, NULL"),
    (
        "UPDATE",
        "backups",
        "UPDATE",
        f"NEW.id, OLD.state, NEW.state, OLD.claim, NEW.claim, OLD.claimed_by, NEW.claimed_by, {_LEASE}, NULL",
    ),
    ("DELETE", "backups", "DELETE", f"OLD.id, OLD.state, NULL, OLD.claim, NULL, OLD.claimed_by, NULL, {_LEASE}, NULL"),
    ("COMMIT", "commits", "UPDATE", "NEW.runner_id, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL"),
    ("JOIN", "runners", "INSERT", f"{_OF_RUNNER}, NEW.lease_until_ms, NEW.pid"),
    ("LEASE", "runners", "UPDATE", f"{_OF_RUNNER}, NEW.lease_until_ms, NEW.pid"),
    ("ANEW", "runners", "UPDATE", f"{_OF_RUNNER}, OLD.lease_until_ms, NEW.pid"),
]
# Changes of runners, and not of backups.
OF_RUNNERS = {"JOIN", "LEASE", "ANEW"}


class CannotLook(Exception):
    """The database is not there, or does not answer."""


class Database:
    """What all three have in common: `read`, which answers several questions, and `execute` are each one's own."""

    now = begun = number = connection_id = tables = ""

    def has(self, table):
        [tables] = self.read(self.tables)
        return table in {row["name"] for row in tables}

    @property
    def anew(self):
        return f"OLD.lease_until_ms <= {self.now} AND NEW.lease_until_ms > {self.now}"

    def texts(self):
        """Every row of every table, as text, with where it lies; but for parts, which have sizes and digests alone."""
        [tables] = self.read(self.tables)
        names = [row["name"] for row in tables if row["name"] != "parts"]
        found = zip(names, self.read(*[f"SELECT * FROM {name}" for name in names]))
        return [(f"a row of {name}", repr(list(row.values())).encode()) for name, rows in found for row in rows]

    def watch(self):
        """Makes the table of changes and its triggers, and writes down what is there already. Does nothing twice."""
        if self.has(CHANGES):
            return
        self.execute(f"CREATE TABLE {CHANGES} (number {self.number}, {_TYPES})")
        into = f"INSERT INTO {CHANGES} ({_COLUMNS})"
        for word, table, event, values in _TRIGGERS:
            noted = f"'{word}', {self.begun}, {self.now}, {self.connection_id}, {values}"
            which = f" FROM (SELECT 1 AS one) AS once WHERE {self.anew}" if word == "ANEW" else ""
            insert = f"{into} SELECT {noted}{which}"
            for statement in self.trigger(f"audit_{table}_{word}".lower(), table, event, insert):
                self.execute(statement)
        there = "id, NULL, state, NULL, claim, NULL, claimed_by, NULL, NULL"
        self.execute(f"{into} SELECT 'INSERT', {self.begun}, {self.now}, 0, {there} FROM backups")

    def trigger(self, name, table, event, insert):
        return [f"CREATE TRIGGER {name} AFTER {event} ON {table} FOR EACH ROW {insert}"]


class Sqlite(Database):
    now = begun = "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)"
    number = "INTEGER PRIMARY KEY AUTOINCREMENT"
    connection_id = "0"
    tables = "SELECT name FROM sqlite_master WHERE type = 'table'"

    def __init__(self, path, writing):
        if not os.path.exists(path):
            raise CannotLook(f"{path} is not there")
        self.connection = sqlite3.connect(f"file:{path}?mode={'rw' if writing else 'ro'}", uri=True, timeout=30)
        self.path = path
        self.connection.isolation_level = None
        self.connection.row_factory = sqlite3.Row
        # All that is read is of one moment.
        self.connection.execute("BEGIN IMMEDIATE" if writing else "BEGIN")

    def read(self, *questions):
        return [[dict(row) for row in self.connection.execute(sql)] for sql in questions]

    def execute(self, sql):
        self.connection.execute(sql)

    def texts(self):
        # Also what was deleted: pages of a file are not wiped.
        beside = [self.path + ending for ending in ("", "-wal") if os.path.exists(self.path + ending)]
        return super().texts() + stores.texts(beside)

    def trigger(self, name, table, event, insert):
        return [f"CREATE TRIGGER {name} AFTER {event} ON {table} FOR EACH ROW BEGIN {insert}; END"]

    def close(self):
        if self.connection.in_transaction:
            self.connection.execute("COMMIT")
        self.connection.close()


def connect(url, writing=False):
    if url.startswith("sqlite://"):
        return Sqlite(url[len("sqlite://") :], writing)
    import servers

    return servers.connect(url)
