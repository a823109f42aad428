"""Secrets stay out of logs, message logs, traces and metrics, whatever way people get in.  Greenroom only.

What all other tests leave in logs is looked at when each of their servers goes (harness.leaks_in, conftest.py).
"""

import http.client
import re
import subprocess
import time

import pytest

import harness
from accounts_test import SHARED, Browser, by_password, by_secret, command, with_token
from conftest import KIND
from email_test import Post, add, ask, confirm, fresh, with_mail
from harness import Client, login
from remote import Authority

pytestmark = pytest.mark.skipif(KIND != "greenroom", reason="these are Greenroom's own")
SECRET = "never to be read"


def metrics_of(node):
    connection = http.client.HTTPConnection("127.0.0.1", node.metrics_port, timeout=10)
    connection.request("GET", "/metrics")
    return connection.getresponse().read()


def flushed(node):
    """All that logs and message logs hold, once the newest message is in them."""
    command(node, "send", "echo/flush", "echo", '{"text":"mark of the end"}')
    folder = node.directory / "data" / "messages"
    for _ in range(100):  # The message log is written by a thread of its own.
        written = b"".join(path.read_bytes() for path in folder.iterdir())
        if b"mark of the end" in written:
            return written + (node.directory / "output.log").read_bytes()
        time.sleep(0.1)
    raise AssertionError("the message log has no end")


def every_way_in(node, post, secrets):
    """Goes every way in once, and collects what nobody may read."""
    client = Client(node.base)
    token = command(node, "registration-token", "add").strip()
    made = with_token(client, "spy", token, refresh_token=True).ok()
    user = harness.User(node.base, made["user_id"], made["access_token"], made["device_id"], made["refresh_token"])
    secrets += [token, user.token, user.refresh_token]
    again = client.post("/refresh", {"refresh_token": user.refresh_token}).ok()
    secrets += [again["access_token"], again["refresh_token"]]
    user.token = again["access_token"]
    by_password(client, "spy", SECRET + " wrong").refused(403)
    by_secret(client, "spymaster", SECRET + " shared").ok()
    command(node, "user", "add", "sleeper", "--password", SECRET + " owner")
    secrets.append(login(node.base, "sleeper", SECRET + " owner").token)
    address = fresh("spy")
    creds = ask(node.base, "account/3pid", address)
    mail = post.next(address)
    secrets += [creds["client_secret"], re.search(r"token=([\w-]+)", mail.get_content()).group(1)]
    confirm(node, mail)
    add(user, creds).ok()
    creds = ask(node.base, "account/password", address)
    secrets.append(creds["client_secret"])
    confirm(node, post.next(address))
    body = {"new_password": SECRET + " new", "logout_devices": False}
    session = client.post("/account/password", body).refused(401)["session"]
    auth = {"type": "m.login.email.identity", "session": session, "threepid_creds": creds}
    client.post("/account/password", dict(body, auth=auth)).ok()
    browser = Browser(node)
    browser.open("/_matrix/static/client/login/")
    browser.submit(username="spy", password=SECRET + " new")
    secrets.append(re.search(r"grt_[\w-]+", browser.text).group(0))
    client.request("GET", "/account/whoami", query={"access_token": user.token}, token=False).ok()


def test_no_log_trace_or_metric_contains_a_secret():
    authority = Authority()
    post = Post(authority)
    post.authority = authority
    options = {"message_log": "full", "log.level": "debug", "registration": "token", "registration_shared_secret": SHARED}
    node = with_mail(post, **options)
    try:
        secrets = [SECRET, harness.PASSWORD, SHARED, "a password between servers"]
        every_way_in(node, post, secrets)
        tokens = [s.split("_", 2)[2][:43] for s in secrets if re.match(r"gr[a-z]_", s)]
        assert len(tokens) >= 6
        written = flushed(node) + metrics_of(node)
        assert b"@spy:e2e.test" in written  # bodies are there
        traces = subprocess.run(
            [node.binary, "trace", "@spy:e2e.test", "--dir", str(node.directory / "data")],
            capture_output=True,
            timeout=60,
        )
        written += traces.stdout + traces.stderr
        for secret in secrets + tokens:
            assert secret.encode() not in written, f"a log contains {secret[:8]}..."
    finally:
        node.stop()
        node.remove()
        post.controller.stop()


def test_a_secret_in_a_log_is_found(tmp_path):
    """The look at all logs can fail."""
    (tmp_path / "messages").mkdir()
    (tmp_path / "output.log").write_text("nothing here, not even grt_ab_short")
    assert harness.leaks_in(tmp_path) == []
    (tmp_path / "messages" / "1").write_bytes(b"\0grt_ab_" + b"x" * 43 + b"_c")
    (tmp_path / "output.log").write_text(f"the password is {harness.PASSWORD}, hashed $argon2id$v=19")
    assert len(harness.leaks_in(tmp_path)) == 3
