"""The OAuth 2.0 API and its pages, by plain HTTP: each grant, and each thing that must be refused."""

import base64
import hashlib
import secrets
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from harness import PASSWORD, Client, make_server, q
from pages import Browser

covers = pytest.mark.covers
API = "urn:matrix:client:api:*"
OAUTH = "/_greenroom/oauth2"
REDIRECT = "https://app.example.com/cb"
APP = {
    "client_name": "App <b>",
    "client_uri": "https://example.com/",
    "tos_uri": "https://example.com/tos",
    "redirect_uris": [REDIRECT, "https://app.example.com/cb?kept=1"],
    "grant_types": ["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"],
    "response_types": ["code"],
    "token_endpoint_auth_method": "none",
}


@pytest.fixture(scope="module")
def oauth():
    running = make_server("greenroom").start()
    yield running
    running.stop()
    running.remove()


@pytest.fixture(scope="module")
def anyone(oauth):
    return Client(oauth.base)


@pytest.fixture(scope="module")
def app(anyone):
    return post_json(anyone, "/register", APP).json["client_id"]


@pytest.fixture
def alice(oauth):
    return oauth.register("alice" + secrets.token_hex(4))


# Verbs


def post_json(client, path, body):
    return client.request("POST", OAUTH + path, body)


def post_form(client, path, **fields):
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    return client.request("POST", OAUTH + path, raw=urlencode(fields).encode(), headers=headers)


def refused(reply, status, error):
    assert (reply.status, reply.json and reply.json.get("error")) == (status, error), reply
    return reply


def scope_of(device):
    return f"{API} urn:matrix:client:device:{device}"


class Flow:
    """An authorisation by the pages, as an app begins it."""

    def __init__(self, server, app, **changes):
        self.device = "DEV" + secrets.token_hex(4)
        self.verifier = secrets.token_urlsafe(48)
        digest = hashlib.sha256(self.verifier.encode()).digest()
        self.server, self.app, self.browser = server, app, Browser(server.base)
        self.query = {
            "client_id": app,
            "response_type": "code",
            "redirect_uri": REDIRECT,
            "scope": scope_of(self.device),
            "state": "a state&more",
            "code_challenge": base64.urlsafe_b64encode(digest).decode().rstrip("="),
            "code_challenge_method": "S256",
            **changes,
        }
        self.query = {k: v for k, v in self.query.items() if v is not None}

    def open(self):
        return self.browser.get(f"{OAUTH}/authorize?{urlencode(self.query)}")

    def sign_in(self, user):
        return self.open().submit(username=user.localpart, password=PASSWORD)

    def allow(self, user):
        return parameters(self.sign_in(user).submit(decision="allow"))

    def redeem(self, code, **changes):
        fields = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.query["redirect_uri"],
            "client_id": self.app,
            "code_verifier": self.verifier,
            **changes,
        }
        return post_form(Client(self.server.base), "/token", **{k: v for k, v in fields.items() if v is not None})

    def log_in(self, user):
        self.tokens = self.redeem(self.allow(user)["code"]).ok()
        return Client(self.server.base, self.tokens["access_token"])

    def refresh(self, token=None, **changes):
        fields = {
            "grant_type": "refresh_token",
            "refresh_token": token or self.tokens["refresh_token"],
            "client_id": self.app,
            **changes,
        }
        return post_form(Client(self.server.base), "/token", **fields)


def parameters(page):
    """What the app gets back."""
    assert page.left, f"{page.status} {page.text}"
    parts = urlsplit(page.left)
    return {k: v[0] for k, v in parse_qs(parts.fragment or parts.query, strict_parsing=True).items()}


# Metadata


@covers("GET /_matrix/client/v1/auth_metadata")
def test_metadata_name_the_endpoints(oauth, anyone):
    metadata = anyone.get_("/v1/auth_metadata").ok()
    assert metadata["issuer"] == oauth.base + "/"
    for name in ("authorization", "token", "revocation", "registration", "device_authorization"):
        assert metadata[name + "_endpoint"].startswith(oauth.base + "/")
    assert {"authorization_code", "refresh_token"} <= set(metadata["grant_types_supported"])
    assert set(metadata["response_modes_supported"]) == {"query", "fragment"}
    assert metadata["code_challenge_methods_supported"] == ["S256"]
    assert metadata["prompt_values_supported"] == ["create"]
    assert "org.matrix.cross_signing_reset" in metadata["account_management_actions_supported"]
    assert anyone.get_("/.well-known/oauth-authorization-server").ok() == metadata


@covers("GET /_matrix/client/v1/auth_metadata")
def test_a_server_without_the_api_says_so_everywhere():
    server = make_server("greenroom", oauth="off").start()
    try:
        anyone = Client(server.base)
        anyone.get_("/v1/auth_metadata").refused(404, "M_UNRECOGNIZED")
        post_json(anyone, "/register", APP).refused(404, "M_UNRECOGNIZED")
        post_form(anyone, "/token", grant_type="x").refused(404, "M_UNRECOGNIZED")
        for path in (OAUTH + "/authorize", "/_greenroom/link", "/_greenroom/account", "/_greenroom/sign_in"):
            assert Browser(server.base).get(path).status == 404
    finally:
        server.stop()
        server.remove()


# Registration


def test_a_client_gets_an_id_and_the_same_one_again(anyone, app):
    reply = post_json(anyone, "/register", APP)
    assert reply.status == 201 and reply["client_id"] == app
    assert reply["client_name"] == APP["client_name"] and reply["redirect_uris"] == APP["redirect_uris"]
    assert post_json(anyone, "/register", {**APP, "client_name": "Other"})["client_id"] != app


@pytest.mark.parametrize(
    "change, error",
    [
        ({"redirect_uris": ["https://evil.org/cb"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["javascript:alert(1)"]}, "invalid_redirect_uri"),
        ({"redirect_uris": []}, "invalid_redirect_uri"),
        ({"redirect_uris": ["https://example.com/%d" % n for n in range(17)]}, "invalid_redirect_uri"),
        ({"client_uri": "http://example.com/"}, "invalid_client_metadata"),
        ({"tos_uri": "https://evil.org/"}, "invalid_client_metadata"),
        ({"token_endpoint_auth_method": "client_secret_basic"}, "invalid_client_metadata"),
        ({"client_name": "x" * 121}, "invalid_client_metadata"),
        ({"padding": "x" * 50000}, "invalid_client_metadata"),
    ],
)
def test_a_client_that_does_not_fit_is_refused(anyone, change, error):
    refused(post_json(anyone, "/register", {**APP, **change}), 400, error)


# The authorisation code grant


def test_a_user_who_allows_an_app_is_logged_in_there(oauth, app, alice):
    flow = Flow(oauth, app)
    consent = flow.sign_in(alice)
    assert alice.user_id in consent.text and "App <b>" in consent.text and "<b>" not in consent.raw
    assert "app.example.com" in consent.text
    got = parameters(consent.submit(decision="allow"))
    assert got["state"] == "a state&more" and set(got) == {"state", "code"}
    tokens = flow.redeem(got["code"])
    assert tokens.headers["Cache-Control"] == "no-store"
    assert tokens["token_type"] == "Bearer" and tokens["scope"] == scope_of(flow.device) and tokens["expires_in"] > 0
    user = Client(oauth.base, tokens["access_token"])
    assert user.get_("/account/whoami").ok() == {"user_id": alice.user_id, "device_id": flow.device, "is_guest": False}
    assert user.get_(f"/devices/{flow.device}").ok()["display_name"] == "App <b>"


def test_the_answer_goes_where_the_response_mode_says(oauth, app, alice):
    by_fragment = Flow(oauth, app, response_mode="fragment").sign_in(alice).submit(decision="allow").left
    assert by_fragment.startswith(REDIRECT + "#code=")
    kept = "https://app.example.com/cb?kept=1"
    by_query = Flow(oauth, app, redirect_uri=kept, response_mode="query").sign_in(alice).submit(decision="allow").left
    assert by_query.startswith(kept + "&code=")


def test_a_user_who_refuses_is_sent_back_without_a_code(oauth, app, alice):
    got = parameters(Flow(oauth, app).sign_in(alice).submit(decision="cancel"))
    assert got["error"] == "access_denied" and got["state"] == "a state&more" and "code" not in got


def test_who_is_signed_in_is_asked_without_a_password(oauth, app, alice):
    flow = Flow(oauth, app)
    flow.sign_in(alice)
    again = flow.open()
    assert alice.user_id in again.text and "password" not in again.forms[0]["fields"]
    assert parameters(again.submit(decision="allow"))["code"]


def test_a_wrong_password_signs_nobody_in(oauth, app, alice):
    flow = Flow(oauth, app)
    page = flow.open().submit(username=alice.localpart, password="wrong")
    assert page.status == 403 and "gr_signed_in" not in str(flow.browser.cookies)
    assert page.submit(password=PASSWORD).forms[0]["buttons"]


def test_an_unknown_client_or_redirect_uri_is_never_redirected_to(oauth, app):
    for change in (
        {"client_id": "unknown"},
        {"client_id": None},
        {"client_id": "../../x"},
        {"redirect_uri": None},
        {"redirect_uri": "https://evil.org/"},
        {"redirect_uri": REDIRECT + "/"},
        {"redirect_uri": REDIRECT + "?x=1"},
        {"redirect_uri": "javascript:alert(1)"},
        {"state": "x" * 3000},
    ):
        page = Flow(oauth, app, **change).open()
        assert (page.status, page.left) == (400, None), change


@pytest.mark.parametrize(
    "change, error",
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_mode": "form_post"}, "invalid_request"),
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
        ({"scope": None}, "invalid_scope"),
        ({"scope": API}, "invalid_scope"),
        ({"scope": scope_of("A") + " " + scope_of("B")}, "invalid_scope"),
        ({"prompt": "none"}, "interaction_required"),
    ],
)
def test_a_request_that_does_not_fit_is_sent_back(oauth, app, change, error):
    got = parameters(Flow(oauth, app, **change).open())
    assert got["error"] == error and got["state"] == "a state&more"


def test_a_code_of_no_or_another_browser_form_is_not_made(oauth, app, alice):
    flow = Flow(oauth, app)
    consent = flow.sign_in(alice)
    action = consent.forms[0]["action"]
    without_proof = flow.browser.post(action, {"decision": "allow", "user": alice.user_id})
    assert without_proof.status == 403 and not without_proof.left
    mallory = Flow(oauth, app)
    mallory.sign_in(oauth.register("mallory" + secrets.token_hex(4)))
    stolen_form = mallory.browser.post(action, {**consent.forms[0]["fields"], "decision": "allow"})
    assert stolen_form.status == 403 and not stolen_form.left
    assert consent.headers["X-Frame-Options"] == "DENY"
    assert "frame-ancestors 'none'" in consent.headers["Content-Security-Policy"]


def test_who_changes_the_account_meanwhile_is_asked_again(oauth, app, alice):
    flow = Flow(oauth, app)
    consent = flow.sign_in(alice)
    other = oauth.register("other" + secrets.token_hex(4))
    consent.follow("another account").submit(username=other.localpart, password=PASSWORD)
    again = consent.submit(decision="allow")
    assert not again.left and other.user_id in again.text


def test_a_code_needs_its_client_redirect_uri_and_verifier(oauth, app, anyone, alice):
    flow = Flow(oauth, app)
    code = flow.allow(alice)["code"]
    other = post_json(anyone, "/register", {**APP, "client_name": "Other"})["client_id"]
    for change in (
        {"client_id": other},
        {"redirect_uri": "https://app.example.com/cb?kept=1"},
        {"redirect_uri": None},
        {"code_verifier": secrets.token_urlsafe(48)},
        {"code_verifier": None},
        {"code_verifier": flow.query["code_challenge"]},
        {"code": code[:-1] + ("A" if code[-1] != "A" else "B")},
        {"code": "grl_nonsense"},
    ):
        refused(flow.redeem(change.pop("code", code), **change), 400, "invalid_grant")
    refused(flow.redeem(code, client_id=None), 400, "invalid_request")
    flow.redeem(code).ok()


def test_a_replayed_code_gives_nothing_and_ends_what_it_gave(oauth, app, alice):
    flow = Flow(oauth, app)
    code = flow.allow(alice)["code"]
    tokens = flow.redeem(code).ok()
    user = Client(oauth.base, tokens["access_token"])
    user.get_("/account/whoami").ok()
    refused(flow.redeem(code), 400, "invalid_grant")
    until_refused(user)
    refused(flow.refresh(tokens["refresh_token"]), 400, "invalid_grant")
    assert flow.device not in [d["device_id"] for d in alice.get_("/devices").ok()["devices"]]


def until_refused(user):
    """The logout is a message of its own: it may arrive after the refusal of the code."""
    for _ in range(200):
        reply = user.get_("/account/whoami")
        if reply.status != 200:
            return reply.refused(401, "M_UNKNOWN_TOKEN")
    raise AssertionError("the token is still taken")


def test_a_parameter_that_is_there_twice_is_refused(oauth, app, alice):
    flow = Flow(oauth, app)
    got = parameters(flow.browser.get(f"{OAUTH}/authorize?{urlencode(flow.query)}&scope=x"))
    assert got["error"] == "invalid_request"
    raw = urlencode({"grant_type": "refresh_token", "client_id": app}) + "&client_id=x"
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    refused(Client(oauth.base).request("POST", OAUTH + "/token", raw=raw.encode(), headers=headers), 400, "invalid_request")


def test_an_unknown_grant_type_is_refused(oauth, app, anyone):
    refused(post_form(anyone, "/token", grant_type="password", client_id=app), 400, "unsupported_grant_type")
    refused(post_form(anyone, "/token", client_id=app), 400, "invalid_request")


def test_a_login_to_a_device_takes_the_place_of_its_tokens(oauth, app, alice):
    first, second = Flow(oauth, app), Flow(oauth, app)
    user = first.log_in(alice)
    second.query["scope"] = scope_of(first.device)
    second.log_in(alice).get_("/account/whoami").ok()
    user.get_("/account/whoami").refused(401, "M_UNKNOWN_TOKEN")


def test_the_names_of_scopes_from_before_are_taken(oauth, app, alice):
    old = "urn:matrix:org.matrix.msc2967.client:"
    flow = Flow(oauth, app, scope=f"openid {old}api:* {old}device:OLDNAME")
    assert flow.log_in(alice).get_("/account/whoami").ok()["device_id"] == "OLDNAME"
    assert flow.tokens["scope"] == f"{old}api:* {old}device:OLDNAME"


def test_a_native_app_is_answered_on_any_port_and_by_its_scheme(oauth, anyone, alice):
    uris = ["http://127.0.0.1/cb", "com.example.app:/cb"]
    native = post_json(anyone, "/register", {**APP, "application_type": "native", "redirect_uris": uris})["client_id"]
    flow = Flow(oauth, native, redirect_uri="http://127.0.0.1:43210/cb")
    flow.log_in(alice).get_("/account/whoami").ok()
    flow = Flow(oauth, native, redirect_uri="com.example.app:/cb")
    consent = flow.sign_in(alice)
    assert "com.example.app:" in consent.headers["Content-Security-Policy"]
    assert consent.submit(decision="allow").left.startswith("com.example.app:/cb?code=")
    assert Flow(oauth, native, redirect_uri="http://127.0.0.1:43210/other").open().status == 400


# Registration of users


def test_prompt_create_leads_to_a_new_account(oauth, app):
    flow = Flow(oauth, app, prompt="create")
    name = "new" + secrets.token_hex(4)
    page = flow.open()
    refusal = page.submit(username="No Good", password=PASSWORD)
    assert refusal.status == 400
    consent = refusal.submit(username=name, password=PASSWORD)
    assert f"@{name}:e2e.test" in consent.text
    tokens = flow.redeem(parameters(consent.submit(decision="allow"))["code"]).ok()
    assert Client(oauth.base, tokens["access_token"]).get_("/account/whoami").ok()["user_id"] == f"@{name}:e2e.test"
    taken = Flow(oauth, app, prompt="create").open().submit(username=name, password=PASSWORD)
    assert taken.status == 400 and "taken" in taken.text


def test_a_sign_in_leads_to_pages_of_this_server_only(oauth, alice):
    for then in ("https://evil.org/", "//evil.org/", "/\\evil.org", "/_greenroom/\\evil.org", "/_greenroom@evil.org"):
        page = Browser(oauth.base).get("/_greenroom/sign_in?" + urlencode({"then": then}))
        page = page.submit(username=alice.localpart, password=PASSWORD)
        assert page.left is None and urlsplit(page.url).path == "/_greenroom/account"


# Refreshing


def test_a_refresh_token_is_used_once_but_may_be_repeated_until_then(oauth, app, alice):
    flow = Flow(oauth, app)
    flow.log_in(alice)
    lost = flow.refresh().ok()
    got = flow.refresh().ok()
    assert got["scope"] == scope_of(flow.device) and got["refresh_token"] != lost["refresh_token"]
    Client(oauth.base, got["access_token"]).get_("/account/whoami").ok()
    Client(oauth.base, lost["access_token"]).get_("/account/whoami").refused(401, "M_UNKNOWN_TOKEN")


def test_a_refresh_token_that_was_replaced_ends_the_session(oauth, app, alice):
    flow = Flow(oauth, app)
    flow.log_in(alice)
    got = flow.refresh().ok()
    user = Client(oauth.base, got["access_token"])
    user.get_("/account/whoami").ok()
    refused(flow.refresh(), 400, "invalid_grant")
    until_refused(user)


def test_a_refresh_token_is_good_for_its_client_and_its_api(oauth, app, anyone, alice):
    flow = Flow(oauth, app)
    flow.log_in(alice)
    refused(flow.refresh(client_id="other"), 400, "invalid_grant")
    anyone.post("/refresh", {"refresh_token": flow.tokens["refresh_token"]}).refused(401, "M_UNKNOWN_TOKEN")
    body = {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": alice.localpart}, "password": PASSWORD}
    legacy = anyone.post("/login", {**body, "refresh_token": True}).ok()
    refused(flow.refresh(legacy["refresh_token"]), 400, "invalid_grant")
    refused(flow.refresh("nonsense"), 400, "invalid_grant")
    flow.refresh().ok()


# Devices and ends of sessions


@pytest.mark.parametrize("which", ["access_token", "refresh_token"])
def test_a_revoked_token_ends_its_session(oauth, app, anyone, alice, which):
    flow = Flow(oauth, app)
    user = flow.log_in(alice)
    post_form(anyone, "/revoke", token=flow.tokens[which], client_id=app).ok()
    user.get_("/account/whoami").refused(401, "M_UNKNOWN_TOKEN")
    refused(flow.refresh(), 400, "invalid_grant")
    alice.get_(f"/devices/{flow.device}").refused(404)
    post_form(anyone, "/revoke", token=flow.tokens[which]).ok()


def test_revocation_needs_a_token_and_takes_any(anyone):
    refused(post_form(anyone, "/revoke"), 400, "invalid_request")
    post_form(anyone, "/revoke", token="nonsense").ok()


@covers("POST /logout")
def test_a_session_ends_by_logout_and_by_the_users_other_devices(oauth, app, alice):
    user = Flow(oauth, app).log_in(alice)
    user.post("/logout", {}).ok()
    user.get_("/account/whoami").refused(401, "M_UNKNOWN_TOKEN")
    user = Flow(oauth, app).log_in(alice)
    alice.post("/logout/all", {}).ok()
    user.get_("/account/whoami").refused(401, "M_UNKNOWN_TOKEN")


@covers("DELETE /devices/{deviceId}", "POST /account/deactivate", "POST /account/password")
def test_what_needs_interactive_authentication_is_done_on_pages_instead(oauth, app, alice):
    user = Flow(oauth, app).log_in(alice)
    user.request("DELETE", f"/devices/{alice.device_id}", {}).refused(403, "M_FORBIDDEN")
    user.post("/delete_devices", {"devices": [alice.device_id]}).refused(403, "M_FORBIDDEN")
    user.post("/account/deactivate", {}).refused(403, "M_FORBIDDEN")
    user.post("/account/password", {"new_password": "another long one"}).refused(403, "M_FORBIDDEN")
    alice.get_("/account/whoami").ok()


# The device authorisation grant

DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"


def begin_device(anyone, app, device=None):
    device = device or "TV" + secrets.token_hex(4)
    return post_form(anyone, "/device", client_id=app, scope=scope_of(device)).ok()


def poll(anyone, app, begun):
    return post_form(anyone, "/token", grant_type=DEVICE_GRANT, device_code=begun["device_code"], client_id=app)


def test_a_device_is_logged_in_by_a_code_on_another_one(oauth, app, anyone, alice):
    begun = begin_device(anyone, app, "TVSET")
    refused(poll(anyone, app, begun), 400, "authorization_pending")
    refused(poll(anyone, app, begun), 400, "slow_down")
    browser = Browser(oauth.base)
    page = browser.get("/_greenroom/link").submit(username=alice.localpart, password=PASSWORD)
    consent = page.submit(user_code=begun["user_code"].lower().replace("-", " "))
    assert begun["user_code"] in consent.text and "App <b>" in consent.text and alice.user_id in consent.text
    done = consent.submit(decision="allow")
    assert done.status == 200
    assert consent.submit(decision="cancel").status == 404


def test_a_device_that_was_allowed_gets_its_tokens_once(oauth, app, anyone, alice):
    begun = begin_device(anyone, app, "TVSET")
    page = Browser(oauth.base).get(begun["verification_uri_complete"])
    page.submit(username=alice.localpart, password=PASSWORD).submit(decision="allow")
    refused(poll(anyone, "other", begun), 400, "invalid_grant")
    tokens = poll(anyone, app, begun).ok()
    assert Client(oauth.base, tokens["access_token"]).get_("/account/whoami").ok()["device_id"] == "TVSET"
    refused(poll(anyone, app, begun), 400, "invalid_grant")


def test_a_device_that_was_refused_is_told_so(oauth, app, anyone, alice):
    begun = begin_device(anyone, app)
    page = Browser(oauth.base).get(begun["verification_uri_complete"])
    page.submit(username=alice.localpart, password=PASSWORD).submit(decision="cancel")
    refused(poll(anyone, app, begun), 400, "access_denied")


def test_a_user_code_that_nothing_waits_for_is_told_so(oauth, alice):
    browser = Browser(oauth.base)
    page = browser.get("/_greenroom/link").submit(username=alice.localpart, password=PASSWORD)
    for code in ("BBBB-BBBB", "nonsense", "AAAA-AAAA"):
        assert page.submit(user_code=code).status == 404


def test_a_device_request_that_does_not_fit_is_refused(anyone, app):
    refused(post_form(anyone, "/device", client_id="unknown", scope=scope_of("A")), 401, "invalid_client")
    refused(post_form(anyone, "/device", client_id=app, scope=API), 400, "invalid_scope")
    browser_only = post_json(anyone, "/register", {**APP, "grant_types": ["authorization_code", "refresh_token"]})
    refused(
        post_form(anyone, "/device", client_id=browser_only["client_id"], scope=scope_of("A")), 400, "unauthorized_client"
    )


# Account management


def manage(oauth, user, query=""):
    page = Browser(oauth.base).get("/_greenroom/account" + query)
    return page.submit(username=user.localpart, password=PASSWORD)


def test_the_account_page_leads_to_profile_devices_and_the_end(oauth, alice):
    page = manage(oauth, alice)
    assert alice.user_id in page.text
    saved = page.follow("Profile").submit(displayname='Al <i> "x"')
    assert saved.status == 200
    assert alice.get_(f"/profile/{q(alice.user_id)}/displayname").ok()["displayname"] == 'Al <i> "x"'
    assert 'value="Al &lt;i&gt; &quot;x&quot;"' in page.follow("Profile").raw


@pytest.mark.parametrize(
    "view, end",
    [("org.matrix.device_view", "org.matrix.device_delete"), ("org.matrix.session_view", "org.matrix.session_end")],
)
def test_a_device_is_shown_and_ended_by_the_names_of_its_actions(oauth, app, alice, view, end):
    flow = Flow(oauth, app)
    user = flow.log_in(alice)
    listed = manage(oauth, alice, "?action=org.matrix.devices_list")
    assert "App <b>" in listed.text
    page = listed.browser.get(f"/_greenroom/account?action={view}&device_id={flow.device}")
    assert flow.device in page.text
    confirm = listed.browser.get(f"/_greenroom/account?action={end}&device_id={flow.device}")
    user.get_("/account/whoami").ok()
    assert confirm.submit().status == 200
    user.get_("/account/whoami").refused(401, "M_UNKNOWN_TOKEN")
    alice.get_("/account/whoami").ok()


def test_nobody_ends_the_devices_of_another(oauth, alice):
    bob = oauth.register("bob" + secrets.token_hex(4))
    page = manage(oauth, bob, f"?action=org.matrix.device_delete&device_id={alice.device_id}")
    assert page.status == 404
    alice.get_("/account/whoami").ok()


def test_a_new_password_is_set_with_the_old_one_only_and_signs_pages_out(oauth, alice):
    page = manage(oauth, alice, "?action=password")
    refusal = page.submit(password="wrong", new_password="another long one")
    assert refusal.status == 400
    assert page.submit(password=PASSWORD, new_password="x").status == 400
    assert page.submit(password=PASSWORD, new_password="another long one", logout_devices="yes").status == 200
    alice.get_("/account/whoami").refused(401, "M_UNKNOWN_TOKEN")
    assert "password" in page.browser.get("/_greenroom/account").forms[0]["fields"]
    assert manage(oauth, alice).status == 403


def test_an_account_is_closed_by_who_types_its_name(oauth, alice):
    page = manage(oauth, alice, "?action=org.matrix.account_deactivate")
    assert page.submit(confirm="yes").forms
    alice.get_("/account/whoami").ok()
    assert page.submit(confirm=alice.user_id).status == 200
    alice.get_("/account/whoami").refused(401, "M_UNKNOWN_TOKEN")
    assert manage(oauth, alice).status == 403


def test_who_signs_out_of_the_pages_is_out_though_the_cookie_is_kept(oauth, alice):
    page = manage(oauth, alice)
    kept = dict(page.browser.cookies)
    assert page.submit().status == 200
    page.browser.cookies = kept
    assert "password" in page.browser.get("/_greenroom/account").forms[0]["fields"]
    alice.get_("/account/whoami").ok()


def test_the_cookie_of_pages_opens_no_client_api(oauth, alice):
    content = manage(oauth, alice).browser.cookies["gr_signed_in"].split(".")[1]
    token = base64.urlsafe_b64decode(content + "=" * (-len(content) % 4)).decode()
    assert token.startswith("grb_")
    Client(oauth.base, token).get_("/account/whoami").refused(401, "M_UNKNOWN_TOKEN")


# Resetting cross-signing


def cross_signing(user, auth=None):
    def key(usage):
        public = base64.b64encode(secrets.token_bytes(32)).decode().rstrip("=")
        return {"user_id": user.user_id, "usage": [usage], "keys": {"ed25519:" + public: public}}

    return {"master_key": key("master"), **({"auth": auth} if auth else {})}


@covers("POST /keys/device_signing/upload")
def test_cross_signing_is_reset_by_approval_on_the_page(oauth, app, alice):
    user = Flow(oauth, app).log_in(alice)
    user.user_id = alice.user_id
    user.post("/keys/device_signing/upload", cross_signing(user)).ok()
    new = cross_signing(user)
    wanted = user.post("/keys/device_signing/upload", new).refused(401)
    assert {"stages": ["m.oauth"]} in wanted["flows"]
    url, auth = wanted["params"]["m.oauth"]["url"], {"session": wanted["session"]}
    user.post("/keys/device_signing/upload", {**new, "auth": auth}).refused(401)
    claimed = {**auth, "type": "m.oauth", "user": alice.user_id}
    user.post("/keys/device_signing/upload", {**new, "auth": claimed}).refused(401)
    mallory = oauth.register("mallory" + secrets.token_hex(4))
    theirs = Browser(oauth.base).get(url).submit(username=mallory.localpart, password=PASSWORD).submit()
    assert theirs.status == 403
    user.post("/keys/device_signing/upload", {**new, "auth": auth}).refused(401)
    page = Browser(oauth.base).get(url).submit(username=alice.localpart, password=PASSWORD)
    user.post("/keys/device_signing/upload", {**new, "auth": auth}).refused(401)
    assert page.submit().status == 200
    user.post("/keys/device_signing/upload", {**new, "auth": auth}).ok()
    user.post("/keys/device_signing/upload", {**cross_signing(user), "auth": auth}).refused(403)
    keys = user.post("/keys/query", {"device_keys": {alice.user_id: []}}).ok()
    assert keys["master_keys"][alice.user_id]["keys"] == new["master_key"]["keys"]


# Secrets


def test_codes_and_tokens_are_in_no_log(oauth, app, alice):
    flow = Flow(oauth, app)
    code = flow.allow(alice)["code"]
    tokens = flow.redeem(code).ok()
    secret = [code.split(".")[1], flow.verifier, tokens["access_token"], tokens["refresh_token"], PASSWORD]
    for path in oauth.directory.glob("*.log"):
        text = path.read_text(errors="replace")
        assert not [s for s in secret if s in text]


# Clusters


def test_a_code_is_redeemed_by_another_node_than_the_one_that_made_it(cluster):
    asked, made, redeemed = cluster.nodes
    app = post_json(Client(asked.base), "/register", APP)["client_id"]
    alice = cluster.register("alice")
    flow = Flow(made, app)
    code = flow.allow(alice)["code"]
    flow.server = redeemed
    tokens = flow.redeem(code).ok()
    assert Client(asked.base, tokens["access_token"]).get_("/account/whoami").ok()["device_id"] == flow.device
    flow.server = asked
    refused(flow.redeem(code), 400, "invalid_grant")
    until_refused(Client(made.base, tokens["access_token"]))
