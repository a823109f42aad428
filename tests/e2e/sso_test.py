"""Single sign-on by scripted identity providers: who gets in, as whom, and what is refused."""

import base64
import hashlib
import hmac
import json
import subprocess
import time
from urllib.parse import parse_qs, urlencode, urlsplit
from urllib.request import urlopen

import pytest

from harness import Client, User, register
from identity import APP, REDIRECT, Browser, Cas, Key, Provider, SsoServer, b64, token_in, use

covers = pytest.mark.covers
numbers = iter(range(1, 10000))
BARE = "https://bare.example.org"  # Trusted, too, with all that is below it.


@pytest.fixture(scope="module")
def providers():
    made = [Provider("corp"), Provider("other", display_name="{nickname}"), Provider("link", link_existing=True),
            Provider("shut", registration=False), Cas("uni")]
    yield made
    for provider in made:
        provider.stop()


@pytest.fixture(scope="module")
def sso(providers):
    running = SsoServer(providers, **{"tokens.login_lifetime": "2m", "sso.trusted_clients": f"{APP},{BARE}"}).start()
    yield running
    running.stop()
    running.remove()


@pytest.fixture
def corp(providers):
    """As it was made, whatever a test does to it."""
    provider = providers[0]
    before = list(provider.keys)
    yield provider
    provider.keys, provider.lie, provider.userinfo_sub, provider.published = before, None, None, None


@pytest.fixture
def browser(sso):
    return Browser(sso.base)


@pytest.fixture
def person():
    n = next(numbers)
    return {"sub": f"s{n}", "preferred_username": f"Person{n}", "name": f"Person <{n}>"}


def device_of(sso, page):
    answer = use(sso.base, token_in(page)).ok()
    return User(sso.base, answer["user_id"], answer["access_token"], answer["device_id"])


def counters(sso):
    """Every series with its labels, as Prometheus reads it."""
    with urlopen(f"http://127.0.0.1:{sso.metrics_port}/metrics", timeout=30) as answer:
        rows = [line.rsplit(" ", 1) for line in answer.read().decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in rows}


def refused(page, status=(400, 401, 403, 404)):
    assert page.status in status and not page.location, (page.status, page.location, page.text[-600:])
    assert 'role="alert"' in page.text


# Getting in


@covers("GET /login")
def test_login_lists_the_providers(sso):
    flows = {flow["type"]: flow for flow in Client(sso.base).get_("/login").ok()["flows"]}
    assert [one["id"] for one in flows["m.login.sso"]["identity_providers"]] == ["corp", "other", "link", "shut", "uni"]
    assert flows["m.login.sso"]["identity_providers"][0]["name"] == "Corp & Co"
    assert flows["m.login.token"]["get_login_token"] is True
    assert "oauth_aware_preferred" not in flows["m.login.sso"]


@covers("GET /login/sso/redirect", "GET /login/sso/redirect/{idpId}")
def test_the_page_to_choose_leads_to_each_provider(sso, browser):
    page = browser.go(REDIRECT + "?" + urlencode({"redirectUrl": APP}))
    assert page.status == 200 and "Corp &amp; Co" in page.text and len(page.links()) == 5
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and "unsafe" not in policy
    assert browser.go(page.links()[1]).location.startswith(sso.providers[1].base + "/auth?tenant=1&")
    german = Browser(sso.base, "de-DE,de;q=0.9,en;q=0.5").go(REDIRECT + "?" + urlencode({"redirectUrl": APP}))
    assert 'lang="de"' in german.text and "Weiter mit" in german.text


@covers("GET /login", "GET /login/sso/redirect", "GET /login/sso/redirect/{idpId}")
def test_clients_that_know_oauth_learn_what_is_preferred_and_say_what_the_person_wants():
    makes, plain = Provider("makes"), Provider("plain")
    makes.metadata = {"prompt_values_supported": ["none", "login", "create"]}
    running = SsoServer([makes, plain], **{"sso.preferred": "on"}).start()
    try:
        flows = Client(running.base).get_("/login").ok()["flows"]
        assert [flow.get("oauth_aware_preferred") for flow in flows if flow["type"] == "m.login.sso"] == [True]
        visitor = Browser(running.base)
        for action, title, prompts in (("register", "Make an account", ["create", None]), ("login", "Sign in", [None, None])):
            page = visitor.go(REDIRECT + "?" + urlencode({"redirectUrl": APP, "action": action}))
            assert title in page.text
            asked = [parse_qs(urlsplit(visitor.go(link).location).query) for link in page.links()]
            assert [query.get("prompt", [None])[0] for query in asked] == prompts
    finally:
        running.stop()
        running.remove()
        makes.stop()
        plain.stop()


@covers("POST /login", "GET /login/sso/redirect/{idpId}")
def test_somebody_new_gets_an_account_and_comes_back_to_it(sso, corp, browser, person):
    first = device_of(sso, browser.log_in(corp, person))
    assert first.user_id == f"@{person['preferred_username'].lower()}:{sso.server_name}"
    assert first.get_(f"/profile/{first.user_id}/displayname").ok()["displayname"] == person["name"]
    again = device_of(sso, Browser(sso.base).log_in(corp, {**person, "preferred_username": "renamed"}))
    assert again.user_id == first.user_id and again.device_id != first.device_id
    Client(sso.base).post("/login", {"type": "m.login.password", "password": "", "user": first.user_id}).refused(403)


def test_logins_and_registrations_are_counted_by_provider(sso, corp, browser, person):
    logins, made = 'greenroom_user_logins_total{auth_provider="corp"}', 'greenroom_user_registrations_total{auth_provider="corp"}'
    before = counters(sso)
    assert before['greenroom_user_logins_total{auth_provider="shut"}'] == 0
    assert before['greenroom_user_registrations_total{auth_provider="shut"}'] == 0
    device_of(sso, browser.log_in(corp, person))
    device_of(sso, browser.log_in(corp, person))
    after = counters(sso)
    assert (after[logins] - before[logins], after[made] - before[made]) == (2, 1)


@covers("POST /login")
def test_a_login_token_is_good_once_and_refusals_are_counted_by_reason(sso, corp, browser, person):
    before = counters(sso)
    token = token_in(browser.log_in(corp, person))
    user = use(sso.base, token, device_id="ONE").ok()
    use(sso.base, token, device_id="TWO").refused(403, "M_FORBIDDEN")
    use(sso.base, token[:-1] + ("a" if token[-1] != "a" else "b")).refused(403, "M_FORBIDDEN")
    use(sso.base, "nonsense").refused(403, "M_FORBIDDEN")
    after = counters(sso)
    refusals = {why: after[f'greenroom_login_tokens_refused_total{{why="{why}"}}'] - before[f'greenroom_login_tokens_refused_total{{why="{why}"}}']
                for why in ("unknown", "expired", "reused")}
    assert refusals == {"unknown": 2, "expired": 0, "reused": 1}
    devices = Client(sso.base, user["access_token"]).get_("/devices").ok()["devices"]
    assert [device["device_id"] for device in devices] == ["ONE"]


def test_a_login_token_that_has_run_out_is_refused_and_counted_as_such(corp, person):
    running = SsoServer([corp], **{"tokens.login_lifetime": "1s"}).start()
    expired = 'greenroom_login_tokens_refused_total{why="expired"}'
    try:
        before, end = counters(running)[expired], time.monotonic() + 60
        token = token_in(Browser(running.base).log_in(corp, person))
        made = time.monotonic()
        while time.monotonic() < made + 1:
            device_of(running, Browser(running.base).log_in(corp, person))  # Others log in meanwhile.
        use(running.base, token).refused(403, "M_FORBIDDEN")
        assert counters(running)[expired] == before + 1 and time.monotonic() < end
    finally:
        running.stop()
        running.remove()


def test_a_name_that_is_taken_is_not_given_and_another_can_be_picked(sso, corp, browser, person):
    taken = register(sso.base, person["preferred_username"].lower())
    page = browser.log_in(corp, person)
    assert page.status == 200 and "Choose your user name" in page.text and person["preferred_username"].lower() in page.text
    assert browser.submit(page, username=taken.localpart).status == 400
    bad = browser.submit(page, username="p\u0430ul")  # The second letter is Cyrillic.
    assert bad.status == 400 and "only small letters" in bad.text
    picked = device_of(sso, browser.submit(page, username=taken.localpart + "x"))
    assert picked.user_id == f"@{taken.localpart}x:{sso.server_name}"
    refused(browser.submit(page, username=taken.localpart + "y"))  # The page was used.


def test_a_name_that_only_looks_right_is_not_taken_over(sso, corp, browser, person):
    page = browser.log_in(corp, {**person, "preferred_username": "\u0430dmin"})
    assert "Choose your user name" in page.text


def test_an_existing_account_is_linked_only_by_a_provider_that_may(sso, providers, browser, person):
    theirs = register(sso.base, person["preferred_username"].lower())
    linked = device_of(sso, browser.log_in(providers[2], person))
    assert linked.user_id == theirs.user_id
    assert "Choose your user name" in browser.log_in(providers[1], person).text


def test_a_provider_without_registration_lets_nobody_new_in(sso, providers, browser, person):
    refused(browser.log_in(providers[3], person))


def test_the_person_is_asked_before_going_to_an_unknown_app(sso, corp, browser, person):
    page = browser.log_in(corp, person, app="https://app.example.org.evil.example/?x=1")
    assert page.status == 200 and "https://app.example.org.evil.example" in page.text
    gone = browser.submit(page)
    assert gone.location.startswith("https://app.example.org.evil.example/?x=1&loginToken=")
    refused(browser.submit(page))


@pytest.mark.parametrize("app", [BARE, BARE + "/x?y", BARE + "?y", BARE + "#y"])
def test_a_trusted_client_is_gone_back_to_wherever_it_is_below_its_address(sso, corp, browser, person, app):
    assert token_in(browser.log_in(corp, person, app=app))


@pytest.mark.parametrize("app", [BARE + ".evil.example/", BARE + "evil.example", BARE + ":8443/", "http://bare.example.org/"])
def test_an_address_that_only_begins_like_a_trusted_one_is_asked_for(sso, corp, browser, person, app):
    page = browser.log_in(corp, person, app=app)
    assert page.status == 200 and not page.location


# Bad input


@pytest.mark.parametrize("url", ["", "/path", "javascript:alert(1)", "data:text/html,x", "https://a@b.example/", "//x.example",
                                 "https://a.example/\r\nSet-Cookie: x=y", "https:\\\\a.example"])
def test_no_login_begins_for_an_address_that_is_not_good(sso, browser, url):
    refused(browser.go(f"{REDIRECT}/corp?" + urlencode({"redirectUrl": url})))


def test_nothing_from_outside_ends_a_line_of_an_answer(sso, corp, browser, person):
    page = browser.log_in(corp, person, app=APP + "%0d%0aX-Evil:%20yes")
    assert "X-Evil" not in page.headers and page.location.startswith(APP + "%0d%0aX-Evil:%20yes?loginToken=")


def test_a_state_is_good_once_and_in_its_own_browser(sso, corp, browser, person):
    back = corp.grant(browser.begin("corp"), person)
    refused(Browser(sso.base).follow(back))
    assert token_in(browser.follow(back))
    refused(browser.follow(back))
    refused(browser.go("/_greenroom/sso/callback/corp?code=x&state=made-up"))


def test_the_cookie_of_a_browser_can_t_be_made_up_and_stays_with_this_server(sso, corp, browser, person):
    back = corp.grant(browser.begin("corp"), person)
    mallory = Browser(sso.base)
    page = mallory.go(f"{REDIRECT}/corp?" + urlencode({"redirectUrl": APP}))
    assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= set(page.headers["Set-Cookie"].split("; "))
    until, _, proof = mallory.cookies["gr_sso"].split(".")
    state = parse_qs(urlsplit(back).query)["state"][0]
    mallory.cookies["gr_sso"] = f"{until}.{b64(state.encode())}.{proof}"
    refused(mallory.follow(back))
    assert token_in(browser.follow(back))


def test_the_answer_of_one_provider_is_not_taken_for_that_of_another(sso, corp, providers, browser, person):
    back = corp.grant(browser.begin("corp"), person)
    refused(browser.follow(back.replace("/callback/corp", "/callback/other")))
    back = corp.grant(browser.begin("corp"), person)
    refused(browser.follow(back.replace(urlencode({"iss": corp.base}), urlencode({"iss": providers[1].base}))))


def test_a_provider_that_always_names_itself_must_do_so(providers, browser, sso, person):
    other = Provider("named")
    other.metadata = {"authorization_response_iss_parameter_supported": True}
    running = SsoServer([other]).start()
    try:
        visitor = Browser(running.base)
        back = other.grant(visitor.begin("named"), person)
        refused(visitor.follow(back.split("&iss=")[0]))
        assert token_in(visitor.log_in(other, person))
    finally:
        running.stop()
        running.remove()
        other.stop()


def test_a_provider_is_taken_for_what_it_is_and_adds_no_line_to_an_answer():
    mixed, split = Provider("mixed"), Provider("split")
    mixed.metadata = {"issuer": split.base}
    split.metadata = {"authorization_endpoint": split.base + "/auth?tenant=1\r\nX-Evil: yes"}
    running = SsoServer([mixed, split]).start()
    try:
        refused(Browser(running.base).go(f"{REDIRECT}/mixed?" + urlencode({"redirectUrl": APP})), (503,))
        page = Browser(running.base).go(f"{REDIRECT}/split?" + urlencode({"redirectUrl": APP}))
        assert page.status == 303 and "X-Evil" not in page.headers and "%0D%0AX-Evil" in page.location
    finally:
        running.stop()
        running.remove()
        mixed.stop()
        split.stop()


@pytest.mark.parametrize("token", ["", "x", "grl_0_" + "A" * 43 + "_000000", "grl_999_x_y", "grt_0_x", "g" * 5000, "\u0430"])
def test_a_guessed_login_token_lets_nobody_in(sso, token):
    use(sso.base, token).refused(403, "M_FORBIDDEN")


def test_who_guesses_login_tokens_is_slowed_down(corp):
    running = SsoServer([corp], rate_limits="on").start()
    try:
        replies = [use(running.base, f"grl_{n}_guess").status for n in range(20)]
        assert replies[0] == 403 and replies[-1] == 429
    finally:
        running.stop()
        running.remove()


def unsigned(claims):
    return b64({"alg": "none"}) + "." + b64(claims) + "."


def as_secret(corp):
    """The public key, which everybody knows, taken for a secret."""
    def sign(claims):
        text = b64({"alg": "HS256", "kid": corp.keys[-1].id}) + "." + b64(claims)
        return text + "." + b64(hmac.new(corp.keys[-1].pair.public_key().export_key(format="PEM").encode(), text.encode(), hashlib.sha256).digest())
    return sign


def changed(**more):
    def lie(claims):
        claims.update(more)
        for name in [name for name, value in claims.items() if value is None]:
            del claims[name]
    return lie


NOW = int(time.time())
LIES = {
    "alg none": lambda corp: unsigned,
    "a public key as secret": as_secret,
    "a key of its own": lambda corp: lambda claims: Key().sign(claims, {"kid": corp.keys[-1].id}),
    "a key in the header": lambda corp: lambda claims: (lambda key: key.sign(claims, {"jwk": key.public(), "kid": corp.keys[-1].id}))(Key()),
    "another audience": lambda corp: changed(aud="somebody"),
    "one audience of two": lambda corp: changed(aud=["greenroom", "somebody"]),
    "another party": lambda corp: changed(azp="somebody"),
    "another issuer": lambda corp: changed(iss="https://evil.example"),
    "expired": lambda corp: changed(iat=NOW - 7200, exp=NOW - 3600),
    "from the future": lambda corp: changed(iat=NOW + 3600, exp=NOW + 7200),
    "not yet good": lambda corp: changed(nbf=NOW + 3600),
    "without end": lambda corp: changed(exp=None),
    "another login": lambda corp: changed(nonce="replayed"),
    "no nonce": lambda corp: changed(nonce=None),
    "nobody": lambda corp: changed(sub=""),
    "not a token": lambda corp: lambda claims: "x.y",
}


@pytest.mark.parametrize("lie", LIES)
def test_an_id_token_is_refused_that_is(sso, corp, browser, person, lie):
    corp.lie = LIES[lie](corp)
    page = browser.log_in(corp, person)
    refused(page)
    Client(sso.base).get_("/profile/@%s:%s" % (person["preferred_username"].lower(), sso.server_name)).refused(404)


def test_what_the_provider_tells_of_somebody_else_is_not_taken(sso, corp, browser, person):
    corp.userinfo_sub = "somebody-else"
    refused(browser.log_in(corp, person))


def test_keys_may_rotate_between_logins(sso, corp, browser, person):
    device_of(sso, browser.log_in(corp, person))
    old, end = corp.keys, time.monotonic() + 20
    for keys in ([Key()], [Key(), Key()], old):
        corp.keys = keys
        while browser.log_in(corp, person).status != 303:  # Keys are fetched anew at most twice a second.
            assert time.monotonic() < end


def test_a_key_that_the_provider_does_not_publish_signs_nothing(sso, corp, browser, person):
    corp.published, corp.keys = corp.keys, [Key()]
    refused(browser.log_in(corp, person))


def test_forms_are_taken_only_from_the_own_pages_of_a_browser(sso, corp, browser, person):
    page = browser.log_in(corp, person, app="https://unknown.example/")
    refused(browser.follow(page.action(), {}))
    refused(browser.follow(page.action(), {"form_proof": "1.x.y"}))
    other = Browser(sso.base)
    theirs = other.log_in(corp, person, app="https://unknown.example/")
    refused(browser.follow(page.action(), theirs.hidden()))
    assert browser.submit(page).location


def test_the_owner_sees_which_provider_a_session_came_from(sso, corp, browser, person):
    user = device_of(sso, browser.log_in(corp, person, sid="S-1"))
    token = user.post("/v1/login/get_token", {}).refused(401)  # Needs to be confirmed; see below.
    assert token["flows"]
    command = [sso.binary, "user", "show", user.user_id, "--json", "--dir", str(sso.directory / "data")]
    rows = json.loads(subprocess.run(command, capture_output=True, check=True, timeout=60).stdout)["devices"]
    assert [(row["device_id"], row["auth_provider"], row["provider_session"]) for row in rows] == [(user.device_id, "corp", "S-1")]


# User-interactive authentication


def test_who_has_no_password_confirms_by_the_provider(sso, corp, browser, person):
    user = device_of(sso, browser.log_in(corp, person))
    other = device_of(sso, browser.log_in(corp, person))
    wanted = user.delete("/devices/" + other.device_id).refused(401)
    assert wanted["flows"] == [{"stages": ["m.login.sso"]}]
    auth, path = {"auth": {"session": wanted["session"]}}, "/_matrix/client/v3/auth/m.login.sso/fallback/web?session=" + wanted["session"]
    spoofed = {"auth": {"session": wanted["session"], "type": "m.login.sso", "user": user.user_id}}
    user.delete("/devices/" + other.device_id, spoofed).refused(401)
    page = browser.go(path)
    to_corp = next(link for link in page.links() if link.endswith("provider=corp"))
    assert parse_qs(urlsplit(browser.go(to_corp).location).query)["prompt"] == ["login"]  # Being logged in there is not enough.
    somebody = {**person, "sub": person["sub"] + "x", "preferred_username": person["preferred_username"] + "x"}
    device_of(sso, browser.log_in(corp, somebody))
    refused(browser.follow(corp.grant(browser.go(to_corp).location, somebody)))
    user.delete("/devices/" + other.device_id, auth).refused(401)
    confirm = browser.follow(corp.grant(browser.go(to_corp).location, person))
    assert "Confirm that it is you" in confirm.text and user.user_id in confirm.text
    user.delete("/devices/" + other.device_id, auth).refused(401)
    done = browser.submit(confirm)
    assert done.status == 200 and "onAuthDone" in done.text and "'sha256-" in done.headers["Content-Security-Policy"].split("script-src")[1]
    user.delete("/devices/" + other.device_id, auth).ok()
    other.get_("/account/whoami").refused(401)


# Ending sessions


def test_a_provider_ends_exactly_the_devices_of_its_session(sso, corp, providers, browser, person):
    ended = [device_of(sso, browser.log_in(corp, person, sid="A")) for _ in range(2)]
    kept = [device_of(sso, browser.log_in(corp, person, sid="B"))]
    stranger = {**person, "sub": person["sub"] + "x", "preferred_username": person["preferred_username"] + "x"}
    kept.append(device_of(sso, browser.log_in(providers[1], stranger, sid="A")))
    end = lambda token: Browser(sso.base).go("/_greenroom/sso/backchannel/corp", {"logout_token": token})  # noqa: E731
    for bad in (Key().sign({}), corp.logout_token(sid="A", nonce="x"), corp.logout_token(sid="A", events={}), unsigned({"sid": "A"}),
                corp.logout_token(sid="A", aud="somebody"), corp.logout_token(sid="A", iat=NOW - 7200, exp=NOW - 3600),
                corp.logout_token(), providers[1].logout_token(sid="A")):
        assert end(bad).status == 400
    for device in ended + kept:
        device.get_("/account/whoami").ok()
    assert end(corp.logout_token(sid="A", sub=person["sub"])).status == 200
    limit = time.monotonic() + 20
    for device in ended:
        while device.get_("/account/whoami").status != 401:
            assert time.monotonic() < limit, "the session was not ended"
    for device in kept:
        device.get_("/account/whoami").ok()
    assert end(corp.logout_token(sub=person["sub"])).status == 200  # Without a session: all of the person.
    while kept[0].get_("/account/whoami").status != 401:
        assert time.monotonic() < limit
    kept[1].get_("/account/whoami").ok()


# CAS


def test_cas_logs_in_with_attributes_and_ends_sessions(sso, providers, person):
    cas, browser = providers[4], Browser(sso.base)
    name = person["preferred_username"].lower()
    ticket, back = cas.grant(browser.begin("uni"), cas.success(name, displayName="D & Co"))
    user = device_of(sso, browser.follow(back))
    assert user.user_id == f"@{name}:{sso.server_name}"
    assert user.get_(f"/profile/{user.user_id}/displayname").ok()["displayname"] == "D & Co"
    request = ('<samlp:LogoutRequest xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" ID="1" Version="2.0">'
               f"<samlp:SessionIndex>{ticket}</samlp:SessionIndex></samlp:LogoutRequest>")
    path = urlsplit(back).path
    assert Browser(sso.base).go(path, {"logoutRequest": request.replace(ticket, "ST-other")}).status == 200
    user.get_("/account/whoami").ok()
    assert Browser(sso.base).go(path, {"logoutRequest": request}).status == 200
    limit = time.monotonic() + 20
    while user.get_("/account/whoami").status != 401:
        assert time.monotonic() < limit


@pytest.mark.parametrize("inner", [
    "<cas:authenticationFailure code='INVALID_TICKET'>x</cas:authenticationFailure>",
    "<cas:user>admin</cas:user>",
    "<cas:authenticationSuccess><cas:attributes><cas:user>admin</cas:user></cas:attributes></cas:authenticationSuccess>",
    "<cas:authenticationSuccess><cas:user>a</cas:user><cas:user>admin</cas:user></cas:authenticationSuccess>",
    "<x:authenticationSuccess xmlns:x='urn:x'><x:user>admin</x:user></x:authenticationSuccess>",
    "<cas:authenticationSuccess><cas:user>admin</cas:user>"])
def test_an_answer_of_cas_that_confirms_nobody_lets_nobody_in(sso, providers, browser, inner):
    _, back = providers[4].grant(browser.begin("uni"), inner)
    refused(browser.follow(back))


def test_a_ticket_for_another_service_lets_nobody_in(sso, providers, browser, person):
    cas = providers[4]
    ticket, _ = cas.grant(browser.begin("uni"), cas.success(person["preferred_username"].lower()))
    _, back = cas.grant(browser.begin("uni"), cas.success("x"))
    refused(browser.follow(back.split("&ticket=")[0] + "&" + urlencode({"ticket": ticket})))
