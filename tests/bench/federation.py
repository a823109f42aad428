"""What benchmarks do with scripted other servers (tests/e2e/remote.py): the join of a large room that one of them has, events
that several of them push, and an event after a gap. Every event is signed, and made before the clock starts.
"""

import concurrent.futures
import http.client
import json
import ssl
import sys
import time

import harness
from big_gap import Large, Nothing, Peak, measure_gap
from harness import q
from pdus import JoinedRoom, RemoteRoom
from remote import Authority, Remote, federating

JOIN_LIMIT_S, PUSH_LIMIT_S = 180, 120
ORIGINS, ROOMS_EACH, TRANSACTION = 4, 5, 50


def make_room(remote, members):
    room = RemoteRoom(remote, "11", name="Large")
    room.before = Nothing()
    for n in range(members - 1):
        user = f"@member{n}:{remote.name}"
        content = {"membership": "join", "displayname": f"Member number {n}", "avatar_url": f"mxc://{remote.name}/avatar{n:032}"}
        room.put("m.room.member", content, user, user)
    return room


def serve(room):
    """What does not depend on the join is printed beforehand."""
    names = list(room.state.values())
    fixed = json.dumps({"origin": room.remote.name, "members_omitted": False, "auth_chain": room.chain(names),
                        "state": [room.events[n] for n in names]}).encode()
    room.serve()
    room.remote.routes["PUT /_matrix/federation/v2/send_join/"] = lambda r: (200, fixed)
    return len(fixed)


def big_join(members, runs):
    """The join of a room of so many members: seconds from the request to the answer, and the memory of the process."""
    authority = Authority()
    remote = Remote(authority)
    print(f"making a room of {members} members", file=sys.stderr, flush=True)
    room = make_room(remote, members)
    size = serve(room)
    for _ in range(runs):
        server = federating(authority).start()
        try:
            user = server.register("joiner")
            before, cpu, peak, begun = server.rss_mb(), server.cpu_s(), Peak(server), time.monotonic()
            reply = user.request("POST", f"/join/{q(room.room_id)}?via={q(remote.name)}", {}, timeout=JOIN_LIMIT_S)
            took, most = time.monotonic() - begun, peak.stop()
            reply.ok()
            joined = user.sync(filter='{"room":{"state":{"lazy_load_members":true}}}')["rooms"]["join"][room.room_id]
            assert joined["summary"]["m.joined_member_count"] == members + 1
            yield f"join of a room of {members} members, {size / 1e6:.1f} MB of state", took, "s"
            yield "  server CPU", server.cpu_s() - cpu, "s"
            yield "  peak memory", most, "MB"
            yield "  memory before", before, "MB"
        finally:
            server.stop()
            server.remove()
    remote.close()


def gap(state, older, lacking):
    """An event after a gap, in a room of another server that is here but for so many of its state events and as many of the
    further auth events, `older` for each of the state; beside that all of the room, which a server gets that joins it.
    """
    print(f"making a room of {state} state events and {older * state} further auth events", file=sys.stderr, flush=True)
    large = Large(Authority())
    try:
        got = measure_gap(large, state, older, lacking)
        yield f"a gap before {state} state and {older * state} auth events, {lacking} of each not here", got["seconds"], "s"
        yield "  memory before the gap", got["mb_before"], "MB"
        yield "  peak memory of the gap", got["mb"], "MB"
        for name in ("gap_events_loaded_total", "gap_headers_read_total", "gap_events_fetched_total"):
            yield f"  greenroom_{name}", got[name], ""
        _, _, whole = large.joined()
        yield "  all of it instead, by a join", whole["seconds"], "s"
        yield "  memory before that join", whole["mb_before"], "MB"
        yield "  peak memory of that join", whole["mb"], "MB"
    finally:
        large.close()


class Origin:
    """A server with users in rooms of the one that is measured, and what it will push: whole requests, signed."""

    def __init__(self, authority, server, rooms, user, transactions):
        self.server, self.remote = server, Remote(authority)
        copies = [JoinedRoom(self.remote, server, room, f"@{user}:{self.remote.name}", q) for room in rooms]
        for copy in copies:
            copy.before = Nothing()
        self.newest = {}               # of each room
        self.requests = [self.request(copies, n) for n in range(transactions)]
        context = ssl.create_default_context(cafile=authority.file)
        self.connection = http.client.HTTPSConnection("localhost", server.federation_port, timeout=60, context=context)

    def request(self, copies, number):
        pdus = []
        for n in range(TRANSACTION):
            copy = copies[n % len(copies)]
            name = copy.put("m.room.message", {"msgtype": "m.text", "body": f"Message {number} {n} of this server"})
            pdus.append(copy.events.pop(name))
            self.newest[copy.room_id] = name
        body = {"origin": self.remote.name, "origin_server_ts": 1, "pdus": pdus}
        uri = f"/_matrix/federation/v1/send/b{number}"
        header = self.remote.header("PUT", uri, self.server.server_name, body)
        return uri, json.dumps(body).encode(), {"Authorization": header, "Content-Type": "application/json"}

    def push(self):
        """All, one after the other as servers do: milliseconds that each took."""
        times = []
        for request in self.requests:
            begun = time.monotonic()
            self.connection.request("PUT", *request)
            answer = self.connection.getresponse()
            told = json.loads(answer.read())
            assert answer.status == 200 and not any("error" in result for result in told["pdus"].values()), told
            times.append(1000 * (time.monotonic() - begun))
        return times


def pushes(transactions):
    """Events that several servers push at once, each into rooms of its own."""
    authority = Authority()
    server = federating(authority).start()
    try:
        alice = server.register("alice")
        print(f"making {ORIGINS * transactions * TRANSACTION} events", file=sys.stderr, flush=True)
        origins = []
        for n in range(ORIGINS):
            rooms = [alice.create(room_version="11") for _ in range(ROOMS_EACH)]
            origins.append(Origin(authority, server, rooms, f"rita{n}", transactions))
        for count in (1, ORIGINS - 1):
            yield from pushed(server, alice, [origins.pop() for _ in range(count)], transactions)
    finally:
        server.stop()
        server.remove()


def pushed(server, alice, origins, transactions):
    newest = {room: name for origin in origins for room, name in origin.newest.items()}
    cpu, peak, begun = server.cpu_s(), Peak(server), time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(len(origins)) as pool:
        times = sorted(ms for of in pool.map(Origin.push, origins) for ms in of)
    answered_s = time.monotonic() - begun
    while newest:
        assert time.monotonic() < begun + PUSH_LIMIT_S, f"not all events came into {len(newest)} rooms"
        for room, name in list(newest.items()):
            chunk = alice.get_(f"/rooms/{q(room)}/messages", dir="b", limit=1).ok()["chunk"]
            if chunk and chunk[0]["event_id"] == name:
                del newest[room]
    took_s, most = time.monotonic() - begun, peak.stop()
    count = len(origins) * transactions * TRANSACTION
    who = f"{len(origins)} server{'s' if len(origins) > 1 else ''}"
    yield f"PDUs of {who}, {TRANSACTION} in a transaction: until in the rooms", count / took_s, "/s"
    yield f"  until the last transaction is answered, {who}", count / answered_s, "/s"
    yield f"  a transaction p50, {who}", times[len(times) // 2], "ms"
    yield f"  a transaction p99, {who}", times[len(times) * 99 // 100], "ms"
    yield f"  server CPU a PDU, {who}", 1000 * (server.cpu_s() - cpu) / count, "ms"
    yield f"  peak memory, {who}", most, "MB"
