"""A small Matrix server on loopback for tests of federation: TLS by a private authority, its own signing key, requests
signed both ways. What it answers is a table that tests fill, so it can also lie, dawdle and flood.
"""

import base64
import ctypes
import ctypes.util
import http.client
import http.server
import json
import re
import socket
import ssl
import struct
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from Crypto.PublicKey import ECC

import harness

HOUR_MS = 3600 * 1000
sodium = ctypes.CDLL(ctypes.util.find_library("sodium") or "libsodium.so.23")


def now_ms():
    return int(time.time() * 1000)


def unpadded(raw):
    return base64.b64encode(raw).decode().rstrip("=")


def canonical(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()


class Authority:
    """A private certificate authority in a temporary directory; `file` is what servers are told to trust."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="greenroom-ca-")
        self.file = str(Path(self.folder.name) / "ca.pem")
        self.openssl("req", "-x509", *self.new_key("ca"), "-subj", "/CN=Greenroom test authority", "-days", "2", "-out", self.file)

    def path(self, name):
        return str(Path(self.folder.name) / name)

    def new_key(self, name):
        return ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", self.path(name + ".key"))

    def openssl(self, *words):
        subprocess.run(["openssl", *words], check=True, capture_output=True, timeout=60)

    def certificate(self, *names, name=None):
        """(certificate, key) files for these host names and addresses."""
        name = name or re.sub(r"\W", "_", names[0])
        subject = ",".join(("IP:" if re.fullmatch(r"[\d.]+|.*:.*", n) else "DNS:") + n for n in names)
        extension = Path(self.path(name + ".ext"))
        extension.write_text(f"subjectAltName={subject}\n")
        request, certificate = self.path(name + ".csr"), self.path(name + ".pem")
        self.openssl("req", "-new", *self.new_key(name), "-subj", "/CN=test", "-out", request)
        self.openssl("x509", "-req", "-in", request, "-CA", self.file, "-CAkey", self.path("ca.key"), "-CAcreateserial",
                     "-days", "1", "-extfile", str(extension), "-out", certificate)
        return certificate, self.path(name + ".key")


class Request:
    """What a handler of a Remote is given. Setting `raw` answers with exactly these bytes, or by what it yields."""

    def __init__(self, method, target, headers, body):
        self.method, self.target, self.headers, self.body = method, target, headers, body
        self.path = urlsplit(target).path
        self.query = {k: v[0] for k, v in parse_qs(urlsplit(target).query, keep_blank_values=True).items()}
        self.json = json.loads(body) if body else None

    def authorization(self):
        return dict(re.findall(r'(\w+)="([^"]*)"', self.headers.get("Authorization", "")))


class Raw:
    """An answer as bytes, given in pieces; the connection closes after it."""

    def __init__(self, pieces):
        self.pieces = pieces


class Remote:
    """A server of that host name, or name with port. `routes` maps "METHOD /path" (the longest that the path begins with)
    to an answer: (status, JSON), Raw, or a function of the Request that gives one.
    """

    def __init__(self, authority, host="localhost", port=None, name=None, certificate=None, with_port=True):
        self.authority = authority
        self.port = port or harness.free_port()
        self.name = name or (f"{host}:{self.port}" if with_port else host)
        self.key_id, self.key = "ed25519:r1", ECC.generate(curve="Ed25519")
        self.old_keys, self.valid_until = {}, now_ms() + 24 * HOUR_MS
        self.requests, self.routes, self.connections = [], {"GET /_matrix/key/v2/server": lambda r: (200, self.keys())}, 0
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*(certificate or authority.certificate(host)))
        remote = self

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

            def finish_request(self, request, address):
                try:
                    request.settimeout(120)
                    super().finish_request(context.wrap_socket(request, server_side=True), address)
                except OSError:
                    pass

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self):
                super().setup()
                remote.connections += 1

            def serve(self):
                remote.serve(self)

            do_GET = do_POST = do_PUT = serve

            def log_message(self, *_):
                pass

        self.server = Server(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    # Answering

    def serve(self, handler):
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        request = Request(handler.command, handler.path, handler.headers, body)
        self.requests.append(request)
        answer = self.answer(request)
        if isinstance(answer, Raw):
            handler.close_connection = True
            try:
                for piece in answer.pieces:
                    handler.wfile.write(piece)
                    handler.wfile.flush()
            except OSError:
                pass
            return
        status, value = answer
        text = value if isinstance(value, bytes) else json.dumps(value).encode()
        handler.send_response(status)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(text)))
        handler.end_headers()
        handler.wfile.write(text)

    def answer(self, request):
        wanted = f"{request.method} {request.path}"
        found = max((route for route in self.routes if wanted.startswith(route)), key=len, default=None)
        if not found:
            return 404, {"errcode": "M_UNRECOGNIZED", "error": "Unrecognized request"}
        answer = self.routes[found]
        return answer(request) if callable(answer) else answer

    def asked(self, path):
        return [request for request in self.requests if request.path.startswith(path)]

    # Signing

    def sign_bytes(self, text, key=None):
        """By libsodium: large rooms would take minutes otherwise."""
        public, secret, out = (ctypes.create_string_buffer(size) for size in (32, 64, 64))
        sodium.crypto_sign_seed_keypair(public, secret, (key or self.key).seed)
        sodium.crypto_sign_detached(out, None, text, ctypes.c_ulonglong(len(text)), secret)
        return unpadded(out.raw)

    def sign(self, value, name=None, key_id=None, key=None):
        rest = {k: v for k, v in value.items() if k not in ("signatures", "unsigned")}
        signature = self.sign_bytes(canonical(rest), key)
        signed = dict(value, signatures={**value.get("signatures", {})})
        signed["signatures"].setdefault(name or self.name, {})[key_id or self.key_id] = signature
        return signed

    def public(self, key=None):
        return unpadded((key or self.key).public_key().export_key(format="raw"))

    def keys(self):
        return self.sign({
            "server_name": self.name,
            "valid_until_ts": self.valid_until,
            "verify_keys": {self.key_id: {"key": self.public()}},
            "old_verify_keys": self.old_keys,
        })

    def rotate(self, key_id):
        """A new key; the one before is old from now on."""
        self.old_keys[self.key_id] = {"key": self.public(), "expired_ts": now_ms()}
        self.key_id, self.key = key_id, ECC.generate(curve="Ed25519")

    # Asking

    def header(self, method, uri, destination, content=None, **lies):
        signed = {"method": method, "uri": uri, "origin": self.name, "destination": destination}
        if content is not None:
            signed["content"] = content
        told = {"origin": self.name, "destination": destination, "key": self.key_id,
                "sig": self.sign_bytes(canonical(signed)), **lies}
        return "X-Matrix " + ",".join(f'{k}="{v}"' for k, v in told.items() if v is not None)

    def ask(self, server, method, uri, content=None, authorization=None, destination=None, **lies):
        """A signed request to the federation listener of a server under test, over TLS that is checked."""
        context = ssl.create_default_context(cafile=self.authority.file)
        connection = http.client.HTTPSConnection("localhost", server.federation_port, timeout=30, context=context)
        body = json.dumps(content).encode() if content is not None else None
        header = authorization or self.header(method, uri, destination or server.server_name, content, **lies)
        headers = {"Authorization": header} if header != "none" else {}
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            connection.request(method, uri, body, headers)
            answer = connection.getresponse()
            return harness.Reply(answer.status, answer.headers, answer.read())
        finally:
            connection.close()


class Names:
    """A name server on loopback that knows SRV records: name -> (target, port)."""

    def __init__(self):
        self.records, self.asked = {}, []
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.socket.getsockname()[1]
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                question, peer = self.socket.recvfrom(2048)
            except OSError:
                return
            self.socket.sendto(self.reply(question), peer)

    @staticmethod
    def encoded(name):
        return b"".join(bytes([len(part)]) + part.encode() for part in name.split(".")) + b"\0"

    def reply(self, question):
        end = question.index(b"\0", 12) + 5
        labels, at = [], 12
        while question[at]:
            labels.append(question[at + 1 : at + 1 + question[at]].decode())
            at += 1 + question[at]
        name = ".".join(labels).lower()
        self.asked.append(name)
        found = self.records.get(name)
        head = question[:2] + struct.pack(">HHHHH", 0x8180 if found else 0x8183, 1, 1 if found else 0, 0, 0)
        if not found:
            return head + question[12:end]
        data = struct.pack(">HHH", 1, 1, found[1]) + self.encoded(found[0])
        return head + question[12:end] + b"\xc0\x0c" + struct.pack(">HHIH", 33, 1, 60, len(data)) + data

    def close(self):
        self.socket.close()


def federating(authority, make=harness.Greenroom, **options):
    """A server under test, named localhost:PORT, with a TLS listener for federation by that authority."""
    port = harness.free_port()
    certificate, key = authority.certificate("localhost", "127.0.0.1", name=f"server{port}")
    settings = {
        "server_name": f"localhost:{port}",
        "listen.federation": f"127.0.0.1:{port}",
        "tls.certificate": certificate,
        "tls.key": key,
        "federation.trusted_ca": authority.file,
        "federation.allow_private_addresses": "on",
    }
    settings.update(options)
    server = make(**settings)
    server.federation_port = port
    return server


def federating_synapse(authority, **options):
    """A Synapse for the same; its client listener serves federation too."""
    port = harness.free_port()
    certificate, key = authority.certificate("localhost", "127.0.0.1", name=f"synapse{port}")
    server = harness.Synapse(server_name=f"localhost:{port}", **options)
    plain = {"type": "http", "bind_addresses": ["127.0.0.1"], "resources": [{"names": ["client", "federation"], "compress": False}]}
    server.reconfigure({
        "listeners": [
            {"port": server.port, "tls": False, **plain},
            {"port": port, "tls": True, **plain},
        ],
        "enable_metrics": False,
        "tls_certificate_path": certificate,
        "tls_private_key_path": key,
        "federation_custom_ca_list": [authority.file],
        "ip_range_blacklist": [],
        "federation_ip_range_blacklist": [],
        "allow_public_rooms_over_federation": True,
        "federation": {"client_timeout": "20s"},
        "key_refresh_interval": "1h",
    })
    server.federation_port = port
    return server
