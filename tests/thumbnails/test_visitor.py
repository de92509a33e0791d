"""The mount option: which files get entries, in which order, and when not.

Strategy: a filesystem without FUSE on a virtual phone; what the kernel's adapter would tell the visitor, a test tells
it. The decoder is a real one where pictures matter, else one that takes anything.
"""

from __future__ import annotations

import os
import random
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio

from mtpfs.errors import MachineError
from mtpfs.protocol.codes import Operation
from mtpfs.thumbnails import visitor as visiting
from mtpfs.thumbnails.decoder import Decoder, Picture, UnreadableError
from mtpfs.thumbnails.entries import SIZES, Cache
from mtpfs.thumbnails.visitor import Visitor
from mtpfs.vfs import News, Node
from mtpfs.virtual.capabilities import PERSONALITIES, parse_options
from mtpfs.virtual.faults import parse_fault
from mtpfs.virtual.thumbnails import READY_AFTER
from photos import corners, encoded, photo
from vfs.world import World, world

DATE = 1_500_000_000
PNGS = {128: encoded(corners(128, 96), "PNG")}


class Easy(Decoder):
    """Takes anything for a picture."""

    def __init__(self) -> None:
        self.decoded: list[bytes] = []
        self.error: Exception | None = None
        self.is_closed = False

    def decode(self, data: bytes, sizes: Sequence[int]) -> Picture:
        self.decoded.append(data)
        if self.error is not None:
            raise self.error
        return Picture(128, 96, PNGS)

    def close(self) -> None:
        self.is_closed = True


@dataclass
class Visited:
    """A filesystem, and what is made of it."""

    world: World
    visitor: Visitor
    cache: Cache
    decoder: Easy
    asked: list[str] = field(default_factory=list)
    """For which files the device was asked for a thumbnail."""

    async def list(self, *path: str) -> Node:
        """List a directory as a program does."""
        node = self.world.root
        for name in path:
            node = await self.world.fs.lookup(node, name.encode())
        await self.world.fs.entries(node)
        self.visitor.listed(node)
        return node

    def has(self, name: str, date: float = DATE, size: int | None = None) -> bool:
        size = (self.world.phone / name).stat().st_size if size is None else size
        return self.cache.best(f"/mnt/Internal shared storage/{name}".encode(), date, size) > 0

    async def until(self, condition: Callable[[], bool], patience: float = 20) -> None:
        with trio.fail_after(patience):
            while not condition():
                await trio.sleep(0.01)

    async def quiet(self) -> None:
        """Wait until nothing is left to be done."""
        before = -1
        while before != (before := len(self.asked)) or self.visitor._next() is not None:
            await trio.sleep(0.4)


@asynccontextmanager
async def visited(
    tmp_path: Path, words: str = "", decoder: Decoder | None = None, **files: bytes
) -> AsyncIterator[Visited]:
    phone = tmp_path / "phone"
    phone.mkdir(exist_ok=True)
    for name, data in files.items():
        add(phone / name.replace("__", "/").replace("_", "."), data)
    async with world(phone, words) as w, trio.open_nursery() as nursery:
        cache = Cache(tmp_path / "cache" / "thumbnails")
        easy = Easy()
        visitor = Visitor(w.fs, cache, decoder or easy, b"/mnt")
        found = Visited(w, visitor, cache, easy)
        thumbnail = w.fs.thumbnail

        async def asked(node: Node, *how: object) -> bytes:
            found.asked.append(node.name.decode())
            return await thumbnail(node, *how)  # type: ignore[arg-type]

        w.fs.thumbnail = asked  # type: ignore[method-assign, assignment]
        w.kernel.listeners.append(visitor.heard)
        nursery.start_soon(visitor.run)
        yield found
        nursery.cancel_scope.cancel()
    assert easy.is_closed or decoder is not None


def add(path: Path, data: bytes, date: float = DATE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    os.utime(path, (date, date))


async def test_the_newest_first(tmp_path: Path) -> None:
    """Pictures and films, by date; nothing else, and nothing of directories that weren't listed."""
    for number, name in enumerate(("b.jpg", "c.jpg", "a.jpg", "d.mp4", "e.txt", ".f.jpg", "sub/g.jpg")):
        add(tmp_path / "phone" / name, photo(200, 150), DATE + number)
    async with visited(tmp_path) as v:
        await v.list()
        await v.until(lambda: len(v.asked) == 4)
        await v.quiet()
        assert v.asked == ["d.mp4", "a.jpg", "c.jpg", "b.jpg"]
        assert [v.has(name, DATE + n) for n, name in enumerate(("b.jpg", "c.jpg", "a.jpg"))] == [True] * 3
        assert not v.has("d.mp4", DATE + 3)
        await v.list()
        await v.quiet()
        assert len(v.asked) == 4  # nothing is asked twice
        await v.list("sub")
        await v.until(lambda: v.has("sub/g.jpg", DATE + 6))


async def test_what_is_there_is_not_fetched(tmp_path: Path) -> None:
    """A later mount finds its entries; a picture that has changed gets a new one."""
    async with visited(tmp_path, a_jpg=photo()) as v:
        await v.list()
        await v.until(lambda: v.has("a.jpg"))
    async with visited(tmp_path) as v:
        await v.list()
        await v.quiet()
        assert v.asked == []
        add(tmp_path / "phone/a.jpg", photo(300, 200), DATE + 10)
        await v.until(lambda: v.has("a.jpg", DATE + 10))


async def test_the_latest_directory_first(tmp_path: Path) -> None:
    """Who goes on to another directory has that one's first, and the rest of the one before later."""
    for number in range(6):
        add(tmp_path / f"phone/A/a{number}.jpg", photo(200, 150))
        add(tmp_path / f"phone/B/b{number}.jpg", photo(200, 150))
    async with visited(tmp_path) as v:
        asked, is_under_way, is_listed = v.world.fs.thumbnail, trio.Event(), trio.Event()

        async def slow(node: Node, *how: object) -> bytes:
            if len(v.asked) == 2:
                is_under_way.set()
                await is_listed.wait()
            return await asked(node, *how)  # type: ignore[arg-type]

        v.world.fs.thumbnail = slow  # type: ignore[method-assign, assignment]
        await v.list("A")
        await is_under_way.wait()
        await v.list("B")
        is_listed.set()
        await v.until(lambda: len(v.asked) == 12)
        # What was under way is finished.
        assert [name[0] for name in v.asked] == [*"aaa", *"bbbbbb", *"aaa"]


async def test_a_directory_that_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is done for one in which nobody has looked for long; a program that reads in it keeps it."""
    monkeypatch.setattr(visiting, "STAY", 0.0)
    async with visited(tmp_path, a_jpg=photo(), b_jpg=photo()) as v:
        root = await v.list()
        await trio.sleep(0.6)
        assert v.asked == []
        monkeypatch.setattr(visiting, "STAY", 60.0)
        v.visitor.read(next(iter(root.children.values())))
        await trio.sleep(0.6)
        assert v.asked == []  # it was forgotten; one that wasn't goes on
        await v.list()
        await v.until(lambda: len(v.asked) == 2)


async def test_few_directories(tmp_path: Path) -> None:
    """A walk over a tree doesn't make a thumbnail of each picture in it: the latest directories count."""
    for number in range(3 * visiting.MOST):
        add(tmp_path / f"phone/D{number:02}/p{number}.jpg", photo(64, 64))
    async with visited(tmp_path) as v:
        for number in range(3 * visiting.MOST):
            node = await v.world.fs.lookup(v.world.root, f"D{number:02}".encode())
            await v.world.fs.entries(node)
            v.visitor.listed(node)
        await v.quiet()
        assert len(v.asked) <= 2 * visiting.MOST
        assert f"p{3 * visiting.MOST - 1}.jpg" in v.asked


async def test_after_everything_else(tmp_path: Path) -> None:
    """While a program reads, one window after the other, no thumbnail is asked for."""
    async with visited(tmp_path, a_jpg=photo(), film_bin=bytes(30 << 20)) as v:
        film = await v.world.fs.lookup(v.world.root, b"film.bin")
        opened = await v.world.fs.open(film, write=False)
        await v.list()
        before = v.world.operations.get("GetThumb", 0)
        for offset in range(0, 30 << 20, 128 << 10):
            await v.world.fs.read(opened, offset, 128 << 10)
        assert v.world.operations.get("GetThumb", 0) == before
        await v.world.fs.release(opened)
        await v.until(lambda: v.has("a.jpg"))


# --- devices


@pytest.mark.parametrize("name", [*PERSONALITIES, "samsung"])
async def test_personalities(tmp_path: Path, name: str) -> None:
    """Every kind of phone that has a thumbnail of a photo gets an entry, by a real decoder; the others do no harm."""
    words = name if name == "samsung" else f"as={name}"
    capabilities = parse_options(words)
    with Decoder() as decoder:
        async with visited(tmp_path, words, decoder, a_jpg=photo(800, 600), b_jpg=b"no picture") as v:
            if v.world.root.storage is None:
                pytest.skip("no storage")
            await v.list()
            await v.until(lambda: len(v.asked) >= 1)
            if capabilities.thumbnails == "late":
                v.world.transport.sleep(READY_AFTER)
            if capabilities.thumbnails == "none":
                await v.quiet()
                assert not [*v.cache.directory.rglob("*.png")]
            else:
                date = (await v.world.fs.lookup(v.world.root, b"a.jpg")).modified
                await v.until(lambda: v.has("a.jpg", date))
                assert not v.has("b.jpg", date)


@pytest.mark.parametrize("mode", ["empty", "text", "cut", "bomb"])
async def test_phones_that_lie(tmp_path: Path, mode: str) -> None:
    """What isn't a picture is asked for once, and leaves nothing."""
    with Decoder() as decoder:
        async with visited(tmp_path, f"thumbnails={mode}", decoder, a_jpg=photo(800, 600)) as v:
            await v.list()
            await v.until(lambda: len(v.asked) == 1)
            await v.list()
            await v.quiet()
            assert v.asked == ["a.jpg"]
            assert not [*v.cache.directory.rglob("*.png")]


async def test_without_thumbnails(tmp_path: Path) -> None:
    """A device that has none of anything is asked once."""
    async with visited(tmp_path, "as=camera", a_jpg=photo(), b_jpg=photo()) as v:
        v.world.fs.device.operations.withdraw(Operation.GetThumb, "a test")
        await v.list()
        await v.until(lambda: v.decoder.is_closed)
        assert len(v.asked) == 1
        v.visitor.removed(v.world.root, b"a.jpg")
        await v.list()


async def test_busy(tmp_path: Path) -> None:
    """A device that is busy is left alone until somebody lists again."""
    async with visited(tmp_path, a_jpg=photo(), b_jpg=photo()) as v:
        v.world.transport.faults.add(parse_fault("busy GetThumb times=7"))
        await v.list()
        await v.until(lambda: not v.visitor._visits, patience=30)
        assert len(v.asked) == 1
        await v.list()
        await v.until(lambda: v.has("a.jpg") and v.has("b.jpg"))


async def test_unplugged(tmp_path: Path) -> None:
    """While the phone is away nothing is removed; it goes on when it is back, and somebody looks."""
    async with visited(tmp_path, a_jpg=photo(), b_jpg=photo()) as v:
        v.world.transport.faults.add(parse_fault("gone GetThumb skip=1"))
        await v.list()
        await v.until(lambda: v.world.fs.device.session.gone)
        v.visitor.heard(News.VANISHED, next(iter(v.world.root.children.values())))
        await trio.sleep(1.5)
        first = [name for name in ("a.jpg", "b.jpg") if v.has(name)]
        assert len(first) == 1
        v.world.transport.replug()
        await v.until(lambda: not v.world.fs.device.session.gone)
        await v.list()
        await v.until(lambda: v.has("a.jpg") and v.has("b.jpg"))


# --- files that change or go


async def test_removal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a program removes or renames, and what the phone removes, loses its entries; what is there keeps them."""
    monkeypatch.setattr(visiting, "GRACE", 0.2)
    async with visited(
        tmp_path, a_jpg=photo(), b_jpg=photo(), c_jpg=photo(), d_jpg=photo(), e_jpg=photo()
    ) as v:
        size = (tmp_path / "phone/a.jpg").stat().st_size
        await v.list()
        await v.until(lambda: all(v.has(f"{name}.jpg") for name in "abcde"))
        await v.world.fs.unlink(v.world.root, b"a.jpg")
        v.visitor.removed(v.world.root, b"a.jpg")
        await v.world.fs.rename(v.world.root, b"b.jpg", v.world.root, b"bb.jpg")
        v.visitor.removed(v.world.root, b"b.jpg")
        (tmp_path / "phone/c.jpg").unlink()
        v.visitor.removed(v.world.root, b"d.jpg")  # but it is there, anew
        await v.until(lambda: not any(v.has(f"{name}.jpg", size=size) for name in "abc"))
        await trio.sleep(0.5)
        assert v.has("d.jpg")
        assert v.has("e.jpg")


async def test_a_folder_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a folder that the phone removes, the entries of all that was in it go."""
    monkeypatch.setattr(visiting, "GRACE", 0.2)
    async with visited(tmp_path, A__a_jpg=photo(), A__b_jpg=photo()) as v:
        size = (tmp_path / "phone/A/a.jpg").stat().st_size
        await v.list("A")
        await v.until(lambda: v.has("A/a.jpg") and v.has("A/b.jpg"))
        for path in ("A/a.jpg", "A/b.jpg"):
            (tmp_path / "phone" / path).unlink()
        (tmp_path / "phone/A").rmdir()
        await v.until(lambda: not v.has("A/a.jpg", size=size) and not v.has("A/b.jpg", size=size))


async def test_a_phone_that_is_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its storages go, and so, to the tree, may its files: the entries stay."""
    monkeypatch.setattr(visiting, "GRACE", 0.1)
    async with visited(tmp_path, a_jpg=photo()) as v:
        await v.list()
        await v.until(lambda: v.has("a.jpg"))
        node = v.world.root.children[b"a.jpg"]
        v.world.transport.set_locked(True)
        await v.until(lambda: not v.world.fs.tree.root.children)
        v.world.fs.tree.drop(node)
        await trio.sleep(0.5)
        assert v.has("a.jpg")


async def test_a_file_that_changes_meanwhile(tmp_path: Path) -> None:
    """A thumbnail that was asked for before isn't the new picture's: it is dropped."""
    async with visited(tmp_path, a_jpg=photo()) as v:
        gate = threading.Event()
        decode = v.decoder.decode

        def slow(data: bytes, sizes: Sequence[int]) -> Picture:
            gate.wait(20)
            return decode(data, sizes)

        v.decoder.decode = slow  # type: ignore[method-assign]
        await v.list()
        await v.until(lambda: v.asked == ["a.jpg"])
        await v.world.put(b"a.jpg", photo(300, 200, thumbnail=None))
        node = v.world.root.children[b"a.jpg"]
        gate.set()
        await v.list()
        await v.until(lambda: v.has("a.jpg", node.modified))
        for name in SIZES:
            assert len([*(v.cache.directory / name).glob("*.png")]) <= 1
        assert not v.has("a.jpg", DATE)


# --- this machine's trouble


async def test_a_full_disk(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """An entry that can't be written ends it, with one line in the log."""
    async with visited(tmp_path, a_jpg=photo(), b_jpg=photo()) as v:
        (tmp_path / "cache").write_text("in the way")
        await v.list()
        await v.until(lambda: v.decoder.is_closed)
        await v.list()
    assert caplog.text.count("no more thumbnails") == 1
    caplog.clear()


async def test_no_decoder(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """So does a decoder that can't begin."""
    async with visited(tmp_path, a_jpg=photo()) as v:
        v.decoder.error = MachineError("it doesn't begin")
        await v.list()
        await v.until(lambda: v.decoder.is_closed)
    assert "it doesn't begin" in caplog.text
    caplog.clear()


@pytest.mark.parametrize("seed", range(4))
async def test_any_order(tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Listing, writing, removing and renaming, by programs and by the phone, in a random order: at the end each
    picture has its entry, and nothing else has one.
    """
    monkeypatch.setattr(visiting, "GRACE", 0.1)
    chance = random.Random(seed)
    names = [f"{letter}.jpg" for letter in "abcdef"]
    async with visited(tmp_path) as v:
        phone, root, fs = tmp_path / "phone", v.world.root, v.world.fs
        for _ in range(40):
            # Programs and the phone change files of their own: what both change at once is `tests/vfs`'s.
            what = chance.randrange(7)
            name = chance.choice(names[3:] if what in {4, 5} else names[:3])
            is_there = name.encode() in root.children
            match what:
                case 0 | 1:
                    await v.world.put(name.encode(), photo(chance.randrange(64, 200), 64, thumbnail=None))
                case 2 if is_there:
                    await fs.unlink(root, name.encode())
                    v.visitor.removed(root, name.encode())
                case 3 if is_there:
                    target = chance.choice(names[:3])
                    await fs.rename(root, name.encode(), root, target.encode())
                    if target != name:
                        v.visitor.removed(root, name.encode())
                case 4:
                    add(phone / name, photo(chance.randrange(64, 200), 64), DATE + chance.randrange(1000))
                case 5:
                    (phone / name).unlink(missing_ok=True)
                case _:
                    await v.list()
                    await trio.sleep(chance.random() * 0.3)
        await trio.sleep(0.6)
        fs.tree.expire()
        await v.list()

        def is_right() -> bool:
            entries = {path.stem for path in (v.cache.directory / "normal").glob("*.png")}
            wanted = {
                v.cache._place("normal", visiting_uri(v, name)).stem
                for name in names
                if name.encode() in root.children
            }
            return entries == wanted and all(
                v.has(name, root.children[name.encode()].modified)
                for name in names
                if name.encode() in root.children
            )

        await v.until(is_right, patience=30)
        assert {name for name in names if name.encode() in root.children} == {
            path.name for path in phone.iterdir()
        }


def visiting_uri(v: Visited, name: str) -> str:
    from mtpfs.thumbnails.entries import uri_of

    return uri_of(f"/mnt/Internal shared storage/{name}".encode())


async def test_unreadable(tmp_path: Path) -> None:
    """What the decoder refuses is asked for once."""
    async with visited(tmp_path, a_jpg=photo()) as v:
        v.decoder.error = UnreadableError("a test")
        await v.list()
        await v.until(lambda: len(v.asked) == 1)
        await v.list()
        await v.quiet()
        assert v.asked == ["a.jpg"]
