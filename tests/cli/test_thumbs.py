"""`mtpfs thumbs`, as a user calls it: into the cache of file managers by a mount, and as files from any phone.

Strategy: root has no thumbnail cache, so where root runs the tests an ordinary user does it: mount, command, and GLib's
reader, each in a process of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from cli.files import STORAGE, Commands, local_file
from mount.conftest import HAS_FUSE, MTPFS, virtual_mount, wait_until
from mtpfs.cli.mounts import is_mounted
from mtpfs.thumbnails import png
from photos import colours, corners, encoded, opened, photo

DATE = 1_500_000_000
VALIDATOR = Draft202012Validator(
    json.loads((Path(__file__).parents[2] / "docs/mtpfs-files.schema.json").read_text())
)
NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.geteuid() == 0 else []


@dataclass
class User:
    """An ordinary user with a phone, a cache, and a directory of the session."""

    base: Path
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def phone(self) -> Path:
        return self.base / "phone"

    @property
    def mountpoint(self) -> Path:
        return self.base / "mnt"

    @property
    def root(self) -> Path:
        return self.mountpoint / STORAGE[1:]

    def run(self, *words: str | Path, status: int = 0) -> subprocess.CompletedProcess[str]:
        result = subprocess.run(
            [*NOBODY, *map(str, words)],
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
            env=self.environment,
            cwd="/",
        )
        assert result.returncode == status, result.stderr
        assert "Traceback" not in result.stderr
        return result

    def thumbs(self, *words: str | Path, status: int = 0) -> dict[str, dict[str, Any]]:
        """Run the command; return what it says of each file."""
        said = self.run(*MTPFS, "thumbs", "--json", *words, status=status).stdout
        found = [json.loads(line) for line in said.splitlines()]
        for each in found:
            VALIDATOR.validate({"thumbs": each})
        return {each["path"].removeprefix(f"{STORAGE}/"): each for each in found}

    def info(self, path: Path) -> str:
        """Return what GLib says of a file's thumbnail."""
        return self.run("gio", "info", "-a", "thumbnail::*,time::modified", path).stdout

    def transferred(self) -> dict[str, int]:
        session: dict[str, int] = json.loads(self.run(*MTPFS, "stats", self.mountpoint, "--json").stdout)[
            "session"
        ]
        return session


@contextmanager
def user(words: str = "", *options: str) -> Iterator[User]:
    """Have a user who has mounted a phone of some kind."""
    if not HAS_FUSE:
        pytest.skip("no FUSE")
    with tempfile.TemporaryDirectory() as name:  # everybody can get there, unlike pytest's
        base = Path(name)
        base.chmod(0o755)
        for directory, mode in (
            ("phone", 0o755),
            ("mnt", 0o755),
            ("run", 0o700),
            ("cache", 0o700),
            ("home", 0o700),
        ):
            (base / directory).mkdir()
            (base / directory).chmod(mode)
            if NOBODY:
                os.chown(base / directory, 65534, 65534)
        environment = {
            **os.environ,
            "HOME": str(base / "home"),
            "TMPDIR": str(base / "home"),
            "XDG_RUNTIME_DIR": str(base / "run"),
            "XDG_CACHE_HOME": str(base / "cache"),
            "LC_ALL": "C.UTF-8",
        }
        found = User(base, environment)
        if NOBODY and subprocess.run([*NOBODY, sys.executable, "-c", "import mtpfs"], check=False).returncode:
            pytest.skip("mtpfs lies in a directory that other users can't enter")
        (base / "phone/DCIM").mkdir()
        try:
            yield found
        finally:
            if is_mounted(str(base / "mnt")):
                found.run(*MTPFS, "umount", base / "mnt")


def mount(found: User, words: str = "", *options: str) -> None:
    for path in found.phone.rglob("*") if NOBODY else ():
        os.chown(path, 65534, 65534)
    found.run(*MTPFS, f"virtual:{found.phone}?ghost=0&{words}", found.mountpoint, *options)


def add(found: User, name: str, data: bytes, date: float = DATE) -> None:
    local_file(found.phone / name, data, date)


# --- into the cache


@pytest.mark.skipif(shutil.which("gio") is None, reason="no gio")
def test_into_the_cache() -> None:
    """Each picture that has a thumbnail gets an entry that GLib finds valid, newest first; nothing is fetched whole."""
    with user() as me:
        for number, name in enumerate(("a.jpg", "ä b;c#d.jpg", "sub/.x.jpg", "sub/e.jpg")):
            add(me, f"DCIM/{name}", photo(1200, 900, orientation=6) + bytes(1 << 20), DATE + number + 0.25)
        add(me, "DCIM/note.txt", b"text")
        add(me, "DCIM/film.mp4", b"film", DATE + 9)
        add(me, "DCIM/.thumbnails/t.jpg", photo())
        mount(me)
        found = me.thumbs(me.root / "DCIM")
        assert [*found] == ["DCIM/film.mp4", "DCIM/sub/e.jpg", "DCIM/ä b;c#d.jpg", "DCIM/a.jpg"]
        assert {each["status"] for name, each in found.items() if name.endswith("jpg")} == {"done"}
        assert found["DCIM/film.mp4"]["status"] == "none"
        assert me.transferred()["bytes_in"] < 300_000
        for name in ("a.jpg", "ä b;c#d.jpg", "sub/e.jpg"):
            said = me.info(me.root / "DCIM" / name)
            assert "thumbnail::is-valid: TRUE" in said, said
            path = next(line.split(": ", 1)[1] for line in said.splitlines() if "thumbnail::path:" in line)
            assert colours(opened(Path(path).read_bytes())) == ("B", "R", "Y", "G")
        assert "thumbnail::path" not in me.info(me.root / "DCIM/film.mp4")
        assert me.transferred()["bytes_in"] < 300_000
        again = me.thumbs(me.root / "DCIM")
        assert {each["status"] for name, each in again.items() if name.endswith("jpg")} == {"there"}


@pytest.mark.parametrize("mode", ["empty", "huge", "text", "cut", "bomb", "none"])
def test_phones_that_lie(mode: str) -> None:
    """What isn't a thumbnail leaves no entry, and isn't the command's failure."""
    with user() as me:
        add(me, "DCIM/a.jpg", photo(1200, 900))
        mount(me, f"thumbnails={mode}")
        status = me.thumbs(me.root / "DCIM")["DCIM/a.jpg"]["status"]
        entries = [*(me.base / "cache").rglob("*.png")]
        if mode == "huge":  # many bytes behind a picture are a picture all the same
            assert status == "done"
            assert {png.size(entry.read_bytes())[0] for entry in entries} == {128, 256, 512}
        else:
            assert (status, entries) == ("none", [])


@pytest.mark.parametrize("words", ["as=tizen", "as=umtp", "as=camera", "as=player", "samsung", "storages=2"])
def test_personalities(words: str) -> None:
    """Each phone gives what it has; one that has none at all is a failure that says so, or has none of each."""
    with user() as me:
        (me.phone / STORAGE[1:]).mkdir() if "storages" in words else None
        add(me, f"{STORAGE[1:]}/DCIM/a.jpg" if "storages" in words else "DCIM/a.jpg", photo(640, 480))
        mount(me, words)
        if words in {"as=tizen", "as=umtp"}:
            result = me.run(*MTPFS, "thumbs", "--json", me.root / "DCIM")
            assert json.loads(result.stdout)["status"] == "none"
        else:
            assert me.thumbs(me.root / "DCIM")["DCIM/a.jpg"]["status"] == "done"


@pytest.mark.skipif(shutil.which("gio") is None, reason="no gio")
def test_one_storage_only() -> None:
    """A mount whose root is a storage."""
    with user() as me:
        add(me, "DCIM/a.jpg", photo(640, 480))
        mount(me, "", "-o", "storage=Internal shared storage")
        assert me.thumbs(me.mountpoint)["DCIM/a.jpg"]["status"] == "done"
        assert "thumbnail::is-valid: TRUE" in me.info(me.mountpoint / "DCIM/a.jpg")


def test_read_only() -> None:
    """Also what is mounted read-only has thumbnails; a file is as good as a directory."""
    with user() as me:
        add(me, "DCIM/a.jpg", photo(640, 480))
        mount(me, "", "-o", "ro")
        assert me.thumbs(me.root / "DCIM/a.jpg")["DCIM/a.jpg"]["status"] == "done"


def test_wrong_use(tmp_path: Path) -> None:
    """A directory that isn't on a mount, a source without --to, and root."""
    (tmp_path / "here").mkdir()
    commands = Commands(tmp_path, tmp_path / "here", f"virtual:{tmp_path}")
    said = commands.run("thumbs", "--source", "any", "x", status=2).stderr
    assert "without --to" in said
    if os.geteuid() == 0:
        assert "no thumbnail cache for root" in commands.run("thumbs", tmp_path, status=1).stderr
    else:
        assert "no phone is mounted there" in commands.run("thumbs", tmp_path, status=2).stderr
    with user() as me:
        assert "no phone is mounted there" in me.run(*MTPFS, "thumbs", me.base, status=2).stderr


def test_without_a_socket() -> None:
    """A mount without one can't be asked: that is one failure, not one for each file."""
    with user() as me:
        for name in ("a.jpg", "b.jpg"):
            add(me, f"DCIM/{name}", photo())
        del me.environment["XDG_RUNTIME_DIR"]
        mount(me)
        result = me.run(*MTPFS, "thumbs", me.root / "DCIM", status=1)
        assert result.stderr.count("no socket") == 1


def test_copy_on_the_phone() -> None:
    """`mtpfs cp` has the phone copy by itself, though a mount holds it; and the copy is there at once."""
    with user() as me:
        add(me, "DCIM/a.bin", bytes(4 << 20))
        add(me, "Music/x", b"x")
        mount(me)
        before = me.transferred()["bytes_in"]
        me.environment["MTPFS_SOURCE"] = f"virtual:{me.phone}"
        me.run(*MTPFS, "cp", "DCIM/a.bin", "Music/")
        assert me.run("stat", "-c", "%s", me.root / "Music/a.bin").stdout.strip() == str(4 << 20)
        assert me.transferred()["bytes_in"] - before < 100_000
        assert (me.phone / "Music/a.bin").stat().st_size == 4 << 20
        me.run(*MTPFS, "cp", "-r", "DCIM", "Music/")
        assert me.run("ls", me.root / "Music/DCIM").stdout.split() == ["a.bin"]
        me.run(*MTPFS, "cp", "Music/x", "Music/a.bin")  # what is replaced is read and written, with care
        assert me.run("cat", me.root / "Music/a.bin").stdout == "x"


def test_copy_where_the_phone_cannot() -> None:
    """Then it is read and written, through the mount, as before."""
    with user() as me:
        add(me, "DCIM/a.bin", b"contents")
        mount(me, "no-copy")
        me.environment["MTPFS_SOURCE"] = f"virtual:{me.phone}"
        me.run(*MTPFS, "cp", "DCIM/a.bin", "DCIM/b.bin")
        wait_until((me.phone / "DCIM/b.bin").exists, "the copy")
        assert (me.phone / "DCIM/b.bin").read_bytes() == b"contents"


# --- as files


@pytest.fixture(params=["cable", "mount"])
def commands(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Commands]:
    """A phone with pictures; as files they come over the cable, or through a mount's socket."""
    if request.param == "cable":
        for name, data in PICTURES.items():
            local_file(tmp_path / "phone" / name, data, DATE)
        (tmp_path / "here").mkdir()
        yield Commands(tmp_path / "phone", tmp_path / "here", f"virtual:{tmp_path}/phone?ghost=0")
        return
    with user() as me:
        for name, data in PICTURES.items():
            add(me, name, data)
        mount(me)
        here = me.base / "here"
        here.mkdir()
        if NOBODY:
            os.chown(here, 65534, 65534)
        yield AsUser(me.phone, here, f"virtual:{me.phone}", user=me)


PICTURES = {
    "DCIM/a.jpg": photo(1200, 900, orientation=6),
    "DCIM/sub/b.png": encoded(corners(900, 600), "PNG"),
    "DCIM/c.jpg": b"no picture",
    "DCIM/d.txt": b"text",
}


@dataclass
class AsUser(Commands):
    """Commands that an ordinary user calls."""

    user: User | None = None

    def run(
        self, *words: str | Path, status: int = 0, stdin: bytes = b""
    ) -> subprocess.CompletedProcess[str]:
        assert self.user is not None
        self.user.environment["MTPFS_SOURCE"] = self.source
        return self.user.run("env", f"--chdir={self.here}", *MTPFS, *words, status=status)


def test_as_files(commands: Commands) -> None:
    """PNGs with the pictures' dates, upright, below the directory; a second time there is nothing to do."""
    for each in commands.objects("thumbs", "--to", "there", "DCIM"):
        VALIDATOR.validate({"thumbs": each})
    said = {
        each["path"].removeprefix(f"{STORAGE}/DCIM/"): each["status"]
        for each in commands.objects("thumbs", "--to", "out", "DCIM")
    }
    assert said == {"a.jpg": "done", "sub/b.png": "done", "c.jpg": "none"}
    files = {
        str(path.relative_to(commands.here / "out")): path
        for path in (commands.here / "out").rglob("*")
        if path.is_file()
    }
    assert set(files) == {"a.jpg.png", "sub/b.png.png"}
    assert {int(path.stat().st_mtime) for path in files.values()} == {DATE}
    first = opened(files["a.jpg.png"].read_bytes())
    assert (first.size, colours(first)) == ((120, 160), ("B", "R", "Y", "G"))
    assert opened(files["sub/b.png.png"].read_bytes()).size == (512, 341)
    again = {each["status"] for each in commands.objects("thumbs", "--to", "out", "DCIM")}
    assert again == {"there", "none"}


def test_as_files_by_a_pattern(commands: Commands) -> None:
    """Patterns are matched on the phone; what doesn't exist is a failure, and the rest is done."""
    commands.run("thumbs", "--to", "out", "DCIM/*.jpg", "nowhere", status=1)
    assert [path.name for path in (commands.here / "out").iterdir()] == ["a.jpg.png"]


def test_two_of_one_name(tmp_path: Path) -> None:
    """The second one isn't written over the first."""
    for name in ("A/a.jpg", "B/a.jpg"):
        local_file(tmp_path / "phone" / name, photo(), DATE)
    (tmp_path / "here").mkdir()
    commands = Commands(tmp_path / "phone", tmp_path / "here", f"virtual:{tmp_path}/phone?ghost=0")
    result = commands.run("thumbs", "--to", "out", "A/a.jpg", "B/a.jpg", status=1)
    assert "has the same name" in result.stderr
    assert len([*(tmp_path / "here/out").iterdir()]) == 1


# --- the mount option


@pytest.mark.skipif(shutil.which("gio") is None, reason="no gio")
def test_option() -> None:
    """What a program lists has its entries soon after, valid for GLib; what is removed loses them; unmounting works as ever."""
    with user() as me:
        for number in range(10):
            add(me, f"DCIM/{number}.jpg", photo(1200, 900, orientation=8) + bytes(1 << 20), DATE + number)
        add(me, "DCIM/film.mp4", b"film")
        mount(me, "", "-o", "thumbnails")
        assert len(me.run("ls", "-l", me.root / "DCIM").stdout.splitlines()) == 12
        entries = me.base / "cache/thumbnails/normal"
        wait_until(lambda: len([*entries.glob("*.png")]) == 10, "the entries")
        for number in range(10):
            assert "thumbnail::is-valid: TRUE" in me.info(me.root / f"DCIM/{number}.jpg")
        assert me.transferred()["bytes_in"] < 300_000
        me.run("rm", me.root / "DCIM/3.jpg")
        (me.phone / "DCIM/4.jpg").unlink()
        wait_until(lambda: len([*entries.glob("*.png")]) == 8, "the removal of two")
        me.run(*MTPFS, "umount", me.mountpoint)
        assert len([*entries.glob("*.png")]) == 8
        assert not [*(me.base / "run").rglob("mount-*")]


@pytest.mark.skipif(os.geteuid() != 0, reason="this is about root")
def test_option_for_root(tmp_path: Path) -> None:
    """Root's mount has no cache to put them in: it says so, and is a mount like any other."""
    (tmp_path / "phone").mkdir()
    (tmp_path / "mnt").mkdir()
    with virtual_mount(tmp_path / "phone", tmp_path / "mnt", "", "-o", "thumbnails") as mounted:
        assert mounted.root.is_dir()
    assert "no thumbnail cache for root" in mounted.log.read_text()
