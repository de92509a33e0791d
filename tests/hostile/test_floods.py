"""Devices that never stop, or announce more than there is: memory and time stay bounded."""

from __future__ import annotations

import dataclasses
import itertools
import struct
import tracemalloc
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio

from mtpfs.device import Entry, Handle, listing
from mtpfs.device.listing import MAX_HANDLES, MAX_SIZE
from mtpfs.errors import MtpfsError, RemoteProtocolError, TransportTimeoutError
from mtpfs.protocol.codes import ContainerType, DataType, Event, Operation, Property, Response
from mtpfs.protocol.containers import UNKNOWN_LENGTH, Container
from mtpfs.protocol.datasets import DeviceInfo, decode_property_list
from mtpfs.session import DataSource
from mtpfs.session.engine import DEFAULT_LIMIT, LARGE_TRANSFER, Engine
from mtpfs.transport import Buffer
from mtpfs.vfs import Node
from mtpfs.vfs import tree as tree_module
from mtpfs.vfs.tree import Tree
from vfs.world import world

RATE = 40e6  # bytes per second that a link of USB 2 brings
PACKET = 512


class Puppet:
    """`mtpfs.transport.Transport` whose every read is the next piece of an endless answer."""

    def __init__(self, answer: Callable[[int], Iterator[bytes]], *, takes: bool = True) -> None:
        self.name = "puppet"
        self.max_packet = PACKET
        self.now = 0.0
        self.read_bytes = 0
        self._answer = answer
        self._takes = takes
        self._pieces: Iterator[bytes] = iter(())
        self._commands = 0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def write(self, data: Buffer, timeout: float) -> int:
        if self._commands and not self._takes:
            self.now += timeout
            raise TransportTimeoutError("nothing is taken")
        self._commands += 1
        self._pieces = self._answer(int.from_bytes(bytes(memoryview(data)[8:12]), "little"))
        self.now += 0.001
        return len(data)

    def read(self, buffer: array[int], timeout: float) -> int:
        piece = next(self._pieces, None)
        if piece is None:
            self.now += timeout
            raise TransportTimeoutError("nothing comes")
        piece = piece[: len(buffer)]
        memoryview(buffer)[: len(piece)] = array("B", piece)
        self.read_bytes += len(piece)
        self.now += 0.005 + len(piece) / RATE
        return len(piece)


def header(
    length: int, transaction: int, kind: int = ContainerType.DATA, code: int = Operation.GetDeviceInfo
) -> bytes:
    return struct.pack("<IHHI", length, kind, code, transaction)


def without_end(transaction: int) -> Iterator[bytes]:
    """Data of unknown length that never end."""
    yield header(UNKNOWN_LENGTH, transaction) + bytes(LARGE_TRANSFER)
    yield from itertools.repeat(bytes(LARGE_TRANSFER))


def announced(transaction: int) -> Iterator[bytes]:
    """Four gigabytes are announced."""
    yield header(UNKNOWN_LENGTH - 1, transaction)
    yield from itertools.repeat(bytes(LARGE_TRANSFER))


def empty(_: int) -> Iterator[bytes]:
    """Nothing but zero-length packets."""
    return itertools.repeat(b"")


def zeros(_: int) -> Iterator[bytes]:
    """A few zero bytes again and again, which some players send before a response."""
    return itertools.repeat(bytes(4))


def drops(transaction: int) -> Iterator[bytes]:
    """A mebibyte, byte by byte."""
    yield header(DEFAULT_LIMIT, transaction)
    yield from itertools.repeat(b"x")


def strays(transaction: int) -> Iterator[bytes]:
    """Responses to what was asked before."""
    return itertools.repeat(header(12, transaction - 1 & 0xFFFFFFFF, ContainerType.RESPONSE, Response.OK))


def stray_data(transaction: int) -> Iterator[bytes]:
    """Data of the transaction before, without end."""
    yield header(UNKNOWN_LENGTH, transaction - 1 & 0xFFFFFFFF) + bytes(LARGE_TRANSFER)
    yield from itertools.repeat(bytes(LARGE_TRANSFER))


def events(_: int) -> Iterator[bytes]:
    """Events on the wrong pipe."""
    return itertools.repeat(header(12, 0, ContainerType.EVENT, Event.ObjectAdded))


FLOODS = [without_end, announced, empty, zeros, drops, strays, stray_data, events]


@pytest.mark.parametrize("flood", FLOODS, ids=lambda flood: flood.__name__)
@pytest.mark.parametrize("limit", [DEFAULT_LIMIT, 64 << 20], ids=["small", "list"])
def test_endless_answers(flood: Callable[[int], Iterator[bytes]], limit: int) -> None:
    """Each is given up, in seconds on the device's clock, with no more memory than the answer may have."""
    transport = Puppet(flood)
    engine = Engine(transport)  # type: ignore[arg-type]
    engine.transaction_id = engine._next_id = 5
    tracemalloc.start()
    try:
        with pytest.raises(MtpfsError):
            engine.transact(Operation.GetDeviceInfo, limit=limit)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert not engine.in_step
    assert transport.now < 2 * engine.timeouts.metadata + limit / (16 << 10) + 30
    assert transport.now < 60 or flood is drops
    assert peak < 2 * limit + 8 * LARGE_TRANSFER


def test_babble_instead_of_taking_data() -> None:
    """A device that takes no data and talks all the time is given up, too, and what it says isn't collected."""
    transport = Puppet(lambda _: itertools.repeat(bytes([1]) * PACKET), takes=False)
    engine = Engine(transport)  # type: ignore[arg-type]
    tracemalloc.start()
    try:
        with pytest.raises((TransportTimeoutError, RemoteProtocolError)):
            engine.transact(Operation.SendObject, data=DataSource(1000, lambda _, room: len(room)))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert transport.now < 200
    assert peak < 4 << 20


def test_counts_are_not_believed() -> None:
    """Arrays as large as an answer may be are refused, or cost a small multiple of the answer."""
    many = (DEFAULT_LIMIT - 100) // 2
    info = struct.pack("<HIHBHI", 100, 6, 100, 0, 0, many) + b"\x01\x02" * many
    nested = struct.pack("<IIHHI", 1, 1, Property.ObjectSize, DataType.AUINT8, 30 << 20) + bytes(30 << 20)
    empties = struct.pack("<I", 0xFFFFFFFF) + struct.pack("<IHH", 1, Property.ObjectSize, 0) * 1000
    tracemalloc.start()
    try:
        with pytest.raises(RemoteProtocolError):
            DeviceInfo.decode(info)
        with pytest.raises(RemoteProtocolError):
            list(decode_property_list(nested))
        assert len(list(decode_property_list(empties))) == 1000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 40 << 20


def entries(count: int, name: str, first: int = 1000) -> list[Entry]:
    return [
        Entry(Handle(first + number, 0), name.format(number), is_folder=False, size=number, modified=None)
        for number in range(count)
    ]


async def test_a_directory_of_many(tmp_path: Path) -> None:
    """What a directory may hold at most takes a few hundred bytes each."""
    async with world(tmp_path) as w:
        few = 20_000
        listed = entries(few, "IMG_{:06}.jpg")
        tracemalloc.start()
        try:
            w.fs.tree.merge(w.root, listed)
            used, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert used / few < 1000
        assert used / few * MAX_HANDLES < 256 << 20
        w.fs.tree.merge(w.root, [])


async def test_more_handles_than_can_be(tmp_path: Path) -> None:
    """A directory of more than there may be is an error, others are there, and the mount goes on."""
    (tmp_path / "f").touch()
    (tmp_path / "d").mkdir()
    async with world(tmp_path) as w:
        directory = await w.fs.lookup(w.root, b"d")
        queries = w.transport.responder.phone.store
        children = queries.children
        handles = range(1000, 1000 + MAX_HANDLES + 1)

        def million(folder: object) -> list[object]:
            if getattr(folder, "name", "") != "d":
                return list(children(folder))  # type: ignore[arg-type]
            return [
                type("N", (), {"handle": handle, "name": "x", "phantom": False, "folder": False})
                for handle in handles
            ]

        queries.children = million  # type: ignore[method-assign,assignment]
        with pytest.raises(MtpfsError):
            await w.fs.entries(directory)
        assert sorted(await w.names()) == [b"d", b"f"]


async def test_one_name_for_all(tmp_path: Path) -> None:
    """Thousands of objects with one name are told apart without trying all numbers for each."""
    async with world(tmp_path) as w:
        with trio.fail_after(20):
            w.fs.tree.merge(w.root, entries(50_000, "same"))
        assert len(w.root.children) == 50_000
        assert {b"same", b"same~2", b"same~50000"} <= set(w.root.children)
        w.fs.tree.merge(w.root, entries(3, "same"))
        assert set(w.root.children) == {b"same", b"same~2", b"same~3"}


async def test_impossible_sizes(tmp_path: Path) -> None:
    """A size that the kernel can't express, or a negative one, hides nothing."""

    class Device:
        zone = None

    for value, expected in ((2**64 - 1, MAX_SIZE), (-5, 0), (2**63, MAX_SIZE), (7, 7)):
        properties = {Property.ObjectFileName: "f", Property.ObjectFormat: 0x3000, Property.ObjectSize: value}
        described = listing._described(Device(), Handle(1, 0), properties)  # type: ignore[arg-type]
        assert described is not None
        assert described.size == expected


async def test_events_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A flood of events costs a bounded queue, and new objects stop at what a directory may hold."""
    monkeypatch.setattr("mtpfs.vfs.tree.MAX_HANDLES", 50)
    async with world(tmp_path) as w:
        await w.names()
        phone = w.transport.responder.phone
        for number in range(100):
            (tmp_path / f"f{number}").touch()
        for _ in range(5000):
            phone.events.append(Container(ContainerType.EVENT, Event.ObjectAdded, 0, (77_777,)))
        with trio.fail_after(30):
            while phone.events:
                await trio.sleep(0.05)
        assert len(w.fs.device.session.events._waiting) <= 1025
        w.fs.tree.merge(w.root, entries(50, "x{}"))
        for entry in entries(10, "late{}", 5000):
            w.fs.tree.insert(w.root, entry)
        assert len(w.root.children) == 50
        assert w.root.listing is None


def walk(tree: Tree, directory: Node, first: int) -> None:
    """List a directory of a device that invents subdirectories."""
    invented = [
        Entry(Handle(first + number, 0), f"{number}", is_folder=number < 2, size=0, modified=None)
        for number in range(100)
    ]
    tree.merge(directory, invented)
    tree.listed_empty(directory)
    tree._evict(directory)


async def test_a_tree_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many directories are walked through, old ones are forgotten, but nothing that is open."""
    monkeypatch.setattr(tree_module, "MOST_NODES", 2000)
    monkeypatch.setattr(tree_module, "KEPT_NODES", 1500)
    (tmp_path / "open").write_bytes(b"contents")
    async with world(tmp_path) as w:
        tree = w.fs.tree
        opened = await w.open(b"open", write=False)
        top = tree.adopt(w.root, b"top", "top", is_folder=True)
        tree.adopted(top, Handle(999, w.fs.device.session.generation))
        pending = [top]
        for step in range(300):
            directory = pending.pop(0)
            if directory.unlinked:
                continue
            walk(tree, directory, 10_000 + 100 * step)
            pending += [node for node in directory.children.values() if node.is_folder]
            assert len(tree.nodes) <= 2200
        assert w.kernel.gone
        assert not opened.file.node.unlinked
        assert await w.fs.read(opened, 0, 100) == b"contents"
        await w.fs.release(opened)
        tree.detach(top)


@pytest.mark.parametrize(
    ("description", "shown"),
    [
        ("a/b", "a\N{DIVISION SLASH}b"),
        ("..", "(dot dot)"),
        (".", "(dot)"),
        ("", "Storage"),
        ("two\nlines\x1b[2J", "two\nlines\x1b[2J"),
        ("n" * 254, "n" * 254),
        ("\ud800", "\ud800"),
    ],
)
async def test_names_of_storages(tmp_path: Path, description: str, shown: str) -> None:
    """A storage's name is one entry of the root, whatever it is, and two of one name are told apart."""
    (tmp_path / "f").touch()
    async with world(tmp_path) as w:
        device = w.fs.device
        (storage,) = await device.storages()
        odd = [dataclasses.replace(storage, description=description, volume="")] * 3

        async def storages() -> list[object]:
            return list(odd)

        device.storages = storages  # type: ignore[method-assign,assignment]
        await w.fs.tree.ensure_listed(w.fs.tree.root, fresh=True)
        names = list(w.fs.tree.root.children)
        assert names[0] == shown.encode("utf-8", "surrogatepass")
        assert len(set(names)) == 3
        for node in w.fs.tree.root.children.values():
            assert b"/" not in node.name
            assert await w.names(node) == [b"f"]
            break
