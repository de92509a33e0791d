"""`mtpfs import` as a user calls it: what comes, where to, once; and the faults of other programs, which it hasn't."""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.files import SLOW, STORAGE, reached
from cli.imports import CAMERA, DATE, WHATSAPP, Imports, photo, statuses
from cli.test_json import VALIDATOR
from mount.conftest import HAS_FUSE, virtual_mount, wait_until
from mtpfs.cli.importing import shelf
from mtpfs.protocol.codes import Operation
from mtpfs.virtual.faults import FOREVER, Fault, FaultScript, Kind
from phones import WRITABLE_PERSONALITIES
from pictures import made

INTO = ("--into", "{taken:%Y/%m}")


@pytest.fixture
def cable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Imports:
    """A phone without photos, that no mount holds, and a memory of its own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for name in ("phone", "here"):
        (tmp_path / name).mkdir()
    return Imports(tmp_path / "phone", tmp_path / "here", f"virtual:{tmp_path}/phone?ghost=0")


@pytest.fixture(params=["cable", "mount"])
def imports(request: pytest.FixtureRequest, cable: Imports, tmp_path: Path) -> Iterator[Imports]:
    """The same phone, over the cable and behind a mount."""
    with reached(request.param, cable, tmp_path / "mnt") as mounted:
        cable.shown = mounted.root if mounted is not None else None
        yield cable


@pytest.fixture(params=["cable", "mount"])
def slow(request: pytest.FixtureRequest, cable: Imports, tmp_path: Path) -> Iterator[Imports]:
    """A phone that takes its time for each part of a file, over the cable and behind a mount."""
    with reached(request.param, cable, tmp_path / "mnt", SLOW) as mounted:
        cable.shown = mounted.root if mounted is not None else None
        yield cable


def mtimes(imports: Imports) -> set[float]:
    return {(imports.target / name).stat().st_mtime for name in imports.imported()}


# --- what is taken -------------------------------------------------------------------


def test_what_is_taken(imports: Imports) -> None:
    """Faults 6 and 10: photos and videos of all apps, in their directories; nothing that is hidden, trashed or unfinished."""
    wanted = {
        f"{CAMERA}/IMG_20250131_233000.jpg": photo(1),
        f"{CAMERA}/VID_20250131_233000.mp4": made.film(),
        f"{CAMERA}/a/b/DSC00001.ARW": b"raw",
        f"{CAMERA}/without-extension": photo(2),
        "Pictures/Screenshots/Screenshot_20250131-233000.png": made.png(),
        "Pictures/Telegram/IMG_1.jpg": photo(3),
        "Movies/Signal/signal-2025-01-31.mp4": made.film(),
        f"{WHATSAPP}/WhatsApp Images/IMG-20250102-WA0001.jpg": photo(4),
        f"{WHATSAPP}/WhatsApp Video/VID-20250102-WA0001.mp4": made.film(),
        "WhatsApp/Media/WhatsApp Images/IMG-20200102-WA0001.jpg": photo(5),
    }
    other = (
        "DCIM/.thumbnails/1.jpg",
        f"{CAMERA}/.trashed-1700000000-IMG_1.jpg",
        f"{CAMERA}/.pending-1700000000-IMG_2.jpg",
        "Pictures/.trash-storage/IMG_3.jpg",
        f"{CAMERA}/notes.txt",
        f"{CAMERA}/no-picture",
        f"{WHATSAPP}/WhatsApp Stickers/STK-1.webp",
        f"{WHATSAPP}/.Statuses/1.jpg",
        "Music/cover.jpg",
        "Download/a.jpg",
        "Android/data/app/a.jpg",
        "a.jpg",
    )
    for name, data in wanted.items():
        imports.put(name, data)
    for name in other:
        imports.put(name, b"other")
    imports.put(f"{WHATSAPP}/WhatsApp Images/Private/IMG-20250102-WA0009.jpg", photo(9))
    imports.put(f"{WHATSAPP}/WhatsApp Images/Private/.nomedia", b"")
    result = imports.run("import", imports.target)
    assert imports.imported() == wanted
    assert mtimes(imports) == {DATE}
    assert result.stdout.splitlines()[-1] == "1 directory with a .nomedia left out"
    assert re.match(rf"{len(wanted)} files imported, [\d.]+K, in \d:\d\d\n", result.stdout)
    assert not imports.parts()


def test_again_nothing_is_new(cable: Imports) -> None:
    """Faults 8 and 9: what was imported doesn't come again, be it moved or deleted here; what is new, or another one, does."""
    for number in range(3):
        cable.put(f"{CAMERA}/{number}.jpg", photo(number))
    assert statuses(cable.again()) == {"done": 3}
    (cable.target / CAMERA / "0.jpg").unlink()
    (cable.target / CAMERA / "1.jpg").rename(cable.target / "kept.jpg")
    cable.put(f"{CAMERA}/3.jpg", photo(3))
    cable.put(f"{CAMERA}/2.jpg", photo(22), DATE + 60)
    found = cable.again()
    assert statuses(found) == {"skipped": 2, "done": 2}
    assert {each["reason"] for each in found if each["status"] == "skipped"} == {"imported before"}
    assert cable.imported() == {
        "kept.jpg": photo(1),
        f"{CAMERA}/2.jpg": photo(2),
        f"{CAMERA}/2~2.jpg": photo(22),
        f"{CAMERA}/3.jpg": photo(3),
    }
    assert statuses(cable.again("--again")) == {"skipped": 2, "done": 2}
    assert f"{CAMERA}/0.jpg" in cable.imported()
    assert f"{CAMERA}/1.jpg" in cable.imported()


@pytest.mark.parametrize("words", [(), INTO])
def test_without_a_memory(imports: Imports, tmp_path: Path, words: tuple[str, ...]) -> None:
    """Faults 5, 9 and 15: what is here is known by name, size and date, also as `name~2`; before it is fetched."""
    imports.put(f"{CAMERA}/a.jpg", photo(1))
    imports.put(f"{CAMERA}/IMG_1.HEIC", made.heic())
    imports.put(f"{CAMERA}/IMG_1.aae", b"edits")
    imports.put("Pictures/x/a.jpg", photo(2), DATE + 60)
    assert statuses(imports.again(*words)) == {"done": 4}
    before = imports.imported()
    assert ("2025/01/a~2.jpg" in before) == bool(words)
    for memory in (tmp_path / "state/mtpfs").iterdir():
        memory.unlink()
    found = imports.again(*words)
    assert statuses(found) == {"skipped": 4}
    assert {each["reason"] for each in found} == {"there already"}
    assert imports.imported() == before
    assert statuses(imports.again(*words)) == {"skipped": 4}


@pytest.mark.parametrize("words", [(), INTO])
def test_twins(cable: Imports, tmp_path: Path, words: tuple[str, ...]) -> None:
    """Fault 3: two photos of one name, size and date are told apart by their contents, with a memory and without."""
    for number in range(4):
        cable.put(f"{CAMERA}/{number}/a.jpg", photo(number))
    (cable.phone / CAMERA / "1").rename(tmp_path / "later")
    assert statuses(cable.again(*words)) == {"done": 3}
    (tmp_path / "later").rename(cable.phone / CAMERA / "1")
    for count in (4, 4):
        cable.again(*words)
        assert sorted(cable.imported().values()) == [photo(number) for number in range(count)]
        for memory in (tmp_path / "state/mtpfs").iterdir():
            memory.unlink()
    (cable.target / next(iter(cable.imported()))).unlink()
    cable.again(*words)
    assert sorted(cable.imported().values()) == [photo(number) for number in range(4)]


def test_directories_that_cant_be_read(cable: Imports, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lost+found is in nobody's way; a disk that fails is, and it is told."""
    cable.put(f"{CAMERA}/a.jpg", photo(1))
    (cable.target / "lost+found").mkdir(parents=True)
    real = os.scandir
    failure = errno.EACCES

    def scandir(path: str) -> object:
        if str(path).endswith("lost+found"):
            raise OSError(failure, os.strerror(failure), str(path))
        return real(path)

    with monkeypatch.context() as patched:
        patched.setattr(os, "scandir", scandir)
        assert cable.here_and_now(*INTO)[0] == 0
        failure = errno.EIO
        cable.put(f"{CAMERA}/b.jpg", photo(2))
        status, _, said = cable.here_and_now(*INTO)
    assert (status, "lost+found': Input/output error" in said) == (1, True), said
    assert set(cable.imported()) == {"2025/01/a.jpg"}


def test_what_other_programs_brought(cable: Imports) -> None:
    """A file with the right contents and another date is one; a file of that name, size and date elsewhere isn't it."""
    cable.put(f"{CAMERA}/a.jpg", photo(1))
    (cable.target / CAMERA).mkdir(parents=True)
    copy = cable.target / CAMERA / "a.jpg"
    copy.write_bytes(photo(1))
    assert statuses(cable.again()) == {"done": 1}
    assert cable.imported() == {f"{CAMERA}/a.jpg": photo(1)}
    cable.put(f"{CAMERA}/b.jpg", photo(2))
    elsewhere = cable.target / "2020/b.jpg"
    elsewhere.parent.mkdir()
    elsewhere.write_bytes(photo(2))
    os.utime(elsewhere, (DATE, DATE))
    assert statuses(cable.again(*INTO)) == {"skipped": 1, "done": 1}
    assert (cable.target / "2025/01/b.jpg").read_bytes() == photo(2)


# --- names and places ----------------------------------------------------------------


def test_names_are_never_taken(imports: Imports) -> None:
    """Faults 3 and 4: two photos of one name, size and second are both kept; what is here is never replaced."""
    imports.put(f"{CAMERA}/a.jpg", photo(1))
    imports.put("Pictures/a.jpg", photo(2))
    imports.put("Pictures/b/a.jpg", photo(3))
    (imports.target / "2025/01").mkdir(parents=True)
    (imports.target / "2025/01/a.jpg").write_bytes(b"mine")
    (imports.target / "2025/01/a~3.jpg").mkdir()
    assert statuses(imports.again(*INTO)) == {"done": 3}
    found = imports.imported()
    assert found.pop("2025/01/a.jpg") == b"mine"
    assert found == {f"2025/01/a~{number}.jpg": photo(index) for number, index in ((2, 1), (4, 2), (5, 3))}


def test_the_same_photo_twice(cable: Imports) -> None:
    """Fault 9: one photo in two directories of the phone is one here, if both would get its name."""
    for folder in (CAMERA, "Pictures/copy"):
        cable.put(f"{folder}/a.jpg", photo(1))
    assert statuses(cable.again(*INTO)) == {"done": 2}
    assert cable.imported() == {"2025/01/a.jpg": photo(1)}
    assert statuses(cable.again(*INTO)) == {"skipped": 2}


def test_dates(imports: Imports) -> None:
    """Faults 1, 2, 12, 13 and 15: by what the contents say, else the name, else the date; the file's date is the phone's."""
    date = 1_500_000_000
    imports.put(f"{CAMERA}/IMG_20240229_120000.jpg", made.jpeg("2023:05:06 07:08:09", "-5:00"), date)
    imports.put(f"{CAMERA}/IMG_20240229_120001.jpg", made.jpeg(""), date)
    imports.put(f"{CAMERA}/VID_1.mp4", made.film(), date)
    imports.put(f"{CAMERA}/VID_2.mp4", made.film(0), date)
    imports.put(f"{WHATSAPP}/WhatsApp Images/IMG-20210304-WA0001.jpg", made.jpeg(""), date)
    found = imports.again("--into", "{taken:%Y-%m-%d}/{phone}/{folder}")
    assert {Path(each["target"]).relative_to(imports.target).parts[0] for each in found} == {
        "2023-05-06",
        "2024-02-29",
        "2025-01-31",
        "2017-07-14",
        "2021-03-04",
    }
    assert (imports.target / f"2017-07-14/mtpfs Virtual phone/{CAMERA}/VID_2.mp4").exists()
    assert mtimes(imports) == {date}
    taken = {each["source"].rpartition("/")[2]: each["taken"] for each in found}
    assert taken["IMG_20240229_120000.jpg"] == "2023-05-06T07:08:09-05:00"
    assert taken["IMG_20240229_120001.jpg"] == "2024-02-29T12:00:01"
    assert taken["VID_1.mp4"] == "2025-01-31T23:30:00+00:00"


def test_film_in_local_time(cable: Imports, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault 1: a film of half past eleven, UTC, belongs to the next month in Berlin. Its photo tells the clock's hour."""
    cable.put(f"{CAMERA}/VID_1.mp4", made.film())
    cable.put(f"{CAMERA}/a.jpg", photo(1))
    monkeypatch.setattr(
        Imports, "environment", property(lambda self: {**_environment(self), "TZ": "Europe/Berlin"})
    )
    cable.again(*INTO)
    assert set(cable.imported()) == {"2025/02/VID_1.mp4", "2025/01/a.jpg"}


def _environment(imports: Imports) -> dict[str, str]:
    return {**os.environ, "MTPFS_SOURCE": imports.source}


def test_groups_stay_together(imports: Imports) -> None:
    """What belongs together has one directory and one number, by the photo that tells its date."""
    group = {
        f"{CAMERA}/IMG_0001.HEIC": made.heic("2025:03:31 23:59:59"),
        f"{CAMERA}/IMG_0001.MOV": made.film(),
        f"{CAMERA}/IMG_E0001.HEIC": made.heic("2025:04:01 10:00:00"),
        f"{CAMERA}/IMG_0001.AAE": b"edits",
        f"{CAMERA}/IMG_0001.DNG": made.tiff({made.ORIGINAL: "2025:03:31 23:59:59"}, in_first=True),
    }
    for name, data in group.items():
        imports.put(name, data, 1_600_000_000)
    (imports.target / "2025/03").mkdir(parents=True)
    (imports.target / "2025/03/IMG_0001.MOV").write_bytes(b"mine")
    imports.again(*INTO)
    found = imports.imported()
    assert found.pop("2025/03/IMG_0001.MOV") == b"mine"
    assert found == {f"2025/03/{Path(name).stem}~2{Path(name).suffix}": data for name, data in group.items()}
    # What comes later follows.
    imports.put(f"{CAMERA}/IMG_0001.XMP", b"more", 1_400_000_000)
    imports.again(*INTO)
    assert imports.imported()["2025/03/IMG_0001~2.XMP"] == b"more"


def test_groups_of_which_some_is_gone(cable: Imports) -> None:
    """What comes when the rest was deleted on the phone follows it, too; but not another photo of the same name."""
    cable.put(f"{CAMERA}/IMG_0001.HEIC", made.heic("2025:03:31 23:59:59"))
    cable.again(*INTO, "--delete", "--yes")
    cable.put(f"{CAMERA}/IMG_0001.MOV", made.film(), DATE + 60)
    cable.put(f"{CAMERA}/IMG_0001.AAE", b"of another photo", DATE + 86400 * 300)
    cable.again(*INTO)
    assert set(cable.imported()) == {f"2025/03/IMG_0001.{end}" for end in ("HEIC", "MOV", "AAE")}
    for file in (cable.phone / CAMERA).iterdir():
        file.unlink()
    cable.put(f"{CAMERA}/IMG_0001.HEIC", made.heic("2026:01:01 00:00:00"), DATE + 86400 * 400)
    cable.again(*INTO)
    assert "2026/01/IMG_0001.HEIC" in cable.imported()


def test_a_bad_film_leaves_the_still(cable: Imports) -> None:
    """Fault 14: what of a pair can't be fetched doesn't stop the rest, and follows when it can."""
    cable.put(f"{CAMERA}/IMG_0001.HEIC", made.heic())
    cable.put(f"{CAMERA}/IMG_0001.MOV", b"\0" * 100)
    cable.put(f"{CAMERA}/IMG_0002.HEIC", made.heic("2025:02:01 00:00:00"))
    faults = FaultScript(Fault(Kind.REFUSE, Operation.GetPartialObject64, skip=1))
    status, _, said = cable.here_and_now(*INTO, "--json", faults=faults)
    assert status == 1
    assert f"'{STORAGE}/{CAMERA}/IMG_0001.MOV': " in said
    assert set(cable.imported()) == {"2025/01/IMG_0001.HEIC", "2025/02/IMG_0002.HEIC"}
    assert statuses(cable.again(*INTO)) == {"skipped": 2, "done": 1}
    assert "2025/01/IMG_0001.MOV" in cable.imported()


def test_empty_files(cable: Imports) -> None:
    """Fault 11: an empty file is no photo. It isn't taken for imported, and comes when there is something in it."""
    cable.put(f"{CAMERA}/a.jpg", b"")
    (found,) = cable.again()
    assert (found["status"], found["reason"]) == ("skipped", "empty on the phone")
    assert cable.imported() == {}
    cable.put(f"{CAMERA}/a.jpg", photo(1))
    assert statuses(cable.again()) == {"done": 1}
    assert cable.imported() == {f"{CAMERA}/a.jpg": photo(1)}


@pytest.mark.parametrize(
    "fault",
    [
        Fault(Kind.LYING_SIZE, Operation.GetObjectInfo, skip=2, amount=400),
        Fault(Kind.TRUNCATED_DATA, Operation.GetPartialObject64, times=FOREVER),
        Fault(Kind.TRUNCATED_DATA, Operation.GetPartialObject64, times=FOREVER, amount=200),
    ],
)
def test_less_comes_than_was_listed(cable: Imports, fault: Fault) -> None:
    """Fault 11: what doesn't come whole isn't named, is told, and isn't taken for imported."""
    cable.put(f"{CAMERA}/a.jpg", photo(1))
    faults = FaultScript(fault)
    status, _, said = cable.here_and_now(faults=faults)
    assert faults.struck
    assert (status, f"{CAMERA}/a.jpg': " in said) == (1, True), said
    assert cable.imported() == {}
    assert statuses(cable.again()) == {"done": 1}
    assert cable.imported() == {f"{CAMERA}/a.jpg": photo(1)}


def test_what_fails_is_tried_again(cable: Imports) -> None:
    """Fault 7: what has failed isn't remembered. It is told at the end, with what to do, and comes the next time."""
    for number in range(4):
        cable.put(f"{CAMERA}/{number}.jpg", photo(number))
    faults = FaultScript(*(Fault(Kind.REFUSE, Operation.GetPartialObject64, skip=skip) for skip in (1, 1)))
    status, out, said = cable.here_and_now(faults=faults)
    assert status == 1
    assert out.startswith("2 files imported")
    assert "mtpfs import: 2 failed:\n" in said
    assert said.splitlines()[-1].endswith(
        "The same command goes on from here: what is imported isn't fetched again."
    )
    assert statuses(cable.again()) == {"skipped": 2, "done": 2}
    assert len(cable.imported()) == 4


def test_patterns(cable: Imports) -> None:
    """What is no pattern, or leads out of the directory, is wrong use."""
    for pattern in (
        "{nonsense}",
        "{taken",
        "{}",
        "{taken.year}",
        "{taken!r}",
        "../{taken}",
        "/x",
        "{folder:x}",
        "a\0b",
    ):
        with pytest.raises(Exception, match="--into"):
            shelf.Pattern(pattern)
    result = cable.run("import", "--into", "{x}", cable.target, status=2)
    assert "the fields are {taken:%Y/%m}, {folder} and {phone}" in result.stderr
    for pattern in ("", "{taken}", "x{{y}}/{taken:%Y}", "{phone}/{folder}"):
        shelf.Pattern(pattern)


# --- deleting ------------------------------------------------------------------------


def test_delete(imports: Imports) -> None:
    """It asks, with the number; then what is proven goes. What isn't imported stays."""
    for number in range(3):
        imports.put(f"{CAMERA}/{number}.jpg", photo(number))
    imports.put(f"{CAMERA}/notes.txt", b"notes")
    imports.put(f"{CAMERA}/empty.jpg", b"")
    result = imports.run("import", "--delete", imports.target, stdin=b"n\n")
    assert "delete 3 files (2.7K) on the phone, now that they are here?" in result.stderr
    assert "3 files left on the phone: not agreed" in result.stdout
    assert len(imports.on_phone()) == 5
    found = imports.again("--delete", "--yes")
    assert statuses(found) == {"skipped": 4, "deleted": 3, "kept": 1}
    assert set(imports.on_phone()) == {f"{CAMERA}/notes.txt", f"{CAMERA}/empty.jpg"}
    assert imports.imported() == {f"{CAMERA}/{number}.jpg": photo(number) for number in range(3)}


def test_delete_needs_the_file_here(imports: Imports) -> None:
    """What was moved, deleted or changed here since it was imported stays on the phone."""
    for number in range(4):
        imports.put(f"{CAMERA}/{number}.jpg", photo(number))
    imports.again()
    here = imports.target / CAMERA
    (here / "0.jpg").unlink()
    (here / "1.jpg").rename(imports.target / "moved.jpg")
    (here / "2.jpg").write_bytes(photo(9))
    found = imports.again("--delete", "--yes")
    assert {each["reason"] for each in found if each["status"] == "kept"} == {
        "not where the import put them",
        "the files here have other contents by now",
    }
    assert set(imports.on_phone()) == {f"{CAMERA}/{number}.jpg" for number in range(3)}


def test_what_the_phone_itself_shows_proves_nothing(cable: Imports, tmp_path: Path) -> None:
    """A directory on the phone's own mount isn't this machine: what is deleted there is gone for good."""
    with reached("mount", cable, tmp_path / "mnt") as mounted:
        assert mounted is not None
        cable.put(f"{CAMERA}/1.jpg", photo(1))
        wait_until((mounted.root / CAMERA / "1.jpg").exists, "it shows")
        link = tmp_path / "link"
        link.symlink_to(mounted.root)
        for place in (mounted.root, link, mounted.root / "new"):
            result = cable.run("import", "--delete", "--yes", str(place), status=2)
            assert "is on the phone itself" in result.stderr
        cable.target.mkdir()
        (cable.target / "DCIM").symlink_to(mounted.root / "DCIM")
        found = cable.objects("import", "--delete", "--yes", str(cable.target))
        assert [each.get("reason") for each in found] == [None, "what is here is on the phone, too"]
    assert cable.on_phone() == {f"{CAMERA}/1.jpg": photo(1)}


def test_delete_what_isnt_known_to_have_come_whole(cable: Imports, tmp_path: Path) -> None:
    """What is only recognised here is fetched and compared first. If it isn't the same, both are kept, and then it may go."""
    for number in range(2):
        cable.put(f"{CAMERA}/{number}.jpg", photo(number))
    cable.again()
    for memory in (tmp_path / "state/mtpfs").iterdir():
        memory.unlink()
    assert statuses(cable.again()) == {"skipped": 2}
    bad = cable.target / CAMERA / "1.jpg"
    bad.write_bytes(photo(7))
    os.utime(bad, (DATE, DATE))
    assert statuses(cable.again("--delete", "--yes")) == {"done": 2, "deleted": 2}
    assert cable.on_phone() == {}
    assert cable.imported() == {
        f"{CAMERA}/0.jpg": photo(0),
        f"{CAMERA}/1.jpg": photo(7),
        f"{CAMERA}/1~2.jpg": photo(1),
    }


def test_delete_looks_once_more(cable: Imports, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that has changed on the phone since it was fetched stays, also if nothing has told of that."""
    cable.source += "&no-events"
    for number in range(3):
        cable.put(f"{CAMERA}/{number}.jpg", photo(number))

    def changed(_question: str) -> bool:
        cable.put(f"{CAMERA}/0.jpg", photo(8), DATE + 60)
        cable.put(f"{CAMERA}/1.jpg", b"shorter", DATE)
        return True

    monkeypatch.setattr("mtpfs.cli.importing.clearing.agreed", changed)
    status, out, _ = cable.here_and_now("--delete")
    assert status == 0
    assert "2 files left on the phone: changed on the phone meanwhile" in out
    assert cable.on_phone() == {f"{CAMERA}/0.jpg": photo(8), f"{CAMERA}/1.jpg": b"shorter"}


def test_delete_reads_back(cable: Imports, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that gives back something else than came keeps the photo on the phone."""
    for number in range(2):
        cable.put(f"{CAMERA}/{number}.jpg", photo(number))
    real = shelf.hash_of
    told: list[Path] = []

    def bad(path: Path, *, from_disk: bool = False) -> str:
        told.append(path)
        assert from_disk
        if path.name == "0.jpg":
            path.write_bytes(photo(5))
        return real(path, from_disk=from_disk)

    monkeypatch.setattr("mtpfs.cli.importing.clearing.hash_of", bad)
    cable.here_and_now("--delete", "--yes")
    assert set(cable.on_phone()) == {f"{CAMERA}/0.jpg"}
    assert len(told) == 2


def test_groups_are_deleted_as_a_whole(cable: Imports) -> None:
    """As long as one of a group isn't proven, all of it stays."""
    names = (
        "IMG_1.JPG",
        "IMG_1.DNG",
        "IMG_20250102_030405_BURST000_COVER.jpg",
        "IMG_20250102_030405_BURST001.jpg",
        "b.jpg",
    )
    for number, name in enumerate(names):
        cable.put(f"{CAMERA}/{name}", photo(number))
    cable.again()
    (cable.target / CAMERA / "IMG_1.DNG").unlink()
    (cable.target / CAMERA / "IMG_20250102_030405_BURST001.jpg").write_bytes(photo(9))
    cable.again("--delete", "--yes")
    assert set(cable.on_phone()) == {f"{CAMERA}/{name}" for name in names[:4]}
    cable.again("--again", "--delete", "--yes")
    assert set(cable.on_phone()) == {f"{CAMERA}/{name}" for name in names[2:4]}


def test_delete_on_a_phone_that_refuses(cable: Imports) -> None:
    """A phone that can't be written is a failure with its name, and nothing is lost."""
    cable.source += "&read-only"
    cable.put(f"{CAMERA}/a.jpg", photo(1))
    result = cable.run("import", "--delete", "--yes", cable.target, status=1)
    assert f"'{STORAGE}/{CAMERA}/a.jpg': " in result.stderr
    assert cable.imported() == {f"{CAMERA}/a.jpg": photo(1)}
    assert len(cable.on_phone()) == 1


def test_a_part_from_before_is_no_proof(cable: Imports) -> None:
    """With --delete a file that was broken off is fetched from its start: a hole in what was here would be found too late."""
    data = made.film(more=os.urandom(9 << 20))
    cable.put(f"{CAMERA}/a.mp4", data)
    cable.here_and_now(faults=FaultScript(Fault(Kind.GONE, Operation.GetPartialObject64, skip=1)))
    (part,) = (path for path in cable.parts() if path.is_file())
    assert part.stat().st_size >= 4 << 20
    with part.open("r+b") as file:
        file.write(b"hole")
    cable.again("--delete", "--yes")
    assert cable.imported() == {f"{CAMERA}/a.mp4": data}
    assert cable.on_phone() == {}


# --- broken off ----------------------------------------------------------------------


def test_goes_on_after_a_kill(slow: Imports) -> None:
    """A film goes on at the byte where it was. What lies here from before counts as imported, not as proven."""
    imports, data = slow, made.film(more=os.urandom(1 << 20) * 48)
    imports.put(f"{CAMERA}/a.mp4", data)
    with imports.start("import", imports.target) as process:
        wait_until(
            lambda: any(part.is_file() and part.stat().st_size >= 4 << 20 for part in imports.parts()),
            "the first bytes",
        )
        process.send_signal(signal.SIGKILL)
        process.wait(20)
    assert imports.imported() == {}
    (part,) = (path for path in imports.parts() if path.is_file())
    assert part.stat().st_size < len(data)
    with part.open("r+b") as file:  # only what is fetched now can have other bytes
        file.write(b"kept")
    imports.faults = ()
    assert statuses(imports.again()) == {"done": 1}
    assert imports.imported() == {f"{CAMERA}/a.mp4": b"kept" + data[4:]}
    assert not imports.parts()
    assert statuses(imports.again("--delete", "--yes")) == {"done": 1, "deleted": 1}
    assert imports.imported()[f"{CAMERA}/a~2.mp4"] == data


@pytest.mark.parametrize("words", [(), ("--delete", "--yes")])
def test_killed_between_two_names(cable: Imports, words: tuple[str, ...]) -> None:
    """A file that is whole under both of its hidden names is imported once, and leaves none of them."""
    data = made.film(more=bytes(9 << 20))
    cable.put(f"{CAMERA}/a.mp4", data)
    cable.here_and_now(faults=FaultScript(Fault(Kind.GONE, Operation.GetPartialObject64, skip=1)))
    (part,) = (path for path in cable.parts() if path.is_file())
    part.write_bytes(data)
    os.utime(part, (DATE, DATE))
    os.link(part, part.with_name(part.name[1:].partition(".")[0]))
    found = cable.again(*words)
    assert statuses(found) == {"done": 1, "deleted": 1} if words else {"done": 1}
    assert cable.imported() == {f"{CAMERA}/a.mp4": data}
    assert (cable.target / CAMERA / "a.mp4").stat().st_nlink == 1
    assert not cable.parts()


def test_parts_of_another_start_of_the_machine(
    cable: Imports, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """After a loss of power a part may have holes: it is thrown away. So is what nobody wants any more."""
    cable.put(f"{CAMERA}/a.mp4", made.film(more=bytes(9 << 20)))
    faults = FaultScript(Fault(Kind.GONE, Operation.GetPartialObject64, skip=1))
    cable.here_and_now(faults=faults)
    before = cable.parts()
    assert len(before) == 2
    boot = tmp_path / "boot"
    boot.write_text("another start")
    monkeypatch.setattr("mtpfs.cli.importing.bringing._BOOT", boot)
    cable.here_and_now(faults=FaultScript(Fault(Kind.GONE, Operation.GetPartialObject64)))
    assert not set(before) & set(cable.parts())
    cable.put(f"{CAMERA}/a.mp4", photo(1))
    assert statuses(cable.again()) == {"done": 1}
    assert not cable.parts()


def test_interrupted(slow: Imports) -> None:
    """Ctrl-C is status 130, and the report comes yet."""
    imports = slow
    for number in range(3):
        imports.put(f"{CAMERA}/{number}.mp4", made.film(more=os.urandom(1 << 20) * 20))
    with imports.start("import", imports.target) as process:
        wait_until(lambda: len(imports.imported()) > 0, "the first file", 60)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    assert re.match(rb"[12] files? imported, ", out)
    imports.faults = ()
    imports.again()
    assert len(imports.imported()) == 3


def test_unplugged(cable: Imports) -> None:
    """Without the phone nothing more is tried: it is told what to do, and how many are left."""
    for number in range(5):
        cable.put(f"{CAMERA}/{number}.jpg", photo(number))
    status, out, said = cable.here_and_now(
        faults=FaultScript(Fault(Kind.GONE, Operation.GetPartialObject64, skip=2))
    )
    assert status == 1
    assert out.startswith("2 files imported")
    assert "2 more aren't tried" in said
    assert (
        "What to do: plug the phone in, unlock it, and allow file transfer. The same command goes on" in said
    )
    assert len(cable.imported()) == 2


def test_no_room_here(cable: Imports, monkeypatch: pytest.MonkeyPatch) -> None:
    """What doesn't fit isn't even begun, and what fits is imported."""
    cable.put(f"{CAMERA}/a.mp4", made.film(more=bytes(9 << 20)))
    cable.put(f"{CAMERA}/b.jpg", photo(1))
    real = os.statvfs

    class Full:
        f_blocks, f_frsize, f_bavail = 1 << 20, 4096, 100

    monkeypatch.setattr(os, "statvfs", lambda path: Full if "mtpfs-import" in str(path) else real(path))
    status, _, said = cable.here_and_now()
    assert status == 1
    assert f"'{STORAGE}/{CAMERA}/a.mp4': No space left on device" in said
    assert "make room on the disk here" in said
    assert set(cable.imported()) == {f"{CAMERA}/b.jpg"}
    assert not cable.parts()


def test_a_file_that_grows_too_large(cable: Imports) -> None:
    """A disk that ends in the middle of a file keeps none of it, so that others fit."""
    cable.put(f"{CAMERA}/a.mp4", made.film(more=bytes(9 << 20)))
    cable.put(f"{CAMERA}/b.jpg", photo(1))
    result = subprocess.run(
        ["prlimit", "--fsize=5000000", *cable.command, "import", str(cable.target)],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        env=cable.environment,
    )
    assert (result.returncode, f"{CAMERA}/a.mp4': File too large" in result.stderr) == (1, True), (
        result.stderr
    )
    assert set(cable.imported()) == {f"{CAMERA}/b.jpg"}
    assert not cable.parts()


def test_a_locked_phone(cable: Imports, monkeypatch: pytest.MonkeyPatch) -> None:
    """A locked phone says what to do; with --wait the import begins when it is unlocked."""
    cable.put(f"{CAMERA}/a.jpg", photo(1))
    cable.source += "&locked"
    assert "unlock it" in cable.run("import", cable.target, status=1).stderr
    waited: list[float] = []

    def pause(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 3:
            cable.cables[-1].set_locked(False)

    monkeypatch.setattr("mtpfs.cli.import_.time.sleep", pause)
    status, out, _ = cable.here_and_now("--wait")
    assert status == 0
    assert out.startswith("1 file imported")
    assert len(waited) >= 3


# --- what it says --------------------------------------------------------------------


def test_json(imports: Imports) -> None:
    """Each line is what the schema says, and nothing else is on stdout."""
    for number in range(3):
        imports.put(f"{CAMERA}/{number}.jpg", photo(number))
    imports.put(f"{CAMERA}/empty.jpg", b"")
    seen: list[dict[str, Any]] = []
    for words in (("--dry-run",), (), ("--delete", "--yes")):
        seen += imports.again(*INTO, *words)
    for each in seen:
        VALIDATOR.validate({"import": each})
    assert {each["status"] for each in seen} == {"planned", "done", "skipped", "deleted", "kept"}


def test_dry_run(imports: Imports, tmp_path: Path) -> None:
    """The plan is where everything goes then, and nothing is done."""
    imports.put(f"{CAMERA}/IMG_1.HEIC", made.heic("2025:03:31 23:59:59"))
    imports.put(f"{CAMERA}/IMG_1.MOV", made.film())
    imports.put("Pictures/IMG_1.HEIC", made.heic("2025:03:01 00:00:00"))
    imports.put(f"{CAMERA}/VID_1.mp4", made.film(more=bytes(1 << 20)))
    result = imports.run("import", "--dry-run", *INTO, imports.target)
    *plan, last = result.stdout.splitlines()
    assert re.fullmatch(r"4 files, [\d.]+M, would be imported", last)
    deleting = imports.run("import", "--dry-run", "--delete", *INTO, imports.target).stdout
    assert deleting.endswith(
        "would be imported; what is proven to be here would then be deleted on the phone\n"
    )
    assert not imports.target.exists()
    assert not list(tmp_path.glob("state/mtpfs/*")) or all(
        path.stat().st_size == 0 for path in tmp_path.glob("state/mtpfs/*")
    )
    found = imports.again(*INTO)
    assert sorted(plan) == sorted(f"{each['source']} -> {each['target']}" for each in found)
    assert {Path(each["target"]).name for each in found} >= {"IMG_1.HEIC", "IMG_1~2.HEIC", "IMG_1.MOV"}


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ((), "where to import to is missing"),
        (("--yes", "x"), "--yes goes with --delete"),
        (("--nonsense", "x"), "unrecognized arguments"),
        (("--into", "../x", "x"), "below the one that is given"),
    ],
)
def test_wrong_use(cable: Imports, words: tuple[str, ...], text: str) -> None:
    result = cable.run("import", *words, status=2)
    assert text in result.stderr


def test_the_directory(cable: Imports) -> None:
    """It is made, but not what is above: there a disk may be missing. A file in its place is an error."""
    cable.put(f"{CAMERA}/a.jpg", photo(1))
    assert "No such file" in cable.run("import", cable.here / "disk/Photos", status=1).stderr
    (cable.here / "file").touch()
    assert "File exists" in cable.run("import", cable.here / "file", status=1).stderr
    cable.run("import", "relative")
    cable.run("import", "--again", cable.here / "relative")
    assert (cable.here / "relative" / CAMERA / "a.jpg").read_bytes() == photo(1)


def test_something_in_the_way(cable: Imports) -> None:
    """A file where a directory belongs is told with both names, and the rest is imported."""
    cable.put(f"{CAMERA}/a.jpg", photo(1))
    cable.put("Pictures/b.jpg", photo(2))
    cable.target.mkdir()
    (cable.target / "DCIM").touch()
    result = cable.run("import", cable.target, status=1)
    assert f"'{STORAGE}/{CAMERA}/a.jpg' -> '{cable.target}/DCIM" in result.stderr
    assert "Pictures/b.jpg" in cable.imported()
    assert not cable.parts()


def test_another_disk(cable: Imports) -> None:
    """A directory below may be a link to another disk."""
    shm = Path("/dev/shm")
    if not os.access(shm, os.W_OK) or shm.stat().st_dev == cable.here.stat().st_dev:
        pytest.skip("there is no other disk")
    for number in range(2):
        cable.put(f"{CAMERA}/{number}.jpg", photo(number))
    cable.target.mkdir()
    with tempfile.TemporaryDirectory(dir=shm) as other:
        (cable.target / "2025").symlink_to(other)
        (Path(other) / "01").mkdir()
        (Path(other) / "01/0.jpg").write_bytes(b"mine")
        assert statuses(cable.again(*INTO, "--delete", "--yes")) == {"done": 2, "deleted": 2}
        found = {path.name: path.read_bytes() for path in Path(other, "01").iterdir()}
        assert found == {"0.jpg": b"mine", "0~2.jpg": photo(0), "1.jpg": photo(1)}
        assert Path(other, "01/1.jpg").stat().st_mtime == DATE
    assert not cable.parts()


def test_redact(cable: Imports) -> None:
    cable.put(f"{CAMERA}/secret.jpg", photo(1))
    shown = cable.run("import", "--redact", "--dry-run", cable.target).stdout
    assert "secret" not in shown


def test_two_storages(cable: Imports) -> None:
    """All storages are looked at; the same name on both is two files."""
    cable.source += "&storages=2"
    first, second = (path.removeprefix("/") for path in cable.lines("ls", "-d", "/*"))
    cable.put(f"{first}/{CAMERA}/a.jpg", photo(1))
    cable.put(f"{second}/{CAMERA}/a.jpg", photo(2))
    assert statuses(cable.again()) == {"done": 2}
    assert cable.imported() == {f"{CAMERA}/a.jpg": photo(1), f"{CAMERA}/a~2.jpg": photo(2)}
    assert statuses(cable.again()) == {"skipped": 2}


def test_cable_and_mount_know_the_same(cable: Imports, tmp_path: Path) -> None:
    """What was imported over the cable isn't new behind a mount."""
    if not HAS_FUSE:
        pytest.skip("no FUSE")
    cable.put(f"{CAMERA}/a.jpg", photo(1))
    assert statuses(cable.again()) == {"done": 1}
    (tmp_path / "mnt").mkdir()
    with virtual_mount(cable.phone, tmp_path / "mnt", "ghost=0"):
        found = cable.again()
    assert [each["reason"] for each in found] == ["imported before"]


@pytest.mark.parametrize("words", [*WRITABLE_PERSONALITIES, "as=camera", "no-partial"])
def test_other_kinds(cable: Imports, words: str) -> None:
    """On each kind of phone, on a camera and on an old player; also what is deleted."""
    cable.source += f"&{words}"
    for number in range(3):
        cable.put(f"{CAMERA}/IMG_{number}.jpg", photo(number))
    assert statuses(cable.again(*INTO)) == {"done": 3}
    assert statuses(cable.again(*INTO)) == {"skipped": 3}
    assert cable.imported() == {f"2025/01/IMG_{number}.jpg": photo(number) for number in range(3)}
    assert mtimes(cable) == {DATE}
    assert statuses(cable.again(*INTO, "--delete", "--yes")) == {"skipped": 3, "deleted": 3}
    assert cable.on_phone() == {}


class Counting(FaultScript):
    """A phone without faults that counts what it is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def take(self, operation: int) -> None:
        # The storages are looked at again every five seconds, which is the clock's affair.
        if operation not in {Operation.GetStorageIDs, Operation.GetStorageInfo}:
            self.counts[Operation(operation).name] += 1


@pytest.mark.parametrize("many", [40, 400])
def test_transactions(cable: Imports, many: int) -> None:
    """What isn't new costs what listing costs, however many they are; a new file one transaction; a deletion two."""

    def counted(*words: str) -> Counter[str]:
        script = Counting()
        status, _, said = cable.here_and_now(*words, faults=script)
        assert status == 0, said
        return script.counts

    for number in range(many):
        cable.put(f"{CAMERA}/IMG_{number}.jpg", photo(number))
    first = counted(*INTO)
    listing = counted(*INTO)
    assert first - listing == {"GetPartialObject64": many}
    assert sum(listing.values()) < 20
    for number in range(20):
        cable.put(f"{CAMERA}/NEW_{number}.jpg", photo(number))
    assert counted(*INTO) - listing == {"GetPartialObject64": 20}
    deleting = counted(*INTO, "--delete", "--yes") - listing
    assert deleting == {"GetObjectInfo": many + 20, "DeleteObject": many + 20}
    assert len(cable.on_phone()) == 0
