"""The kinds of phone that tests run on: the one list of them.

Strategy: a kind is the option words of a virtual phone. First come the personalities, phones that exist; then
single words for sets of capabilities that no personality has. What a kind can do is asked of the virtual phone
itself, so no test keeps a list of its own.
"""

from __future__ import annotations

from mtpfs.virtual.capabilities import PERSONALITIES, parse_options

ANDROID = "as=android14"
CAMERA = "as=camera"

_PERSONALITIES = tuple(f"as={name}" for name in PERSONALITIES)
WRITABLE_PERSONALITIES = tuple(words for words in _PERSONALITIES if not parse_options(words).read_only)
WRITABLE = (
    *WRITABLE_PERSONALITIES,
    "samsung",  # moves and renames, but edits nothing
    "no-partial",  # reads only whole files, though it edits
    "no-move&no-rename",
    "storages=2",
)
"""The kinds whose contents can be changed through a mount."""
ONE_STORAGE = tuple(words for words in WRITABLE if parse_options(words).storages == 1)
"""Those of them that have one storage."""
ANY_FILE = tuple(words for words in WRITABLE if not parse_options(words).formats)
"""Those of them that take files of any format: for programs that choose the names themselves."""
DIFFERENT = (ANDROID, "as=sailfish", "no-partial", "no-move&no-rename", "storages=2")
"""Some of them, each with its own way of saving or reading: for programs that only combine what `conformance/` tests."""
READ_ONLY = (CAMERA, "read-only")
"""Those that can only be read; from a camera files can be deleted."""
KINDS = (*WRITABLE, *READ_ONLY)


def name(words: str) -> str:
    """Return what a kind is called in a test's id."""
    return words.removeprefix("as=")
