"""What a server's log shows: of each request its operation, its key, the bytes of its larger body, its status (none if there
was no answer), and whether a fault struck it, by which the server may have done something else than it said; uploads that are open, and the keys of
objects that were deleted."""

import stores

READS = {"GetObject", "HeadObject", "ListObjects", "HeadBucket", "ListParts", "ListMultipartUploads"}
# What was deleted, the server has written down by itself: a request may be of many.
OTHERS = {"UploadPart", "DeleteObject", "DeleteObjects"}
WRITES = {"PutObject", "CompleteMultipartUpload"}
SENDS = {"PutObject", "UploadPart"}


def succeeded(request):
    return request["status"] is not None and 200 <= request["status"] < 300


def source(findings, name, log):
    """I8: a source is only ever read."""
    for request in log["requests"]:
        holds = request["operation"] in READS
        findings.check("I8", holds, f"{name} got {request['operation']} of {request['key']}")


def transfers(findings, name, is_target, log, rows, twice):
    """I5: no more of an object is read or sent than there is of it, but for what was under way when somebody died."""
    moved, whole = {}, {}
    for request in log["requests"]:
        if request["operation"] in (SENDS if is_target else {"GetObject"}) and request["key"] is not None:
            moved[request["key"]] = moved.get(request["key"], 0) + request["bytes"]
    for row in rows.values():
        region, key = ("region", "location") if is_target else ("source_region", "source_location")
        if row[region] == name and row["bytes"] is not None:
            whole[row[key]] = whole.get(row[key], 0) + int(row["bytes"])
    for key, size in whole.items():
        bytes_moved = moved.get(key, 0)
        what = f"{bytes_moved} bytes of {key} were moved at {name}, which has {size}, and {twice} may be twice"
        findings.check("I5", bytes_moved <= size + twice, what)


def target(findings, name, log, rows, records, finished):
    """I3, I6, I15 and I16 in a target."""
    stored, begun, written = set(), set(), {}
    # What was stored again after it was deleted replaces nothing.
    may_be_gone = {*log["deleted"], stores.PROBE}
    for at, request in enumerate(log["requests"]):
        operation, key = request["operation"], request["key"]
        if operation in WRITES:
            if succeeded(request) and not request["fault"]:
                holds = key not in stored or key in may_be_gone
                findings.check("I15", holds, f"{key} in {name} was replaced at request {at}")
                stored.add(key)
            if succeeded(request) or request["fault"]:
                written.setdefault(key, at)
            begun.add(key)
        elif operation == "CreateMultipartUpload":
            begun.add(key)
        elif operation == "AbortMultipartUpload":
            findings.check("I16", key in begun, f"an upload of {key} in {name}, which nobody had begun, was aborted")
        elif operation not in OTHERS:
            findings.check("I16", operation in READS, f"{name} got {operation} of {key} at request {at}")
    for key in log["deleted"]:
        findings.check("I16", key in begun, f"{key} in {name}, which nobody had stored, was deleted")
    if finished:
        findings.check("I6", not log["uploads"], f"uploads are open in {name}: {log['uploads']}")
    order(findings, name, written, rows, records)


def order(findings, name, written, rows, records):
    """I3: a copy is recorded after it is stored, and not before its parent is."""
    first = {}
    for line in records:
        if line["state"] == "COMPLETED":
            first.setdefault(line["id"], written.get(f"{stores.RECORDS}{line['object']}.ndjson"))
    for of, recorded in first.items():
        row = rows.get(of)
        if row is None or recorded is None:
            continue
        # What was there before the log began is in no request.
        copied = written.get(row["location"])
        if copied is not None:
            what = f"{of} was recorded in {name} at request {recorded} and stored at {copied}"
            findings.check("I3", copied < recorded, what)
        parent = first.get(row["parent_id"])
        if parent is not None:
            what = f"{of} was recorded in {name} at request {recorded} and its parent at {parent}"
            findings.check("I3", parent <= recorded, what)
