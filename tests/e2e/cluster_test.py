"""Three nodes, one server: people are on nodes 1 and 3, their room lies on node 2, and nodes and ways fail.

GREENROOM_SEED repeats what chance chose in an earlier run.
"""

import asyncio
import random
import socket
import threading
import time
import uuid

import nio
import pytest

import harness
import network
from conftest import KIND
from kill9_test import SEED, Reader, Writer, all_messages, check, messages
from nio_test import Person

pytestmark = pytest.mark.skipif(KIND != "greenroom", reason="nodes are Greenroom's")

KILLS = 6
DOWN_S, UP_S = (0, 0.8), (0.5, 1.2)
CATCH_UP_S = 30
REFUSED_WITHIN_S = 5
HANDSHAKE_WITHIN_S = 10
LIMIT_S = 90


# matrix-nio


class Talker(Person):
    """Insists: what a node that is down did not answer is sent again, under the same transaction id."""

    async def insist(self, room, text, meanwhile=lambda tries: None):
        for tries in range(200):
            content = {"msgtype": "m.text", "body": text}
            answer = await self.client.room_send(room, "m.room.message", content, tx_id=f"{self.name} {text}")
            if isinstance(answer, nio.RoomSendResponse):
                return
            meanwhile(tries)
            await asyncio.sleep(0.05)
        raise AssertionError(f"{text} was never taken: {answer}")

    def connect_to(self, node):
        self.client.homeserver = node.base

    async def follow(self, wanted):
        """Syncs until it has so many messages; a node that can't answer is asked again."""
        end = time.monotonic() + CATCH_UP_S
        while len(self.got) < wanted:
            assert time.monotonic() < end, f"{self.name} got {len(self.got)} of {wanted}"
            try:
                await self.sync(500)
            except AssertionError:
                await asyncio.sleep(0.05)


def name_at(cluster, number):
    return next(
        name
        for name in (f"nio{uuid.uuid4().hex[:8]}" for _ in range(1000))
        if cluster.owner(f"@{name}:{harness.SERVER_NAME}") is cluster.node(number)
    )


async def room_at(cluster, number, alice, bob):
    for _ in range(100):
        made = await alice.client.room_create(invite=[bob.client.user_id])
        assert isinstance(made, nio.RoomCreateResponse), made
        if cluster.owner(made.room_id) is cluster.node(number):
            assert isinstance(await bob.client.join(made.room_id), nio.JoinResponse)
            return made.room_id
    raise AssertionError(f"no room came to lie on node {number}")


async def chat_through_kills(cluster, alice, bob):
    for person in (alice, bob):
        await person.register()
    room = await room_at(cluster, 2, alice, bob)
    for person in (alice, bob):
        await person.sync()
    said = []

    async def talk(count, **more):
        for _ in range(count):
            said.append(f"message {len(said)}")
            await (alice, bob)[len(said) % 2].insist(room, said[-1], **more)

    await talk(10)
    await bob.follow(len(said))
    cluster.node(2).kill9()
    await talk(10, meanwhile=lambda tries: tries == 2 and cluster.node(2).start())
    cluster.node(3).kill9()
    bob.connect_to(cluster.node(1))
    await alice.insist(room, "while Bob's node is down")
    said.append("while Bob's node is down")
    cluster.node(3).start()
    await talk(10)
    await bob.follow(len(said))
    bob.connect_to(cluster.node(3))
    await talk(10)
    for person in (alice, bob):
        await person.follow(len(said))
        assert person.got == said


def test_nio_chats_across_nodes_that_are_killed_and_come_back(cluster):
    async def run():
        alice, bob = (Talker(cluster.node(n), name_at(cluster, n)) for n in (1, 3))
        try:
            await asyncio.wait_for(chat_through_kills(cluster, alice, bob), LIMIT_S)
        finally:
            await alice.client.close()
            await bob.client.close()

    asyncio.run(run())


# Plain HTTP, from everywhere


class Traveller(harness.User):
    """A device that finds another node with every request."""

    def __init__(self, user, cluster, chance):
        super().__init__(user.base, user.user_id, user.token, user.device_id)
        self.doors, self.chance = [harness.Client(node.base, user.token) for node in cluster.nodes], chance

    def request(self, *arguments, **more):
        return self.chance.choice(self.doors).request(*arguments, **more)


def test_what_was_acknowledged_survives_kills_of_any_node_for_devices_on_any_node(cluster):
    chance = random.Random(SEED)
    print(f"GREENROOM_SEED={SEED}")

    def someone(name):
        user = cluster.register_at(chance.randint(1, 3), name)
        return Traveller(user, cluster, random.Random(chance.random()))

    writers = [someone(f"writer{n}x") for n in range(6)]
    readers = [someone(f"reader{n}x") for n in range(3)]
    rooms = [cluster.create_at(n + 1, writers[n]) for n in range(3)]
    for n, user in enumerate(writers + readers):
        user.join(rooms[n % 3]).ok()
    writing, reading = threading.Event(), threading.Event()
    authors = [Writer(writing, user, rooms[n % 3], n) for n, user in enumerate(writers)]
    followers = [Reader(reading, user, rooms[n]) for n, user in enumerate(readers)]
    for worker in authors + followers:
        worker.start()
    for _ in range(KILLS):
        time.sleep(chance.uniform(*UP_S))
        victim = cluster.node(chance.randint(1, 3))
        victim.kill9()
        time.sleep(chance.uniform(*DOWN_S))
        victim.start()
    time.sleep(1)
    writing.set()
    for author in authors:
        author.join(2 * harness.START_LIMIT_S)
    wanted = [{t: e for a in authors if a.room == room for t, e in a.acknowledged.items()} for room in rooms]
    end = time.monotonic() + CATCH_UP_S
    while time.monotonic() < end and any(len(messages(f.events)) < len(wanted[n]) for n, f in enumerate(followers)):
        time.sleep(0.1)
    time.sleep(1)  # What would come twice has time to come.
    reading.set()
    for follower in followers:
        follower.join(2 * harness.START_LIMIT_S)
    for worker in authors + followers:
        if worker.problem:
            raise worker.problem
    print(f"{sum(map(len, wanted))} messages, {KILLS} kills, {sum(a.lost for a in authors)} sends cut off")
    for n, room in enumerate(rooms):
        assert len(wanted[n]) > KILLS, "the writers hardly wrote"
        check(f"/messages of room {n}", all_messages(readers[n], room), wanted[n])
        check(f"/sync of room {n}", messages(followers[n].events), wanted[n])


# Strangers


def test_presence_is_seen_on_every_node(cluster):
    alice = cluster.register("presencealice", 1)
    friends = [cluster.register(f"presencefriend{n}", n) for n in (1, 2, 3)]
    room = alice.create()
    for friend in friends:
        friend.join(room).ok()
    since = [friend.sync()["next_batch"] for friend in friends]
    alice.put(f"/presence/{harness.q(alice.user_id)}/status", {"presence": "unavailable", "status_msg": "out"}).ok()

    def wanted(s):
        told = [e["content"] for e in s.get("presence", {}).get("events", []) if e["sender"] == alice.user_id]
        return any(c["presence"] == "unavailable" and c.get("status_msg") == "out" for c in told)
    for friend, token in zip(friends, since):
        friend.sync_until(wanted, token)


def test_strangers_at_the_port_for_nodes_are_dropped_and_counted_and_the_nodes_go_on(cluster):
    chance, node = random.Random(SEED), cluster.node(1)
    at, counter = ("127.0.0.1", node.port + harness.CLUSTER_NODE_DISTANCE), "greenroom_strangers_refused_total"
    before = node.metrics()[counter]
    silent = [socket.create_connection(at) for _ in range(50)]
    for _ in range(300):
        with socket.create_connection(at) as noisy:
            noisy.sendall(chance.choice([b"", b"\xff" * 9, b"\xff" + bytes(8) + b"\x7f\x03"]) + chance.randbytes(200))
    alice = cluster.register_at(1, "calm")
    room = cluster.create_at(2, alice)
    for n in range(20):
        alice.say(room, f"calm {n}")
    for quiet in silent:
        quiet.settimeout(HANDSHAKE_WITHIN_S)
        assert dropped(quiet)
    assert node.metrics()[counter] - before == 350
    assert "it does not speak as nodes do" in (node.directory / "output.log").read_text()
    assert all(peer["link"] == "up" for peer in node.peers().values())


def dropped(connection):
    """Reads what is said to it until the other end closes."""
    try:
        while connection.recv(4096):
            pass
        return True
    except ConnectionResetError:
        return True


# Ways between machines that are cut


class Machine(harness.ClusterNode):
    """A node on a machine of its own in a Network."""

    def live_in(self, place, number):
        self.place, self.base = place, f"http://{place.address(number)}:{self.port}"

    def command(self):
        client = f"GREENROOM_LISTEN_CLIENT={self.place.address(self.number)}:{self.port}"
        return ["env", client, *super().command()[1:]]

    def before_it_runs(self):
        self.place.move_in(self.number)
        super().before_it_runs()


@pytest.fixture
def far():
    """A cluster whose nodes are on three machines, and the network between them."""
    why = network.missing()
    if why:
        pytest.skip(why)
    place = network.Network(3)
    apart = harness.Cluster(node_kind=Machine)
    text = apart.file.read_text()
    for node in apart.nodes:
        node.live_in(place, node.number)
        text = text.replace(f"127.0.0.1:{node.port + 10000}", f"{place.address(node.number)}:{node.port + 10000}")
    apart.file.write_text(text)
    try:
        yield apart.start(), place
        apart.stop()
    finally:
        apart.remove()
        place.close()


def wait_for_link(node, other, state):
    end = time.monotonic() + CATCH_UP_S
    while node.peers()[other.name]["link"] != state:
        assert time.monotonic() < end, f"{node.name} sees {node.peers()}"
        time.sleep(0.05)


def refused(user, room, text):
    """A send that needs what is out of reach: it is refused, and soon."""
    begun = time.monotonic()
    reply = user.put_event(room, {"body": text}, txn=text)
    assert reply.status == 503, reply
    assert time.monotonic() - begun < REFUSED_WITHIN_S, f"only after {time.monotonic() - begun:.1f} s"


def texts_of(user, room, since, count):
    """Follows /sync from there until so many messages of the room have come."""
    found = []

    def more(answer):
        timeline = answer.get("rooms", {}).get("join", {}).get(room, {}).get("timeline", {})
        assert not timeline.get("limited"), "a gap"
        found.extend(body for body, _ in messages(timeline.get("events", [])))
        return len(found) >= count

    user.sync_until(more, since, CATCH_UP_S)
    return found


@pytest.mark.parametrize(
    "ways", [[(1, 2), (2, 1)], [(1, 2)], [(2, 1)]], ids=["both_ways", "from_1_to_2", "from_2_to_1"]
)
def test_a_cut_refuses_soon_what_needs_it_lets_others_go_on_and_loses_nothing(far, ways):
    apart, place = far
    alice, zoe = apart.register_at(1, "alice"), apart.register_at(3, "zoe")
    room = apart.create_at(2, alice)
    zoe.join(room).ok()
    since = {user: user.sync()["next_batch"] for user in (alice, zoe)}
    alice.say(room, "before")
    for sender, receiver in ways:
        place.cut(sender, receiver)
    refused(alice, room, "Alice")
    for n in range(10):
        zoe.say(room, f"meanwhile {n}")
    for node, other in ((1, 2), (2, 1)):
        wait_for_link(apart.node(node), apart.node(other), "down")
    refused(alice, room, "Alice")
    assert texts_of(zoe, room, since[zoe], 11)[-1] == "meanwhile 9"
    assert alice.get_("/account/whoami").status == 200  # What node 1 has itself it goes on with.
    place.heal()
    apart.node(1).wait_linked()
    sent = alice.put_event(room, {"body": "Alice"}, txn="Alice").ok()["event_id"]
    wanted = ["before", *(f"meanwhile {n}" for n in range(10)), "Alice"]
    heard = texts_of(alice, room, since[alice], len(wanted))
    assert sorted(heard) == sorted(wanted), "each once"
    assert [text for text in heard if text != "Alice"] == wanted[:-1]
    assert (sent, "Alice") in [(event, body) for body, event in all_messages(zoe, room)]
    assert texts_of(zoe, room, since[zoe], len(wanted)) == heard, "everybody sees the same order"
