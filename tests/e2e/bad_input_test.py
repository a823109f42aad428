"""Every JSON route of the client-server API answers bad input with the error the specification names: one
table of routes, and for each of them all kinds of bad input that apply.  In a path, {room}, {user} and
{event} are real, the rest as it is.
"""

import json
import uuid
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from typing import NamedTuple

import pytest

from harness import PASSWORD, ROOT, Client, q, register

synapse_deviates = pytest.mark.synapse_deviates


class Route(NamedTuple):
    method: str
    path: str
    good: object = {}  # a body with the right types, from which fields are taken away or spoilt
    required: tuple = ()  # fields without which the request is refused
    wrong: dict = {}  # fields of a wrong type, each tried alone
    auth: bool = True


OLM = "m.megolm_backup.v1.curve25519-aes-sha2"
USER, ROOM = "/user/{user}", "/rooms/{room}"
SESSION = {"first_message_index": 0, "forwarded_count": 0, "is_verified": False, "session_data": {}}

MAIL = {"client_secret": "x", "email": "a@b.test", "send_attempt": 1}
CREDENTIALS = {"client_secret": "x", "sid": "x"}
ADDRESS = {"medium": "email", "address": "a@b.test"}

ROUTES = [
    Route(
        "POST",
        "/register",
        {"username": "{fresh}", "password": PASSWORD},
        (),
        {"username": 7, "password": []},
        auth=False,
    ),
    Route(
        "POST",
        "/login",
        {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": "x"}, "password": "y"},
        ("type",),
        {"type": 7, "identifier": [], "password": {}},
        auth=False,
    ),
    Route("POST", "/refresh", {"refresh_token": "x"}, ("refresh_token",), {"refresh_token": 7}, auth=False),
    Route("POST", "/account/password", {"new_password": "x"}, (), {"new_password": 7}),
    Route("POST", "/account/deactivate"),
    # Where no mail can be sent, and for phone numbers, whatever is asked for is refused first.
    Route("POST", "/register/email/requestToken", MAIL, auth=False),
    Route("POST", "/register/msisdn/requestToken", auth=False),
    Route("POST", "/account/password/email/requestToken", MAIL, auth=False),
    Route("POST", "/account/password/msisdn/requestToken", auth=False),
    Route("POST", "/account/3pid/email/requestToken", MAIL, auth=False),
    Route("POST", "/account/3pid/msisdn/requestToken", auth=False),
    Route("POST", "/account/3pid", {"three_pid_creds": CREDENTIALS}),
    Route("POST", "/account/3pid/add", CREDENTIALS),
    Route("POST", "/account/3pid/bind", dict(CREDENTIALS, id_server="x.test", id_access_token="x")),
    Route("POST", "/account/3pid/delete", ADDRESS, ("medium", "address"), {"medium": 7, "address": []}),
    Route("POST", "/account/3pid/unbind", ADDRESS, ("medium", "address"), {"medium": 7, "address": []}),
    Route("POST", "/user/{user}/openid/request_token"),
    Route("PUT", "/devices/{device}", {"display_name": "x"}, (), {"display_name": 7}),
    Route("DELETE", "/devices/{device}"),
    Route("POST", "/delete_devices", {"devices": ["x"]}, ("devices",), {"devices": "x"}),
    Route("PUT", "/profile/{user}/displayname", {"displayname": "x"}, ("displayname",), {"displayname": 7}),
    Route(
        "PUT", "/profile/{user}/avatar_url", {"avatar_url": "mxc://a/b"}, ("avatar_url",), {"avatar_url": 7}
    ),
    Route(
        "POST",
        "/createRoom",
        {},
        (),
        {
            "name": 7,
            "topic": [],
            "invite": "x",
            "initial_state": {},
            "preset": 7,
            "room_version": 12,
            "room_alias_name": 7,
            "creation_content": [],
            "power_level_content_override": 7,
        },
    ),
    Route("POST", "/join/{room}", {}, (), {"third_party_signed": 7}),
    Route("POST", ROOM + "/join"),
    Route("POST", ROOM + "/leave", {}, (), {"reason": 7}),
    Route("POST", ROOM + "/forget"),
    Route("POST", ROOM + "/invite", {"user_id": "@a:b"}, ("user_id",), {"user_id": 7}),
    Route("POST", ROOM + "/kick", {"user_id": "@a:b"}, ("user_id",), {"user_id": 7}),
    Route("POST", ROOM + "/ban", {"user_id": "@a:b"}, ("user_id",), {"user_id": 7}),
    Route("POST", ROOM + "/unban", {"user_id": "@a:b"}, ("user_id",), {"user_id": 7}),
    Route("PUT", ROOM + "/send/org.example.x/{fresh}"),
    Route("PUT", ROOM + "/state/org.example.x/"),
    Route("PUT", ROOM + "/redact/{event}/{fresh}", {}, (), {"reason": 7}),
    Route(
        "PUT", ROOM + "/typing/{user}", {"typing": False}, ("typing",), {"typing": "yes", "timeout": "long"}
    ),
    Route("PUT", "/presence/{user}/status", {"presence": "online"}, ("presence",), {"presence": 7, "status_msg": []}),
    Route("POST", ROOM + "/receipt/m.read/{event}"),
    Route("POST", ROOM + "/read_markers", {}, (), {"m.fully_read": 7, "m.read": []}),
    Route("PUT", "/directory/room/%23bad{fresh}%3Ae2e.test", {"room_id": "!x"}, ("room_id",), {"room_id": 7}),
    Route("PUT", "/directory/list/room/{room}", {"visibility": "private"}, (), {"visibility": 7}),
    Route("POST", "/publicRooms", {}, (), {"limit": "x", "since": 7, "filter": []}),
    Route("PUT", USER + "/account_data/org.example.x"),
    Route("PUT", USER + "/rooms/{room}/account_data/org.example.x"),
    Route("PUT", USER + "/rooms/{room}/tags/u.x", {}, (), {"order": "first"}),
    Route("POST", USER + "/filter", {}, (), {"room": 7, "event_fields": "x", "presence": []}),
    Route(
        "PUT",
        "/pushrules/global/content/x",
        {"actions": ["notify"], "pattern": "x"},
        ("actions", "pattern"),
        {"actions": "notify", "pattern": 7},
    ),
    Route(
        "PUT",
        "/pushrules/global/override/.m.rule.master/enabled",
        {"enabled": False},
        ("enabled",),
        {"enabled": "no"},
    ),
    Route(
        "PUT",
        "/pushrules/global/override/.m.rule.tombstone/actions",
        {"actions": []},
        ("actions",),
        {"actions": "notify"},
    ),
    Route("POST", "/keys/upload", {}, (), {"device_keys": 7, "one_time_keys": [], "fallback_keys": "x"}),
    Route("POST", "/keys/query", {"device_keys": {}}, ("device_keys",), {"device_keys": []}),
    Route("POST", "/keys/claim", {"one_time_keys": {}}, ("one_time_keys",), {"one_time_keys": []}),
    Route("POST", "/keys/device_signing/upload", {}, (), {"master_key": 7, "self_signing_key": []}),
    Route("POST", "/keys/signatures/upload", {}, (), {"{user}": 7}),
    Route(
        "POST",
        "/room_keys/version",
        {"algorithm": OLM, "auth_data": {}},
        ("algorithm", "auth_data"),
        {"algorithm": 7, "auth_data": 7},
    ),
    Route(
        "PUT",
        "/room_keys/version/{version}",
        {"algorithm": OLM, "auth_data": {}},
        ("algorithm", "auth_data"),
        {"auth_data": 7},
    ),
    Route("PUT", "/room_keys/keys?version={version}", {"rooms": {}}, ("rooms",), {"rooms": []}),
    Route(
        "PUT", "/room_keys/keys/{room}?version={version}", {"sessions": {}}, ("sessions",), {"sessions": []}
    ),
    Route(
        "PUT",
        "/room_keys/keys/{room}/s?version={version}",
        SESSION,
        tuple(SESSION),
        {"session_data": 7, "is_verified": "x"},
    ),
    Route("PUT", "/sendToDevice/org.example.x/{fresh}", {"messages": {}}, ("messages",), {"messages": []}),
    Route("POST", "/knock/{room}", {}, (), {"reason": 7}),
    Route(
        "POST",
        ROOM + "/upgrade",
        {"new_version": "no such"},
        ("new_version",),
        {"new_version": 12, "additional_creators": "x"},
    ),
    Route("POST", ROOM + "/report", {"reason": "x"}, ("reason",), {"reason": 7}),
    Route("POST", ROOM + "/report/{event}", {}, (), {"reason": 7}),
    Route("POST", "/users/{user}/report", {"reason": "x"}, ("reason",), {"reason": 7}),
    Route("POST", "/user_directory/search", {"search_term": "x"}, ("search_term",), {"search_term": 7, "limit": "x"}),
    Route("POST", "/v1/login/get_token"),
]
NO_BODY = {"/logout", "/logout/all", "/_matrix/media/v3/upload", "/_matrix/media/v1/create"}

# Routes with no body of which anything could be wrong but the token.
READS = [
    "/sync",
    "/account/whoami",
    "/capabilities",
    "/devices",
    "/devices/{device}",
    "/joined_rooms",
    "/pushrules/",
    "/pushrules/global/",
    "/pushrules/global/override/.m.rule.master",
    "/notifications",
    "/voip/turnServer",
    "/thirdparty/protocols",
    "/keys/changes?from=x&to=y",
    "/room_keys/version",
    "/room_keys/keys?version={version}",
    ROOM + "/state",
    ROOM + "/state/m.room.create/",
    ROOM + "/members",
    ROOM + "/joined_members",
    ROOM + "/messages?dir=b",
    ROOM + "/event/{event}",
    ROOM + "/context/{event}",
    ROOM + "/aliases",
    USER + "/account_data/org.example.x",
    USER + "/rooms/{room}/account_data/org.example.x",
    USER + "/rooms/{room}/tags",
    USER + "/filter/0",
    "/v1/media/config",
    "/v1/media/download/e2e.test/x",
]

DEEP = b'{"a":' * 2000 + b"1" + b"}" * 2000
BAD_BODIES = {
    "malformed": (b'{"a":', "M_NOT_JSON"),
    "empty": (b"", ("M_NOT_JSON", "M_BAD_JSON", "M_MISSING_PARAM")),
    "text": (b"hello", "M_NOT_JSON"),
    "trailing": (b"{} {}", "M_NOT_JSON"),
    "single quotes": (b"{'a':1}", "M_NOT_JSON"),
    "not a number": (b'{"a":NaN}', ("M_NOT_JSON", "M_BAD_JSON")),
    "not UTF-8": (b'{"a":"\xff\xfe"}', ("M_NOT_JSON", "M_BAD_JSON")),
    "too deep": (DEEP, ("M_NOT_JSON", "M_BAD_JSON")),
    "an array": (b"[]", ("M_BAD_JSON", "M_NOT_JSON")),
    "a string": (b'"x"', ("M_BAD_JSON", "M_NOT_JSON")),
    "a number": (b"7", ("M_BAD_JSON", "M_NOT_JSON")),
    "null": (b"null", ("M_BAD_JSON", "M_NOT_JSON")),
}
# What no client sends but some do by mistake: these routes take an empty body for an empty object.
EMPTY_IS_FINE = {
    ROOM + "/join",
    ROOM + "/leave",
    ROOM + "/forget",
    "/join/{room}",
    "/account/deactivate",
    "/user/{user}/openid/request_token",
    "/devices/{device}",
    ROOM + "/receipt/m.read/{event}",
    "/register",
    "/account/password",
    "/publicRooms",
    "/createRoom",
    ROOM + "/redact/{event}/{fresh}",
}
# Routes that have no use for the body, so that a server may leave it unread.
BODY_UNUSED = {ROOM + "/forget", ROOM + "/receipt/m.read/{event}"}
# These would end the user's own session if they were accepted.
DANGEROUS = [Route("POST", "/logout"), Route("POST", "/logout/all")]


def shape_of(path):
    """A path with its parameters, or what stands for them here, as {}."""
    parts = path.partition("?")[0].removeprefix("/_matrix/client/v3").removeprefix("/_matrix/client").split("/")
    return ["{}" if "{" in part else part for part in parts]


def test_every_route_that_takes_json_is_tried_here():
    """Those of clients: what servers say is tried by federation_test and transactions_test."""
    loader = SourceFileLoader("conformance", str(ROOT / "tests/conformance"))
    conformance = module_from_spec(spec_from_loader("conformance", loader))
    loader.exec_module(conformance)
    tried = [(route.method, shape_of(route.path)) for route in ROUTES]

    def is_tried(route):
        wanted = shape_of(route.path)
        return any(
            method == route.method and len(shape) == len(wanted) and all(b in ("{}", a) for a, b in zip(shape, wanted))
            for method, shape in tried
        )

    routes, _ = conformance.collect()
    of_clients = ("/_matrix/client/", "/_matrix/media/")
    takers = [r for r in routes if r.built and r.method in ("PUT", "POST") and r.path.startswith(of_clients)]
    missing = [
        r.path
        for r in takers
        if not {r.path, r.path.removeprefix("/_matrix/client/v3")} & NO_BODY and not is_tried(r)
    ]
    assert missing == ["/_matrix/media/v3/upload/{serverName}/{mediaId}"]  # takes bytes


def name_of(route):
    return f"{route.method} {route.path}"


@pytest.fixture(scope="module")
def person(server):
    """A user who fills in paths: with her room, an event and a backup version, and a new name each time."""
    user = register(server.base, "badinput" + uuid.uuid4().hex[:8])
    # Somebody else keeps the room alive when she leaves it.
    user.own_room = room = register(server.base, "keeper" + uuid.uuid4().hex[:8]).create(
        power_level_content_override={"users_default": 50}
    )
    user.join(room).ok()
    event = user.say(room, "something")
    version = user.post("/room_keys/version", {"algorithm": OLM, "auth_data": {}}).ok()["version"]

    def fill(text):
        for key, value in (
            ("{user}", user.user_id),
            ("{room}", room),
            ("{event}", event),
            ("{device}", user.device_id),
            ("{version}", version),
        ):
            text = text.replace(key, q(value))
        return text.replace("{fresh}", uuid.uuid4().hex)

    user.fill = fill
    return user


@pytest.fixture
def scene(person):
    """She is in her room, whatever a wrongly accepted request did before."""
    person.join(person.own_room).ok()
    return person


def body_of(scene, value):
    return json.loads(json.dumps(value).replace("{fresh}", uuid.uuid4().hex).replace("{user}", scene.user_id))


def collect(problems, what, reply, statuses, errcodes):
    wanted = errcodes if isinstance(errcodes, tuple) else (errcodes,)
    if reply.status not in statuses or reply.errcode not in wanted or not reply.get("error"):
        problems.append(f"{what}: {reply.status} {reply.raw[:120]!r}, wanted {statuses} {wanted}")


@synapse_deviates("tolerates some wrong types and names other error codes")
@pytest.mark.parametrize("route", ROUTES, ids=name_of)
def test_bad_bodies_are_refused_with_the_right_error(scene, route):
    problems = []
    for name, (raw, errcode) in BAD_BODIES.items():
        if route.path in BODY_UNUSED or (
            name == "empty" and (route.path in EMPTY_IS_FINE or not route.required)
        ):
            continue
        reply = scene.request(route.method, scene.fill(route.path), raw=raw, token=route.auth or None)
        collect(problems, name, reply, (400,), errcode)
    assert not problems, "\n".join(problems)
    scene.get_("/account/whoami").ok()


@synapse_deviates("tolerates some wrong types and names other error codes")
@pytest.mark.parametrize("route", [r for r in ROUTES if r.required or r.wrong], ids=name_of)
def test_missing_and_mistyped_fields_are_refused_with_the_right_error(scene, route):
    problems = []
    for field in route.required:
        body = {k: v for k, v in body_of(scene, route.good).items() if k != field}
        reply = scene.request(route.method, scene.fill(route.path), body, token=route.auth or None)
        collect(
            problems, f"{field} missing", reply, (400,), ("M_MISSING_PARAM", "M_BAD_JSON", "M_INVALID_PARAM")
        )
    for field, value in route.wrong.items():
        body = dict(body_of(scene, route.good), **body_of(scene, {field: value}))
        reply = scene.request(route.method, scene.fill(route.path), body, token=route.auth or None)
        collect(
            problems,
            f"{field} = {value!r}",
            reply,
            (400,),
            ("M_BAD_JSON", "M_INVALID_PARAM", "M_INVALID_USERNAME"),
        )
    assert not problems, "\n".join(problems)


@synapse_deviates("waits for the body", run=False)
@pytest.mark.parametrize("route", ROUTES, ids=name_of)
def test_an_oversized_body_is_refused(scene, route):
    """The size is announced and the body not sent: a server must not wait for what it will not take."""
    reply = scene.request(
        route.method,
        scene.fill(route.path),
        raw=b"",
        headers={"Content-Length": str(200 << 20)},
        timeout=5,
        token=route.auth or None,
    )
    reply.refused(413, "M_TOO_LARGE")


@pytest.mark.parametrize(
    "route",
    [
        (
            pytest.param(r, marks=synapse_deviates("looks for the room first"))
            if r.path.startswith("/directory/room/")
            else r
        )
        for r in ROUTES + DANGEROUS + [Route("GET", path) for path in READS]
        if r.auth
    ],
    ids=name_of,
)
def test_a_missing_or_unknown_token_is_refused(scene, server, route):
    if route.path in ("/account/password", "/account/deactivate"):
        pytest.skip("these take other authentication than a token, too")
    body = None if route.method == "GET" else body_of(scene, route.good)
    anyone = Client(server.base)
    for token, errcode in (
        (None, "M_MISSING_TOKEN"),
        ("", "M_MISSING_TOKEN"),
        ("nonsense", "M_UNKNOWN_TOKEN"),
        ("grt_00_" + "A" * 43 + "_AAAAAA", "M_UNKNOWN_TOKEN"),
        ("x" * 3000, "M_UNKNOWN_TOKEN"),
    ):
        anyone.request(route.method, scene.fill(route.path), body, token=token).refused(401, errcode)


@pytest.mark.parametrize("path", ["/rooms/{}/state", "/rooms/{}/messages?dir=b", "/rooms/{}/event/$x"])
@pytest.mark.parametrize(
    "room", ["nonsense", "!", "!" + "x" * 400 + ":e2e.test", "!nosuch:e2e.test", "%21%C3%BC%3Ax"]
)
def test_a_room_id_that_is_none_is_refused(scene, path, room):
    scene.get_(path.format(room)).refused(
        (400, 403, 404), ("M_INVALID_PARAM", "M_FORBIDDEN", "M_NOT_FOUND", "M_UNKNOWN")
    )


@pytest.mark.parametrize(
    "raw",
    [
        b'{"msgtype":"m.text","body":1.5}',
        b'{"body":9007199254740993}',
        b'{"body":1e400}',
        b'{"body":"\\ud800"}',
    ],
)
@synapse_deviates("takes some values that canonical JSON has no form for")
def test_an_event_with_what_canonical_json_has_no_form_for_is_refused(scene, raw):
    path = scene.fill(ROOM + "/send/org.example.number/{fresh}")
    scene.request("PUT", path, raw=raw).refused(400, ("M_BAD_JSON", "M_NOT_JSON", "M_INVALID_PARAM"))
