"""Errors on a real mount: what `cp` says when its file isn't wholly there."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from mount.conftest import Mount, run, served

LARGE = 3_000_000


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("fail SendObject code=StoreFull times=0", "No space left on device"),
        ("refuse SendObjectInfo code=StoreFull times=0", "No space left on device"),
        ("refuse SendObjectInfo code=StoreReadOnly times=0", "Read-only file system"),
        ("refuse SendObjectInfo code=ObjectTooLarge times=0", "File too large"),
        ("refuse SendObjectInfo code=AccessDenied times=0", "Permission denied"),
        ("fail SendObject times=0", "Input/output error"),
        ("stall-mid-data SendObject amount=1000000 times=0", "Input/output error"),
        ("silence-mid-data SendObject amount=1000000 times=0", "Input/output error"),
        ("gone-mid-data SendObject amount=1000000", "No such device"),
    ],
)
def test_copying_in(tmp_path: Path, fault: str, said: str) -> None:
    """cp fails with the reason, and the file that was to be replaced is whole."""
    phone, mountpoint = tmp_path / "phone", tmp_path / "mount"
    phone.mkdir()
    mountpoint.mkdir()
    (phone / "f").write_bytes(b"old")
    (tmp_path / "source").write_bytes(os.urandom(LARGE))
    with served(phone, mountpoint, fault) as mounted:
        for target in ("f", "new"):
            result = run("cp", tmp_path / "source", mounted.root / target, check=False)
            assert result.returncode == 1
            assert said in result.stderr
        assert (phone / "f").read_bytes() == b"old"
    # Before, another try may be under way.
    assert not (phone / "new").exists()
    assert (phone / "f").read_bytes() == b"old"


@pytest.mark.parametrize(
    "fault",
    [
        "stall-mid-data GetPartialObject64 amount=100000 skip=1 times=0",
        "truncated-data GetPartialObject64 amount=1000 skip=1 times=0",
        "refuse GetPartialObject64 skip=1 times=0",
        "silence GetPartialObject64 skip=1 times=0",
        "gone-mid-data GetPartialObject64 skip=1 amount=100000",
    ],
)
def test_copying_out(tmp_path: Path, fault: str) -> None:
    """cp out of the mount fails, too, rather than to make a short copy."""
    phone, mountpoint = tmp_path / "phone", tmp_path / "mount"
    phone.mkdir()
    mountpoint.mkdir()
    (phone / "f").write_bytes(os.urandom(LARGE))
    with served(phone, mountpoint, fault) as mounted:
        result = run("cp", mounted.root / "f", tmp_path / "copy", check=False)
        assert result.returncode == 1
        assert "f" in result.stderr


@pytest.mark.parametrize("code", ["InvalidObjectHandle", "InvalidStorageID", "GeneralError", "AccessDenied"])
def test_directory_that_is_refused(tmp_path: Path, code: str) -> None:
    """It isn't shown as empty: libc takes ENOENT for the end of a directory, so that is never the answer."""
    phone, mountpoint = tmp_path / "phone", tmp_path / "mount"
    (phone / "d").mkdir(parents=True)
    mountpoint.mkdir()
    (phone / "d/f").touch()
    with served(phone, mountpoint, f"refuse GetObjectHandles code={code} skip=1 times=0") as mounted:
        with pytest.raises(OSError) as caught:
            os.listdir(mounted.root / "d")
        assert caught.value.errno in {errno.ESTALE, errno.EIO, errno.EACCES}
        assert run("ls", mounted.root / "d", check=False).returncode


def test_saving_fails_in_fsync_or_close(tmp_path: Path) -> None:
    """The error comes where the program can hear it: in fsync, and in close if it doesn't call that."""
    phone, mountpoint = tmp_path / "phone", tmp_path / "mount"
    phone.mkdir()
    mountpoint.mkdir()
    with served(phone, mountpoint, "fail SendObject code=StoreFull times=0") as mounted:
        for call in (os.fsync, os.fdatasync, os.close):
            file = os.open(mounted.root / "f", os.O_CREAT | os.O_WRONLY)
            os.write(file, b"contents")
            with pytest.raises(OSError) as caught:
                call(file)
            assert caught.value.errno == errno.ENOSPC
            if call is not os.close:
                with pytest.raises(OSError):
                    os.close(file)
            assert os.listdir(phone) == []


def test_collisions(mount_phone: Callable[..., Mount]) -> None:
    """cp to a name that differs only in case from an existing one fails where it would destroy that."""
    mounted = mount_phone("case-insensitive")
    (mounted.root / "Photo.jpg").write_bytes(b"precious")
    (mounted.mountpoint.parent / "source").write_bytes(b"other")
    for name in ("photo.jpg", "PHOTO.JPG"):
        result = run("cp", mounted.mountpoint.parent / "source", mounted.root / name, check=False)
        assert result.returncode == 1
        assert "File exists" in result.stderr
    (mounted.root / "x").write_bytes(b"x")
    assert run("mv", mounted.root / "x", mounted.root / "PHOTO.jpg", check=False).returncode == 1
    assert run("mkdir", mounted.root / "photo.JPG", check=False).returncode == 1
    assert (mounted.phone / "Photo.jpg").read_bytes() == b"precious"
    assert sorted(os.listdir(mounted.phone)) == ["Photo.jpg", "x"]
