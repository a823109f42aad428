"""Greenroom and another server ask each other for what concerns no room: keys, profiles, aliases, rooms, devices.

The other server is remote.py's: it also lies, dawdles, floods and pretends to be somebody else.
"""

import concurrent.futures
import gzip
import json
import socket
import threading
import time
from urllib.parse import quote

import pytest

import harness
from harness import q
from remote import HOUR_MS, Authority, Names, Raw, Remote, canonical, federating, now_ms

covers = pytest.mark.covers
FAN = 32  # servers that one request of a client asks at once (edge/fan.h)
pytestmark = pytest.mark.skipif(harness.os.environ.get("GREENROOM_SERVER") == "synapse", reason="our own listener")


@pytest.fixture(scope="module")
def names():
    running = Names()
    yield running
    running.close()


@pytest.fixture(scope="module")
def ours(authority, names):
    running = federating(
        authority, **{"federation.dns_servers": names.address, "federation.well_known_port": str(WELL_KNOWN_PORT)}
    ).start()
    yield running
    running.stop()
    running.remove()


WELL_KNOWN_PORT = harness.free_port()


@pytest.fixture(scope="module")
def alice(ours):
    return ours.register("alice")


@pytest.fixture
def remote(authority):
    running = Remote(authority)
    yield running
    running.close()


def profile_of(remote, answer=(200, {"displayname": "Rita"})):
    remote.routes["GET /_matrix/federation/v1/query/profile"] = answer
    return f"/profile/{q('@rita:' + remote.name)}"


VERSION = "/_matrix/federation/v1/version"


# Keys


@covers("GET /_matrix/key/v2/server")
def test_own_keys_are_published_signed_by_themselves(ours, remote):
    keys = remote.ask(ours, "GET", "/_matrix/key/v2/server", authorization="none").ok()
    assert keys["server_name"] == ours.server_name
    (key_id, key), = keys["verify_keys"].items()
    assert key["key"] and key_id in keys["signatures"][ours.server_name]
    assert keys["old_verify_keys"] == {}
    assert now_ms() + HOUR_MS < keys["valid_until_ts"] < now_ms() + 7 * 24 * HOUR_MS


@covers("POST /_matrix/key/v2/query", "GET /_matrix/key/v2/query/{serverName}")
def test_a_notary_gives_keys_of_others_signed_by_both(ours, remote, authority):
    other = Remote(authority)
    body = {"server_keys": {other.name: {}, "nobody.invalid": {}, ours.server_name: {}}}
    answer = remote.ask(ours, "POST", "/_matrix/key/v2/query", body, authorization="none").ok()
    by_name = {keys["server_name"]: keys for keys in answer["server_keys"]}
    assert set(by_name) == {other.name, ours.server_name}
    assert set(by_name[other.name]["signatures"]) == {other.name, ours.server_name}
    one = remote.ask(ours, "GET", f"/_matrix/key/v2/query/{other.name}", authorization="none").ok()
    assert one["server_keys"][0]["verify_keys"] == other.keys()["verify_keys"]
    other.close()
    kept = remote.ask(ours, "GET", f"/_matrix/key/v2/query/{other.name}", authorization="none").ok()
    assert kept["server_keys"], "what is kept is given also when the server is down"


def test_keys_that_are_not_signed_by_themselves_are_not_believed(ours, remote, alice):
    remote.routes["GET /_matrix/key/v2/server"] = lambda r: (200, dict(remote.keys(), valid_until_ts=now_ms() + 2 * HOUR_MS))
    remote.ask(ours, "GET", f"/_matrix/federation/v1/query/profile?user_id={q(alice.user_id)}").refused(401, "M_UNAUTHORIZED")


def test_keys_come_from_a_notary_when_the_server_gives_none(authority, remote):
    notary = Remote(authority)
    ours = federating(authority, **{"federation.notaries": notary.name}).start()
    try:
        alice = ours.register("alice")
        remote.routes["GET /_matrix/key/v2/server"] = (500, {})
        wanted = {}

        def query(request):
            wanted.update(request.json["server_keys"])
            return 200, {"server_keys": [notary.sign(remote.keys())]}

        notary.routes["POST /_matrix/key/v2/query"] = query
        profile = f"/_matrix/federation/v1/query/profile?user_id={q(alice.user_id)}"
        remote.ask(ours, "GET", profile).ok()
        assert list(wanted) == [remote.name] and list(wanted[remote.name]) == [remote.key_id]
        liar = Remote(authority)
        liar.routes["GET /_matrix/key/v2/server"] = (500, {})
        notary.routes["POST /_matrix/key/v2/query"] = lambda r: (200, {"server_keys": [liar.keys()]})
        liar.ask(ours, "GET", profile).refused(401, "M_UNAUTHORIZED")
        liar.close()
    finally:
        ours.stop()
        ours.remove()
        notary.close()


# Who asks


def test_a_signed_request_is_answered_and_an_unsigned_one_is_not(ours, remote, alice):
    uri = f"/_matrix/federation/v1/query/profile?user_id={q(alice.user_id)}"
    remote.ask(ours, "GET", uri).ok()
    remote.ask(ours, "GET", uri, authorization="none").refused(401, "M_UNAUTHORIZED")
    remote.ask(ours, "GET", uri, authorization="Bearer " + alice.token).refused(401, "M_UNAUTHORIZED")
    remote.ask(ours, "GET", uri, authorization='X-Matrix origin="x",key="ed25519:a"').refused(401, "M_UNAUTHORIZED")


def test_a_question_mark_at_the_end_is_signed_too(ours, remote):
    signed = "/_matrix/federation/v1/publicRooms?"
    remote.ask(ours, "GET", signed).ok()
    without = remote.header("GET", signed[:-1], ours.server_name)
    remote.ask(ours, "GET", signed, authorization=without).refused(401, "M_UNAUTHORIZED")


def test_a_forged_signature_is_refused(ours, remote, alice):
    uri = f"/_matrix/federation/v1/query/profile?user_id={q(alice.user_id)}"
    remote.ask(ours, "GET", uri, sig=remote.sign_bytes(b"another text")).refused(401, "M_UNAUTHORIZED")
    good = remote.header("GET", uri, ours.server_name)
    remote.ask(ours, "GET", uri + "&field=displayname", authorization=good).refused(401, "M_UNAUTHORIZED")
    victim = remote.header("GET", uri, ours.server_name, origin="127.0.0.1:1")
    remote.ask(ours, "GET", uri, authorization=victim).refused(401, "M_UNAUTHORIZED")


def test_a_changed_body_is_refused(ours, remote, alice):
    uri, body = "/_matrix/federation/v1/user/keys/query", {"device_keys": {alice.user_id: []}}
    remote.ask(ours, "POST", uri, body).ok()
    stolen = remote.header("POST", uri, ours.server_name, body)
    remote.ask(ours, "POST", uri, {"device_keys": {}}, authorization=stolen).refused(401, "M_UNAUTHORIZED")


@pytest.mark.parametrize(
    "path, member",
    [
        ("/_matrix/federation/v1/publicRooms", "limit"),
        ("/_matrix/federation/v1/user/keys/query", "device_keys"),
        ("/_matrix/federation/v1/user/keys/claim", "one_time_keys"),
        ("/_matrix/key/v2/query", "server_keys"),
    ],
)
def test_a_body_of_wrong_types_is_refused(ours, remote, path, member):
    for body in ([], 7, {member: "text"}, {member: []}):
        reply = remote.ask(ours, "POST", path, body)
        assert (reply.status, reply.errcode) in ((400, "M_BAD_JSON"), (400, "M_INVALID_PARAM")), body


def test_a_request_for_another_destination_is_refused(ours, remote, alice):
    uri = f"/_matrix/federation/v1/query/profile?user_id={q(alice.user_id)}"
    remote.ask(ours, "GET", uri, destination="other.example").refused(401, "M_UNAUTHORIZED")
    remote.ask(ours, "GET", uri, destination=None, **{}).ok()
    unsaid = remote.header("GET", uri, ours.server_name).replace(f'destination="{ours.server_name}",', "")
    remote.ask(ours, "GET", uri, authorization=unsaid).ok()


def test_the_origin_of_a_request_is_never_this_server(ours, remote, alice):
    uri = f"/_matrix/federation/v1/query/profile?user_id={q(alice.user_id)}"
    remote.ask(ours, "GET", uri, origin=ours.server_name).refused(401, "M_UNAUTHORIZED")


def test_an_expired_key_signs_nothing(ours, remote, alice):
    remote.valid_until = now_ms() - HOUR_MS
    uri = f"/_matrix/federation/v1/query/profile?user_id={q(alice.user_id)}"
    remote.ask(ours, "GET", uri).refused(401, "M_UNAUTHORIZED")


def test_an_old_key_signs_no_requests(ours, remote, alice):
    uri = f"/_matrix/federation/v1/query/profile?user_id={q(alice.user_id)}"
    old_id, old_key = remote.key_id, remote.key
    remote.rotate("ed25519:r2")
    remote.ask(ours, "GET", uri).ok()
    remote.key_id, remote.key = old_id, old_key
    remote.ask(ours, "GET", uri).refused(401, "M_UNAUTHORIZED")


def test_a_new_key_is_asked_for(ours, authority, alice):
    remote = Remote(authority)
    uri = f"/_matrix/federation/v1/query/profile?user_id={q(alice.user_id)}"
    remote.rotate("ed25519:r2")
    remote.ask(ours, "GET", uri).ok()
    assert len(remote.asked("/_matrix/key/v2/server")) == 1
    for _ in range(20):
        remote.ask(ours, "GET", uri, key="ed25519:unknown").refused(401, "M_UNAUTHORIZED")
    assert len(remote.asked("/_matrix/key/v2/server")) <= 2, "unknown key ids must not make us ask again and again"
    remote.close()


def test_unknown_routes_and_methods_are_told_apart(ours, remote):
    remote.ask(ours, "GET", "/_matrix/federation/v1/nothing").refused(404, "M_UNRECOGNIZED")
    remote.ask(ours, "PUT", VERSION).refused(405, "M_UNRECOGNIZED")
    remote.ask(ours, "GET", "/_matrix/client/versions").refused(404, "M_UNRECOGNIZED")
    harness.Client(ours.base).request("GET", VERSION).refused(404, "M_UNRECOGNIZED")


@covers("GET /_matrix/federation/v1/version")
def test_the_version_is_told_to_everybody(ours, remote):
    assert remote.ask(ours, "GET", VERSION, authorization="none").ok()["server"]["name"] == "Greenroom"


def test_servers_that_are_denied_are_neither_heard_nor_asked(authority, remote):
    ours = federating(authority, **{"federation.server_deny": "localhost*"}).start()
    try:
        alice = ours.register("alice")
        uri = f"/_matrix/federation/v1/query/profile?user_id={q(alice.user_id)}"
        remote.ask(ours, "GET", uri).refused(403, "M_FORBIDDEN")
        alice.get_(profile_of(remote)).refused(403, "M_FORBIDDEN")
        assert not remote.requests
    finally:
        ours.stop()
        ours.remove()


# What is asked of us


@covers(
    "GET /_matrix/federation/v1/query/profile",
    "GET /_matrix/federation/v1/query/directory",
    "GET /_matrix/federation/v1/publicRooms",
    "POST /_matrix/federation/v1/publicRooms",
)
def test_profiles_and_aliases_are_told(ours, remote, alice):
    alice.put(f"/profile/{q(alice.user_id)}/displayname", {"displayname": "Alice"}).ok()
    uri = f"/_matrix/federation/v1/query/profile?user_id={q(alice.user_id)}"
    assert remote.ask(ours, "GET", uri).ok() == {"displayname": "Alice"}
    assert remote.ask(ours, "GET", uri + "&field=displayname").ok() == {"displayname": "Alice"}
    nobody = quote(f"@nobody:{ours.server_name}", safe="")
    remote.ask(ours, "GET", f"/_matrix/federation/v1/query/profile?user_id={nobody}").refused(404, "M_NOT_FOUND")
    room = alice.create(room_alias_name="tea", visibility="public", name="Tea")
    alias = quote(f"#tea:{ours.server_name}", safe="")
    found = remote.ask(ours, "GET", f"/_matrix/federation/v1/query/directory?room_alias={alias}").ok()
    assert found == {"room_id": room, "servers": [ours.server_name]}
    rooms = remote.ask(ours, "GET", "/_matrix/federation/v1/publicRooms?limit=10").ok()["chunk"]
    assert room in [r["room_id"] for r in rooms]
    body = {"filter": {"generic_search_term": "tea"}}
    assert len(remote.ask(ours, "POST", "/_matrix/federation/v1/publicRooms", body).ok()["chunk"]) == 1


def device_keys(user):
    return {"user_id": user.user_id, "device_id": user.device_id, "algorithms": ["m.olm.v1.curve25519-aes-sha2"],
            "keys": {f"ed25519:{user.device_id}": "A" * 43}, "signatures": {user.user_id: {f"ed25519:{user.device_id}": "B" * 86}}}


@covers(
    "GET /_matrix/federation/v1/user/devices/{userId}",
    "POST /_matrix/federation/v1/user/keys/query",
    "POST /_matrix/federation/v1/user/keys/claim",
)
def test_devices_and_keys_are_told(ours, remote):
    user = ours.register("keyed")
    keys = device_keys(user)
    one_time = {"signed_curve25519:AAAA": {"key": "C" * 43, "signatures": keys["signatures"]}}
    user.post("/keys/upload", {"device_keys": keys, "one_time_keys": one_time}).ok()
    told = remote.ask(ours, "GET", f"/_matrix/federation/v1/user/devices/{q(user.user_id)}").ok()
    assert told["user_id"] == user.user_id and told["stream_id"] > 0
    assert [d["device_id"] for d in told["devices"]] == [user.device_id]
    assert told["devices"][0]["keys"]["keys"] == keys["keys"]
    body = {"device_keys": {user.user_id: []}}
    answer = remote.ask(ours, "POST", "/_matrix/federation/v1/user/keys/query", body).ok()
    assert answer["device_keys"][user.user_id][user.device_id]["keys"] == keys["keys"]
    assert "user_signing_keys" not in answer
    body = {"one_time_keys": {user.user_id: {user.device_id: "signed_curve25519"}}}
    claim = remote.ask(ours, "POST", "/_matrix/federation/v1/user/keys/claim", body).ok()
    assert claim["one_time_keys"][user.user_id][user.device_id] == one_time
    again = remote.ask(ours, "POST", "/_matrix/federation/v1/user/keys/claim", body).ok()
    assert again["one_time_keys"] == {}


@covers("GET /_matrix/federation/v1/openid/userinfo", "POST /user/{userId}/openid/request_token")
def test_an_openid_token_says_who_somebody_is(ours, remote, alice):
    token = alice.post(f"/user/{q(alice.user_id)}/openid/request_token").ok()
    assert token["matrix_server_name"] == ours.server_name and token["token_type"] == "Bearer"
    uri = "/_matrix/federation/v1/openid/userinfo?access_token="
    assert remote.ask(ours, "GET", uri + q(token["access_token"]), authorization="none").ok() == {"sub": alice.user_id}
    forged = token["access_token"][:-2] + "xx"
    remote.ask(ours, "GET", uri + q(forged), authorization="none").refused(401, "M_UNKNOWN_TOKEN")
    remote.ask(ours, "GET", uri + q(alice.token), authorization="none").refused(401, "M_UNKNOWN_TOKEN")
    alice.get_("/account/whoami").ok()
    harness.Client(ours.base, token["access_token"]).get_("/account/whoami").refused(401, "M_UNKNOWN_TOKEN")
    alice.post(f"/user/{q('@bob:' + ours.server_name)}/openid/request_token").refused(403, "M_FORBIDDEN")


# What we ask


@covers("GET /profile/{userId}", "GET /profile/{userId}/{keyName}")
def test_a_profile_of_another_server_is_asked_for_signed(ours, remote, alice):
    assert alice.get_(profile_of(remote)).ok() == {"displayname": "Rita"}
    asked, = remote.asked("/_matrix/federation/v1/query/profile")
    assert asked.query == {"user_id": f"@rita:{remote.name}"}
    told = asked.authorization()
    assert told["origin"] == ours.server_name and told["destination"] == remote.name
    assert asked.headers["Host"] == remote.name
    keys = remote.ask(ours, "GET", "/_matrix/key/v2/server", authorization="none").ok()["verify_keys"]
    signed = {"method": "GET", "uri": asked.target, "origin": told["origin"], "destination": told["destination"]}
    verify(keys[told["key"]]["key"], canonical(signed), told["sig"])
    assert alice.get_(profile_of(remote) + "/displayname").ok() == {"displayname": "Rita"}
    alice.get_(profile_of(remote) + "/avatar_url").refused(404, "M_NOT_FOUND")


def verify(public, text, signature):
    import base64

    from Crypto.Signature import eddsa

    pad = "=" * (-len(public) % 4)
    key = eddsa.import_public_key(base64.b64decode(public + pad))
    eddsa.new(key, "rfc8032").verify(text, base64.b64decode(signature + "=="))


def test_connections_are_reused(ours, remote, alice):
    path = profile_of(remote)
    for _ in range(10):
        alice.get_(path).ok()
    assert remote.connections == 1 and len(remote.requests) == 10


@covers("GET /directory/room/{roomAlias}", "GET /publicRooms", "POST /publicRooms")
def test_aliases_and_rooms_of_another_server_are_found(ours, remote, alice):
    remote.routes["GET /_matrix/federation/v1/query/directory"] = (
        200, {"room_id": "!r:" + remote.name, "servers": [remote.name, "not a server"], "more": 1})
    found = alice.get_(f"/directory/room/{q('#tea:' + remote.name)}").ok()
    assert found == {"room_id": "!r:" + remote.name, "servers": [remote.name]}
    remote.routes["GET /_matrix/federation/v1/query/directory"] = (200, {"room_id": 7})
    alice.get_(f"/directory/room/{q('#tea:' + remote.name)}").refused(502)
    page = {"chunk": [{"room_id": "!r:" + remote.name, "num_joined_members": 3, "world_readable": True, "guest_can_join": True}]}
    remote.routes["GET /_matrix/federation/v1/publicRooms"] = (200, page)
    assert alice.get_("/publicRooms", server=remote.name, limit=5).ok() == page
    assert remote.requests[-1].query == {"limit": "5"}
    remote.routes["POST /_matrix/federation/v1/publicRooms"] = lambda r: (200, dict(page, next_batch=r.json["filter"]["generic_search_term"]))
    body = {"filter": {"generic_search_term": "t"}}
    assert alice.post(f"/publicRooms?server={q(remote.name)}", body).ok()["next_batch"] == "t"


@covers("POST /keys/query", "POST /keys/claim")
def test_keys_of_other_servers_are_asked_of_each_and_fail_alone(ours, remote, alice):
    rita, down = f"@rita:{remote.name}", "@x:localhost:1"
    device = {"RITA": {"user_id": rita, "device_id": "RITA", "keys": {}}}
    told = {"device_keys": {rita: device, alice.user_id: {"EVIL": {}}, "@other:elsewhere": {"EVIL": {}}},
            "master_keys": {rita: {"user_id": rita, "usage": ["master"], "keys": {"ed25519:M": "M"}}}}
    remote.routes["POST /_matrix/federation/v1/user/keys/query"] = (200, told)
    answer = alice.post("/keys/query", {"device_keys": {rita: [], alice.user_id: [], down: []}}).ok()
    assert answer["device_keys"][rita] == device
    assert "EVIL" not in json.dumps(answer), "a server speaks for its own users only"
    assert answer["master_keys"][rita]["keys"] == {"ed25519:M": "M"}
    assert list(answer["failures"]) == ["localhost:1"]
    assert remote.requests[-1].json == {"device_keys": {rita: []}}
    remote.routes["POST /_matrix/federation/v1/user/keys/claim"] = (200, {"one_time_keys": {rita: {"RITA": {"a:b": {}}}}})
    claim = alice.post("/keys/claim", {"one_time_keys": {rita: {"RITA": "a"}, down: {"D": "a"}}}).ok()
    assert claim["one_time_keys"] == {rita: {"RITA": {"a:b": {}}}} and list(claim["failures"]) == ["localhost:1"]


@covers("GET /.well-known/matrix/server")
def test_the_well_known_page_is_served_when_it_is_configured(authority, remote, ours):
    harness.Client(ours.base).request("GET", "/.well-known/matrix/server").refused(404, "M_NOT_FOUND")
    other = federating(authority, **{"federation.well_known": "matrix.example.org:443"}).start()
    try:
        page = harness.Client(other.base).request("GET", "/.well-known/matrix/server").ok()
        assert page == {"m.server": "matrix.example.org:443"}
        assert remote.ask(other, "GET", "/.well-known/matrix/server", authorization="none").ok() == page
    finally:
        other.stop()
        other.remove()


def test_errors_of_another_server_are_passed_on_unless_they_would_mislead(ours, remote, alice):
    alice.get_(profile_of(remote, (404, {"errcode": "M_NOT_FOUND", "error": "no such user"}))).refused(404, "M_NOT_FOUND")
    alice.get_(profile_of(remote, (401, {"errcode": "M_UNKNOWN_TOKEN", "error": "x"}))).refused(502, "M_UNKNOWN")
    alice.get_(profile_of(remote, (500, {}))).refused(502, "M_UNKNOWN")
    alice.get_(profile_of(remote, (200, b"rubbish"))).refused(502)
    alice.get_(profile_of(remote, (200, []))).refused(502)
    limited = alice.get_(profile_of(remote, (429, {"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": 1234})))
    assert limited.refused(429, "M_LIMIT_EXCEEDED")["retry_after_ms"] == 1234


# Where servers are


@pytest.fixture(scope="module")
def well_known(authority):
    """Answers at the .well-known port for all names under localhost."""
    running = Remote(authority, host="*.localhost", port=WELL_KNOWN_PORT, name="well-known",
                     certificate=authority.certificate("*.wk.localhost", "localhost", name="wk"))
    yield running
    running.close()


def test_a_well_known_file_leads_to_another_host_and_port(ours, well_known, authority, alice):
    target = Remote(authority, host="target.localhost")
    well_known.routes["GET /.well-known/matrix/server"] = (200, {"m.server": target.name})
    target.routes["GET /_matrix/federation/v1/query/profile"] = (200, {"displayname": "Far"})
    for _ in range(3):
        assert alice.get_(f"/profile/{q('@far:one.wk.localhost')}").ok() == {"displayname": "Far"}
    assert target.requests[-1].headers["Host"] == target.name
    assert target.requests[-1].authorization()["destination"] == "one.wk.localhost"
    assert [r.headers["Host"] for r in well_known.requests].count(f"one.wk.localhost:{WELL_KNOWN_PORT}") == 1, "it is kept"
    target.close()


def test_without_a_well_known_file_srv_records_lead_on_but_the_name_stays(ours, names, well_known, authority, alice):
    target = Remote(authority, host="two.wk.localhost")
    well_known.routes["GET /.well-known/matrix/server"] = (404, {})
    names.records["_matrix-fed._tcp.two.wk.localhost"] = ("localhost", target.port)
    target.routes["GET /_matrix/federation/v1/query/profile"] = (200, {"displayname": "Two"})
    assert alice.get_(f"/profile/{q('@x:two.wk.localhost')}").ok() == {"displayname": "Two"}
    assert target.requests[-1].headers["Host"] == "two.wk.localhost"
    names.records["_matrix._tcp.three.wk.localhost"] = ("localhost", target.port)
    alice.get_(f"/profile/{q('@x:three.wk.localhost')}").refused(502)      # the certificate is for two, not for three
    assert "_matrix-fed._tcp.three.wk.localhost" in names.asked
    target.close()


def test_a_delegated_name_has_srv_records_too(ours, names, well_known, authority, alice):
    target = Remote(authority, host="named.localhost")
    well_known.routes["GET /.well-known/matrix/server"] = (200, {"m.server": "named.localhost"})
    names.records["_matrix-fed._tcp.named.localhost"] = ("localhost", target.port)
    target.routes["GET /_matrix/federation/v1/query/profile"] = (200, {"displayname": "Four"})
    assert alice.get_(f"/profile/{q('@x:four.wk.localhost')}").ok() == {"displayname": "Four"}
    assert target.requests[-1].headers["Host"] == "named.localhost"
    target.close()


def test_redirections_are_followed_for_well_known_only(ours, well_known, remote, authority, alice):
    target = Remote(authority, host="five.localhost")
    target.routes["GET /elsewhere"] = (200, {"m.server": target.name})
    target.routes["GET /_matrix/federation/v1/query/profile"] = (200, {"displayname": "Five"})
    well_known.routes["GET /.well-known/matrix/server"] = lambda r: redirect(f"https://{target.name}/elsewhere")
    assert alice.get_(f"/profile/{q('@x:five.wk.localhost')}").ok() == {"displayname": "Five"}
    before = len(target.requests)
    alice.get_(profile_of(remote, lambda r: redirect(f"https://{target.name}{r.target}"))).refused(502)
    assert len(target.requests) == before
    well_known.routes["GET /.well-known/matrix/server"] = lambda r: redirect(f"https://loop.wk.localhost:{WELL_KNOWN_PORT}/.well-known/matrix/server")
    began = len(well_known.requests)
    alice.get_(f"/profile/{q('@x:loop.wk.localhost')}").refused(502)
    assert len(well_known.requests) - began <= 6, "a circle ends"
    target.close()


def redirect(to):
    return Raw([f"HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()])


def test_certificates_for_other_names_or_by_others_are_refused(ours, authority, alice):
    wrong = Remote(authority, certificate=authority.certificate("other.example", name="wrongname"))
    alice.get_(profile_of(wrong)).refused(502)
    another = Authority()
    unknown = Remote(authority, certificate=another.certificate("localhost"))
    alice.get_(profile_of(unknown)).refused(502)
    assert not wrong.requests and not unknown.requests
    wrong.close()
    unknown.close()


def test_private_addresses_are_not_connected_to(authority, remote):
    ours = federating(authority, **{"federation.allow_private_addresses": "off"}).start()
    try:
        alice = ours.register("alice")
        began = remote.connections
        alice.get_(profile_of(remote)).refused(403, "M_FORBIDDEN")
        for host in ("127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "10.0.0.1", "169.254.169.254"):
            alice.get_(f"/profile/{q(f'@x:{host}:{remote.port}')}").refused(403, "M_FORBIDDEN")
        assert remote.connections == began
    finally:
        ours.stop()
        ours.remove()


def test_a_well_known_redirection_to_a_denied_address_is_not_followed(authority):
    inside = Remote(authority, host="inside.localhost", certificate=authority.certificate("::1", "inside.localhost"))
    front = Remote(authority, host="*.wk.localhost")
    front.routes["GET /.well-known/matrix/server"] = lambda r: redirect(f"https://[::1]:{inside.port}/x")
    ours = federating(authority, **{"federation.address_deny": "::1", "federation.well_known_port": str(front.port)}).start()
    try:
        alice = ours.register("alice")
        alice.get_(f"/profile/{q('@x:six.wk.localhost')}").refused((502, 403))
        assert front.requests and not inside.requests
    finally:
        ours.stop()
        ours.remove()
        front.close()
        inside.close()


# Bad answers


def head(*lines):
    return "\r\n".join(("HTTP/1.1 200 OK", "Content-Type: application/json", "Connection: close", *lines, "", "")).encode()


def test_a_gzip_bomb_is_not_unpacked(ours, remote, alice):
    bomb = gzip.compress(b'{"displayname":"' + b"a" * (200 << 20) + b'"}', 9)
    before = ours.rss_mb()
    answer = Raw([head("Content-Encoding: gzip", f"Content-Length: {len(bomb)}"), bomb])
    alice.get_(profile_of(remote, answer)).refused(502)
    assert ours.rss_mb() - before < 50


def test_an_endless_body_or_head_ends(ours, remote, alice):
    def body():
        yield head()
        while True:
            yield b"a" * 65536

    def heads():
        yield b"HTTP/1.1 200 OK\r\n"
        while True:
            yield b"X-More: " + b"a" * 1000 + b"\r\n"

    began = time.monotonic()
    alice.get_(profile_of(remote, lambda r: Raw(body()))).refused(502)
    alice.get_(profile_of(remote, lambda r: Raw(heads()))).refused(502)
    assert time.monotonic() - began < 10


def test_a_body_cut_short_is_no_answer(ours, remote, alice):
    alice.get_(profile_of(remote, Raw([head("Content-Length: 100"), b'{"displayname":"R"}']))).refused(502)
    alice.get_(profile_of(remote, Raw([b"SSH-2.0-OpenSSH\r\n"]))).refused(502)


def test_a_slow_server_costs_its_asker_a_bounded_time_and_nobody_else_any(ours, remote, authority, alice):
    never = threading.Event()

    def slowly():
        yield head("Content-Length: 100000")
        while not never.wait(0.5):
            yield b" "

    slow = Remote(authority)
    path, quick = profile_of(slow, lambda r: Raw(slowly())), profile_of(remote)
    began, answers = time.monotonic(), []
    waiting = threading.Thread(target=lambda: answers.append((alice.get_(path), time.monotonic() - began)))
    waiting.start()
    for _ in range(20):
        alice.get_(quick).ok()
    assert time.monotonic() - began < 5
    waiting.join(30)
    never.set()
    reply, took = answers[0]
    reply.refused(504)
    assert 5 < took < 20
    slow.close()


def test_many_servers_that_never_answer_delay_nobody_else(ours, remote, alice):
    silent = [socket.create_server(("127.0.0.1", 0)) for _ in range(10 * FAN)]     # they connect, and say nothing

    def ask(some):
        users = {f"@quiet:localhost:{listener.getsockname()[1]}": [] for listener in some}
        assert len(alice.post("/keys/query", {"device_keys": users}).ok()["failures"]) == FAN

    quick = profile_of(remote)
    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        waiting = [pool.submit(ask, silent[n : n + FAN]) for n in range(0, len(silent), FAN)]
        end = time.monotonic() + 8
        while ours.metrics()["greenroom_fetches_under_way"] < 256:
            assert time.monotonic() < end, "they are not asked at once"
            time.sleep(0.01)
        alice.get_(quick).ok()
        assert not any(one.done() for one in waiting)
        for one in waiting:
            one.result()
    for listener in silent:
        listener.close()


def test_a_server_that_cannot_be_reached_is_left_alone_for_a_while(ours, authority, alice):
    remote = Remote(authority)
    path = profile_of(remote)
    remote.close()
    alice.get_(path).refused(502)
    back = Remote(authority, port=remote.port)
    profile_of(back)
    alice.get_(path).refused(502)
    assert not back.requests, "nobody waits for a server that has just failed"
    # Its keys are asked for all the same: they are needed to believe that it is back.
    back.ask(ours, "GET", f"/_matrix/federation/v1/query/profile?user_id={q(alice.user_id)}").ok()
    time_out = time.monotonic() + 10
    while time.monotonic() < time_out and alice.get_(path).status != 200:
        time.sleep(0.2)
    alice.get_(path).ok()
    back.close()
