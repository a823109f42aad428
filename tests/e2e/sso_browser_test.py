"""Single sign-on with real identity providers and a real browser that clicks through the pages.

GREENROOM_PICTURES=DIR keeps pictures of the pages (docs/pages).
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

import harness
from chromium import Chromium
from identity import REDIRECT, Loopback, SsoServer, use
from oauth_test import until_refused

PICTURES = os.environ.get("GREENROOM_PICTURES")


class App(Loopback):
    """The client that people come back to."""

    def answer(self, method, path, query, form, headers):
        return 200, "text/html", "<!DOCTYPE html><title>App</title><link rel=icon href='data:,'><h1>Welcome back</h1>"


class Real:
    """A provider that is a process of its own."""

    def __init__(self, identifier, command, port, **config):
        self.id, self.port, self.command = identifier, port, command
        self.config = {"issuer": f"http://127.0.0.1:{port}", "client_id": "greenroom", "client_secret": "secret", **config}

    def start(self, ready):
        self.process = subprocess.Popen(self.command, cwd=harness.js_directory(), stdout=subprocess.PIPE, text=True,
                                        stderr=subprocess.STDOUT, preexec_fn=harness.die_with_parent)
        for line in self.process.stdout:
            if ready in line:
                return
        raise AssertionError("the provider did not start")

    def stop(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def app():
    running = App()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def sso():
    panva = Real("panva", None, harness.free_port())
    python = Real("python", None, harness.free_port(), localpart="{email:localpart}", display_name="{nickname}", pick_name=True)
    running = SsoServer([panva, python])
    callback = running.base + "/_greenroom/sso/callback/"
    panva.command = [harness.node(), "provider.mjs", str(panva.port), callback + "panva",
                     running.base + "/_greenroom/sso/backchannel/panva"]
    python.command = [sys.executable, "-m", "oidc_provider_mock", "--port", str(python.port)]
    panva.start("ready")
    python.start("unning on")
    running.start()
    yield running
    running.stop()
    running.remove()
    panva.stop()
    python.stop()


@pytest.fixture
def chromium():
    running = Chromium()
    yield running
    faults = running.faults
    running.close()
    # The pages of the providers ask for what is not on loopback; what our own forbid is another matter.
    assert not [fault for fault in faults if "Security Policy" in fault]


def picture(chromium, name):
    if PICTURES:
        chromium.picture(Path(PICTURES) / f"{name}.png")


def begin(chromium, sso, app):
    return chromium.open(f"{sso.base}{REDIRECT}?redirectUrl={app.base}/%3Fkeep%3D1")


def log_in(sso, chromium):
    query = parse_qs(urlsplit(chromium.url()).query)
    assert query["keep"] == ["1"] and "Welcome back" in chromium.text()
    answer = use(sso.base, query["loginToken"][0]).ok()
    return harness.User(sso.base, answer["user_id"], answer["access_token"], answer["device_id"])


def through_panva(chromium, sso, app, name):
    begin(chromium, sso, app)
    picture(chromium, "sso-choose")
    chromium.submit("Continue with Panva & Co").submit("Sign-in", login=name, password="any").submit("Continue")
    assert urlsplit(chromium.url()).path == "/_greenroom/sso/confirm", chromium.text()


def test_a_person_logs_in_by_oidc_provider(sso, app, chromium):
    through_panva(chromium, sso, app, "anna")
    picture(chromium, "sso-confirm")
    assert f"@anna:{sso.server_name}" in chromium.text() and app.base in chromium.text()
    chromium.submit("Continue")
    user = log_in(sso, chromium)
    assert user.user_id == f"@anna:{sso.server_name}"
    assert user.get_(f"/profile/{user.user_id}").ok()["displayname"] == "The anna"


def test_a_person_picks_a_name_after_logging_in_by_a_second_provider(sso, app, chromium):
    harness.register(sso.base, "bert")
    begin(chromium, sso, app).submit("Continue with Python & Co").submit("Authorize", sub="bert@example.org")
    chromium.submit("Continue", username="bert")
    assert "taken" in chromium.text()
    picture(chromium, "sso-name")
    chromium.submit("Continue", username="bert.2").submit("Continue")
    assert log_in(sso, chromium).user_id == f"@bert.2:{sso.server_name}"


def test_who_logs_out_at_oidc_provider_is_logged_out_of_what_came_of_that_session(sso, app, chromium):
    def sessions(*devices):
        command = [sso.binary, "user", "show", devices[0].user_id, "--json", "--dir", str(sso.directory / "data")]
        rows = json.loads(subprocess.run(command, capture_output=True, check=True, timeout=60).stdout)["devices"]
        return [next(row["provider_session"] for row in rows if row["device_id"] == one.device_id) for one in devices]

    elsewhere = Chromium()
    try:
        through_panva(chromium, sso, app, "carla")
        ended = [log_in(sso, chromium.submit("Continue"))]
        begin(chromium, sso, app).submit("Continue with Panva & Co")  # Still logged in there: nothing more is asked.
        ended.append(log_in(sso, chromium.submit("Continue")))
        through_panva(elsewhere, sso, app, "carla")
        kept = [log_in(sso, elsewhere.submit("Continue"))]
    finally:
        elsewhere.close()
    begin(chromium, sso, app).submit("Continue with Python & Co").submit("Authorize", sub="carla@example.org")
    chromium.submit("Continue", username="carla.python")
    kept.append(log_in(sso, chromium.submit("Continue")))
    one, same, other = sessions(*ended, kept[0])
    assert one and one == same and other and other != one
    chromium.open(sso.providers[0].config["issuer"] + "/session/end").submit("Yes, sign me out")
    assert "Sign-out Success" in chromium.text()
    for device in ended:
        until_refused(device)
    for device in kept:
        device.get_("/account/whoami").ok()


def test_errors_are_pages_for_people(sso, chromium):
    page = chromium.open(f"{sso.base}/_greenroom/sso/confirm?flow=none")
    picture(chromium, "sso-error")
    assert "too old" in page.text()
