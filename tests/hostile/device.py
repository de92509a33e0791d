"""A device that lies: the virtual phone with a man in the middle, driven by a string of bytes.

Strategy: every transfer towards the host takes a few bytes of the string, which
say what becomes of it. When the string is used up the device is honest, so
every session comes to an end, and a fuzzer's mutations map to small changes of
what happens.

Invariant: the same string makes the same lies.
"""

from __future__ import annotations

import tempfile
from array import array
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TypeVar

import trio
import trio.testing

from equipment.air import Air
from equipment.ptpip import Camera
from mtpfs.device.description import describe
from mtpfs.errors import (
    MtpfsError,
    TransportError,
    TransportStallError,
    TransportTimeoutError,
)
from mtpfs.phone import open_device, open_filesystem
from mtpfs.settings import Settings
from mtpfs.transport import Buffer, Transport
from mtpfs.transport.ip import open_camera
from mtpfs.transport.source import parse_source
from mtpfs.vfs import Filesystem, Node
from mtpfs.virtual.capabilities import parse_virtual
from mtpfs.virtual.transport import VirtualTransport, open_virtual
from vfs.world import Kernel

T = TypeVar("T")

HONEST = 64  # possible decisions, of which only the first few are lies
JUNK = bytes(range(256))
EVENT_WAIT = 0.01  # seconds
EDGES = (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)


class Choices:
    """The string of bytes, taken from the front; zeros when it is used up."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, below: int) -> int:
        """Return a number below `below` (at most 65536)."""
        piece = self._data[self._at : self._at + 2]
        self._at += 2
        return int.from_bytes(piece, "little") % below if piece else 0

    @property
    def used_up(self) -> bool:
        return self._at >= len(self._data)


def lies(choices: Choices, honest: bytes) -> list[bytes]:
    """Return what becomes of some bytes: pieces that are received one by one. Raises `TransportStallError`."""
    lie = choices.take(HONEST)
    at = choices.take(len(honest) + 1) if lie else 0
    match lie:
        case 1:
            return [honest[:at]]
        case 2:
            return []
        case 3:
            return [honest, honest]
        case 4:
            return [honest[:at], honest[at:]]
        case 5:
            return [honest + JUNK[: choices.take(256)]]
        case 6:
            return [JUNK[: choices.take(256)], honest]
        case 7:
            raise TransportStallError("stalled")
        case 8:
            edge = EDGES[choices.take(len(EDGES))].to_bytes(4, "little")
            return [honest[:at] + edge + honest[at + 4 :]]
        case 9 | 10 | 11:
            changed = bytearray(honest)
            for _ in range(lie - 8):
                if changed:
                    changed[choices.take(len(changed))] = choices.take(256)
            return [bytes(changed)]
        case _:
            return [honest]


class HostileTransport:
    """`mtpfs.transport.Transport` with the bytes towards the host changed."""

    def __init__(self, phone: VirtualTransport, choices: Choices) -> None:
        self._phone = phone
        self._choices = choices
        self._waiting: deque[bytes] = deque()
        self.name = phone.name
        self.advice = phone.advice
        self.max_packet = phone.max_packet
        self.monotonic = phone.monotonic
        self.sleep = phone.sleep
        self.clear_halt = phone.clear_halt
        self.cancel = phone.cancel
        self.device_status = phone.device_status
        self.reopen = phone.reopen
        self.release = phone.release
        self.reconnect = phone.reconnect
        self.close = phone.close

    def write(self, data: Buffer, timeout: float) -> int:
        return self._phone.write(data, timeout)

    def read(self, buffer: array[int], timeout: float) -> int:
        if not self._waiting:
            count = self._phone.read(buffer, timeout)
            self._waiting.extend(lies(self._choices, bytes(memoryview(buffer)[:count])))
        if not self._waiting:
            self.sleep(timeout)
            raise TransportTimeoutError("swallowed")
        piece = self._waiting.popleft()
        if len(piece) > len(buffer):
            raise TransportError("overflow")
        memoryview(buffer)[: len(piece)] = array("B", piece)
        return len(piece)

    def read_event(self, timeout: float) -> bytes:
        event = self._phone.read_event(min(timeout, EVENT_WAIT))
        if self._choices.used_up:
            return event
        return (lies(self._choices, event) or [b""])[0][:64]


@asynccontextmanager
async def mounted(transport: Transport) -> AsyncIterator[Filesystem]:
    async with (
        open_device(lambda: transport) as device,
        open_filesystem(device, Settings(), Kernel()) as fs,
    ):
        yield fs


async def use(fs: Filesystem, depth: int = 3) -> None:
    """Do everything that a program can do with what is there."""
    await attempt(describe(fs.device))
    await walk(fs, fs.tree.root, depth)
    await attempt(fs.space(fs.tree.root))


async def walk(fs: Filesystem, directory: Node, depth: int) -> None:
    entries = await attempt(fs.entries(directory)) or []
    for node in entries[:20]:
        assert b"/" not in node.name
        assert b"\0" not in node.name
        assert node.name not in {b"", b".", b".."}
        await attempt(fs.refresh(node))
        if node.is_folder:
            if depth:
                await walk(fs, node, depth - 1)
        else:
            await attempt(read(fs, node))
    await attempt(write(fs, directory, b"new"))
    await attempt(fs.rename(directory, b"new", directory, b"newer"))
    await attempt(write(fs, directory, b"newer"))
    await attempt(fs.mkdir(directory, b"folder"))
    await attempt(fs.rmdir(directory, b"folder"))
    await attempt(fs.unlink(directory, b"newer"))


async def read(fs: Filesystem, node: Node) -> None:
    opened = await fs.open(node, write=False)
    try:
        for offset in (0, 5, max(0, node.size - 10)):
            piece = await fs.read(opened, offset, 4096)
            assert len(piece) <= 4096
    finally:
        await fs.release(opened)


async def write(fs: Filesystem, directory: Node, name: bytes) -> None:
    node = directory.children.get(name)
    opened = await (fs.create(directory, name) if node is None else fs.open(node, write=True))
    try:
        await fs.write(opened, 3, b"contents")
        await fs.flush(opened)
    finally:
        await fs.release(opened)


async def attempt(operation: Awaitable[T]) -> T | None:
    """Await; any error of ours is an answer."""
    try:
        return await operation
    except MtpfsError:
        return None


def run_session(data: bytes) -> float:
    """Play one whole session against the lies in `data`; return the seconds it took on the device's clock.

    The first byte chooses what the phone can do. Anything but an error of ours is raised.
    """
    with _phone(data) as (phone, words):
        transport = open_virtual(f"{phone}?{words}")
        before = transport.monotonic()

        async def session() -> None:
            try:
                async with mounted(HostileTransport(transport, Choices(data[1:]))) as fs:
                    await use(fs)
            except* MtpfsError:
                pass

        # The clock jumps while the reader of events waits; were its patience shorter, nothing would ever be idle.
        trio.run(session, clock=trio.testing.MockClock(autojump_threshold=EVENT_WAIT / 5))
        return transport.monotonic() - before


def run_network_session(data: bytes) -> float:
    """Do the same over TCP: the lies are about what the camera sends, the packets of the greeting included."""
    with _phone(data) as (phone, words):
        directories, capabilities = parse_virtual(f"{phone}?{words}")
        air = Air(Camera(directories, capabilities))
        air.event_wait = EVENT_WAIT
        choices = Choices(data[1:])

        def distort(honest: bytes) -> bytes:
            try:
                return b"".join(lies(choices, honest))
            except TransportStallError as error:
                raise ConnectionResetError from error

        def connect() -> Transport:
            source = parse_source("ip:hostile")
            return open_camera(source, bytes(16), dial=air.dial, clock=air.clock, sleep=air.sleep)

        async def keep_time() -> None:
            while True:
                await trio.sleep(1)
                air.sleep(1)

        async def session() -> None:
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(keep_time)
                    transport = await trio.to_thread.run_sync(connect)
                    async with mounted(transport) as fs:
                        await use(fs)
                    nursery.cancel_scope.cancel()
            except* MtpfsError:
                pass

        air.distort = distort
        before = air.clock()
        trio.run(session, clock=trio.testing.MockClock(autojump_threshold=EVENT_WAIT / 5))
        return air.clock() - before


@contextmanager
def _phone(data: bytes) -> Iterator[tuple[Path, str]]:
    """Make a phone's directory; its words are chosen by the first byte."""
    kinds = (
        "",
        "no-edit",
        "no-partial64",
        "no-partial",
        "no-proplist",
        "no-move&no-rename",
        "samsung",
        "strict",
    )
    with tempfile.TemporaryDirectory() as name:
        phone = Path(name)
        (phone / "DCIM/Camera").mkdir(parents=True)
        (phone / "DCIM/Camera/1.jpg").write_bytes(bytes(3000))
        (phone / "DCIM/Camera/2.jpg").write_bytes(b"x" * 511)
        (phone / "empty").touch()
        yield phone, kinds[data[0] % len(kinds)] if data else ""
