"""What may be read, and what may be left: a last-writer model that is sound rather than complete.

Strategy: every write is a whole file of one stamp that nobody else writes, so one look tells what some
contents are: a beginning of a stamp, nothing, or what may not be. A write is remembered with the
file (the node) that it went to, when it began, and when it was acknowledged. What was overtaken by
a later acknowledged write, from start to end, can't be what is left.

Invariant: what is called wrong is wrong in every order that the calls could have taken.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from math import inf

from mtpfs.vfs import Node

SIZE = 3000  # bytes of every write
SHORT = SIZE // 3  # bytes that a truncation leaves
WIDTH = 8  # bytes of one stamp, which is repeated


class ViolationError(AssertionError):
    """Something that may not be."""


@dataclass(eq=False)
class Change:
    """One change of a file's contents. `stamp` is empty for a truncation."""

    node: Node
    stamp: bytes
    size: int
    began: int
    acknowledged: float = inf

    def allows(self, data: bytes) -> bool:
        return self.stamp == b"" or data == content(self.stamp, self.size)


def content(stamp: bytes, size: int = SIZE) -> bytes:
    return (stamp * (SIZE // WIDTH))[:size]


class Ledger:
    """All changes of one run."""

    def __init__(self) -> None:
        self._clock = itertools.count(1)
        self._numbers = itertools.count(1)
        self.changes: list[Change] = []
        self._owners: dict[bytes, Node | None] = {}
        self._sources: dict[Node, set[Node]] = {}

    def now(self) -> int:
        return next(self._clock)

    def stamp(self, node: Node | None = None) -> bytes:
        """Return a new stamp, for a file or (None) one of those that were there before."""
        stamp = b"%07d." % next(self._numbers)
        self._owners[stamp] = node
        return stamp

    def begin(self, node: Node, stamp: bytes, size: int = SIZE) -> Change:
        change = Change(node, stamp, size, self.now())
        self.changes.append(change)
        return change

    def follow(self, change: Change) -> None:
        """Note that a truncation may have gone to the file that took the place of the one that was meant."""
        node = change.node
        while node.successor is not None:
            node = node.successor
            self.changes.append(Change(node, change.stamp, change.size, change.began))

    def acknowledge(self, *changes: Change) -> None:
        now = self.now()
        for change in changes:
            change.acknowledged = min(change.acknowledged, now)

    def may_have_got(self, target: Node, source: Node) -> None:
        """Note that a rename was broken off: the device may have put one file in the other's place all the same."""
        self._sources.setdefault(target, set()).add(source)

    def _may_be(self, source: Node, data: bytes) -> bool:
        stamp = data[:WIDTH]
        return (stamp in self._owners and self._owners[stamp] is None) or any(
            change.allows(data) for change in self.changes if change.node is source
        )

    def check_read(self, node: Node, data: bytes, *, calm: bool) -> None:
        """Raise `ViolationError` unless somebody may have written `data` to this file."""
        if not data:
            return
        stamp = data[:WIDTH]
        if stamp not in self._owners or data != content(stamp, len(data)) or len(data) not in {SHORT, SIZE}:
            raise ViolationError(f"{node.path}: nobody wrote {len(data)} bytes {data[:16]!r}…{data[-16:]!r}")
        owner = self._owners[stamp]
        known = any(change.node is node for change in self.changes)
        if calm and owner is not None and owner is not node and known:
            raise ViolationError(f"{node.path}: {stamp!r} was written to another file")

    def check_left(self, node: Node, data: bytes) -> None:
        """Raise `ViolationError` if `data` can't be what is left of a file."""
        changes = [change for change in self.changes if change.node is node]
        last = max((change.began for change in changes if change.acknowledged < inf), default=0)
        allowed = [change for change in changes if change.acknowledged > last]
        if any(self._may_be(source, data) for source in self._sources.get(node, ())):
            return
        if last and not any(change.allows(data) for change in allowed):
            wanted = [(change.stamp, change.size, change.acknowledged) for change in allowed]
            raise ViolationError(
                f"{node.path}: {len(data)} bytes {data[:WIDTH]!r} are left; possible: {wanted}"
            )
