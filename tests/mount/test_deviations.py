"""The man page's list of deviations from POSIX, each of them looked at on a mount: as it says, and no more than it says."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from equipment.conversation import conversation
from mount.conftest import Mount, contents, run, virtual_mount, wait_until

MAN = Path(__file__).parents[2] / "man" / "mtpfs.1"
Check = Callable[[Callable[..., Mount]], None]

CHECKS: dict[str, Check] = {}


def deviation(title: str) -> Callable[[Check], Check]:
    def register(check: Check) -> Check:
        CHECKS[title] = check
        return check

    return register


def fails(code: int, call: Callable[[], object]) -> None:
    with pytest.raises(OSError) as caught:
        call()
    assert errno.errorcode[caught.value.errno or 0] == errno.errorcode[code]


@deviation("Owners and modes")
def owners(mount_phone: Callable[..., Mount]) -> None:
    path = mount_phone().root / "f"
    path.touch()
    before = path.stat()
    path.chmod(0o777)
    os.chown(path, os.getuid(), os.getgid())
    assert (path.stat().st_mode, path.stat().st_uid) == (before.st_mode, before.st_uid)


@deviation("Links and special files")
def links(mount_phone: Callable[..., Mount]) -> None:
    root = mount_phone().root
    (root / "f").touch()
    fails(errno.EPERM, lambda: os.link(root / "f", root / "g"))
    fails(errno.EPERM, lambda: (root / "g").symlink_to("f"))
    fails(errno.EPERM, lambda: os.mkfifo(root / "g"))
    assert os.listdir(root) == ["f"]


@deviation("Trash")
def trash(mount_phone: Callable[..., Mount]) -> None:
    mounted = mount_phone()
    (mounted.phone / "f").touch()
    one = mounted.mountpoint.with_name("one storage")
    one.mkdir()
    with virtual_mount(mounted.phone, one, "", "-o", f"storage={mounted.root.name}"):
        for mountpoint in (mounted.mountpoint, one):
            before = os.listdir(mountpoint)
            for name in (".Trash", ".Trash-1000"):
                fails(errno.EPERM, (mountpoint / name).mkdir)
                fails(errno.EPERM, (mountpoint / name).touch)
            assert os.listdir(mountpoint) == before


@deviation("Extended attributes")
def attributes(mount_phone: Callable[..., Mount]) -> None:
    path = mount_phone().root / "f"
    path.touch()
    fails(errno.EOPNOTSUPP, lambda: os.setxattr(path, "user.x", b"x"))
    fails(errno.EOPNOTSUPP, lambda: os.getxattr(path, "user.x"))


@deviation("Dates of existing files")
def dates(mount_phone: Callable[..., Mount]) -> None:
    path = mount_phone().root / "f"
    path.write_text("x")
    os.utime(path, (1, 1))
    assert path.stat().st_mtime == 1
    path.write_text("y")
    assert path.stat().st_mtime > 1


@deviation("Other times")
def times(mount_phone: Callable[..., Mount]) -> None:
    mounted = mount_phone()
    root = mounted.root
    (root / "f").write_text("x")
    status = (root / "f").stat()
    assert status.st_atime == status.st_ctime == status.st_mtime == int(status.st_mtime)
    (root / "d").mkdir()
    os.utime(root / "d", (1, 1))
    assert (root / "d").stat().st_mtime == 1
    (root / "d/f").touch()
    assert (root / "d").stat().st_mtime > 1
    assert (mounted.phone / "d").stat().st_mtime > 1


@deviation("Errors come late")
def late(mount_phone: Callable[..., Mount]) -> None:
    mounted = mount_phone("capacity=1000")
    file = os.open(mounted.root / "f", os.O_CREAT | os.O_WRONLY)
    assert os.write(file, bytes(5000)) == 5000
    assert os.listdir(mounted.phone) == []
    fails(errno.ENOSPC, lambda: os.fsync(file))
    fails(errno.ENOSPC, lambda: os.close(file))
    assert os.listdir(mounted.root) == []


@deviation("Names")
def names(mount_phone: Callable[..., Mount]) -> None:
    root = mount_phone("case-insensitive").root
    fails(errno.EILSEQ, lambda: os.open(os.fsencode(root) + b"/\xff", os.O_CREAT | os.O_WRONLY))
    fails(errno.ENAMETOOLONG, (root / ("n" * 255)).touch)
    (root / ("n" * 254)).touch()
    (root / "a").touch()
    fails(errno.EEXIST, (root / "A").mkdir)
    fails(errno.EINVAL, (root / ".mtpfs-new-4f2a91-1c8-NAME").touch)
    card = mount_phone("storages=2").mountpoint / "SD card"
    for name in ("a:b", "a?", "x.", "x "):
        fails(errno.EINVAL, (card / name).touch)
    assert os.listdir(card) == []


@deviation("Renaming")
def renaming(mount_phone: Callable[..., Mount]) -> None:
    for words in ("no-move", "no-rename"):
        root = mount_phone(words).root
        (root / "f").write_text("f")
        (root / "d").mkdir()
        place = "d/f" if words == "no-move" else "d/g"  # without a new name it is only a move
        fails(errno.EXDEV, lambda root=root, place=place: (root / "f").rename(root / place))  # type: ignore[misc]
        if words == "no-rename":
            (root / "f").rename(root / "g")  # small enough to be sent anew
            (root / "g").rename(root / "f")
        run("mv", root / "f", root / "d/g")
        assert (root / "d/g").read_text() == "f"
    two = mount_phone("storages=2")
    (two.root / "f").write_text("f")
    other = two.mountpoint / "SD card"
    fails(errno.EXDEV, lambda: (two.root / "f").rename(other / "f"))
    (two.root / "g").touch()
    exchanged = run(
        "python3",
        "-c",
        "import ctypes, os, sys\n"
        "status = ctypes.CDLL(None, use_errno=True).renameat2(-100, os.fsencode(sys.argv[1]), -100,"
        " os.fsencode(sys.argv[2]), 2)\n"
        "print(status, ctypes.get_errno())",
        two.root / "f",
        two.root / "g",
    ).stdout
    assert exchanged.split() == ["-1", str(errno.EINVAL)]


@deviation("Replacing and crashes")
def replacing(mount_phone: Callable[..., Mount]) -> None:
    """test_killed.py and tests/vfs/test_every_step.py have all of it; here is what is seen of it."""
    mounted = mount_phone()
    (mounted.phone / ".mtpfs-old-4f2a91-1c8-NAME").write_text("put aside")
    (mounted.phone / ".mtpfs-new-4f2a91-1c8-other").write_text("not 0x1c8 bytes")
    assert sorted(os.listdir(mounted.root)) == [".mtpfs-new-4f2a91-1c8-other", "NAME"]
    assert sorted(os.listdir(mounted.phone)) == [".mtpfs-new-4f2a91-1c8-other", "NAME"]


@deviation("Deleted files that are open")
def deleted(mount_phone: Callable[..., Mount]) -> None:
    for words, remains in (("", 1), ("no-rename", 0)):
        mounted = mount_phone(words)
        (mounted.root / "d").mkdir()
        (mounted.root / "d/f").write_text("contents")
        with (mounted.root / "d/f").open() as file:
            (mounted.root / "d/f").unlink()
            assert len(os.listdir(mounted.phone / "d")) == remains
            assert os.listdir(mounted.root / "d") == []
            if remains:
                fails(errno.ENOTEMPTY, (mounted.root / "d").rmdir)
            assert file.read() == "contents"
        run("rmdir", mounted.root / "d")


@deviation("Allocating space")
def allocating(mount_phone: Callable[..., Mount]) -> None:
    mounted = mount_phone()
    result = run("fallocate", "-l", "1000", mounted.root / "f", check=False)
    assert result.returncode
    assert "not supported" in result.stderr
    with (mounted.root / "f").open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, 1000)  # the C library writes zeros then
        file.seek(1_000_000)
        file.write(b"end")
    assert (mounted.root / "f").stat().st_blocks * 512 >= 1_000_000


@deviation("Inode numbers")
def numbers(mount_phone: Callable[..., Mount]) -> None:
    mounted = mount_phone()
    (mounted.root / "f").write_text("f")
    before = (mounted.root / "f").stat().st_ino
    (mounted.root / "f").write_text("other")
    (mounted.root / "f").rename(mounted.root / "g")
    assert (mounted.root / "g").stat().st_ino == before


@deviation("Space")
def space(mount_phone: Callable[..., Mount]) -> None:
    mounted = mount_phone("storages=2&capacity=4096000")
    for path in (mounted.root, mounted.mountpoint):
        assert os.statvfs(path).f_blocks == 2000
        assert os.statvfs(path).f_files == 0


@deviation("Reserved names")
def reserved(mount_phone: Callable[..., Mount]) -> None:
    """Only a fault makes one: tests/vfs/test_every_step.py. A refusal by itself reserves nothing."""
    mounted = mount_phone("capacity=1000")
    fails(errno.ENOSPC, lambda: (mounted.root / "f").write_bytes(bytes(2000)))
    (mounted.root / "f").write_bytes(b"small")
    assert (mounted.phone / "f").read_bytes() == b"small"


@deviation("Changes by others")
def others(mount_phone: Callable[..., Mount]) -> None:
    mounted = mount_phone("no-events", "-o", "ttl=1")
    assert os.listdir(mounted.root) == []
    (mounted.phone / "f").touch()
    wait_until(lambda: os.listdir(mounted.root) == ["f"], "the sight of a new file")


@deviation("Unplugging")
def unplugging(mount_phone: Callable[..., Mount]) -> None:
    mounted = mount_phone(control="control")
    (mounted.root / "f").write_bytes(b"old")
    with conversation(mounted.mountpoint.with_name("control")) as say:
        file = os.open(mounted.root / "f", os.O_WRONLY | os.O_TRUNC)
        os.write(file, b"contents")
        say("unplug")
        fails(errno.ENODEV, lambda: os.fsync(file))
        fails(errno.ENODEV, lambda: os.listdir(mounted.root))
        fails(errno.ENODEV, lambda: os.close(file))
        assert (mounted.phone / "f").read_bytes() == b"old"
        say("plug")
        wait_until(lambda: contents(mounted.phone / "f") == b"contents", "the arrival of what was kept")
        wait_until(lambda: os.listdir(mounted.phone) == ["f"], "the end of the saving")


def titles() -> list[str]:
    caveats = MAN.read_text().partition(".Sh CAVEATS")[2]
    return re.findall(r"^\.It (.*)$", caveats, re.MULTILINE)


def test_all_are_looked_at() -> None:
    """Every deviation in the man page has a check here, and the other way round."""
    assert titles() == list(CHECKS)


@pytest.mark.parametrize("title", CHECKS)
def test_as_the_man_page_says(mount_phone: Callable[..., Mount], title: str) -> None:
    """Each deviation is as the man page says."""
    CHECKS[title](mount_phone)
