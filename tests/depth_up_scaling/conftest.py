"""Tiny random bases, written where a test wants them."""

import pytest
from tiny_families import write_random_base


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory):
    """A function: family, more config -> folder of a random model, written once."""
    made = {}

    def make(family, max_shard_size="5GB", **more):
        key = (family, max_shard_size, *sorted(more.items()))
        if key not in made:
            made[key] = tmp_path_factory.mktemp(family)
            write_random_base(made[key], family, max_shard_size, more)
        return made[key]

    return make
