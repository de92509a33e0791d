"""mount(8) and umount(8) themselves, with a scratch fstab, as root."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mount.conftest import run, wait_until

HELPER = Path("/sbin/mount.mtpfs")


@pytest.fixture
def helper() -> Iterator[None]:
    """Put the helper where mount(8) looks, unless one is installed there."""
    program = Path(sys.executable).parent / "mount.mtpfs"
    if os.geteuid() != 0:
        pytest.skip("only root can put a helper into /sbin")
    if HELPER.is_symlink() or HELPER.exists():
        pytest.skip(f"{HELPER} is installed already")
    HELPER.symlink_to(program)
    yield
    HELPER.unlink()


@pytest.mark.usefixtures("helper")
def test_mount_by_fstab(tmp_path: Path) -> None:
    """A line of fstab, with words that are not ours and an escaped space, is mounted and unmounted."""
    phone, mountpoint = tmp_path / "my phone", tmp_path / "mount"
    phone.mkdir()
    mountpoint.mkdir()
    (phone / "f").write_text("contents")
    fstab = tmp_path / "fstab"
    source = f"virtual:{phone}".replace(" ", "\\040")
    fstab.write_text(
        f"{source} {mountpoint} mtpfs noauto,user,nofail,x-systemd.automount,uid=1234,umask=077 0 0\n"
    )
    run("mount", "-T", fstab, mountpoint)
    try:
        (file,) = mountpoint.glob("*/f")
        assert file.read_text() == "contents"
        assert file.stat().st_uid == 1234
        shown = run("findmnt", "-n", "-t", "fuse.mtpfs", "-o", "OPTIONS", mountpoint).stdout
        assert {"noexec", "nosuid", "nodev"} <= set(shown.strip().split(","))
    finally:
        run("umount", mountpoint)
    wait_until(lambda: not os.path.ismount(mountpoint), "the unmount")


@pytest.mark.usefixtures("helper")
@pytest.mark.parametrize(
    ("source", "options", "status"),
    [("serial:none", "rw", 32), ("virtual:/tmp", "nonsense", 1), ("nonsense:1", "rw", 1)],
)
def test_failures_have_mounts_statuses(tmp_path: Path, source: str, options: str, status: int) -> None:
    """mount(8) hands on the helper's status and message."""
    result = run("mount", "-t", "mtpfs", source, tmp_path, "-o", options, check=False)
    assert result.returncode == status
    assert result.stderr.startswith("mtpfs: ")
