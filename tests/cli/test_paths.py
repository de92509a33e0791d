"""The grammar of paths on the phone, on one with three storages: one can't be written."""

from __future__ import annotations

import errno
import posixpath
from dataclasses import dataclass, field
from typing import cast

import pytest

from mtpfs.cli.paths import AmbiguousError, find, find_to_change, parse, place_for
from mtpfs.cli.phones import Phone
from mtpfs.library import Entry, Storage

FILES = (
    "/Rom/DCIM/r.jpg",
    "/Internal/DCIM/Camera/a.jpg",
    "/Internal/DCIM/Camera/b [1].jpg",
    "/Internal/DCIM/.hidden/h.jpg",
    "/Internal/Music/song",
    "/Card/Music/song",
    "/Card/Books/Deep/er/x.txt",
)


@dataclass
class Fake:
    """A phone that can only be looked at."""

    files: tuple[str, ...] = FILES
    asked: list[str] = field(default_factory=list)

    def _all(self) -> dict[str, bool]:
        found = {"/": True}
        for path in self.files:
            found[path] = False
            while (path := posixpath.dirname(path)) != "/":
                found[path] = True
        return found

    def stat(self, path: str) -> Entry:
        found = self._all()
        if path not in found:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
        return Entry(path, posixpath.basename(path), found[path], 0, None)

    def scandir(self, path: str = "/", *, dates: bool = True) -> list[Entry]:
        self.asked.append(path)
        if not self.stat(path).is_dir:
            raise NotADirectoryError(errno.ENOTDIR, "Not a directory", path)
        return [self.stat(each) for each in sorted(self._all()) if posixpath.dirname(each) == path != each]

    def storages(self) -> list[Storage]:
        return [
            Storage(each.path, each.name, 1, 1, removable=False, writable=each.name != "Rom")
            for each in self.scandir("/")
        ]


@pytest.fixture
def fake() -> Fake:
    return Fake()


@pytest.fixture
def phone(fake: Fake) -> Phone:
    return cast(Phone, fake)


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("", ["/"]),
        ("phone:", ["/"]),
        ("/", ["/"]),
        ("/Card", ["/Card"]),
        ("phone:/Card/Music/song", ["/Card/Music/song"]),
        ("Music/song", ["/Card/Music/song"]),
        ("Music/../Music/./song", ["/Card/Music/song"]),
        ("DCIM/Camera/", ["/Internal/DCIM/Camera"]),
        ("Music/*", ["/Card/Music/song", "/Internal/Music/song"]),
        ("DCIM/*", ["/Internal/DCIM/Camera", "/Rom/DCIM/r.jpg"]),
        ("DCIM/*/", ["/Internal/DCIM/Camera"]),
        ("DCIM/.*", ["/Internal/DCIM/.hidden"]),
        ("DCIM/Camera/b [1].jpg", ["/Internal/DCIM/Camera/b [1].jpg"]),
        ("DCIM/Camera/? ?1?.jpg", ["/Internal/DCIM/Camera/b [1].jpg"]),
        ("DCIM/Camera/[!b]*", ["/Internal/DCIM/Camera/a.jpg"]),
        ("/*/Music/song", ["/Card/Music/song", "/Internal/Music/song"]),
        ("**/*.txt", ["/Card/Books/Deep/er/x.txt"]),
        ("/Card/**/x.txt", ["/Card/Books/Deep/er/x.txt"]),
        ("**/a.jpg", ["/Internal/DCIM/Camera/a.jpg"]),
    ],
)
def test_reading(phone: Phone, word: str, found: list[str]) -> None:
    """The first storage that has it; a pattern on all of them."""
    assert [entry.path for entry in find(phone, word)] == found


@pytest.mark.parametrize(
    "word", ["nothing", "/Card/DCIM", "Music/song/", "Music/song/x", "*.none", "/Nowhere/*"]
)
def test_nothing(phone: Phone, word: str) -> None:
    """What isn't there is ENOENT, with the word as it was typed."""
    for search in (find, find_to_change):
        with pytest.raises(FileNotFoundError) as caught:
            search(phone, word)
        assert caught.value.filename == word


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("DCIM/Camera", ["/Internal/DCIM/Camera"]),
        ("Books/**/x.txt", ["/Card/Books/Deep/er/x.txt"]),
        ("/*/Music/song", ["/Card/Music/song", "/Internal/Music/song"]),
    ],
)
def test_changing(phone: Phone, word: str, found: list[str]) -> None:
    """What is on one storage only, or says itself which ones."""
    assert [entry.path for entry in find_to_change(phone, word)] == found


@pytest.mark.parametrize("word", ["Music", "Music/song", "phone:Music/*", "DCIM", "**/song"])
def test_too_many(phone: Phone, word: str) -> None:
    """What is on several is refused, with all of them named."""
    with pytest.raises(AmbiguousError, match=r"on several storages: say which, 'phone:/.* and 'phone:/"):
        find_to_change(phone, word)


@pytest.mark.parametrize(
    ("word", "place", "is_there"),
    [
        ("", "/Card", True),
        ("phone:", "/Card", True),
        ("new", "/Card/new", False),
        ("new/", "/Card/new", False),
        ("Books/new", "/Card/Books/new", False),
        ("DCIM/Camera", "/Internal/DCIM/Camera", True),
        ("DCIM/Camera/new", "/Internal/DCIM/Camera/new", False),
        ("No/such/new", "/Card/No/such/new", False),
        ("/Internal/Music/new", "/Internal/Music/new", False),
        ("/Internal/Music/song", "/Internal/Music/song", True),
    ],
)
def test_new(phone: Phone, word: str, place: str, is_there: bool) -> None:
    """Where its directory is, else on the first storage that can be written."""
    found, there = place_for(phone, word)
    assert (found, there is not None) == (place, is_there)


@pytest.mark.parametrize("word", ["Music/new", "Music", "DCIM/new"])
def test_new_in_too_many(phone: Phone, word: str) -> None:
    """A directory that several storages have doesn't say where."""
    with pytest.raises(AmbiguousError):
        place_for(phone, word)


def test_locked() -> None:
    """A phone without storages says so, and not that the file is missing."""
    phone = cast(Phone, Fake(()))
    for ask in (
        lambda: find(phone, "DCIM"),
        lambda: find_to_change(phone, "DCIM"),
        lambda: place_for(phone, "x"),
    ):
        with pytest.raises(OSError, match="unlock it") as caught:
            ask()
        assert caught.value.errno == errno.ENODEV


def test_nothing_is_listed_for_a_plain_path(fake: Fake, phone: Phone) -> None:
    """A path without a pattern costs no listing of its directories."""
    find(phone, "/Internal/DCIM/Camera/a.jpg")
    assert fake.asked == []
    assert parse("a*").is_pattern
