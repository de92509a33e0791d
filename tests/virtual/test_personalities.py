"""The phones that exist, by what each does that the others don't (`as=NAME`)."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from equipment.control import obey
from mtpfs.errors import TransportStallError, TransportTimeoutError
from mtpfs.protocol.codes import (
    ALL,
    ROOT_PARENT,
    AccessCapability,
    Event,
    Format,
    Operation,
    Property,
    Response,
)
from mtpfs.protocol.datasets import SIZE_UNKNOWN, DeviceInfo, ObjectInfo, StorageInfo
from mtpfs.virtual.capabilities import PERSONALITIES, parse_virtual
from mtpfs.virtual.space import CHUNK, FIRST_READ
from mtpfs.virtual.store import FOLDERS_PER_POLL, GHOST_MEETINGS, LARGE, Node, Store
from virtual.conftest import Complaints, Connect
from virtual.initiator import CARD, INTERNAL, Answer, Initiator


def device(phone: Initiator) -> DeviceInfo:
    return DeviceInfo.decode(phone.get(Operation.GetDeviceInfo))


def storage(phone: Initiator) -> StorageInfo:
    return StorageInfo.decode(phone.get(Operation.GetStorageInfo, INTERNAL))


def delete(phone: Initiator, handle: int) -> int:
    return phone.do(Operation.DeleteObject, handle).code


# --- all of them


@pytest.mark.parametrize("name", PERSONALITIES)
def test_every_personality_lists_and_reads(connect: Connect, root: Path, name: str) -> None:
    """What DeviceInfo lists is what is answered, and a file can be read on all of them."""
    (root / "folder").mkdir()
    (root / "file").write_text("content")
    phone = connect(f"as={name}")
    top = phone.listing()
    assert top.keys() == {"folder", "file"}
    assert phone.get(Operation.GetObject, top["file"]) == b"content"
    assert set(device(phone).operations_supported) == set(phone.transport.responder.capabilities.operations)


@pytest.mark.parametrize("name", [name for name in PERSONALITIES if name not in {"camera", "player"}])
def test_every_phone_takes_files(connect: Connect, root: Path, name: str) -> None:
    """Whoever can be written to can be written to."""
    phone = connect(f"as={name}")
    phone.upload("file", b"content", parent=phone.make_folder("folder").parameters[2])
    assert (root / "folder" / "file").read_bytes() == b"content"


def test_the_default_is_android_14(root: Path) -> None:
    """Without a word, and whatever the other words are."""
    assert parse_virtual(f"{root}?")[1] == parse_virtual(f"{root}?as=android14")[1]


@pytest.mark.parametrize("words", ["as=sailfish&no-edit&ghost=3", "ghost=3&no-edit&as=sailfish"])
def test_words_change_a_personality_in_any_order(root: Path, words: str) -> None:
    """The personality first, wherever it stands."""
    capabilities = parse_virtual(f"{root}?{words}")[1]
    assert capabilities.lists_one_storage
    assert capabilities.ghost_seconds == 3
    assert Operation.BeginEditObject not in capabilities.operations


# --- android14: vacated names


@pytest.fixture
def haunted(connect: Connect, root: Path) -> Initiator:
    """An Android whose ghosts stay for an hour."""
    (root / "folder").mkdir()
    (root / "file").write_text("content")
    phone = connect("ghost=3600")
    phone.handles()
    return phone


def test_a_deleted_name_stays_taken(haunted: Initiator, root: Path) -> None:
    """Neither a file nor a folder can have it, until the phone has noticed."""
    assert delete(haunted, haunted.listing()["file"]) == Response.OK
    assert not (root / "file").exists()
    assert haunted.announce("file", 1).code == Response.GeneralError
    assert haunted.make_folder("file").code == Response.GeneralError
    haunted.transport.sleep(3600)
    haunted.upload("file", b"new")
    assert (root / "file").read_bytes() == b"new"


def test_a_deleted_object_stays_listed(haunted: Initiator) -> None:
    """Its handle is listed and described, with no size and the date 1970; nobody can read it."""
    handle = haunted.listing()["file"]
    assert delete(haunted, handle) == Response.OK
    assert handle in haunted.handles()
    info = haunted.info(handle)
    assert (info.filename, info.object_compressed_size) == ("file", 0)
    assert info.modification_date.startswith(("1970", "1969"))
    assert haunted.do(Operation.GetObject, handle).code == Response.GeneralError
    haunted.transport.sleep(3600)
    assert handle not in haunted.handles()
    assert haunted.do(Operation.GetObjectInfo, handle).code == Response.InvalidObjectHandle
    assert haunted.events() == []


def test_a_deleted_object_stays_in_property_lists(haunted: Initiator) -> None:
    """The root's children, by property: the deleted one is among them."""
    handle = haunted.listing()["file"]
    assert delete(haunted, handle) == Response.OK
    listed = {e.handle for e in haunted.prop_list(0, Property.ObjectFileName, depth=1)}
    assert handle in listed


def test_deleting_twice(haunted: Initiator) -> None:
    """The second time there is a table entry and no file: PartialDeletion."""
    handle = haunted.listing()["file"]
    assert delete(haunted, handle) == Response.OK
    assert delete(haunted, handle) == Response.PartialDeletion


def test_a_deleted_folder_s_contents_stay_too(haunted: Initiator, root: Path) -> None:
    """Handles below it are answered as long as it is."""
    (root / "folder" / "inside").touch()
    folder = haunted.listing()["folder"]
    (inside,) = haunted.handles(folder)
    assert delete(haunted, folder) == Response.OK
    assert haunted.do(Operation.GetObjectInfo, inside).ok
    haunted.transport.sleep(3600)
    assert haunted.do(Operation.GetObjectInfo, inside).code == Response.InvalidObjectHandle


def test_a_name_that_was_renamed_away_stays_taken(haunted: Initiator) -> None:
    """For uploads and for renames; a dummy with the same handle stands there."""
    handle = haunted.listing()["file"]
    assert haunted.rename(handle, "other").ok
    assert haunted.handles().count(handle) == 2
    assert haunted.announce("file", 1).code == Response.GeneralError
    assert haunted.rename(handle, "file").code == Response.GeneralError
    haunted.transport.sleep(3600)
    assert haunted.rename(handle, "file").ok


def test_a_name_that_was_moved_away_stays_taken(haunted: Initiator) -> None:
    """The old folder still lists the object, and doesn't take it back. A copy is made, of which it tells no handle."""
    top = haunted.listing()
    assert haunted.do(Operation.MoveObject, top["file"], INTERNAL, top["folder"]).ok
    assert top["file"] in haunted.handles()
    assert haunted.do(Operation.MoveObject, top["file"], INTERNAL, 0).code == Response.GeneralError
    copied = haunted.do(Operation.CopyObject, top["file"], INTERNAL, 0)
    assert (copied.code, copied.parameters) == (Response.OK, (0xFFFF,))
    haunted.transport.sleep(3600)
    copy = haunted.listing()["file"]
    assert sorted(haunted.handles()) == sorted([top["folder"], copy])
    assert copy != top["file"]
    assert delete(haunted, copy) == Response.OK
    haunted.transport.sleep(3600)
    assert haunted.do(Operation.MoveObject, top["file"], INTERNAL, 0).ok


def test_a_ghost_gives_up_in_the_end(haunted: Initiator) -> None:
    """Though no time passes: whoever tries again gets through after a few refusals."""
    assert delete(haunted, haunted.listing()["file"]) == Response.OK
    codes = [haunted.announce("file", 0).code for _ in range(GHOST_MEETINGS + 1)]
    assert codes == [Response.GeneralError] * GHOST_MEETINGS + [Response.OK]


def test_ghosts_end_with_real_time_too(connect: Connect, root: Path) -> None:
    """The default is a few milliseconds."""
    (root / "file").touch()
    phone = connect()
    handle = phone.listing()["file"]
    assert delete(phone, handle) == Response.OK
    time.sleep(0.02)
    assert phone.handles() == []


def test_what_appears_under_a_vacated_name(haunted: Initiator, root: Path) -> None:
    """Made on the phone: another object, announced when the old one has gone."""
    handle = haunted.listing()["file"]
    assert delete(haunted, handle) == Response.OK
    (root / "file").write_text("by somebody else")
    assert haunted.events() == []
    haunted.transport.sleep(3600)
    assert handle not in haunted.listing().values()
    assert [code for code, _ in haunted.events()] == [Event.ObjectAdded]


def test_without_ghosts(connect: Connect, root: Path) -> None:
    """`ghost=0`: a vacated name is free at once."""
    (root / "file").touch()
    phone = connect("ghost=0")
    assert delete(phone, phone.listing()["file"]) == Response.OK
    phone.upload("file", b"x")


# --- android14: the rest


def test_events_come_in_no_order(connect: Connect, root: Path) -> None:
    """What is noticed together is shuffled, the same way every time."""
    phone = connect()
    phone.handles()
    for number in range(20):
        (root / f"{number}").touch()
    handles = [handle for _, handle in phone.events()]
    assert len(handles) == 20
    assert handles != sorted(handles)


def test_a_cancel_that_meets_no_data_is_poison(connect: Connect, complaints: Complaints) -> None:
    """The server lags one read behind from then on, until it is plugged in again."""
    phone = connect()
    phone.transport.cancel(phone.transaction)
    assert complaints()
    phone.command(Operation.GetStorageIDs)
    with pytest.raises(TransportTimeoutError):
        phone.read()
    first = phone.transaction
    phone.command(Operation.GetNumObjects, INTERNAL, 0, 0)
    assert int.from_bytes(phone.read()[8:12], "little") == first
    phone.transport.replug()
    phone.open()


def test_open_session_twice(connect: Connect) -> None:
    """SessionAlreadyOpen, with its number."""
    answer = connect().do(Operation.OpenSession, 2)
    assert (answer.code, answer.parameters) == (Response.SessionAlreadyOpen, (1,))


@pytest.mark.parametrize("size", [1001, SIZE_UNKNOWN])
def test_files_too_large_for_the_storage(connect: Connect, size: int) -> None:
    """ObjectTooLarge, also for what doesn't say how large it is."""
    phone = connect("max-file=1000")
    assert phone.announce("file", size).code == Response.ObjectTooLarge
    phone.upload("file", bytes(1000))


def test_a_card_holds_no_file_of_4_gib(connect: Connect) -> None:
    """A removable storage is FAT; the internal one takes what is of unknown size."""
    phone = connect("storages=2")
    assert phone.announce("file", SIZE_UNKNOWN, storage=CARD).code == Response.ObjectTooLarge
    assert phone.announce("file", SIZE_UNKNOWN).ok
    assert phone.do(Operation.SendObject, send=b"x").ok


def test_removable(connect: Connect, root: Path) -> None:
    """`removable` makes the first storage a card, which trims names."""
    phone = connect("removable")
    phone.upload(" a ", b"x")
    assert [path.name for path in root.iterdir()] == ["a"]
    assert storage(phone).storage_type == 4


# --- full disks


def send(phone: Initiator, size: int) -> Answer:
    assert phone.announce("file", size).ok
    return phone.do(Operation.SendObject, send=bytes(size))


def test_full_refuse(connect: Connect) -> None:
    """StoreFull before any data is sent."""
    assert connect("full=refuse&capacity=1000").announce("file", 1001).code == Response.StoreFull


def test_full_lie(connect: Connect, root: Path) -> None:
    """OK, though the file is cut off; an edit lies as well."""
    phone = connect("full=lie&capacity=1000")
    assert send(phone, 5000).ok
    (handle,) = phone.handles()
    assert phone.info(handle).object_compressed_size == 1000
    assert phone.do(Operation.BeginEditObject, handle).ok
    assert phone.edit(handle, 1000, b"more").ok
    assert phone.do(Operation.EndEditObject, handle).ok
    assert (root / "file").stat().st_size == 1000


def test_full_early(connect: Connect, root: Path) -> None:
    """GeneralError while the host still sends; what comes then is thrown away, and the file too."""
    phone = connect("full=early&capacity=1000")
    assert phone.announce("file", 100_000).ok
    phone.command(Operation.SendObject)
    header = (100_012).to_bytes(4, "little") + b"\x02\0\x0d\x10" + phone.transaction.to_bytes(4, "little")
    phone.transport.write(header + bytes(2036), 1)
    assert phone.answer().code == Response.GeneralError
    phone.transport.write(bytes(100_000 - 2036), 1)
    assert not (root / "file").exists()
    assert phone.handles() == []


def test_full_early_and_strict(connect: Connect, complaints: Complaints) -> None:
    """The rest of the data is read as commands, which ends the server."""
    phone = connect("full=early&capacity=1000&strict")
    assert phone.announce("file", 100_000).ok
    phone.command(Operation.SendObject)
    phone.data(Operation.SendObject, bytes(100_000), step=2048)
    assert "server loop ends" in complaints()[0]


def test_full_stall(connect: Connect, root: Path) -> None:
    """Both endpoints halt, nothing is answered, the file is gone."""
    phone = connect("full=stall&capacity=1000")
    assert phone.announce("file", 2000).ok
    phone.command(Operation.SendObject)
    with pytest.raises(TransportStallError):
        phone.data(Operation.SendObject, bytes(2000))
    phone.transport.clear_halt()
    with pytest.raises(TransportTimeoutError):
        phone.read()
    assert not (root / "file").exists()
    assert phone.handles() == []


def fill(root: Path, left: int, capacity: int) -> None:
    """Leave that many bytes: by somebody else, when the phone has promised them already."""
    with (root / "other").open("wb") as file:
        os.truncate(file.fileno(), capacity - left)


LARGE_FILE = FIRST_READ + 3 * CHUNK


def test_android_without_a_single_free_byte(connect: Connect, root: Path) -> None:
    """GeneralError at once."""
    phone = connect(f"capacity={LARGE_FILE}")
    assert phone.announce("file", LARGE_FILE).ok
    fill(root, 0, LARGE_FILE)
    assert phone.do(Operation.SendObject, send=bytes(LARGE_FILE)).code == Response.GeneralError
    assert not (root / "file").exists()


def test_android_full_in_the_middle(connect: Connect, root: Path) -> None:
    """A stall, when the chunk after the one that failed has come."""
    phone = connect(f"capacity={LARGE_FILE}")
    assert phone.announce("file", LARGE_FILE).ok
    fill(root, 100_000, LARGE_FILE)
    phone.command(Operation.SendObject)
    with pytest.raises(TransportStallError):
        phone.data(Operation.SendObject, bytes(LARGE_FILE))


def test_android_full_in_the_last_chunk(connect: Connect, root: Path) -> None:
    """OK, though up to 2 MiB are missing: nobody looks at the last write."""
    phone = connect(f"capacity={LARGE_FILE}")
    assert phone.announce("file", LARGE_FILE).ok
    fill(root, LARGE_FILE - 1000, LARGE_FILE)
    assert phone.do(Operation.SendObject, send=bytes(LARGE_FILE)).ok
    assert (root / "file").stat().st_size == LARGE_FILE - 1000


def test_android_full_in_an_edit(connect: Connect, root: Path) -> None:
    """OK, though less than 2 MiB were to be written and only some were."""
    phone = connect("capacity=1000")
    handle = phone.upload("file", bytes(500))
    assert phone.do(Operation.BeginEditObject, handle).ok
    assert phone.edit(handle, 500, bytes(900)).ok
    assert (root / "file").stat().st_size == 1000
    assert phone.edit(handle, 0, bytes(900)).ok  # what is there already can be written to
    assert phone.do(Operation.EndEditObject, handle).ok


def test_space_comes_back(connect: Connect, root: Path) -> None:
    """What is deleted or made shorter is free again, in a large tree too."""
    for number in range(LARGE + 1):
        (root / f"{number}").write_bytes(b"0123456789")
    phone = connect("capacity=10000&full=refuse&ghost=0")
    free = storage(phone).free_space_in_bytes
    handle = phone.upload("file", bytes(1000))
    assert storage(phone).free_space_in_bytes == free - 1000
    assert phone.do(Operation.BeginEditObject, handle).ok
    assert phone.do(Operation.TruncateObject, handle, 100, 0).ok
    assert phone.do(Operation.EndEditObject, handle).ok
    assert storage(phone).free_space_in_bytes == free - 100
    assert delete(phone, handle) == Response.OK
    assert storage(phone).free_space_in_bytes == free


# --- android8


def test_android_8(connect: Connect, root: Path) -> None:
    """No MoveObject and CopyObject; dates are 1970 in property lists and right in ObjectInfo."""
    (root / "file").touch()
    os.utime(root / "file", (1_600_000_000, 1_600_000_000))
    phone = connect("as=android8")
    (handle,) = phone.handles()
    for operation in (Operation.MoveObject, Operation.CopyObject):
        assert phone.do(operation, handle, INTERNAL, 0).code == Response.OperationNotSupported
    (element,) = phone.prop_list(handle, Property.DateModified)
    assert str(element.value).startswith(("1970", "1969"))
    assert phone.info(handle).modification_date.startswith("2020")


# --- sailfish


@pytest.fixture
def sailfish(connect: Connect, root: Path) -> Initiator:
    """With two files."""
    (root / "a").write_text("0123456789")
    (root / "b").write_text("0123456789")
    return connect("as=sailfish")


def test_one_edit(sailfish: Initiator) -> None:
    """BeginEdit silently ends whatever edit was open, and writing there is InvalidObjectHandle then."""
    top = sailfish.listing()
    assert sailfish.edit(top["a"], 0, b"x").code == Response.GeneralError
    assert sailfish.do(Operation.BeginEditObject, top["a"]).ok
    assert sailfish.do(Operation.BeginEditObject, top["b"]).ok
    assert sailfish.edit(top["a"], 0, b"x").code == Response.InvalidObjectHandle
    assert sailfish.do(Operation.EndEditObject, top["a"]).code == Response.InvalidObjectHandle
    assert sailfish.edit(top["b"], 0, b"x").ok
    assert sailfish.do(Operation.BeginEditObject, top["b"]).ok


@pytest.mark.parametrize("name", ["a:b", "a?", "a*", 'a"', "a|b", "a<b", "a>b", "a\\b", "a\tb"])
def test_names_that_can_be_made_but_not_given(sailfish: Initiator, root: Path, name: str) -> None:
    """SendObjectInfo takes what SetObjectPropValue refuses."""
    handle = sailfish.listing()["a"]
    assert sailfish.rename(handle, name).code == Response.InvalidObjectPropValue
    sailfish.upload(name, b"x")
    assert (root / name).read_bytes() == b"x"


@pytest.mark.parametrize("name", ["b", "..."])
def test_other_names_that_can_not_be_given(sailfish: Initiator, name: str) -> None:
    """A name that is taken is as bad as one of nothing but dots."""
    assert sailfish.rename(sailfish.listing()["a"], name).code == Response.InvalidObjectPropValue


def test_an_edit_keeps_the_date(sailfish: Initiator, root: Path) -> None:
    """A change in place that keeps the size leaves no trace."""
    os.utime(root / "a", (1_600_000_000, 1_600_000_000))
    handle = sailfish.listing()["a"]
    assert sailfish.do(Operation.BeginEditObject, handle).ok
    assert sailfish.edit(handle, 0, b"abc").ok
    assert sailfish.do(Operation.EndEditObject, handle).ok
    assert (root / "a").read_text() == "abc3456789"
    assert (root / "a").stat().st_mtime == 1_600_000_000


def test_dates_in_utc_are_dropped(sailfish: Initiator, root: Path) -> None:
    """An upload keeps its date only if that is written without a Z."""
    sailfish.upload("zulu", b"", modified="20200202T020202Z")
    sailfish.upload("local", b"", modified="20200202T020202")
    assert (root / "zulu").stat().st_mtime > 1_600_000_000
    assert (root / "local").stat().st_mtime < 1_600_000_000


@pytest.mark.parametrize("asked", [True, False])
def test_a_name_taken_too_soon(sailfish: Initiator, root: Path, asked: bool) -> None:
    """What gets a vacated name before the phone has heard of that is lost, though its file is there."""
    top = sailfish.listing()
    assert sailfish.rename(top["a"], "old").ok
    if asked:  # it hears while it sends data
        sailfish.info(top["a"])
    assert sailfish.rename(top["b"], "a").ok
    sailfish.info(top["a"])
    assert sailfish.listing() == {"old": top["a"]} | ({"a": top["b"]} if asked else {})
    assert sailfish.events() == ([] if asked else [(Event.ObjectRemoved, top["b"])])
    assert (root / "a").exists()
    # Nothing else can be given the name of a file that it doesn't see; but it can be sent
    assert sailfish.rename(top["a"], "a").code == (Response.InvalidObjectPropValue if asked else Response.OK)
    assert "old" in sailfish.listing()
    if not asked:
        sailfish.upload("a", b"new")
        assert "a" in sailfish.listing()
        assert (root / "a").read_bytes() == b"new"


def test_a_name_made_too_soon(sailfish: Initiator) -> None:
    """What is made under a name that was deleted a moment ago gets another handle."""
    first = sailfish.listing()["a"]
    assert sailfish.do(Operation.DeleteObject, first, 0).ok
    second = sailfish.upload("a", b"new")
    sailfish.handles()  # while it sends them it hears
    third = sailfish.listing()["a"]
    assert third not in {first, second}
    assert (Event.ObjectRemoved, second) in sailfish.events()


def test_property_lists_of_one_storage_only(connect: Connect) -> None:
    """With a second storage the children can't be listed so; with one they can."""
    phone = connect("as=sailfish&storages=2")
    folder = phone.make_folder("folder").parameters[2]
    answer = phone.do(Operation.GetObjectPropList, folder, 0, ALL, 0, 1)
    assert answer.code == Response.InvalidParentObject
    assert phone.do(Operation.GetObjectPropList, folder, 0, ALL, 0, 0).ok
    single = connect("as=sailfish")
    assert single.do(Operation.GetObjectPropList, single.handles()[0], 0, ALL, 0, 1).ok


def test_letter_case_counts(sailfish: Initiator, root: Path) -> None:
    """Though it announces android.com."""
    sailfish.upload("A", b"x")
    assert (root / "a").read_text() == "0123456789"
    assert "android.com" in device(sailfish).vendor_extension_desc


# --- tizen


def test_a_partial_read_that_reads_nothing(connect: Connect, root: Path) -> None:
    """GetPartialObject64 is announced, and takes the offset's upper half for the count."""
    (root / "file").write_text("0123456789")
    phone = connect("as=tizen")
    (handle,) = phone.handles()
    assert Operation.GetPartialObject64 in device(phone).operations_supported
    answer = phone.do(Operation.GetPartialObject64, handle, 2, 0, 5)
    assert (answer.code, answer.data, answer.parameters) == (Response.OK, b"", (0,))
    assert phone.get(Operation.GetPartialObject, handle, 2, 5) == b"23456"


@pytest.mark.parametrize(
    ("old", "new", "allowed"),
    [
        ("a.txt", "b.txt", True),
        ("a.txt", "b.TXT", True),
        ("a.txt", "a.jpg", False),
        ("a.txt", "a", False),
        ("a", "b", True),
        ("a", "b.txt", False),
        ("a", "b.", True),
        ("a", ".a", False),
        ("x.tar.gz", "y.zip.gz", True),
    ],
)
def test_extensions_stay(connect: Connect, root: Path, old: str, new: str, allowed: bool) -> None:
    """What follows the last dot has to stay, letter case aside."""
    (root / old).touch()
    phone = connect("as=tizen")
    answer = phone.rename(phone.listing()[old], new)
    assert answer.code == (Response.OK if allowed else Response.InvalidDevicePropValue)
    assert (root / new).exists() == allowed


def test_extensions_of_folders_with_a_dot(connect: Connect, root: Path) -> None:
    """The last dot of the whole path counts: what has none of its own there can't be renamed."""
    (root / "d.x").mkdir()
    (root / "d.x" / "a").touch()
    phone = connect("as=tizen")
    folder = phone.listing()["d.x"]
    assert phone.rename(phone.listing(folder)["a"], "b").code == Response.InvalidDevicePropValue
    assert phone.rename(folder, "e").code == Response.InvalidDevicePropValue


def test_a_rename_of_the_letter_case_only(connect: Connect, root: Path) -> None:
    """OK, and nothing happens."""
    (root / "a").touch()
    phone = connect("as=tizen")
    assert phone.rename(phone.handles()[0], "A").ok
    assert [path.name for path in root.iterdir()] == ["a"]


def test_stale_sizes(connect: Connect, root: Path) -> None:
    """A file that has grown keeps the size that it was listed with."""
    (root / "file").write_text("0123456789")
    phone = connect("as=tizen")
    (handle,) = phone.handles()
    (root / "file").write_text("0123456789 and more")
    assert phone.info(handle).object_compressed_size == 10
    assert phone.get(Operation.GetObject, handle) == b"0123456789 and more"


def test_folders_of_the_host_are_not_watched(connect: Connect, root: Path) -> None:
    """No event of what happens in them, unlike in others."""
    phone = connect("as=tizen")
    phone.handles()
    folder = phone.make_folder("made").parameters[2]
    (root / "made" / "file").touch()
    phone.handles(folder)
    (root / "made" / "other").touch()
    assert phone.events() == []
    (root / "seen").touch()
    assert [code for code, _ in phone.events()] == [Event.ObjectAdded]


def test_edits_that_change_nothing(connect: Connect, root: Path) -> None:
    """Begin, SendPartialObject and End answer OK; TruncateObject isn't there."""
    (root / "file").write_text("0123456789")
    phone = connect("as=tizen")
    (handle,) = phone.handles()
    assert phone.do(Operation.BeginEditObject, handle).ok
    assert phone.edit(handle, 0, b"abc").ok
    assert phone.do(Operation.EndEditObject, handle).ok
    assert (root / "file").read_text() == "0123456789"
    assert phone.do(Operation.TruncateObject, handle, 0, 0).code == Response.OperationNotSupported


def test_names_with_a_dot_are_not_listed(connect: Connect, root: Path) -> None:
    """But what the host made itself is."""
    (root / ".hidden").touch()
    phone = connect("as=tizen")
    phone.upload(".made", b"x")
    assert phone.listing().keys() == {".made"}


# --- camera


@pytest.fixture
def camera(connect: Connect, root: Path) -> Initiator:
    """With one picture and a protected one."""
    (root / "DCIM").mkdir()
    (root / "DCIM" / "1.jpg").write_text("picture")
    (root / "DCIM" / "2.jpg").write_text("picture")
    (root / "DCIM" / "2.jpg").chmod(0o444)
    return connect("as=camera")


def pictures(camera: Initiator) -> dict[str, int]:
    return camera.listing(camera.listing()["DCIM"])


def test_a_camera_is_no_mtp_device(camera: Initiator) -> None:
    """No extension, no property of objects, no partial reads, nothing to write with."""
    info = device(camera)
    assert (info.vendor_extension_id, info.vendor_extension_desc) == (0, "")
    assert max(info.operations_supported) < 0x9800
    assert not {0x100C, 0x100D, 0x101B} & set(info.operations_supported)
    assert storage(camera).access_capability == AccessCapability.READ_ONLY_WITH_DELETE


def test_a_camera_with_partial_reads(connect: Connect, root: Path) -> None:
    """`partial` adds GetPartialObject."""
    (root / "1.jpg").write_text("picture")
    phone = connect("partial&as=camera")
    assert phone.get(Operation.GetPartialObject, phone.handles()[0], 3, 2) == b"tu"


def test_sizes_from_4_gib_on(camera: Initiator, root: Path) -> None:
    """FFFFFFFF, and there is no property that tells more."""
    os.truncate(root / "DCIM" / "1.jpg", 5 << 30)
    assert camera.info(pictures(camera)["1.jpg"]).object_compressed_size == SIZE_UNKNOWN


def test_strict_about_transactions(camera: Initiator) -> None:
    """An id that isn't the next one is refused."""
    camera.transaction += 1
    assert camera.do(Operation.GetStorageIDs).code == Response.GeneralError
    assert camera.do(Operation.GetStorageIDs).code == Response.GeneralError
    camera.transaction -= 1
    assert camera.do(Operation.GetStorageIDs).ok


def test_deleting_pictures(camera: Initiator, root: Path) -> None:
    """A protected one stays although the answer is OK; ProtectionStatus tells which it is."""
    found = pictures(camera)
    assert {name: camera.info(handle).protection_status for name, handle in found.items()} == {
        "1.jpg": 0,
        "2.jpg": 1,
    }
    assert [delete(camera, handle) for handle in found.values()] == [Response.OK] * 2
    assert [path.name for path in (root / "DCIM").iterdir()] == ["2.jpg"]
    assert pictures(camera).keys() == {"2.jpg"}


def test_events_of_a_camera(camera: Initiator, root: Path) -> None:
    """What the host deletes isn't told, what the camera takes is."""
    found = pictures(camera)
    assert delete(camera, found["1.jpg"]) == Response.OK
    assert camera.events() == []
    (root / "DCIM" / "3.jpg").touch()
    assert [code for code, _ in camera.events()] == [Event.ObjectAdded]


def test_before_trust(connect: Connect, root: Path) -> None:
    """The storage is listed and neither described nor read, until the word `trusted`."""
    (root / "1.jpg").write_text("picture")
    phone = connect("as=camera&untrusted")
    assert phone.do(Operation.GetStorageIDs).data == b"\x01\0\0\0\x01\0\x01\0"
    assert phone.do(Operation.GetStorageInfo, INTERNAL).code == Response.StoreNotAvailable
    listing = phone.do(Operation.GetObjectHandles, INTERNAL, 0, ROOT_PARENT)
    assert listing.code == Response.StoreNotAvailable
    assert obey(phone.transport, "trusted") == "done: trusted"
    assert phone.do(Operation.GetStorageInfo, INTERNAL).ok
    assert phone.listing().keys() == {"1.jpg"}
    phone.transport.replug()
    phone.open()
    assert phone.do(Operation.GetStorageInfo, INTERNAL).ok
    assert obey(phone.transport, "untrusted") == "done: untrusted"
    assert phone.do(Operation.GetStorageInfo, INTERNAL).code == Response.StoreNotAvailable


# --- player


@pytest.fixture
def player(connect: Connect) -> Initiator:
    return connect("as=player")


def test_formats_that_a_player_does_not_know(player: Initiator) -> None:
    """Refused, if DeviceInfo doesn't list them: Undefined is such a one."""
    formats = device(player).playback_formats
    assert {Format.MP3, Format.WMA, Format.EXIF_JPEG, Format.Association} <= set(formats)
    assert Format.Undefined not in formats
    assert player.announce("notes", 1).code == Response.InvalidObjectFormatCode
    assert player.make_folder("Music").ok


def test_names_fold_and_dates_are_even(player: Initiator, root: Path) -> None:
    """FAT: another spelling is the same file, and time goes by twos."""
    (root / "song.mp3").write_text("old")
    info = ObjectInfo(
        object_format=Format.MP3,
        object_compressed_size=1,
        filename="SONG.mp3",
        modification_date="20240229T134501Z",
    )
    assert player.do(Operation.SendObjectInfo, INTERNAL, ROOT_PARENT, send=info.encode()).ok
    assert player.do(Operation.SendObject, send=b"x").ok
    assert (root / "song.mp3").read_text() == "x"
    assert (root / "song.mp3").stat().st_mtime % 2 == 0


def test_what_a_player_lacks(player: Initiator) -> None:
    """Editing, partial reads of 64 bits, moving, copying."""
    lacking = {0x95C1, 0x95C2, 0x95C3, 0x95C4, 0x95C5, 0x1019, 0x101A}
    assert not lacking & set(device(player).operations_supported)
    assert "android" not in device(player).vendor_extension_desc


# --- umtp


def test_properties_one_object_at_a_time(connect: Connect, root: Path) -> None:
    """Whatever the depth, a property list is about the object itself."""
    phone = connect("as=umtp")
    folder = phone.make_folder("folder").parameters[2]
    (root / "folder" / "file").touch()
    elements = phone.prop_list(folder, Property.ObjectFileName, depth=1)
    assert [element.value for element in elements] == ["folder"]
    answer = phone.do(Operation.GetObjectPropList, 0, 0, ALL, 0, 1)
    assert answer.code == Response.InvalidObjectHandle


def test_refused_before_and_after_the_data(connect: Connect) -> None:
    """An upload that was never announced: two answers, one before the data and one behind it."""
    phone = connect("as=umtp")
    phone.command(Operation.SendObject)
    assert phone.answer().code == Response.NoValidObjectInfo
    phone.data(Operation.SendObject, b"abc")
    assert phone.answer().code == Response.NoValidObjectInfo


def test_umtp_lies_about_a_full_disk(connect: Connect, root: Path) -> None:
    """Neither SendObjectInfo nor SendObject look at the space."""
    phone = connect("as=umtp&capacity=1000")
    assert send(phone, 5000).ok
    assert (root / "file").stat().st_size == 1000


def test_a_rename_may_give_another_handle(connect: Connect, root: Path) -> None:
    """At every second rename. Events tell of it, and what a folder holds has other handles, too."""
    phone = connect("as=umtp")
    folder = phone.make_folder("folder").parameters[2]
    (root / "folder" / "file").touch()
    inside = phone.listing(folder)["file"]
    assert phone.rename(folder, "second").ok
    assert phone.listing() == {"second": folder}
    phone.events()
    assert phone.rename(folder, "third").ok
    other = phone.listing()["third"]
    assert phone.events() == [(Event.ObjectRemoved, folder), (Event.ObjectAdded, other)]
    for handle in (folder, inside):
        assert phone.do(Operation.GetObjectInfo, handle).code == Response.InvalidObjectHandle
    assert list(phone.listing(other)) == ["file"]


def test_what_a_late_notice_costs_is_found_again(connect: Connect, root: Path) -> None:
    """What has a vacated name when the phone hears of that gets another handle, also if it was renamed to it."""
    phone = connect("as=umtp")
    for name in ("a", "b"):
        phone.upload(name, b"x")
    before = phone.listing()
    assert phone.rename(before["a"], "old").ok
    assert phone.rename(before["b"], "a").ok
    phone.get(Operation.GetStorageIDs)  # while it answers, it hears of all
    after = phone.listing()
    assert sorted(after) == ["a", "old"]
    assert after["a"] not in before.values()


# --- the price of a large directory


@pytest.mark.parametrize("siblings", [100, 2000])
@pytest.mark.parametrize("words", ["no-events", "no-events&case-insensitive", ""])
def test_uploads_do_not_read_the_directory_again(
    connect: Connect, root: Path, monkeypatch: pytest.MonkeyPatch, words: str, siblings: int
) -> None:
    """Our own changes are known. Whether there were others in between is looked up once, when there is rest."""
    for number in range(siblings):
        (root / f"{number}").touch()
    os.utime(root, (1, 1))  # long ago
    phone = connect(words)
    phone.handles()
    looks = 0
    scandir = os.scandir
    # The rest comes when this test says so, however slow the machine is.
    monkeypatch.setattr("mtpfs.virtual.store.SETTLED", 10**12)

    def count(path: str) -> object:
        nonlocal looks
        looks += 1
        return scandir(path)

    monkeypatch.setattr(os, "scandir", count)
    for number in range(200):
        phone.upload(f"new {number}", b"x")
        assert phone.transport.read_event(0) or words
        assert not phone.transport.read_event(0)
    assert looks == 0
    (root / "somebody else's").touch()
    assert "somebody else's" in phone.listing()


def test_a_change_in_the_shadow_of_our_own(connect: Connect, root: Path) -> None:
    """It has the same time stamp, and is told a moment later."""
    phone = connect("")
    phone.handles()
    phone.upload("ours", b"")
    stamp = root.lstat().st_mtime_ns
    (root / "another's").touch()
    os.utime(root, ns=(stamp, stamp))
    deadline = time.monotonic() + 10
    while not (events := phone.events()):
        assert time.monotonic() < deadline
    ((code, handle),) = events
    assert code == Event.ObjectAdded
    assert phone.info(handle).filename == "another's"


def test_many_folders_take_turns(connect: Connect, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look for changes is at no more than `FOLDERS_PER_POLL` of them, and none is left out."""
    for number in range(3 * FOLDERS_PER_POLL):
        (root / f"{number}").mkdir()
    phone = connect("")
    for handle in phone.handles():
        phone.handles(handle)
    while phone.events():
        pass
    for number in range(3 * FOLDERS_PER_POLL):
        (root / f"{number}/new").touch()
    looked_at: set[int] = set()
    scan = Store._scan

    def count(store: Store, folder: Node, **how: bool) -> None:
        looked_at.add(folder.handle)
        scan(store, folder, **how)

    monkeypatch.setattr(Store, "_scan", count)
    told = 0
    for _ in range(4):  # the storage's root has its turn, too
        looked_at.clear()
        phone.transport.responder.phone.poll()
        assert 0 < len(looked_at) <= FOLDERS_PER_POLL
        events = phone.transport.responder.phone.events
        told += len(events)
        events.clear()
    assert told == 3 * FOLDERS_PER_POLL


@pytest.mark.parametrize("name", ["theirs", "gone"])
def test_a_name_is_looked_at_before_it_is_given(connect: Connect, root: Path, name: str) -> None:
    """What the phone hasn't noticed yet counts all the same: a file of another program, and that one has gone."""
    (root / "gone").touch()
    phone = connect("no-events")
    phone.handles()
    (root / "gone").unlink()
    (root / "theirs").touch()
    answer = phone.announce(name, 0)
    assert answer.ok == (name == "gone")
