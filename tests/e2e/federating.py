"""What tests of federation share: a fresh user of the server that federates.  Modules import the fixture by its name."""

import itertools

import pytest

numbers = itertools.count(1)


@pytest.fixture
def alice(ours):
    return ours.register(f"alice{next(numbers)}")
