"""What the times in servers' logs show: when each request came (`at_ms`), when its answer had left or was given up
(`ended_ms`), on which connection, and who had signed it. By the clock of this machine, which is the database's too."""

MOVES = {"GetObject", "PutObject", "UploadPart"}
WRITES = {"PutObject", "CopyObject", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload", "DeleteObject",
          "DeleteObjects", "AbortMultipartUpload"}
# What limits are held over, unless the limits say otherwise.
WINDOW_MS = 10_000
MORE = 1.1
# What a connection may be ahead or behind: a slice is let through at a time, and is on its way then.
SLICE = 256 * 1024
# How long a server may need to see that somebody has hung up.
HANGS_UP_MS = 500
# What is left of a time to wait that is honoured.
HONOURED = 0.9
# Who waits for a connection while another's request is answered has asked already, and gets it with the answer's end.
HANDED_ON_MS = 50
GRACE_MS = 1_000


def rates(findings, logs, limits):
    """I17. `limits` has `bandwidth` (read, of all stores), and for `regions` what goes in and out, and requests."""
    window = limits.get("window_ms", WINDOW_MS)
    if "bandwidth" in limits:
        read = [moved for log in logs.values() for moved in moves(log) if moved[3] == "GetObject"]
        most_bytes(findings, "all that was read", read, window, limits["bandwidth"])
    for name, of_region in limits.get("regions", {}).items():
        if "bandwidth" in of_region:
            most_bytes(findings, f"all that {name} moved", moves(logs[name]), window, of_region["bandwidth"])
        if "requests_per_second" in of_region:
            requests = logs[name]["requests"]
            came = [(request["at_ms"], request["ended_ms"] or request["at_ms"], 1, None) for request in requests]
            most = of_region["requests_per_second"] * window / 1000 * MORE + 1
            fullest(findings, f"the requests of {name}", came, window, most, 1)


def moves(log):
    """Of each request whose bytes certainly have passed: when it came, when they had, how many, what it was. Who reads
    may be behind the server, but asks for more on the same connection only when all is read."""
    found, open_by = [], {}
    for request in sorted(log["requests"], key=lambda request: request["at_ms"]):
        before = open_by.pop(request["connection"], None)
        if before is not None:
            found.append((before["at_ms"], request["at_ms"], before["bytes"], before["operation"]))
        open_by[request["connection"]] = request
    return found


def most_bytes(findings, what, moved, window, bytes_per_second):
    """Of each request no more counts than it may be ahead or behind; the connections are as many as were in use."""
    fullest(findings, what, moved, window, bytes_per_second * window / 1000 * MORE, SLICE)


def fullest(findings, what, moved, window, most, slice_of_each):
    """Of all windows the one with the most in it, of what lies in it wholly, but for a slice of all that was under way at
    one time: it may have been let through before. Each begins with something."""
    moved = sorted(moved)
    worst, begins_at = 0, 0
    for at, (began, *_) in enumerate(moved):
        inside = [one for one in moved[at:] if one[0] <= began + window and one[1] <= began + window]
        amount = sum(one[2] for one in inside) - slice_of_each * together(inside)
        if amount > worst:
            worst, begins_at = amount, began
    findings.check("I17", worst <= most, f"{what}: {worst} in {window} ms from {begins_at} on, at most {most:.0f}")


def together(moved):
    """How many went on at one time at most."""
    steps = sorted([(one[0], 1) for one in moved] + [(one[1], -1) for one in moved])
    now = most = 0
    for _, step in steps:
        now += step
        most = max(most, now)
    return most


def concurrency(findings, logs, limits):
    """I18: copies that move bytes at one time, in all and of each region."""
    if "concurrency" in limits:
        copies_at_once(findings, "all stores", logs.values(), limits["concurrency"])
    for name, of_region in limits.get("regions", {}).items():
        if "concurrency" in of_region:
            copies_at_once(findings, name, [logs[name]], of_region["concurrency"])


def copies_at_once(findings, what, logs, most):
    """A copy is its object's name, which it has in all stores. Too many are too many only if they last."""
    steps = []
    for log in logs:
        for request in log["requests"]:
            is_copy = request["operation"] in MOVES and not request["key"].startswith(".backhaul/")
            if is_copy and request["ended_ms"] is not None:
                steps += [(request["at_ms"], 1, request["key"]), (request["ended_ms"], -1, request["key"])]
    under_way, since, longest, which = {}, None, 0, []
    for at, step, key in sorted(steps):
        under_way[key] = under_way.get(key, 0) + step
        now = [name for name, count in under_way.items() if count > 0]
        if since is not None and at - since > longest:
            longest, which = at - since, too_many
        if len(now) > most:
            since, too_many = since if since is not None else at, now
        else:
            since = None
    findings.check("I18", longest <= HANGS_UP_MS, f"{what}: {which} at one time for {longest} ms, at most {most}")


def patience(findings, name, log):
    """I19: who was told to come back later does. On the same connection nothing that comes later was under way then, but
    for what had waited for it."""
    told = {}
    for request in sorted(log["requests"], key=lambda request: request["at_ms"]):
        connection = request["connection"]
        if connection in told and request["at_ms"] > told[connection][0] + HANDED_ON_MS:
            answered, wait = told.pop(connection)
            early = answered + wait * HONOURED - request["at_ms"]
            asked = f"{request['operation']} of {request['key']}"
            what = f"{name} was asked for {asked} {early:.0f} ms before it wanted to be"
            findings.check("I19", early <= 0, what)
        wait = wanted(request)
        if wait:
            told[connection] = request["ended_ms"] or request["at_ms"], wait


def wanted(request):
    """For how many milliseconds after its answer the server wants to be left alone: five minutes at most, and a number
    that fits in no 64 bits is none."""
    text = request["retry_after"]
    if text is None or request["status"] is None:
        return 0
    if text.strip().isdecimal() and int(text) < 1 << 64:
        return min(int(text), 300) * 1000
    import email.utils  # It takes a while, and is for those who say it as a date.

    try:
        date = email.utils.parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return 0
    return max(0, min(date.timestamp() * 1000 - request["at_ms"], 300_000))


def quiet(findings, invariant, since, logs, changes):
    """I7 and I9: from then on no store was written; by a dry run the database neither."""
    for name, log in logs.items():
        later = [request for request in log["requests"] if request["at_ms"] >= since]
        written = [request["key"] for request in later if request["operation"] in WRITES]
        findings.check(invariant, not written, f"{name} was written: {written}")
    if invariant == "I7":
        changed = [f"{change['event']} of {change['id']}" for change in changes if int(change["at_ms"]) >= since]
        findings.check(invariant, not changed, f"the database was written: {changed}")


def leases(findings, name, log, changes, crew):
    """I20: a second after its lease was over, by the database's clock, a runner begins no write, unless it slept.
    `crew` says which process has signed with which key, and when processes slept."""
    until, pids = {}, {}
    for change in changes:
        if change["event"] in ("JOIN", "LEASE"):
            pids[change["id"]] = int(change["pid"])
            until.setdefault(int(change["pid"]), []).append((int(change["at_ms"]), int(change["lease_until_ms"])))
    of_key = {runner["access_key_id"]: runner for runner in crew}
    for request in log["requests"]:
        runner = of_key.get(request["access_key_id"])
        if runner is None or request["operation"] not in WRITES:
            continue
        at = request["at_ms"]
        if any(begin <= at <= end + GRACE_MS for begin, end in runner["slept"]):
            continue
        held = max((end for begin, end in until.get(runner["pid"], ()) if begin <= at), default=None)
        late = None if held is None else at - held
        asked = f"{request['operation']} of {request['key']}"
        what = f"{name} got {asked} by process {runner['pid']} {late} ms after its lease"
        findings.check("I20", late is not None and late <= GRACE_MS, what)
