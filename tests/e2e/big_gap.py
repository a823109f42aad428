"""A large room of another server of which ours lacks a little: what it costs to take an event after a gap, and to get all of
the room instead. For tests and benchmarks.
"""

import json
import threading
import time
from urllib.parse import unquote

import harness
from pdus import RemoteRoom
from remote import Remote, federating

V1, V2 = "/_matrix/federation/v1", "/_matrix/federation/v2"
COUNTERS = ("gap_events_loaded_total", "gap_headers_read_total", "gap_events_fetched_total")


class Nothing(dict):
    """Keeps nothing: the states in between would fill the memory."""

    def __setitem__(self, key, value):
        pass


class Peak:
    """The largest resident size seen of a process."""

    def __init__(self, server):
        self.server, self.mb, self.over = server, 0, False
        self.thread = threading.Thread(target=self.watch, daemon=True)
        self.thread.start()

    def watch(self):
        while not self.over:
            self.mb = max(self.mb, self.server.rss_mb())
            time.sleep(0.02)

    def stop(self):
        self.over = True
        self.thread.join()
        return self.mb


class BigRoom(RemoteRoom):
    """Each member has joined and then been renamed, so that a state event has `older` auth events which are no state."""

    def __init__(self, remote):
        super().__init__(remote, "11", name="Large")
        self.before, self.lost = Nothing(), None

    def add_members(self, first, count, older):
        for n in range(first, first + count):
            user = f"@member{n}:{self.remote.name}"
            for turn in range(older + 1):
                self.put("m.room.member", {"membership": "join", "displayname": f"Member {n}, name {turn}"}, user, user)

    def serve_join(self):
        """What does not depend on the join is printed beforehand."""
        names = list(self.state.values())
        fixed = json.dumps({"origin": self.remote.name, "members_omitted": False, "auth_chain": self.chain(names),
                            "state": [self.events[n] for n in names]}).encode()
        self.serve()
        self.remote.routes[f"PUT {V2}/send_join/"] = lambda r: (self.add(r.json), (200, fixed))[1]

    def serve_gap(self):
        """A message gets lost, and one that follows it is returned. What a server asks for that has got it is served."""
        names = list(self.state.values())
        chain = self.chain_ids(names)
        told = json.dumps({"pdu_ids": names, "auth_chain_ids": chain}).encode()
        self.lost = self.put("m.room.message", {"msgtype": "m.text", "body": "lost"})
        last = self.make("m.room.message", {"msgtype": "m.text", "body": "last"})
        missing = 404, {"errcode": "M_NOT_FOUND", "error": "no"}
        self.remote.routes.update({
            f"POST {V1}/get_missing_events/": (200, {"events": []}),
            f"GET {V1}/state_ids/": (200, told),
            f"GET {V1}/backfill/": missing,
            f"GET {V1}/event/": lambda r: self.on_event(r) or missing,
            f"PUT {V1}/send/": (200, {"pdus": {}}),
        })
        return last

    def chain_ids(self, names):
        found, todo = set(), [a for n in names for a in self.cited(n)]
        while todo:
            name = todo.pop()
            if name not in found:
                found.add(name)
                todo += self.cited(name)
        return [name for name in self.events if name in found]

    def on_event(self, request):
        found = self.events.get(unquote(request.path.split("/")[5]))
        return (200, {"origin": self.remote.name, "origin_server_ts": 1, "pdus": [found]}) if found else None


class Large:
    """A remote with such a room, and servers of ours that get to know it."""

    def __init__(self, authority):
        self.authority, self.remote, self.servers = authority, Remote(authority), []
        self.room = BigRoom(self.remote)

    def joined(self):
        """A new server and its user who has joined the room; what that took: seconds, megabytes, before and at most."""
        server = federating(self.authority).start()
        self.servers.append(server)
        self.room.serve_join()
        user, path = server.register("joiner"), f"/join/{harness.q(self.room.room_id)}?via={harness.q(self.remote.name)}"
        before, peak, begun = server.rss_mb(), Peak(server), time.monotonic()
        answer = user.request("POST", path, {}, timeout=600)
        while answer.status == 504 and time.monotonic() < begun + 600:     # it goes on; who asks again waits for it
            answer = user.request("POST", path, {}, timeout=600)
        answer.ok()
        return server, user, {"seconds": time.monotonic() - begun, "mb_before": before, "mb": peak.stop()}

    def close(self):
        for server in self.servers:
            server.stop()
            server.remove()
        self.remote.close()


def measure_gap(large, state, older, lacking):
    """A server that lacks as many of the state events as of their auth events takes an event after a gap."""
    large.room.add_members(0, state - lacking, older)
    server, user, _ = large.joined()
    renamed = lacking // older
    large.room.add_members(state - lacking, renamed, older)
    large.room.add_members(state - lacking + renamed, lacking - renamed, 0)
    return close_gap(server, user, large.room)


def close_gap(server, user, room, limit_s=60):
    last = room.serve_gap()
    since, before = user.sync()["next_batch"], server.metrics()
    body = {"origin": room.remote.name, "origin_server_ts": last["origin_server_ts"], "pdus": [last], "edus": []}
    peak, mb, begun = Peak(server), server.rss_mb(), time.monotonic()
    assert all(r == {} for r in room.remote.ask(server, "PUT", f"{V1}/send/gap", body).ok()["pdus"].values())

    def came(answer):
        told = answer.get("rooms", {}).get("join", {}).get(room.room_id, {}).get("timeline", {}).get("events", [])
        return any(event["content"].get("body") == "last" for event in told)

    user.sync_until(came, since, limit_s)
    seconds, after = time.monotonic() - begun, server.metrics()
    counted = {name: int(after[f"greenroom_{name}"] - before[f"greenroom_{name}"]) for name in COUNTERS}
    return {"seconds": seconds, "mb_before": mb, "mb": peak.stop(), **counted}
