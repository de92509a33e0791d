"""`mtpfs sync` as a user calls it: over the cable, and through a mount that holds the phone."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from cli.files import STORAGE, Commands, local_file, reached
from mount.conftest import HAS_FUSE, virtual_mount, wait_until

DATE = 1_500_000_000
MANY = 200  # files of a sync that is broken off
TREE = {
    "a.mp3": b"song a",
    "Album/b.mp3": b"song b" * 2000,
    "Album/.hidden": b"h",
    "Album/Deep/c.mp3": b"",
}


@pytest.fixture
def cable(tmp_path: Path) -> Commands:
    """A phone with some files of its own, and a tree on this machine."""
    local_file(tmp_path / "phone/DCIM/photo.jpg", b"photo")
    for name, data in TREE.items():
        local_file(tmp_path / "here/Music" / name, data, DATE)
    (tmp_path / "here/Music/Empty").mkdir()
    return Commands(tmp_path / "phone", tmp_path / "here", f"virtual:{tmp_path}/phone?ghost=0")


def tree(top: Path) -> dict[str, bytes | None]:
    """Return what is below a directory; None for directories."""
    return {
        str(path.relative_to(top)): None if path.is_dir() else path.read_bytes() for path in top.rglob("*")
    }


def actions(found: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Return what was done, to which names, the summary excepted."""
    return [
        (each["action"], each["target"].rpartition("/")[2]) for each in found if each["action"] != "summary"
    ]


def sync(commands: Commands, *words: str | Path, **how: Any) -> list[tuple[str, str]]:
    """Run a sync, and compare its summary with what it says of each."""
    found = commands.objects("sync", *words, **how)
    *each, summary = found
    assert summary["action"] == "summary"
    done = [one for one in each if one["status"] in {"done", "planned"}]
    moved = [one for one in done if one["action"] in {"copy", "replace"}]
    assert (summary["copied"], summary["size"]) == (len(moved), sum(one["size"] for one in moved))
    assert summary["removed"] == sum(one["action"] == "remove" for one in done)
    assert summary["made"] == sum(one["action"] == "mkdir" for one in done)
    return actions(each)


def unchanged(commands: Commands, *words: str | Path) -> int:
    """See to it that a sync has nothing to do; return how many files it has compared."""
    (summary,) = commands.objects("sync", *words)
    assert (summary["status"], summary["copied"], summary["made"], summary["removed"]) == ("done", 0, 0, 0)
    return int(summary["unchanged"])


def same(commands: Commands, there: str = "Music") -> bool:
    return tree(commands.phone / there) == tree(commands.here / "Music")


# --- one way and the other -----------------------------------------------------------


def test_to_the_phone(commands: Commands) -> None:
    """The phone gets the same tree, with dates; a second sync does nothing; then only what differs is moved."""
    here = commands.here / "Music"
    assert len(sync(commands, "Music", "phone:")) == 8
    assert same(commands)
    assert (commands.phone / "Music/Album/b.mp3").stat().st_mtime == DATE
    assert unchanged(commands, "Music", "phone:") == 4
    local_file(here / "a.mp3", b"song A", DATE + 100)
    local_file(here / "Album/new.mp3", b"new", DATE)
    (here / "Album/.hidden").unlink()
    assert sync(commands, "Music/", f"phone:{STORAGE}/Music") == [("replace", "a.mp3"), ("copy", "new.mp3")]
    assert (commands.phone / "Music/Album/.hidden").exists()
    assert sync(commands, "--delete", "Music", "phone:") == [("remove", ".hidden")]
    assert same(commands)
    assert (commands.phone / "DCIM/photo.jpg").exists()


def test_from_the_phone(commands: Commands) -> None:
    """And so does this machine."""
    sync(commands, "Music", "phone:")
    assert len(sync(commands, "phone:Music", "got")) == 8
    assert tree(commands.here / "got/Music") == tree(commands.here / "Music")
    assert (commands.here / "got/Music/a.mp3").stat().st_mtime == DATE
    assert unchanged(commands, "phone:Music/", "got/Music") == 4
    local_file(commands.here / "got/Music/a.mp3", b"song A", DATE + 100)
    local_file(commands.here / "got/Music/mine/own", b"own", DATE + 100)
    assert sync(commands, "phone:Music", "got") == [("replace", "a.mp3")]
    assert sync(commands, "--delete", "phone:Music", "got") == [("remove", "own"), ("remove", "mine")]
    assert tree(commands.here / "got/Music") == tree(commands.here / "Music")


def test_slash_of_the_source(commands: Commands) -> None:
    """With it SRC means what is in the directory, without it the directory."""
    sync(commands, "Music", "phone:Backup")
    assert same(commands, "Backup/Music")
    sync(commands, "Music/", "phone:Other/Deep")
    assert same(commands, "Other/Deep")
    sync(commands, "phone:DCIM", "x")
    sync(commands, "phone:DCIM/", "y/z")
    assert tree(commands.here / "x") == {"DCIM": None, "DCIM/photo.jpg": b"photo"}
    assert tree(commands.here / "y") == {"z": None, "z/photo.jpg": b"photo"}
    sync(commands, "phone:DC*", "w")
    assert tree(commands.here / "w") == {"DCIM": None, "DCIM/photo.jpg": b"photo"}
    assert "it means several" in commands.run("sync", "phone:*", "w", status=1).stderr


def test_the_whole_phone(commands: Commands) -> None:
    """Its top holds the storages. They are no superfluous directories when one of them isn't there."""
    sync(commands, "phone:", "all")
    assert tree(commands.here / "all")[f"{STORAGE[1:]}/DCIM/photo.jpg"] == b"photo"
    local_file(commands.here / "all/SD card/old", b"old")
    local_file(commands.here / f"all{STORAGE}/old", b"old")
    assert sync(commands, "--delete", "phone:/", "all") == [("remove", "old")]
    assert (commands.here / "all/SD card/old").exists()


def test_dry_run(commands: Commands) -> None:
    """The plan is printed, and nothing is done."""
    local_file(commands.phone / "Music/Old/x.mp3", b"x")
    local_file(commands.phone / "Music/a.mp3", b"other")
    before = tree(commands.phone)
    lines = commands.lines("sync", "-n", "--delete", "Music", "phone:")
    top = f"{STORAGE}/Music"
    assert lines == [
        f"remove   {top}/Old/x.mp3",
        f"remove   {top}/Old/",
        f"mkdir    {top}/Album/",
        f"mkdir    {top}/Empty/",
        f"mkdir    {top}/Album/Deep/",
        f"replace  {top}/a.mp3 (6)",
        f"copy     {top}/Album/.hidden (1)",
        f"copy     {top}/Album/b.mp3 (12K)",
        f"copy     {top}/Album/Deep/c.mp3 (0)",
    ]
    planned = sync(commands, "--dry-run", "--delete", "Music", "phone:")
    assert tree(commands.phone) == before
    assert sync(commands, "--delete", "Music", "phone:") == planned
    assert same(commands)


def test_checksum(commands: Commands) -> None:
    """Contents are compared, whatever the dates are."""
    sync(commands, "Music", "phone:")
    os.utime(commands.here / "Music/a.mp3", (DATE + 100, DATE + 100))
    local_file(commands.here / "Music/Album/b.mp3", b"song c" * 2000, DATE)
    assert unchanged(commands, "Music", "phone:", "--exclude", "a.mp3") == 3
    assert sync(commands, "--checksum", "-n", "Music", "phone:") == [("replace", "b.mp3")]
    assert sync(commands, "--checksum", "Music", "phone:") == [("replace", "b.mp3")]
    assert same(commands)


@pytest.mark.parametrize(
    ("shift", "is_same"), [(0.9, True), (1, False), (2, False), (-1, False), (-2, False), (3600, False)]
)
def test_dates_of_whole_seconds(cable: Commands, shift: float, is_same: bool) -> None:
    """A second more is another file, where dates are kept."""
    local_file(cable.here / "D/f", b"f", DATE + 1)
    sync(cable, "D", "phone:")
    os.utime(cable.here / "D/f", (DATE + 1 + shift, DATE + 1 + shift))
    assert sync(cable, "D", "phone:") == ([] if is_same else [("replace", "f")])


@pytest.mark.parametrize("words", ["", "as=sailfish"])
def test_an_hour_that_comes_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    """In autumn a phone that tells what its clock shows means one hour or the other."""
    environment = {**os.environ, "MTPFS_SOURCE": f"virtual:{tmp_path}/phone?{words}", "TZ": "Europe/Berlin"}
    monkeypatch.setattr(Commands, "environment", environment)
    autumn = 1_761_436_800  # 2025-10-26 02:00 in summer time
    for minutes in range(0, 120, 15):
        local_file(tmp_path / f"here/Music/{minutes}", b"x", autumn + 60 * minutes)
    (tmp_path / "phone").mkdir()
    commands = Commands(tmp_path / "phone", tmp_path / "here", environment["MTPFS_SOURCE"])
    assert len(sync(commands, "Music/", "phone:Music")) == 9
    assert sync(commands, "Music/", "phone:Music") == []
    commands.run("put", "Music/90", "phone:Music/120")
    local_file(tmp_path / "here/Music/120", b"x", autumn + 120 * 60)
    assert sync(commands, "Music/", "phone:Music") == [("replace", "120")]


@pytest.mark.parametrize("date", [DATE, DATE + 1, 1_700_000_001.7])
def test_dates_of_even_seconds(tmp_path: Path, date: float) -> None:
    """FAT rounds: a date that was sent is the same all the same, and also on a phone that another machine has filled."""
    commands = Commands(tmp_path / "phone", tmp_path, f"virtual:{tmp_path}/phone?as=player")
    (tmp_path / "phone").mkdir()
    local_file(tmp_path / "Music/f.mp3", b"f", date)
    local_file(tmp_path / "phone/Music/f.mp3", b"f", int(date) // 2 * 2)
    assert unchanged(commands, "Music", "phone:") == 1
    (tmp_path / "phone/Music/f.mp3").unlink()
    assert sync(commands, "Music", "phone:") == [("copy", "f.mp3")]
    assert unchanged(commands, "Music", "phone:") == 1


# --- what is left out, what is removed -----------------------------------------------


def test_exclude(commands: Commands) -> None:
    """What is excluded is neither moved nor removed, nor is the directory that it is in."""
    for name in ("Album/keep.txt", "Gone/Deep/keep.txt", "Gone/go.mp3", "Cache/x", "top.txt"):
        local_file(commands.phone / "Music" / name, b"x")
    words = ("--delete", "--exclude", "*.txt", "--exclude", "/Cache/", "--exclude=.hidden", "Music", "phone:")
    done = sync(commands, *words)
    assert [each for each in done if each[0] == "remove"] == [("remove", "go.mp3")]
    assert ("copy", ".hidden") not in done
    assert {path for path in tree(commands.phone / "Music") if path not in tree(commands.here / "Music")} == {
        "Album/keep.txt",
        "Gone",
        "Gone/Deep",
        "Gone/Deep/keep.txt",
        "Cache",
        "Cache/x",
        "top.txt",
    }
    assert unchanged(commands, *words) == 3
    for name in ("Music/x.txt", "Music/Cache/y"):
        local_file(commands.here / name, b"y")
    assert unchanged(commands, *words) == 3


def test_an_empty_source_deletes_nothing(commands: Commands) -> None:
    """A disk that isn't mounted looks like that, and so may a phone."""
    (commands.here / "nothing").mkdir()
    local_file(commands.phone / "D/f", b"f")
    result = commands.run("sync", "--delete", "nothing/", "phone:D", status=1)
    assert "'nothing/' is empty, so nothing is deleted" in result.stderr
    assert (commands.phone / "D/f").exists()
    commands.run("mkdir", "E")
    result = commands.run("sync", "--delete", "phone:E/", "Music", status=1)
    assert "is empty, so nothing is deleted" in result.stderr
    assert "No such file" in commands.run("sync", "--delete", "phone:none/", "Music", status=1).stderr
    assert "No such file" in commands.run("sync", "--delete", "none/", "phone:D", status=1).stderr
    assert len(tree(commands.here / "Music")) == 7
    local_file(commands.here / "nothing/sub/f", b"f")
    assert sync(commands, "--delete", "nothing/", "phone:D")[0] == ("remove", "f")


def test_a_locked_phone_deletes_nothing(tmp_path: Path) -> None:
    """It shows no storages."""
    commands = Commands(tmp_path / "phone", tmp_path, f"virtual:{tmp_path}/phone?locked")
    (tmp_path / "phone").mkdir()
    local_file(tmp_path / "D/DCIM/f", b"f")
    for source in ("phone:", f"phone:{STORAGE}/", "phone:DCIM", f"phone:{STORAGE}/DCIM"):
        commands.run("sync", "--delete", source, "D", status=1)
        commands.run("sync", "--delete", source, "D/DCIM", status=1)
    assert tree(tmp_path / "D") == {"DCIM": None, "DCIM/f": b"f"}


def test_locked_before_anything_is_removed(cable: Commands) -> None:
    """A phone whose storage has gone since it was listed deletes nothing here."""
    sync(cable, "phone:DCIM", ".")
    local_file(cable.here / "DCIM/mine", b"mine")
    # It is asked what its storage is once at the start, and once more before something is removed.
    cable.faults = ("refuse GetStorageInfo code=StoreNotAvailable skip=1 times=0",)
    result = cable.run("sync", "--delete", "phone:DCIM", ".", status=1)
    assert result.stderr.startswith("mtpfs sync: ")
    assert (cable.here / "DCIM/mine").exists()


def test_a_source_that_cant_be_listed_deletes_nothing(cable: Commands) -> None:
    """Neither where it is, nor elsewhere; what can be moved is."""
    local_file(cable.phone / "Music/Album/old", b"old")
    local_file(cable.phone / "Music/Old/old", b"old")
    cable.faults = (
        "refuse GetObjectPropList code=AccessDenied skip=2 times=0",
        "refuse GetObjectHandles skip=2 times=0",
    )
    for name in ("A", "B"):
        local_file(cable.phone / "Tree" / name / "f", b"f")
        local_file(cable.here / "Tree" / name / "own", b"own")
    before = tree(cable.here / "Tree")
    result = cable.run("sync", "--delete", "phone:Tree", ".", status=1)
    assert before.items() <= tree(cable.here / "Tree").items(), result.stderr


def test_a_file_that_isnt_described_deletes_nothing(cable: Commands) -> None:
    """The phone lists it and says nothing about it: a listing goes on without it, but nothing here is superfluous then."""
    for name in "abcd":
        local_file(cable.phone / "Tree" / name, name.encode())
    sync(cable, "phone:Tree", ".")
    local_file(cable.here / "Tree/superfluous", b"x")
    # The storage, Tree, and then the files one by one.
    cable.faults = ("refuse GetObjectInfo skip=3",)
    result = cable.run("sync", "--delete", "phone:Tree", ".", status=1)
    assert "can't describe 1 of the files that it lists" in result.stderr
    assert "nothing is deleted" in result.stderr
    assert len(tree(cable.here / "Tree")) == 5
    cable.faults = ()
    assert sync(cable, "--delete", "phone:Tree", ".") == [("remove", "superfluous")]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_here(cable: Commands) -> None:
    """An unreadable directory deletes nothing, an unreadable file is named; the rest is moved."""
    local_file(cable.phone / "Music/old", b"old")
    for name in ("Album", "a.mp3"):
        (cable.here / "Music" / name).chmod(0)
    local_file(cable.here / "Music/x.mp3", b"x", DATE)
    result = cable.run("sync", "--delete", "Music", "phone:", status=1)
    (cable.here / "Music/Album").chmod(0o700)
    assert "'Music/Album': Permission denied" in result.stderr
    assert "'Music/a.mp3': Permission denied" in result.stderr
    assert "nothing is deleted, because the source couldn't be listed wholly" in result.stderr
    assert "look at the permissions" in result.stderr
    assert {"old", "x.mp3"} <= tree(cable.phone / "Music").keys()


def test_whole_storage(cable: Commands) -> None:
    """`phone:` is a guess: that isn't good enough for deleting all that is in it."""
    for target in ("phone:", "phone:/", "phone://", "phone:.", "phone:..", "phone:DCIM/..", "phone:/."):
        result = cable.run("sync", "--delete", "Music/", target, status=2)
        assert "--delete would empty a whole storage" in result.stderr
    for place in ("/", "~", "~/.."):
        words = ("sync", "--delete", "phone:DCIM/", os.path.expanduser(place))  # noqa: PTH111
        assert "name a directory in it" in cable.run(*words, status=2).stderr
    assert sync(cable, "-n", "--delete", "Music/", f"phone:{STORAGE}")[:2] == [
        ("remove", "photo.jpg"),
        ("remove", "DCIM"),
    ]


def test_what_is_mounted_below_stays(cable: Commands, tmp_path: Path) -> None:
    """Who cleans a directory up doesn't mean the disks, or other phones, that are mounted in it."""
    other = Commands(tmp_path / "other", cable.here, f"virtual:{tmp_path}/other?ghost=0")
    local_file(other.phone / "DCIM/only.jpg", b"only")
    phones = cable.here / "Phones"
    local_file(phones / "old/x.jpg", b"x")
    with reached("mount", other, phones / "deep"):
        words = ("sync", "--delete", "--exclude", "*.log", "phone:DCIM/", "Phones")
        result = cable.run(*words, status=1)
        assert "something is mounted there, so it stays" in result.stderr
        assert tree(other.phone) == {"DCIM": None, "DCIM/only.jpg": b"only"}
    assert not (phones / "old").exists()
    assert (phones / "photo.jpg").exists()


# --- what can't be moved -------------------------------------------------------------


def test_the_phone_with_itself(cable: Commands, tmp_path: Path) -> None:
    """What the phone's own mount shows is no second side: removals there would hit the source."""
    with reached("mount", cable, tmp_path / "mnt") as mounted:
        assert mounted is not None
        for words in (
            ("phone:DCIM/", str(mounted.root)),
            ("phone:DCIM/", f"{mounted.root}/new/newer"),
            (f"{mounted.root}/DCIM/", f"phone:{STORAGE}"),
        ):
            result = cable.run("sync", "--delete", *words, status=2)
            assert "is on the phone itself" in result.stderr
    assert tree(cable.phone) == {"DCIM": None, "DCIM/photo.jpg": b"photo"}


def test_links_and_pipes(commands: Commands) -> None:
    """A link to a file is the file; others are told, and what the phone has of that name stays."""
    here = commands.here / "Music"
    (here / "link.mp3").symlink_to("a.mp3")
    (here / "nowhere").symlink_to("nothing")
    (here / "around").symlink_to(".")
    os.mkfifo(here / "pipe")
    for name in ("nowhere", "around/x", "pipe"):
        local_file(commands.phone / "Music" / name, b"x")
    result = commands.run("sync", "--delete", "Music", "phone:", status=1)
    for text in (
        "'Music/nowhere': the link leads nowhere",
        "'Music/around': a link to a directory isn't followed",
        "'Music/pipe': it isn't a file",
        "3 failed:",
    ):
        assert text in result.stderr
    found = tree(commands.phone / "Music")
    assert (found["link.mp3"], found["nowhere"], found["around/x"], found["pipe"]) == (
        TREE["a.mp3"],
        *3 * [b"x"],
    )
    words = ("--exclude", "nowhere", "--exclude", "around", "--exclude", "pipe", "Music", "phone:")
    assert unchanged(commands, *words) == 5


def test_links_in_the_target(cable: Commands) -> None:
    """A link to a directory isn't followed, so nothing is changed or removed outside; one to a file stays, as with get."""
    local_file(cable.here / "outside/f", b"mine")
    local_file(cable.phone / "T/D/f", b"phone")
    local_file(cable.phone / "T/file", b"phone")
    local_file(cable.here / "elsewhere", b"mine")
    (cable.here / "T").mkdir()
    (cable.here / "T/D").symlink_to("../outside")
    (cable.here / "T/file").symlink_to("../elsewhere")
    (cable.here / "T/more").symlink_to("../outside")
    result = cable.run("sync", "--delete", "phone:T", ".", status=1)
    assert "'./T/D' is in the way: a link to a directory isn't followed" in result.stderr
    assert tree(cable.here / "outside") == {"f": b"mine"}
    assert not (cable.here / "T/more").is_symlink()
    assert (cable.here / "elsewhere").read_bytes() == b"phone"


@pytest.mark.parametrize("words", ["as=umtp", "as=sailfish", "alters"])
def test_names_that_the_phone_cant_have(tmp_path: Path, words: str) -> None:
    """They are told, with what to do, each time; the rest is moved, and not again."""
    commands = Commands(tmp_path / "phone", tmp_path, f"virtual:{tmp_path}/phone?{words}&ghost=0")
    (tmp_path / "phone").mkdir()
    for name in ("a:b", "D:/x", "c"):
        local_file(tmp_path / "Music" / name, b"x")
    for _ in range(2):
        result = commands.run("sync", "Music", "phone:", status=0 if words == "as=sailfish" else 1)
        if words != "as=sailfish":  # which takes them
            assert f"'{STORAGE}/Music/a:b': Invalid argument" in result.stderr
            assert "1 file can't be copied, because their directory can't be made" in result.stderr
            assert "has to be changed here" in result.stderr
            assert tree(tmp_path / "phone/Music") == {"c": b"x"}


def test_names_that_differ_in_case(tmp_path: Path) -> None:
    """On a phone that takes them for one, the second is refused, and never replaces the first."""
    commands = Commands(tmp_path / "phone", tmp_path, f"virtual:{tmp_path}/phone?case-insensitive&ghost=0")
    (tmp_path / "phone").mkdir()
    local_file(tmp_path / "M/Song", b"first")
    local_file(tmp_path / "M/song", b"second")
    for _ in range(2):
        result = commands.run("sync", "M", "phone:", status=1)
        assert f"'{STORAGE}/M/song': File exists" in result.stderr
        assert "differ only in case" in result.stderr
        assert tree(tmp_path / "phone/M") == {"Song": b"first"}
    (tmp_path / "M/Song").unlink()
    assert sync(commands, "--delete", "M", "phone:") == [("remove", "Song"), ("copy", "song")]
    assert tree(tmp_path / "phone/M") == {"song": b"second"}


def test_names_that_differ_in_case_on_a_disk(tmp_path: Path) -> None:
    """Nor does it on a disk here that takes them for one, such as a stick."""
    if not HAS_FUSE:
        pytest.skip("no FUSE")
    for name in ("phone", "stick", "mnt"):
        (tmp_path / name).mkdir()
    commands = Commands(tmp_path / "phone", tmp_path, f"virtual:{tmp_path}/phone?ghost=0")
    local_file(tmp_path / "phone/M/Song", b"first")
    local_file(tmp_path / "phone/M/song", b"second")
    with virtual_mount(tmp_path / "stick", tmp_path / "mnt", "case-insensitive&ghost=0") as stick:
        for _ in range(2):
            result = commands.run("sync", "phone:M", stick.root, status=1)
            assert "File exists" in result.stderr
            found = tree(stick.root / "M")
            # What was fetched stays, to be gone on with; a disk that isn't a phone refuses before that.
            assert {name: data for name, data in found.items() if not name.startswith(".")} == {
                "Song": b"first"
            }


def test_in_the_way(commands: Commands) -> None:
    """A directory in a file's place, or the other way round, is only removed with --delete, and not if something in it is excluded."""
    local_file(commands.phone / "Music/a.mp3/in/x", b"x")
    local_file(commands.phone / "Music/Album", b"x")
    result = commands.run("sync", "Music", "phone:", status=1)
    assert f"'{STORAGE}/Music/a.mp3' is in the way: it is a directory; --delete removes it" in result.stderr
    assert f"'{STORAGE}/Music/Album' is in the way: it is a file" in result.stderr
    result = commands.run("sync", "--delete", "--exclude", "x", "Music", "phone:", status=1)
    assert "something in it is excluded" in result.stderr
    assert (commands.phone / "Music/a.mp3/in/x").exists()
    sync(commands, "--delete", "Music", "phone:")
    assert same(commands)
    local_file(commands.here / "got/Music/a.mp3/x", b"x")
    sync(commands, "--delete", "phone:Music", "got")
    assert tree(commands.here / "got/Music") == tree(commands.phone / "Music")


def test_unfinished_files(commands: Commands) -> None:
    """mtpfs's own are never moved; one that is to be gone on with isn't removed, others are."""
    part = ".{}.mtpfs-0123456789abcdef.part"
    for directory in (commands.here / "Music", commands.phone / "DCIM"):
        local_file(directory / part.format("x"), b"x")
    local_file(commands.phone / "DCIM/.mtpfs-put-x", b"x")
    sync(commands, "Music", "phone:")
    assert part.format("x") not in tree(commands.phone / "Music")
    sync(commands, "phone:DCIM", ".")
    assert tree(commands.here / "DCIM") == {"photo.jpg": b"photo"}
    local_file(commands.here / "DCIM" / part.format("photo.jpg"), b"x")
    local_file(commands.here / "DCIM" / part.format("other.jpg"), b"x")
    assert sync(commands, "--delete", "phone:DCIM", ".") == [("remove", part.format("other.jpg"))]


def test_a_full_phone(tmp_path: Path) -> None:
    """What has no room is named, with what to do. Deleting makes room first."""
    commands = Commands(tmp_path / "phone", tmp_path, f"virtual:{tmp_path}/phone?capacity=1000000&ghost=0")
    local_file(tmp_path / "phone/M/old", b"x" * 800_000)
    local_file(tmp_path / "M/big", b"x" * 600_000)
    local_file(tmp_path / "M/small", b"x")
    result = commands.run("sync", "M", "phone:", status=1)
    assert f"'{STORAGE}/M/big': No space left" in result.stderr
    assert "mtpfs sync: make room" in result.stderr
    assert (tmp_path / "phone/M/small").exists()
    assert sync(commands, "--delete", "M", "phone:") == [("remove", "old"), ("copy", "big")]


def test_two_storages(tmp_path: Path) -> None:
    """A relative path that several storages have is refused, also as a source: the other one may come and go."""
    commands = Commands(tmp_path / "phone", tmp_path, f"virtual:{tmp_path}/phone?storages=2&ghost=0")
    for name in (f"phone{STORAGE}/Music/a", "phone/SD card/Music/b", "phone/SD card/Books/c", "Books/d"):
        local_file(tmp_path / name, b"x")
    for words in (("phone:Music", "."), ("Music", "phone:")):
        (tmp_path / "Music").mkdir(exist_ok=True)
        result = commands.run("sync", "--json", *words, status=1)
        assert "is on several storages: say which" in result.stderr
        assert '"status": "failed", "copied": 0' in result.stdout
    sync(commands, "Books", "phone:")
    assert (tmp_path / "phone/SD card/Books/d").exists()


# --- breaking off --------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
@pytest.mark.parametrize("words", [("big", "phone:"), ("phone:big", "got")], ids=["to", "from"])
def test_killed(commands: Commands, number: signal.Signals, words: tuple[str, str]) -> None:
    """Started anew it ends in the same tree, and moves no file again that was finished."""
    here = commands.here / "big"
    for index in range(MANY):
        local_file(here / f"{index:03}.mp3", os.urandom(100_000), DATE + index)
    if words[0] == "big":
        target = commands.phone / "big"
    else:
        sync(commands, "big", "phone:")
        target = commands.here / "got/big"
    with commands.start("sync", *words, "--json") as process:
        wait_until(lambda: target.is_dir() and len(list(target.iterdir())) > 20, "the first files")
        process.send_signal(number)
        out = process.communicate(timeout=30)[0].decode()
    assert process.returncode == (-number if number == signal.SIGKILL else 130)
    assert '"status": "done", "copied"' not in out  # the summary
    first = {line for line in out.splitlines() if '"done"' in line and '"copy"' in line}
    assert 0 < len(first) < MANY
    second = set(commands.run("sync", *words, "--json").stdout.splitlines())
    assert not first & second
    assert tree(target) == tree(here)
    assert unchanged(commands, *words) == MANY


def test_unplugged(cable: Commands) -> None:
    """Without the phone nothing more is tried; it says so, and the next one goes on."""
    cable.faults = ("gone SendObject skip=1",)
    result = cable.run("sync", "Music", "phone:", status=1)
    assert "No such device" in result.stderr
    assert "aren't tried: the same command goes on from here" in result.stderr
    assert "unlock the phone and plug it in" in result.stderr
    cable.faults = ()
    done = sync(cable, "Music", "phone:")
    assert len(done) == 3
    assert same(cable)


def test_a_file_that_changes_while_it_is_sent(commands: Commands) -> None:
    """It isn't marked done, and the old one stays; the next sync sends it."""
    path = local_file(commands.here / "D/f", b"x" * (100 << 20), DATE)
    local_file(commands.phone / "D/f", b"old")
    with commands.start("sync", "D", "phone:", "--json") as process:
        while process.poll() is None:
            with path.open("r+b") as file:
                file.write(os.urandom(10))
            time.sleep(0.02)
        out = process.stdout and process.stdout.read()
    assert (process.returncode, b'"failed"' in (out or b"")) == (1, True)
    assert tree(commands.phone / "D") == {"f": b"old"}
    assert sync(commands, "D", "phone:") == [("replace", "f")]
    assert tree(commands.phone / "D") == tree(commands.here / "D")


# --- phones that keep no dates -------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        "as=android8",
        "as=sailfish",
        "as=tizen",
        "as=umtp",
        "as=player",
        "arrival-dates",
        "arrival-dates&as=android8",
        "dates=none",
        "dates=zero",
        "dates=junk",
    ],
)
def test_second_sync_does_nothing(tmp_path: Path, words: str) -> None:
    """Also where the phone gives uploads the date of their arrival, or tells no dates at all."""
    commands = Commands(tmp_path / "phone", tmp_path, f"virtual:{tmp_path}/phone?{words}&ghost=0")
    (tmp_path / "phone").mkdir()
    for index in range(5):
        local_file(tmp_path / f"Music/D{index % 2}/{index}.mp3", b"x" * index, DATE + index)
    assert len(sync(commands, "Music", "phone:")) == 8
    assert unchanged(commands, "Music", "phone:") == 5
    # The first one is so new that its date may be taken for that of its arrival.
    local_file(tmp_path / "Music/D0/0.mp3", b"", time.time())
    local_file(tmp_path / "Music/D1/1.mp3", b"y", DATE + 100)
    assert sync(commands, "Music", "phone:") == [("replace", "0.mp3"), ("replace", "1.mp3")]
    assert unchanged(commands, "Music", "phone:") == 5
    sync(commands, "phone:Music", "got")
    assert unchanged(commands, "phone:Music", "got") == 5
    assert tree(tmp_path / "got/Music") == tree(tmp_path / "Music") == tree(tmp_path / "phone/Music")


@pytest.mark.parametrize("damage", ["lost", "junk", "cut", "of another file"])
def test_memory_of_dates_that_is_damaged(
    tmp_path: Path, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then files are sent once more. None is left out that differs, and none is lost."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    commands = Commands(tmp_path / "phone", tmp_path, f"virtual:{tmp_path}/phone?arrival-dates&ghost=0")
    (tmp_path / "phone").mkdir()
    for name in "abc":
        local_file(tmp_path / "Music" / name, name.encode(), DATE)
    sync(commands, "Music", "phone:")
    assert unchanged(commands, "Music", "phone:") == 3
    (memory,) = (tmp_path / "state/mtpfs").iterdir()
    lines = memory.read_bytes().splitlines(keepends=True)
    if damage == "lost":
        memory.unlink()
    else:
        kept = {"junk": b"\x00[[[\n", "cut": lines[0] + lines[1][:20], "of another file": b"".join(lines)}
        memory.write_bytes(kept[damage])
    if damage == "of another file":  # changed on the phone since: same size, another date
        local_file(tmp_path / "phone/Music/a", b"x", DATE + 5000)
    done = sync(commands, "Music", "phone:")
    names = {"lost": "abc", "junk": "abc", "cut": "bc", "of another file": "a"}[damage]
    assert done == [("replace", name) for name in names]
    assert tree(tmp_path / "phone/Music") == tree(tmp_path / "Music")
    assert unchanged(commands, "Music", "phone:") == 3


# --- wrong use -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("Music",), "it takes two directories"),
        (("a", "b", "phone:"), "it takes two directories"),
        (("a", "b"), "one of SRC and DST is on the phone"),
        (("phone:a", "phone:b"), "one of SRC and DST is on the phone"),
        (("Music", "phone:", "--exclude", "[a"), "has a [ without its ]"),
        (("Music", "phone:", "--exclude", "/"), "names nothing"),
    ],
)
def test_wrong_use(cable: Commands, words: tuple[str, ...], text: str) -> None:
    """Wrong use is status 2, and one line."""
    assert text in cable.run("sync", *words, status=2).stderr


def test_not_a_directory(cable: Commands) -> None:
    """A file is neither a source nor a target."""
    assert "`mtpfs put` sends it" in cable.run("sync", "Music/a.mp3", "phone:", status=1).stderr
    assert "`mtpfs get` fetches it" in cable.run("sync", "phone:DCIM/photo.jpg", ".", status=1).stderr
    assert "Not a directory" in cable.run("sync", "phone:DCIM/", "Music/a.mp3", status=1).stderr
    assert "Not a directory" in cable.run("sync", "Music/", "phone:DCIM/photo.jpg", status=1).stderr
