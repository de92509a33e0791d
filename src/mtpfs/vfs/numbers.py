"""Inode numbers that are the same at every mount.

restic and borg read a file again if its number differs from the last time, and numbers
that are counted up differ at every mount. So the number of a path is its hash. Two paths
with one hash are rare, but the kernel must never take two files for one. So the second
gets the hash of its path with a count behind it. That is the same at the next mount
too, if both are met in the same order.

A number belongs to a file and not to its path: a file keeps it when it is renamed, and a
new file under the old path gets the next one. The kernel may still speak of a number
after the file is gone. No other file gets it until the kernel has said forget.

Invariant: a number is in use at most once, is from 2 to 2**63 - 1, and is none of the
reserved ones. (Programs that know inode numbers as signed 64 bits are common; 0 means
"no file" in directories, and 1 is the root's in FUSE.)
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from hashlib import blake2b

_LIMIT = 1 << 63
_NEVER = frozenset({0, 1})


def _hash(data: bytes) -> int:
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "little")


class Numbers:
    """The numbers that are in use in one mount."""

    def __init__(self, reserved: Iterable[int] = (), *, hashed: Callable[[bytes], int] = _hash) -> None:
        """Begin with none; `reserved` ones are never given, and `hashed` is for tests of collisions."""
        self._reserved = _NEVER.union(reserved)
        self._hashed = hashed
        self._used: set[int] = set()

    def take(self, path: str) -> int:
        """Return a number for a file that is seen for the first time, at `path`. It is in use then."""
        data = path.encode("utf-8", "surrogatepass")
        for count in itertools.count():
            # No path has a NUL in it, so no other path has this hash for that reason.
            number = self._hashed(data + b"\0%d" % count if count else data) % _LIMIT
            if number not in self._reserved and number not in self._used:
                self._used.add(number)
                return number
        raise AssertionError("unreachable")

    def release(self, number: int) -> None:
        """Give back a number that the kernel has forgotten. `KeyError` if it isn't in use."""
        self._used.remove(number)
