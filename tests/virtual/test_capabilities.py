"""The source argument `virtual:DIR?options`."""

from __future__ import annotations

from pathlib import Path

import pytest

from mtpfs.errors import SetupError
from mtpfs.protocol.codes import Operation
from mtpfs.virtual.capabilities import WORDS, Capabilities, parse_virtual

ANDROID = {
    *range(0x1001, 0x100E),
    0x1010,
    *range(0x1014, 0x1018),
    0x1019,
    0x101A,
    0x101B,
    *range(0x9801, 0x9806),
    *range(0x95C1, 0x95C6),
}
EDIT = {0x95C2, 0x95C3, 0x95C4, 0x95C5}


def test_the_default_is_android() -> None:
    """AOSP's list, without what it comments out."""
    assert set(Capabilities().operations) == ANDROID


@pytest.mark.parametrize(
    ("word", "missing"),
    [
        ("no-edit", EDIT),
        ("no-partial64", {0x95C1}),
        ("no-partial", {0x95C1, 0x101B}),
        ("no-proplist", {0x9805}),
        ("no-move", {0x1019}),
        ("no-copy", {0x101A}),
        ("no-rename", {0x9804}),
        ("samsung", EDIT | {0x95C1}),
    ],
)
def test_words_that_take_operations_away(root: Path, word: str, missing: set[int]) -> None:
    _, capabilities = parse_virtual(f"virtual:{root}?{word}")
    assert ANDROID - set(capabilities.operations) == missing


def test_several_words(root: Path) -> None:
    """Options add up, in any order; empty ones are none."""
    directories, capabilities = parse_virtual(f"virtual:{root}?no-edit&no-move&&serial=A1&model=Some phone&")
    assert directories == [root]
    assert capabilities.missing == EDIT | {Operation.MoveObject}
    assert (capabilities.serial, capabilities.model) == ("A1", "Some phone")


def test_storages_are_subdirectories(root: Path) -> None:
    """Made when they aren't there."""
    directories, capabilities = parse_virtual(f"virtual:{root}?storages=2")
    assert capabilities.storages == 2
    assert directories == [root / "Internal shared storage", root / "SD card"]
    assert all(directory.is_dir() for directory in directories)


def test_the_prefix_may_be_left_out(root: Path) -> None:
    assert parse_virtual(str(root)) == parse_virtual(f"virtual:{root}")


def test_the_serial_number_is_the_directory_s(root: Path, tmp_path: Path) -> None:
    """Two phones are two phones, and one stays itself."""
    other = tmp_path / "other"
    other.mkdir()
    serial = parse_virtual(f"virtual:{root}")[1].serial
    assert serial == parse_virtual(f"virtual:{root}/../phone?no-edit")[1].serial
    assert serial != parse_virtual(f"virtual:{other}")[1].serial


@pytest.mark.parametrize("name", ["a,b", "what?", "a?no-edit", "a&b=c"])
def test_odd_directory_names(tmp_path: Path, name: str) -> None:
    """The longest directory that exists wins, commas and question marks included."""
    directory = tmp_path / name
    directory.mkdir()
    assert parse_virtual(f"virtual:{directory}") == ([directory], parse_virtual(f"{directory}?")[1])
    assert parse_virtual(f"virtual:{directory}?read-only")[1].read_only


@pytest.mark.parametrize(
    "options", ["fast", "no-edit&fast", "storages=0", "storages=9", "storages=x", "serial=", "capacity=-1"]
)
def test_unknown_words(root: Path, options: str) -> None:
    """The message names the word, and those that are known."""
    with pytest.raises(SetupError) as caught:
        parse_virtual(f"virtual:{root}?{options}")
    assert repr(options.rsplit("&", maxsplit=1)[-1]) in str(caught.value)
    assert all(word in str(caught.value) for word in WORDS)


@pytest.mark.parametrize(
    "argument", ["virtual:/nowhere/at/all", "virtual:/nowhere/at/all?no-edit", "virtual:"]
)
def test_missing_directory(argument: str) -> None:
    with pytest.raises(SetupError, match=r"no directory '(/nowhere/at/all)?' "):
        parse_virtual(argument)


def test_storages_that_can_not_be_made(root: Path) -> None:
    (root / "SD card").write_text("in the way")
    with pytest.raises(SetupError, match="SD card"):
        parse_virtual(f"virtual:{root}?storages=2")
