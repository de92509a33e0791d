"""The state of one phone between two operations.

It is plain data that the operations' functions read and change. What outlives
an operation is here and nowhere else. AOSP's lifetimes are odd: edits and handles
survive CloseSession, and an announced upload does not survive any other command.
Here they can be seen on one page.

Invariant: events are queued only while a session is open and the phone sends
events at all.
"""

from __future__ import annotations

import os
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from mtpfs.protocol.codes import ContainerType, Event, Response
from mtpfs.protocol.containers import Container, parameter
from mtpfs.virtual.capabilities import FAT_LARGEST_FILE, Capabilities, storage_name
from mtpfs.virtual.store import Node, Refusal, Storage, Store
from mtpfs.virtual.transfers import FileRange


@dataclass(slots=True)
class Edit:
    """An object between BeginEditObject and EndEditObject."""

    node: Node
    descriptor: int
    size: int


@dataclass(slots=True)
class Upload:
    """An object that SendObjectInfo announced; SendObject must follow at once."""

    node: Node
    size: int
    modified: float | None


@dataclass(frozen=True, slots=True)
class Request:
    """A command. `p` gives its parameters, absent ones as 0."""

    operation: int
    transaction_id: int
    parameters: tuple[int, ...]

    def p(self, number: int) -> int:
        """Return parameter `number`, counted from 1 as in the standard."""
        return parameter(self.parameters, number - 1)


@dataclass(slots=True)
class Reply:
    """How an operation ends: data phase to the initiator, if any, and the response."""

    code: int = Response.OK
    parameters: tuple[int, ...] = ()
    data: bytes | FileRange | None = None


class CutShort(Exception):  # noqa: N818 - not an error of this program: the phone's way to stop the host
    """Ends a data phase before all data has come, with an answer or (None) with a stall."""

    def __init__(self, reply: Reply | None) -> None:
        super().__init__(reply)
        self.reply = reply


class Sink(Protocol):
    """Takes a data phase that is too large to be held."""

    def write(self, data: memoryview) -> None:
        """Take the next bytes of the payload. Raises `CutShort` to take no more."""

    def finish(self, length: int | None) -> Reply:
        """End; `length` is what the container announced, None when it left that open."""

    def abort(self) -> None:
        """End because the initiator cancelled: no response will be sent."""


Query = Callable[["Phone", Request], Reply]
Dataset = Callable[["Phone", Request, bytes], Reply]
Stream = Callable[["Phone", Request], Sink]


class Phone:
    """One virtual phone: objects, session, uploads, edits, device properties, pending events."""

    def __init__(self, directories: list[Path], capabilities: Capabilities) -> None:
        self.capabilities = capabilities
        removable = capabilities.removable
        storages = [
            Storage(i, path, storage_name(i), removable=removable) for i, path in enumerate(directories)
        ]
        self.store = Store(
            storages,
            self.notify,
            case_insensitive=capabilities.case_insensitive,
            capacity=capabilities.capacity,
            ghost_seconds=capabilities.ghost_seconds,
            notices_late=capabilities.notices_late,
            finds_again=capabilities.finds_again,
            hides_dot_names=capabilities.hides_dot_names,
        )
        self.store.available = not capabilities.locked
        self.trusted = not capabilities.untrusted
        self.session: int | None = None
        self.last_transaction = 0
        self.upload: Upload | None = None
        self.edits: dict[int, Edit] = {}
        self.friendly_name = capabilities.model
        self.synchronization_partner = ""
        self.events: deque[Container] = deque()
        self._shuffler = random.Random(0)  # noqa: S311 - the same disorder every time
        self.size_lie = 0
        """By how many bytes too large objects are said to be (see `Kind.LYING_SIZE`)."""
        self._due: dict[int, float] = {}
        """When thumbnails that are made later are ready, by handle (see `thumbnails`); until that is told."""
        self._made: set[int] = set()

    def notify(self, event: Event, parameter: int) -> None:
        """Queue an event."""
        if self.capabilities.events and self.session is not None:
            # AOSP puts the last request's transaction into every event
            self.events.append(Container(ContainerType.EVENT, event, self.last_transaction, (parameter,)))

    def set_locked(self, locked: bool) -> None:
        """Lock or unlock: storages are withdrawn or come back, as on the phone's screen lock."""
        if self.store.available is not locked:
            return
        self.store.available = not locked
        for storage in self.store.all_storages:
            self.notify(Event.StoreRemoved if locked else Event.StoreAdded, storage.id)

    def renumber(self) -> None:
        """Give every object a new handle; open edits are committed."""
        self.end_edits()
        self.store.renumber()

    def is_ready(self, node: Node, seconds: float) -> bool:
        """Tell whether a thumbnail is made that takes so long; the first question begins it, an event tells its end."""
        if node.handle in self._made:
            return True
        self._due.setdefault(node.handle, self.store.clock() + seconds)
        return False

    def poll(self) -> None:
        """Look for what changed in the directories, and what is ready, and queue events of it."""
        now = self.store.clock()
        for handle in [handle for handle, due in self._due.items() if due <= now]:
            del self._due[handle]
            self._made.add(handle)
            self.notify(Event.ObjectInfoChanged, handle)
        if self.capabilities.events and self.session is not None:
            told = len(self.events)
            self.store.poll(frozenset(self.edits))
            news = [self.events.pop() for _ in range(len(self.events) - told)][::-1]
            if self.capabilities.unordered_events:
                self._shuffler.shuffle(news)
            self.events.extend(news)

    def require_session(self) -> None:
        """Refuse without an open session (SessionNotOpen)."""
        if self.session is None:
            raise Refusal(Response.SessionNotOpen)

    def require_storage(self, code: int = Response.InvalidObjectHandle) -> None:
        """Refuse while the phone is locked, with the code that AOSP uses at that place."""
        if not self.store.storages:
            raise Refusal(code)

    def require_deletable(self) -> None:
        """Refuse where nothing may be deleted (StoreReadOnly)."""
        if not self.capabilities.deletes_though_read_only:
            self.require_writable()

    def require_writable(self) -> None:
        """Refuse where nothing may be written (StoreReadOnly)."""
        if self.capabilities.read_only:
            raise Refusal(Response.StoreReadOnly)

    def close(self) -> None:
        """End the MTP service: open edits are committed."""
        self.end_edits()
        self.session = None

    def require_trust(self) -> None:
        """Refuse to tell anything of a storage before the user has said yes, as an iPhone does."""
        if not self.trusted:
            raise Refusal(Response.StoreNotAvailable)

    def largest_file(self, storage: Storage) -> int | None:
        """Return the size that no file can exceed on this storage."""
        if self.capabilities.max_file is not None:
            return self.capabilities.max_file
        return FAT_LARGEST_FILE if storage.removable else None

    def end_edits(self) -> None:
        """Commit all open edits."""
        for edit in self.edits.values():
            os.close(edit.descriptor)
        self.edits.clear()


@dataclass(frozen=True, slots=True)
class Handlers:
    """The operations of one module: by operation, the function and the parameters it needs."""

    queries: dict[int, tuple[int, Query]] = field(default_factory=dict)
    datasets: dict[int, tuple[int, Dataset]] = field(default_factory=dict)
    streams: dict[int, tuple[int, Stream]] = field(default_factory=dict)
