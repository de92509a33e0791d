"""Objects that no directory shows while this mount is using them.

A file that is deleted while it is open keeps its object, under a temporary name, until the last descriptor is closed.
A part (`mtpfs.vfs.part`) has a temporary name until it is complete. To a later mount both are left by a change that
was broken off. To this one they are not, so listings leave them out before anything is settled.
"""

from __future__ import annotations

from collections.abc import Iterable

from mtpfs.device import Entry, Handle
from mtpfs.vfs.node import Node


class Hidden:
    """All hidden objects of a mount, by their names on the device."""

    def __init__(self) -> None:
        self._deleted: dict[str, Node] = {}
        self._parts: set[str] = set()

    def __bool__(self) -> bool:
        """Tell whether there are any."""
        return bool(self._deleted or self._parts)

    def __repr__(self) -> str:
        return f"<hidden: {[*self._deleted, *self._parts]}>"

    def hide(self, node: Node, object_name: str) -> None:
        """Note that an open file that was deleted has this name on the device now."""
        node.object_name = object_name
        self._deleted[object_name] = node

    def holds(self, node: Node) -> bool:
        """Tell whether this is a file that was deleted while it was open, and has its object still."""
        return self._deleted.get(node.object_name) is node

    def let_go(self, node: Node) -> None:
        """Note that its object is gone, or is for a listing to settle."""
        self._deleted.pop(node.object_name, None)

    def add_part(self, object_name: str) -> None:
        """Note the name of a part that is being written."""
        self._parts.add(object_name)

    def remove_part(self, object_name: str) -> None:
        """Note that it is no part any more, or is for a listing to settle."""
        self._parts.discard(object_name)

    def find(self, handle: Handle) -> Node | None:
        """Return the deleted file with that handle."""
        return next((node for node in self._deleted.values() if node.handle == handle), None)

    def sift(self, entries: Iterable[Entry]) -> list[Entry]:
        """Return the entries that aren't hidden; take over the handles of deleted files."""
        others = []
        for entry in entries:
            if (node := self._deleted.get(entry.name)) is not None:
                node.handle = entry.handle
            elif entry.name not in self._parts:
                others.append(entry)
        return others
