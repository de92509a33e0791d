"""An open phone of the library's, with the cable in hand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import trio

import mtpfs
from mtpfs.library.connection import connect
from mtpfs.virtual import transport
from mtpfs.virtual.transport import VirtualTransport, open_virtual

STORAGE = "/Internal shared storage"


@dataclass
class World:
    """A phone, the directory that it serves, and its cable."""

    phone: mtpfs.Phone
    directory: Path
    transport: VirtualTransport

    @property
    def operations(self) -> dict[str, int]:
        return self.phone._fs.device.session.statistics().operations

    def cancel_at(self, number: int, scope: trio.CancelScope) -> None:
        """Cancel `scope` when the device is asked for something for the `number`th time from now on, counted from 0."""
        session = self.phone._fs.device.session
        submit, left = session._submit, number

        async def counted(job: object) -> object:
            nonlocal left
            if left == 0:
                scope.cancel()
            left -= 1
            return await submit(job)  # type: ignore[arg-type]

        session._submit = counted  # type: ignore[method-assign, assignment]

    async def is_in_step(self) -> bool:
        """Tell whether the phone answers as ever: what it lists is what is in its directory."""
        self.phone._fs.tree.expire()
        found = {entry.path async for entry in self.phone.walk(STORAGE)}
        there = {f"{STORAGE}/{path.relative_to(self.directory)}" for path in self.directory.rglob("*")}
        return found == there and self.phone._fs.device.session.statistics().recoveries == 0


@asynccontextmanager
async def world(directory: Path, words: str = "") -> AsyncIterator[World]:
    """Open a virtual phone. Names that stay taken for a moment have tests of their own."""
    cables: list[VirtualTransport] = []

    def opened(argument: str) -> VirtualTransport:
        cables.append(open_virtual(argument))
        return cables[-1]

    with patch.object(transport, "open_virtual", opened):
        async with connect(f"virtual:{directory}?{words}{'&' if words else ''}ghost=0") as phone:
            yield World(phone, directory, cables[0])
