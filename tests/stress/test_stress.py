"""A few hundred orders of events; `make stress` goes on with others."""

from __future__ import annotations

import pytest

from stress.rounds import PHONES, Rounds
from stress.run import play

BLOCK = 20
ROUNDS = 8  # `python -m stress --rounds 400` makes more


@pytest.mark.parametrize("block", range(10))
def test_stress(block: int) -> None:
    """No order of events loses anything, hangs, or leaves anything behind."""
    for seed in range(block * BLOCK, (block + 1) * BLOCK):
        play(seed)


def test_one_seed_is_one_order() -> None:
    """The same seed does the same things at the same times."""
    for seed in range(5):
        assert play(seed).log == play(seed).log


@pytest.mark.parametrize("words", PHONES)
def test_rounds_of_one_name(words: str) -> None:
    """Create, replace, rename over, delete, mkdir of one name, beside a reader and 16 writers."""
    run = play(7, lambda seed, phone: Rounds(seed, phone, words, ROUNDS))
    assert run.ledger.changes
