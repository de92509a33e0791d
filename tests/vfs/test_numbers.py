"""Inode numbers: the same at every mount, and never two files with one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from mtpfs.vfs.numbers import Numbers, _hash

PATHS = st.lists(st.text(st.characters(codec=None, exclude_categories=())), max_size=30)


def few_bits(data: bytes) -> int:
    """Return a hash that collides all the time."""
    return _hash(data) & 63


@given(PATHS)
def test_the_same_at_every_mount(paths: list[str]) -> None:
    """Two mounts that meet the same paths give them the same numbers."""
    one, other = Numbers(), Numbers()
    assert [one.take(path) for path in paths] == [other.take(path) for path in paths]


@given(st.lists(st.text(), unique=True, max_size=30))
def test_the_order_makes_no_difference(paths: list[str]) -> None:
    """Without a collision a path's number depends on nothing but the path."""
    one, other = Numbers(), Numbers()
    numbers = {path: one.take(path) for path in paths}
    assert {path: other.take(path) for path in reversed(paths)} == numbers


def test_a_number_is_for_ever() -> None:
    """Other versions of mtpfs give the same numbers, or backup programs read all again."""
    assert Numbers().take("Internal storage/DCIM/Camera/photo.jpg") == 4690365592952101533


@given(PATHS, st.sets(st.integers(0, 20)))
def test_never_twice(paths: list[str], reserved: set[int]) -> None:
    """However often the hash collides, every number is given once and none that is reserved."""
    numbers = Numbers(reserved, hashed=few_bits)
    given_ = [numbers.take(path) for path in paths]
    assert len(set(given_)) == len(given_)
    assert not set(given_) & ({0, 1} | reserved)


@given(st.text(), st.integers(0, 2**64 - 1))
def test_below_two_to_the_63(path: str, value: int) -> None:
    """Whatever the hash is, the number is one that FUSE and 64-bit programs can take."""
    values = iter((value, 5, 6))
    assert 2 <= Numbers(hashed=lambda data: next(values)).take(path) < 2**63


def test_only_after_forget() -> None:
    """A new file under the path of one that the kernel still knows gets another number."""
    numbers = Numbers()
    first = numbers.take("storage/file")
    second = numbers.take("storage/file")
    assert second != first
    numbers.release(first)
    assert numbers.take("storage/file") == first
    with pytest.raises(KeyError):
        numbers.release(17)


class Mounted(RuleBasedStateMachine):
    """Files come and go, with a hash of six bits."""

    live = Bundle("live")

    def __init__(self) -> None:
        super().__init__()
        self.numbers = Numbers({7, 8}, hashed=few_bits)
        self.known: list[int] = []

    @rule(target=live, path=st.text(max_size=3))
    def take(self, path: str) -> int:
        number = self.numbers.take(path) if len(self.known) < 30 else -1
        if number >= 0:
            assert number not in self.known
            self.known.append(number)
        return number

    @rule(number=consumes(live))
    def release(self, number: int) -> None:
        if number >= 0:
            self.known.remove(number)
            self.numbers.release(number)

    @invariant()
    def never_reserved(self) -> None:
        assert not {0, 1, 7, 8} & set(self.known)


TestMounted = Mounted.TestCase
