"""Renames that take long: on devices that can't, and of files that are on their way."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import trio
import trio.testing

from mtpfs.device import Device, Handle, writing
from mtpfs.errors import FsError, StoppedError
from mtpfs.session import DataSource
from mtpfs.vfs.contents import Spooled
from mtpfs.vfs.namespace import Namespace
from vfs.world import world

NO_RENAMES = "no-move&no-rename&no-events"


@pytest.mark.parametrize("known", [True, False])
async def test_opening_in_a_folder_that_is_being_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    """Who opens a file in it then waits, and gets the new object, not the one that is about to be deleted."""
    (tmp_path / "d/e").mkdir(parents=True)
    (tmp_path / "d/e/f").write_bytes(b"contents")
    copying, may_go_on, copy = trio.Event(), trio.Event(), Namespace._copy_children
    found = []

    async def slow(self: Namespace, *arguments: object) -> None:
        await copy(self, *arguments)  # type: ignore[arg-type]
        copying.set()
        await may_go_on.wait()

    monkeypatch.setattr(Namespace, "_copy_children", slow)
    async with world(tmp_path, NO_RENAMES) as w, trio.open_nursery() as nursery:
        directory = await w.fs.lookup(w.root, b"d")
        inner = await w.fs.lookup(directory, b"e")
        if known:
            await w.fs.lookup(inner, b"f")

        async def write() -> None:
            opened = await w.open(b"f", inner)
            found.append(bytes(await w.fs.read(opened, 0, 100)))
            await w.fs.write(opened, 0, b"CON")
            await w.close(opened)

        nursery.start_soon(w.fs.rename, w.root, b"d", w.root, b"renamed")
        await copying.wait()
        nursery.start_soon(write)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert found == []
        may_go_on.set()
        with trio.fail_after(10):
            while not found:
                await trio.sleep(0.01)
    assert found == [b"contents"]
    assert (tmp_path / "renamed/e/f").read_bytes() == b"CONtents"
    assert os.listdir(tmp_path) == ["renamed"]


@pytest.mark.parametrize("write", [True, False])
async def test_a_folder_with_an_open_file(tmp_path: Path, write: bool) -> None:
    """It isn't copied: EXDEV, before anything is done."""
    (tmp_path / "d").mkdir()
    (tmp_path / "d/f").write_bytes(b"contents")
    async with world(tmp_path, NO_RENAMES) as w:
        directory = await w.fs.lookup(w.root, b"d")
        opened = await w.open(b"f", directory, write=write)
        before = w.operations.copy()
        with pytest.raises(FsError) as caught:
            await w.fs.rename(w.root, b"d", w.root, b"e")
        assert caught.value.errno == errno.EXDEV
        assert not {"SendObjectInfo", "DeleteObject"} & set(w.spent(before))
        assert bytes(await w.fs.read(opened, 0, 100)) == b"contents"
        await w.close(opened)
        await w.fs.rename(w.root, b"d", w.root, b"e")
        assert (tmp_path / "e/f").read_bytes() == b"contents"


@pytest.mark.parametrize("deleted", [True, False])
async def test_a_rename_and_an_unlink_of_a_file_that_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deleted: bool
) -> None:
    """The unlink stops the sending: the rename answers ENOENT then, and is done after all if the unlink fails."""
    (tmp_path / "target").write_bytes(b"old")
    sending, upload = trio.Event(), writing.upload
    answers = []

    async def stopped(
        device: Device, storage: int, parent: Handle, name: str, source: DataSource, modified: float | None
    ) -> Handle:
        if sending.is_set():
            return await upload(device, storage, parent, name, source, modified)
        sending.set()
        contents = opened.file.contents
        assert isinstance(contents, Spooled)
        while not contents.spool.unwanted:
            await trio.sleep(0.01)
        raise StoppedError("nobody wants the rest")

    monkeypatch.setattr(writing, "upload", stopped)
    async with world(tmp_path) as w, trio.open_nursery() as nursery:
        opened = await w.fs.create(w.root, b"new")
        await w.fs.write(opened, 0, b"new contents")

        async def rename() -> None:
            try:
                await w.fs.rename(w.root, b"new", w.root, b"target")
                answers.append(0)
            except FsError as error:
                answers.append(error.errno)

        nursery.start_soon(rename)
        await sending.wait()
        if not deleted:

            async def failing(*_: object) -> None:
                raise FsError(errno.EIO)

            monkeypatch.setattr(Namespace, "_unlink", failing)
            with pytest.raises(FsError):
                await w.fs.unlink(w.root, b"new")
        else:
            await w.fs.unlink(w.root, b"new")
        with trio.fail_after(10):
            while not answers:
                await trio.sleep(0.01)
        await w.fs.release(opened)
    assert answers == [errno.ENOENT if deleted else 0]
    assert (tmp_path / "target").read_bytes() == (b"old" if deleted else b"new contents")
    assert os.listdir(tmp_path) == ["target"]


async def test_file_that_is_opened_anew_while_its_renaming_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The renaming waited for a descriptor that was being closed: then the next one waits for the renaming."""
    (tmp_path / "f").write_bytes(b"contents")
    copying, may_go_on, copy = trio.Event(), trio.Event(), Namespace._copy_at_rest

    async def slow(self: Namespace, *arguments: object) -> None:
        copying.set()
        await may_go_on.wait()
        await copy(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Namespace, "_copy_at_rest", slow)
    async with world(tmp_path, NO_RENAMES) as w, trio.open_nursery() as nursery:
        opened = await w.open(b"f")
        node = opened.file.node

        async def write() -> None:
            again = await w.open(b"f")
            await w.fs.write(again, 0, b"CON")
            await w.close(again)

        async with opened.file.lock:
            nursery.start_soon(w.fs.release, opened)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(w.fs.rename, w.root, b"f", w.root, b"g")
            await trio.testing.wait_all_tasks_blocked(0.05)
        await copying.wait()
        nursery.start_soon(write)
        await trio.testing.wait_all_tasks_blocked(0.05)
        may_go_on.set()
    assert node.name == b"g"
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"g": b"CONtents"}
