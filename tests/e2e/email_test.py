"""Email addresses: a real SMTP server takes what this server writes.  Greenroom only."""

import email
import email.policy
import queue
import re
import ssl
import uuid
from urllib.parse import urlsplit

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

import harness
import leaks
from accounts_test import Browser, command, data_of
from conftest import KIND
from harness import PASSWORD, Client, login
from remote import Authority

pytestmark = pytest.mark.skipif(KIND != "greenroom", reason="these are Greenroom's own")
covers = pytest.mark.covers
USER, SMTP_PASSWORD = "greenroom", "a password between servers"


class Post:
    """The mail server: TLS and a password are needed; mails lie in a queue by address."""

    def __init__(self, authority):
        certificate, key = authority.certificate("localhost", name="smtp")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self.boxes, self.refuse = {}, 0
        self.controller = Controller(
            self,
            hostname="127.0.0.1",
            port=harness.free_port(),
            tls_context=context,
            require_starttls=True,
            auth_required=True,
            authenticator=self.authenticate,
        )
        self.controller.start()
        self.port = self.controller.port

    def authenticate(self, server, session, envelope, mechanism, data):
        return AuthResult(success=(data.login, data.password) == (USER.encode(), SMTP_PASSWORD.encode()))

    async def handle_DATA(self, server, session, envelope):
        if self.refuse:
            self.refuse -= 1
            return "451 later"
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        for token in re.findall(r"token=([\w-]+)", mail.get_content()):
            leaks.note("email token", token)
        for address in envelope.rcpt_tos:
            self.box(address).put(mail)
        return "250 OK"

    def box(self, address):
        return self.boxes.setdefault(address, queue.Queue())

    def next(self, address):
        return self.box(address).get(timeout=20)

    def none(self, address):
        """Asked after a mail that was asked for later has come."""
        return self.box(address).empty()


@pytest.fixture(scope="module")
def post():
    authority = Authority()
    running = Post(authority)
    running.authority = authority
    yield running
    running.controller.stop()


def with_mail(post, **options):
    keys = {
        "email.server": f"localhost:{post.port}",
        "email.trusted_ca": post.authority.file,
        "email.user": USER,
        "email.password": SMTP_PASSWORD,
        "email.from": "noreply@e2e.test",
        "password.memory": "8MB",
        "public_base_url": "https://chat.e2e.test/",
        **options,
    }
    return harness.make_server(KIND, **keys).start()


@pytest.fixture(scope="module")
def node(post):
    running = with_mail(post, **{"email.registration": "optional"})
    yield running
    running.stop()
    running.remove()


def fresh(stem="mail"):
    return f"{stem}{uuid.uuid4().hex[:8]}@example.org"


def ask(base, what, address, secret=None, attempt=1, **more):
    secret = secret or uuid.uuid4().hex
    body = dict(more, client_secret=secret, email=address, send_attempt=attempt)
    return {"sid": Client(base).post(f"/{what}/email/requestToken", body).ok()["sid"], "client_secret": secret}


def link_of(mail):
    link = urlsplit(re.search(r"https://\S+", mail.get_content()).group(0))
    assert link.netloc == "chat.e2e.test"
    return f"{link.path}?{link.query}"


def confirm(server, mail):
    return Browser(server).open(link_of(mail)).submit()


def add(user, creds):
    session = user.post("/account/3pid/add", creds).refused((401, 200))["session"]
    auth = {"type": "m.login.password", "session": session, "password": PASSWORD}
    return user.post("/account/3pid/add", dict(creds, auth=auth))


def bound(server, post, user, address):
    creds = ask(server.base, "account/3pid", address)
    assert confirm(server, post.next(address)).status == 200
    add(user, creds).ok()


@covers("POST /account/3pid/email/requestToken", "POST /account/3pid/add", "GET /account/3pid", "POST /login")
def test_an_address_is_added_by_its_mail_and_then_lets_its_user_in(node, post):
    user, address = node.register("adder"), fresh()
    creds = ask(node.base, "account/3pid", address.upper(), next_link="https://app.example.org/back")
    mail = post.next(address)
    assert mail["From"] == "noreply@e2e.test" and mail["Date"] and mail["Message-ID"]
    add(user, creds).refused(400, "M_THREEPID_AUTH_FAILED")  # not confirmed
    page = Browser(node).open(link_of(mail))  # a look at the page confirms nothing
    add(user, creds).refused(400, "M_THREEPID_AUTH_FAILED")
    page.submit()
    assert page.status == 200 and "https://app.example.org/back" in page.text
    add(user, creds).ok()
    assert [t["address"] for t in user.get_("/account/3pid").ok()["threepids"]] == [address]
    identifier = {"type": "m.id.thirdparty", "medium": "email", "address": address.upper()}
    body = {"type": "m.login.password", "identifier": identifier, "password": PASSWORD}
    assert Client(node.base).post("/login", body).ok()["user_id"] == user.user_id
    Client(node.base).post("/login", dict(body, password="wrong")).refused(403, "M_FORBIDDEN")
    identifier["address"] = fresh()
    Client(node.base).post("/login", body).refused(403, "M_FORBIDDEN")


@covers("POST /account/3pid/delete", "POST /account/3pid/unbind", "POST /account/3pid/bind", "POST /account/3pid")
def test_an_address_that_was_taken_away_lets_nobody_in_and_is_free(node, post):
    first, second, address = node.register("giver"), node.register("taker"), fresh()
    bound(node, post, first, address)
    threepid = {"medium": "email", "address": address}
    assert first.post("/account/3pid/unbind", threepid).ok()["id_server_unbind_result"] == "no-support"
    assert first.post("/account/3pid/delete", threepid).ok()["id_server_unbind_result"] == "no-support"
    assert first.get_("/account/3pid").ok()["threepids"] == []
    body = {"type": "m.login.password", "identifier": dict(threepid, type="m.id.thirdparty"), "password": PASSWORD}
    Client(node.base).post("/login", body).refused(403, "M_FORBIDDEN")
    bound(node, post, second, address)
    first.post("/account/3pid/bind", {"client_secret": "x", "sid": "x"}).refused(400, "M_SERVER_NOT_TRUSTED")
    first.post("/account/3pid", {"three_pid_creds": {}}).refused(403, "M_THREEPID_AUTH_FAILED")


@covers("POST /account/password/email/requestToken", "POST /account/password")
def test_who_forgot_the_password_gets_a_new_one_by_mail(node, post):
    user, address = node.register("forgetful"), fresh()
    bound(node, post, user, address)
    creds, client = ask(node.base, "account/password", address), Client(node.base)
    body = {"new_password": "another good password", "logout_devices": True}
    first = client.post("/account/password", body).refused(401)
    assert first["flows"] == [{"stages": ["m.login.email.identity"]}]
    auth = {"type": "m.login.email.identity", "session": first["session"], "threepid_creds": creds}
    client.post("/account/password", dict(body, auth=auth)).refused(401, "M_UNAUTHORIZED")
    confirm(node, post.next(address))
    client.post("/account/password", dict(body, auth=auth)).ok()
    client.post("/account/password", dict(body, auth=auth)).ok()  # the answer was lost
    user.get_("/account/whoami").refused(401, "M_UNKNOWN_TOKEN")
    login(node.base, user.localpart, "another good password")


@covers("POST /register/email/requestToken", "POST /register")
def test_people_register_with_an_address(node, post):
    address, client = fresh(), Client(node.base)
    body = {"username": f"withmail{uuid.uuid4().hex[:6]}", "password": PASSWORD}
    first = client.post("/register", body).refused(401)
    assert [flow["stages"] for flow in first["flows"]] == [["m.login.dummy"], ["m.login.email.identity"]]
    creds = ask(node.base, "register", address)
    confirm(node, post.next(address))
    auth = {"type": "m.login.email.identity", "session": first["session"], "threepid_creds": creds}
    made = client.post("/register", dict(body, auth=auth)).ok()
    user = Client(node.base, made["access_token"])
    assert [t["address"] for t in user.get_("/account/3pid").ok()["threepids"]] == [address]


def test_an_address_is_confirmed_for_one_purpose_only(node, post):
    """Who adds an address to an account of theirs can't be led to reset the password of another."""
    user, address = node.register("victim"), fresh()
    bound(node, post, user, address)
    creds = ask(node.base, "register", fresh("other"))
    client = Client(node.base)
    session = client.post("/account/password", {"new_password": "x" * 20}).refused(401)["session"]
    auth = {"type": "m.login.email.identity", "session": session, "threepid_creds": creds}
    client.post("/account/password", {"new_password": "x" * 20, "auth": auth}).refused(401, "M_UNAUTHORIZED")
    other = fresh("registering")
    creds = ask(node.base, "register", other)
    confirm(node, post.next(other))
    add(user, creds).refused(400, "M_THREEPID_AUTH_FAILED")


@pytest.mark.parametrize("link", ["javascript:alert(1)", "https://app.example.org/\r\nSet-Cookie: a=b", "//evil.org", "https://a@evil.org/"])
def test_a_mail_leads_to_no_page_that_may_do_harm(node, post, link):
    address = fresh()
    ask(node.base, "register", address, next_link=link)
    page = confirm(node, post.next(address))
    assert page.status == 200 and "<a " not in page.text and "Set-Cookie: a=b" not in str(page.headers)


def test_no_answer_tells_whether_an_address_is_known(node, post):
    user, known, unknown = node.register("hidden"), fresh("known"), fresh("unknown")
    bound(node, post, user, known)
    for what in ("register", "account/3pid", "account/password"):
        ask(node.base, what, known)
        ask(node.base, what, unknown)
    subjects = {post.next(known)["Subject"] for _ in range(3)}
    assert any("have an account" in s for s in subjects) and any("new password" in s for s in subjects)
    assert all("new password" not in post.next(unknown)["Subject"] for _ in range(2)) and post.none(unknown)


def test_a_repeated_request_sends_no_second_mail_until_another_is_asked_for(node, post):
    address, secret = fresh(), uuid.uuid4().hex
    first = ask(node.base, "register", address, secret)
    assert ask(node.base, "register", address, secret) == first
    assert ask(node.base, "register", address, secret, attempt=2) == first
    one, two = post.next(address), post.next(address)
    assert post.none(address) and one["Message-ID"] != two["Message-ID"]
    assert confirm(node, one).status == 403  # the newer mail counts
    assert confirm(node, two).status == 200


def test_a_mail_is_in_the_language_of_who_asked_for_it(node, post):
    address, secret = fresh(), uuid.uuid4().hex
    body = {"client_secret": secret, "email": address, "send_attempt": 1}
    headers = {"Accept-Language": "de-AT, en;q=0.5"}
    Client(node.base).post("/register/email/requestToken", body, headers=headers).ok()
    mail = post.next(address)
    assert mail["Subject"] == f"Bestätige deine E-Mail-Adresse für {harness.SERVER_NAME}"
    assert "öffne diese Seite" in mail.get_content() and confirm(node, mail).status == 200


def test_a_mail_that_the_mail_server_refuses_does_not_fail_the_request(node, post):
    address = fresh()
    post.refuse = 1
    ask(node.base, "register", address)
    other = fresh()
    ask(node.base, "register", other)
    assert post.next(other)


@pytest.mark.parametrize(
    "address",
    ["a@b\r\nBcc: victim@example.org", "a@example.org\nX: y", "<a@example.org>", "a@example.org,b@example.org", "a b@example.org",
     "a@", "@example.org", "a@example.org>", "ä@example.org", "a@[127.0.0.1]", "x" * 65 + "@example.org", "a@exa mple.org"],
)
def test_what_is_no_address_is_refused_before_a_header_is_written(node, address):
    body = {"client_secret": "secret", "email": address, "send_attempt": 1}
    Client(node.base).post("/register/email/requestToken", body).refused(400, "M_INVALID_PARAM")


def test_a_client_secret_has_its_grammar(node):
    for secret in ("", "a b", "x" * 256, "ä"):
        body = {"client_secret": secret, "email": fresh(), "send_attempt": 1}
        Client(node.base).post("/register/email/requestToken", body).refused(400)


def test_tokens_of_mails_can_not_be_guessed_one_by_one(node, post):
    address = fresh()
    ask(node.base, "register", address)
    mail = post.next(address)
    path = link_of(mail).split("?")[0]
    for n in range(10):
        assert Browser(node).open(path + f"?token=guess{n}").submit().status == 403
    assert confirm(node, mail).status == 403


@covers(
    "POST /register/msisdn/requestToken",
    "POST /account/password/msisdn/requestToken",
    "POST /account/3pid/msisdn/requestToken",
)
def test_phone_numbers_are_refused_as_the_specification_has_it(node):
    body = {"client_secret": "s", "country": "DE", "phone_number": "0301234567", "send_attempt": 1}
    client = Client(node.base)
    client.post("/register/msisdn/requestToken", body).refused(403, "M_THREEPID_DENIED")
    client.post("/account/password/msisdn/requestToken", body).refused(403, "M_THREEPID_DENIED")
    client.post("/account/3pid/msisdn/requestToken", body).refused(400, "M_THREEPID_MEDIUM_NOT_SUPPORTED")


def test_without_a_mail_server_there_is_no_email(server):
    client = Client(server.base)
    body = {"client_secret": "s", "email": fresh(), "send_attempt": 1}
    client.post("/register/email/requestToken", body).refused(403, "M_THREEPID_DENIED")
    client.post("/account/3pid/email/requestToken", body).refused(400, "M_THREEPID_MEDIUM_NOT_SUPPORTED")
    client.post("/account/password", {"new_password": "x" * 20}).refused(401, "M_MISSING_TOKEN")


def test_the_email_stage_is_done_on_its_page(node, post):
    address, client = fresh(), Client(node.base)
    body = {"username": f"paged{uuid.uuid4().hex[:6]}", "password": PASSWORD}
    session = client.post("/register", body).refused(401)["session"]
    browser = Browser(node)
    browser.open(f"/_matrix/client/v3/auth/m.login.email.identity/fallback/web?session={session}")
    browser.submit(email=address)
    assert browser.status == 200
    mail = post.next(address)
    assert browser.submit().status == 401  # not confirmed yet
    confirm(node, mail)
    assert browser.submit().status == 200
    client.post("/register", dict(body, auth={"session": session})).ok()


def test_a_page_registers_people_with_an_address(node, post):
    address, browser, name = fresh(), Browser(node), f"webmail{uuid.uuid4().hex[:6]}"
    browser.open("/_matrix/static/client/register/")
    assert browser.submit(email="no address").status == 400
    assert browser.submit(email=address.upper()).status == 200
    mail = post.next(address)
    fields = {"username": name, "password": PASSWORD}
    assert browser.submit(**fields).status == 401 and "not confirmed yet" in browser.text
    confirm(node, mail)
    assert browser.submit(**dict(fields, username="Web Mail")).status == 400  # what was confirmed is not lost
    assert browser.submit(**fields).status == 200
    user = Client(node.base, data_of(browser)["access_token"])
    assert [t["address"] for t in user.get_("/account/3pid").ok()["threepids"]] == [address]


def test_a_page_registers_people_without_an_address_only_where_none_is_needed(node, post):
    browser, name = Browser(node), f"webless{uuid.uuid4().hex[:6]}"
    browser.open("/_matrix/static/client/register/")
    assert browser.submit(skip="1").status == 200
    assert browser.submit(username=name, password=PASSWORD).status == 200
    running = with_mail(post, **{"email.registration": "required"})
    try:
        browser = Browser(running)
        assert "without an email" not in browser.open("/_matrix/static/client/register/").text
        for fields in ({"skip": "1"}, {"username": "addressless", "password": PASSWORD}):
            assert browser.submit(**fields).status == 400
        assert Client(running.base).get_("/register/available", username="addressless").ok()["available"]
    finally:
        running.stop()
        running.remove()


def test_an_unconfirmed_address_uses_up_no_registration_token(post):
    running = with_mail(post, registration="token", **{"email.registration": "required"})
    try:
        token = command(running, "registration-token", "add", "--uses", "1").strip()
        address, browser = fresh(), Browser(running)
        browser.open("/_matrix/static/client/register/")
        browser.submit(email=address)
        fields = {"username": "tokened", "password": PASSWORD, "token": token}
        assert browser.submit(**fields).status == 401
        confirm(running, post.next(address))
        assert browser.submit(**fields).status == 200
    finally:
        running.stop()
        running.remove()


@covers("POST /login")
def test_people_are_known_by_their_address_wherever_they_give_their_password(node, post):
    user, other, address, others = node.register("addressee"), node.register("bystander"), fresh(), fresh()
    bound(node, post, user, address)
    bound(node, post, other, others)
    for path in ("/_matrix/static/client/login/", "/_greenroom/sign_in"):
        browser = Browser(node)
        assert "email address" in browser.open(path).text
        assert browser.submit(username=address, password="wrong").status == 403
        assert browser.submit(username=address.upper(), password=PASSWORD).status in (200, 303)
    once = {"type": "m.login.password", "medium": "email", "address": address, "password": PASSWORD}
    assert Client(node.base).post("/login", once).ok()["user_id"] == user.user_id
    session = user.delete(f"/devices/{user.device_id}", {}).refused(401)["session"]
    identifier = {"type": "m.id.thirdparty", "medium": "email", "address": address}
    auth = {"type": "m.login.password", "session": session, "password": PASSWORD, "identifier": identifier}
    for wrong in (others, fresh()):
        refused = {"auth": dict(auth, identifier=dict(identifier, address=wrong))}
        user.delete(f"/devices/{user.device_id}", refused).refused(403, "M_FORBIDDEN")
    user.delete(f"/devices/{user.device_id}", {"auth": auth}).ok()


def test_deactivation_frees_the_addresses(node, post):
    user, other, address = node.register("leaver"), node.register("stayer"), fresh()
    bound(node, post, user, address)
    session = user.post("/account/deactivate", {}).refused(401)["session"]
    auth = {"type": "m.login.password", "session": session, "password": PASSWORD}
    user.post("/account/deactivate", {"auth": auth, "erase": True}).ok()
    bound(node, post, other, address)


def test_one_address_gets_few_mails_however_many_ask(post):
    running = with_mail(post, rate_limits="on", **{"email.registration": "required"})
    try:
        address = fresh()
        for _ in range(5):
            ask(running.base, "register", address)
        body = {"client_secret": "another", "email": address, "send_attempt": 1}
        Client(running.base).post("/register/email/requestToken", body).refused(429, "M_LIMIT_EXCEEDED")
    finally:
        running.stop()
        running.remove()
