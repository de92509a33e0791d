"""The file commands as a user calls them: over the cable, and through a mount that holds the phone."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.files import SLOW, STORAGE, Commands, local_file, reached
from mount.conftest import HAS_FUSE, virtual_mount, wait_until

DATE = 1_500_000_000
SHOWN = "2017-07-14 02:40"


@pytest.fixture
def cable(tmp_path: Path) -> Commands:
    """A phone with some files, that no mount holds."""
    for name, data in (
        ("DCIM/Camera/a.jpg", b"aaa"),
        ("DCIM/Camera/b.jpg", b"bb" * 2000),
        ("DCIM/Camera/c.txt", b"c"),
        ("DCIM/.thumbnails/t.jpg", b"t"),
        ("Music/[x] song.mp3", b"song"),
    ):
        local_file(tmp_path / "phone" / name, data)
    (tmp_path / "here").mkdir()
    return Commands(tmp_path / "phone", tmp_path / "here", f"virtual:{tmp_path}/phone?ghost=0")


@pytest.fixture(params=["cable", "mount"])
def slow(request: pytest.FixtureRequest, cable: Commands, tmp_path: Path) -> Iterator[Commands]:
    """A phone that takes its time for each part of a file, over the cable and behind a mount."""
    with reached(request.param, cable, tmp_path / "mnt", SLOW):
        yield cable


# --- looking -------------------------------------------------------------------------


def test_ls(commands: Commands) -> None:
    """Names, one a line; with -l kind, size and date; dots only with -a; directories with headings if there are more."""
    assert commands.lines("ls") == ["Internal shared storage"]
    assert commands.lines("ls", "DCIM/Camera") == ["a.jpg", "b.jpg", "c.txt"]
    assert commands.lines("ls", "phone:DCIM") == ["Camera"]
    assert commands.lines("ls", "-a", f"{STORAGE}/DCIM") == [".thumbnails", "Camera"]
    assert commands.lines("ls", "-d", "DCIM") == [f"{STORAGE}/DCIM"]
    assert commands.lines("ls", "-l", "DCIM/Camera") == [
        f"-    3 {SHOWN} a.jpg",
        f"- 4000 {SHOWN} b.jpg",
        f"-    1 {SHOWN} c.txt",
    ]
    assert commands.lines("ls", "-lh", "DCIM/Camera/b.jpg") == [f"- 3.9K {SHOWN} {STORAGE}/DCIM/Camera/b.jpg"]
    assert commands.lines("ls", "-R", "DCIM") == [
        f"{STORAGE}/DCIM:",
        "Camera",
        "",
        f"{STORAGE}/DCIM/Camera:",
        "a.jpg",
        "b.jpg",
        "c.txt",
    ]


def test_patterns(commands: Commands) -> None:
    """They are matched on the phone; a name with brackets that is there is taken as it is."""
    assert commands.lines("ls", "DCIM/Camera/*.jpg") == [
        f"{STORAGE}/DCIM/Camera/{name}" for name in ("a.jpg", "b.jpg")
    ]
    assert commands.lines("ls", "**/*.jpg") == commands.lines("ls", "D?IM/C*/[ab].jpg")
    assert commands.lines("ls", "Music/[x] song.mp3") == [f"{STORAGE}/Music/[x] song.mp3"]
    result = commands.run("ls", "*.none", "DCIM", status=1)
    assert result.stderr == "mtpfs ls: '*.none': nothing matches\n"
    assert result.stdout.splitlines() == ["Camera"]


def test_tree_stat_df_cat(commands: Commands) -> None:
    """What they show."""
    assert commands.lines("tree", "DCIM") == [
        f"{STORAGE}/DCIM",
        "└── Camera",
        "    ├── a.jpg",
        "    ├── b.jpg",
        "    └── c.txt",
        "",
        "1 directory, 3 files",
    ]
    assert commands.lines("tree", "-d", "-L", "1")[:2] == ["/", "└── Internal shared storage"]
    assert commands.lines("stat", "DCIM/Camera/a.jpg") == [
        f"    Path: {STORAGE}/DCIM/Camera/a.jpg",
        "    Type: file",
        "    Size: 3 (3)",
        f"Modified: {SHOWN}:00",
    ]
    head, row = commands.lines("df")
    assert head.split() == ["1K-blocks", "Used", "Free", "Use%", "Storage"]
    assert row.endswith(STORAGE)
    assert commands.lines("cat", "DCIM/Camera/a.jpg", "DCIM/Camera/c.txt") == ["aaac"]
    assert "Is a directory" in commands.run("cat", "DCIM", status=1).stderr


# --- get -----------------------------------------------------------------------------


def test_get_to_the_phone(commands: Commands) -> None:
    """It fetches to this machine: a phone's path is no name for a file here."""
    assert (
        "`mtpfs cp` copies there" in commands.run("get", "DCIM/Camera/a.jpg", "phone:DCIM", status=2).stderr
    )
    assert "Is a directory" in (error := commands.run("get", "-r", "DCIM", "-", status=1).stderr)
    assert "-r fetches it" not in error


def statuses(found: list[dict[str, Any]]) -> list[str]:
    return [each["status"] for each in found]


def test_get(commands: Commands) -> None:
    """Files come with their dates; again, nothing is fetched; what has changed is."""
    (commands.here / "D").mkdir()
    assert statuses(commands.objects("get", "DCIM/Camera/*.jpg", "D")) == ["done", "done"]
    assert {path.name: path.read_bytes() for path in (commands.here / "D").iterdir()} == {
        "a.jpg": b"aaa",
        "b.jpg": b"bb" * 2000,
    }
    assert {path.stat().st_mtime for path in (commands.here / "D").iterdir()} == {DATE}
    local_file(commands.here / "D/a.jpg", b"xxx", DATE + 100)
    assert statuses(commands.objects("get", "DCIM/Camera/*.jpg", "D")) == ["done", "skipped"]
    assert (commands.here / "D/a.jpg").read_bytes() == b"aaa"
    local_file(commands.here / "D/a.jpg", b"mine", DATE)
    assert statuses(commands.objects("get", "-n", "DCIM/Camera/a.jpg", "D")) == ["skipped"]
    commands.run("get", "-i", "DCIM/Camera/a.jpg", "D", stdin=b"n\n")
    assert (commands.here / "D/a.jpg").read_bytes() == b"mine"
    commands.run("get", "-i", "DCIM/Camera/a.jpg", "D", stdin=b"y\n")
    assert (commands.here / "D/a.jpg").read_bytes() == b"aaa"


def test_get_places(commands: Commands) -> None:
    """To this directory, to a name, to a directory that is made, to the standard output; whole directories."""
    assert commands.lines("get", "DCIM/Camera/a.jpg") == []
    assert commands.lines("get", "DCIM/Camera/a.jpg", "other.jpg") == []
    assert commands.lines("get", "DCIM/Camera/a.jpg", "new/dir/") == []
    assert commands.lines("get", "DCIM/Camera/a.jpg", "-") == ["aaa"]
    assert commands.lines("get", "-r", "DCIM", ".") == []
    assert commands.lines("get", "-r", "DCIM", "renamed") == []
    found = sorted(
        str(path.relative_to(commands.here)) for path in commands.here.rglob("*") if path.is_file()
    )
    below = [".thumbnails/t.jpg", "Camera/a.jpg", "Camera/b.jpg", "Camera/c.txt"]
    assert found == sorted(
        [
            "a.jpg",
            "other.jpg",
            "new/dir/a.jpg",
            *(f"{top}/{name}" for top in ("DCIM", "renamed") for name in below),
        ]
    )
    for words, text in (
        (("get", "DCIM", "."), "Is a directory: -r fetches it"),
        (("get", "DCIM/Camera/*", "a.jpg"), "Not a directory, and these are several"),
        (("get", "nothing", "."), "'nothing': No such file"),
    ):
        assert text in commands.run(*words, status=1).stderr


def test_names_that_begin_with_a_dash(commands: Commands) -> None:
    """After `--` nothing is an option."""
    local_file(commands.phone / "-l", b"dash")
    local_file(commands.here / "-r", b"dash")
    assert commands.lines("ls", "-l", "--", "-l")[0].endswith("-l")
    commands.run("get", "--", "-l", ".")
    assert (commands.here / "-l").read_bytes() == b"dash"
    commands.run("put", "--", "-r", "-s")
    commands.run("mv", "--", "-s", "-l", "Music")
    commands.run("rm", "-f", "--", "Music/-s", "-n")
    assert commands.lines("ls", "Music") == ["-l", "[x] song.mp3"]
    assert (
        commands.run("ls", "-l", "-x", status=2).stderr
        == "mtpfs: unrecognized arguments: -x; see `mtpfs ls --help`\n"
    )


def test_two_of_one_name(commands: Commands) -> None:
    """The second would replace the first; it is a failure instead. What fails is told again at the end."""
    local_file(commands.phone / "Other/a.jpg", b"other")
    time.sleep(0)
    result = commands.run(
        "get", f"{STORAGE}/DCIM/Camera/a.jpg", f"{STORAGE}/Other/a.jpg", "none", ".", status=1
    )
    assert "has the same name, and goes there" in result.stderr
    assert "2 failed:" in result.stderr
    assert (commands.here / "a.jpg").read_bytes() == b"aaa"


def big(commands: Commands, size: int = 48 << 20) -> bytes:
    data = os.urandom(1 << 20) * (size >> 20)
    local_file(commands.phone / "big.bin", data)
    return data


def parts(directory: Path) -> list[Path]:
    return list(directory.glob(".big.bin.mtpfs-*.part"))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_get_goes_on_after_a_kill(slow: Commands, number: signal.Signals) -> None:
    """It goes on at the byte where it was: the beginning isn't fetched again."""
    commands, data = slow, big(slow)
    with commands.start("get", "big.bin") as process:
        wait_until(
            lambda: any(part.stat().st_size >= 4 << 20 for part in parts(commands.here)), "the first bytes"
        )
        process.send_signal(number)
        process.wait(20)
    assert process.returncode == (-number if number == signal.SIGKILL else 130)
    assert not (commands.here / "big.bin").exists()
    (part,) = parts(commands.here)
    there = part.stat().st_size
    assert 0 < there < len(data)
    # Only what is fetched now can have these bytes.
    with part.open("r+b") as file:
        file.write(b"kept")
    commands.faults = ()
    commands.run("get", "big.bin")
    assert (commands.here / "big.bin").read_bytes() == b"kept" + data[4:]
    assert not parts(commands.here)
    assert (commands.here / "big.bin").stat().st_mtime == DATE


def test_get_unplugged(cable: Commands) -> None:
    """Without the phone nothing more is tried, and the status is 1; the next call goes on."""
    data = big(cable)
    cable.faults = ("gone GetPartialObject64 skip=4",)
    result = cable.run("get", "big.bin", "DCIM/Camera/a.jpg", ".", status=1)
    assert f"'{STORAGE}/big.bin': No such device" in result.stderr
    assert "1 more aren't tried" in result.stderr
    assert len(parts(cable.here)) == 1
    cable.faults = ()
    assert statuses(cable.objects("get", "big.bin", "DCIM/Camera/a.jpg", ".")) == ["done", "done"]
    assert (cable.here / "big.bin").read_bytes() == data


def test_get_on_a_full_disk(commands: Commands) -> None:
    """No room here is that file's error, and leaves no file of that name; the next one is fetched."""
    big(commands, 8 << 20)
    limited = ["prlimit", "--fsize=1000000", *commands.command]
    result = subprocess.run(
        [*limited, "get", "big.bin", "DCIM/Camera/a.jpg", "."],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=commands.here,
        env=commands.environment,
    )
    assert (result.returncode, "File too large" in result.stderr) == (1, True), result.stderr
    assert not (commands.here / "big.bin").exists()
    assert (commands.here / "a.jpg").read_bytes() == b"aaa"


def test_get_into_a_pipe(commands: Commands) -> None:
    """What isn't a file is written to, and never replaced by one."""
    pipe = commands.here / "pipe"
    os.mkfifo(pipe)
    with commands.start("get", "DCIM/Camera/b.jpg", "pipe") as process:
        assert pipe.read_bytes() == b"bb" * 2000
        assert process.wait(20) == 0
    assert pipe.is_fifo()


# --- put -----------------------------------------------------------------------------


def test_put(commands: Commands) -> None:
    """Files arrive with their dates; again, nothing is sent; what has changed is, and the old one is replaced."""
    local_file(commands.here / "a.mp3", b"song a")
    local_file(commands.here / "D/E/b.mp3", b"song b")
    local_file(commands.here / "D/c.mp3", b"song c")
    (commands.here / "D/empty").mkdir()
    assert statuses(commands.objects("put", "a.mp3", "Music")) == ["done"]
    assert statuses(commands.objects("put", "a.mp3", "Music/")) == ["skipped"]
    local_file(commands.here / "a.mp3", b"song A", DATE + 100)
    assert statuses(commands.objects("put", "-n", "a.mp3", "Music")) == ["skipped"]
    assert statuses(commands.objects("put", "a.mp3", "Music")) == ["done"]
    assert statuses(commands.objects("put", "-r", "D", "Music")) == ["done", "done"]
    assert statuses(commands.objects("put", "-r", "D", "Music")) == ["skipped", "skipped"]
    commands.run("put", "a.mp3", "new/")
    commands.run("put", "a.mp3", "top.mp3")
    commands.run("put", "-", "Music/from-stdin", stdin=b"piped")
    found = {
        str(path.relative_to(commands.phone)): path.read_bytes()
        for path in commands.phone.rglob("*")
        if path.is_file() and "DCIM" not in path.parts
    }
    assert found == {
        "Music/[x] song.mp3": b"song",
        "Music/a.mp3": b"song A",
        "Music/D/E/b.mp3": b"song b",
        "Music/D/c.mp3": b"song c",
        "new/a.mp3": b"song A",
        "top.mp3": b"song A",
        "Music/from-stdin": b"piped",
    }
    assert (commands.phone / "Music/D/empty").is_dir()
    assert (commands.phone / "Music/a.mp3").stat().st_mtime == DATE + 100
    assert (commands.phone / "Music/D/c.mp3").stat().st_mtime == DATE


def test_put_mistakes(commands: Commands) -> None:
    """What can't be sent is named, the rest is sent."""
    local_file(commands.here / "a", b"a")
    local_file(commands.here / "D/b", b"b")
    (commands.here / "D/link").symlink_to(commands.here)
    os.mkfifo(commands.here / "pipe")
    result = commands.run("put", "nothing", "D", "pipe", "a", "Music", status=1)
    for text in (
        "'nothing': No such file",
        "'D': Is a directory: -r sends it",
        "'pipe': it isn't a file",
    ):
        assert text in result.stderr
    assert (commands.phone / "Music/a").read_bytes() == b"a"
    result = commands.run("put", "-r", "D", "Music", status=1)
    assert "'D/link': a link to a directory isn't followed" in result.stderr
    assert (commands.phone / "Music/D/b").read_bytes() == b"b"
    assert "Not a directory" in commands.run("put", "a", "pipe", "Music/a", status=1).stderr


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_put_that_is_killed(commands: Commands, number: signal.Signals) -> None:
    """The old file is there until the new one is whole; given again, the command ends in the right state."""
    old, new = b"old contents", os.urandom(1 << 20) * 100
    local_file(commands.phone / "big.bin", old)
    local_file(commands.here / "big.bin", new, DATE + 100)
    with commands.start("put", "big.bin", "big.bin") as process:
        time.sleep(0.4)  # anywhere: each moment has to be right
        process.send_signal(number)
        process.wait(30)
    # What was left is said on the standard error when it is settled.
    shown = commands.run("cat", "big.bin").stdout
    assert shown == old.decode() or (commands.phone / "big.bin").read_bytes() == new
    commands.run("put", "big.bin", "big.bin")
    assert (commands.phone / "big.bin").read_bytes() == new
    commands.run("ls")
    assert {path.name for path in commands.phone.iterdir()} == {"DCIM", "Music", "big.bin"}


def test_put_on_a_full_phone(tmp_path: Path) -> None:
    """No room there is an error that names the file, and the old file stays."""
    commands = Commands(tmp_path / "phone", tmp_path, f"virtual:{tmp_path}/phone?capacity=1000000&ghost=0")
    local_file(tmp_path / "phone/f", b"old")
    local_file(tmp_path / "f", b"x" * 2_000_000)
    result = commands.run("put", "f", "f", status=1)
    assert f"'{STORAGE}/f': No space left on device" in result.stderr
    assert [path.name for path in (tmp_path / "phone").iterdir()] == ["f"]
    assert (tmp_path / "phone/f").read_bytes() == b"old"


# --- changing ------------------------------------------------------------------------


def test_changing(commands: Commands) -> None:
    """mkdir, cp, mv and rm, in coreutils' manner."""
    commands.run("mkdir", "-p", "A/B/C")
    commands.run("mkdir", "-p", "A/B/C")
    commands.run("mkdir", "E")
    assert "File exists" in commands.run("mkdir", "E", status=1).stderr
    commands.run("cp", "DCIM/Camera/*.jpg", "A")
    commands.run("cp", "DCIM/Camera/a.jpg", "A/renamed.jpg")
    commands.run("cp", "-r", "A", "E")
    commands.run("cp", "-r", "A", "E")  # once more, into what is there
    commands.run("mv", "A/renamed.jpg", "A/a.jpg", "E/A/B/C")
    commands.run("mv", "E/A/B", "F")
    assert "-r copies it" in commands.run("cp", "A", "G", status=1).stderr
    assert "same file" in commands.run("mv", "A/b.jpg", "A", status=1).stderr
    assert "Not a directory" in commands.run("mv", "A/b.jpg", "E", "A/b.jpg", status=1).stderr
    commands.run("rm", "A/b.jpg", "-f", "A/nothing")
    assert "-r removes it" in commands.run("rm", "A", status=1).stderr
    commands.run("rm", "-ri", "A", stdin=b"n\n")
    assert (commands.phone / "A").exists()
    commands.run("rm", "-r", "A")
    commands.run("rm", "DCIM/Camera/*.jpg")
    found = sorted(
        str(path.relative_to(commands.phone)) for path in commands.phone.rglob("*") if path.is_file()
    )
    assert found == [
        "DCIM/.thumbnails/t.jpg",
        "DCIM/Camera/c.txt",
        "E/A/a.jpg",
        "E/A/b.jpg",
        "E/A/renamed.jpg",
        "F/C/a.jpg",
        "F/C/renamed.jpg",
        "Music/[x] song.mp3",
    ]


def test_replacing_on_the_phone(commands: Commands) -> None:
    """mv and cp replace, as everywhere; not with -n, and with -i only after a yes."""
    for command in ("cp", "mv"):
        commands.run("mkdir", "x")
        commands.run("put", "-", "x/new", stdin=b"new")
        commands.run("put", "-", "x/old", stdin=b"old")
        commands.run(command, "-n", "x/new", "x/old")
        commands.run(command, "-i", "x/new", "x/old", stdin=b"\n")
        assert (commands.phone / "x/old").read_bytes() == b"old"
        commands.run(command, "-i", "x/new", "x/old", stdin=b"y\n")
        assert (commands.phone / "x/old").read_bytes() == b"new"
        commands.run("rm", "-r", "x")


def test_storages_stay(commands: Commands) -> None:
    """A storage can't be removed, and what is in it stays."""
    result = commands.run("rm", "-r", STORAGE, status=1)
    assert "can't be" in result.stderr
    assert (commands.phone / "Music/[x] song.mp3").exists()


# --- which phone, which storage ------------------------------------------------------


@pytest.fixture
def two(tmp_path: Path) -> Commands:
    """A phone with two storages, which have some directories in common."""
    commands = Commands(tmp_path / "phone", tmp_path, f"virtual:{tmp_path}/phone?storages=2&ghost=0")
    (tmp_path / "phone").mkdir()
    first, second = (path.removeprefix("/") for path in commands.lines("ls", "-d", "/*"))
    for path in (f"{first}/Music/a", f"{second}/Music/b", f"{second}/Pictures/p"):
        local_file(tmp_path / "phone" / path, path.encode())
    local_file(tmp_path / "new", b"new")
    return commands


def test_two_storages(two: Commands) -> None:
    """For reading, the first that has it, and patterns on all; for changing only what is clear."""
    first, second = (path.removeprefix("/") for path in two.lines("ls", "-d", "/*"))
    assert two.lines("ls", "Music") == ["a"]
    assert two.lines("ls", "Music/*") == [f"/{first}/Music/a", f"/{second}/Music/b"]
    assert two.lines("ls", "Pictures") == ["p"]
    for words in (("rm", "-r", "Music"), ("put", "new", "Music"), ("mkdir", "Music/x"), ("rm", "Music/*")):
        result = two.run(*words, status=1)
        assert "is on several storages: say which" in result.stderr
        assert f"'phone:/{first}/Music" in result.stderr
    two.run("put", "new", "Pictures")
    two.run("put", "new", "phone:top")
    two.run("put", "new", "phone:")
    two.run("put", "new", f"phone:/{second}/Music")
    two.run("mv", "Pictures/new", f"/{first}/Music")
    assert (two.phone / first / "Music/new").read_bytes() == b"new"
    assert (two.phone / first / "top").exists()
    assert (two.phone / first / "new").exists()
    assert (two.phone / second / "Music/new").exists()
    assert not (two.phone / second / "Pictures/new").exists()


def test_a_mount_of_one_storage(tmp_path: Path) -> None:
    """Paths begin with the storage also where the mount shows only one."""
    if not HAS_FUSE:
        pytest.skip("no FUSE")
    local_file(tmp_path / "phone/D/f", b"f")
    (tmp_path / "mnt").mkdir()
    commands = Commands(tmp_path / "phone", tmp_path, f"virtual:{tmp_path}/phone")
    with virtual_mount(tmp_path / "phone", tmp_path / "mnt", "", "-o", f"storage={STORAGE[1:]}"):
        assert commands.lines("ls", "/") == [STORAGE[1:]]
        assert commands.lines("ls", "D") == commands.lines("ls", f"{STORAGE}/D") == ["f"]
        assert commands.lines("df")[1].endswith(STORAGE)
        assert "No such file" in commands.run("ls", "/Card/D", status=1).stderr


def test_the_mount_is_used(cable: Commands, tmp_path: Path) -> None:
    """A phone that is mounted is asked through its mount: what isn't on the phone yet is seen."""
    if not HAS_FUSE:
        pytest.skip("no FUSE")
    (tmp_path / "mnt").mkdir()
    with (
        virtual_mount(cable.phone, tmp_path / "mnt", "ghost=0") as mounted,
        (mounted.root / "unsent").open("wb") as file,
    ):
        file.write(b"x")
        assert "unsent" in cable.lines("ls", STORAGE)
        assert not (cable.phone / "unsent").exists()


def test_source(cable: Commands) -> None:
    """`--source` stands before or behind the command, and comes before MTPFS_SOURCE."""
    source, cable.source = cable.source, "serial:nothing"
    for words in (("--source", source, "ls"), (f"--source={source}", "ls"), ("ls", "--source", source)):
        assert cable.lines(*words) == [STORAGE[1:]]
    assert re.match(r"mtpfs: no (MTP device found|device fits)", cable.run("ls", status=1).stderr)
    cable.source = source
    assert cable.run("info").stdout.startswith("mtpfs Virtual phone")
    assert "virtual:" in cable.run("doctor", status=cable_status()).stdout


def cable_status() -> int:
    return 0 if HAS_FUSE else 1


# --- ends ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("ls", "--nonsense"), "unrecognized arguments: --nonsense"),
        (("get",), "the following arguments are required"),
        (("put", "a"), "where to put it is missing"),
        (("put", "-", "a", "b"), "can't be one of several"),
        (("get", "a", "-", "--json"), "either the file or JSON"),
        (("mv", "a"), "the target is missing"),
        (("ls", "--source", "nonsense"), "no such source"),
    ],
)
def test_wrong_use(cable: Commands, words: tuple[str, ...], text: str) -> None:
    """Wrong use is status 2, and one line."""
    result = cable.run(*words, status=2)
    assert text in result.stderr
    assert re.fullmatch(r"mtpfs: [^\n]+\n", result.stderr)


def test_output_that_fails(cable: Commands) -> None:
    """A reader that has enough ends the command without a word; a full disk is one line."""
    reader, writer = os.pipe()
    os.close(reader)
    full = os.open("/dev/full", os.O_WRONLY)
    for descriptor, status, said in (
        (full, 1, "the output can't be written: No space left"),
        (writer, 141, ""),
    ):
        with os.fdopen(descriptor, "w") as output:
            for words in (("ls", "-R"), ("cat", "DCIM/Camera/b.jpg")):
                result = subprocess.run(
                    [*cable.command, *words],
                    check=False,
                    stdout=output,
                    stderr=subprocess.PIPE,
                    text=True,
                    env=cable.environment,
                    timeout=60,
                )
                assert (result.returncode, said in result.stderr) == (status, True), result.stderr


def test_names_of_all_kinds(commands: Commands) -> None:
    """In a pipe names are as they are; on a terminal what it would obey is escaped."""
    name = "evil\x1b[31m caf\N{LATIN SMALL LETTER E WITH ACUTE}"
    local_file(commands.phone / "N" / name, b"x")
    assert commands.lines("ls", "N") == [name]
    assert commands.objects("ls", "N")[0]["name"] == name
    seen = on_terminal(commands, "ls", "N")
    assert b"\\x1b[31m" in seen
    commands.run("get", "N/*")
    assert (commands.here / name).read_bytes() == b"x"


def on_terminal(commands: Commands, *words: str) -> bytes:
    """Run a command on a terminal; return what it shows."""
    controller, terminal = pty.openpty()
    with subprocess.Popen(
        [*commands.command, *words],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        cwd=commands.here,
        env={**commands.environment, "TERM": "xterm"},
    ) as process:
        os.close(terminal)
        seen = b""
        while True:
            try:
                piece = os.read(controller, 65536)
            except OSError:  # the terminal is gone with its last program
                break
            seen += piece
        assert process.wait(60) == 0, seen
    os.close(controller)
    return seen


def test_bar(slow: Commands) -> None:
    """On a terminal there is a bar, with the name, and it is gone at the end; then comes how much it was."""
    big(slow)
    seen = on_terminal(slow, "get", "big.bin").decode()
    assert re.search(r"big\.bin +\d+%  1/1 ▕.{16}▏ *\d+%  +[\d.]+ MB/s  [\d:-]+", seen)
    *_, last = seen.split("\r\x1b[K")
    assert re.fullmatch(r"1 file, 48M in \d:\d\d\r\n", last)


def test_redact(commands: Commands) -> None:
    """`--redact` hides names, over the cable and through a mount."""
    shown = commands.run("ls", "-R", "--redact", "DCIM").stdout
    assert "Camera" not in shown
    assert re.search(r"name-[0-9a-f]{8}\.jpg", shown)
