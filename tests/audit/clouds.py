"""A region of the tests' OpenStack, asked by its own interfaces: Swift as who may read all accounts, Trove's database as
its owner; and the log of its Swift. `remember` takes down what is there at the beginning, which a look is held against."""

import hashlib
import http.client
import json
import os
import re
from urllib.parse import quote, unquote, urlsplit

import servers
import stores
from databases import CannotLook

CHANGES = "audit_changes"
# Who reads the accounts of all: see `identities.py` of the lab.
READER, READERS_PROJECT = "operator", "operators"
_NOTED = "id, location, parent_id, deleted"
_COLUMNS = "id, location, tenant_id, state, checksum, parent_id, deleted"
SEGMENT = re.compile(r"^(?P<id>.+)_(?P<token>[0-9a-f]{32})_[0-9]{8}$")


class Cloud:
    """Objects are named as rows of Backhaul name them: ACCOUNT/CONTAINER/OBJECT. `before` are those that were there
    when it was remembered, each with its ETag and timestamp; `at` is where its log was."""

    def __init__(self, lab, region, containers, before=(), at=0):
        with open(lab, encoding="utf-8") as file:
            self.told = json.load(file)
        self.region = self.told["regions"][region]
        self.containers = containers
        self.before, self.at = dict(before), at
        self.swift = http.client.HTTPConnection(urlsplit(self.region["swift"]).netloc, timeout=60)
        self.token = None
        self.heads, self.digests = {}, {}

    def _token(self):
        url = urlsplit(self.told["auth_url"])
        default = {"id": "default"}
        user = {"name": READER, "domain": default, "password": self.told["users"][READER]["password"]}
        scope = {"project": {"name": READERS_PROJECT, "domain": default}}
        identity = {"methods": ["password"], "password": {"user": user}}
        body = json.dumps({"auth": {"identity": identity, "scope": scope}})
        keystone = http.client.HTTPConnection(url.netloc, timeout=60)
        keystone.request("POST", f"{url.path}/auth/tokens", body, {"Content-Type": "application/json"})
        answer = keystone.getresponse()
        answer.read()
        keystone.close()
        if answer.status != 201:
            raise CannotLook(f"Keystone answers {answer.status}")
        return answer.getheader("X-Subject-Token")

    def ask(self, method, path, query=""):
        """None if it is not there."""
        self.token = self.token or self._token()
        self.swift.request(method, f"/v1/{quote(path)}{query}", headers={"X-Auth-Token": self.token})
        answer = self.swift.getresponse()
        if answer.status == 404:
            answer.read()
            return None
        if not 200 <= answer.status < 300:
            raise CannotLook(f"Swift answers {answer.status} to {method} {path}: {answer.read()[:200]}")
        return answer

    def head(self, name):
        """Its headers, with names in lower case; none if it is not there."""
        if name not in self.heads:
            answer = self.ask("HEAD", name)
            self.heads[name] = answer and {key.lower(): value for key, value in answer.getheaders()}
            if answer:
                answer.read()
        return self.heads[name]

    def etag(self, name):
        head = self.head(name)
        return head and head["etag"].strip('"')

    def version(self, name):
        head = self.head(name)
        return head and [self.etag(name), head["x-timestamp"]]

    def digest(self, name):
        """Size and SHA-256 of all its bytes; none if it is not there."""
        if name not in self.digests:
            self.digests[name] = self._digest(name)
        return self.digests[name]

    def _digest(self, name):
        answer = self.ask("GET", name)
        if answer is None:
            return None
        size, sha256 = 0, hashlib.sha256()
        while piece := answer.read(1 << 20):
            size += len(piece)
            sha256.update(piece)
        return size, sha256.hexdigest()

    def segments(self, name):
        """What the manifest of an object refers to; nothing if it has none."""
        head = self.head(name)
        if head is None or "x-static-large-object" not in head:
            return []
        manifest = json.load(self.ask("GET", name, "?multipart-manifest=get"))
        account = name.partition("/")[0]
        return [account + segment["name"] for segment in manifest]

    def listed(self):
        """What the containers list, which may be behind."""
        found = []
        for container in self.containers:
            answer = self.ask("GET", container)
            listed = answer.read().decode().splitlines() if answer else []
            found += [f"{container}/{name}" for name in listed]
        return found

    def is_here(self, name):
        return name is not None and any(name.startswith(f"{container}/") for container in self.containers)

    def requests(self):
        """What Swift was asked from outside about these accounts since then, in the order in which it was done. Requests of
        its own name a source."""
        accounts = {container.partition("/")[0] for container in self.containers}
        with open(self.region["requests"], "rb") as file:
            file.seek(self.at)
            lines = file.read().decode().split("\n")[:-1]
        found = []
        for line in lines:
            if not any(account in line for account in accounts):
                continue  # most are of other beds
            method, url, status, _, _, source, agent, began, ended = line.split(" ")
            if source == "-":
                status = int(status) if status.isdigit() else 0
                said = {"method": method, "name": path(unquote(url)), "status": status, "agent": unquote(agent)}
                found.append({**said, "began": float(began), "ended": float(ended)})
        return found

    def texts(self):
        """What was written of our objects besides their bytes, each with where it lies."""
        return [(name, f"{name} {head}".encode()) for name, head in self.heads.items() if head]

    def trove(self):
        """Trove's database."""
        database, owner = self.region["database"], self.region["database"]["owner"]
        place = f"{database['host']}:{database['port']}/{database['name']}"
        return servers.connect(f"mysql://{owner['user']}:{owner['password']}@{place}")

    def backups(self):
        """Trove's live rows; and all changes of rows since they were watched, in their order, if they were."""
        trove = self.trove()
        questions = [f"SELECT {_COLUMNS} FROM backups WHERE deleted = 0"]
        if trove.has(CHANGES):
            questions.append(f"SELECT number, event, {_NOTED} FROM {CHANGES} ORDER BY number")
        rows, *changes = trove.read(*questions)
        return rows, changes[0] if changes else []

    def watch(self):
        """Lets the database write down every change of Trove's rows. Beds of one lab may do it at the same time."""
        trove = self.trove()
        columns = "id VARCHAR(36), location VARCHAR(1024), parent_id VARCHAR(36), deleted TINYINT"
        trove.execute("SELECT GET_LOCK('audit', 60)")
        trove.execute(f"CREATE TABLE IF NOT EXISTS {CHANGES} (number {trove.number}, event VARCHAR(8), {columns})")
        for event, row in (("INSERT", "NEW"), ("UPDATE", "NEW"), ("DELETE", "OLD")):
            values = ", ".join(f"{row}.{column.strip()}" for column in _NOTED.split(","))
            insert = f"INSERT INTO {CHANGES} (event, {_NOTED}) VALUES ('{event}', {values})"
            name = f"audit_backups_{event.lower()}"
            trove.execute(f"CREATE TRIGGER IF NOT EXISTS {name} AFTER {event} ON backups FOR EACH ROW {insert}")
        there = f"SELECT 'INSERT', {_NOTED} FROM backups WHERE NOT EXISTS (SELECT 1 FROM {CHANGES})"
        trove.execute(f"INSERT INTO {CHANGES} (event, {_NOTED}) {there}")
        trove.close()


def path(url):
    """ACCOUNT/CONTAINER/OBJECT of a URL or a path."""
    return unquote(urlsplit(url or "").path).removeprefix("/v1/")


def remember(lab, region, containers):
    """What lies in containers now and where the log of their Swift is; from now on Trove's rows are watched."""
    cloud = Cloud(lab, region, containers)
    cloud.watch()
    before = {name: cloud.version(name) for name in cloud.listed() if cloud.head(name)}
    log = cloud.region["requests"]
    at = os.path.getsize(log) if os.path.exists(log) else 0
    return {"lab": lab, "region": region, "containers": containers, "before": before, "at": at}


def remembered(file):
    return Cloud(**stores.said(file))


def source(file):
    """As `remembered`, but of its containers alone. Of what was seeded it is known what it is."""
    cloud = remembered(file)
    seeds = os.path.join(os.path.dirname(stores.said(file)["lab"]), "seed.json")
    for seed in stores.said(seeds)["backups"].values():
        if "sha256" in seed:
            cloud.digests[path(seed["location"])] = (seed["bytes"], seed["sha256"])
    return cloud
