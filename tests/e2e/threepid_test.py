"""Invites of somebody known by an e-mail address, through a scripted identity server and between servers."""

import base64
import hashlib
import itertools

import pytest

import harness
from federating import alice  # noqa: F401
from harness import User, q
from pdus import JoinedRoom, RemoteRoom, event_id, signed
from remote import Remote, canonical

covers = pytest.mark.covers
pytestmark = pytest.mark.skipif(harness.os.environ.get("GREENROOM_SERVER") == "synapse", reason="our own listener")
V1, V2 = "/_matrix/federation/v1", "/_matrix/federation/v2"
ID = "/_matrix/identity/v2"
numbers = itertools.count(1)


class Identity(Remote):
    """An identity server: whose address is whose, and invites that wait."""

    def __init__(self, authority):
        super().__init__(authority)
        self.known, self.stored, self.pepper = {}, [], "salt"
        self.routes = {f"GET {ID}/hash_details": (200, {"lookup_pepper": self.pepper, "algorithms": ["none", "sha256"]}),
                       f"POST {ID}/lookup": self.look_up, f"POST {ID}/store-invite": self.store}

    def hashed(self, address):
        digest = hashlib.sha256(f"{address} email {self.pepper}".encode()).digest()
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")

    def look_up(self, request):
        by_hash = {self.hashed(a): u for a, u in self.known.items()}
        return 200, {"mappings": {h: by_hash[h] for h in request.json["addresses"] if h in by_hash}}

    def store(self, request):
        self.stored.append(request.json)
        token = f"token{next(numbers)}"
        self.stored[-1]["token"] = token
        url = f"https://{self.name}/_matrix/identity/v2/pubkey/isvalid"
        return 200, {"token": token, "display_name": "b...@x...", "public_keys": [
            {"public_key": self.public(), "key_validity_url": url}]}

    def accepted(self, token, user_id):
        """The identity server's word that the address is this user's."""
        return self.sign({"mxid": user_id, "token": token}, name=self.name)


@pytest.fixture
def identity(authority):
    running = Identity(authority)
    yield running
    running.close()


def invite(user, room, identity, address="Bob@Example.org", **more):
    body = {"id_server": identity.name, "id_access_token": "secret", "medium": "email", "address": address, **more}
    return user.post(f"/rooms/{q(room)}/invite", body)


def offer(alice, room, identity):
    """A third-party invite that waits in the room: its token."""
    invite(alice, room, identity).ok()
    return identity.stored[-1]["token"]


def membership(user, room, target):
    reply = user.get_(f"/rooms/{q(room)}/state/m.room.member/{q(target)}")
    return reply.json.get("membership") if reply.status == 200 else None


@covers("POST /_matrix/client/v3/rooms/{roomId}/invite")
def test_whose_address_is_known_is_invited_by_their_user_id(ours, alice, identity):
    bob, room = ours.register(f"bob{next(numbers)}"), alice.create(preset="private_chat")
    identity.known["bob@example.org"] = bob.user_id
    invite(alice, room, identity).ok()
    assert membership(alice, room, bob.user_id) == "invite" and room in bob.sync()["rooms"]["invite"]
    assert not identity.stored
    assert {r.headers["Authorization"] for r in identity.requests} == {"Bearer secret"}


def test_an_address_that_nobody_has_shown_to_be_theirs_is_kept_by_the_identity_server(ours, alice, identity):
    alice.put(f"/profile/{q(alice.user_id)}/displayname", {"displayname": "Alice"}).ok()
    room = alice.create(preset="private_chat", name="Tea")
    token = offer(alice, room, identity)
    stored = identity.stored[-1]
    assert stored["address"] == "bob@example.org" and stored["room_id"] == room and stored["sender"] == alice.user_id
    assert stored["room_name"] == "Tea" and stored["sender_display_name"] == "Alice" and stored["room_join_rules"] == "invite"
    content = alice.state(room, "m.room.third_party_invite", token).ok()
    assert content["display_name"] == "b...@x..." and content["public_key"] == identity.public()
    assert content["public_keys"][0]["public_key"] == identity.public()


@covers("POST /_matrix/client/v3/createRoom")
def test_a_room_is_made_with_invites_of_addresses(ours, alice, identity):
    bob = ours.register(f"bob{next(numbers)}")
    identity.known["bob@example.org"] = bob.user_id
    entry = {"id_server": identity.name, "id_access_token": "secret", "medium": "email"}
    room = alice.create(preset="private_chat", invite_3pid=[
        {**entry, "address": "bob@example.org"}, {**entry, "address": "carol@example.org"}, {**entry, "id_server": "localhost:1", "address": "x"}])
    assert membership(alice, room, bob.user_id) == "invite"
    assert [s["address"] for s in identity.stored] == ["carol@example.org"]
    alice.state(room, "m.room.third_party_invite", identity.stored[0]["token"]).ok()


def test_what_is_no_invite_of_an_address_is_refused(ours, alice, identity):
    room = alice.create(preset="private_chat")
    invite(alice, room, identity, medium="msisdn").refused(400, "M_INVALID_PARAM")
    invite(alice, room, identity, id_server="not a server").refused(400, "M_INVALID_PARAM")
    alice.post(f"/rooms/{q(room)}/invite", {"medium": "email", "address": "x@y"}).refused(400, "M_MISSING_PARAM")
    bob = ours.register(f"bob{next(numbers)}")
    assert invite(bob, room, identity).status in (403, 404) and not identity.stored
    identity.routes[f"POST {ID}/store-invite"] = (200, {"token": "not/a token", "public_keys": []})
    invite(alice, room, identity).refused(502)
    identity.routes[f"GET {ID}/hash_details"] = (500, {})
    invite(alice, room, identity).refused(502)


@covers("POST /_matrix/client/v3/join/{roomIdOrAlias}")
def test_who_shows_the_address_to_be_theirs_joins(ours, alice, identity):
    room, bob = alice.create(preset="private_chat"), ours.register(f"bob{next(numbers)}")
    proof = dict(identity.accepted(offer(alice, room, identity), bob.user_id), sender=alice.user_id)
    eve = ours.register(f"eve{next(numbers)}")
    eve.post(f"/join/{q(room)}", {"third_party_signed": proof}).refused((400, 403))
    forged = dict(proof, signatures={identity.name: {identity.key_id: identity.sign_bytes(b"x")}})
    bob.post(f"/join/{q(room)}", {"third_party_signed": forged}).refused(403, "M_FORBIDDEN")
    bob.post(f"/join/{q(room)}", {"third_party_signed": dict(proof, token="other")}).refused(403, "M_FORBIDDEN")
    assert membership(alice, room, bob.user_id) is None
    bob.post(f"/join/{q(room)}", {"third_party_signed": proof}).ok()
    assert membership(alice, room, bob.user_id) == "join"


@covers("PUT /_matrix/federation/v1/3pid/onbind")
def test_an_address_that_is_bound_later_brings_its_invites(ours, remote, alice, identity):
    room, bob = alice.create(preset="private_chat"), ours.register(f"bob{next(numbers)}")
    proof = identity.accepted(offer(alice, room, identity), bob.user_id)
    entry = {"medium": "email", "address": "bob@example.org", "mxid": bob.user_id, "room_id": room, "sender": alice.user_id}
    bad = dict(entry, signed=dict(proof, token="other"))
    body = {"medium": "email", "address": "bob@example.org", "mxid": bob.user_id, "invites": [bad, 7, dict(entry, signed=proof)]}
    assert remote.ask(ours, "PUT", f"{V1}/3pid/onbind", body, authorization="none").ok() == {}
    assert membership(alice, room, bob.user_id) == "invite"
    told = alice.get_(f"/rooms/{q(room)}/state").ok()
    content = next(e["content"] for e in told if e.get("state_key") == bob.user_id)
    assert content["third_party_invite"]["display_name"] == "b...@x..."
    remote.ask(ours, "PUT", f"{V1}/3pid/onbind", dict(body, mxid=f"@x:{remote.name}"), authorization="none").refused(400)


def serve_invites(remote, ours):
    """The remote signs invites that it is sent."""
    def sign(request):
        return 200, {"event": signed(remote, request.json["room_version"], request.json["event"])}

    remote.routes[f"PUT {V2}/invite/"] = sign


@covers("PUT /_matrix/federation/v1/exchange_third_party_invite/{roomId}")
def test_another_server_exchanges_the_proof_of_its_user_for_an_invite(ours, remote, alice, identity):
    room, rita = alice.create(preset="private_chat"), f"@rita{next(numbers)}:{remote.name}"
    serve_invites(remote, ours)
    proof = identity.accepted(offer(alice, room, identity), rita)
    body = {"type": "m.room.member", "room_id": room, "sender": alice.user_id, "state_key": rita,
            "content": {"membership": "invite", "third_party_invite": {"display_name": "x", "signed": proof}}}
    uri = f"{V1}/exchange_third_party_invite/{q(room)}"
    for changes in ({"type": "m.room.name"}, {"room_id": "!x:y"}, {"sender": rita}, {"state_key": alice.user_id},
                    {"content": {"membership": "join", "third_party_invite": {"signed": proof}}},
                    {"content": {"membership": "invite"}}):
        remote.ask(ours, "PUT", uri, dict(body, **changes)).refused(400, "M_INVALID_PARAM")
    wrong = dict(body, content={"membership": "invite", "third_party_invite": {"signed": dict(proof, token="other")}})
    remote.ask(ours, "PUT", uri, wrong).refused(403, "M_FORBIDDEN")
    assert membership(alice, room, rita) is None
    assert remote.ask(ours, "PUT", uri, body).ok() == {}
    assert membership(alice, room, rita) == "invite"


def test_our_user_shows_another_server_that_the_address_is_theirs(ours, remote, alice, identity):
    room = RemoteRoom(remote, "11", join_rule="invite").serve()

    def exchange(request):
        event = room.make("m.room.member", request.json["content"], request.json["state_key"])
        body = {"event": event, "room_version": room.version, "invite_room_state": room.stripped()}
        remote.ask(ours, "PUT", f"{V2}/invite/{q(room.room_id)}/{q(event_id(room.version, event))}", body).ok()
        room.add(event)
        return 200, {}

    room.put("m.room.third_party_invite", {"display_name": "b", "public_key": identity.public(), "key_validity_url": "https://x"},
             "token")
    proof = dict(identity.accepted("token", alice.user_id), sender=room.creator)
    remote.routes[f"PUT {V1}/exchange_third_party_invite/"] = (403, {"errcode": "M_FORBIDDEN", "error": "No"})
    alice.post(f"/join/{q(room.room_id)}", {"third_party_signed": proof}).refused(403, "M_FORBIDDEN")
    remote.routes[f"PUT {V1}/exchange_third_party_invite/"] = exchange
    alice.post(f"/join/{q(room.room_id)}", {"third_party_signed": proof}).ok()
    assert room.membership(alice.user_id) == "join"
