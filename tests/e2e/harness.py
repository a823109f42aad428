"""Starts the homeserver under test (Greenroom, a cluster of it, or Synapse to compare with) and talks to it over HTTP.

Everything is installed into a cache directory outside the checkout, servers live in temporary directories
and listen on loopback only, every process is ended by its own id and every wait has an end.  Only the
standard library is used here, so that scripts can import it before anything is installed.

As a program, `harness.py control KIND` starts a server and obeys one command a line (restart, kill9, stop; with KIND cluster
three nodes, and also `start N`, `kill9 N`, `owner ROOM`): tests in other languages use that.
"""

import atexit
import ctypes
import hashlib
import http.client
import itertools
import json
import os
import random
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from urllib.parse import quote, urlencode, urlsplit

import leaks

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "greenroom"
SERVER_NAME = "e2e.test"
START_LIMIT_S = float(os.environ.get("GREENROOM_START_LIMIT", "60"))
STOP_LIMIT_S = 15
REQUEST_LIMIT_S = 60
PASSWORD = "correct horse battery staple"
PR_SET_PDEATHSIG = 1
libc = ctypes.CDLL(None)


# Installing


def fingerprint(*paths):
    digest = hashlib.sha256(sys.version.encode())
    for path in paths:
        digest.update(Path(path).read_bytes())
    return digest.hexdigest()


def install(directory, stamp, commands, cwd=None):
    """Runs the commands once per fingerprint; a half-finished installation is thrown away and repeated."""
    done = directory / "installed"
    if done.exists() and done.read_text() == stamp:
        return
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    for command in commands:
        if callable(command):
            command()
        else:
            subprocess.run(command, cwd=cwd, check=True, stdout=subprocess.DEVNULL, timeout=900)
    done.write_text(stamp)


def venv(name, requirements):
    """The Python interpreter of a virtual environment holding those requirements."""
    directory = CACHE / "venv" / name
    python = directory / "bin" / "python"
    install(
        directory,
        fingerprint(requirements),
        [
            [sys.executable, "-m", "venv", str(directory)],
            [
                str(python),
                "-m",
                "pip",
                "install",
                "-q",
                "--disable-pip-version-check",
                "-r",
                str(requirements),
            ],
        ],
    )
    return python


def test_python():
    return venv("e2e", HERE / "requirements.txt")


def synapse_python():
    return venv("synapse", HERE / "requirements-synapse.txt")


def js_directory():
    """A directory with node_modules and the JavaScript tests beside it, as Node resolves modules from the
    file's place.
    """
    directory = CACHE / "js"
    package, lock = HERE / "js" / "package.json", HERE / "js" / "package-lock.json"

    def copy():
        shutil.copy(package, directory)
        shutil.copy(lock, directory)

    install(
        directory,
        fingerprint(package, lock),
        [copy, ["npm", "ci", "--no-audit", "--no-fund", "--loglevel=error", "--prefix", str(directory)]],
    )
    for source in (HERE / "js").glob("*.mjs"):
        shutil.copy(source, directory)
    return directory


NODE_MAJOR, NODE_VERSION = 20, "20.20.2"


def node():
    """A Node that the JavaScript tests run on: the machine's, or one installed from the package registry beside them
    where that is too old (Debian 12 has 18).
    """
    own = shutil.which("node")
    said = subprocess.run([own, "--version"], capture_output=True, text=True, timeout=60).stdout if own else ""
    if said.startswith("v") and int(said[1:].split(".")[0]) >= NODE_MAJOR:
        return own
    directory = CACHE / "node"
    machine = {"x86_64": "x64", "aarch64": "arm64"}[os.uname().machine]
    package = f"node-linux-{machine}"
    install(
        directory,
        f"{package} {NODE_VERSION}",
        [["npm", "install", "--no-audit", "--no-fund", "--no-save", "--prefix", str(directory), f"{package}@{NODE_VERSION}"]],
    )
    return str(directory / "node_modules" / package / "bin" / "node")


# HTTP


class Reply:
    """Status, headers and decoded body of one answer."""

    def __init__(self, status, headers, raw):
        self.status, self.headers, self.raw = status, headers, raw
        try:
            self.json = json.loads(raw)
        except ValueError:
            self.json = None

    @property
    def errcode(self):
        return self.json.get("errcode") if isinstance(self.json, dict) else None

    def __getitem__(self, key):
        return self.json[key]

    def get(self, key, default=None):
        return self.json.get(key, default)

    def ok(self):
        assert self.status == 200, f"{self.status} {self.raw[:500]!r}"
        return self.json

    def refused(self, status, errcode=None):
        wanted = status if isinstance(status, tuple) else (status,)
        assert self.status in wanted, f"{self.status} is not {status}: {self.raw[:500]!r}"
        if errcode:
            assert self.errcode in (errcode if isinstance(errcode, tuple) else (errcode,)), self.raw[:500]
        return self.json

    def __repr__(self):
        return f"<{self.status} {self.raw[:300]!r}>"


class Client:
    """One keep-alive connection a thread.  Paths without /_matrix or /.well-known in front belong to the v3
    client API.
    """

    roaming = {}  # By the base of a cluster: the bases of its nodes, which take turns with each request.

    def __init__(self, base, token=None):
        self.base, self.token = base, token
        self.local = threading.local()

    def connection(self, timeout):
        base = next(self.roaming.get(self.base, itertools.repeat(self.base)))
        kept, used = self.kept().pop(base, (None, 0))
        # A readable idle connection has been closed by the server: there is nothing else it could have to
        # say.
        if kept and time.monotonic() - used < 2 and not select.select([kept.sock], [], [], 0)[0]:
            kept.sock.settimeout(timeout)
            return base, kept
        if kept:
            kept.close()
        address = urlsplit(base)
        fresh = http.client.HTTPConnection(address.hostname, address.port, timeout=timeout)
        fresh.connect()
        fresh.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return base, fresh

    def kept(self):
        """Of this thread: idle connections and when they were used last, by base."""
        if not hasattr(self.local, "kept"):
            self.local.kept = {}
        return self.local.kept

    def close(self):
        for connection, _ in self.kept().values():
            connection.close()
        self.kept().clear()

    def request(
        self, method, path, body=None, query=None, headers=None, raw=None, token=True, timeout=REQUEST_LIMIT_S
    ):
        if not path.startswith(("/_matrix", "/.well-known", "/_synapse", "/_greenroom")):
            path = "/_matrix/client" + (
                path if path.startswith(("/v1/", "/versions", "/r0/", "/unstable/")) else "/v3" + path
            )
        if query:
            path += "?" + urlencode(query, doseq=True)
        data = raw if raw is not None else (json.dumps(body).encode() if body is not None else None)
        sent = {"Content-Type": "application/json"} if data is not None else {}
        bearer = self.token if token is True else token
        if bearer:
            sent["Authorization"] = "Bearer " + bearer
        sent.update(headers or {})
        base, connection = self.connection(timeout)
        try:
            connection.request(method, path, data, sent)
            answer = connection.getresponse()
            reply = Reply(answer.status, answer.headers, answer.read())
        except BaseException:
            connection.close()
            raise
        if answer.will_close:
            connection.close()
        else:
            self.kept()[base] = (connection, time.monotonic())
        return reply

    def get_(self, path, **query):
        return self.request("GET", path, query={k: v for k, v in query.items() if v is not None})

    def post(self, path, body=None, **more):
        return self.request("POST", path, {} if body is None else body, **more)

    def put(self, path, body=None, **more):
        return self.request("PUT", path, {} if body is None else body, **more)

    def delete(self, path, body=None, **more):
        return self.request("DELETE", path, body, **more)


def q(text):
    """One path segment."""
    return quote(text, safe="")


class User(Client):
    """A logged-in device, with the requests that most tests need by name."""

    transaction = itertools.count(1)

    def __init__(self, base, user_id, token, device_id, refresh_token=None):
        super().__init__(base, token)
        self.user_id, self.device_id, self.refresh_token = user_id, device_id, refresh_token
        self.localpart = user_id[1:].split(":")[0]

    def create(self, **options):
        options.setdefault("preset", "public_chat")
        return self.post("/createRoom", options).ok()["room_id"]

    def join(self, room):
        return self.post(f"/join/{q(room)}")

    def room(self, room, rest):
        return f"/rooms/{q(room)}/{rest}"

    def member(self, room, act, user=None, **more):
        body = dict(more, user_id=user.user_id) if user else more
        return self.post(self.room(room, act), body)

    def put_event(self, room, content, kind="m.room.message", txn=None):
        if kind == "m.room.message":
            content = {"msgtype": "m.text", **content}
        return self.put(self.room(room, f"send/{q(kind)}/{txn or 'e2e%d' % next(self.transaction)}"), content)

    def say(self, room, text, **more):
        return self.put_event(room, {"body": text, **more}).ok()["event_id"]

    def state(self, room, kind, key="", content=None):
        path = self.room(room, f"state/{q(kind)}/{q(key)}")
        return self.request("GET", path) if content is None else self.put(path, content)

    def sync(self, since=None, timeout=0, filter=None, **more):
        if isinstance(filter, dict):
            filter = json.dumps(filter)
        query = {
            k: v for k, v in dict(more, since=since, timeout=timeout, filter=filter).items() if v is not None
        }
        return self.request("GET", "/sync", query=query).ok()

    def sync_until(self, wanted, since=None, limit_s=20, **more):
        """Follows /sync until wanted(answer) is true and returns what it returned and the last answer."""
        end = time.monotonic() + limit_s
        while True:
            answer = self.sync(since, timeout=1000 if since else 0, **more)
            since = answer["next_batch"]
            found = wanted(answer)
            if found:
                return found, answer
            assert time.monotonic() < end, "what was waited for never came by /sync"


def register(base, localpart, password=PASSWORD, **more):
    """Registers by user-interactive authentication with the dummy stage."""
    client, body = Client(base), dict(more, username=localpart, password=password)
    first = client.post("/register", body)
    if first.status == 401:
        first = client.post(
            "/register", dict(body, auth={"type": "m.login.dummy", "session": first["session"]})
        )
    answer = first.ok()
    return User(
        base, answer["user_id"], answer["access_token"], answer["device_id"], answer.get("refresh_token")
    )


def login(base, localpart, password=PASSWORD, **more):
    answer = (
        Client(base)
        .post(
            "/login",
            dict(
                more,
                type="m.login.password",
                password=password,
                identifier={"type": "m.id.user", "user": localpart},
            ),
        )
        .ok()
    )
    return User(
        base, answer["user_id"], answer["access_token"], answer["device_id"], answer.get("refresh_token")
    )


# Servers


leaked = []  # Secrets that servers which are gone had left behind: conftest.py tells of them at the end of the whole run.
living = []  # Servers that are not removed yet.
message_logs = itertools.repeat("on")  # What the next servers write, unless they are told.


def remove_all():
    for server in list(living):
        server.remove()


def look_for_leaks(server, binary, metrics):
    """Once for each server, when it has ended and its files are about to go."""
    living.remove(server)
    leaked.extend(f"{server.directory.name}: {leak}" for leak in leaks.found_in(server.directory, binary, metrics))


given_ports = set()


def free_port():
    """Below those that the machine gives to outgoing connections, so that it is still free when a server starts again.
    None is given twice: a server takes several before it listens on the first.
    """
    for port in random.sample(range(7000, 10000), 1000):
        if port not in given_ports and port_is_free(port):
            given_ports.add(port)
            return port
    raise RuntimeError("no free port")


CLUSTER_NODE_DISTANCE = 10000  # Nodes talk that far above the port for clients (greenroom cluster init --help).
SHARDS = 256


def cluster_ports(nodes):
    """The first of so many ports in a row that are free, also where the nodes talk with each other.  All are below those
    that the machine gives to outgoing connections, so that they are still free when a node starts again.
    """
    for port in random.sample(range(12000, 22000), 1000):
        if all(port_is_free(p + d) for p in range(port, port + nodes) for d in (0, CLUSTER_NODE_DISTANCE)):
            return port
    raise RuntimeError("no free ports in a row")


def port_is_free(port):
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def shard_of(actor_id):
    """As gr_id_shard (proto/address.c) has it: fixed for ever, so it may stand here."""
    mask = 2**64 - 1
    h = 14695981039346656037
    for byte in actor_id.encode():
        h = (h ^ byte) * 1099511628211 & mask
    h ^= h >> 32
    h = h * 0x9E3779B97F4A7C15 & mask
    return (h ^ h >> 29) % SHARDS


def die_with_parent():
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ignored where the tests run in the background of a shell.


class Server:
    """One homeserver in a temporary directory.  start() returns once /versions answers; its time is in
    started_s.
    """

    def __init__(self, **options):
        self.server_name = options.pop("server_name", SERVER_NAME)
        self.options = options
        self.directory = Path(tempfile.mkdtemp(prefix="greenroom-e2e-"))
        self.port, self.metrics_port = free_port(), free_port()
        self.base = f"http://127.0.0.1:{self.port}"
        self.process, self.started_s, self.told_metrics = None, None, b""
        living.append(self)
        atexit.register(self.remove)
        self.configure()

    def start(self):
        log = open(self.directory / "output.log", "ab")
        begun = time.monotonic()
        self.process = subprocess.Popen(
            self.command(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=self.directory,
            preexec_fn=self.before_it_runs,
        )
        log.close()
        while True:
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.kind} ended with {self.process.returncode}:\n{self.log_tail()}")
            if self.answers():
                self.started_s = time.monotonic() - begun
                return self
            if time.monotonic() - begun > START_LIMIT_S:
                self.kill9()
                raise RuntimeError(f"{self.kind} does not answer after {START_LIMIT_S} s:\n{self.log_tail()}")
            time.sleep(0.005)

    def before_it_runs(self):
        """In the new process."""
        die_with_parent()

    def answers(self):
        address = urlsplit(self.base)
        try:
            with socket.create_connection((address.hostname, address.port), timeout=5):
                pass
            return Client(self.base).request("GET", "/versions", timeout=5).status == 200
        except OSError:
            return False

    def stop(self):
        """Asks the process to end (SIGTERM), insists after STOP_LIMIT_S, and returns its exit code."""
        if not self.process:
            return None
        self.keep_metrics()
        self.process.terminate()
        try:
            code = self.process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait(STOP_LIMIT_S)
        self.process = None
        return code

    def kill9(self):
        if self.process:
            self.process.kill()
            self.process.wait(STOP_LIMIT_S)
            self.process = None

    def restart(self):
        self.stop()
        return self.start()

    def keep_metrics(self):
        """What they tell in the end is looked at when the server is removed."""

    def remove(self):
        if self not in living:
            return
        self.keep_metrics()
        self.kill9()
        look_for_leaks(self, getattr(self, "binary", None), self.told_metrics)
        if os.environ.get("GREENROOM_E2E_KEEP"):
            print(f"{self.kind}: kept {self.directory}", file=sys.stderr)
        else:
            shutil.rmtree(self.directory, ignore_errors=True)

    def log_tail(self, size=4000):
        texts = [path.read_bytes()[-size:].decode(errors="replace") for path in self.directory.glob("*.log")]
        return "\n".join(texts)

    def rss_mb(self, what="VmRSS", forget_peak=False):
        """Now, or ("VmHWM") the most since the peak was forgotten."""
        if forget_peak:
            Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(what + ":"):
                return int(line.split()[1]) / 1024
        return 0.0

    def cpu_s(self):
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def metrics(self):
        """Prometheus samples summed over labels, by name; empty when there are none."""
        for path in ("/metrics", "/_synapse/metrics"):
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self.metrics_port, timeout=5)
                connection.request("GET", path)
                answer = connection.getresponse()
                text = answer.read().decode()
            except OSError:
                return {}
            if answer.status == 200:
                break
        sums = {}
        for line in text.splitlines():
            if line and not line.startswith("#"):
                name, value = line.split("{")[0].split(" ")[0], line.split("} ")[-1].split(" ")
                value = value[0] if "{" in line else value[1]
                sums[name] = sums.get(name, 0.0) + float(value)
        return sums

    def register(self, localpart, **more):
        return register(self.base, localpart, **more)


OPEN_DOORS = {"registration": "open", "guests": "on", "rate_limits": "off"}


class Greenroom(Server):
    kind = "greenroom"

    def __init__(self, binary=None, **options):
        self.binary = str(
            Path(binary or os.environ.get("GREENROOM_BINARY") or ROOT / "build/release/greenroom").resolve()
        )
        super().__init__(**options)

    def configure(self):
        keys = {
            "listen.client": f"127.0.0.1:{self.port}",
            "public_base_url": self.base,
            "listen.metrics": f"127.0.0.1:{self.metrics_port}",
            "message_log": next(message_logs),
            **OPEN_DOORS,
            **self.options,
        }
        sets = [word for key, value in keys.items() for word in ("--set", f"{key}={value}")]
        done = subprocess.run(
            [self.binary, "init", str(self.directory / "data"), "--server-name", self.server_name, *sets],
            capture_output=True,
            text=True,
            timeout=60,
        )
        if done.returncode:
            raise RuntimeError(f"greenroom init failed: {done.stdout}{done.stderr}")

    def command(self):
        return [self.binary, "run", str(self.directory / "data")]

    def keep_metrics(self):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", self.metrics_port, timeout=2)
            connection.request("GET", "/metrics")
            self.told_metrics = connection.getresponse().read()
        except OSError:  # There are none, or nobody who tells them any more.
            pass


class Cluster:
    """Several nodes of one Greenroom server, of one cluster file, on loopback.  Like a Server it has `base` (of its first
    node), so that tests written for one server run against it.  `binaries` may give single nodes another program.
    """

    kind = "greenroom"

    def __init__(self, nodes=3, binary=None, binaries=None, node_kind=None, **options):
        self.directory = Path(tempfile.mkdtemp(prefix="greenroom-e2e-"))
        self.file = self.directory / "cluster.yaml"
        living.append(self)
        atexit.register(self.remove)
        port = cluster_ports(nodes)
        self.nodes = [
            (node_kind or ClusterNode)(self, number, port + number - 1, (binaries or {}).get(number) or binary)
            for number in range(1, nodes + 1)
        ]
        keys = {"message_log": next(message_logs), **OPEN_DOORS, **options}
        sets = [word for key, value in keys.items() for word in ("--set", f"{key}={value}")]
        command = [self.nodes[0].binary, "cluster", "init", str(self.file), "--base", str(self.directory)]
        command += ["--server-name", SERVER_NAME, "--nodes", str(nodes), "--port", str(port), *sets]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        if done.returncode:
            raise RuntimeError(f"greenroom cluster init failed: {done.stdout}{done.stderr}")
        self.base = self.nodes[0].base

    def node(self, number):
        """n1, n2, ... by number."""
        return self.nodes[number - 1]

    def start(self):
        for node in self.nodes:
            node.start()
        for node in self.nodes:
            node.wait_linked()
        return self

    def stop(self):
        return [node.stop() for node in self.nodes]

    def restart(self):
        self.stop()
        return self.start()

    def kill9(self):
        for node in self.nodes:
            node.kill9()

    def remove(self):
        if self not in living:
            return
        for node in self.nodes:
            node.keep_metrics()
            node.kill9()
        look_for_leaks(self, self.nodes[0].binary, b"".join(node.told_metrics for node in self.nodes))
        if os.environ.get("GREENROOM_E2E_KEEP"):
            print(f"cluster: kept {self.directory}", file=sys.stderr)
        else:
            shutil.rmtree(self.directory, ignore_errors=True)

    def register(self, localpart, node=1, **more):
        return register(self.node(node).base, localpart, **more)

    def owner(self, actor_id):
        """The node that runs the shard of a user, a room or another actor by its id; shards are dealt in equal ranges."""
        shard = shard_of(actor_id)
        return self.nodes[shard * len(self.nodes) // SHARDS]

    def register_at(self, node, localpart, **more):
        """Registers over that node a user who also lives in its shards; the name is the given one and a number."""
        names = (f"{localpart}{n}" for n in itertools.count())
        name = next(n for n in names if self.owner(f"@{n}:{SERVER_NAME}") is self.node(node))
        return self.register(name, node, **more)

    def create_at(self, node, user, **options):
        """A room that lies on that node.  Chance decides where one comes to lie, so it may take several."""
        for _ in range(100):
            room = user.create(**options)
            if self.owner(room) is self.node(node):
                return room
        raise AssertionError(f"no room came to lie on node {node}")


class ClusterNode(Greenroom):
    """One node of a Cluster, started, stopped and looked at like any server."""

    def __init__(self, cluster, number, port, binary):
        self.binary = str(
            Path(binary or os.environ.get("GREENROOM_BINARY") or ROOT / "build/release/greenroom").resolve()
        )
        self.name, self.number, self.port, self.metrics_port = f"n{number}", number, port, free_port()
        self.base = f"http://127.0.0.1:{port}"
        self.data = cluster.directory / self.name
        self.directory = cluster.directory / f"{self.name}.output"
        self.directory.mkdir()
        self.process, self.started_s, self.told_metrics = None, None, b""
        self.environment = {}  # What the next start has beside the test's own.

    def command(self):
        own = {"GREENROOM_LISTEN_METRICS": f"127.0.0.1:{self.metrics_port}", **self.environment}
        return ["env", *[f"{key}={value}" for key, value in own.items()], self.binary, "run", str(self.data)]

    def tool(self, *words, check=True):
        """Runs `greenroom WORDS --dir DATA` and gives what it did."""
        command = [self.binary, *words, "--dir", str(self.data)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        if check and done.returncode:
            raise RuntimeError(f"greenroom {' '.join(words)}: {done.stdout}{done.stderr}")
        return done

    def peers(self):
        """What `cluster status` says of the other nodes, by name."""
        return {peer["node"]: peer for peer in json.loads(self.tool("cluster", "status", "--json").stdout)["peers"]}

    def wait_linked(self, up=None, limit_s=20):
        """Until the links to the nodes of these names (all others) are up."""
        end = time.monotonic() + limit_s
        while True:
            peers = self.peers()
            if all(peers[name]["link"] == "up" for name in (up or peers)):
                return
            assert time.monotonic() < end, f"{self.name} sees {peers}"
            time.sleep(0.05)

    def pause(self):
        """Returns once all threads are stopped."""
        self.process.send_signal(signal.SIGSTOP)
        stats = [path / "stat" for path in Path(f"/proc/{self.process.pid}/task").iterdir()]
        while any(path.read_text().rsplit(")", 1)[1].split()[0] != "T" for path in stats):
            time.sleep(0.005)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)


class Roaming(Cluster):
    """A Cluster whose clients go to another node with each request: what works on one server has to work so, too."""

    kind = "cluster"

    def __init__(self, binary=None, **options):
        super().__init__(binary=binary, **options)
        (self.directory / "data").symlink_to("n1")

    def start(self):
        super().start()
        Client.roaming[self.base] = itertools.cycle([node.base for node in self.nodes])
        return self

    def metrics(self):
        """Summed over the nodes."""
        sums = {}
        for samples in (node.metrics() for node in self.nodes):
            for name, value in samples.items():
                sums[name] = sums.get(name, 0.0) + value
        return sums


class Synapse(Server):
    """Default SQLite and settings; only the rate limits are lifted and password hashing made cheap for the
    tests.
    """

    kind = "synapse"

    def configure(self):
        free = {"per_second": 1000000, "burst_count": 1000000}
        limits = {
            "rc_message": free,
            "rc_registration": free,
            "rc_room_creation": free,
            "rc_3pid_validation": free,
            "rc_login": {"address": free, "account": free, "failed_attempts": free},
            "rc_joins": {"local": free, "remote": free},
            "rc_joins_per_room": free,
            "rc_invites": {"per_room": free, "per_user": free, "per_issuer": free},
            "rc_key_requests": free,
            "rc_admin_redaction": free,
            "rc_presence": {"per_user": free},
            "rc_media_create": free,
            "rc_reports": free,
            "rc_third_party_invite": free,
        }
        config = {
            "server_name": self.server_name,
            "report_stats": False,
            "pid_file": str(self.directory / "pid"),
            "listeners": [
                {
                    "port": self.port,
                    "bind_addresses": ["127.0.0.1"],
                    "type": "http",
                    "tls": False,
                    "resources": [{"names": ["client"], "compress": False}],
                },
                {"port": self.metrics_port, "bind_addresses": ["127.0.0.1"], "type": "metrics"},
            ],
            "database": {"name": "sqlite3", "args": {"database": str(self.directory / "homeserver.db")}},
            "media_store_path": str(self.directory / "media"),
            "signing_key_path": str(self.directory / "signing.key"),
            "log_config": str(self.directory / "log.yaml"),
            "trusted_key_servers": [],
            "enable_metrics": True,
            "enable_registration": True,
            "enable_registration_without_verification": True,
            "bcrypt_rounds": 4,
            "macaroon_secret_key": "e2e",
            "form_secret": "e2e",
            "max_upload_size": "50M",
            "allow_public_rooms_without_auth": True,
            "room_list_publication_rules": [{"action": "allow"}],
            "refreshable_access_token_lifetime": "1h",
            "public_baseurl": self.base + "/",
            "caches": {
                "sync_response_cache_duration": 0
            },  # Otherwise a repeated initial sync is two minutes old.
            "experimental_features": {"msc4222_enabled": True},
            **limits,
        }
        config.update(self.options)
        # JSON is YAML, so no YAML library is needed.
        (self.directory / "homeserver.yaml").write_text(json.dumps(config))
        (self.directory / "log.yaml").write_text(
            json.dumps(
                {
                    "version": 1,
                    "disable_existing_loggers": False,
                    "root": {"level": "WARNING", "handlers": ["file"]},
                    "handlers": {
                        "file": {
                            "class": "logging.FileHandler",
                            "filename": str(self.directory / "homeserver.log"),
                        }
                    },
                }
            )
        )
        python = str(synapse_python())
        subprocess.run(
            [
                python,
                "-m",
                "synapse.app.homeserver",
                "-c",
                str(self.directory / "homeserver.yaml"),
                "--generate-keys",
            ],
            check=True,
            capture_output=True,
            timeout=60,
        )

    def reconfigure(self, changes):
        path = self.directory / "homeserver.yaml"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    def command(self):
        return [
            str(synapse_python()),
            "-m",
            "synapse.app.homeserver",
            "-c",
            str(self.directory / "homeserver.yaml"),
        ]


def command(server, *words, code=0, stdin=None):
    """Runs the command line beside the server and returns what it printed."""
    done = subprocess.run(
        [server.binary, *words],
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        text=True,
        timeout=60,
        env=dict(os.environ, GREENROOM_DIR=str(server.directory / "data")),
    )
    assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout if code == 0 else done.stdout + done.stderr


def make_server(kind=None, **options):
    kind = kind or os.environ.get("GREENROOM_SERVER") or "greenroom"
    return {"greenroom": Greenroom, "cluster": Roaming, "synapse": Synapse}[kind](**options)


def obey(server, words):
    """One command to a server, or to a node of a cluster by its number; what is answered."""
    command, *rest = words
    one = server.node(int(rest[0])) if rest and rest[0].isdigit() else server
    if command == "restart":
        one.restart()
    elif command == "kill9":
        one.kill9()
        if one is server:
            one.start()
    elif command == "start":
        one.start()
    elif command == "owner":
        return {"owner": server.owner(rest[0]).number}
    else:
        return {"error": f"unknown command {command}"}
    return {"done": command}


def control(kind):
    """Commands by standard input, one answer line each; the end of the input stops the server."""
    server = Cluster().start() if kind == "cluster" else make_server(kind).start()
    bases = [node.base for node in server.nodes] if kind == "cluster" else [server.base]
    made = {"base": bases[0], "bases": bases, "server_name": SERVER_NAME, "kind": server.kind}
    print(json.dumps(made), flush=True)
    for line in sys.stdin:
        if line.strip() == "stop":
            break
        print(json.dumps(obey(server, line.split())), flush=True)
    server.stop()
    server.remove()
    print(json.dumps({"done": "stop", "leaked": leaked}), flush=True)


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] != "control":
        sys.exit(__doc__)
    control(sys.argv[2] if len(sys.argv) > 2 else None)
