"""Other people's programs on mounts of the virtual phone: `make programs-test`, which installs them.

A test fails where a program reports an error, finds other bytes than it wrote, or does work twice that was done.
"""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from mount.conftest import Mount, mount_phone, pytest_collection_modifyitems, run, wait_until
from mtpfs.virtual.capabilities import WORDS

__all__ = ["mount_phone", "pytest_collection_modifyitems"]

KINDS = ("as=android14", "as=sailfish", "as=tizen", "as=camera")
"""The kinds of phone that every program is tried on."""
READ_ONLY = frozenset({"as=camera"})
"""The kinds that can only be read."""

_KNOWN = KINDS if "as=" in WORDS else ("",)
_IDS = {kind: kind.removeprefix("as=") or "phone" for kind in _KNOWN}
_SIZES = (0, 1, 511, 512, 4096, 70_001, 1_300_000)
_DATES = 1_500_000_000


@pytest.fixture(params=[kind for kind in _KNOWN if kind not in READ_ONLY], ids=_IDS.get)
def mounted(request: pytest.FixtureRequest, mount_phone: Callable[..., Mount]) -> Mount:
    """A mount of each kind of phone that can be written to."""
    return mount_phone(request.param)


@pytest.fixture(params=_KNOWN, ids=_IDS.get)
def filled(request: pytest.FixtureRequest, mount_phone: Callable[..., Mount], tmp_path: Path) -> Mount:
    """A mount of each kind of phone, with a tree of files in the directory `tree`."""
    mounted = mount_phone(request.param)
    put_on_phone(make_tree(tmp_path / "tree"), mounted)
    return mounted


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree of files on this machine's disk."""
    return make_tree(tmp_path / "tree")


def program(*words: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a program that has to succeed; where it doesn't, its own words are the failure."""
    result = run(*words, check=False, cwd=cwd)
    told = f"{result.stdout}{result.stderr}".strip()
    assert result.returncode == 0, f"{' '.join(map(str, words))}: status {result.returncode}: {told[-3000:]}"
    return result


def put_on_phone(path: Path, mounted: Mount) -> None:
    """Move a file or a tree onto the phone behind the mount's back, and wait until the mount shows it."""
    path.rename(mounted.phone / path.name)
    wait_until((mounted.root / path.name).exists, "the appearance of what is new on the phone")


def make_tree(directory: Path) -> Path:
    """Make files of telling sizes in three directories, dated to the nanosecond; give back the directory."""
    dice = random.Random(1)
    for name in ("", "photos", "photos/summer 2024"):
        (directory / name).mkdir(parents=True)
        for size in _SIZES:
            (directory / name / f"{size} bytes.dat").write_bytes(dice.randbytes(size))
    for number, path in enumerate(sorted(directory.rglob("*.dat"))):
        os.utime(path, ns=((_DATES + number) * 10**9 + 123_456_789,) * 2)
    return directory


def contents(directory: Path) -> dict[str, str]:
    """Return each file's path and a digest of its contents."""
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in directory.rglob("*")
        if path.is_file()
    }


def dates(directory: Path) -> dict[str, int]:
    """Return each file's path and its date in whole seconds, which is what MTP carries."""
    return {
        str(path.relative_to(directory)): path.stat().st_mtime_ns // 10**9
        for path in directory.rglob("*")
        if path.is_file()
    }
