"""A device on the virtual phone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from mtpfs.device import Device, Handle, Storage
from mtpfs.session import DataSource, open_session
from mtpfs.virtual.transport import VirtualTransport, open_virtual


@dataclass
class World:
    """An open device, its only storage, that storage's root, and the cable."""

    device: Device
    storage: Storage
    root: Handle
    transport: VirtualTransport

    @property
    def operations(self) -> dict[str, int]:
        return self.device.session.statistics().operations


@asynccontextmanager
async def world(phone: Path, words: str = "") -> AsyncIterator[World]:
    """Open a virtual phone that serves `phone`."""
    transport = open_virtual(f"{phone}?{words}" if words else str(phone))
    async with open_session(transport) as session:
        device = Device(session)
        storage = (await device.storages())[0]
        yield World(device, storage, Handle(0, session.generation), transport)


def source(data: bytes) -> DataSource:
    def fill(offset: int, room: memoryview) -> int:
        piece = data[offset : offset + len(room)]
        room[: len(piece)] = piece
        return len(piece)

    return DataSource(len(data), fill)
