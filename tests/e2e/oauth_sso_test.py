"""The OAuth 2.0 API with identity providers: who vouched is known from the page to sign in to the device."""

from urllib.parse import urlencode, urlsplit

import pytest

from harness import Client
from identity import Browser as PlainBrowser
from identity import Provider, SsoServer
from oauth_test import APP, Flow, parameters, post_json, until_refused
from pages import Browser
from sso_test import counters

LOGINS = 'greenroom_user_logins_total{auth_provider="corp"}'


@pytest.fixture(scope="module")
def corp():
    provider = Provider("corp")
    yield provider
    provider.stop()


@pytest.fixture(scope="module")
def server(corp):
    running = SsoServer([corp]).start()
    yield running
    running.stop()
    running.remove()


@pytest.fixture(scope="module")
def app(server):
    return post_json(Client(server.base), "/register", APP)["client_id"]


def sign_in(flow, corp, name, sid):
    """The page after the way to the provider and back."""
    away = flow.open().follow("Corp & Co").left
    person = {"sub": name, "preferred_username": name, "name": name}
    return flow.browser.get(corp.grant(away, person, sid))


def test_who_vouched_is_counted_and_may_end_the_device(server, app, corp):
    flow, before = Flow(server, app), counters(server)[LOGINS]
    consent = sign_in(flow, corp, "person1", "sid1")
    assert "@person1:e2e.test" in consent.text
    tokens = flow.redeem(parameters(consent.submit(decision="allow"))["code"]).ok()
    user = Client(server.base, tokens["access_token"])
    assert user.get_("/account/whoami").ok()["device_id"] == flow.device
    assert counters(server)[LOGINS] == before + 1
    other = Flow(server, app)
    kept = other.redeem(parameters(sign_in(other, corp, "person1", "sid2").submit(decision="allow"))["code"]).ok()
    end = PlainBrowser(server.base).go("/_greenroom/sso/backchannel/corp", {"logout_token": corp.logout_token(sid="sid1")})
    assert end.status == 200
    until_refused(user)
    Client(server.base, kept["access_token"]).get_("/account/whoami").ok()


def test_nobody_is_signed_in_by_the_way_back_of_another_browser(server, app, corp):
    mallory = Flow(server, app)
    away = mallory.open().follow("Corp & Co").left
    back = corp.grant(away, {"sub": "mallory", "preferred_username": "mallory", "name": "M"})
    stopped = mallory.browser.get(back, stop_at="/_greenroom/sign_in/token").left
    victim = Browser(server.base)
    victim.get("/_greenroom/sign_in")
    page = victim.get(stopped)
    assert page.status == 403 and "gr_signed_in" not in str(victim.cookies)
    forged = urlsplit(stopped)._replace(query=urlencode({"loginToken": "grl_00_x", "then": "/", "proof": "x"})).geturl()
    assert mallory.browser.get(forged).status == 403
    assert "@mallory:e2e.test" in mallory.browser.get(stopped).text
