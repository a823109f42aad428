"""A gap before which another server's room has a large state: what is here already is neither fetched nor read again."""

import pytest

import harness
from big_gap import Large, measure_gap

pytestmark = pytest.mark.skipif(harness.os.environ.get("GREENROOM_SERVER") == "synapse", reason="our own listener")


def test_what_is_lacking_of_a_large_state_is_all_that_is_fetched_and_read(authority):
    """A fiftieth of the room that tests/bench/run --only gap measures."""
    large = Large(authority)
    got = measure_gap(large, state=400, older=2, lacking=10)
    large.close()
    assert 20 <= got["gap_events_fetched_total"] <= 30
    assert got["gap_events_loaded_total"] <= 120 and got["gap_headers_read_total"] <= 500
