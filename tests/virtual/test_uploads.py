"""SendObjectInfo and SendObject."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mtpfs.protocol.codes import ROOT_PARENT, Format, Operation, Property, Response
from mtpfs.protocol.datasets import SIZE_UNKNOWN, ObjectInfo
from mtpfs.protocol.wire import Writer
from virtual.conftest import Complaints, Connect
from virtual.initiator import CARD, INTERNAL

MOMENT = datetime(2024, 2, 29, 13, 45, 1, tzinfo=UTC).timestamp()


@pytest.mark.parametrize("size", [0, 1, 499, 500, 501, 1012, 16372, 100_000])
def test_upload(connect: Connect, root: Path, size: int) -> None:
    """Sizes around whole packets; the response names storage, parent (0 for the root) and handle."""
    content = os.urandom(size)
    phone = connect()
    answer = phone.announce("file", size)
    assert answer.ok
    storage, parent, handle = answer.parameters
    assert (storage, parent) == (INTERNAL, 0)
    assert phone.do(Operation.SendObject, send=content).ok
    assert (root / "file").read_bytes() == content
    assert phone.handles() == [handle]
    assert phone.info(handle).object_compressed_size == size


def test_data_in_many_writes(connect: Connect, root: Path) -> None:
    """The data phase is a stream: whole packets, then the rest."""
    content = os.urandom(50_000)
    phone = connect()
    assert phone.announce("file", len(content)).ok
    phone.command(Operation.SendObject)
    phone.data(Operation.SendObject, content, step=1024)
    assert phone.answer().ok
    assert (root / "file").read_bytes() == content


def test_header_alone(connect: Connect, root: Path) -> None:
    """A header in a transfer of its own is harmless here."""
    phone = connect()
    assert phone.announce("file", 3).ok
    phone.command(Operation.SendObject)
    header = b"\x0f\0\0\0\x02\0\x0d\x10" + phone.transaction.to_bytes(4, "little")
    phone.transport.write(header, 1)
    phone.transport.write(b"abc", 1)
    assert phone.answer().ok
    assert (root / "file").read_bytes() == b"abc"


@pytest.mark.parametrize("size", [1000, 1012])
def test_unknown_size(connect: Connect, root: Path, size: int) -> None:
    """FFFFFFFF in ObjectInfo and in the container: until the short packet."""
    phone = connect()
    assert phone.announce("file", SIZE_UNKNOWN).ok
    phone.command(Operation.SendObject)
    phone.data(Operation.SendObject, bytes(size), length=1 << 33)
    assert phone.answer().ok
    assert (root / "file").stat().st_size == size


def test_in_a_folder_and_on_the_card(connect: Connect, root: Path) -> None:
    phone = connect("storages=2")
    folder = phone.make_folder("folder", storage=CARD)
    assert folder.ok
    phone.upload("file", b"x", parent=folder.parameters[2], storage=CARD)
    assert (root / "SD card" / "folder" / "file").read_bytes() == b"x"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("20240229T134501Z", MOMENT),
        ("20240229T134501", None),
        ("20240229T134501+0500", None),
    ],
    ids=["UTC", "local", "offset ignored"],
)
def test_modification_time(connect: Connect, root: Path, text: str, seconds: float | None) -> None:
    """Z is UTC; everything else is the phone's local time, a numeric offset notwithstanding."""
    if seconds is None:
        seconds = datetime(2024, 2, 29, 13, 45, 1).timestamp()  # noqa: DTZ001 - local is the point
    connect().upload("file", b"x", modified=text)
    assert (root / "file").stat().st_mtime == seconds


@pytest.mark.parametrize("text", ["", "junk"])
def test_no_modification_time(connect: Connect, root: Path, text: str) -> None:
    """Then it is the time of the upload."""
    connect().upload("file", b"x", modified=text)
    assert abs((root / "file").stat().st_mtime - datetime.now(UTC).timestamp()) < 60


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/", "\ud800"])
def test_impossible_names(connect: Connect, name: str) -> None:
    phone = connect()
    info = ObjectInfo(filename=name, modification_date="20240229T134501Z", keywords="k")
    answer = phone.do(Operation.SendObjectInfo, INTERNAL, ROOT_PARENT, send=info.encode())
    assert answer.code == Response.InvalidParameter
    assert phone.handles() == []


@pytest.mark.parametrize("name", ["a" * 254, "😀" * 60, "..x", ".hidden", " blanks ", "a:b*c?", "new\nline"])
def test_unusual_names(connect: Connect, root: Path, name: str) -> None:
    """Android's own storage takes them."""
    connect().upload(name, b"x")
    assert [path.name for path in root.iterdir()] == [name]


def test_names_on_a_card_are_trimmed(connect: Connect, root: Path) -> None:
    connect("storages=2").upload(" a ", b"x", storage=CARD)
    assert [path.name for path in (root / "SD card").iterdir()] == ["a"]


def test_an_existing_name(connect: Connect, root: Path) -> None:
    """GeneralError, and the file is what it was; whether it was listed before makes no difference."""
    (root / "file").write_text("old")
    phone = connect()
    assert phone.announce("file", 1).code == Response.GeneralError
    assert phone.make_folder("file").code == Response.GeneralError
    assert (root / "file").read_text() == "old"
    phone.upload("FILE", b"x")
    assert (root / "file").read_text() == "old"


def test_the_case_hazard(connect: Connect, root: Path) -> None:
    """Case-insensitive storage: the table knows no `FOO`, and `foo` is overwritten."""
    (root / "foo").write_text("precious")
    phone = connect("case-insensitive")
    phone.handles()
    phone.upload("FOO", b"x")
    assert [path.name for path in root.iterdir()] == ["foo"]
    assert (root / "foo").read_text() == "x"


@pytest.mark.parametrize("parent", [0, 999])
def test_wrong_parents(connect: Connect, parent: int) -> None:
    """The root is FFFFFFFF here and nothing else."""
    assert connect().announce("file", 0, parent=parent).code == Response.InvalidObjectHandle


def test_a_file_as_parent(connect: Connect, root: Path) -> None:
    (root / "file").touch()
    phone = connect()
    assert phone.announce("x", 0, parent=phone.handles()[0]).code == Response.InvalidParentObject


def test_an_unknown_storage(connect: Connect) -> None:
    assert connect().announce("file", 0, storage=CARD).code == Response.InvalidStorageID


def test_full(connect: Connect, root: Path) -> None:
    """Refused by the declared size; what lies about its size fails on the way, and the file is gone."""
    phone = connect("capacity=1000")
    assert phone.announce("file", 1001).code == Response.StoreFull
    assert phone.handles() == []
    phone.upload("fits", bytes(900))
    assert phone.announce("file", 101).code == Response.StoreFull


def test_running_out_on_the_way(connect: Connect, root: Path) -> None:
    """Space that something else took meanwhile."""
    phone = connect("capacity=1000&full=refuse")
    assert phone.announce("file", 900).ok
    (root / "other").write_bytes(bytes(900))
    assert phone.do(Operation.SendObject, send=bytes(900)).code == Response.GeneralError
    assert not (root / "file").exists()
    assert [phone.info(handle).filename for handle in phone.handles()] == ["other"]


def test_send_object_alone(connect: Connect) -> None:
    """Nothing was announced; the data is taken nevertheless."""
    phone = connect()
    assert phone.do(Operation.SendObject, send=b"abc").code == Response.NoValidObjectInfo
    assert phone.handles() == []


def test_another_command_in_between(connect: Connect, root: Path) -> None:
    """The upload is forgotten, its name stays: listed, without a file, and not to be deleted."""
    phone = connect()
    handle = phone.announce("phantom", 3).parameters[2]
    assert phone.handles() == [handle]
    assert phone.do(Operation.SendObject, send=b"abc").code == Response.NoValidObjectInfo
    assert phone.info(handle).object_compressed_size == 0
    assert not (root / "phantom").exists()
    assert phone.announce("phantom", 3).code == Response.GeneralError
    assert phone.do(Operation.DeleteObject, handle).code == Response.PartialDeletion
    assert phone.handles() == [handle]


@pytest.mark.parametrize("size", [0, 2])
def test_too_little_data(connect: Connect, root: Path, size: int) -> None:
    """Less than announced: GeneralError, the file is removed, and the name is free again."""
    phone = connect()
    assert phone.announce("file", 3).ok
    assert phone.do(Operation.SendObject, send=bytes(size)).code == Response.GeneralError
    assert not (root / "file").exists()
    assert phone.handles() == []
    phone.upload("file", b"abc")


def test_a_premature_short_packet(connect: Connect, root: Path, complaints: Complaints) -> None:
    """The initiator wrote in slices that are no whole packets."""
    phone = connect()
    assert phone.announce("file", 2000).ok
    phone.command(Operation.SendObject)
    header = (2012).to_bytes(4, "little") + b"\x02\0\x0d\x10" + phone.transaction.to_bytes(4, "little")
    phone.transport.write(header + bytes(1000), 1)
    assert phone.answer().code == Response.GeneralError
    assert not (root / "file").exists()
    assert "announced were 2000" in complaints()[0]


def test_too_much_data(connect: Connect, root: Path) -> None:
    phone = connect()
    assert phone.announce("file", 3).ok
    assert phone.do(Operation.SendObject, send=b"abcd").code == Response.GeneralError
    assert not (root / "file").exists()


def test_cancel(connect: Connect, root: Path) -> None:
    """In the middle of the data: the file is removed, and no response follows."""
    phone = connect()
    assert phone.announce("file", 100_000).ok
    phone.command(Operation.SendObject)
    header = (100_012).to_bytes(4, "little") + b"\x02\0\x0d\x10" + phone.transaction.to_bytes(4, "little")
    phone.transport.write(header + bytes(1012), 1)
    assert (root / "file").exists()
    phone.transport.cancel(phone.transaction)
    assert not (root / "file").exists()
    assert phone.transport.device_status() == Response.OK
    assert phone.handles() == []


def test_folders(connect: Connect, root: Path) -> None:
    """Made at once; SendObject isn't needed, but allowed."""
    phone = connect()
    answer = phone.make_folder("a")
    assert answer.ok
    assert (root / "a").is_dir()
    assert phone.do(Operation.SendObject, send=b"").ok
    inner = phone.make_folder("b", parent=answer.parameters[2])
    assert inner.parameters[:2] == (INTERNAL, answer.parameters[2])
    assert (root / "a" / "b").is_dir()
    assert phone.info(inner.parameters[2]).object_format == Format.Association
    assert phone.make_folder("a").code == Response.GeneralError


def test_a_folder_that_can_not_be_made(connect: Connect, root: Path) -> None:
    """Its name differs in case only: GeneralError, and a phantom stays."""
    (root / "Pictures").mkdir()
    phone = connect("case-insensitive")
    assert phone.make_folder("pictures").code == Response.GeneralError
    assert len(phone.handles()) == 2
    assert [path.name for path in root.iterdir()] == ["Pictures"]


def test_read_only(connect: Connect, root: Path) -> None:
    (root / "file").write_text("old")
    phone = connect("read-only")
    (handle,) = phone.handles()
    assert phone.announce("new", 1).code == Response.StoreReadOnly
    assert phone.rename(handle, "other").code == Response.StoreReadOnly
    for operation, parameters in (
        (Operation.DeleteObject, (handle,)),
        (Operation.MoveObject, (handle, INTERNAL, 0)),
        (Operation.CopyObject, (handle, INTERNAL, 0)),
        (Operation.BeginEditObject, (handle,)),
    ):
        assert phone.do(operation, *parameters).code == Response.StoreReadOnly
    assert (root / "file").read_text() == "old"
    assert phone.get(Operation.GetObject, handle) == b"old"


def test_dates_of_arrival(connect: Connect, root: Path) -> None:
    """A phone that drops the date of an upload gives the file that of its arrival, and tells it."""
    phone = connect("arrival-dates")
    info = ObjectInfo(object_compressed_size=3, filename="file", modification_date="20140229T134501")
    assert phone.do(Operation.SendObjectInfo, INTERNAL, ROOT_PARENT, send=info.encode()).ok
    before = time.time() - 2
    assert phone.do(Operation.SendObject, send=b"abc").ok
    assert (root / "file").stat().st_mtime > before


def test_wide_object_info_wants_it_back(connect: Connect, root: Path) -> None:
    """A phone with 64-bit sizes can't read the standard's ObjectInfo."""
    phone = connect("wide-object-info")
    assert phone.announce("file", 3).code == Response.InvalidParameter
    info = ObjectInfo(object_compressed_size=3, filename="file", wide=True)
    assert phone.do(Operation.SendObjectInfo, INTERNAL, ROOT_PARENT, send=info.encode()).ok
    assert phone.do(Operation.SendObject, send=b"abc").ok
    assert (root / "file").read_bytes() == b"abc"


@pytest.mark.parametrize("size", [0, 20, 52])
def test_damaged_object_info(connect: Connect, size: int) -> None:
    phone = connect()
    data = ObjectInfo(filename="file").encode()[:size]
    assert (
        phone.do(Operation.SendObjectInfo, INTERNAL, ROOT_PARENT, send=data).code == Response.InvalidParameter
    )


def test_the_type_of_the_name_is_the_format(connect: Connect) -> None:
    """What ObjectInfo said of the format is forgotten, folders excepted."""
    phone = connect()
    handle = phone.upload("photo.jpg", b"x")
    writer = Writer()
    writer.u16(Format.EXIF_JPEG)
    assert phone.get(Operation.GetObjectPropValue, handle, Property.ObjectFormat) == writer.to_bytes()


def test_a_file_that_vanishes_while_it_is_received(connect: Connect, root: Path) -> None:
    """Removed on the phone; cancelling has nothing to remove any more."""
    phone = connect()
    assert phone.announce("file", 100).ok
    phone.command(Operation.SendObject)
    header = (112).to_bytes(4, "little") + b"\x02\0\x0d\x10" + phone.transaction.to_bytes(4, "little")
    phone.transport.write(header, 1)
    (root / "file").unlink()
    phone.transport.cancel(phone.transaction)
    assert phone.handles() == []
