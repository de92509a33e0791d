"""Rounds of create, replace, rename over, delete and mkdir of one name, with a reader and 16 writers beside.

Every call of the one who makes the rounds has to succeed, and what it made has to be on the phone. The reader may
find nothing, or a directory, but never a descriptor that is dead, nor half a file. Nothing takes long.
"""

from __future__ import annotations

import errno
import random
from collections.abc import Awaitable
from pathlib import Path
from typing import TypeVar

import trio

from mtpfs.errors import MtpfsError
from mtpfs.vfs import Node
from mtpfs.virtual.transport import open_virtual
from stress.ledger import ViolationError, content
from stress.run import LATE, Run
from stress.wire import MOST, StressSession
from vfs.world import filesystem

__all__ = ["PHONES", "Rounds"]

T = TypeVar("T")

PHONES = (
    "as=android14",
    "as=android8",
    "as=sailfish",
    "as=tizen",
    "as=player",
    "as=umtp",
    "no-edit&no-move&no-rename",
)
NAME, TEMPORARY = b"one.mp3", b"one-new.mp3"
WRITERS = 16
LONGEST = 5.0  # seconds on trio's clock and the phone's
FOUND_NOTHING = {errno.ENOENT, errno.EISDIR, errno.ENOTDIR}


class Rounds(Run):
    """The rounds on one kind of phone."""

    def __init__(self, seed: int, phone: Path, words: str, rounds: int) -> None:
        super().__init__(seed, phone)
        self.real = 60.0 + 5.0 * rounds  # without a limit a circle would be one for ever
        self.kind, self.trouble = words, ""
        self._rounds = rounds
        self._over = False
        self.longest = 0.0

    async def main(self) -> None:
        transport = open_virtual(f"{self.phone}?{self.kind}")
        self.session = StressSession(transport, self.chance)
        self.session.engine.most = MOST + 1000 * self._rounds
        with trio.fail_after(LATE):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.session.listen)
                async with filesystem(self.session) as self.fs:
                    (self.root,) = await self.fs.entries(self.fs.tree.root)
                    async with trio.open_nursery() as programs:
                        programs.start_soon(self._read_on, random.Random(self._draw()))
                        for number in range(WRITERS):
                            programs.start_soon(self._write_on, number, random.Random(self._draw()))
                        await self._make_rounds()
                        self._over = True
                    await self._settle()
                self._check_let_go()
                self._check_left()
                nursery.cancel_scope.cancel()
        transport.close()

    async def _timed(self, what: str, call: Awaitable[T]) -> T:
        began, phone = trio.current_time(), self.session.engine.transport.monotonic()
        try:
            return await call
        finally:
            took = max(trio.current_time() - began, self.session.engine.transport.monotonic() - phone)
            self.longest = max(self.longest, took)
            self.note("clock", f"{what}: {took:.3f} s")
            if took > LONGEST:
                raise ViolationError(f"{what} took {took:.1f} s")

    # --- the one who makes the rounds ----------------------------------------------------

    async def _make_rounds(self) -> None:
        for number in range(self._rounds):
            self.note("rounds", number)
            first = await self._put(NAME)
            self._expect(first)
            await self._let_others()
            self._expect(await self._put(NAME))
            await self._let_others()
            newest = await self._put(TEMPORARY)
            await self._timed("rename", self.fs.rename(self.root, TEMPORARY, self.root, NAME))
            self._expect(newest)
            await self._let_others()
            await self._timed("unlink", self.fs.unlink(self.root, NAME))
            self._expect(None)
            node = await self._timed("mkdir", self.fs.mkdir(self.root, NAME))
            node.lookups += 1
            if not (self.phone / NAME.decode()).is_dir():
                raise ViolationError("made, and not there")
            await self._let_others()
            await self._timed("rmdir", self.fs.rmdir(self.root, NAME))
            self._expect(None)

    async def _let_others(self) -> None:
        await trio.sleep(self.chance.random() / 50)
        await self._pass(self.chance, 10)

    def _expect(self, stamp: bytes | None) -> None:
        path = self.phone / NAME.decode()
        found = path.read_bytes() if path.is_file() else None
        if found != (None if stamp is None else content(stamp)):
            raise ViolationError(f"on the phone is {found and found[:8]!r}, and not {stamp!r}")

    async def _put(self, name: bytes) -> bytes:
        opened = await self._timed("open", self._open("rounds", self.root, name, write=True, truncate=True))
        stamp = self.ledger.stamp(opened.file.node)
        self.ledger.begin(opened.file.node, stamp)
        await self._timed("write", self.fs.write(opened, 0, content(stamp)))
        try:
            await self._timed("close", self.fs.flush(opened))
        finally:
            await self._timed("release", self.fs.release(opened))
        return stamp

    # --- beside --------------------------------------------------------------------------

    async def _read_on(self, chance: random.Random) -> None:
        while not self._over:
            await self._pass(chance, 10)
            await trio.sleep(0.001)
            try:
                opened = await self._timed(
                    "open to read", self._open("reader", self.root, NAME, write=False, truncate=False)
                )
            except MtpfsError as error:
                # ESTALE has the kernel look the name up again.
                if error.errno not in FOUND_NOTHING | {errno.ESTALE}:
                    raise
                continue
            try:
                for _ in range(chance.randint(1, 3)):
                    await self._pass(chance, 10)
                    await self._timed("read", self._read(opened))
            finally:
                await self._timed("close", self.fs.flush(opened))
                await self._timed("release", self.fs.release(opened))

    async def _write_on(self, number: int, chance: random.Random) -> None:
        name = b"writer%d.mp3" % number
        node: Node | None = None
        while not self._over or node is None:
            await self._pass(chance, 10)
            await trio.sleep(chance.random() / 10)
            stamp = await self._put(name)
            node = await self._lookup(self.root, name)
            if (self.phone / name.decode()).read_bytes() != content(stamp):
                raise ViolationError(f"{name!r} isn't what was closed last")
