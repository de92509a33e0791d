"""A few hundred orders of events; `make stress` goes on with others."""

from __future__ import annotations

import pytest

from stress.run import play

BLOCK = 20


@pytest.mark.parametrize("block", range(10))
def test_stress(block: int) -> None:
    """No order of events loses anything, hangs, or leaves anything behind."""
    for seed in range(block * BLOCK, (block + 1) * BLOCK):
        play(seed)


def test_one_seed_is_one_order() -> None:
    """The same seed does the same things at the same times."""
    for seed in range(5):
        assert play(seed).log == play(seed).log
