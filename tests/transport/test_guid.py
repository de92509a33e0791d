"""What cameras know a user by: kept, private, the same for programs that start at once."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path
from typing import NoReturn

import pytest

from mtpfs.transport.guid import NAME, own_guid


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where it is kept."""

    def nobody(uid: int) -> NoReturn:
        raise KeyError(uid)

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr("mtpfs.state.pwd.getpwuid", nobody)  # and nowhere else
    return tmp_path / "state/mtpfs" / NAME


def test_it_stays(kept: Path) -> None:
    first = own_guid()
    assert len(first) == 16
    assert own_guid() == first
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert stat.S_IMODE(kept.parent.stat().st_mode) == 0o700
    assert os.listdir(kept.parent) == [NAME]


def test_programs_that_start_at_once(kept: Path) -> None:
    found: list[bytes] = []
    start = threading.Barrier(8)

    def ask() -> None:
        start.wait()
        found.append(own_guid())

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert set(found) == {own_guid()}
    assert os.listdir(kept.parent) == [NAME]


@pytest.mark.parametrize("text", [b"", b"abcd", b"\xff" * 40, b"zz" * 16])
def test_a_damaged_one_is_replaced(kept: Path, text: bytes) -> None:
    kept.parent.mkdir(parents=True, mode=0o700)
    kept.write_bytes(text)
    found = own_guid()
    assert own_guid() == found
    assert len(found) == 16


def test_others_lose_their_view(kept: Path) -> None:
    """A file that others can read is closed to them."""
    own_guid()
    kept.chmod(0o644)
    own_guid()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600


def test_no_link_is_followed(kept: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Not even one in our own directory: there is a number for this time, and the file it leads to stays."""
    other = tmp_path / "other"
    other.write_text("00" * 16)
    kept.parent.mkdir(parents=True, mode=0o700)
    kept.symlink_to(other)
    assert own_guid() != bytes(16)
    assert other.read_text() == "00" * 16
    assert "can't be kept" in caplog.text
