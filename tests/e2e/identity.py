"""Scripted identity providers on loopback, a server that knows them, and a browser of plain HTTP that keeps cookies.

A Provider speaks OpenID Connect and may be told to lie; a Cas speaks CAS 3.
"""

import base64
import html
import http.client
import itertools
import json
import re
import secrets
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlencode, urlsplit

from Crypto.Hash import SHA256
from Crypto.PublicKey import ECC
from Crypto.Signature import DSS

import harness
import leaks

APP = "https://app.example.org/"  # Trusted by the servers made here.
REDIRECT = "/_matrix/client/v3/login/sso/redirect"


def b64(raw):
    return base64.urlsafe_b64encode(raw if isinstance(raw, bytes) else json.dumps(raw).encode()).rstrip(b"=").decode()


class Key:
    count = itertools.count(1)

    def __init__(self):
        self.id, self.pair = f"key{next(self.count)}", ECC.generate(curve="P-256")

    def public(self):
        point = {name: b64(int(value).to_bytes(32, "big")) for name, value in zip("xy", self.pair.pointQ.xy)}
        return {"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.id, **point}

    def sign(self, claims, header=None):
        text = b64({"alg": "ES256", "kid": self.id, **(header or {})}) + "." + b64(claims)
        return text + "." + b64(DSS.new(self.pair, "fips-186-3").sign(SHA256.new(text.encode())))


class Loopback:
    """An HTTP server on a thread of its own; answer(method, path, query, form, headers) gives (status, type, text)."""

    def __init__(self):
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def serve(self):
                at = urlsplit(self.path)
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
                first = lambda text: {k: v[0] for k, v in parse_qs(text).items()}  # noqa: E731
                status, kind, text = outer.answer(self.command, at.path, first(at.query), first(body), self.headers)
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(text.encode())))
                self.end_headers()
                self.wfile.write(text.encode())

            do_GET = do_POST = serve

            def log_message(self, *arguments):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.base = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def stop(self):
        self.http.shutdown()
        self.http.server_close()


class Provider(Loopback):
    """OpenID Connect.  `lie(claims)` may change what the next tokens say and return a token of its own."""

    def __init__(self, identifier, **config):
        super().__init__()
        self.id, self.config = identifier, {"issuer": self.base, "client_id": "greenroom", "client_secret": "s3:cret", **config}
        self.keys, self.published, self.codes, self.tokens = [Key()], None, {}, {}
        self.metadata, self.lie, self.userinfo_sub, self.asked = {}, None, None, []

    def answer(self, method, path, query, form, headers):
        self.asked.append(path)
        if path == "/.well-known/openid-configuration":
            places = {name: self.base + at for name, at in (("authorization_endpoint", "/auth?tenant=1"), ("token_endpoint", "/token"),
                                                            ("userinfo_endpoint", "/userinfo"), ("jwks_uri", "/keys"))}
            return 200, "application/json", json.dumps({"issuer": self.base, **places, **self.metadata})
        if path == "/keys":
            return 200, "application/json", json.dumps({"keys": [key.public() for key in self.published or self.keys]})
        if path == "/token":
            return self.exchange(form, headers)
        if path == "/userinfo":
            person = self.tokens[headers["Authorization"].split()[1]]
            return 200, "application/json", json.dumps({**person, "sub": self.userinfo_sub or person["sub"]})
        return 404, "text/plain", ""

    def exchange(self, form, headers):
        given = base64.b64decode(headers.get("Authorization", "Basic Og==").split()[1]).decode()
        flow = self.codes.pop(form.get("code"), None)
        if given != "greenroom:s3%3Acret" or not flow:
            return 401, "application/json", "{}"
        challenge = base64.urlsafe_b64encode(SHA256.new(form["code_verifier"].encode()).digest()).rstrip(b"=").decode()
        if challenge != flow["code_challenge"] or form["redirect_uri"] != flow["redirect_uri"]:
            return 400, "application/json", "{}"
        access, now = secrets.token_urlsafe(16), int(time.time())
        self.tokens[access] = flow["person"]
        claims = {"iss": self.base, "aud": "greenroom", "sub": flow["person"]["sub"], "iat": now, "exp": now + 300,
                  "nonce": flow["nonce"], "sid": flow["sid"]}
        token = self.lie(claims) if self.lie else None
        answer = {"access_token": access, "token_type": "Bearer", "id_token": token or self.keys[-1].sign(claims)}
        for secret in (access, answer["id_token"]):
            leaks.note("provider's token", secret)
        return 200, "application/json", json.dumps(answer)

    def grant(self, url, person, sid="sid1"):
        """What the browser brings back after a person has logged in at `url`."""
        at = urlsplit(url)
        query = {k: v[0] for k, v in parse_qs(at.query).items()}
        assert at.path == "/auth" and query["tenant"] == "1" and query["response_type"] == "code"
        assert query["code_challenge_method"] == "S256" and "openid" in query["scope"].split()
        code = secrets.token_urlsafe(16)
        self.codes[code] = dict(query, person=person, sid=sid)
        return query["redirect_uri"] + "?" + urlencode({"code": code, "state": query["state"], "iss": self.base})

    def logout_token(self, **more):
        now = int(time.time())
        event = {"http://schemas.openid.net/event/backchannel-logout": {}}
        return self.keys[-1].sign({"iss": self.base, "aud": "greenroom", "iat": now, "exp": now + 120, "jti": secrets.token_hex(8),
                                   "events": event, **more})


class Cas(Loopback):
    def __init__(self, identifier, **config):
        super().__init__()
        self.id, self.tickets = identifier, {}
        self.config = {"kind": "cas", "issuer": self.base + "/cas", "localpart": "{user}", "display_name": "{displayName}", **config}

    def answer(self, method, path, query, form, headers):
        if path != "/cas/p3/serviceValidate":
            return 404, "text/plain", ""
        given = self.tickets.pop(query.get("ticket"), None)
        if not given or given[0] != query.get("service"):
            inner = '<cas:authenticationFailure code="INVALID_TICKET">no</cas:authenticationFailure>'
        else:
            inner = given[1]
        return 200, "application/xml", f'<cas:serviceResponse xmlns:cas="http://www.yale.edu/tp/cas">{inner}</cas:serviceResponse>'

    @staticmethod
    def success(user, **attributes):
        rows = "".join(f"<cas:{k}>{html.escape(v)}</cas:{k}>" for k, v in attributes.items())
        return (f"<cas:authenticationSuccess><cas:user>{html.escape(user)}</cas:user>"
                f"<cas:attributes>{rows}</cas:attributes></cas:authenticationSuccess>")

    def grant(self, url, inner):
        at = urlsplit(url)
        assert at.path == "/cas/login"
        service = parse_qs(at.query)["service"][0]
        ticket = "ST-" + secrets.token_urlsafe(16)
        self.tickets[ticket] = (service, inner)
        return ticket, service + "&" + urlencode({"ticket": ticket})


class Page:
    def __init__(self, status, headers, text):
        self.status, self.headers, self.text = status, headers, text
        self.location = headers.get("Location")

    def hidden(self):
        return {html.unescape(n): html.unescape(v) for n, v in re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)"', self.text)}

    def action(self):
        return html.unescape(re.search(r'<form method="post" action="([^"]*)"', self.text).group(1))

    def links(self):
        return [html.unescape(link) for link in re.findall(r'<a[^>]* href="([^"]*)"', self.text)]


class Browser:
    """Keeps cookies; follows redirects within the server, and stops at those that lead elsewhere."""

    def __init__(self, base, language="en"):
        self.base, self.cookies, self.language = base, {}, language

    def go(self, url, form=None, base=None):
        at = urlsplit(url)
        home = urlsplit(base or self.base)
        connection = http.client.HTTPConnection(home.hostname, home.port, timeout=30)
        headers = {"Cookie": "; ".join(f"{k}={v}" for k, v in self.cookies.items()), "Accept-Language": self.language}
        if form is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        body = urlencode(form) if form is not None else None
        connection.request("POST" if form is not None else "GET", at.path + ("?" + at.query if at.query else ""), body, headers)
        answer = connection.getresponse()
        page = Page(answer.status, answer.headers, answer.read().decode())
        connection.close()
        for cookie in answer.headers.get_all("Set-Cookie") or []:
            name, value = cookie.split(";")[0].split("=", 1)
            self.cookies[name] = value
        return page

    def follow(self, url, form=None, base=None):
        page = self.go(url, form, base)
        while page.location and (page.location.startswith("/") or page.location.startswith(self.base)):
            page = self.go(page.location, base=base)
        return page

    def submit(self, page, base=None, **fields):
        return self.follow(page.action(), {**page.hidden(), **fields}, base)

    def begin(self, provider, app=APP, base=None):
        page = self.go(f"{REDIRECT}/{provider}?" + urlencode({"redirectUrl": app}), base=base)
        assert page.status == 303, page.text
        return page.location

    def log_in(self, provider, person, app=APP, sid="sid1"):
        """The page at the end, or the redirect to the app."""
        return self.follow(provider.grant(self.begin(provider.id, app), person, sid))


def token_in(page):
    assert page.location, page.text
    return parse_qs(urlsplit(page.location).query)["loginToken"][0]


def use(base, token, **more):
    return harness.Client(base).post("/login", {"type": "m.login.token", "token": token, **more})


def yaml_of(providers):
    lines = ["  providers:"]
    for provider in providers:
        entry = {"id": provider.id, "name": provider.id.title() + " & Co", **provider.config}
        lines += [f"    {'- ' if i == 0 else '  '}{key}: {json.dumps(value)}" for i, (key, value) in enumerate(entry.items())]
    return "\n".join(lines)


def set_providers(path, providers):
    text = path.read_text()
    assert "  #providers: []" in text
    path.write_text(text.replace("  #providers: []", yaml_of(providers)))


class SsoCluster(harness.Cluster):
    """Three nodes that know the same providers."""

    def __init__(self, providers, **options):
        super().__init__(**options)
        for node in self.nodes:
            path = node.data / "greenroom.yaml"
            set_providers(path, providers)


class SsoServer(harness.Greenroom):
    def __init__(self, providers, **options):
        self.providers = providers
        super().__init__(**options)

    def configure(self):
        self.options = {"public_base_url": self.base, "sso.trusted_clients": APP, **self.options}
        super().configure()
        set_providers(self.directory / "data" / "greenroom.yaml", self.providers)
