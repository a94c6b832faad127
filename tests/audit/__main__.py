"""Looks from outside at what runs of Backhaul have left, and holds it against the invariants that must be true whatever
was done to them. Shares no code with Backhaul: the standard library, and the clients that database servers come with.

    python3 tests/audit watch DATABASE       triggers write down every change of a row from now on
    python3 tests/audit sums FOLDER          size and SHA-256 of all that lies there, as JSON
    python3 tests/audit remember LAB REGION CONTAINER...    what lies in a region of the tests' OpenStack, as JSON;
                                             changes of its Trove's rows are written down from now on
    python3 tests/audit check DATABASE [--region NAME=FOLDER] [--source NAME=FOLDER] [--log NAME=FILE]
                                       [--cloud NAME=FILE] [--cloud-source NAME=FILE] [--others NAME=FILE]
                                       [--limits FILE] [--crew FILE] [--quiet I7=MS] [--quiet I9=MS]
                                       [--sums FILE=FOLDER] [--twice BYTES] [--finished]

DATABASE is sqlite://PATH, postgres://… or mysql://…. The FILE of a log is what an S3 server of the tests has written
down of its requests; of a cloud what `remember` said before the first run (`lab`, `region` and `containers` suffice for
a source); of others what `sums` said of a target then; of limits those of the plan; of a crew which process signed with
which key. MS is when a dry run, or a run of a finished plan, began, in milliseconds since 1970. `--twice` is how much
of each object may have been read or sent twice. In AUDIT_SECRETS are texts, a line each, that may be nowhere. `check`
prints how often each invariant was looked at, and each violation: exit 1 if there is one, 2 if it could not look.

The invariants, and where they are looked at:

    I1  what is COMPLETED lies there, and is what it was    I13 Trove's checksum, location and links: `openstack`
    I2  tokens, and who changes what: `invariants`          I15 nothing is replaced: `requests`, `openstack`
    I3  no child before its parent                          I16 nothing of others is deleted
    I4  one live record a copy                              I17 bytes and requests a second: `times`
    I5  bytes that are moved twice: `requests`              I18 copies at a time: `times`
    I6  nothing is left behind                              I19 Retry-After: `times`
    I7  a dry run changes nothing: `times`                  I20 no write after a lease: `times`
    I8  a source is only read                               I21 all is done, and nobody has anything
    I9  a finished plan writes nothing: `times`             I23 no secret lies anywhere
    I11 exit code and totals                                I12 legal changes of state

What takes more than to look at what is left is held by tests of its own:

    I10 a run that was killed ends as one that was not: `State` in tests/support/state.rs, which tests/crash.rs holds
        against `Layout::undisturbed`; `is_as` in tests/swift_kills
    I14 chains restore in the target region alone: tests/openstack/restore.py, with Trove's own code, in the tests
        swift_kills, openstack_faults and evacuation
    I22 what is sick slows nobody else: `a_sick_store_slows_nobody_else` in tests/s3/outages.rs
    I24 memory: tests/memory.rs
    I25 `status` answers in a run and after each death: `dies_at` in tests/crash.rs, `wait_for_parts` in tests/faults.rs
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
import times  # noqa: E402


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
    changes = []
    if database.has(databases.CHANGES):
        [changes] = database.read(f"SELECT * FROM {databases.CHANGES} ORDER BY number")
        invariants.changes(findings, rows, changes)
    secrets = [secret for secret in os.environ.get("AUDIT_SECRETS", "").split("\n") if secret]
    texts = database.texts() if secrets else []
    database.close()

    places = {name: stores.Folder(path) for name, path in arguments.region}
    sources = {name: stores.Folder(path) for name, path in arguments.source}
    names = {name: place.names() for name, place in places.items()}
    others = {name: stores.said(file) for name, file in arguments.others}
    clouds, read = in_clouds(arguments)
    invariants.objects(findings, rows, places | clouds, sources | read)
    invariants.catalogs(findings, rows, places, names)
    invariants.leftovers(findings, rows, parts, places, names, others, arguments.finished)
    for name, kept in others.items():
        invariants.others_are_kept(findings, name, places[name], kept)
    invariants.exits(findings, rows, entries, runs)
    if arguments.finished:
        invariants.ends(findings, rows)
    said = {name: stores.said(file) for name, file in arguments.log}
    look_at_logs(findings, arguments, said, rows, places, names)
    look_at_times(findings, arguments, said, changes)
    if clouds or read:
        look_at_clouds(findings, clouds, read, rows, arguments.finished)

    if secrets:
        for region, place in places.items():
            texts += place.texts(names[region])
        texts += stores.texts(file for _, file in arguments.log)
        for cloud in clouds.values():
            texts += cloud.texts()
    for secret in secrets:
        invariants.secret(findings, secret, texts)

    print(json.dumps({"checked": findings.checked, "violations": findings.violations}))
    return 1 if findings.violations else 0


def in_clouds(arguments):
    """Targets and sources by name. What it takes to look at clouds is loaded where there are some."""
    if not arguments.cloud and not arguments.cloud_source:
        return {}, {}
    import clouds

    targets = {name: clouds.remembered(file) for name, file in arguments.cloud}
    return targets, {name: clouds.source(file) for name, file in arguments.cloud_source}


def look_at_clouds(findings, targets, sources, rows, finished):
    import openstack

    for name, cloud in targets.items():
        openstack.target(findings, name, cloud, rows, finished)
    for name, cloud in sources.items():
        openstack.source(findings, name, cloud)


def look_at_logs(findings, arguments, logs, rows, places, names):
    """What the logs of S3 servers show, and sources that are folders."""
    for name, log in logs.items():
        if name in places:
            records = places[name].records(names[name])
            requests.target(findings, name, log, rows, records, arguments.finished)
        else:
            requests.source(findings, name, log)
        if arguments.twice is not None:
            requests.transfers(findings, name, name in places, log, rows, arguments.twice)
    for file, place in arguments.sums:
        invariants.untouched(findings, stores.said(file), place)


def look_at_times(findings, arguments, logs, changes):
    for name, log in logs.items():
        times.patience(findings, name, log)
        if arguments.crew:
            times.leases(findings, name, log, changes, stores.said(arguments.crew))
    for invariant, since in arguments.quiet:
        times.quiet(findings, invariant, int(since), logs, changes)
    if arguments.limits:
        limits = stores.said(arguments.limits)
        times.rates(findings, logs, limits)
        times.concurrency(findings, logs, limits)


def remember(arguments):
    import clouds

    print(json.dumps(clouds.remember(arguments.lab, arguments.region, arguments.containers)))
    return 0


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
    command = commands.add_parser("remember")
    command.add_argument("lab")
    command.add_argument("region")
    command.add_argument("containers", nargs="+")
    command.set_defaults(run=remember)
    command = commands.add_parser("check")
    command.add_argument("database")
    for option in ("--region", "--source", "--others", "--log", "--cloud", "--cloud-source", "--sums", "--quiet"):
        command.add_argument(option, type=named, action="append", default=[])
    command.add_argument("--limits")
    command.add_argument("--crew")
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
