"""Pictures in file managers without the pictures: what goes over the link when entries are there before."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from PIL import Image

from desktop.conftest import DATE, PICTURES, Desktop
from mount.conftest import MTPFS, run
from mtpfs.thumbnails.decoder import Decoder
from mtpfs.thumbnails.entries import SIZES, Cache
from photos import encoded, photo
from pictures import made

PHOTOS, VIDEOS = 100, 20
SIZE = 3_300_000
"""Bytes of each."""
MAGENTA = Image.new("RGB", (512, 384), (254, 0, 254))
_FILM = made.film()
LISTING = 500_000
"""Bytes that may go over the link: the listing, and what asks for types."""


def link(desktop: Desktop) -> int:
    """Return how many bytes the phone has sent so far."""
    said = run(*MTPFS, "stats", desktop.mountpoint, "--json").stdout
    return int(json.loads(said)["session"]["bytes_in"])


def quiet(desktop: Desktop) -> int:
    """Wait until next to nothing more goes over the link for some seconds, a minute at most; return what has."""
    before, since = link(desktop), time.monotonic()
    end = since + 60
    while time.monotonic() < min(since + 4, end):
        time.sleep(0.5)
        if (now := link(desktop)) > before + 20_000:  # programs look for room, now and then
            before, since = now, time.monotonic()
    return before


@pytest.fixture
def photos(desktop: Desktop) -> Path:
    """A folder of photos and videos on the mount. The photos are green; all thumbnails are magenta."""
    data = photo(1200, 900, thumbnail=None)
    for number in range(PHOTOS + VIDEOS):
        is_photo = number < PHOTOS
        path = desktop.phone / f"Inside/{f'IMG_{number:03}.jpg' if is_photo else f'VID_{number:03}.mp4'}"
        head = (data if is_photo else _FILM) + number.to_bytes(2, "big")
        path.write_bytes(head + bytes(SIZE - len(head)))
        os.utime(path, (DATE + number, DATE + number))
    return desktop.root / "Inside"


def note(desktop: Desktop, what: str, count: int) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    with (PICTURES / "thumbnails.txt").open("a") as file:
        file.write(f"{desktop.manager.name}, {what}: {count / 1e6:.2f} MB\n")


def test_entries_made_before(desktop: Desktop, photos: Path) -> None:
    """With entries as `mtpfs thumbs` makes them, the pictures show, and none is read."""
    cache = Cache(desktop.home / ".cache/thumbnails")
    with Decoder() as decoder:
        picture = decoder.decode(encoded(MAGENTA), tuple(SIZES.values()))
    for path in photos.iterdir():
        status = path.stat()
        cache.store(os.fsencode(path), status.st_mtime, status.st_size, picture)
    before = link(desktop)
    desktop.window(photos)
    desktop.until(lambda: desktop.coloured() > 3 * 400, "the thumbnails")
    count = quiet(desktop) - before
    desktop.picture("entries")
    note(desktop, "entries made before", count)
    assert count < LISTING


@pytest.mark.skipif(os.geteuid() == 0, reason="root has no thumbnail cache")
def test_option(desktop: Desktop, photos: Path) -> None:
    """With the mount option: what the first opening costs, and that after it every picture has an entry, and is whole."""
    desktop._unmount()
    cache = desktop.home / ".cache"
    cache.mkdir(mode=0o700, exist_ok=True)
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache)}
    source = f"virtual:{desktop.phone}"
    run(
        "env",
        *(f"{name}={value}" for name, value in environment.items()),
        *MTPFS,
        source,
        "--in",
        desktop.home / "Phones",
        "-o",
        "thumbnails",
    )
    before = link(desktop)
    desktop.window(photos)
    count = quiet(desktop) - before
    note(desktop, "first opening with the option", count)
    entries = Cache(cache / "thumbnails")
    shown = {path: path.stat() for path in photos.iterdir() if path.suffix == ".jpg"}
    desktop.until(
        lambda: all(
            entries.best(os.fsencode(path), status.st_mtime, status.st_size) for path, status in shown.items()
        ),
        "an entry for each photo",
    )
    desktop.picture("option")
    for path in photos.iterdir():
        assert path.read_bytes() == (desktop.phone / "Inside" / path.name).read_bytes()
