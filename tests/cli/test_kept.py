"""What the file commands must not lose, or say is done; and standard files that their caller has closed."""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path

import pytest

from cli.files import STORAGE, Commands, local_file, reached
from mount.conftest import MTPFS, wait_until
from mtpfs.cli.mounted import MountedPhone


@pytest.fixture
def cable(tmp_path: Path) -> Commands:
    """A phone with one picture."""
    local_file(tmp_path / "phone/DCIM/Camera/a.jpg", b"picture a")
    (tmp_path / "here").mkdir()
    return Commands(tmp_path / "phone", tmp_path / "here", f"virtual:{tmp_path}/phone?ghost=0")


def test_two_puts_of_one_file(cable: Commands, tmp_path: Path) -> None:
    """The second one is refused: it would write what the first one gives its name."""
    with reached("mount", cable, tmp_path / "mnt") as mounted:
        assert mounted is not None
        local_file(cable.phone / "note.txt", b"old")
        with subprocess.Popen(
            [*cable.command, "put", "-", "phone:note.txt"],
            stdin=subprocess.PIPE,
            env=cable.environment,
        ) as first:
            assert first.stdin is not None
            first.stdin.write(b"x" * (2 << 20))
            first.stdin.flush()
            wait_until((mounted.root / ".mtpfs-put-note.txt").exists, "it has begun")
            result = cable.run("put", "-", "phone:note.txt", stdin=b"second", status=1)
            assert "another program is writing it" in result.stderr
            assert (cable.phone / "note.txt").read_bytes() == b"old"
            first.stdin.write(b"y")
            first.stdin.close()
            assert first.wait(30) == 0
        wait_until(lambda: (cable.phone / "note.txt").stat().st_size == (2 << 20) + 1, "it has arrived")
        cable.run("put", "-", "phone:note.txt", stdin=b"third")
        assert (cable.phone / "note.txt").read_bytes() == b"third"
    assert {path.name for path in cable.phone.iterdir()} >= {"note.txt"}
    assert not list(cable.phone.glob(".mtpfs-*"))


@pytest.mark.parametrize("name", ["n" * 254, "é" * 120 + ".txt"])
def test_put_with_a_long_name(commands: Commands, name: str) -> None:
    """What it is called until it is complete has to fit, too."""
    commands.run("put", "-", f"phone:{name}", stdin=b"data")
    commands.run("put", "-", f"phone:{name}", stdin=b"other")
    assert (commands.phone / name).read_bytes() == b"other"


def test_two_names_that_are_one_here(commands: Commands) -> None:
    """As on a disk that doesn't tell case apart: what was fetched isn't replaced by another file."""
    local_file(commands.phone / "Two/Name", b"first")
    local_file(commands.phone / "Two/name", b"second")
    (commands.here / "Two").mkdir()
    (commands.here / "Two/name").symlink_to("Name")  # a link does what such a disk does
    for _ in range(2):
        result = commands.run("get", "-r", "Two", status=1)
        assert "has the same name here, and goes there" in result.stderr
        assert (commands.here / "Two/Name").read_bytes() == b"first"


def test_a_move_whose_copy_isnt_whole(
    cable: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the copy of a directory lacks isn't removed."""

    def refused(*_: object) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    local_file(cable.phone / "D/in/f", b"contents")
    local_file(cable.phone / "D/in/g", b"cont")
    with reached("mount", cable, tmp_path / "mnt"):
        phone = MountedPhone(str(tmp_path / "mnt"))
        monkeypatch.setattr(os, "rename", refused)
        monkeypatch.setattr(phone, "copy", lambda _, target, **__: phone.mkdir(f"{target}/in", parents=True))
        with pytest.raises(OSError, match="nothing is removed"):
            phone.move(f"{STORAGE}/D", f"{STORAGE}/E")
        monkeypatch.setattr(phone, "copy", lambda *_, **__: None)
        with pytest.raises(OSError, match="nothing is removed"):
            phone.move(f"{STORAGE}/D/in/f", f"{STORAGE}/D/in/g", replace=True)
        assert (cable.phone / "D/in/f").read_bytes() == b"contents"


def test_copies_into_what_is_there(commands: Commands) -> None:
    """Each file in it is asked about, and one that fails is a failure of the whole."""
    for name in ("a", "b", "c"):
        local_file(commands.phone / f"From/sub/{name}", b"new")
        local_file(commands.phone / f"To/From/sub/{name}", b"old")
    (commands.phone / "To/From/sub/c").unlink()
    (commands.phone / "To/From/sub/c").mkdir()
    result = commands.run("cp", "-ri", "--json", "From", "To", stdin=b"n\ny\ny\n", status=1)
    assert result.stderr.count("replace ") == 3
    assert "Is a directory" in result.stderr
    assert result.stdout == ""
    there = commands.phone / "To/From/sub"
    assert [(there / name).read_bytes() for name in ("a", "b")] == [b"old", b"new"]
    assert commands.objects("cp", "-rn", "From", "To")[0]["status"] == "done"
    assert (there / "a").read_bytes() == b"old"


@pytest.mark.parametrize(
    ("words", "closed", "status", "told"),
    [
        ("put - phone:new", "<&-", 1, "Bad file descriptor"),
        ("rm -i DCIM/Camera/a.jpg", "<&-", 1, "Bad file descriptor"),
        ("cat DCIM/Camera/a.jpg", ">&-", 1, "the output can't be written"),
        ("get DCIM/Camera/a.jpg -", ">&-", 1, "the output can't be written"),
        ("ls DCIM", ">&-", 1, "the output can't be written"),
        ("get DCIM/Camera/a.jpg", ">&- 2>&- <&-", 0, ""),
        ("ls --json nowhere", "2>&-", 1, ""),
    ],
)
def test_standard_files_that_are_closed(
    cable: Commands, words: str, closed: str, status: int, told: str
) -> None:
    """It is one line, and no file that is opened later gets what is printed."""
    before = sorted(cable.phone.rglob("*"))
    result = subprocess.run(
        ["sh", "-c", f'"$@" {closed}', "sh", *MTPFS, *words.split()],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=cable.here,
        env=cable.environment,
    )
    assert (result.returncode, result.stdout) == (status, "")
    assert told in result.stderr
    assert result.stderr.count("\n") <= 1
    assert sorted(cable.phone.rglob("*")) == before


@pytest.mark.parametrize(
    "words",
    [("get", "DCIM/Camera/a.jpg", ""), ("get", "-r", "", "."), ("sync", "phone:DCIM/", ""), ("ls", "")],
)
def test_an_empty_path(cable: Commands, words: tuple[str, ...]) -> None:
    """It is a variable that isn't set, and neither all of the phone nor the working directory."""
    assert "an empty path means nothing" in cable.run(*words, status=2).stderr
    assert not list(cable.here.iterdir())
