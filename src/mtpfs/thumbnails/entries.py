"""The user's thumbnail cache: entries that GLib, GNOME, tumbler and KIO all take for valid.

Where an entry lies and what is in it is the freedesktop specification's; what readers make of that differs. So what the
strictest of them wants is written: the file's date in whole seconds, its size, and the URI with GLib's escaping byte
for byte. KIO and GLib refuse a date with a fraction; tumbler reads the texts only in front of the pixels.

An entry belongs to one file at one date. Where there is a valid one already, another program has seen the whole
picture, so it is replaced only by a larger one.

Invariant: under an entry's name there is a whole one, or none: it is written under another name, and renamed.

Source: the Thumbnail Managing Standard, and the readers' own code.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pwd
import secrets
from pathlib import Path
from urllib.parse import quote

from mtpfs.thumbnails import png
from mtpfs.thumbnails.decoder import Picture

SIZES = {"normal": 128, "large": 256, "x-large": 512}
"""The directories, and how many pixels an entry in each has at most."""
SOFTWARE = "mtpfs"
_KEPT_IN_URIS = "!$&'()*+,-./:=@_~"
_HEAD = 64 << 10  # bytes of an entry that are read for its texts: they stand in front


class Cache:
    """The cache in one directory (`~/.cache/thumbnails`).

    All methods block, and raise `OSError` for the disk's errors.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def is_settled(self, path: bytes, modified: float, size: int) -> bool:
        """Tell whether the device's thumbnail can add nothing: the largest is there, or what is there was made of it."""
        uri = uri_of(path)
        return any(
            self._side(name, uri, modified, size, by=None if pixels == max(SIZES.values()) else SOFTWARE)
            for name, pixels in SIZES.items()
        )

    def best(self, path: bytes, modified: float, size: int) -> int:
        """Return for how many pixels the largest valid entry of a file is; 0: there is none."""
        uri = uri_of(path)
        return max(
            (pixels for name, pixels in SIZES.items() if self._side(name, uri, modified, size)), default=0
        )

    def store(self, path: bytes, modified: float, size: int, picture: Picture) -> int:
        """Write a picture's entries, each that is better than what is there; return how many that were.

        A file without a date has none: no reader would take it.
        """
        if not int(modified):
            return 0
        uri, written = uri_of(path), 0
        texts = {
            "Thumb::URI": uri,
            "Thumb::MTime": str(int(modified)),
            "Thumb::Size": str(size),
            "Software": SOFTWARE,
        }
        for name, pixels in SIZES.items():
            data = picture.pngs.get(pixels)
            if data is None or max(png.size(data)) <= self._side(name, uri, modified, size):
                continue
            self._write(self._place(name, uri), png.with_texts(data, texts))
            written += 1
        return written

    def remove(self, path: bytes) -> None:
        """Remove what there is of a file that doesn't exist any more."""
        uri = uri_of(path)
        for name in SIZES:
            with contextlib.suppress(FileNotFoundError):
                self._place(name, uri).unlink()

    def _place(self, name: str, uri: str) -> Path:
        digest = hashlib.md5(uri.encode("ascii"), usedforsecurity=False).hexdigest()
        return self.directory / name / f"{digest}.png"

    def _side(self, name: str, uri: str, modified: float, size: int, *, by: str | None = None) -> int:
        """Return the longer side of a valid entry, in pixels; 0: there is none. `by`: by this program only."""
        try:
            with self._place(name, uri).open("rb") as file:
                head = file.read(_HEAD)
        except FileNotFoundError:
            return 0
        found = png.texts(head)
        try:
            is_of_that_date = float(found.get("Thumb::MTime", "nan")) == int(modified)
        except ValueError:
            is_of_that_date = False
        is_valid = (
            found.get("Thumb::URI") == uri
            and is_of_that_date
            and found.get("Thumb::Size", str(size)) == str(size)
        )
        is_by = by is None or found.get("Software") == by
        return max(png.size(head)) if is_valid and is_by else 0

    def _write(self, place: Path, data: bytes) -> None:
        for directory in (self.directory.parent, self.directory, place.parent):
            directory.mkdir(mode=0o700, exist_ok=True)
        temporary = place.with_name(f".mtpfs-{secrets.token_hex(8)}.png")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
            temporary.rename(place)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                temporary.unlink()
            raise


def cache_of(user: int) -> Cache | None:
    """Return a user's cache; None for root, and for who isn't in the password database.

    The home is the database's: a mount may run with another user's environment. XDG_CACHE_HOME counts where the
    directory is the user's own. Blocks.
    """
    if not user:
        return None
    try:
        home = Path(pwd.getpwuid(user).pw_dir)
    except KeyError:
        return None
    chosen = Path(os.environ.get("XDG_CACHE_HOME") or "-")
    with contextlib.suppress(OSError):
        if chosen.is_absolute() and chosen.stat().st_uid == user:
            return Cache(chosen / "thumbnails")
    return Cache(home / ".cache" / "thumbnails") if home.is_absolute() else None


def uri_of(path: bytes) -> str:
    """Return a path as a URI, escaped as GLib does it: programs compare it byte for byte."""
    return "file://" + quote(path, safe=_KEPT_IN_URIS)
