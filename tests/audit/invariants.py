"""What must be true, whatever was done to the runners, as far as rows, the log of their changes, objects and records show
it. The numbers are those of the invariants that Backhaul is held against."""

import json
import urllib.parse
import uuid

import databases
import stores

# The table of legal changes of state, written down once more.
LEGAL = {
    "NEW": {"BUILDING", "FAILED"},
    "BUILDING": {"SAVING", "FAILED", "NEW"},
    "SAVING": {"COMPLETED", "FAILED"},
    "COMPLETED": {"FAILED", "SAVING"},
    "FAILED": {"SAVING", "BUILDING"},
}
COPIED = {"SAVING", "COMPLETED"}
ENDED = {"COMPLETED", "FAILED"}


class Findings:
    """How often each invariant was looked at, and where it does not hold."""

    def __init__(self):
        self.checked = {}
        self.violations = []

    def check(self, invariant, holds, what):
        self.checked[invariant] = self.checked.get(invariant, 0) + 1
        if not holds:
            self.violations.append(f"{invariant}: {what}")


def number(value):
    return None if value is None else int(value)


def changes(findings, rows, log):
    """I2, I3 and I12, in the log of the triggers: `log` is in the order in which the changes were made."""
    last, registered, written, anew = {}, [], {}, {}
    for change in log:
        if change["event"] == "ANEW":
            anew.setdefault(change["id"], []).append(number(change["at_ms"]))
    for change in log:
        if change["event"] in databases.OF_RUNNERS:
            continue
        # Who makes changes says so as the last thing in the same transaction.
        if change["event"] == "COMMIT":
            for made in written.pop(change["connection"], []):
                owner(findings, made, change["id"])
            continue
        row, old, new = change["id"], change["old_state"], change["new_state"]
        what = f"{row} at change {change['number']}"
        written.setdefault(change["connection"], []).append(change)
        known = last.get(row, (None, None, None))
        before = (old, number(change["old_claim"]), change["old_by"])
        findings.check("I2", before == known, f"{what} was {known}, and the change is of {before}")
        if new is None:
            findings.check("I12", False, f"{what} was deleted")
            last.pop(row, None)
            continue
        last[row] = (new, number(change["new_claim"]), change["new_by"])
        if old is None:
            continue
        findings.check("I12", old == new or new in LEGAL.get(old, ()), f"{what} went from {old} to {new}")
        tokens(findings, what, change, anew)
        if new == "COMPLETED" and old != new:
            parent = rows[row]["parent_id"] if row in rows else None
            registered.append((row, parent, last.get(parent, (None,))[0]))
    for row, found in rows.items():
        now = (found["state"], number(found["claim"]), found["claimed_by"])
        findings.check("I2", last.get(row) == now, f"{row} is {now}, and the last change was to {last.get(row)}")
    order(findings, rows, registered)


def tokens(findings, what, change, anew):
    """The token of a row only grows, one by one, and with it the row changes hands; never away from a live runner. Who
    takes it looks at the holder's lease when the statement begins, and may have to wait for the row after that: `anew` has
    when runners took their leases anew which were over until then."""
    old, new = number(change["old_claim"]), number(change["new_claim"])
    findings.check("I2", new in (old, old + 1), f"{what}: the token went from {old} to {new}")
    holder, taker = change["old_by"], change["new_by"]
    if taker is None or taker == holder:
        return
    findings.check("I2", new > old, f"{what}: {taker} has it without a new token")
    until = number(change["lease_until_ms"])
    if holder is not None and until is not None:
        left = until - number(change["at_ms"])
        was_over = left <= 0 or any(at >= number(change["begun_ms"]) for at in anew.get(holder, ()))
        findings.check("I2", was_over, f"{what}: {taker} took it from {holder}, whose lease had {left} ms to go")


def owner(findings, change, runner):
    """Nobody changes what another has, unless it becomes theirs by that, or the other's lease is over; and nobody takes
    anything for another."""
    what = f"{change['id']} at change {change['number']}"
    holder, taker = change["old_by"], change["new_by"]
    findings.check("I2", taker in (None, holder, runner), f"{what}: {runner} has taken it for {taker}")
    if holder not in (None, runner):
        until = number(change["lease_until_ms"])
        is_over = until is not None and until <= number(change["at_ms"])
        findings.check("I2", taker == runner or is_over, f"{what}: {runner} has changed what {holder} had")


def order(findings, rows, registered):
    """I3: a child is registered after its parent, or with it by one record object; `registered` has, in their order, the
    state that the parent had then."""
    for at, (row, parent, state) in enumerate(registered):
        if parent not in rows:
            continue
        of_one = rows[row]["record"] and rows[row]["record"] == rows[parent]["record"]
        together = of_one and any(later == parent for later, _, _ in registered[at:])
        what = f"{row} was registered when its parent {parent} was {state}"
        findings.check("I3", state == "COMPLETED" or together, what)


def objects(findings, rows, places, sources):
    """I1: what the rows say is copied is there, is what the row says, and is what its source is."""
    read = {}
    for row in rows.values():
        region = row["region"]
        if row["state"] not in COPIED or region not in places:
            continue
        what = f"{row['state']} {row['id']} ({row['location']} in {region})"
        findings.check("I1", row["sha256"] and row["verified"], f"{what} has no digest, or no proof")
        found = places[region].digest(row["location"])
        if found is None:
            findings.check("I1", False, f"{what} is not there")
            continue
        said = (number(row["bytes"]), row["sha256"])
        findings.check("I1", found == said, f"{what} has size and SHA-256 {found}, and its row says {said}")
        of = (row["source_region"], row["source_location"])
        if of[0] in sources and of[1]:
            if of not in read:
                read[of] = sources[of[0]].digest(of[1])
            findings.check("I1", found == read[of], f"{what} is not what {of[1]} is in its source")


def catalogs(findings, rows, places, names):
    """I3 and I4: each backup has one live record in its target, that of its row, and a parent that has one or had."""
    for region, place in places.items():
        newest, was_completed = {}, set()
        for line in place.records(names[region]):
            of, before = line["id"], newest.get(line["id"])
            if line["state"] == "COMPLETED":
                live = before is not None and before["state"] == "COMPLETED"
                findings.check("I4", not live, f"{of} has two live records in {region}: {before and before['object']} "
                                               f"and {line['object']}")
                was_completed.add(of)
            newest[of] = line
        for of, line in newest.items():
            parent = line.get("parent_id")
            if line["state"] == "COMPLETED" and parent in rows:
                findings.check("I3", parent in was_completed, f"{of} has a record in {region} and its parent none")
        for row in rows.values():
            if row["region"] != region or row["state"] != "COMPLETED" or not row["record"]:
                continue
            line = newest.get(row["id"], {})
            said = [row["location"], row["sha256"], number(row["bytes"]), row["parent_id"], row["record"], "COMPLETED"]
            found = [line.get(name) for name in ("location", "sha256", "bytes", "parent_id", "object", "state")]
            findings.check("I4", found == said, f"{row['id']} is {said}, and its record in {region} says {found}")


def leftovers(findings, rows, parts, places, names, others, finished):
    """I6: nothing lies about that no row knows; nothing at all once all is done. `others` is what others have put there."""
    known = {row["upload_token"] for row in rows.values()}
    # The temporary of a record object is named after it.
    objects = [f"{stores.RECORDS}{row['record']}.ndjson" for row in rows.values() if row["record"]]
    known |= {uuid.uuid5(uuid.NAMESPACE_URL, name).hex for name in objects}
    for region in places:
        copies = {row["location"] for row in rows.values() if row["region"] == region}
        for name in names[region]:
            if name == stores.PROBE or name.startswith(stores.RECORDS) and name.endswith(".ndjson"):
                continue
            if name in others.get(region, ()):
                continue
            file = name.rpartition("/")[2]
            if file.startswith(".backhaul-"):
                token = file[len(".backhaul-") :].partition(".")[0]
                left = finished or token not in known
                findings.check("I6", not left, f"{name} in {region} was left behind")
            elif finished:
                findings.check("I6", name in copies, f"{name} in {region} is no row's")
    for row in rows.values():
        count = parts.get(row["id"], 0)
        busy = row["state"] not in COPIED and not finished
        findings.check("I6", busy or not count, f"{row['state']} {row['id']} has {count} rows of parts")
        findings.check("I6", busy or not row["upload_token"], f"{row['state']} {row['id']} names an upload")


def ends(findings, rows):
    """I21: nothing is under way any more, and nobody has anything."""
    for row in rows.values():
        findings.check("I21", row["state"] in ENDED, f"{row['id']} is still {row['state']}")
        findings.check("I21", not row["claimed_by"], f"{row['id']} is still claimed by {row['claimed_by']}")


def untouched(findings, before, place):
    """I8: a source is what it was."""
    now = stores.sums(place)
    for name in sorted({*before, *now}):
        findings.check("I8", before.get(name) == now.get(name), f"{name} in {place} was changed")


def others_are_kept(findings, region, place, others):
    """I16: what others have put into a target is what it was."""
    for name, (size, sha256) in others.items():
        found = place.digest(name)
        findings.check("I16", found == (size, sha256), f"{name} in {region} was {sha256}, and is {found}")


def secret(findings, secret, texts):
    """I23: no secret lies anywhere, as it is or as a URL has it."""
    forms = {secret.encode(), urllib.parse.quote(secret, safe="").encode(), json.dumps(secret)[1:-1].encode()}
    for where, text in texts:
        findings.check("I23", not any(form in text for form in forms), f"a secret lies in {where}")


def exits(findings, rows, entries, runs):
    """I11: the last run said 0 exactly if all is registered, and its totals are those of the rows."""
    for plan in {run["plan"] for run in runs}:
        wanted = [rows[entry["backup_id"]] for entry in entries if entry["plan"] == plan]
        of_plan = [run for run in runs if run["plan"] == plan]
        last = max(of_plan, key=lambda run: number(run["ended_ms"]) or 0)
        ended = number(last["ended_ms"])
        is_last = ended is not None and all(number(row["changed_ms"]) <= ended for row in wanted)
        if not is_last or not last["summary"]:
            continue
        summary = json.loads(last["summary"])
        selected, left_out = summary["selected"], summary["left_out"]
        code, done = number(last["exit_code"]), selected["registered"] == selected["total"]
        findings.check("I11", (code == 0) == done, f"run {last['id']} of {plan} ended with {code}: {selected}")
        if selected["total"] + left_out["total"] == len(wanted):
            said = [selected[word] + left_out[word] for word in ("registered", "failed")]
            found = [sum(row["state"] == state for row in wanted) for state in ("COMPLETED", "FAILED")]
            findings.check("I11", said == found, f"run {last['id']} of {plan} said {said}, the rows say {found}")
