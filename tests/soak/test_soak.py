"""A short soak, and what its model believes."""

from __future__ import annotations

import pytest

from mount.conftest import HAS_FUSE
from soak.course import soak, tell
from soak.model import Blend, File, Violation

SECONDS, SEED = 20, 7


@pytest.mark.skipif(not HAS_FUSE, reason="no /dev/fuse or no fusermount3")
def test_soak(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is lost, nothing hangs and nothing leaks; `make soak` does it for longer."""
    result = soak(SECONDS, SEED)
    with capsys.disabled():
        tell(result, SECONDS, SEED)
    assert result.problems == []
    assert result.faults.total() > 0
    assert result.tally.verified > result.tally.written > 0


def test_acknowledged_is_certain() -> None:
    """What was acknowledged is the only version; what has failed may be either."""
    file = File()
    file.acknowledged(b"one")
    with pytest.raises(Violation, match="nothing instead of 3 bytes"):
        file.check("here", None)
    file.written(b"two")
    assert file.allows(b"one")
    assert file.allows(b"two")
    assert not any(file.allows(content) for content in (None, b"", b"on", b"owo"))
    assert (file.certain, file.content) == (False, b"one")
    file.acknowledged(None)
    assert file.certain
    assert file.allows(None)
    assert not file.allows(b"one")


@pytest.mark.parametrize(
    ("old", "new", "fine", "wrong"),
    [
        (
            b"aaaaaa",
            b"aabbaa",
            [b"aaaaaa", b"aabbaa", b"aabaaa"],
            [b"aacaaa", b"aaaaa", b"baaaaa", b"aabbab"],
        ),
        (b"aaaa", b"aaaabbbb", [b"aaaa", b"aaaab", b"aaaabbbb", b"aaaa\0\0bb"], [b"aaa", b"aaaac", b"baaa"]),
        (b"aaaabbbb", b"aaaa", [b"aaaa", b"aaaabbbb", b"aaaabb"], [b"aaa", b"aaaaa", b"bbbb"]),
        (b"", b"abc", [b"", b"a", b"abc", b"\0bc"], [b"b", b"abcd"]),
    ],
)
def test_blend(old: bytes, new: bytes, fine: list[bytes], wrong: list[bytes]) -> None:
    """Each byte of a change in place that broke off is the old or the new one, or a hole."""
    blend = Blend(old, new)
    assert [content for content in fine if not blend.holds(content)] == []
    assert [content for content in wrong if blend.holds(content)] == []
