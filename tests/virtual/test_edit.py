"""Editing in place: 95C2 to 95C5."""

from __future__ import annotations

from pathlib import Path

import pytest

from mtpfs.protocol.codes import Operation, Response
from virtual.conftest import Connect
from virtual.initiator import Initiator


@pytest.fixture
def file(root: Path) -> Path:
    path = root / "file"
    path.write_bytes(b"0123456789")
    return path


@pytest.fixture
def phone(connect: Connect, file: Path) -> Initiator:
    """With the file open for editing as object 1."""
    phone = connect()
    assert phone.handles() == [1]
    assert phone.do(Operation.BeginEditObject, 1).ok
    return phone


def truncate(phone: Initiator, handle: int, size: int) -> int:
    return phone.do(Operation.TruncateObject, handle, size & 0xFFFFFFFF, size >> 32).code


def test_overwrite_and_append(phone: Initiator, file: Path) -> None:
    """Readers see what was written at once."""
    assert phone.edit(1, 2, b"xy").ok
    assert phone.edit(1, 10, b"tail").ok
    assert phone.info(1).object_compressed_size == 14
    assert phone.get(Operation.GetObject, 1) == b"01xy456789tail"
    assert phone.do(Operation.EndEditObject, 1).ok
    assert file.read_bytes() == b"01xy456789tail"


def test_no_holes(phone: Initiator, file: Path) -> None:
    """Beyond the size: GeneralError; after growing the file it is possible."""
    assert phone.edit(1, 11, b"x").code == Response.GeneralError
    assert truncate(phone, 1, 20) == Response.OK
    assert phone.edit(1, 11, b"x").ok
    assert file.read_bytes() == b"0123456789\0x" + bytes(8)


def test_truncate(phone: Initiator, file: Path) -> None:
    """Down, and up beyond 4 GiB."""
    assert truncate(phone, 1, 4) == Response.OK
    assert phone.edit(1, 5, b"x").code == Response.GeneralError
    assert truncate(phone, 1, 5 << 30) == Response.OK
    assert file.stat().st_size == 5 << 30
    assert phone.edit(1, (5 << 30) - 1, b"ab").ok
    assert file.stat().st_size == (5 << 30) + 1


@pytest.mark.parametrize(
    ("size", "reported"), [(0, 0), (500, 0), (16372, 0), (16373, 1), (100_000, 100_000 - 16372)]
)
def test_the_count_forgets_the_first_read(phone: Initiator, file: Path, size: int, reported: int) -> None:
    """P1 is not the number of bytes written."""
    answer = phone.edit(1, 0, b"z" * size)
    assert (answer.code, answer.parameters) == (Response.OK, (reported,))
    assert file.read_bytes()[:size] == b"z" * size


def test_twice(phone: Initiator) -> None:
    """A crashed initiator's edit stays until it is ended; sessions don't matter."""
    assert phone.do(Operation.BeginEditObject, 1).code == Response.GeneralError
    assert phone.do(Operation.CloseSession).ok
    phone.open()
    assert phone.do(Operation.BeginEditObject, 1).code == Response.GeneralError
    assert phone.do(Operation.EndEditObject, 1).ok
    assert phone.do(Operation.EndEditObject, 1).code == Response.GeneralError
    assert phone.do(Operation.BeginEditObject, 1).ok


def test_without_begin(connect: Connect, file: Path) -> None:
    """GeneralError; the data is taken nevertheless, and the phone goes on."""
    phone = connect()
    assert phone.handles() == [1]
    for content in (b"abc", bytes(500), bytes(100_000)):
        assert phone.edit(1, 0, content).code == Response.GeneralError
    assert truncate(phone, 1, 0) == Response.GeneralError
    assert phone.do(Operation.EndEditObject, 1).code == Response.GeneralError
    assert file.read_bytes() == b"0123456789"


def test_several_at_once(phone: Initiator, root: Path) -> None:
    other = phone.upload("other", b"")
    assert phone.do(Operation.BeginEditObject, other).ok
    assert phone.edit(other, 0, b"b").ok
    assert phone.edit(1, 0, b"a").ok
    assert phone.do(Operation.EndEditObject, other).ok
    assert (root / "other").read_bytes() == b"b"


def test_folders_and_nothing(phone: Initiator) -> None:
    folder = phone.make_folder("folder").parameters[2]
    assert phone.do(Operation.BeginEditObject, folder).code == Response.GeneralError
    assert phone.do(Operation.BeginEditObject, 999).code == Response.InvalidObjectHandle


@pytest.mark.parametrize("length", [5, 20])
def test_another_length_than_announced(phone: Initiator, file: Path, length: int) -> None:
    """Command and data disagree: GeneralError, what came is kept, the size stays true."""
    phone.command(Operation.SendPartialObject, 1, 0, 0, length)
    phone.data(Operation.SendPartialObject, b"a" * 12)
    assert phone.answer().code == Response.GeneralError
    size = file.stat().st_size
    assert size == (12 if length > 12 else 10)
    assert phone.info(1).object_compressed_size == size


def test_full(connect: Connect, root: Path) -> None:
    """GeneralError on the way; the initiator finds the reason in the free space."""
    phone = connect("capacity=1000&full=refuse")
    handle = phone.upload("file", b"")
    assert phone.do(Operation.BeginEditObject, handle).ok
    assert phone.edit(handle, 0, bytes(900)).ok
    assert phone.edit(handle, 900, bytes(900)).code == Response.GeneralError
    assert phone.do(Operation.EndEditObject, handle).ok


def test_a_rename_during_an_edit(phone: Initiator, root: Path) -> None:
    assert phone.rename(1, "renamed").ok
    assert phone.edit(1, 0, b"x").ok
    assert phone.do(Operation.EndEditObject, 1).ok
    assert (root / "renamed").read_bytes() == b"x123456789"


def test_unplugging_commits(phone: Initiator, file: Path) -> None:
    """What was written stays written."""
    assert phone.edit(1, 0, b"x").ok
    phone.transport.unplug()
    assert file.read_bytes() == b"x123456789"
