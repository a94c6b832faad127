"""What must be true of a region whose store is Swift and whose catalog is Trove's database."""

import clouds

# By which the requests of Backhaul are known.
AGENT = "backhaul/"
LONGEST_LOCATION = 1024


def target(findings, name, cloud, rows, finished):
    registered(findings, name, cloud, rows)
    leftovers(findings, name, cloud, rows, finished)
    writes(findings, name, cloud)


def is_ours(request):
    return request["agent"].startswith(AGENT)


def registered(findings, name, cloud, rows):
    """I3, I4 and I13 in Trove's rows as they are, and in what the objects say of their parents."""
    live, changes = cloud.backups()
    by_id = {found["id"]: found for found in live}
    here = {}
    for found in live:
        place = clouds.path(found["location"])
        if cloud.is_here(place):
            here.setdefault(place, []).append(found["id"])
    copies = {row["location"]: row for row in rows.values() if row["region"] == name}
    for place, ids in here.items():
        findings.check("I4", len(ids) == 1, f"{place} in {name} is registered as {ids}")
        findings.check("I4", place in copies, f"{place} in {name} is registered, and no row's")
    for place, row in copies.items():
        if row["state"] == "COMPLETED" and cloud.is_here(place):
            own = row["registered_id"] or row["id"]
            found = by_id.get(own)
            is_its_own = found is not None and clouds.path(found["location"]) == place
            findings.check("I4", is_its_own, f"{row['id']} is COMPLETED, and {own} in Trove of {name} is {found}")
            if is_its_own:
                link(findings, name, cloud, rows, row, found, by_id)
    instants(findings, name, cloud, changes)


def link(findings, name, cloud, rows, row, found, by_id):
    """I13: what Trove's restore goes by. I3: the parent is there."""
    place, what = row["location"], f"{found['id']} in Trove of {name}"
    etag = cloud.etag(place)
    findings.check("I13", etag and found["checksum"] == etag, f"{what} has {found['checksum']}, and {place} {etag}")
    fits = len(found["location"]) <= LONGEST_LOCATION and place.count("/") == 2
    findings.check("I13", fits, f"{what} has the location {found['location']}")
    is_its_tenants = place.startswith(f"AUTH_{found['tenant_id']}/")
    findings.check("I13", is_its_tenants, f"{what} is of {found['tenant_id']}, and lies in {place}")
    parent = rows.get(row["parent_id"])
    if parent is not None:
        wanted = parent["registered_id"] or parent["id"]
        findings.check("I3", found["parent_id"] == wanted, f"{what} names {found['parent_id']}, its row {wanted}")
    if found["parent_id"] is None:
        return
    above = by_id.get(found["parent_id"])
    findings.check("I3", above is not None, f"{what} is registered without its parent {found['parent_id']}")
    if above is None:
        return
    head = cloud.head(place) or {}
    says = head.get("x-object-meta-parent-location"), head.get("x-object-meta-parent-checksum")
    wanted = above["location"], cloud.etag(clouds.path(above["location"]))
    findings.check("I13", says == wanted, f"{place} says that its parent is {says}, and that is {wanted}")


def instants(findings, name, cloud, changes):
    """I3 and I4 at every instant since Trove's rows were watched."""
    live, known = {}, set()
    for change in changes:
        own, place = change["id"], clouds.path(change["location"])
        is_live = change["event"] != "DELETE" and change["deleted"] == "0"
        (known.add if is_live else known.discard)(own)
        if not cloud.is_here(place):
            continue
        there = live.setdefault(place, set())
        (there.add if is_live else there.discard)(own)
        what = f"at change {change['number']} of Trove's rows in {name}"
        findings.check("I4", len(there) < 2, f"{what} {place} was registered as {sorted(there)}")
        if change["event"] == "INSERT" and change["parent_id"] is not None:
            holds = change["parent_id"] in known
            findings.check("I3", holds, f"{what} {own} was there without its parent {change['parent_id']}")


def leftovers(findings, name, cloud, rows, finished):
    """I6: no segment is there but those of manifests and of copies under way; nothing unknown once all is done."""
    copies = {row["location"] for row in rows.values() if row["region"] == name}
    tokens = {row["upload_token"] for row in rows.values()}
    known = {*cloud.before, *copies}
    for copy in copies:
        if cloud.is_here(copy):
            known.update(cloud.segments(copy))
    for found in cloud.listed():
        segment = clouds.SEGMENT.match(found)
        is_under_way = not finished and segment is not None and segment["token"] in tokens
        holds = found in known or is_under_way or cloud.head(found) is None
        findings.check("I6", holds, f"{found} in {name} was left behind")


def source(findings, name, cloud):
    """I8: Backhaul only reads a source."""
    accounts = {container.partition("/")[0] for container in cloud.containers}
    for request in cloud.requests():
        if is_ours(request) and request["name"].partition("/")[0] in accounts:
            holds = request["method"] in ("GET", "HEAD")
            findings.check("I8", holds, f"{name} got {request['method']} of {request['name']}")


def writes(findings, name, cloud):
    """I15 and I16. Swift takes two objects of one name that are both new when their PUTs begin, whatever these ask for.
    What became of a manifest that was put with a heartbeat stands in the answer's body alone, and the log has 202: that
    counts as begun."""
    log = cloud.requests()
    stored = {place: 0.0 for place in cloud.before}
    begun = {request["name"] for request in log if request["method"] == "PUT" and is_ours(request)}
    for at, request in enumerate(log):
        method, place, status = request["method"], request["name"], request["status"]
        if not cloud.is_here(place):
            continue
        what = f"{place} in {name} at request {at}"
        if method == "PUT" and is_ours(request):
            if status == 201 and not clouds.SEGMENT.match(place):
                was_new = place not in stored or request["began"] < stored[place]
                findings.check("I15", was_new, f"{what} was replaced")
                stored[place] = min(request["ended"], stored.get(place, request["ended"]))
        elif method == "POST" and is_ours(request):
            findings.check("I15", place not in cloud.before, f"{what} was changed, and is not ours")
        elif method == "DELETE" and 200 <= status < 300:
            holds = place in begun or not is_ours(request)
            findings.check("I16", holds, f"{what} was deleted, and nobody had stored it")
            stored.pop(place, None)
    for place, version in cloud.before.items():
        now = cloud.version(place)
        findings.check("I16", now == version, f"{place} in {name} was {version}, and is {now}")
