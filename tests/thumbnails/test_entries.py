"""Entries in the thumbnail cache, by the specification, and as GLib's own program reads them."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import subprocess
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtpfs.thumbnails import png
from mtpfs.thumbnails.decoder import Picture
from mtpfs.thumbnails.entries import SIZES, Cache, cache_of, uri_of
from photos import corners, encoded

DATE = 1_500_000_000
PATH = b"/home/me/Phones/a b/\xc3\xa4.jpg"


def picture(width: int, height: int) -> Picture:
    """Return what the decoder makes of a thumbnail of that size."""
    pngs = {}
    for size in SIZES.values():
        if size == 128 or max(width, height) >= size:
            smaller = corners(width, height)
            smaller.thumbnail((size, size))
            pngs[size] = encoded(smaller, "PNG")
    return Picture(width, height, pngs)


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache" / "thumbnails")


def found(cache: Cache) -> dict[str, list[Path]]:
    return {name: [*(cache.directory / name).glob("*")] for name in SIZES}


@pytest.mark.parametrize(
    ("side", "names"),
    [(64, ["normal"]), (160, ["normal"]), (256, ["normal", "large"]), (512, [*SIZES]), (2000, [*SIZES])],
)
def test_sizes(cache: Cache, side: int, names: list[str]) -> None:
    """Each size is there if the thumbnail reaches it; a small one is in `normal`, as small as it is."""
    assert cache.store(PATH, DATE, 1234, picture(side, side // 2)) == len(names)
    assert [name for name, files in found(cache).items() if files] == names
    for name in names:
        (file,) = found(cache)[name]
        assert png.size(file.read_bytes())[0] == min(side, SIZES[name])
    assert cache.best(PATH, DATE, 1234) == SIZES[names[-1]]


def test_what_an_entry_says(cache: Cache) -> None:
    """The name is the URI's digest, the texts are what every reader compares, nobody else can read it."""
    cache.store(b"/tmp/a.jpg", DATE + 0.75, 1234, picture(160, 120))
    (file,) = found(cache)["normal"]
    assert png.texts(file.read_bytes()) == {
        "Thumb::URI": "file:///tmp/a.jpg",
        "Thumb::MTime": str(DATE),
        "Thumb::Size": "1234",
        "Software": "mtpfs",
    }
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    for directory in (file.parent, file.parents[1], file.parents[2]):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700


def test_the_name(cache: Cache, tmp_path: Path) -> None:
    """The specification's own example has this digest."""
    cache.store(b"/home/jens/photos/me.png", DATE, 1, picture(160, 120))
    (file,) = found(cache)["normal"]
    assert file.name == "c6ee772d9e49320e97ec29a7eb5b1697.png"


def test_never_worse(cache: Cache) -> None:
    """A valid entry stays, unless the new one is larger; one of another date or size doesn't count."""
    cache.store(PATH, DATE, 1234, picture(100, 100))
    (file,) = found(cache)["normal"]
    first = file.read_bytes()
    assert cache.store(PATH, DATE, 1234, picture(90, 90)) == 0
    assert cache.store(PATH, DATE, 1234, picture(100, 80)) == 0
    assert file.read_bytes() == first
    assert cache.store(PATH, DATE, 1234, picture(120, 90)) == 1
    assert cache.store(PATH, DATE + 2, 1234, picture(60, 60)) == 1
    assert cache.store(PATH, DATE + 2, 999, picture(50, 50)) == 1
    assert png.size(file.read_bytes()) == (50, 50)


def test_other_programs_entries_count(cache: Cache) -> None:
    """tumbler writes a fraction, others no size: what is valid for its writer isn't made worse."""
    place = cache._place("normal", uri_of(PATH))
    place.parent.mkdir(parents=True)
    data = encoded(corners(128, 128), "PNG")
    for date, is_valid in (
        (f"{DATE}.000000", True),
        (f"{DATE}", True),
        (f"{DATE}.5", False),
        ("soon", False),
    ):
        place.write_bytes(png.with_texts(data, {"Thumb::URI": uri_of(PATH), "Thumb::MTime": date}))
        assert cache.best(PATH, DATE, 1) == (128 if is_valid else 0)
    for junk in (b"", b"junk", data[:20], data[:60]):
        place.write_bytes(junk)
        assert cache.best(PATH, DATE, 1) == 0
    assert cache.store(PATH, DATE, 1, picture(60, 60)) == 1


def test_no_date_no_entry(cache: Cache) -> None:
    """A file of 1970 has none: readers refuse it."""
    assert cache.store(PATH, 0.5, 1234, picture(160, 120)) == 0
    assert not cache.directory.exists()


def test_removal(cache: Cache) -> None:
    """All sizes go, others' entries stay, and a second time there is nothing to do."""
    cache.store(PATH, DATE, 1, picture(600, 600))
    cache.store(b"/other.jpg", DATE, 1, picture(100, 100))
    cache.remove(PATH)
    cache.remove(PATH)
    assert [len(files) for files in found(cache).values()] == [1, 0, 0]


def test_a_full_disk_leaves_nothing(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    """What can't be written whole isn't there at all."""

    def full(_path: Path, _target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "rename", full)
    with pytest.raises(OSError, match="No space"):
        cache.store(PATH, DATE, 1, picture(100, 100))
    assert not [*cache.directory.rglob("*.png")]


@given(st.binary(max_size=60).filter(lambda data: b"\0" not in data))
def test_escaping(name: bytes) -> None:
    """A URI has GLib's characters and nothing else, and says the path."""
    uri = uri_of(b"/" + name)
    assert unquote_to_bytes(uri.removeprefix("file://")) == b"/" + name
    kept = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!$&'()*+,-./:=@_~%")
    assert set(uri) <= kept


GIO = shutil.which("gio")


@pytest.mark.skipif(GIO is None, reason="no gio")
@pytest.mark.parametrize("name", ["plain.jpg", "a b+c,ä;~!$&'()*@=:_-.jpg", 'q"?#[]<>%^`{|}\\.jpg'])
def test_gio_finds_them_valid(cache: Cache, tmp_path: Path, name: str) -> None:
    """GLib's own reader finds each, and doesn't find one of another date."""
    file = tmp_path / name
    file.write_bytes(b"picture")
    os.utime(file, (DATE, DATE))
    path = os.fsencode(file)

    def info() -> str:
        return subprocess.run(
            ["gio", "info", "-a", "thumbnail::*", file],
            env={**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache"), "LC_ALL": "C.UTF-8"},
            check=True,
            capture_output=True,
            text=True,
        ).stdout

    assert "thumbnail::path" not in info()
    cache.store(path, DATE, 7, picture(200, 100))
    assert "thumbnail::is-valid: TRUE" in info()
    cache.store(path, DATE, 7, picture(600, 100))
    assert "thumbnail::is-valid: TRUE" in info()
    os.utime(file, (DATE + 1, DATE + 1))
    assert "thumbnail::is-valid: FALSE" in info()
    cache.store(path, DATE + 1, 8, picture(600, 100))
    assert "thumbnail::is-valid: FALSE" in info()  # the size is wrong


# --- whose cache


def entry(home: str) -> pwd.struct_passwd:
    return pwd.struct_passwd(("me", "x", 1000, 1000, "", home, "/bin/sh"))


def test_whose_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The home is that of the password database, whatever HOME says; root has none."""
    monkeypatch.setattr(pwd, "getpwuid", lambda _: entry("/home/me"))
    monkeypatch.setenv("HOME", "/root")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_of(0) is None
    mine = cache_of(1000)
    assert mine is not None
    assert mine.directory == Path("/home/me/.cache/thumbnails")
    for other in (str(tmp_path), "relative", "/does/not/exist"):
        monkeypatch.setenv("XDG_CACHE_HOME", other)
        mine = cache_of(tmp_path.stat().st_uid + 1)
        assert mine is not None
        assert mine.directory == Path("/home/me/.cache/thumbnails")


def test_chosen_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """XDG_CACHE_HOME is heeded where it is the user's own."""
    monkeypatch.setattr(pwd, "getpwuid", lambda _: entry("/home/me"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(Path, "stat", lambda _path: os.stat_result((0o40700, 0, 0, 0, 1000, 0, 0, 0, 0, 0)))
    mine = cache_of(1000)
    assert mine is not None
    assert mine.directory == tmp_path / "thumbnails"


def test_unknown_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who isn't in the database has no cache."""

    def nobody(_: int) -> pwd.struct_passwd:
        raise KeyError

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    assert cache_of(54321) is None
