"""Events as another server makes them: hashed, signed and named by the rules of their room version; and rooms that a Remote
hosts, whose handshakes it answers as a resident server does.
"""

import base64
import hashlib
import json
import time
from urllib.parse import parse_qs, unquote, urlsplit

from remote import canonical, unpadded

TOP = ["event_id", "type", "room_id", "sender", "state_key", "content", "hashes", "signatures", "depth", "prev_events",
       "auth_events", "origin_server_ts"]
TOP_OLD = TOP + ["origin", "membership", "prev_state"]
POWERS = ["ban", "events", "events_default", "kick", "redact", "state_default", "users", "users_default"]


def number(version):
    return int(version)


def kept_content(version, kind):
    v = number(version)
    kept = {
        "m.room.member": ["membership"] + (["join_authorised_via_users_server"] if v >= 9 else []),
        "m.room.create": ["creator"],
        "m.room.join_rules": ["join_rule"] + (["allow"] if v >= 8 else []),
        "m.room.power_levels": POWERS + (["invite"] if v >= 11 else []),
        "m.room.history_visibility": ["history_visibility"],
        "m.room.redaction": ["redacts"] if v >= 11 else [],
        "m.room.aliases": ["aliases"] if v < 6 else [],
    }
    return kept.get(kind, [])


def redacted(version, event):
    v, kind = number(version), event["type"]
    out = {k: event[k] for k in (TOP if v >= 11 else TOP_OLD) if k in event}
    if kind == "m.room.create" and v >= 11:
        return out
    out["content"] = {k: event["content"][k] for k in kept_content(version, kind) if k in event["content"]}
    if kind == "m.room.member" and v >= 11 and "signed" in event["content"].get("third_party_invite", {}):
        out["content"]["third_party_invite"] = {"signed": event["content"]["third_party_invite"]["signed"]}
    return out


def without(event, *keys):
    return {k: v for k, v in event.items() if k not in keys}


def content_hash(event):
    return unpadded(hashlib.sha256(canonical(without(event, "unsigned", "signatures", "hashes"))).digest())


def reference_hash(version, event):
    return hashlib.sha256(canonical(without(redacted(version, event), "signatures", "age_ts", "unsigned"))).digest()


def event_id(version, event):
    if number(version) < 3:
        return event["event_id"]
    raw = reference_hash(version, event)
    encoded = base64.b64encode(raw) if number(version) == 3 else base64.urlsafe_b64encode(raw)
    return "$" + encoded.decode().rstrip("=")


def room_id_of(create):
    return "!" + event_id("12", create)[1:]


def signed(remote, version, event, **keys):
    """The event with its hash, and this server's signature beside those it has."""
    event = dict(event)
    if "hashes" not in event:
        event["hashes"] = {"sha256": content_hash(event)}
    signatures = remote.sign(without(redacted(version, event), "signatures", "unsigned"), **keys)["signatures"]
    event["signatures"] = {**event.get("signatures", {}), **signatures}
    return event


class RemoteRoom:
    """A room on a Remote: `state` maps (type, key) to event ids, `events` ids to events; heads are its extremities.
    Its events have rising timestamps: where states are resolved, of two that are equally old the id decides.
    """

    newest_ts = 0

    def __init__(self, remote, version="10", creator="rita", join_rule="public", name="Elsewhere", **create):
        self.remote, self.version, self.events, self.state, self.heads = remote, version, {}, {}, []
        self.depth, self.room_id, self.before, self.offered = 0, None, {}, []
        self.creator = f"@{creator}:{remote.name}"
        content = {"room_version": version, **create}
        if number(version) < 11:
            content["creator"] = self.creator
        if number(version) < 12:
            self.room_id = f"!r{time.time_ns()}:{remote.name}"
        else:
            content["nonce"] = str(time.time_ns())  # Rooms of one millisecond would be one room.
        self.put("m.room.create", content, "")
        self.put("m.room.member", {"membership": "join"}, self.creator)
        users = {} if number(version) >= 12 else {self.creator: 100}
        self.put("m.room.power_levels", {"users": users, "invite": 0}, "")
        self.put("m.room.join_rules", {"join_rule": join_rule} if isinstance(join_rule, str) else join_rule, "")
        self.put("m.room.history_visibility", {"history_visibility": "shared"}, "")
        if name:
            self.put("m.room.name", {"name": name}, "")

    # Making

    def auth_for(self, kind, sender, key, content):
        wanted = [("m.room.create", ""), ("m.room.power_levels", ""), ("m.room.member", sender)]
        if number(self.version) >= 12:
            wanted.remove(("m.room.create", ""))
        if kind == "m.room.member":
            wanted.append(("m.room.member", key))
            if content.get("membership") in ("join", "invite", "knock"):
                wanted.append(("m.room.join_rules", ""))
            if "join_authorised_via_users_server" in content:
                wanted.append(("m.room.member", content["join_authorised_via_users_server"]))
            if "third_party_invite" in content:
                wanted.append(("m.room.third_party_invite", content["third_party_invite"]["signed"]["token"]))
        if kind == "m.room.create":
            wanted = []
        found = []
        for w in wanted:
            if w in self.state and self.state[w] not in found:
                found.append(self.state[w])
        return found

    def edges(self, names):
        if number(self.version) >= 3:
            return list(names)
        return [[n, {"sha256": unpadded(reference_hash(self.version, self.events[n]))}] for n in names]

    def template(self, kind, content, key=None, sender=None, **more):
        sender = sender or self.creator
        event = {"type": kind, "content": content, "sender": sender, "depth": self.depth + 1,
                 "origin_server_ts": max(int(time.time() * 1000), self.newest_ts + 1), "prev_events": self.edges(self.heads),
                 "auth_events": self.edges(self.auth_for(kind, sender, key, content))}
        if number(self.version) < 3:
            event["event_id"] = f"$e{time.time_ns()}:{self.remote.name}"
        if self.room_id:
            event["room_id"] = self.room_id
        if key is not None:
            event["state_key"] = key
        return dict(event, **more)

    def make(self, kind, content, key=None, sender=None, signer=None, **more):
        """A signed event that the room does not have yet."""
        return signed(signer or self.remote, self.version, self.template(kind, content, key, sender, **more))

    def add(self, event):
        """Takes an event, whoever made it, as the newest. Its id."""
        name = event_id(self.version, event)
        if event["type"] == "m.room.create" and number(self.version) >= 12:
            self.room_id = room_id_of(event)
        self.before[name] = dict(self.state)
        self.events[name] = event
        if "state_key" in event:
            self.state[event["type"], event["state_key"]] = name
        self.heads, self.depth = [name], max(self.depth, event["depth"])
        self.newest_ts = max(self.newest_ts, event["origin_server_ts"])
        return name

    def put(self, kind, content, key=None, sender=None, **more):
        return self.add(self.make(kind, content, key, sender, **more))

    def cited(self, name):
        return [a if isinstance(a, str) else a[0] for a in self.events[name]["auth_events"]]

    def chain(self, names):
        found, todo = {}, [a for n in names for a in self.cited(n)]
        while todo:
            name = todo.pop()
            if name not in found:
                found[name] = self.events[name]
                todo += self.cited(name)
        return [e for n, e in self.events.items() if n in found]

    def content(self, kind, key=""):
        return self.events[self.state[kind, key]]["content"] if (kind, key) in self.state else None

    def membership(self, user):
        return (self.content("m.room.member", user) or {}).get("membership")

    def stripped(self):
        kinds = ["m.room.create", "m.room.join_rules", "m.room.name"]
        return [self.events[self.state[k, ""]] for k in kinds if (k, "") in self.state]

    # Answering handshakes

    def serve(self):
        """The remote answers for this room from now on."""
        for act in ("join", "leave", "knock"):
            self.remote.routes[f"GET /_matrix/federation/v1/make_{act}/"] = lambda r, act=act: self.on_make(r, act)
            for v in ("v1", "v2"):
                self.remote.routes[f"PUT /_matrix/federation/{v}/send_{act}/"] = lambda r, act=act: self.on_send(r, act)
        return self

    def on_make(self, request, act):
        user = unquote(request.path.split("/")[6])
        event = self.template("m.room.member", {"membership": act}, user, user)
        return 200, {"room_version": self.version, "event": event}

    def on_send(self, request, act):
        event = request.json
        self.offered.append(event)
        state = dict(self.state)
        self.add(event)
        if act == "leave":
            return 200, {}
        if act == "knock":
            return 200, {"knock_room_state": self.stripped()}
        return 200, self.join_answer(event, state)

    def vouch(self, request):
        """Takes a join with this server's signature, too, and gives it back so."""
        state, event = dict(self.state), signed(self.remote, self.version, request.json)
        self.offered.append(event)
        self.add(event)
        return 200, self.join_answer(event, state)

    def join_answer(self, event, state):
        names = list(state.values())
        ours = event_id(self.version, event)
        return {"origin": self.remote.name, "members_omitted": False, "event": event,
                "state": [self.events[n] for n in names], "auth_chain": self.chain(names + [ours])}


def dumps(value):
    return json.dumps(value).encode()


class JoinedRoom(RemoteRoom):
    """A room of a server under test that a user of a Remote has joined: the remote's copy, which makes events like its own."""

    def __init__(self, remote, ours, room_id, user, path):
        self.remote, self.room_id, self.creator, self.before, self.offered = remote, room_id, user, {}, []
        self.events, self.state, self.depth = {}, {}, 0
        versions = "&".join(f"ver={n}" for n in range(1, 13))
        template = remote.ask(ours, "GET", f"/_matrix/federation/v1/make_join/{path(room_id)}/{path(user)}?{versions}").ok()
        self.version = template["room_version"]
        join = signed(remote, self.version, dict(template["event"], origin=remote.name))
        uri = f"/_matrix/federation/v2/send_join/{path(room_id)}/{path(event_id(self.version, join))}"
        answer = remote.ask(ours, "PUT", uri, join).ok()
        for event in answer["auth_chain"] + answer["state"]:
            self.events[event_id(self.version, event)] = event
        for event in answer["state"]:
            self.state[event["type"], event["state_key"]] = event_id(self.version, event)
        self.join = self.add(answer["event"])

    def hear(self, pdus):
        """Takes events of the server under test, as it pushed them, in order."""
        for pdu in pdus:
            self.add(pdu)


def history(remote, copies):
    """The remote answers what is asked of the history of these rooms (id -> RemoteRoom)."""
    v1 = "/_matrix/federation/v1"

    def room_of(request):
        return copies[unquote(request.path.split("/")[5])]

    def on_event(request):
        name = unquote(request.path.split("/")[5])
        found = next((c.events[name] for c in copies.values() if name in c.events), None)
        pdus = {"origin": remote.name, "origin_server_ts": 1, "pdus": [found]}
        return (200, pdus) if found else (404, {"errcode": "M_NOT_FOUND", "error": "no such event"})

    def state_at(request):
        room, name = room_of(request), request.query["event_id"]
        return room, list(room.before[name].values())

    def on_state_ids(request):
        room, names = state_at(request)
        chain = [event_id(room.version, e) for e in room.chain(names)]
        return 200, {"pdu_ids": names, "auth_chain_ids": chain}

    def on_state(request):
        room, names = state_at(request)
        return 200, {"pdus": [room.events[n] for n in names], "auth_chain": room.chain(names)}

    def on_missing(request):
        room, known = room_of(request), set(request.json["earliest_events"])
        found, todo = [], list(request.json["latest_events"])
        while todo and len(found) < request.json["limit"]:
            for prev in room.events[todo.pop(0)]["prev_events"]:
                if prev in room.events and prev not in known and room.events[prev]["depth"] >= request.json["min_depth"]:
                    known.add(prev)
                    found.append(room.events[prev])
                    todo.append(prev)
        return 200, {"events": found[: request.json["limit"]][::-1]}

    def on_backfill(request):
        room, query = room_of(request), parse_qs(urlsplit(request.target).query)
        found, todo = [], [name for name in query["v"] if name in room.events]
        while todo and len(found) < int(query["limit"][0]):
            name = max(todo, key=lambda n: room.events[n]["depth"])
            todo.remove(name)
            found.append(name)
            prevs = [p if isinstance(p, str) else p[0] for p in room.events[name]["prev_events"]]
            todo += [p for p in prevs if p in room.events and p not in todo and p not in found]
        return 200, {"origin": remote.name, "origin_server_ts": 1, "pdus": [room.events[n] for n in found]}

    def on_timestamp(request):
        ts, back = int(request.query["ts"]), request.query["dir"] == "b"
        times = [(e["origin_server_ts"], name) for name, e in room_of(request).events.items()]
        fit = [t for t in times if (t[0] <= ts if back else t[0] >= ts)]
        if not fit:
            return 404, {"errcode": "M_NOT_FOUND", "error": "no such event"}
        found = max(fit) if back else min(fit)
        return 200, {"event_id": found[1], "origin_server_ts": found[0]}

    remote.routes[f"GET {v1}/timestamp_to_event/"] = on_timestamp
    remote.routes[f"GET {v1}/backfill/"] = on_backfill
    remote.routes[f"GET {v1}/event/"] = on_event
    remote.routes[f"GET {v1}/state_ids/"] = on_state_ids
    remote.routes[f"GET {v1}/state/"] = on_state
    remote.routes[f"POST {v1}/get_missing_events/"] = on_missing
