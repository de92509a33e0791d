"""Which files may have a thumbnail: pictures and films, by the ending of their names.

Devices know formats, but a listing is a name, and file managers go by that, too.
"""

from __future__ import annotations

_PICTURES = "jpg jpeg jpe jfif png gif bmp webp heic heif avif tif tiff dng cr2 cr3 crw nef nrw arw orf rw2 raf pef srw"
_FILMS = "mp4 m4v mov qt 3gp 3g2 avi mkv webm mpg mpeg wmv asf mts m2ts"
ENDINGS = frozenset(f".{word}".encode() for word in f"{_PICTURES} {_FILMS}".split())


def may_have_one(name: bytes) -> bool:
    """Tell whether a file of this name may have a thumbnail. What begins with a dot is shown by nobody."""
    stem, dot, ending = name.rpartition(b".")
    return bool(stem) and not name.startswith(b".") and (dot + ending).lower() in ENDINGS
