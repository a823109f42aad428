"""Secrets stay out of logs, message logs, traces and metrics, whatever way people get in.  Greenroom only.

What all other tests leave behind is looked at when each of their servers goes (leaks.py, harness.look_for_leaks); here people
go every way in once, on servers that log as much as they can, and it is shown that the look finds what there is to find.
"""

import base64
import time

import pytest

import harness
import leaks
from accounts_test import SHARED, Browser, by_password, by_secret, command, with_token
from conftest import KIND
from email_test import Post, add, ask, confirm, fresh, with_mail
from harness import PASSWORD, Client, login
from identity import Browser as PlainBrowser
from identity import Provider, SsoServer, token_in, use
from oauth_test import APP, Flow, begin_device, parameters, poll, post_json
from remote import Authority

pytestmark = pytest.mark.skipif(KIND != "greenroom", reason="these are Greenroom's own")
SECRET = "never to be read"
ALL = {"message_log": "full", "log.level": "debug"}


def flushed(node):
    """Once the newest message is in the message log, which is written by a thread of its own."""
    command(node, "send", "echo/flush", "echo", '{"text":"mark of the end"}')
    folder = node.directory / "data" / "messages"
    for _ in range(100):
        written = b"".join(path.read_bytes() for path in folder.iterdir())
        if b"mark of the end" in written:
            return written
        time.sleep(0.1)
    raise AssertionError("the message log has no end")


def leaves_nothing(node, user):
    """Ends the server and looks at what it leaves; that the look saw something is known by the name of the user."""
    written = flushed(node)
    assert user.encode() in written  # Bodies are there.
    before, told = len(harness.leaked), node.metrics()
    assert "greenroom_user_logins_total" in told
    node.stop()
    assert b"greenroom_user_logins_total" in node.told_metrics
    assert user.encode() in leaks.traces_of(node.binary, node.directory)
    node.remove()
    assert harness.leaked[before:] == []


def by_password_token_and_mail(node, post):
    client = Client(node.base)
    token = command(node, "registration-token", "add").strip()
    assert token in command(node, "registration-token", "list")
    made = with_token(client, "spy", token, refresh_token=True).ok()
    user = harness.User(node.base, made["user_id"], made["access_token"], made["device_id"], made["refresh_token"])
    user.token = client.post("/refresh", {"refresh_token": user.refresh_token}).ok()["access_token"]
    by_password(client, "spy", SECRET + " wrong").refused(403)
    by_secret(client, "spymaster", SECRET + " shared").ok()
    command(node, "user", "add", "sleeper", "--password", SECRET + " owner")
    login(node.base, "sleeper", SECRET + " owner")
    address = fresh("spy")
    creds = ask(node.base, "account/3pid", address)
    confirm(node, post.next(address))
    add(user, creds).ok()
    creds = ask(node.base, "account/password", address)
    confirm(node, post.next(address))
    body = {"new_password": SECRET + " new", "logout_devices": False}
    session = client.post("/account/password", body).refused(401)["session"]
    auth = {"type": "m.login.email.identity", "session": session, "threepid_creds": creds}
    client.post("/account/password", dict(body, auth=auth)).ok()
    browser = Browser(node)
    browser.open("/_matrix/static/client/login/")
    assert browser.submit(username="spy", password=SECRET + " new").status == 200
    client.request("GET", "/account/whoami", query={"access_token": user.token}, token=False).ok()


def test_who_gets_in_by_password_token_or_mail_leaves_no_secret_behind():
    authority = Authority()
    post = Post(authority)
    post.authority = authority
    node = with_mail(post, **ALL, registration="token", registration_shared_secret=SHARED)
    try:
        by_password_token_and_mail(node, post)
        seen = {*leaks.noted.values(), *leaks.known_to(node.directory).values()}
        assert seen >= {"password", "new_password", "access_token", "refresh_token", "token", "client_secret", "email token",
                        "mac", "cookie", "form_proof", "signing key", "key of the server", "configured secret"}
        leaves_nothing(node, "@spy:e2e.test")
    finally:
        node.remove()
        post.controller.stop()


def test_who_gets_in_by_a_provider_or_an_app_leaves_no_secret_behind():
    corp = Provider("corp")
    node = SsoServer([corp], **ALL).start()
    try:
        person = {"sub": "person-7", "preferred_username": "mole", "name": "Mole"}
        page = PlainBrowser(node.base).log_in(corp, person, sid="the session at the provider")
        use(node.base, token_in(page)).ok()
        alice, client = node.register("alice"), Client(node.base)
        app = post_json(client, "/register", APP)["client_id"]
        flow = Flow(node, app)
        flow.redeem(flow.allow(alice)["code"]).ok()
        begun = begin_device(client, app, "TVSET")
        link = flow.browser.get(begun["verification_uri_complete"])
        assert link.submit(decision="allow").status == 200
        poll(client, app, begun).ok()
        session = alice.post("/v1/login/get_token", {}).refused(401)["session"]
        auth = {"type": "m.login.password", "session": session, "password": PASSWORD}
        use(node.base, alice.post("/v1/login/get_token", {"auth": auth}).ok()["login_token"]).ok()
        seen = {*leaks.noted.values()}
        assert seen >= {"code", "code_verifier", "device_code", "login_token", "loginToken", "nonce", "provider's token", "cookie"}
        leaves_nothing(node, "@mole:e2e.test")
    finally:
        node.remove()
        corp.stop()


# The look can fail


@pytest.mark.parametrize("spelt", ["a secret/with more", "a%20secret%2Fwith%20more"])
@pytest.mark.parametrize("where", ["log", "message log", "metrics", "trace"])
def test_a_secret_is_found_wherever_it_is_left(tmp_path, monkeypatch, where, spelt):
    monkeypatch.setattr(leaks, "noted", {"a secret/with more": "password"})
    (tmp_path / "messages").mkdir()
    (tmp_path / "messages" / "1").write_bytes(b"\0" + spelt.encode() + b"\0" if where == "message log" else b"\0a secret")
    (tmp_path / "output.log").write_text(f"this is {spelt}\n" if where == "log" else "this is no secret/with more\n")
    program = tmp_path / "greenroom"
    program.write_text(f"#!/bin/sh\necho '{spelt if where == 'trace' else 'nothing'}'\n")
    program.chmod(0o700)
    found = leaks.found_in(tmp_path, program, spelt.encode() if where == "metrics" else b"")
    assert [leak.split(":")[0].rsplit(" ", 1)[0] for leak in found] == [where] and "password" in found[0]


def test_of_a_long_secret_a_part_is_enough(tmp_path, monkeypatch):
    secret = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEF"
    monkeypatch.setattr(leaks, "noted", {secret: "token"})
    (tmp_path / "output.log").write_text(secret[8:-8])
    assert len(leaks.found_in(tmp_path)) == 1


def test_keys_of_a_server_and_what_was_configured_are_looked_for(tmp_path):
    (tmp_path / "signing.key").write_text("ed25519 a_1 lCiUqpQexW/qdvRVQjhpjGECNAfANI93Odp0PUintl0\n")
    paging = base64.b64encode(bytes(range(100, 132))).decode().rstrip("=")
    (tmp_path / "secrets").write_text(f"paging {paging}\n")
    (tmp_path / "greenroom.yaml").write_text('registration_shared_secret: "told to nobody"\n#password: a remark of old\n')
    hexed = bytes(range(100, 132)).hex()
    (tmp_path / "output.log").write_text(f"lCiUqpQexW/qdvRVQjhpjGECNAfANI93Odp0PUintl0\n{hexed}\ntold to nobody, a remark of old\n")
    found = leaks.found_in(tmp_path)
    assert len(found) == 3
    for what in ("configured secret", "key of the server", "signing key"):
        assert any(what in leak for leak in found)


def test_tokens_and_hashes_that_nobody_noted_are_known_by_their_looks(tmp_path):
    (tmp_path / "output.log").write_text("nothing here, not even grt_ab_short")
    assert leaks.found_in(tmp_path) == []
    (tmp_path / "output.log").write_text(f"grt_ab_{'x' * 43}_c, hashed $argon2id$v=19, $2b$12$")
    assert len(leaks.found_in(tmp_path)) == 3


def test_passwords_tokens_codes_and_cookies_that_go_over_http_are_noted(monkeypatch, server):
    monkeypatch.setattr(leaks, "noted", {})
    Client(server.base, "a token of nobody").get_("/account/whoami", access_token="another of nobody")
    by_password(Client(server.base), "nobody", "a password of nobody")
    Browser(server).open("/_matrix/static/client/login/")
    Browser(server).open("/_greenroom/oauth/nothing", {"code": "a code of nobody"})
    assert {"a token of nobody", "another of nobody", "a password of nobody", "a code of nobody"} <= leaks.noted.keys()
    assert {"cookie", "form_proof"} <= {*leaks.noted.values()}
