"""What lies in a store: a folder, or what an S3 server of the tests has written down of itself in one."""

import hashlib
import json
import os

RECORDS = ".backhaul/records/"
# By which a bucket is asked whether it lets an object be overwritten.
PROBE = ".backhaul/create-only"


class Folder:
    def __init__(self, path):
        self.path = path

    def names(self):
        """Every file's path below the folder."""
        found = []
        for folder, _, files in os.walk(self.path):
            found += [os.path.relpath(os.path.join(folder, file), self.path) for file in files]
        return sorted(found)

    def digest(self, name):
        """Size and SHA-256; none if it is not there."""
        if not os.path.isfile(os.path.join(self.path, name)):
            return None
        size, sha256 = 0, hashlib.sha256()
        with open(os.path.join(self.path, name), "rb") as file:
            while piece := file.read(1 << 20):
                size += len(piece)
                sha256.update(piece)
        return size, sha256.hexdigest()

    def texts(self, names):
        """What Backhaul itself has written there, each with where it lies; and all names."""
        ours = [os.path.join(self.path, name) for name in names if name.startswith(".backhaul/")]
        return texts(ours) + [(f"the names in {self.path}", "\n".join(names).encode())]

    def records(self, names):
        """Every line of every record object, oldest first, each with the name of its object."""
        lines = []
        for name in names:
            if name.startswith(RECORDS) and name.endswith(".ndjson"):
                with open(os.path.join(self.path, name), encoding="utf-8") as file:
                    batch = name[len(RECORDS) : -len(".ndjson")]
                    lines += [{**json.loads(line), "object": batch} for line in file]
        return lines


def texts(files):
    """The bytes of files, each with its name."""
    found = []
    for name in files:
        with open(name, "rb") as file:
            found.append((name, file.read()))
    return found


def sums(path):
    """Size and SHA-256 of everything that lies there."""
    folder = Folder(path)
    return {name: list(folder.digest(name)) for name in folder.names()}


def said(path):
    """What was written down: of a server its open uploads, and the requests that it got, in their order."""
    with open(path, encoding="utf-8") as file:
        return json.load(file)
