"""When two names are one to a device, and which names are those of our trials.

As in the Linux kernel's casefold for Android's /sdcard: canonical decomposition, full case folding, and invisible
code points left out. FAT folds less. Too much folding costs one more question (see `folding`), too little costs a
file.

Invariant: `fold(fold(name)) == fold(name)`.
"""

from __future__ import annotations

import re
import unicodedata

_IGNORABLE = re.compile(
    "[\\u00ad\\u034f\\u061c\\u115f-\\u1160\\u17b4-\\u17b5\\u180b-\\u180f\\u200b-\\u200f\\u202a-\\u202e\\u2060-\\u206f"
    "\\u3164\\ufe00-\\ufe0f\\ufeff\\uffa0\\ufff0-\\ufff8\\U0001bca0-\\U0001bca3\\U0001d173-\\U0001d17a\\U000e0000-\\U000e0fff]"
)
"""Default_Ignorable_Code_Point, of which `unicodedata` knows nothing.

The whole of it, from Unicode 14's DerivedCoreProperties.txt. Only U+180F is younger than
the kernel's tables (Unicode 12.1); hardly any file has it in its name.
"""
PROBE = ".mtpfs-probe-"
"""What the names of objects begin with that find out what a device does with names."""


def is_probe(name: str) -> bool:
    """Tell whether a name is one of those, by the device's spelling."""
    return name.lstrip().startswith(PROBE)


def fold(name: str) -> str:
    """Return the key under which a case-insensitive filesystem files `name`.

    It is the kernel's for ext4 and f2fs (fs/unicode, where its name is nfdicf): full case
    folding, canonical decomposition, and what is ignorable is dropped. Two names with
    one key are one file on Android. FAT and exFAT fold less, so that a key which serves
    for both at worst calls two names one that the card could tell apart.

    The kernel doesn't sort accents across an ignorable character, nor Greek accents around
    an iota below. To fold twice would then give another key than to fold once. Here
    both are sorted like all others, as the Unicode standard has it (D145).
    """
    if name.isascii():
        return name.lower()  # the same, and most names are
    visible = _IGNORABLE.sub("", name)
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", visible).casefold())
