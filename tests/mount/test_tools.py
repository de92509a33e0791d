"""Programs that people use, on mounts of every kind of phone, byte-exact."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from mount.conftest import MTPFS, PATIENCE, Mount, run, wait_until

SIZES = (0, 1, 500, 501, 1012, 4084, 16372, 131072, 1048564, 5_000_001)


def test_copy_in_and_out(mounted: Mount, tmp_path: Path) -> None:
    """cp in and cp out give what was there, for sizes around packets and windows."""
    for size in SIZES:
        source = tmp_path / f"in{size}"
        source.write_bytes(os.urandom(size))
        run("cp", source, mounted.root)
        if not size:
            wait_until((mounted.phone / source.name).exists, "an empty file's arrival")
        run("cmp", source, mounted.phone / source.name)
        foreign = mounted.phone / f"out{size}"
        (tmp_path / "draft").write_bytes(os.urandom(size))
        (tmp_path / "draft").rename(foreign)  # it is announced when it is whole
        wait_until((mounted.root / foreign.name).exists, "the appearance of a new file")
        run("cp", mounted.root / foreign.name, tmp_path)
        run("cmp", foreign, tmp_path / foreign.name)


def test_overwriting_leaves_one_whole_file(mounted: Mount, tmp_path: Path) -> None:
    """Longer and shorter contents replace each other, and no temporary object stays."""
    for size in (300_000, 10, 2_000_000, 0, 77):
        source = tmp_path / "source"
        source.write_bytes(os.urandom(size))
        run("cp", source, mounted.root / "target")
        with (mounted.root / "target").open("rb") as file:
            os.fsync(file)  # an empty file is sent by the last close, which isn't waited for
        run("cmp", source, mounted.phone / "target")
    assert [path.name for path in mounted.phone.iterdir()] == ["target"]


def test_dates_are_kept(mounted: Mount, tmp_path: Path) -> None:
    """cp -p keeps the date, on the mount and on the phone."""
    source = tmp_path / "source"
    source.write_bytes(b"x")
    os.utime(source, (1_500_000_000, 1_500_000_000))
    run("cp", "-p", source, mounted.root)
    assert (mounted.root / "source").stat().st_mtime == 1_500_000_000
    assert (mounted.phone / "source").stat().st_mtime == 1_500_000_000


def test_rsync(mounted: Mount, tmp_path: Path) -> None:
    """rsync -r copies a tree in and out."""
    tree = tmp_path / "tree"
    for number in range(5):
        (tree / f"d{number}/e").mkdir(parents=True)
        (tree / f"d{number}/e/file {number}").write_bytes(os.urandom(number * 1000))
    run("rsync", "-r", tree, mounted.root)
    run("diff", "-r", tree, mounted.phone / "tree")
    run("rsync", "-r", f"{mounted.root}/tree/", tmp_path / "back")
    run("diff", "-r", tree, tmp_path / "back")


def test_rsync_keeps_dates(mounted: Mount, tmp_path: Path) -> None:
    """rsync -rt sets dates that are still there on the phone, for new files and for replaced ones."""
    tree = tmp_path / "tree"
    tree.mkdir()
    for date in (1_400_000_000, 1_500_000_000):
        for name in ("empty", "small", "large file"):
            (tree / name).write_bytes(os.urandom({"empty": 0, "small": 10, "large file": 2_000_000}[name]))
            os.utime(tree / name, (date, date))
        run("rsync", "-rt", f"{tree}/", mounted.root)
        run("diff", "-r", tree, mounted.phone)
        for name in ("empty", "small", "large file"):
            assert (mounted.phone / name).stat().st_mtime == date
            assert (mounted.root / name).stat().st_mtime == date
        again = run("rsync", "-rti", f"{tree}/", mounted.root).stdout
        assert not [line for line in again.splitlines() if line.startswith(">")], "nothing is sent twice"
    assert sorted(os.listdir(mounted.phone)) == ["empty", "large file", "small"]


def test_rsync_hears_of_failures(mount_phone: Callable[..., Mount], tmp_path: Path) -> None:
    """A file that the phone has no room for is an error of rsync's, and leaves nothing behind."""
    (tmp_path / "source").write_bytes(bytes(3 << 20))
    mounted = mount_phone("capacity=1048576")
    result = run("rsync", "-t", tmp_path / "source", mounted.root, check=False)
    assert result.returncode == 23
    assert "No space left on device" in result.stderr
    assert not os.listdir(mounted.root)
    assert not os.listdir(mounted.phone)


def test_tar(mounted: Mount, tmp_path: Path) -> None:
    """tar x unpacks into the mount, dates included."""
    tree = tmp_path / "tree"
    (tree / "a/b").mkdir(parents=True)
    (tree / "a/b/file").write_text("file")
    os.utime(tree / "a/b/file", (1_400_000_000, 1_400_000_000))
    (tree / "a/empty").touch()
    run("tar", "-C", tree, "-cf", tmp_path / "t.tar", ".")
    run("tar", "-C", mounted.root, "-xf", tmp_path / "t.tar")
    wait_until((mounted.phone / "a/empty").exists, "an empty file's arrival")
    run("diff", "-r", tree, mounted.phone)
    assert (mounted.phone / "a/b/file").stat().st_mtime == 1_400_000_000


def test_save_by_renaming(mounted: Mount) -> None:
    """Editors write a new file and rename it over the old one."""
    (mounted.root / "notes.txt").write_text("old")
    for text in ("first edit", "second edit"):
        (mounted.root / ".notes.swp").write_text(text)
        run("mv", mounted.root / ".notes.swp", mounted.root / "notes.txt")
        assert (mounted.phone / "notes.txt").read_text() == text
    assert [path.name for path in mounted.phone.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("words", ["", "no-edit", "no-partial"])
def test_git_clone(mount_phone: Callable[..., Mount], tmp_path: Path, words: str) -> None:
    """A repository can be cloned into the mount and worked on there."""
    origin = tmp_path / "origin"
    origin.mkdir()
    identity = ("-c", "user.name=T", "-c", "user.email=t@example.org")
    run("git", "init", "-q", cwd=origin)
    for number in range(20):
        (origin / f"file{number}").write_text(f"{number}\n" * 100)
    run("git", "add", ".", cwd=origin)
    run("git", *identity, "commit", "-qm", "one", cwd=origin)
    mounted = mount_phone(words)
    run("git", "clone", "-q", origin, mounted.root / "clone")
    clone = mounted.root / "clone"
    assert run("git", "status", "--porcelain", cwd=clone).stdout == ""
    run("git", "fsck", cwd=clone)
    (clone / "file3").write_text("changed\n")
    run("git", *identity, "commit", "-qam", "two", cwd=clone)
    assert run("git", "status", "--porcelain", cwd=clone).stdout == ""


def test_ten_thousand_entries(mount_phone: Callable[..., Mount]) -> None:
    """A directory of 10,000 files is listed whole."""
    mounted = mount_phone()
    (mounted.phone / "many").mkdir()
    for number in range(10_000):
        (mounted.phone / f"many/IMG_{number:05}.jpg").touch()
    wait_until((mounted.root / "many").exists, "the directory's appearance")
    assert len(run("ls", "-l", mounted.root / "many").stdout.splitlines()) == 10_001


@pytest.mark.parametrize("words", ["", "no-partial64&no-edit"])
def test_more_than_4_gib(mount_phone: Callable[..., Mount], words: str) -> None:
    """A file beyond 4 GiB has its size, and can be read at its end."""
    mounted = mount_phone(words)
    size = (4 << 30) + 12345
    with (mounted.phone / "film").open("wb") as film:
        film.truncate(size)
        film.seek(size - 5)
        film.write(b"fin.\n")
    wait_until((mounted.root / "film").exists, "the film's appearance")
    assert (mounted.root / "film").stat().st_size == size
    if not words:
        with (mounted.root / "film").open("rb") as film:
            film.seek(size - 100_000)
            assert film.read() == bytes(99_995) + b"fin.\n"


def test_read_only(mount_phone: Callable[..., Mount]) -> None:
    """A read-only storage, and a read-only mount, refuse every change with EROFS."""
    for mounted in (mount_phone("read-only"), mount_phone("", "-o", "ro")):
        (mounted.phone / "f").write_text("f")
        wait_until((mounted.root / "f").exists, "the file's appearance")
        assert (mounted.root / "f").read_text() == "f"
        changes: list[Callable[[Path], object]] = [
            lambda root: (root / "new").write_text("x"),
            lambda root: (root / "f").write_text("x"),
            lambda root: (root / "f").unlink(),
            lambda root: (root / "d").mkdir(),
            lambda root: (root / "f").rename(root / "g"),
        ]
        for change in changes:
            with pytest.raises(OSError, match="Read-only"):
                change(mounted.root)
        assert (mounted.phone / "f").read_text() == "f"


def test_full_storage(mount_phone: Callable[..., Mount]) -> None:
    """Running out of room is an error that the program gets, and the old file stays whole."""
    mounted = mount_phone("capacity=1000000")
    (mounted.root / "f").write_bytes(b"old" * 1000)
    with pytest.raises(OSError, match="No space left"):
        (mounted.root / "f").write_bytes(bytes(2_000_000))
    assert (mounted.phone / "f").read_bytes() == b"old" * 1000
    wait_until(lambda: (mounted.root / "f").stat().st_size == 3000, "the return of the old size")
    assert (mounted.root / "f").read_bytes() == b"old" * 1000
    assert [path.name for path in mounted.phone.iterdir()] == ["f"]


def test_modes_and_owner(mount_phone: Callable[..., Mount]) -> None:
    """uid, gid and masks decide what files look like; chmod is accepted and changes nothing."""
    mounted = mount_phone("", "-o", "uid=1234,gid=2345,fmask=077,dmask=027")
    (mounted.root / "f").write_text("f")
    status = (mounted.root / "f").stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (1234, 2345, 0o700)
    assert mounted.root.stat().st_mode & 0o777 == 0o750
    (mounted.root / "f").chmod(0o644)
    assert (mounted.root / "f").stat().st_mode & 0o777 == 0o700


def test_one_storage_as_root(mount_phone: Callable[..., Mount]) -> None:
    """storage= makes a storage the root."""
    first = mount_phone("storages=2")
    name = first.root.name
    (first.root / "marker").touch()
    second = first.mountpoint.parent / "second"
    second.mkdir()
    source = f"virtual:{first.phone.parent}?storages=2"
    run(*MTPFS, source, second, "-o", f"storage={name}")
    try:
        assert "marker" in os.listdir(second)
    finally:
        run("fusermount3", "-u", second)


def test_findmnt_and_df(mount_phone: Callable[..., Mount]) -> None:
    """The mount is shown as fuse.mtpfs with its source, and df knows its space."""
    mounted = mount_phone("capacity=40960000")
    shown = run("findmnt", "-n", "-t", "fuse.mtpfs", "-o", "SOURCE", mounted.mountpoint).stdout.strip()
    assert shown.startswith("virtual:")
    assert os.statvfs(mounted.root).f_blocks == 10_000


def test_background(tmp_path: Path) -> None:
    """Without -f the command returns when the mount is usable, and lets go of its pipes."""
    (tmp_path / "phone").mkdir()
    (tmp_path / "phone/f").write_text("f")
    (tmp_path / "m").mkdir()
    run(*MTPFS, f"virtual:{tmp_path / 'phone'}", tmp_path / "m")  # would time out if the daemon kept the pipe
    try:
        assert next((tmp_path / "m").glob("*/f")).read_text() == "f"
        again = run(*MTPFS, f"virtual:{tmp_path / 'phone'}", tmp_path / "m", check=False)
        assert again.returncode == 1
        assert "already" in again.stderr
    finally:
        run(*MTPFS, "umount", tmp_path / "m")


def test_mount_helper(tmp_path: Path) -> None:
    """The helper mounts with the words that mount(8) hands it."""
    (tmp_path / "m").mkdir()
    helper = [MTPFS[0], "-c", "import sys; from mtpfs.cli.main import mount_helper; sys.exit(mount_helper())"]
    options = "rw,noexec,nosuid,nodev,user,nofail,_netdev,x-systemd.automount"
    run(*helper, f"virtual:{tmp_path}", tmp_path / "m", "-v", "-o", options)
    run("fusermount3", "-u", tmp_path / "m")
    assert run(*helper, "serial:none", tmp_path / "m", "-o", "rw", check=False).returncode == 32
    assert run(*helper, "any", tmp_path / "m", "-o", "nonsense", check=False).returncode == 1


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("nonsense:1", "MNT"), "nonsense:1"),
        (("virtual:/does/not/exist", "MNT"), "/does/not/exist"),
        (("virtual:/tmp?no-such-word", "MNT"), "no-such-word"),
        (("virtual:/tmp", "/does/not/exist"), "/does/not/exist"),
        (("virtual:/tmp", "/etc/passwd"), "/etc/passwd"),
        (("virtual:/tmp", "MNT", "-o", "nonsense"), "nonsense"),
        (("virtual:/tmp", "MNT", "-o", "uid=nobody-has-this-name"), "nobody-has-this-name"),
        (("virtual:/tmp", "MNT", "-o", "storage=none"), "none"),
        (("--nonsense", "MNT"), "--nonsense"),
    ],
)
def test_mistakes(tmp_path: Path, words: tuple[str, ...], named: str) -> None:
    """A wrong option, source or mountpoint gives one line naming it, and status 1."""
    result = run(*MTPFS, *(str(tmp_path) if word == "MNT" else word for word in words), check=False)
    assert result.returncode == 1
    assert named in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_unmount(android: Mount, number: signal.Signals) -> None:
    """A signal unmounts, and what was written and not closed yet is saved."""
    file = (android.root / "pending").open("wb", buffering=0)
    file.write(b"still open")
    android.process.send_signal(number)
    android.ended()
    assert not os.path.ismount(android.mountpoint)
    assert (android.phone / "pending").read_bytes() == b"still open"
    with pytest.raises(OSError):
        file.close()


def test_unmount_ends_the_program(android: Mount) -> None:
    """fusermount3 -u ends the program with status 0 and nothing to complain about."""
    (android.root / "f").write_text("f")
    log = android.unmount()
    assert log == ""


def test_killed_program_is_explained(android: Mount) -> None:
    """On a mount whose program died, the command says how to get rid of it."""
    android.process.kill()
    android.process.wait(PATIENCE)
    result = run(*MTPFS, "virtual:/tmp", android.mountpoint, check=False)
    assert result.returncode == 1
    assert "fusermount3 -u" in result.stderr
    run("fusermount3", "-u", android.mountpoint)


def test_help_and_version() -> None:
    """--help and --version answer without a device."""
    assert (
        "SOURCE"
        in subprocess.run([*MTPFS, "--help"], check=True, capture_output=True, text=True, timeout=30).stdout
    )
    assert run(*MTPFS, "--version").stdout.startswith("mtpfs ")


def test_file_that_could_not_be_saved(mount_phone: Callable[..., Mount]) -> None:
    """After a file failed to arrive, the same name can be written at once, and arrives."""
    mounted = mount_phone("capacity=1048576")
    for _ in range(5):
        with pytest.raises(OSError, match="No space left"):
            (mounted.root / "f").write_bytes(bytes(3 << 20))
        (mounted.root / "f").write_bytes(b"small")
        assert (mounted.phone / "f").read_bytes() == b"small"
        (mounted.root / "f").unlink()
