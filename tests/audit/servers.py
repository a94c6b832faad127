"""Databases on servers, asked by the clients that the servers come with."""

import json
import os
import subprocess
import xml.etree.ElementTree as ElementTree
from urllib.parse import unquote, urlsplit

from databases import CannotLook, Database


class Server(Database):
    def __init__(self, url):
        self.url = urlsplit(url)
        self.name = unquote(self.url.path.lstrip("/"))
        self.user = unquote(self.url.username)
        self.password = unquote(self.url.password or "")
        self.statements = []

    def ask(self, command, environment, sql):
        run = subprocess.run(command, input=sql, capture_output=True, text=True, env={**os.environ, **environment})
        if run.returncode != 0:
            raise CannotLook(f"{command[0]}: {run.stderr.strip()}")
        return run.stdout

    def execute(self, sql):
        self.statements.append(sql)

    def close(self):
        """Makes all that was to be executed, at one go."""
        if self.statements:
            self.client("".join(f"{statement};\n" for statement in self.statements))


class Postgres(Server):
    now = "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)"
    begun = "CAST(EXTRACT(EPOCH FROM statement_timestamp()) * 1000 AS BIGINT)"
    number = "BIGSERIAL PRIMARY KEY"
    connection_id = "pg_backend_pid()"
    tables = "SELECT table_name AS name FROM information_schema.tables WHERE table_schema = current_schema()"

    def client(self, sql):
        command = ["psql", "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1"]
        command += [f"--host={self.url.hostname}", f"--port={self.url.port or 5432}"]
        command += [f"--username={self.user}", f"--dbname={self.name}"]
        return self.ask(command, {"PGPASSWORD": self.password, "PGCLIENTENCODING": "UTF8"}, sql)

    def read(self, *questions):
        rows = [f"SELECT json_build_array({at}, found) FROM ({sql}) AS found;\n" for at, sql in enumerate(questions)]
        answers = [[] for _ in questions]
        for line in self.client("".join(rows)).splitlines():
            at, row = json.loads(line)
            answers[at].append(row)
        return answers

    def trigger(self, name, table, event, insert):
        function = f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {insert}; RETURN NULL; END $$"
        return [function, f"CREATE TRIGGER {name} AFTER {event} ON {table} FOR EACH ROW EXECUTE FUNCTION {name}()"]


class MariaDb(Server):
    now = "CAST(UNIX_TIMESTAMP(SYSDATE(3)) * 1000 AS SIGNED)"
    begun = "CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)"
    number = "BIGINT AUTO_INCREMENT PRIMARY KEY"
    connection_id = "CONNECTION_ID()"
    tables = "SELECT table_name AS name FROM information_schema.tables WHERE table_schema = DATABASE()"

    def client(self, sql):
        command = ["mariadb", "--no-defaults", "--protocol=tcp", "--xml", "--default-character-set=utf8mb4"]
        command += [f"--host={self.url.hostname}", f"--port={self.url.port or 3306}"]
        command += [f"--user={self.user}", self.name]
        return self.ask(command, {"MYSQL_PWD": self.password}, sql)

    def read(self, *questions):
        # An answer without any row is no document at all.
        marked = [f"SELECT {at} AS answers;\n{sql};\n" for at, sql in enumerate(questions)]
        answers = []
        for document in self.client("".join(marked)).split("<?xml version=\"1.0\"?>")[1:]:
            rows = [self.row(row) for row in ElementTree.fromstring(document)]
            if rows and "answers" in rows[0]:
                answers.append([])
            else:
                answers[-1] = rows
        return answers

    @staticmethod
    def row(row):
        null = "{http://www.w3.org/2001/XMLSchema-instance}nil"
        return {cell.get("name"): None if cell.get(null) == "true" else cell.text or "" for cell in row}


def connect(url):
    if url.startswith(("postgres://", "postgresql://")):
        return Postgres(url)
    if url.startswith(("mysql://", "mariadb://")):
        return MariaDb(url)
    raise CannotLook("a database is sqlite://, postgres:// or mysql://")
