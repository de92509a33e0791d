"""What is gathered is what is sent, however it came and in whatever steps it goes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mtpfs.vfs.pieces import SMALL, Pieces

SIZES = st.lists(st.one_of(st.integers(0, 9), st.integers(SMALL - 2, SMALL + 2)), max_size=12)


@given(SIZES, st.integers(997, SMALL + 3))
def test_all_arrives_in_order(sizes: list[int], step: int) -> None:
    """Twice, too: what failed is sent again from the same source."""
    pieces = Pieces()
    expected = b""
    for number, size in enumerate(sizes):
        data = bytes([number % 251]) * size
        pieces.add(data)
        expected += data
    assert len(pieces) == len(expected)
    assert pieces.joined() == expected
    source = pieces.source()
    assert source.size == len(expected)
    for _ in range(2):
        sent = b""
        while len(sent) < source.size:
            room = memoryview(bytearray(min(step, source.size - len(sent))))
            assert source.fill(len(sent), room) == len(room)
            sent += room
        assert sent == expected
    assert source.fill(source.size, memoryview(bytearray(1))) == 0


@given(SIZES)
def test_cleared(sizes: list[int]) -> None:
    """Nothing is left of it."""
    pieces = Pieces()
    for size in sizes:
        pieces.add(bytes(size))
    pieces.clear()
    pieces.add(b"new")
    assert pieces.joined() == b"new"


def test_small_ones_are_joined() -> None:
    """A megabyte, byte by byte, is no list of a million."""
    pieces = Pieces()
    for _ in range(1 << 16):
        pieces.add(b"x")
    assert len(pieces._pieces) == 1
