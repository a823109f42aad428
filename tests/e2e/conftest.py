"""pytest fixtures of the end-to-end tests.  GREENROOM_SERVER chooses the server (greenroom or synapse)."""

import itertools
import os

import pytest

import harness
import leaks
from remote import Authority, Remote, federating

KIND = os.environ.get("GREENROOM_SERVER") or "greenroom"
numbers = itertools.count(1)


def pytest_configure(config):
    leaks.listen()
    harness.message_logs = itertools.cycle(("full", "on"))  # Both are looked through in the end.
    config.addinivalue_line(
        "markers", "covers(*routes): the routes a test shows to work; docs/conformance.md is made from it"
    )
    config.addinivalue_line(
        "markers", "synapse_deviates(why): Synapse does not do what the specification asks for here"
    )


def pytest_collection_modifyitems(items):
    for item in items:
        deviation = item.get_closest_marker("synapse_deviates")
        if deviation and KIND == "synapse":
            item.add_marker(pytest.mark.xfail(reason=deviation.args[0], strict=False, **deviation.kwargs))


def pytest_sessionfinish(session):
    """No log, message log, trace or metric of any server of the run may tell a secret."""
    harness.remove_all()
    if harness.leaked and KIND != "synapse":
        print("\nsecrets were left behind:", *harness.leaked[:20], sep="\n")
        session.exitstatus = 1


@pytest.fixture(scope="session")
def server():
    running = harness.make_server(KIND).start()
    yield running
    running.stop()
    running.remove()


@pytest.fixture(scope="module")
def cluster():
    """Three nodes; all of them run again when the tests of the module are over, and end as they should."""
    running = harness.Cluster().start()
    yield running
    codes = running.stop()
    running.remove()
    assert codes == [0, 0, 0]


@pytest.fixture(scope="module")
def authority():
    return Authority()


@pytest.fixture(scope="module")
def ours(authority):
    """A server that federates by the authority."""
    running = federating(authority).start()
    yield running
    running.stop()
    running.remove()


@pytest.fixture(scope="module")
def remote(authority):
    """A scripted server; modules whose tests need more of it make their own."""
    running = Remote(authority)
    yield running
    running.close()


@pytest.fixture(scope="session")
def new_user(server):
    """Registers a fresh user; use it where a test looks at everything its user gets by /sync."""

    def make(name="user", **more):
        return server.register(f"{name}{next(numbers)}", **more)

    return make


@pytest.fixture(scope="module")
def alice(new_user):
    return new_user("alice")


@pytest.fixture(scope="module")
def bob(new_user):
    return new_user("bob")


@pytest.fixture(scope="module")
def carol(new_user):
    return new_user("carol")


@pytest.fixture
def room(alice, bob):
    """A public room that Alice made and Bob joined."""
    made = alice.create()
    bob.join(made).ok()
    return made
