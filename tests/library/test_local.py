"""The parts of downloads: which of them goes when, and what looking for them costs."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path
from typing import Any

import pytest

from mtpfs.library.local import Part, Parts


def _left(parts: Parts, target: Path, key: str) -> Path:
    """Leave an unfinished part, as a cable that is pulled does."""
    part = parts.begin(target, key=key, resume=True, replace=True)
    part.append(b"the beginning")
    parts.end(part)
    return part.path


@pytest.mark.parametrize("same_program", [False, True])
def test_outdated_parts_go(tmp_path: Path, *, same_program: bool) -> None:
    """A part of what the file was before goes, whoever left it; those of other files, and what only looks so, stay."""
    parts, target = Parts(), tmp_path / "f"
    outdated, others = _left(parts, target, "before"), _left(parts, tmp_path / "g", "before")
    foreign = tmp_path / ".f.mtpfs-notes.part"
    foreign.write_text("a user's own")
    part = (parts if same_program else Parts()).begin(target, key="now", resume=True, replace=True)
    assert (outdated.exists(), others.exists(), foreign.exists(), part.size) == (False, True, True, 0)
    part.close()


def test_part_that_is_gone_on_with(tmp_path: Path) -> None:
    parts, target = Parts(), tmp_path / "f"
    path = _left(parts, target, "now")
    part = parts.begin(target, key="now", resume=True, replace=True)
    assert (part.path, part.size) == (path, len(b"the beginning"))
    part.finish(None, 1_500_000_000.0, replace=True)
    parts.end(part)
    assert os.listdir(tmp_path) == ["f"]


def test_each_directory_is_looked_through_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many files come into it: else each of them costs more than the one before."""
    looks: list[object] = []
    scandir = os.scandir

    def counted(*args: Any) -> Any:
        looks.append(args)
        return scandir(*args)

    monkeypatch.setattr(os, "scandir", counted)
    parts = Parts()
    for number in range(20):
        part = parts.begin(tmp_path / f"{number}", key="k", resume=True, replace=False)
        assert isinstance(part, Part)
        part.append(b"all of it")
        part.finish(9, None, replace=False)
        parts.end(part)
    assert len(looks) == 1
    assert len(os.listdir(tmp_path)) == 20


@pytest.mark.parametrize("replace", [True, False])
def test_finished_before_it_was_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, replace: bool
) -> None:
    """A part that another program finishes right then is a file by now, and not to be emptied."""
    target, flock = tmp_path / "f", fcntl.flock
    first = Parts().begin(target, key="k", resume=False, replace=replace)
    first.append(b"all of it")

    def late(descriptor: int, operation: int) -> None:
        monkeypatch.setattr(fcntl, "flock", flock)
        first.finish(9, None, replace=replace)
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    second = Parts().begin(target, key="k", resume=False, replace=replace)
    second.append(b"other")
    assert target.read_bytes() == b"all of it"
    second.close()
    assert os.listdir(tmp_path) == ["f"]


def test_permissions_stay(tmp_path: Path) -> None:
    """What nobody else could read nobody else can read afterwards, nor while it is on its way."""
    target = tmp_path / "f"
    target.write_bytes(b"old")
    target.chmod(0o600)
    part = Parts().begin(target, key="k", resume=True, replace=True)
    assert part.path.stat().st_mode & 0o777 == 0o600
    part.finish(None, None, replace=True)
    assert target.stat().st_mode & 0o777 == 0o600


def test_a_full_disk_is_told_of_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part = Parts().begin(tmp_path / "f", key="k", resume=True, replace=True)

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OSError, match="No space left") as raised:
        part.append(b"data")
    assert raised.value.filename == str(tmp_path / "f")
    part.close()
