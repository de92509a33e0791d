"""When two names are one to a device.

Strategy: as the Linux kernel's casefold does for Android's /sdcard: canonical decomposition, full
case folding, and the code points left out that aren't seen. FAT folds less; too much folding
costs a question more (see `folding`), too little costs a file.

Invariant: `fold(fold(name)) == fold(name)`.
"""

from __future__ import annotations

import unicodedata

_IGNORED_RANGES = (
    (0x00AD, 0x00AD),
    (0x034F, 0x034F),
    (0x061C, 0x061C),
    (0x115F, 0x1160),
    (0x17B4, 0x17B5),
    (0x180B, 0x180F),
    (0x200B, 0x200F),
    (0x202A, 0x202E),
    (0x2060, 0x206F),
    (0x3164, 0x3164),
    (0xFE00, 0xFE0F),
    (0xFEFF, 0xFEFF),
    (0xFFA0, 0xFFA0),
    (0xFFF0, 0xFFF8),
    (0x1BCA0, 0x1BCA3),
    (0x1D173, 0x1D17A),
    (0xE0000, 0xE0FFF),
)
"""Unicode's Default_Ignorable_Code_Point, which the standard library doesn't have."""
_IGNORED = dict.fromkeys(code for first, last in _IGNORED_RANGES for code in range(first, last + 1))


def fold(name: str) -> str:
    """Return the key under which a device that folds files `name`."""
    if name.isascii():
        return name.lower()
    folded = unicodedata.normalize("NFD", unicodedata.normalize("NFD", name).casefold())
    return unicodedata.normalize("NFD", folded.translate(_IGNORED))
