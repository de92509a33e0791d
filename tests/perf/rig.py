"""A mount without kernel, threads and clock: what it does is the same each time, and can be counted.

The session is that of the stress test, whose jobs run at once, on the task that wants them. Here nothing is left to
chance: no detours, and what the phone announces is heard at once.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from mtpfs.session.queue import Job
from mtpfs.vfs import Filesystem, Node
from mtpfs.virtual.store import Node as Object
from mtpfs.virtual.transport import VirtualTransport, open_virtual
from perf.counting import Cable, Table, Work
from stress.wire import StressSession
from vfs.world import filesystem

T = TypeVar("T")


class NoChance(random.Random):
    """Always decides for the straight way."""

    def random(self) -> float:
        return 1.0

    def randint(self, a: int, b: int) -> int:
        del b
        return a


class CountedSession(StressSession):
    """Counts the jobs: each is handed to the thread that has the wire, and back."""

    jobs = 0

    async def _submit(self, job: Job[T]) -> T:
        self.jobs += 1
        return await super()._submit(job)


@dataclass
class Rig:
    """An open filesystem, its storage, the phone, and the cable between them."""

    fs: Filesystem
    session: CountedSession
    root: Node
    phone: Path
    transport: VirtualTransport
    cable: Cable

    @property
    def storage(self) -> Object:
        """The storage's root in the phone's own table."""
        return self.transport.responder.phone.store.storages[0].root

    def watch_tables(self) -> Work:
        """Count, from now on, what is gone through of the tables that grow with the root."""
        walked = Work()

        def counted(content: dict) -> Table:  # type: ignore[type-arg]
            return Table.of(content, walked, self.cable)

        tree, store = self.fs.tree, self.transport.responder.phone.store
        self.root.children = counted(self.root.children)
        tree.nodes, tree.by_handle = counted(tree.nodes), counted(tree.by_handle)
        self.storage.children = counted(self.storage.children)
        self.storage.spellings = counted(self.storage.spellings)
        store._nodes = counted(store._nodes)
        return walked


@asynccontextmanager
async def rig(phone: Path, words: str = "", *, cable: Cable | None = None) -> AsyncIterator[Rig]:
    """Open a filesystem on a virtual phone, and look at its storages."""
    cable = cable or Cable()
    transport = open_virtual(f"{phone}?{words}{'&' if words else ''}ghost=0")
    transport.write = cable.wrap(transport.write)  # type: ignore[method-assign]
    transport.read = cable.wrap(transport.read)  # type: ignore[method-assign]
    responder = transport.responder
    responder.next_event = cable.wrap(responder.next_event)  # type: ignore[method-assign]
    session = CountedSession(transport, NoChance())
    async with filesystem(session, ttl=3600.0) as fs:
        (root,) = await fs.entries(fs.tree.root)
        yield Rig(fs, session, root, phone, transport, cable)
    transport.close()
