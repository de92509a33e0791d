"""Which task may change which names: the only lock of the namespace.

A change claims all the names that it vacates and takes at once, or waits for all of them. No task claims while it
holds a claim. So there is no order to get wrong, and no circle of waiting is possible. Waiting claims are served
in order: a later one that conflicts with an earlier one waits behind it. So each gets its turn.

A directory that is removed, renamed or moved is claimed as a subtree. That conflicts with every claim below it,
also of names that don't exist yet.

A claim is in memory only. Transactions run under it, but no task waits under one for a device to come back.

Listings don't claim, because they may take long and many tasks wait for them. A listing watches its directory
instead (`watch`). It leaves alone every name that was claimed at any time since its first transaction. The change
itself tells the tree what became of such a name.

Names are compared folded on every device. On a device that folds, `Song` and `song` are one name. On others this
costs only a wait.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager

import trio

from mtpfs.vfs import names
from mtpfs.vfs.node import Node

Name = tuple[Node, str]
"""A directory, and what the device calls an entry of it."""


class Claim:
    """Names that one change has to itself. Made by `Claims`."""

    def __init__(self, claims: Claims, wanted: Iterable[Name], subtrees: Iterable[Node]) -> None:
        self.task = trio.lowlevel.current_task()
        self.names = {(directory, names.fold(name)) for directory, name in wanted}
        self.subtrees = frozenset(subtrees)
        self.granted = trio.Event()
        self._claims = claims

    def extend(self, directory: Node, name: str) -> None:
        """Claim one more name, which no other task can know: a fresh temporary one."""
        self._claims.extend(self, (directory, names.fold(name)))

    def conflicts(self, other: Claim) -> bool:
        """Tell whether this and the other claim can't be held at one time."""
        return not self.names.isdisjoint(other.names) or self._holds_above(other) or other._holds_above(self)

    def _holds_above(self, other: Claim) -> bool:
        """Tell whether anything of `other` lies in a directory that is claimed here as a whole."""
        if not self.subtrees:
            return False
        places = {directory for directory, _ in other.names} | other.subtrees
        return any(node in self.subtrees for place in places for node in place.ancestry())


class Claims:
    """All claims of one mount. On the trio thread."""

    def __init__(self) -> None:
        self._held: list[Claim] = []
        self._waiting: list[Claim] = []
        self._watches: list[tuple[Node, set[str]]] = []

    @asynccontextmanager
    async def claim(self, *wanted: Name, subtrees: Iterable[Node] = ()) -> AsyncIterator[Claim]:
        """Hold `wanted` names and `subtrees`. Wait for claims on any of them that are held, or came earlier.

        Always a checkpoint. If cancelled while waiting, it claims nothing. Raises `RuntimeError` in a task that
        holds a claim already: it could wait for itself.
        """
        claim = Claim(self, wanted, subtrees)
        if any(held.task is claim.task for held in self._held):
            raise RuntimeError("a task that holds a claim must not wait for another")
        self._waiting.append(claim)
        self._grant()
        try:
            await claim.granted.wait()
            yield claim
        finally:
            self._drop(claim)

    @contextmanager
    def claim_now(self, *wanted: Name) -> Iterator[Claim | None]:
        """Hold `wanted` names if no other claim has or wants any of them; None otherwise. Never waits."""
        claim = Claim(self, wanted, ())
        if any(claim.conflicts(other) for other in (*self._held, *self._waiting)):
            yield None
            return
        self._hold(claim)
        try:
            yield claim
        finally:
            self._drop(claim)

    def is_claimed(self, directory: Node, name: str) -> bool:
        """Tell whether a change holds this name now."""
        key = directory, names.fold(name)
        return any(key in claim.names for claim in self._held)

    @contextmanager
    def watch(self, directory: Node) -> Iterator[set[str]]:
        """Collect the folded names in `directory` that are claimed now, or at any time in this context."""
        touched = {name for claim in self._held for place, name in claim.names if place is directory}
        entry = directory, touched
        self._watches.append(entry)
        try:
            yield touched
        finally:
            self._watches = [watch for watch in self._watches if watch is not entry]

    def extend(self, claim: Claim, name: tuple[Node, str]) -> None:
        """Add a folded name that no other task can know, such as a fresh temporary one. Never waits."""
        claim.names.add(name)
        self._tell(name)

    def _grant(self) -> None:
        passed: list[Claim] = []
        for claim in self._waiting:
            if any(claim.conflicts(other) for other in (*self._held, *passed)):
                passed.append(claim)
            else:
                self._hold(claim)
                claim.granted.set()
        self._waiting = passed

    def _hold(self, claim: Claim) -> None:
        self._held.append(claim)
        for name in claim.names:
            self._tell(name)

    def _tell(self, name: tuple[Node, str]) -> None:
        for directory, touched in self._watches:
            if directory is name[0]:
                touched.add(name[1])

    def _drop(self, claim: Claim) -> None:
        self._held = [held for held in self._held if held is not claim]
        self._waiting = [waiting for waiting in self._waiting if waiting is not claim]
        self._grant()
