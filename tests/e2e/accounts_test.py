"""How accounts come to be and how people get into them: passwords of other servers, tokens, pages.  Greenroom only."""

import ctypes
import hashlib
import hmac
import http.client
import json
import re
import threading
from html import unescape
from urllib.parse import urlencode, urlsplit

import pytest

import harness
from conftest import KIND
from harness import PASSWORD, Client, command, login

pytestmark = pytest.mark.skipif(KIND != "greenroom", reason="these are Greenroom's own")
covers = pytest.mark.covers
SHARED = "a secret between the server and its tools"
TERMS = [
    "privacy 1.2 en https://example.org/privacy Privacy policy",
    "privacy 1.2 de https://example.org/datenschutz Datenschutz",
]


def started(**options):
    """Passwords are hashed with little memory: these tests do it often."""
    return harness.make_server(KIND, **{"password.memory": "8MB", **options}).start()


@pytest.fixture(scope="module")
def node():
    """Rates are limited here, so each test comes from addresses of its own."""
    running = started(**{"password.bcrypt_cost": 6}, rate_limits="on", registration="token", registration_shared_secret=SHARED)
    yield running
    running.stop()
    running.remove()


@pytest.fixture(scope="module")
def agreed():
    """Whoever registers here has to agree to terms, and needs a token."""
    running = started(registration="token", **{"terms.policies": ",".join(TERMS), "password.require": "digit"})
    yield running
    running.stop()
    running.remove()


@pytest.fixture(scope="module")
def quick():
    running = started()
    yield running
    running.stop()
    running.remove()


class From(Client):
    """A client at another address of the loopback network."""

    def __init__(self, server, address):
        super().__init__(server.base)
        self.address = address

    def connection(self, timeout):
        to = urlsplit(self.base)
        return self.base, http.client.HTTPConnection(
            to.hostname, to.port, timeout=timeout, source_address=(self.address, 0)
        )


def by_password(client, user, password, **more):
    identifier = {"type": "m.id.user", "user": user}
    return client.post("/login", dict(more, type="m.login.password", identifier=identifier, password=password))


# By shared secret


def proof(secret, nonce, user, password, admin=False):
    text = b"\0".join(part.encode() for part in (nonce, user, password, "admin" if admin else "notadmin"))
    return hmac.new(secret.encode(), text, hashlib.sha1).hexdigest()


def by_secret(client, user, password=PASSWORD, secret=SHARED, admin=False, nonce=None, **more):
    nonce = nonce or client.get_("/_synapse/admin/v1/register").ok()["nonce"]
    mac = proof(secret, nonce, user, password, admin)
    body = dict(more, nonce=nonce, username=user, password=password, admin=admin, mac=mac)
    return client.post("/_synapse/admin/v1/register", body)


def test_who_knows_the_shared_secret_makes_accounts(node):
    made = by_secret(From(node, "127.0.1.1"), "made", admin=True, displayname="Made Up").ok()
    assert made["user_id"] == f"@made:{harness.SERVER_NAME}" and made["device_id"]
    maker = Client(node.base, made["access_token"])
    assert maker.get_("/account/whoami").ok()["user_id"] == made["user_id"]
    assert maker.get_(f"/profile/{made['user_id']}").ok()["displayname"] == "Made Up"
    login(node.base, "made")


def test_a_wrong_secret_or_an_old_nonce_makes_no_account(node):
    client = From(node, "127.0.1.2")
    by_secret(client, "unmade", secret="another").refused(403, "M_FORBIDDEN")
    nonce = client.get_("/_synapse/admin/v1/register").ok()["nonce"]
    by_secret(client, "unmade", nonce=nonce[:-1] + ("A" if nonce[-1] != "A" else "B")).refused(400)
    by_secret(client, "unmade", nonce="1." + nonce.split(".", 1)[1]).refused(400)
    by_password(client, "unmade", PASSWORD).refused(403, "M_FORBIDDEN")


def test_a_repeat_of_the_request_is_answered_again_and_makes_nothing_else(node):
    client = From(node, "127.0.1.3")
    nonce = client.get_("/_synapse/admin/v1/register").ok()["nonce"]
    first = by_secret(client, "twice", nonce=nonce).ok()
    again = by_secret(client, "twice", nonce=nonce).ok()
    assert first["device_id"] == again["device_id"]
    by_secret(client, "twice").refused(400, "M_USER_IN_USE")


def test_without_a_shared_secret_the_path_says_so(server):
    Client(server.base).get_("/_synapse/admin/v1/register").refused(400)


# Registration tokens


def with_token(client, user, token, **more):
    body = dict(more, username=user, password=PASSWORD)
    first = client.post("/register", body).refused(401)
    assert ["m.login.registration_token"] in [flow["stages"] for flow in first["flows"]]
    auth = {"type": "m.login.registration_token", "token": token, "session": first["session"]}
    return client.post("/register", dict(body, auth=auth))


@covers("GET /v1/register/m.login.registration_token/validity", "POST /register")
def test_a_registration_token_lets_in_as_many_as_it_says(node):
    client = From(node, "127.0.1.4")
    token = command(node, "registration-token", "add", "--uses", "1", "--days", "2").strip()
    assert token in command(node, "registration-token", "list")
    valid = "/v1/register/m.login.registration_token/validity"
    assert client.get_(valid, token=token).ok()["valid"] is True
    with_token(client, "first", token).ok()
    assert client.get_(valid, token=token).ok()["valid"] is False
    assert with_token(From(node, "127.0.1.5"), "second", token).refused(401)["errcode"] == "M_UNAUTHORIZED"


def test_a_token_that_was_taken_back_lets_nobody_in(node):
    command(node, "registration-token", "add", "chosen")
    command(node, "registration-token", "add", "chosen", code=1)
    command(node, "registration-token", "remove", "chosen")
    command(node, "registration-token", "remove", "chosen", code=1)
    with_token(From(node, "127.0.1.6"), "third", "chosen").refused(401)
    assert "chosen" not in command(node, "registration-token", "list", "--json")


# Passwords


def bcrypt(password):
    """$2y$ as crypt(3) makes it."""
    crypt = ctypes.CDLL("libcrypt.so.1").crypt
    crypt.restype = ctypes.c_char_p
    return crypt(password.encode(), b"$2b$06$abcdefghijklmnopqrstuu").decode()


def test_accounts_of_another_server_move_with_their_passwords(node):
    lines = f"moved1 {bcrypt('one of theirs')}\n# a remark\n@moved2:elsewhere {bcrypt('two of theirs')} admin\nbroken $1$x\n"
    said = command(node, "user", "import", "-", code=1, stdin=lines)
    assert "2 accounts were made, 1 could not be" in said
    client = From(node, "127.0.1.7")
    by_password(client, "moved1", "two of theirs").refused(403, "M_FORBIDDEN")
    for _ in range(2):  # the second time with the hash of this server
        by_password(client, "moved1", "one of theirs").ok()
    by_password(client, "moved2", "two of theirs").ok()
    command(node, "user", "add", "moved3", "--password-hash", bcrypt("three"))
    by_password(client, "moved3", "three").ok()
    # One that costs more than others would stand out.
    command(node, "user", "add", "moved4", "--password-hash", bcrypt("four").replace("$06$", "$07$"), code=1)


def guessed_until_told_to_wait(node, user, network):
    """Each wait is twice the one before, so this comes to an end however slow the machine is."""
    for n in range(40):
        reply = by_password(From(node, f"{network}.{n + 10}"), user, "wrong")
        if reply.status == 429:
            assert n >= 10 and reply["retry_after_ms"] > 0
            return
        reply.refused(403, "M_FORBIDDEN")
    raise AssertionError("nobody has to wait")


def test_wrong_passwords_have_to_wait_but_the_owner_at_home_does_not(node):
    command(node, "user", "add", "guessed", "--password", PASSWORD)
    home = From(node, "127.0.2.1")
    by_password(home, "guessed", PASSWORD).ok()
    guessed_until_told_to_wait(node, "guessed", "127.0.2")
    by_password(home, "guessed", PASSWORD).ok()


def test_nobody_learns_by_waiting_which_accounts_there_are(node):
    guessed_until_told_to_wait(node, "nosuchuser", "127.0.3")


def test_one_address_can_not_go_through_many_accounts(node):
    client = From(node, "127.0.4.1")
    statuses = [by_password(client, f"walk{n}", "wrong").status for n in range(40)]
    assert statuses[:10] == [403] * 10 and 429 in statuses


def test_a_password_of_a_megabyte_is_just_wrong(node):
    by_password(From(node, "127.0.1.8"), "made", "x" * (1 << 20)).refused(403, "M_FORBIDDEN")
    client = From(node, "127.0.1.9")
    client.post("/register", {"username": "mega", "password": "x" * (1 << 18)}).refused(400, "M_INVALID_PARAM")
    client.post("/register", {"username": "mega", "password": "x" * (1 << 20)}).refused(413, "M_TOO_LARGE")


@pytest.mark.parametrize("name", ["аlice", "ａlice", "alice\u200b", "ALICE", "alıce", "al\u0131ce", "ali ce", "alice\u0301"])
def test_user_names_that_look_like_others_are_refused(agreed, name):
    Client(agreed.base).post("/register", {"username": name, "password": PASSWORD + "1"}).refused(400, "M_INVALID_USERNAME")
    by_password(Client(agreed.base), name, PASSWORD).refused(403, "M_FORBIDDEN")


def test_a_password_needs_what_the_policy_says(agreed):
    body = {"username": "weakling", "password": PASSWORD}
    Client(agreed.base).post("/register", body).refused(400, "M_WEAK_PASSWORD")


# Stages, and pages for them


class Browser:
    """Follows forms as a person would, without a script."""

    def __init__(self, server, language="en"):
        self.base, self.cookies, self.language = server.base, {}, language

    def open(self, path, form=None):
        to = urlsplit(self.base)
        connection = http.client.HTTPConnection(to.hostname, to.port, timeout=60)
        headers = {"Accept-Language": self.language}
        if self.cookies:
            headers["Cookie"] = "; ".join(f"{k}={v}" for k, v in self.cookies.items())
        if form is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        body = None if form is None else urlencode(form)
        connection.request("GET" if form is None else "POST", path, body, headers)
        answer = connection.getresponse()
        self.status, self.text = answer.status, answer.read().decode()
        self.headers = answer.headers
        for cookie in answer.headers.get_all("Set-Cookie") or []:
            name, value = cookie.split(";")[0].split("=", 1)
            self.cookies[name] = value
        connection.close()
        return self

    def submit(self, **fields):
        action = unescape(re.search(r'<form[^>]* action="([^"]*)"', self.text).group(1))
        hidden = {}
        for tag in re.findall(r"<input[^>]*>", self.text):
            attributes = {k: unescape(v) for k, v in re.findall(r'([a-z]+)="([^"]*)"', tag)}
            if attributes.get("type") == "hidden":
                hidden[attributes["name"]] = attributes.get("value", "")
        return self.open(action, dict(hidden, **fields))


def stage_page(browser, stage, session):
    return browser.open(f"/_matrix/client/v3/auth/{stage}/fallback/web?" + urlencode({"session": session}))


def test_stages_are_done_on_pages_and_the_client_only_repeats_its_request(agreed):
    token = command(agreed, "registration-token", "add").strip()
    client, body = Client(agreed.base), {"username": "paged", "password": PASSWORD + "1"}
    first = client.post("/register", body).refused(401)
    assert first["flows"] == [{"stages": ["m.login.registration_token", "m.login.terms"]}]
    policy = first["params"]["m.login.terms"]["policies"]["privacy"]
    assert policy["version"] == "1.2" and policy["de"]["name"] == "Datenschutz"
    session, browser = first["session"], Browser(agreed, "de")
    assert "https://example.org/datenschutz" in stage_page(browser, "m.login.terms", session).text
    assert browser.submit().status == 401  # not ticked
    assert "onAuthDone" in browser.submit(agree="on").text
    again = client.post("/register", dict(body, auth={"session": session})).refused(401)
    assert again["completed"] == ["m.login.terms"]
    assert stage_page(browser, "m.login.registration_token", session).submit(token="wrong").status == 401
    assert browser.submit(token=token).status == 200
    made = client.post("/register", dict(body, auth={"session": session})).ok()
    again = client.post("/register", dict(body, auth={"session": session})).ok()  # the answer was lost
    assert made["device_id"] == again["device_id"]


def test_which_terms_somebody_agreed_to_is_remembered():
    running = started(**{"terms.policies": ",".join(TERMS)})
    try:
        client, body = Client(running.base), {"username": "agreeable", "password": PASSWORD}
        session = client.post("/register", body).refused(401)["session"]
        running.stop()
        config = running.directory / "data" / "greenroom.yaml"
        config.write_text(config.read_text().replace("privacy 1.2", "privacy 1.3"))
        running.start()
        again = dict(body, auth={"type": "m.login.terms", "session": session})
        changed = client.post("/register", again).refused(401, "M_UNAUTHORIZED")  # what was shown were others
        assert changed["params"]["m.login.terms"]["policies"]["privacy"]["version"] == "1.3"
        client.post("/register", again).ok()
        user = f"@agreeable:{harness.SERVER_NAME}"
        terms = json.loads(command(running, "user", "show", user, "--json"))["terms"]
        assert terms["agreed"] == ["privacy 1.3"] and terms["agreed_ts"] > 1e12
        assert command(running, "user", "show", user).startswith("agreed to privacy 1.3 on 20")
    finally:
        running.stop()
        running.remove()


def test_the_password_page_takes_the_password_of_who_asked(server, new_user):
    user = new_user("pager")
    path, body = f"/devices/{user.device_id}", {}
    session = user.delete(path, body).refused(401)["session"]
    browser = stage_page(Browser(server), "m.login.password", session)
    assert user.user_id in browser.text
    assert browser.submit(password="wrong").status == 401
    assert browser.submit(password=PASSWORD).status == 200
    user.delete(path, {"auth": {"session": session}}).ok()


def test_a_page_of_a_session_that_never_was_says_so(server):
    assert stage_page(Browser(server), "m.login.dummy", "nosuchsession").status == 404
    assert Browser(server).open("/_matrix/client/v3/auth/m.login.dummy/fallback/web").status == 400


def test_a_form_that_another_site_posts_does_nothing(server):
    client, body = Client(server.base), {"username": "forged", "password": PASSWORD}
    session = client.post("/register", body).refused(401)["session"]
    forged = Browser(server).open("/_matrix/client/v3/auth/m.login.dummy/fallback/web", {"session": session})
    assert forged.status == 403
    assert client.post("/register", dict(body, auth={"session": session})).refused(401)["completed"] == []


def test_where_a_sign_in_leads_to_ends_no_header(server, new_user):
    user, browser = new_user("splitter"), Browser(server)
    browser.open("/_greenroom/sign_in?then=/_greenroom/account%0d%0aX-Evil:1")
    browser.submit(username=user.localpart, password=PASSWORD)
    assert browser.status == 303 and "X-Evil" not in browser.headers
    assert browser.headers["Location"] == "/_greenroom/account%0D%0AX-Evil:1"


def data_of(browser):
    return json.loads(re.search(r'id="data"[^>]*>(.*?)</script>', browser.text, re.S).group(1))


def test_who_can_not_log_in_by_itself_does_it_by_a_page(server, new_user):
    user, browser = new_user("webby"), Browser(server)
    assert browser.open("/_matrix/static/client/login/").status == 200
    assert browser.submit(username=user.localpart, password="wrong").status == 403
    browser.submit(username=user.localpart, password=PASSWORD)
    assert "matrixLogin.onLogin" in browser.text
    assert Client(server.base, data_of(browser)["access_token"]).get_("/account/whoami").ok()["user_id"] == user.user_id


def test_who_can_not_register_by_itself_does_it_by_a_page(agreed):
    token, browser = command(agreed, "registration-token", "add").strip(), Browser(agreed)
    browser.open("/_matrix/static/client/register/")
    fields = {"username": "webreg", "password": PASSWORD + "1", "token": token, "agree": "on"}
    assert browser.submit(**dict(fields, username="Web Reg")).status == 400
    assert browser.submit(**dict(fields, token="wrong")).status == 401
    assert browser.submit(**fields).status == 200
    assert data_of(browser)["user_id"] == f"@webreg:{harness.SERVER_NAME}"
    login(agreed.base, "webreg", PASSWORD + "1")


def test_logins_in_parallel_stay_within_what_may_be_guessed(node):
    """Attempts count when they begin: many at once are no way around."""
    command(node, "user", "add", "storm", "--password", PASSWORD)
    statuses, threads = [], []
    for n in range(16):
        client = From(node, f"127.0.5.{n + 1}")
        threads.append(threading.Thread(target=lambda c=client: statuses.append(by_password(c, "storm", "wrong").status)))
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert statuses.count(403) >= 10 and 429 in statuses


# Application services


REGISTRATION = """
id: bridge
url: null
as_token: the token of the bridge
hs_token: unused here
sender_localpart: bridgebot
namespaces:
  users:
    - exclusive: true
      regex: "@bridge_.*:e2e\\\\.test"
    - exclusive: false
      regex: "@shared_[a-z]+:e2e\\\\.test"
"""


@pytest.fixture(scope="module")
def bridged():
    running = harness.make_server(KIND, appservices="bridge.yaml", **{"password.memory": "8MB"})
    (running.directory / "data" / "bridge.yaml").write_text(REGISTRATION)
    running.start()
    yield running
    running.stop()
    running.remove()


def as_bridge(server, path, user, **more):
    client = Client(server.base, "the token of the bridge")
    body = {"type": "m.login.application_service", **more}
    body.update({"username": user} if path == "/register" else {"identifier": {"type": "m.id.user", "user": user}})
    return client.post(path, body)


@covers("POST /register", "POST /login")
def test_an_application_service_makes_its_users_and_logs_them_in(bridged):
    made = as_bridge(bridged, "/register", "bridge_ann", inhibit_login=True).ok()
    assert made["user_id"] == "@bridge_ann:e2e.test" and "access_token" not in made
    session = as_bridge(bridged, "/login", "bridge_ann", device_id="BRIDGE").ok()
    assert session["device_id"] == "BRIDGE"
    assert Client(bridged.base, session["access_token"]).get_("/account/whoami").ok()["user_id"] == made["user_id"]
    assert as_bridge(bridged, "/register", "bridgebot").ok()["access_token"]
    as_bridge(bridged, "/register", "bridge_ann").refused(400, "M_USER_IN_USE")


def test_an_application_service_gets_no_users_of_others(bridged):
    bridged.register("somebody")
    as_bridge(bridged, "/login", "somebody").refused(400, "M_EXCLUSIVE")
    as_bridge(bridged, "/register", "anybody").refused(400, "M_EXCLUSIVE")
    as_bridge(bridged, "/login", "@bridge_x:elsewhere").refused(400)
    body = {"type": "m.login.application_service", "identifier": {"type": "m.id.user", "user": "bridge_ann"}}
    Client(bridged.base).post("/login", body).refused(401, "M_MISSING_TOKEN")
    Client(bridged.base, "another token").post("/login", body).refused(401, "M_UNKNOWN_TOKEN")


@covers("GET /register/available")
def test_names_that_an_application_service_keeps_are_nobody_elses(bridged):
    client = Client(bridged.base)
    client.post("/register", {"username": "bridge_bob", "password": PASSWORD}).refused(400, "M_EXCLUSIVE")
    client.get_("/register/available", username="bridge_bob").refused(400, "M_EXCLUSIVE")
    assert client.get_("/register/available", username="shared_bob").ok()["available"]
    assert {"type": "m.login.application_service"} in client.get_("/login").ok()["flows"]


# Validity, devices, deactivation


def test_an_account_that_is_no_longer_valid_waits_for_its_renewal(quick):
    user = quick.register("expired")
    command(quick, "user", "valid", user.user_id, "--until", "2001-01-01")
    for _ in range(100):  # who asked just before may be answered from memory for 3 seconds
        reply = user.get_("/account/whoami")
        if reply.status != 200:
            break
        threading.Event().wait(0.1)
    assert reply.refused(401, "M_USER_LOCKED")["soft_logout"] is True
    by_password(Client(quick.base), "expired", PASSWORD).refused(401, "M_USER_LOCKED")
    command(quick, "user", "valid", user.user_id, "--until", "forever")
    user.get_("/account/whoami").ok()


@covers("POST /login")
def test_a_login_with_the_id_of_a_device_ends_the_tokens_it_had(quick):
    first = quick.register("again")
    second = login(quick.base, "again", device_id=first.device_id)
    first.get_("/account/whoami").refused(401, "M_UNKNOWN_TOKEN")
    assert [d["device_id"] for d in second.get_("/devices").ok()["devices"]] == [first.device_id]


@covers("POST /refresh")
def test_an_expired_access_token_is_a_soft_logout_and_a_refresh_mends_it():
    running = started(**{"tokens.access_lifetime": "1s"})
    try:
        user = running.register("refresher", refresh_token=True)
        for _ in range(100):
            reply = user.get_("/account/whoami")
            if reply.status != 200:
                break
            threading.Event().wait(0.1)
        assert reply.refused(401, "M_UNKNOWN_TOKEN")["soft_logout"] is True
        fresh = Client(running.base).post("/refresh", {"refresh_token": user.refresh_token}).ok()
        assert Client(running.base, fresh["access_token"]).get_("/account/whoami").ok()["device_id"] == user.device_id
    finally:
        running.stop()
        running.remove()


@covers("POST /logout/all", "GET /devices")
def test_sessions_are_listed_and_all_end_at_once(quick):
    user = quick.register("many")
    others = [login(quick.base, "many") for _ in range(60)]
    assert len(user.get_("/devices").ok()["devices"]) == 61
    user.post("/logout/all").ok()
    user.get_("/account/whoami").refused(401)
    others[-1].get_("/account/whoami").refused(401)
    assert [d["device_id"] for d in login(quick.base, "many", device_id="ONLY").get_("/devices").ok()["devices"]] == ["ONLY"]


@covers("POST /account/deactivate")
def test_a_deactivated_and_erased_account_leaves_rooms_and_nothing_behind(quick):
    user, other = quick.register("erased"), quick.register("witness")
    room = other.create()
    user.join(room).ok()
    user.put(f"/user/{user.user_id}/account_data/org.example", {"a": 1}).ok()
    session = user.post("/account/deactivate", {}).refused(401)["session"]
    auth = {"type": "m.login.password", "session": session, "password": PASSWORD}
    user.post("/account/deactivate", {"auth": auth, "erase": True}).ok()
    user.get_("/account/whoami").refused(401)
    by_password(Client(quick.base), "erased", PASSWORD).refused(403, "M_FORBIDDEN")
    assert other.get_(f"/profile/{user.user_id}").ok() == {}
    other.sync_until(
        lambda s: other.state(room, "m.room.member", user.user_id).ok()["membership"] == "leave", set_presence="offline"
    )
    Client(quick.base).post("/register", {"username": "erased", "password": PASSWORD}).refused(400, "M_USER_IN_USE")
