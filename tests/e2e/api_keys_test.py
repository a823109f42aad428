"""End-to-end encryption as the server sees it: device keys, cross-signing, key backup, to-device messages;
and media.
"""

import uuid

import pytest

from harness import PASSWORD, Client, login, q

covers, synapse_deviates = pytest.mark.covers, pytest.mark.synapse_deviates

BACKUP = "/room_keys/keys/{roomId}/{sessionId}"


def device_keys(user, curve="curve"):
    return {
        "user_id": user.user_id,
        "device_id": user.device_id,
        "algorithms": ["m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"],
        "keys": {f"curve25519:{user.device_id}": curve, f"ed25519:{user.device_id}": "ed" + curve},
        "signatures": {user.user_id: {f"ed25519:{user.device_id}": "sig"}},
    }


def signed_key(text, **more):
    return {"key": text, "signatures": {}, **more}


def upload(user, **body):
    return user.post("/keys/upload", body).ok()["one_time_key_counts"]


# Device keys


@covers("POST /keys/upload", "POST /keys/query")
def test_device_keys_can_be_uploaded_and_queried(alice, bob):
    upload(alice, device_keys=device_keys(alice))
    found = bob.post("/keys/query", {"device_keys": {alice.user_id: []}}).ok()["device_keys"][alice.user_id]
    assert found[alice.device_id]["keys"] == device_keys(alice)["keys"]
    assert found[alice.device_id]["signatures"] == device_keys(alice)["signatures"]


@covers("POST /keys/query")
def test_a_query_may_name_devices_and_users_without_keys(alice, new_user):
    empty = new_user()
    answer = alice.post("/keys/query", {"device_keys": {empty.user_id: [], alice.user_id: ["NOSUCH"]}}).ok()[
        "device_keys"
    ]
    assert not answer.get(empty.user_id) and not answer.get(alice.user_id)


@covers("POST /keys/upload", "POST /keys/claim")
def test_a_one_time_key_is_claimed_once(new_user, alice):
    user = new_user()
    assert upload(
        user, one_time_keys={"signed_curve25519:A": signed_key("k1"), "signed_curve25519:B": signed_key("k2")}
    ) == {"signed_curve25519": 2}
    wanted = {"one_time_keys": {user.user_id: {user.device_id: "signed_curve25519"}}}
    got = [
        alice.post("/keys/claim", wanted).ok()["one_time_keys"].get(user.user_id, {}).get(user.device_id)
        for _ in range(3)
    ]
    assert {tuple(k)[0] for k in got[:2]} == {"signed_curve25519:A", "signed_curve25519:B"} and not got[2]
    assert upload(user).get("signed_curve25519", 0) == 0


@covers("POST /keys/upload")
def test_a_one_time_key_can_be_uploaded_again_but_not_changed(new_user):
    user = new_user()
    upload(user, one_time_keys={"signed_curve25519:A": signed_key("k1")})
    assert upload(user, one_time_keys={"signed_curve25519:A": signed_key("k1")}) == {"signed_curve25519": 1}
    user.post("/keys/upload", {"one_time_keys": {"signed_curve25519:A": signed_key("other")}}).refused(400)


@covers("POST /keys/upload", "POST /keys/claim", "GET /sync")
def test_a_fallback_key_is_given_again_and_again(new_user, alice):
    user = new_user()
    upload(user, fallback_keys={"signed_curve25519:F": signed_key("fb", fallback=True)})
    assert user.sync()["device_unused_fallback_key_types"] == ["signed_curve25519"]
    wanted = {"one_time_keys": {user.user_id: {user.device_id: "signed_curve25519"}}}
    for _ in range(2):
        key = alice.post("/keys/claim", wanted).ok()["one_time_keys"][user.user_id][user.device_id]
        assert key["signed_curve25519:F"]["key"] == "fb"
    assert user.sync()["device_unused_fallback_key_types"] == []


@covers("GET /sync", "POST /keys/upload")
def test_sync_counts_one_time_keys(new_user):
    user = new_user()
    upload(user, one_time_keys={f"signed_curve25519:{n}": signed_key(str(n)) for n in range(5)})
    assert user.sync()["device_one_time_keys_count"]["signed_curve25519"] == 5


@covers("POST /keys/upload")
def test_device_keys_of_another_are_refused(alice, bob):
    bob.post("/keys/upload", {"device_keys": device_keys(alice)}).refused(400)


@covers("GET /sync", "GET /keys/changes")
def test_new_keys_and_those_of_new_members_are_told(new_user):
    one, two, three = new_user(), new_user(), new_user()
    upload(three, device_keys=device_keys(three))
    room = one.create(
        initial_state=[
            {"type": "m.room.encryption", "state_key": "", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}
        ]
    )
    two.join(room).ok()
    since = one.sync()["next_batch"]
    upload(two, device_keys=device_keys(two, "fresh"))
    three.join(room).ok()
    seen = set()
    _, answer = one.sync_until(
        lambda a: seen.update(a.get("device_lists", {}).get("changed", []))
        or {two.user_id, three.user_id} <= seen,
        since,
    )
    changes = one.get_("/keys/changes", **{"from": since, "to": answer["next_batch"]}).ok()
    assert {two.user_id, three.user_id} <= set(changes["changed"])


@covers("GET /sync", "GET /keys/changes")
def test_one_who_shares_no_room_any_more_has_left(new_user):
    one, two = new_user(), new_user()
    room = one.create(
        initial_state=[
            {"type": "m.room.encryption", "state_key": "", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}
        ]
    )
    two.join(room).ok()
    since = one.sync()["next_batch"]
    two.post(two.room(room, "leave")).ok()
    answer = one.sync(since)
    assert answer["device_lists"]["left"] == [two.user_id]
    assert (
        two.user_id in one.get_("/keys/changes", **{"from": since, "to": answer["next_batch"]}).ok()["left"]
    )


# Cross-signing


def cross_signing(user):
    def key(use, public, **more):
        return {"user_id": user.user_id, "usage": [use], "keys": {f"ed25519:{public}": public}, **more}

    signed = {"signatures": {user.user_id: {"ed25519:" + MASTER: "sig"}}}
    return {
        "master_key": key("master", MASTER),
        "self_signing_key": key("self_signing", SELF, **signed),
        "user_signing_key": key("user_signing", USER, **signed),
    }


MASTER = "nqOvzeuGWT/sRx3h7+MHoInYj3Uk2LD/unI9kDYcHwk"
SELF = "VgAP8BtXvXQwEHZfQyHQvEMCXQVnHO1zWQVxhvDLIW8"
USER = "Qk5RzVaxRZHkBf3VqAuOYMTqhfNGwqYgYBVXkJPbXFo"


@covers("POST /keys/device_signing/upload")
def test_cross_signing_keys_without_valid_signatures_are_refused_or_kept(new_user):
    """Signatures by the master key are checked by some servers only; malformed keys are refused by all."""
    user = new_user()
    broken = cross_signing(user)
    broken["master_key"]["user_id"] = "@someone-else:e2e.test"
    reply = user.post("/keys/device_signing/upload", broken)
    if reply.status == 401:
        auth = {
            "type": "m.login.password",
            "session": reply["session"],
            "password": PASSWORD,
            "identifier": {"type": "m.id.user", "user": user.localpart},
        }
        reply = user.post("/keys/device_signing/upload", dict(broken, auth=auth))
    reply.refused((400, 403))


@covers("POST /keys/device_signing/upload", "POST /keys/query")
def test_a_master_key_can_be_uploaded_once_without_auth_and_queried(new_user, alice):
    user = new_user()
    body = {"master_key": cross_signing(user)["master_key"]}
    user.post("/keys/device_signing/upload", body).ok()
    for reader in (user, alice):
        found = reader.post("/keys/query", {"device_keys": {user.user_id: []}}).ok()["master_keys"]
        assert found[user.user_id]["keys"] == body["master_key"]["keys"]
    user.post("/keys/device_signing/upload", body).ok()
    other = {"master_key": dict(body["master_key"], keys={"ed25519:" + SELF: SELF})}
    assert "session" in user.post("/keys/device_signing/upload", other).refused(401)


@covers("POST /keys/signatures/upload")
def test_a_signature_that_is_not_valid_is_reported_as_a_failure(new_user):
    user = new_user()
    upload(user, device_keys=device_keys(user))
    wrong = device_keys(user)
    wrong["signatures"] = {user.user_id: {"ed25519:" + SELF: "nonsense"}}
    failures = user.post("/keys/signatures/upload", {user.user_id: {user.device_id: wrong}}).ok()["failures"]
    assert user.device_id in failures[user.user_id]


# Key backup


@pytest.fixture
def backup(new_user):
    user = new_user("backup")
    body = {
        "algorithm": "m.megolm_backup.v1.curve25519-aes-sha2",
        "auth_data": {"public_key": "abc", "signatures": {}},
    }
    return user, user.post("/room_keys/version", body).ok()["version"], body


def session(index=0, forwarded=0, verified=False, data="secret"):
    return {
        "first_message_index": index,
        "forwarded_count": forwarded,
        "is_verified": verified,
        "session_data": {"x": data},
    }


@covers(
    "POST /room_keys/version",
    "GET /room_keys/version",
    "GET /room_keys/version/{version}",
    "PUT /room_keys/version/{version}",
    "DELETE /room_keys/version/{version}",
)
def test_a_backup_version_can_be_made_read_changed_and_deleted(backup):
    user, version, body = backup
    info = user.get_("/room_keys/version").ok()
    assert info["version"] == version and info["count"] == 0 and info["auth_data"] == body["auth_data"]
    changed = {
        "algorithm": body["algorithm"],
        "auth_data": {"public_key": "abc", "signatures": {"s": {}}},
        "version": version,
    }
    user.put(f"/room_keys/version/{version}", changed).ok()
    assert user.get_(f"/room_keys/version/{version}").ok()["auth_data"] == changed["auth_data"]
    user.delete(f"/room_keys/version/{version}").ok()
    user.get_("/room_keys/version").refused(404, "M_NOT_FOUND")


@covers("PUT " + BACKUP, "GET " + BACKUP, "DELETE " + BACKUP)
def test_one_session_can_be_backed_up(backup):
    user, version, _ = backup
    path = f"/room_keys/keys/{q('!r:e2e.test')}/sess"
    stored = user.request("PUT", path, session(), query={"version": version}).ok()
    assert stored["count"] == 1 and stored["etag"]
    assert user.get_(path, version=version).ok() == session()
    assert user.request("DELETE", path, query={"version": version}).ok()["count"] == 0
    user.get_(path, version=version).refused(404, "M_NOT_FOUND")


@covers(
    "PUT /room_keys/keys",
    "GET /room_keys/keys",
    "DELETE /room_keys/keys",
    "PUT /room_keys/keys/{roomId}",
    "GET /room_keys/keys/{roomId}",
    "DELETE /room_keys/keys/{roomId}",
)
def test_many_sessions_can_be_backed_up(backup):
    user, version, _ = backup
    where = {"version": version}
    rooms = {"rooms": {"!a:x": {"sessions": {"1": session(), "2": session(1)}}}}
    assert user.request("PUT", "/room_keys/keys", rooms, query=where).ok()["count"] == 2
    assert (
        user.request("PUT", "/room_keys/keys/" + q("!b:x"), {"sessions": {"3": session()}}, query=where).ok()[
            "count"
        ]
        == 3
    )
    assert set(user.get_("/room_keys/keys", **where).ok()["rooms"]) == {"!a:x", "!b:x"}
    assert set(user.get_("/room_keys/keys/" + q("!a:x"), **where).ok()["sessions"]) == {"1", "2"}
    assert user.request("DELETE", "/room_keys/keys/" + q("!a:x"), query=where).ok()["count"] == 1
    assert user.request("DELETE", "/room_keys/keys", query=where).ok()["count"] == 0


@covers("PUT " + BACKUP)
@pytest.mark.parametrize(
    "old,new,kept",
    [
        (session(5, data="old"), session(3, data="new"), "new"),
        (session(3, data="old"), session(5, data="new"), "old"),
        (session(verified=True, data="old"), session(data="new"), "old"),
        (session(forwarded=2, data="old"), session(forwarded=1, data="new"), "new"),
    ],
)
def test_a_better_session_replaces_a_worse_one(backup, old, new, kept):
    user, version, _ = backup
    path = f"/room_keys/keys/{q('!r:e2e.test')}/sess"
    for key in (old, new):
        user.request("PUT", path, key, query={"version": version}).ok()
    assert user.get_(path, version=version).ok()["session_data"]["x"] == kept


@covers("PUT " + BACKUP)
@synapse_deviates("names the old version as the current one")
def test_an_old_backup_version_is_refused(backup):
    user, version, body = backup
    newer = user.post("/room_keys/version", body).ok()["version"]
    reply = user.request(
        "PUT", f"/room_keys/keys/{q('!r:e2e.test')}/s", session(), query={"version": version}
    )
    assert reply.refused(403, "M_WRONG_ROOM_KEYS_VERSION")["current_version"] == newer


# To-device messages


def inbox(answer):
    return [(e["sender"], e["type"], e["content"]) for e in answer.get("to_device", {}).get("events", [])]


def send_to(user, target, device, content, txn=None):
    return user.put(
        f"/sendToDevice/org.example.ping/{txn or uuid.uuid4().hex}",
        {"messages": {target.user_id: {device: content}}},
    )


@covers("PUT /sendToDevice/{eventType}/{txnId}", "GET /sync")
def test_a_to_device_message_is_delivered_once(new_user, alice):
    user = new_user()
    since = user.sync()["next_batch"]
    send_to(alice, user, user.device_id, {"n": 1}).ok()
    _, answer = user.sync_until(lambda a: inbox(a) == [(alice.user_id, "org.example.ping", {"n": 1})], since)
    assert inbox(user.sync(since)) == inbox(answer), "repeated until the token that followed is used"
    assert inbox(user.sync(answer["next_batch"])) == []
    assert inbox(user.sync()) == []


@covers("PUT /sendToDevice/{eventType}/{txnId}")
def test_a_repeated_to_device_transaction_is_sent_once(new_user, alice):
    user = new_user()
    for _ in range(2):
        send_to(alice, user, user.device_id, {"n": 1}, txn="same").ok()
    assert len(inbox(user.sync())) == 1


@covers("PUT /sendToDevice/{eventType}/{txnId}")
def test_a_star_reaches_every_device(new_user, alice, server):
    user = new_user()
    second = login(server.base, user.localpart)
    send_to(alice, user, "*", {"n": 2}).ok()
    assert len(inbox(user.sync())) == len(inbox(second.sync())) == 1


@covers("PUT /sendToDevice/{eventType}/{txnId}", "GET /sync")
def test_to_device_messages_survive_a_restart_in_order(new_user, alice, server):
    user = new_user()
    since = user.sync()["next_batch"]
    for n in range(3):
        send_to(alice, user, user.device_id, {"n": n}).ok()
    server.restart()
    send_to(alice, user, user.device_id, {"n": 3}).ok()
    got = []
    user.sync_until(lambda a: got.extend(c["n"] for _, _, c in inbox(a)) or len(got) >= 4, since)
    assert got == [0, 1, 2, 3]


# Media

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c6360000002"
    "000001e221bc330000000049454e44ae426082"
)


def upload_media(user, data=PNG, kind="image/png", name=None):
    reply = user.request(
        "POST",
        "/_matrix/media/v3/upload",
        raw=data,
        headers={"Content-Type": kind},
        query={"filename": name} if name else None,
    )
    server_name, media_id = reply.ok()["content_uri"].removeprefix("mxc://").split("/")
    assert server_name == "e2e.test"
    return f"/v1/media/download/{server_name}/{media_id}"


@covers("POST /_matrix/media/v3/upload", "GET /v1/media/download/{serverName}/{mediaId}")
@pytest.mark.parametrize("size", [0, 1, 70000, 3_000_000])
def test_uploaded_bytes_come_back_unchanged(alice, bob, size):
    data = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    reply = bob.get_(upload_media(alice, data, "application/octet-stream"))
    assert reply.status == 200 and reply.raw == data


@covers(
    "GET /v1/media/download/{serverName}/{mediaId}",
    "GET /v1/media/download/{serverName}/{mediaId}/{fileName}",
)
def test_a_download_has_type_name_and_safe_headers(alice, bob):
    path = upload_media(alice, name="cat.png")
    reply = bob.get_(path)
    assert reply.headers["Content-Type"] == "image/png"
    assert (
        "inline" in reply.headers["Content-Disposition"] and "cat.png" in reply.headers["Content-Disposition"]
    )
    assert "sandbox" in reply.headers["Content-Security-Policy"]
    assert reply.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert "dog.png" in bob.get_(path + "/dog.png").headers["Content-Disposition"]


@covers("GET /v1/media/download/{serverName}/{mediaId}")
def test_html_is_given_as_an_attachment(alice):
    assert (
        "attachment"
        in alice.get_(upload_media(alice, b"<script>", "text/html")).headers["Content-Disposition"]
    )


@covers("GET /v1/media/download/{serverName}/{mediaId}")
def test_a_download_needs_a_token_and_a_medium(alice, server):
    Client(server.base).get_(upload_media(alice)).refused(401, "M_MISSING_TOKEN")
    alice.get_("/v1/media/download/e2e.test/nosuch").refused(404, "M_NOT_FOUND")


@covers("GET /v1/media/config", "POST /_matrix/media/v3/upload")
@synapse_deviates("waits for the body first")
def test_an_upload_over_the_configured_size_is_refused_by_its_header(alice):
    most = alice.get_("/v1/media/config").ok()["m.upload.size"]
    reply = alice.request(
        "POST", "/_matrix/media/v3/upload", raw=b"", headers={"Content-Length": str(most + 1)}, timeout=5
    )
    reply.refused(413, "M_TOO_LARGE")


@covers("POST /_matrix/media/v3/upload")
def test_an_upload_needs_a_token(server):
    Client(server.base).request("POST", "/_matrix/media/v3/upload", raw=PNG).refused(401, "M_MISSING_TOKEN")
