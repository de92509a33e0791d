"""A directory's date changes with what is in it: programs that look for changes go by that date."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio

from mtpfs.errors import FsError
from mtpfs.vfs import Node
from mtpfs.vfs.remembered import RememberedDates
from vfs.world import World, world

LONG_AGO = 1_400_000_000
Change = Callable[[World, Node, Node], Awaitable[object]]


async def create(w: World, directory: Node, _other: Node) -> None:
    await w.put(b"new", b"x", directory)


async def mkdir(w: World, directory: Node, _other: Node) -> None:
    await w.fs.mkdir(directory, b"new")


async def unlink(w: World, directory: Node, _other: Node) -> None:
    await w.fs.unlink(directory, b"f")


async def rmdir(w: World, directory: Node, _other: Node) -> None:
    await w.fs.rmdir(directory, b"e")


async def rename(w: World, directory: Node, _other: Node) -> None:
    await w.fs.rename(directory, b"f", directory, b"g")


async def move(w: World, directory: Node, other: Node) -> None:
    await w.fs.rename(directory, b"f", other, b"f")


async def move_here(w: World, directory: Node, other: Node) -> None:
    await w.fs.rename(other, b"h", directory, b"h")


def tree(phone: Path) -> None:
    for name in ("d/e", "other"):
        (phone / name).mkdir(parents=True)
    (phone / "d/f").write_bytes(b"f")
    (phone / "other/h").write_bytes(b"h")
    age(phone)


def age(phone: Path) -> None:
    """Have all directories on the phone be old, as on one that tells old dates."""
    for name in ("d/e", "d", "other"):
        if (phone / name).exists():
            os.utime(phone / name, (LONG_AGO, LONG_AGO))


@pytest.mark.parametrize("stale", [False, True])
@pytest.mark.parametrize(
    "words", ["", "no-move&no-rename", "no-edit&no-proplist", "as=android8", "dates=none"]
)
@pytest.mark.parametrize("change", [create, mkdir, unlink, rmdir, rename, move, move_here])
async def test_changes_through_the_mount(tmp_path: Path, words: str, change: Change, stale: bool) -> None:
    """Each is seen in the date, also where the device's own stays as it was; and it never goes back."""
    if change in {move, move_here} and ("no-move" in words or "android8" in words):
        pytest.skip("EXDEV: cp and rm do it then")
    tree(tmp_path)
    async with world(tmp_path, words, ttl=0.0) as w:
        directory, other = [await w.fs.lookup(w.root, name) for name in (b"d", b"other")]
        await w.fs.entries(directory)
        before, began = directory.modified, time.time()
        assert before == LONG_AGO or words == "dates=none"
        await change(w, directory, other)
        if stale:
            age(tmp_path)
        shown = directory.modified
        assert began - 1 < shown <= time.time() + 1
        assert shown > before
        if change in {move, move_here}:
            assert other.modified > began - 1
        w.fs.tree.expire()
        await w.fs.lookup(w.root, b"d")
        assert directory.modified == pytest.approx(shown, abs=2)
        assert directory.modified >= shown


async def test_two_changes_are_two_dates(tmp_path: Path) -> None:
    """However fast they follow each other, and also where the device's clock is ahead."""
    tree(tmp_path)
    os.utime(tmp_path / "d", (LONG_AGO, time.time() + 4000))
    async with world(tmp_path) as w:
        for name in (b"other", b"d"):
            directory = await w.fs.lookup(w.root, name)
            dates = [directory.modified]
            for number in range(20):
                await w.put(b"%d" % number, b"x", directory)
                dates.append(directory.modified)
            assert dates == sorted(set(dates))


async def test_contents_alone_are_no_change(tmp_path: Path) -> None:
    """Writing to a file changes its own date, not that of its directory."""
    tree(tmp_path)
    async with world(tmp_path) as w:
        directory = await w.fs.lookup(w.root, b"d")
        node = await w.fs.lookup(directory, b"f")
        opened = await w.fs.open(node, write=True)
        await w.fs.write(opened, 1, b"more")
        await w.close(opened)
        assert directory.modified == LONG_AGO


@pytest.mark.parametrize("words", ["", "no-events"])
@pytest.mark.parametrize("act", ["add", "remove"])
async def test_changes_on_the_phone(tmp_path: Path, words: str, act: str) -> None:
    """An event, or else the next listing, shows in the date; the kernel is told."""
    tree(tmp_path)
    async with world(tmp_path, words, ttl=0.0) as w:
        directory = await w.fs.lookup(w.root, b"d")
        directory.lookups += 1
        await w.fs.entries(directory)
        if act == "add":
            (tmp_path / "d/added").write_bytes(b"x")
        else:
            (tmp_path / "d/f").unlink()
        os.utime(tmp_path / "d", (LONG_AGO, LONG_AGO - 100))  # a clock that is wrong
        w.kernel.changed.clear()
        with trio.fail_after(10):
            while directory.modified == LONG_AGO:
                if words:
                    await w.fs.entries(directory)
                await trio.sleep(0.02)
        assert directory.ino in w.kernel.changed


async def test_listing_again_is_no_change(tmp_path: Path) -> None:
    """The first look, and later ones that find the same, leave the date alone."""
    tree(tmp_path)
    async with world(tmp_path, "no-events", ttl=0.0) as w:
        directory = await w.fs.lookup(w.root, b"d")
        for _ in range(3):
            assert len(await w.fs.entries(directory)) == 2
            assert directory.modified == LONG_AGO
        w.fs.tree.expire()
        await w.fs.entries(directory)
        w.transport.renumber()
        await w.fs.entries(directory)
        assert (await w.fs.lookup(w.root, b"d")).modified == LONG_AGO


async def test_a_date_that_a_program_sets(tmp_path: Path) -> None:
    """It is shown at once and at the next mount, until something is added or removed, here or on the phone."""
    tree(tmp_path)
    dates = RememberedDates()
    async with world(tmp_path, dates=dates) as w:
        directory = await w.fs.mkdir(w.root, b"copy")
        await w.put(b"a", b"a", directory)
        await w.fs.set_modified(directory, LONG_AGO + 5.7)
        assert directory.modified == LONG_AGO + 5
        w.fs.tree.expire()
        assert (await w.fs.lookup(w.root, b"copy")).modified == LONG_AGO + 5
        await w.fs.set_modified(await w.fs.lookup(w.root, b"other"), LONG_AGO + 9)
    async with world(tmp_path, dates=dates) as w:
        directory = await w.fs.lookup(w.root, b"copy")
        assert directory.modified == LONG_AGO + 5
        await w.put(b"b", b"b", directory)
        assert directory.modified > time.time() - 10
        assert (await w.fs.lookup(w.root, b"other")).modified == LONG_AGO + 9
    (tmp_path / "other/added").write_bytes(b"x")
    async with world(tmp_path, dates=dates) as w:
        for name in (b"copy", b"other"):
            assert (await w.fs.lookup(w.root, name)).modified == (
                tmp_path / name.decode()
            ).stat().st_mtime // 1


async def test_a_date_set_back_to_the_devices_own(tmp_path: Path) -> None:
    """What was remembered before isn't shown any more."""
    tree(tmp_path)
    os.utime(tmp_path / "d/f", (LONG_AGO, LONG_AGO))
    async with world(tmp_path) as w:
        directory = await w.fs.lookup(w.root, b"d")
        for node in (directory, await w.fs.lookup(directory, b"f")):
            await w.fs.set_modified(node, 1000)
            await w.fs.set_modified(node, LONG_AGO)
            node.attributes_stale = True
            await w.fs.refresh(node)
            assert node.modified == LONG_AGO


async def test_the_date_of_a_folder_with_an_empty_file(tmp_path: Path) -> None:
    """`cp -a` sets it while the last close of an empty file may still be on its way."""
    async with world(tmp_path) as w, trio.open_nursery() as nursery:
        directory = await w.fs.mkdir(w.root, b"d")
        opened = await w.fs.create(directory, b"empty")
        await w.fs.flush(opened)
        nursery.start_soon(w.fs.release, opened)
        while opened.file.opens:  # until it has begun
            await trio.lowlevel.checkpoint()
        await w.fs.set_modified(directory, LONG_AGO)
        assert (tmp_path / "d/empty").exists()
        w.fs.tree.expire()
        assert (await w.fs.lookup(w.root, b"d")).modified == LONG_AGO


@pytest.mark.parametrize("words", ["", "dates=none"])
async def test_two_mounts(tmp_path: Path, words: str) -> None:
    """What has changed between two mounts shows; so does any unknown date, for it says that anything may have."""
    tree(tmp_path)
    seen = {}
    for round_ in range(2):
        async with world(tmp_path, words) as w:
            for place in (b"d", b"other"):
                seen[round_, place] = (await w.fs.lookup(w.root, place)).modified
            seen[round_, b"root"] = w.root.modified
            assert w.fs.tree.root.modified > time.time() - 100
        (tmp_path / "d/added").write_bytes(b"x")
    assert seen[0, b"d"] != seen[1, b"d"]
    assert seen[0, b"root"] != seen[1, b"root"]
    assert (seen[0, b"other"] == seen[1, b"other"]) == (words == "")


async def test_storages_and_read_only(tmp_path: Path) -> None:
    """A storage's date can be set to no effect, as `cp -a` does; on what can't be written it is an error."""
    tree(tmp_path)
    async with world(tmp_path) as w:
        for node in (w.root, w.fs.tree.root):
            before = node.modified
            await w.fs.set_modified(node, 1)
            assert node.modified == before
    async with world(tmp_path, "read-only") as w:
        with pytest.raises(FsError) as caught:
            await w.fs.set_modified(await w.fs.lookup(w.root, b"d"), 1)
        assert caught.value.errno == errno.EROFS
