"""Names that are vacated and taken again on a phone that hears late of the first, and drops what has the name then.

Sailfish never lists again what it has dropped, uMTP-Responder does, under another handle.
"""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
import trio

from mtpfs.errors import FsError
from vfs.world import World, world

ROUNDS = 20


async def settled(w: World) -> dict[bytes, bytes]:
    """Return what the mount shows when the phone has heard of everything."""
    await w.fs.device.storages()
    await trio.sleep(10)
    w.fs.tree.expire()
    return {node.name: await w.get(node) for node in await w.fs.entries(w.root)}


async def replaced(w: World, contents: bytes) -> None:
    await w.put(b"file", contents)


async def renamed_over(w: World, contents: bytes) -> None:
    await w.put(b"new", contents)
    await w.fs.rename(w.root, b"new", w.root, b"file", replace=True)


async def made_anew(w: World, contents: bytes) -> None:
    await w.fs.unlink(w.root, b"file")
    await w.put(b"file", contents)


@pytest.mark.parametrize("words", ["as=sailfish", "as=umtp", "as=umtp&no-events"])
@pytest.mark.parametrize("change", [replaced, renamed_over, made_anew])
async def test_the_name_stays(  # type: ignore[no-untyped-def]
    tmp_path: Path, autojump_clock: trio.testing.MockClock, change, words: str
) -> None:
    """However often it is vacated and taken again, the last contents are there, for the phone and for who has them open."""
    async with world(tmp_path, words) as w:
        await w.put(b"file", b"first")
        for number in range(ROUNDS):
            contents = b"contents %d" % number
            await change(w, contents)
            opened = await w.open(b"file")
            await w.fs.write(opened, len(contents), b", and more")
            await w.close(opened)
            assert await settled(w) == {b"file": contents + b", and more"}
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("words", ["as=sailfish", "as=umtp"])
async def test_a_folder_made_anew(tmp_path: Path, autojump_clock: trio.testing.MockClock, words: str) -> None:
    """A directory that is removed and made again can be filled."""
    async with world(tmp_path, words) as w:
        for _ in range(ROUNDS):
            folder = await w.fs.mkdir(w.root, b"folder")
            await w.put(b"file", b"contents", folder)
            await w.fs.unlink(folder, b"file")
            await w.fs.rmdir(w.root, b"folder")
    assert not list(tmp_path.iterdir())


# --- other handles


async def renamed_again(w: World) -> None:
    await w.fs.rename(w.root, b"new", w.root, b"newer", replace=False)
    await w.fs.rename(w.root, b"newer", w.root, b"new", replace=False)


async def overwritten(w: World) -> None:
    await w.put(b"new", b"contents")


async def edited(w: World) -> None:
    opened = await w.open(b"new")
    await w.fs.write(opened, 0, b"con")
    await w.close(opened)


async def replaced_by_another(w: World) -> None:
    await w.put(b"another", b"contents")
    await w.fs.rename(w.root, b"another", w.root, b"new", replace=True)


async def exchanged(w: World) -> None:
    await w.put(b"another", b"contents")
    await w.fs.rename(w.root, b"new", w.root, b"old", replace=False)
    await w.fs.rename(w.root, b"another", w.root, b"new", replace=False)
    await w.fs.unlink(w.root, b"old")


async def removed_while_open(w: World) -> None:
    opened = await w.open(b"new", write=False)
    await w.fs.unlink(w.root, b"new")
    assert bytes(await w.fs.read(opened, 0, 100)) == b"contents"
    await w.close(opened)
    await w.put(b"new", b"contents")


async def written_on_after_it_was_replaced(w: World) -> None:
    opened = await w.open(b"new")
    await w.put(b"another", b"contents")
    await w.fs.rename(w.root, b"another", w.root, b"new", replace=True)
    await w.fs.write(opened, 0, b"CON")
    assert bytes(await w.fs.read(opened, 0, 100)) == b"CONtents"
    await w.close(opened)


@pytest.mark.parametrize("words", ["as=umtp", "as=umtp&no-events"])
@pytest.mark.parametrize(
    "change",
    [
        renamed_again,
        overwritten,
        edited,
        replaced_by_another,
        exchanged,
        removed_while_open,
        written_on_after_it_was_replaced,
    ],
)
async def test_another_handle(  # type: ignore[no-untyped-def]
    tmp_path: Path, autojump_clock: trio.testing.MockClock, change, words: str
) -> None:
    """A renamed file, which may have another handle by that, can be used like any other, and is there once."""
    async with world(tmp_path, words) as w:
        for _ in range(ROUNDS):
            await w.put(b"file", b"contents")
            await w.fs.rename(w.root, b"file", w.root, b"new", replace=False)
            await change(w)
            assert await w.names() == [b"new"]
            assert await w.get(await w.fs.lookup(w.root, b"new")) == b"contents"
            assert [path.name for path in tmp_path.iterdir()] == ["new"]
            await w.fs.unlink(w.root, b"new")
            assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("words", ["as=umtp", "as=umtp&no-events"])
async def test_another_handle_of_a_folder(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, words: str
) -> None:
    """What a renamed folder holds can be read, changed and removed."""
    async with world(tmp_path, words) as w:
        folder = await w.fs.mkdir(w.root, b"folder 0")
        await w.put(b"file", b"contents", folder)
        for number in range(ROUNDS):
            old, new = b"folder %d" % number, b"folder %d" % (number + 1)
            await w.fs.rename(w.root, old, w.root, new, replace=False)
            folder = await w.fs.lookup(w.root, new)
            assert await w.get(await w.fs.lookup(folder, b"file")) == b"contents"
            await w.put(b"file", b"contents", folder)
        assert await w.names() == [b"folder %d" % ROUNDS]
        assert await w.names(folder) == [b"file"]
        await w.fs.unlink(folder, b"file")
        await w.fs.rmdir(w.root, b"folder %d" % ROUNDS)
    assert not list(tmp_path.iterdir())


async def test_a_trial_with_another_handle(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """What finds out how names are spelled is never shown, and goes, whatever handle it has by then."""
    async with world(tmp_path, "as=umtp") as w:
        for character in ":?*|;\n":
            assert await w.names() == []
            with pytest.raises(FsError) as caught:
                await w.put(b"a%cb" % ord(character), b"x")
            assert caught.value.errno == errno.EINVAL
            await trio.sleep(0.1)  # the events come
            assert await w.names() == []
            assert not list(tmp_path.iterdir())
