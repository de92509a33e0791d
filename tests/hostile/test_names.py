"""Names and trees that are meant to do harm."""

from __future__ import annotations

import errno
import logging
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mount.conftest import MTPFS, run
from mtpfs.cli.command import printable
from mtpfs.cli.daemon import log_to_stderr
from mtpfs.device import Entry, Handle
from mtpfs.vfs import Node
from mtpfs.vfs.names import shown_name
from mtpfs.vfs.spool import Spool
from vfs.world import World, world


@given(st.text(st.characters(), max_size=20))
def test_printable(text: str) -> None:
    """What is printed of a device is one line without control characters, and can be encoded."""
    shown = printable(text)
    assert shown.isprintable()
    shown.encode()


def test_terminal_is_left_alone(tmp_path: Path) -> None:
    """A device's names can't steer the terminal that shows them."""
    shown = run(*MTPFS, "info", f"virtual:{tmp_path}?model=\x1b[2J\x9b1mevil\u202e\n").stdout
    assert "\\x1b[2J\\x9b1mevil\\u202e" in shown
    assert not {"\x1b", "\x9b", "\u202e"} & set(shown)


def test_log_is_left_alone(capfd: pytest.CaptureFixture[str]) -> None:
    """A name in a log message can't forge a line of its own."""
    before = logging.getLogger().handlers[:], logging.getLogger().level
    try:
        log_to_stderr(debug=False)
        logging.getLogger("test").warning("%s is odd", "x\nmtpfs: all is well\x1b[1A")
    finally:
        logging.getLogger().handlers[:], logging.getLogger().level = before
    assert capfd.readouterr().err == "mtpfs: x\\nmtpfs: all is well\\x1b[1A is odd\n"


@given(st.text(st.characters(), max_size=20))
def test_names_are_entries(name: str) -> None:
    """A device's name is one entry of one directory, whatever it is."""
    shown = shown_name(name)
    assert shown not in {b"", b".", b".."}
    assert b"/" not in shown
    assert b"\0" not in shown


def handle(w: World, number: int) -> Handle:
    return Handle(number, w.fs.device.session.generation)


def handle_of(node: Node) -> Handle:
    assert node.handle is not None
    return node.handle


@pytest.mark.filterwarnings("error")
async def test_folder_in_itself(tmp_path: Path) -> None:
    """A folder that holds itself, or what it is in, doesn't make a tree without end."""
    (tmp_path / "a/b").mkdir(parents=True)
    async with world(tmp_path) as w:
        outer = await w.fs.lookup(w.root, b"a")
        inner = await w.fs.lookup(outer, b"b")
        await w.fs.entries(inner)
        loops = [
            Entry(handle_of(node), "loop", is_folder=True, size=0, modified=None) for node in (outer, inner)
        ]
        w.fs.tree.merge(
            inner, [*loops, Entry(handle(w, 999), "file", is_folder=False, size=1, modified=None)]
        )
        assert list(inner.children) == [b"file"]


async def test_deep_tree(tmp_path: Path) -> None:
    """A tree deeper than Python's stack is listed, named and taken apart."""
    async with world(tmp_path) as w:
        node = top = await w.fs.mkdir(w.root, b"d")
        for depth in range(3000):
            w.fs.tree.merge(
                node, [Entry(handle(w, 5000 + depth), "d", is_folder=True, size=0, modified=None)]
            )
            node = node.children[b"d"]
        assert node.path.count("/d") == 3001
        w.fs.tree.detach(top)
        assert node.unlinked


def test_spool_where_no_file_is_nameless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A filesystem without O_TMPFILE gets a file that nobody else may open, and that loses its name at once."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    plain = os.open
    modes: list[int] = []

    def without(path: str, flags: int, mode: int = 0o777, **words: int) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, "no nameless files")
        modes.append(mode)
        return plain(path, flags, mode, **words)

    monkeypatch.setattr(os, "open", without)
    spool = Spool()
    monkeypatch.undo()
    assert modes == [0o600]
    assert not os.listdir(tmp_path)
    spool.write_now(0, b"secret")
    assert spool.size == 6


def test_spool_is_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Contents on their way have no name, and a mode that lets nobody else in."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    spool = Spool()
    spool.write_now(0, b"secret")
    assert not os.listdir(tmp_path)
    descriptors = Path("/proc/self/fd")
    (opened,) = (
        descriptors / number
        for number in os.listdir(descriptors)
        if (descriptors / number).is_symlink() and str(tmp_path) in str((descriptors / number).readlink())
    )
    status = opened.stat()
    assert (status.st_nlink, status.st_mode & 0o777) == (0, 0o600)
