"""Accounts, devices, tokens, profiles, discovery, errors and CORS of the client-server API, by plain HTTP."""

import uuid

import pytest

from harness import PASSWORD, Client, login, make_server, q, register

covers, synapse_deviates = pytest.mark.covers, pytest.mark.synapse_deviates


def fresh(stem="new"):
    return stem + uuid.uuid4().hex[:10]


@pytest.fixture(scope="module")
def anyone(server):
    return Client(server.base)


def uia(user, method, path, body, password=PASSWORD):
    """Repeats a request with the password stage when the server asks for it."""
    first = user.request(method, path, body)
    if first.status != 401:
        return first
    auth = {
        "type": "m.login.password",
        "session": first["session"],
        "password": password,
        "identifier": {"type": "m.id.user", "user": user.localpart},
    }
    return user.request(method, path, dict(body, auth=auth))


# Discovery


@covers("GET /versions")
def test_versions_lists_released_versions_without_a_token(anyone):
    versions = anyone.get_("/versions").ok()["versions"]
    assert versions and all(v.startswith(("v1.", "r0.")) for v in versions)


@covers("GET /.well-known/matrix/client")
def test_well_known_client_names_the_homeserver(anyone):
    assert anyone.get_("/.well-known/matrix/client").ok()["m.homeserver"]["base_url"].startswith("http")


@covers("GET /capabilities")
def test_capabilities_name_a_default_room_version_that_is_available(alice):
    versions = alice.get_("/capabilities").ok()["capabilities"]["m.room_versions"]
    assert versions["default"] in versions["available"]


@covers("GET /capabilities")
def test_capabilities_need_a_token(anyone):
    anyone.get_("/capabilities").refused(401, "M_MISSING_TOKEN")


@covers("GET /login")
def test_login_flows_offer_the_password(anyone):
    assert "m.login.password" in [flow["type"] for flow in anyone.get_("/login").ok()["flows"]]


# Registration


@covers("POST /register")
def test_register_without_auth_offers_flows_and_a_session(anyone):
    asked = anyone.post("/register", {"username": fresh(), "password": PASSWORD}).refused(401)
    assert asked["session"] and all(flow["stages"] for flow in asked["flows"])
    assert "errcode" not in asked


@covers("POST /register")
def test_register_with_the_dummy_stage_logs_in(server):
    name = fresh()
    user = register(server.base, name)
    assert user.user_id == f"@{name}:e2e.test" and user.device_id
    user.get_("/account/whoami").ok()


@covers("POST /register")
def test_register_keeps_the_device_id_asked_for(server):
    assert register(server.base, fresh(), device_id="MYDEVICE").device_id == "MYDEVICE"


@covers("POST /register")
def test_register_with_inhibit_login_gives_no_token(anyone):
    body = {"username": fresh(), "password": PASSWORD, "inhibit_login": True}
    session = anyone.post("/register", body)["session"]
    answer = anyone.post("/register", dict(body, auth={"type": "m.login.dummy", "session": session})).ok()
    assert "access_token" not in answer and answer["user_id"]


@covers("POST /register")
def test_register_refuses_a_taken_name(anyone, alice):
    anyone.post("/register", {"username": alice.localpart, "password": PASSWORD}).refused(
        400, "M_USER_IN_USE"
    )


@covers("POST /register")
@pytest.mark.parametrize("name", ["Upper Case", "white space", "ünïcode", "a:b", "@at", "x" * 300])
def test_register_refuses_an_invalid_name(anyone, name):
    anyone.post("/register", {"username": name, "password": PASSWORD}).refused(400, "M_INVALID_USERNAME")


@covers("POST /register")
def test_register_without_a_name_makes_one_up(anyone):
    session = anyone.post("/register", {"password": PASSWORD}).refused(401)["session"]
    body = {"password": PASSWORD, "auth": {"type": "m.login.dummy", "session": session}}
    assert anyone.post("/register", body).ok()["user_id"].endswith(":e2e.test")


@covers("POST /register")
def test_register_refuses_an_unknown_kind(anyone):
    anyone.post("/register?kind=alien", {"username": fresh(), "password": PASSWORD}).refused(400)


@covers("POST /register")
def test_two_registrations_of_one_name_have_one_winner(anyone):
    body = {"username": fresh(), "password": PASSWORD}
    sessions = [anyone.post("/register", body)["session"] for _ in range(2)]
    replies = [
        anyone.post("/register", dict(body, auth={"type": "m.login.dummy", "session": s})) for s in sessions
    ]
    assert sorted(r.status for r in replies) == [200, 400]


@covers("GET /register/available")
def test_register_available_tells_free_from_taken_and_invalid(anyone, alice):
    assert anyone.get_("/register/available", username=fresh()).ok()["available"] is True
    anyone.get_("/register/available", username=alice.localpart).refused(400, "M_USER_IN_USE")
    anyone.get_("/register/available", username="not valid").refused(400, "M_INVALID_USERNAME")


@covers("GET /v1/register/m.login.registration_token/validity")
def test_an_unknown_registration_token_is_not_valid(anyone):
    assert (
        anyone.get_("/v1/register/m.login.registration_token/validity", token="nosuch").ok()["valid"] is False
    )


# Login, logout, tokens


@covers("POST /login")
def test_login_by_localpart_and_by_user_id(server, alice):
    assert login(server.base, alice.localpart).user_id == alice.user_id
    assert login(server.base, alice.user_id).user_id == alice.user_id


@covers("POST /login")
def test_login_by_the_deprecated_user_field(anyone, alice):
    anyone.post("/login", {"type": "m.login.password", "user": alice.localpart, "password": PASSWORD}).ok()


@covers("POST /login")
@pytest.mark.parametrize("user,password", [("alice", "wrong"), ("nobody-of-that-name", PASSWORD)])
def test_login_with_a_wrong_name_or_password_is_forbidden(anyone, alice, user, password):
    name = alice.localpart if user == "alice" else user
    anyone.post(
        "/login",
        {"type": "m.login.password", "password": password, "identifier": {"type": "m.id.user", "user": name}},
    ).refused(403, "M_FORBIDDEN")


@covers("POST /login")
@synapse_deviates("answers M_INVALID_PARAM")
def test_login_refuses_an_unknown_type(anyone):
    anyone.post("/login", {"type": "m.login.telepathy"}).refused(400, "M_UNKNOWN")


@covers("POST /login")
@synapse_deviates("the old token goes on working")
def test_login_to_an_existing_device_replaces_its_token(server):
    user = register(server.base, fresh())
    again = login(server.base, user.localpart, device_id=user.device_id)
    assert again.device_id == user.device_id
    user.get_("/account/whoami").refused(401, "M_UNKNOWN_TOKEN")
    again.get_("/account/whoami").ok()


@covers("GET /account/whoami")
def test_whoami_names_user_and_device(alice):
    answer = alice.get_("/account/whoami").ok()
    assert (answer["user_id"], answer["device_id"]) == (alice.user_id, alice.device_id)


@covers("GET /account/whoami")
def test_whoami_without_and_with_a_wrong_token(anyone, server):
    anyone.get_("/account/whoami").refused(401, "M_MISSING_TOKEN")
    Client(server.base, "nonsense").get_("/account/whoami").refused(401, "M_UNKNOWN_TOKEN")


@covers("GET /account/whoami")
def test_a_token_in_the_query_is_accepted(anyone, alice):
    anyone.get_("/account/whoami", access_token=alice.token).ok()


@covers("POST /logout")
def test_logout_ends_the_token_and_the_device(server):
    user = register(server.base, fresh())
    other = login(server.base, user.localpart)
    user.post("/logout").ok()
    user.get_("/account/whoami").refused(401, "M_UNKNOWN_TOKEN")
    assert [d["device_id"] for d in other.get_("/devices").ok()["devices"]] == [other.device_id]


@covers("POST /logout/all")
def test_logout_all_ends_every_token(server):
    user = register(server.base, fresh())
    other = login(server.base, user.localpart)
    user.post("/logout/all").ok()
    for device in (user, other):
        device.get_("/account/whoami").refused(401, "M_UNKNOWN_TOKEN")


@covers("POST /refresh", "POST /login")
def test_refresh_gives_a_new_pair_and_ends_the_old_one_once_used(server, anyone):
    user = register(server.base, fresh())
    device = login(server.base, user.localpart, refresh_token=True)
    assert device.refresh_token
    fresh_pair = anyone.post("/refresh", {"refresh_token": device.refresh_token}).ok()
    successor = Client(server.base, fresh_pair["access_token"])
    assert successor.get_("/account/whoami").ok()["device_id"] == device.device_id
    anyone.post("/refresh", {"refresh_token": device.refresh_token}).refused((401, 403))


@covers("POST /refresh")
def test_refresh_may_be_repeated_before_its_result_is_used(server, anyone):
    user = register(server.base, fresh(), refresh_token=True)
    anyone.post("/refresh", {"refresh_token": user.refresh_token}).ok()
    again = anyone.post("/refresh", {"refresh_token": user.refresh_token}).ok()
    Client(server.base, again["access_token"]).get_("/account/whoami").ok()


@covers("POST /refresh")
def test_refresh_with_an_unknown_token_is_refused(anyone):
    anyone.post("/refresh", {"refresh_token": "grt_nonsense"}).refused(401, "M_UNKNOWN_TOKEN")


# Devices


@covers("GET /devices", "GET /devices/{deviceId}", "PUT /devices/{deviceId}")
def test_a_device_can_be_renamed(alice):
    alice.put(f"/devices/{alice.device_id}", {"display_name": "kitchen"}).ok()
    assert alice.get_(f"/devices/{alice.device_id}").ok()["display_name"] == "kitchen"
    named = {d["device_id"]: d.get("display_name") for d in alice.get_("/devices").ok()["devices"]}
    assert named[alice.device_id] == "kitchen"


@covers("GET /devices/{deviceId}", "PUT /devices/{deviceId}")
def test_an_unknown_device_is_not_found(alice):
    alice.get_("/devices/NOSUCH").refused(404, "M_NOT_FOUND")
    alice.put("/devices/NOSUCH", {"display_name": "x"}).refused(404, "M_NOT_FOUND")


@covers("DELETE /devices/{deviceId}")
def test_deleting_a_device_asks_for_the_password_and_ends_its_token(server):
    user = register(server.base, fresh())
    other = login(server.base, user.localpart)
    user.delete(f"/devices/{other.device_id}", {}).refused(401)
    uia(user, "DELETE", f"/devices/{other.device_id}", {}).ok()
    other.get_("/account/whoami").refused(401, "M_UNKNOWN_TOKEN")


@covers("POST /delete_devices")
def test_deleting_several_devices_at_once(server):
    user = register(server.base, fresh())
    others = [login(server.base, user.localpart) for _ in range(2)]
    uia(user, "POST", "/delete_devices", {"devices": [o.device_id for o in others]}).ok()
    assert [d["device_id"] for d in user.get_("/devices").ok()["devices"]] == [user.device_id]


@covers("DELETE /devices/{deviceId}")
def test_user_interactive_auth_with_a_wrong_password_is_refused(server):
    user = register(server.base, fresh())
    other = login(server.base, user.localpart)
    uia(user, "DELETE", f"/devices/{other.device_id}", {}, password="wrong").refused((401, 403))
    other.get_("/account/whoami").ok()


@covers("POST /account/password")
def test_the_password_can_be_changed_and_other_devices_are_logged_out(server, anyone):
    user = register(server.base, fresh())
    other = login(server.base, user.localpart)
    uia(user, "POST", "/account/password", {"new_password": "another one entirely"}).ok()
    user.get_("/account/whoami").ok()
    other.get_("/account/whoami").refused(401, "M_UNKNOWN_TOKEN")
    login(server.base, user.localpart, "another one entirely")


@covers("POST /account/deactivate")
def test_a_deactivated_account_cannot_log_in(server, anyone):
    user = register(server.base, fresh())
    uia(user, "POST", "/account/deactivate", {}).ok()
    user.get_("/account/whoami").refused(401, "M_UNKNOWN_TOKEN")
    anyone.post(
        "/login",
        {
            "type": "m.login.password",
            "password": PASSWORD,
            "identifier": {"type": "m.id.user", "user": user.localpart},
        },
    ).refused(403)


# Profile


@covers("PUT /profile/{userId}/{keyName}", "GET /profile/{userId}/{keyName}", "GET /profile/{userId}")
@pytest.mark.parametrize("key,value", [("displayname", "Alice ☕"), ("avatar_url", "mxc://e2e.test/abc")])
def test_profile_fields_can_be_set_and_read_by_others(alice, bob, key, value):
    alice.put(f"/profile/{q(alice.user_id)}/{key}", {key: value}).ok()
    assert bob.get_(f"/profile/{q(alice.user_id)}/{key}").ok()[key] == value
    assert bob.get_(f"/profile/{q(alice.user_id)}").ok()[key] == value


@covers("PUT /profile/{userId}/{keyName}")
def test_the_profile_of_another_cannot_be_set(alice, bob):
    bob.put(f"/profile/{q(alice.user_id)}/displayname", {"displayname": "x"}).refused((400, 403))


@covers("GET /profile/{userId}")
@synapse_deviates("answers M_UNKNOWN")
def test_the_profile_of_nobody_is_not_found(alice):
    alice.get_("/profile/" + q("@nobody-here:e2e.test")).refused(404, "M_NOT_FOUND")


@covers("DELETE /profile/{userId}/{keyName}")
def test_a_profile_field_can_be_deleted(new_user):
    user = new_user()
    path = f"/profile/{q(user.user_id)}/displayname"
    user.put(path, {"displayname": "short-lived"}).ok()
    user.put(f"/profile/{q(user.user_id)}/avatar_url", {"avatar_url": "mxc://e2e.test/stays"}).ok()
    user.delete(path).ok()
    assert "displayname" not in user.get_(f"/profile/{q(user.user_id)}").ok()


@covers("PUT /profile/{userId}/{keyName}")
def test_a_new_display_name_reaches_the_rooms(new_user, bob):
    user = new_user()
    room = user.create()
    bob.join(room).ok()
    since = bob.sync()["next_batch"]
    user.put(f"/profile/{q(user.user_id)}/displayname", {"displayname": "Renamed"}).ok()

    def renamed(answer):
        events = answer.get("rooms", {}).get("join", {}).get(room, {}).get("timeline", {}).get("events", [])
        return any(
            e["type"] == "m.room.member" and e["content"].get("displayname") == "Renamed" for e in events
        )

    bob.sync_until(renamed, since)


# Account data, filters, push rules, odds and ends


@covers("PUT /user/{userId}/account_data/{type}", "GET /user/{userId}/account_data/{type}")
def test_account_data_can_be_set_and_read(alice):
    path = f"/user/{q(alice.user_id)}/account_data/org.example.note"
    alice.put(path, {"text": "milk"}).ok()
    assert alice.get_(path).ok() == {"text": "milk"}


@covers("GET /user/{userId}/account_data/{type}")
def test_account_data_never_set_is_not_found(alice):
    alice.get_(f"/user/{q(alice.user_id)}/account_data/org.example.never").refused(404, "M_NOT_FOUND")


@covers("PUT /user/{userId}/account_data/{type}", "GET /user/{userId}/account_data/{type}")
def test_account_data_of_another_is_forbidden(alice, bob):
    path = f"/user/{q(alice.user_id)}/account_data/org.example.note"
    bob.put(path, {}).refused(403, "M_FORBIDDEN")
    bob.get_(path).refused(403, "M_FORBIDDEN")


@covers("PUT /user/{userId}/account_data/{type}")
@pytest.mark.parametrize("kind", ["m.fully_read", "m.push_rules"])
def test_account_data_kept_by_the_server_cannot_be_set(alice, kind):
    alice.put(f"/user/{q(alice.user_id)}/account_data/{kind}", {}).refused(405, "M_BAD_JSON")


@covers("POST /user/{userId}/filter", "GET /user/{userId}/filter/{filterId}")
def test_a_filter_is_kept(alice):
    wanted = {"room": {"timeline": {"limit": 7}}}
    kept = alice.post(f"/user/{q(alice.user_id)}/filter", wanted).ok()["filter_id"]
    assert not kept.startswith("{")
    assert alice.get_(f"/user/{q(alice.user_id)}/filter/{kept}").ok() == wanted


@covers("GET /user/{userId}/filter/{filterId}")
def test_an_unknown_filter_is_not_found(alice):
    alice.get_(f"/user/{q(alice.user_id)}/filter/999999").refused(404, "M_NOT_FOUND")


@covers("POST /user/{userId}/filter")
def test_a_filter_for_another_is_forbidden(alice, bob):
    bob.post(f"/user/{q(alice.user_id)}/filter", {}).refused(403, "M_FORBIDDEN")


@covers("POST /user/{userId}/filter")
@synapse_deviates("reports M_UNKNOWN or M_BAD_JSON by the kind of mistake")
def test_a_filter_of_wrong_types_is_refused(alice):
    alice.post(f"/user/{q(alice.user_id)}/filter", {"room": {"timeline": {"limit": "many"}}}).refused(
        400, "M_BAD_JSON"
    )


@covers("GET /voip/turnServer")
def test_turn_server_answers_an_object(alice):
    assert isinstance(alice.get_("/voip/turnServer").ok(), dict)


@covers("GET /thirdparty/protocols")
def test_third_party_protocols_answers_an_object(alice):
    assert isinstance(alice.get_("/thirdparty/protocols").ok(), dict)


@covers(
    "GET /thirdparty/protocol/{protocol}",
    "GET /thirdparty/location",
    "GET /thirdparty/location/{protocol}",
    "GET /thirdparty/user",
    "GET /thirdparty/user/{protocol}",
)
@synapse_deviates("answers an empty list")
@pytest.mark.parametrize("rest", ["protocol/irc", "location", "location/irc", "user", "user/irc"])
def test_a_network_nobody_brought_is_not_found(alice, rest):
    alice.get_("/thirdparty/" + rest).refused(404, "M_NOT_FOUND")


# Rate limits


def test_who_asks_too_much_is_told_when_to_come_back():
    limited = make_server(rate_limits="on").start()
    try:
        user = limited.register("hasty")
        room = user.create()
        nodes = len(getattr(limited, "nodes", "1"))  # each bounds what comes to it
        replies = [user.put_event(room, {"body": str(n)}) for n in range(80 * nodes)]
        first = next(reply for reply in replies if reply.status != 200).refused(429, "M_LIMIT_EXCEEDED")
        assert 0 < first["retry_after_ms"] <= 1000
        assert int(replies[-1].headers["Retry-After"]) >= 1
        user.get_(user.room(room, "messages"), dir="b").ok()  # reads have a bound of their own
        user.post(user.room(room, f"receipt/m.read/{q(replies[0]['event_id'])}")).ok()
    finally:
        limited.stop()
        limited.remove()


# CORS and unknown routes


@covers("GET /versions", "POST /login", "GET /sync")
@pytest.mark.parametrize("path", ["/versions", "/login", "/sync", "/rooms/!x:e2e.test/send/m.room.message/1"])
def test_preflight_is_answered_with_cors_headers(anyone, path):
    reply = anyone.request(
        "OPTIONS", path, headers={"Origin": "https://app.example", "Access-Control-Request-Method": "PUT"}
    )
    assert reply.status in (200, 204)
    assert reply.headers["Access-Control-Allow-Origin"] == "*"
    assert {"GET", "POST", "PUT", "DELETE", "OPTIONS"} <= set(
        reply.headers["Access-Control-Allow-Methods"].replace(",", " ").split()
    )
    allowed = reply.headers["Access-Control-Allow-Headers"].lower()
    assert "authorization" in allowed and "content-type" in allowed and "x-requested-with" in allowed


@covers("GET /account/whoami")
@pytest.mark.parametrize("path", ["/versions", "/account/whoami", "/nosuch"])
def test_answers_and_errors_carry_the_cors_header(anyone, path):
    reply = anyone.get_(path)
    assert reply.headers["Access-Control-Allow-Origin"] == "*"
    assert reply.headers["Content-Type"].startswith("application/json")


@pytest.mark.parametrize(
    "path", ["/_matrix/client/v3/nosuch", "/_matrix/client/v99/sync", "/_matrix/nosuch", "/rooms/!x/nosuch"]
)
def test_an_unknown_route_is_404_unrecognized(alice, path):
    alice.get_(path).refused(404, "M_UNRECOGNIZED")


@pytest.mark.parametrize(
    "method,path", [("DELETE", "/sync"), ("PUT", "/login"), ("POST", "/joined_rooms"), ("GET", "/createRoom")]
)
def test_a_wrong_method_is_405_unrecognized(alice, method, path):
    body = None if method in ("GET", "DELETE") else {}
    reply = alice.request(method, path, body)
    reply.refused(405, "M_UNRECOGNIZED")
    assert method not in reply.headers["Allow"] and reply.headers["Allow"]
