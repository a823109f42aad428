"""The pages of the OAuth 2.0 API in a real browser: what its content-security policy and cookie rules let through.

GREENROOM_PICTURES=DIR keeps pictures of the pages (docs/pages).
"""

import os
import secrets
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from chromium import Chromium
from harness import PASSWORD, Client, make_server
from oauth_test import APP, DEVICE_GRANT, Flow, begin_device, cross_signing, poll, post_json

PICTURES = os.environ.get("GREENROOM_PICTURES")


@pytest.fixture(scope="module")
def oauth():
    running = make_server("greenroom").start()
    yield running
    running.stop()
    running.remove()


@pytest.fixture(scope="module")
def app_at_home():
    """The address of a native app on this computer, which notes how it is called."""
    called = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            called.append(self.path)
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<p>Back in the app</p>")

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/cb", called
    server.shutdown()
    server.server_close()


@pytest.fixture
def chromium():
    running = Chromium()
    yield running
    running.close()


@pytest.fixture
def alice(oauth):
    return oauth.register("alice" + secrets.token_hex(4))


def native(oauth):
    changes = {"application_type": "native", "client_name": "Example", "redirect_uris": ["http://127.0.0.1/cb"]}
    return post_json(Client(oauth.base), "/register", {**APP, **changes})["client_id"]


def picture(chromium, name):
    if PICTURES:
        chromium.picture(Path(PICTURES) / f"{name}.png")


def address(flow):
    return f"{flow.server.base}/_greenroom/oauth2/authorize?" + urlencode(flow.query)


def test_a_person_signs_in_and_allows_an_app(oauth, app_at_home, chromium, alice):
    redirect, called = app_at_home
    flow = Flow(oauth, native(oauth), redirect_uri=redirect)
    chromium.open(address(flow))
    picture(chromium, "oauth-sign-in")
    chromium.submit("Log in", username=alice.localpart, password="wrong")
    assert "wrong" in chromium.text()
    chromium.submit("Log in", username=alice.localpart, password=PASSWORD)
    assert alice.user_id in chromium.text() and "Example" in chromium.text()
    picture(chromium, "oauth-consent")
    chromium.submit("Allow")
    assert "Back in the app" in chromium.text()
    got = parse_qs(urlsplit(next(path for path in called if path.startswith("/cb"))).query)
    tokens = flow.redeem(got["code"][0]).ok()
    assert Client(oauth.base, tokens["access_token"]).get_("/account/whoami").ok()["user_id"] == alice.user_id


def test_a_person_makes_an_account_for_an_app(oauth, app_at_home, chromium):
    redirect, called = app_at_home
    flow = Flow(oauth, native(oauth), redirect_uri=redirect, prompt="create", response_mode="fragment")
    name = "new" + secrets.token_hex(4)
    chromium.open(address(flow))
    picture(chromium, "oauth-register")
    chromium.submit("Make the account", username=name, password=PASSWORD)
    assert f"@{name}:e2e.test" in chromium.text()
    chromium.submit("Allow")
    got = parse_qs(urlsplit(chromium.url()).fragment)
    tokens = flow.redeem(got["code"][0]).ok()
    assert Client(oauth.base, tokens["access_token"]).get_("/account/whoami").ok()["user_id"] == f"@{name}:e2e.test"
    assert not [path for path in called if got["code"][0] in path]


def test_a_person_connects_a_device_and_signs_it_out_again(oauth, chromium, alice):
    anyone, app = Client(oauth.base), native_with_devices(oauth)
    begun = begin_device(anyone, app, "TVSET")
    chromium.open(begun["verification_uri"])
    chromium.submit("Log in", username=alice.localpart, password=PASSWORD)
    chromium.submit("Continue", user_code=begun["user_code"])
    assert begun["user_code"] in chromium.text()
    picture(chromium, "oauth-device")
    chromium.submit("Allow")
    assert "Connected" in chromium.text()
    picture(chromium, "oauth-connected")
    tv = Client(oauth.base, poll(anyone, app, begun).ok()["access_token"])
    tv.get_("/account/whoami").ok()
    chromium.open(oauth.base + "/_greenroom/account")
    picture(chromium, "oauth-account")
    chromium.submit("Devices")
    picture(chromium, "oauth-devices")
    chromium.open(oauth.base + "/_greenroom/account?action=org.matrix.device_view&device_id=TVSET")
    chromium.submit("Sign this device out")
    tv.get_("/account/whoami").refused(401, "M_UNKNOWN_TOKEN")


def native_with_devices(oauth):
    changes = {"client_name": "Television", "grant_types": [DEVICE_GRANT, "refresh_token"], "redirect_uris": []}
    return post_json(Client(oauth.base), "/register", {**APP, **changes})["client_id"]


def test_a_person_resets_cross_signing(oauth, app_at_home, chromium, alice):
    flow = Flow(oauth, native(oauth), redirect_uri=app_at_home[0])
    user = flow.log_in(alice)
    user.user_id = alice.user_id
    user.post("/keys/device_signing/upload", cross_signing(user)).ok()
    new = cross_signing(user)
    wanted = user.post("/keys/device_signing/upload", new).refused(401)
    chromium.open(wanted["params"]["m.oauth"]["url"])
    chromium.submit("Log in", username=alice.localpart, password=PASSWORD)
    picture(chromium, "oauth-reset")
    chromium.submit("Reset")
    user.post("/keys/device_signing/upload", {**new, "auth": {"session": wanted["session"]}}).ok()


def test_no_other_site_posts_the_forms(oauth, app_at_home, chromium, alice):
    flow = Flow(oauth, native(oauth), redirect_uri=app_at_home[0])
    chromium.open(address(flow)).submit("Log in", username=alice.localpart, password=PASSWORD)
    elsewhere = app_at_home[0].replace("127.0.0.1", "localhost")
    chromium.open(elsewhere)
    form = f"<form method=post action={address(flow)!r}><input name=decision value=allow><button>Go</button></form>"
    chromium.run(f"document.body.innerHTML = {form!r}")
    app_at_home[1].clear()
    chromium.submit("Go")
    assert "too old" in chromium.text() and not [path for path in app_at_home[1] if "code" in path]
