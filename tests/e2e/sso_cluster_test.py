"""Single sign-on on three nodes: counted where the request came in, and begun again when a node dies in the middle."""

import time
from urllib.request import urlopen

import pytest

import harness
from identity import APP, Browser, Provider, SsoCluster, token_in, use


@pytest.fixture
def corp():
    provider = Provider("corp")
    yield provider
    provider.stop()


@pytest.fixture
def cluster(corp):
    running = SsoCluster([corp], **{"public_base_url": "http://greenroom.example", "sso.trusted_clients": APP})
    running.start()
    yield running
    running.stop()
    running.remove()


def counters(node, name):
    with urlopen(f"http://127.0.0.1:{node.metrics_port}/metrics", timeout=30) as answer:
        rows = [line.rsplit(" ", 1) for line in answer.read().decode().splitlines() if line.startswith(f'{name}{{auth_provider="corp"}}')]
    assert len(rows) == 1
    return int(rows[0][1])


def flow_of(url):
    return url.split("state=")[1].split("&")[0]


def come_back(browser, corp, url, person, node):
    return browser.follow(corp.grant(url, person).replace("http://greenroom.example", node.base), base=node.base)


def begin_at(cluster, owner, node):
    """A login begun over one node whose login actor lives on another.  New ones live where they begin, so it is begun there."""
    browser = Browser(owner.base)
    url = browser.begin("corp")
    assert cluster.owner(flow_of(url)) is owner
    return browser, url


def test_a_login_is_counted_on_the_node_that_was_asked(cluster, corp):
    first, third = cluster.node(1), cluster.node(3)
    browser, url = begin_at(cluster, first, third)
    page = come_back(browser, corp, url, {"sub": "1", "preferred_username": "anna"}, third)
    use(third.base, token_in(page)).ok()
    for name in ("greenroom_user_logins_total", "greenroom_user_registrations_total"):
        assert [counters(node, name) for node in cluster.nodes] == [0, 0, 1], name


def test_a_login_whose_node_dies_is_begun_again_and_leaves_nothing_half_made(cluster, corp):
    first, second, third = cluster.nodes
    person = {"sub": "2", "preferred_username": next(
        name for name in (f"bert{n}" for n in range(1000)) if cluster.owner(f"@{name}:{harness.SERVER_NAME}") is third)}
    browser, url = begin_at(cluster, second, first)
    second.kill9()
    assert come_back(browser, corp, url, person, first).status == 503
    harness.Client(third.base).get_(f"/register/available?username={person['preferred_username']}").ok()
    end = time.monotonic() + 60
    while True:  # New logins begin on nodes that can be reached; the subject's record may lie on one that can't yet.
        again = Browser(first.base)
        page = come_back(again, corp, again.begin("corp"), person, first)
        if page.location:
            break
        assert page.status == 503 and time.monotonic() < end, page.text
        if second.process is None:
            second.start()
            second.wait_linked()
    user = use(first.base, token_in(page)).ok()
    assert user["user_id"] == f"@{person['preferred_username']}:{harness.SERVER_NAME}"
