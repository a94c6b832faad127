"""Looks from outside at what runs of Backhaul have left, and holds it against the invariants that must be true whatever
was done to them. Shares no code with Backhaul: the standard library, and the clients that database servers come with.

    python3 tests/audit watch DATABASE       triggers write down every change of a row from now on
    python3 tests/audit sums FOLDER          size and SHA-256 of all that lies there, as JSON
    python3 tests/audit check DATABASE [--region NAME=FOLDER] [--source NAME=FOLDER] [--log NAME=FILE]
                                       [--sums FILE=FOLDER] [--twice BYTES] [--finished]

DATABASE is sqlite://PATH, postgres://… or mysql://…; FILE what an S3 server of the tests has written down of its requests.
`--twice` is how much of each object may have been read or sent twice. In AUDIT_SECRETS are texts, a line each, that may
be nowhere. `check` prints how often each invariant was looked at, and each violation: exit 1 if there is one, 2 if it could not look.
"""

import argparse
import json
import os
import sys
import traceback

sys.dont_write_bytecode = True

import databases  # noqa: E402
import invariants  # noqa: E402
import requests  # noqa: E402
import stores  # noqa: E402


def named(text):
    name, _, place = text.partition("=")
    if not place:
        raise argparse.ArgumentTypeError("NAME=PLACE")
    return name, place


def check(arguments):
    findings = invariants.Findings()
    database = databases.connect(arguments.database)
    backups, counted, entries, runs = database.read(
        f"SELECT {databases.BACKUPS} FROM backups",
        "SELECT backup_id, COUNT(*) AS count FROM parts GROUP BY backup_id",
        "SELECT plan, backup_id FROM plan_entries",
        "SELECT id, plan, ended_ms, exit_code, summary FROM runs",
    )
    rows = {row["id"]: row for row in backups}
    parts = {row["backup_id"]: int(row["count"]) for row in counted}
    if database.has(databases.CHANGES):
        [log] = database.read(f"SELECT * FROM {databases.CHANGES} ORDER BY number")
        invariants.changes(findings, rows, log)
    secrets = [secret for secret in os.environ.get("AUDIT_SECRETS", "").split("\n") if secret]
    texts = database.texts() if secrets else []
    database.close()

    places = {name: stores.Folder(path) for name, path in arguments.region}
    sources = {name: stores.Folder(path) for name, path in arguments.source}
    names = {name: place.names() for name, place in places.items()}
    invariants.objects(findings, rows, places, names, sources)
    invariants.catalogs(findings, rows, places, names)
    invariants.leftovers(findings, rows, parts, places, names, arguments.finished)
    invariants.exits(findings, rows, entries, runs)
    if arguments.finished:
        invariants.ends(findings, rows)
    for name, file in arguments.log:
        log = stores.said(file)
        if name in places:
            records = places[name].records(names[name])
            requests.target(findings, name, log, rows, records, arguments.finished)
        else:
            requests.source(findings, name, log)
        if arguments.twice is not None:
            requests.transfers(findings, name, name in places, log, rows, arguments.twice)
    for file, place in arguments.sums:
        with open(file, encoding="utf-8") as before:
            invariants.untouched(findings, json.load(before), place)

    if secrets:
        for region, place in places.items():
            texts += place.texts(names[region])
        texts += stores.texts(file for _, file in arguments.log)
    for secret in secrets:
        invariants.secret(findings, secret, texts)

    print(json.dumps({"checked": findings.checked, "violations": findings.violations}))
    return 1 if findings.violations else 0


def watch(arguments):
    database = databases.connect(arguments.database, writing=True)
    database.watch()
    database.close()
    return 0


def sums(arguments):
    print(json.dumps(stores.sums(arguments.place)))
    return 0


def main():
    parser = argparse.ArgumentParser(prog="audit")
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("watch")
    command.add_argument("database")
    command.set_defaults(run=watch)
    command = commands.add_parser("sums")
    command.add_argument("place")
    command.set_defaults(run=sums)
    command = commands.add_parser("check")
    command.add_argument("database")
    for option in ("--region", "--source", "--log", "--sums"):
        command.add_argument(option, type=named, action="append", default=[])
    command.add_argument("--twice", type=int)
    command.add_argument("--finished", action="store_true")
    command.set_defaults(run=check)
    arguments = parser.parse_args()
    try:
        return arguments.run(arguments)
    except Exception:
        # What Python would say by itself is 1, which says that there are violations.
        traceback.print_exc()
        return 2


sys.exit(main())
