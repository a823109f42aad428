"""The secrets that the tests know of, and the search for them in whatever servers leave behind: logs, message logs, what
`greenroom trace` prints of these, and metrics.

listen() has all HTTP of the tests looked at: passwords, tokens, codes and cookies that go over it are secrets from then on.
Others are noted by whoever sees them (note), or read from the files of a server (known_to).
"""

import base64
import http.client
import json
import re
import subprocess
import tempfile
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlsplit

TRACE_LIMIT_S = 120
SHORTEST, LONGEST = 12, 8192  # Shorter ones are words that stand everywhere.
# Also those of clients that are no part of these tests' own process: tokens and hashes are known by their looks.
LOOKS = re.compile(rb"gr[a-z]_[0-9a-f]{1,3}_[A-Za-z0-9_-]{43}|\$argon2id\$v=|\$2[aby]\$\d\d\$")
FIELDS = {
    "access_token", "refresh_token", "guest_access_token", "login_token", "loginToken", "id_token", "logout_token",
    "password", "new_password", "client_secret", "code", "code_verifier", "device_code", "ticket", "mac", "nonce",
    "form_proof", "proof",
}  # fmt: skip
TOKEN_PATHS = ("/login", "/register", "/email/", "/renew/", "/revoke", "/account")  # Elsewhere a "token" may be public.
CONFIGURED = re.compile(r"^ *-? *(?:\w+\.)?(?:client_secret|registration_shared_secret|shared_secret|password|as_token): *(.+)$", re.M)
HIDDEN = re.compile(r'<input type="hidden" name="([a-z_]+)" value="([^"]*)"')
noted = {}  # What was noted, and what it is.


def note(what, secret):
    fits = isinstance(secret, str) and SHORTEST <= len(secret) <= LONGEST and "\n" not in secret
    if fits and len(set(middle_of(secret))) > 5:  # "xxxx..." tells nothing.
        noted.setdefault(secret, what)


def middle_of(secret):
    """Of a long secret its middle is enough to look for: a part that leaks is a leak."""
    middle = len(secret) // 2
    return secret[middle - 10 : middle + 10] if len(secret) >= 32 and " " not in secret else secret


# Listening


def note_fields(path, fields):
    for name, value in fields:
        if name in FIELDS or (name == "token" and any(part in path for part in TOKEN_PATHS)):
            note(name, value)


def fields_in(value):
    """All members of the objects in a JSON value."""
    if isinstance(value, dict):
        yield from value.items()
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from fields_in(inner)


def note_body(path, kind, body):
    if isinstance(body, str):
        body = body.encode()
    if not isinstance(body, bytes) or len(body) > 1 << 20:
        return
    if "form-urlencoded" in kind:
        note_fields(path, parse_qsl(body.decode(errors="replace")))
    elif "html" in kind:
        note_fields(path, HIDDEN.findall(body.decode(errors="replace")))
    elif "json" in kind and any(name.encode() in body for name in (*FIELDS, "token")):
        try:
            fields = fields_in(json.loads(body))
            note_fields(path, ((k, v) for k, v in fields if k != "nonce" or "/register" in path))  # Create events have one.
        except (ValueError, RecursionError):
            pass


def note_headers(headers):
    for name, value in headers:
        if name.lower() == "set-cookie":
            note("cookie", unquote(value.split(";")[0].partition("=")[2]))
        elif name.lower() == "authorization" and value.startswith("Bearer "):
            note("bearer token", value.removeprefix("Bearer "))
        elif name.lower() == "location":
            note_fields("", parse_qsl(urlsplit(value).query) + parse_qsl(urlsplit(value).fragment))


def listen():
    request, begin = http.client.HTTPConnection.request, http.client.HTTPResponse.begin
    read = http.client.HTTPResponse.read

    def listened_request(self, method, url, body=None, headers={}, **more):
        kind = next((v for k, v in headers.items() if k.lower() == "content-type"), "")
        parts = urlsplit(url)
        note_fields(parts.path, parse_qsl(parts.query))
        note_headers(headers.items())
        note_body(parts.path, kind, body)
        return request(self, method, url, body, headers, **more)

    def listened_begin(self):
        begin(self)
        note_headers(self.headers.items())

    def listened_read(self, *arguments):
        body = read(self, *arguments)
        note_body("", self.headers.get("Content-Type") or "", body)
        return body

    http.client.HTTPConnection.request = listened_request
    http.client.HTTPResponse.begin = listened_begin
    http.client.HTTPResponse.read = listened_read


# What to look for


def known_to(directory):
    """The secrets in the files of servers below a directory: keys and what was configured."""
    found = {}
    for path in directory.rglob("signing.key"):
        found[path.read_text().split()[-1]] = "signing key"
    for path in directory.rglob("secrets"):
        if path.is_file():
            found.update((line.split()[1], "key of the server") for line in path.read_text().splitlines() if " " in line)
    for path in directory.rglob("*.yaml"):
        words = (word.strip(" \"'") for word in CONFIGURED.findall(path.read_text(errors="replace")))
        found.update((word, "configured secret") for word in words if len(word) >= SHORTEST)
    return found


def spellings(secret):
    """The ways in which a secret may be written."""
    yield quote(secret, safe="")
    try:
        raw = base64.b64decode(secret + "=" * (-len(secret) % 4), validate=True)
    except ValueError:
        raw = b""
    if len(raw) == 32:  # A key.
        yield raw.hex()
    yield middle_of(secret)


def patterns(secrets):
    return {text: (secret, what) for secret, what in secrets.items() for text in spellings(secret)}


# Where to look


def traces_of(binary, directory):
    """What `greenroom trace` prints of all message logs below a directory, for people and for programs."""
    folders = [word for path in directory.rglob("messages") if path.is_dir() for word in ("--log", str(path))]
    command = [str(binary), "trace", *folders, "--since", "365d", "--last", "10000", "--bodies"]
    out = b""
    for form in ([], ["--json"]) if folders else []:
        done = subprocess.run([*command, *form], capture_output=True, timeout=TRACE_LIMIT_S)
        if done.returncode not in (0, 1):  # 1: there is no message.
            raise RuntimeError(f"greenroom trace: {done.stderr.decode(errors='replace')}")
        out += done.stdout + done.stderr
    return out


def left_behind(directory, binary, metrics):
    """Where a server may have left secrets: (what it is, a file that holds it)."""
    yield from (("log", path) for path in {*directory.rglob("output.log"), *directory.glob("*.log")})
    yield from (("message log", path) for path in directory.rglob("messages/*") if path.is_file())
    for name, text in (("metrics", metrics), ("trace", traces_of(binary, directory) if binary else b"")):
        path = directory / f"printed-{name}"
        path.write_bytes(text)
        yield name, path


def found_in(directory, binary=None, metrics=b""):
    """What logs, message logs, traces and metrics of the servers below a directory tell that they should not."""
    found, wanted = [], patterns({**noted, **known_to(directory)})
    with tempfile.NamedTemporaryFile("w", suffix=".secrets") as listed:
        listed.write("\n".join(wanted))
        listed.flush()
        for where, path in left_behind(directory, binary, metrics):
            command = ["grep", "-aoFf", listed.name, str(path)]
            grep = subprocess.run(command, capture_output=True, env={"LC_ALL": "C"}, timeout=TRACE_LIMIT_S)
            if grep.returncode not in (0, 1):
                raise RuntimeError(f"grep: {grep.stderr.decode()}")
            for text in {line.decode(errors="replace") for line in grep.stdout.split(b"\n") if line}:
                secret, what = wanted.get(text, (text, "secret"))
                found.append(f"{where} {path.name}: {what} {secret[:8]}...")
            looks = {match.group(0)[:8] for match in LOOKS.finditer(path.read_bytes())}
            found += [f"{where} {path.name}: {text!r}..." for text in looks]
    return found
