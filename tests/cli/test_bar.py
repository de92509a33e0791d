"""The bar: always one line, however narrow the terminal and wide the name is."""

from __future__ import annotations

import pytest

from mtpfs.cli.bar import Bar, cells, columns, cut, rate_of, time_of
from mtpfs.cli.files import short

NAMES = (
    "IMG_1.jpg",
    "a" * 300,
    "\N{CJK UNIFIED IDEOGRAPH-5B57}" * 60,
    "e\N{COMBINING ACUTE ACCENT}" * 80,
    "x\x1b[2Jy",
)


@pytest.mark.parametrize("width", [10, 40, 60, 80, 200])
@pytest.mark.parametrize("name", NAMES)
def test_one_line(name: str, width: int) -> None:
    """It fits, and has nothing in it that the terminal would obey."""
    bar = Bar(12, 10_000_000, width=width)
    bar.start(name, 5_000_000)
    bar.advance(1_250_000, 5_000_000)
    line = bar.line(width)
    assert columns(line) < width
    assert "\x1b" not in line


def test_figures() -> None:
    """The file's share, the number of files, the share of all."""
    bar = Bar(3, 10_000_000, width=100)
    bar.start("first", 5_000_000)
    bar.end(moved=True)
    bar.start("second", 4_000_000)
    bar.advance(2_000_000, 4_000_000)
    line = bar.line(100)
    assert line.startswith("second ")
    for part in (" 50% ", " 2/3 ", " 70% "):
        assert part in line


def test_nothing_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """In a pipe, and in a log, there is no bar."""
    bar = Bar(1, 10)
    bar.start("f", 10)
    bar.advance(10, 10)
    bar.end(moved=True)
    bar.clear()
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(("share", "full"), [(-1.0, 0), (0.0, 0), (0.5, 8), (1.0, 16), (2.0, 16)])
def test_cells(share: float, full: int) -> None:
    """The bar is always equally long."""
    assert len(cells(share)) == 16
    assert cells(share).count("█") == full


@pytest.mark.parametrize(
    ("text", "room", "result"),
    [("short", 10, "short"), ("abcdefgh", 5, "ab…gh"), ("abcdefgh", 4, "ab…h"), ("字字字字", 5, "字…字")],
)
def test_cut(text: str, room: int, result: str) -> None:
    """What is too long loses its middle, because the end has the number."""
    assert cut(text, room) == result


def test_figures_for_people() -> None:
    """Sizes as coreutils has them, times, rates."""
    sizes = {
        17: "17",
        1023: "1023",
        1024: "1.0K",
        4000: "3.9K",
        340 << 10: "340K",
        1 << 20: "1.0M",
        3 << 40: "3.0T",
    }
    assert {size: short(size) for size in sizes} == sizes
    assert [time_of(seconds) for seconds in (0, 65, 7384, None)] == ["0:00", "1:05", "2:03:04", "-:--"]
    assert rate_of(38_240_000) == "  38.2 MB/s"
