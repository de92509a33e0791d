"""Handles, ObjectInfo and properties."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mtpfs.protocol.codes import ALL, ROOT_PARENT, DataType, Format, Operation, Property, Response
from mtpfs.protocol.datasets import SIZE_UNKNOWN, PropertyDescription, decode_property_list
from mtpfs.protocol.dates import encode_local_date
from mtpfs.protocol.wire import decode_integers, decode_value
from virtual.conftest import Connect
from virtual.initiator import CARD, INTERNAL

MOMENT = 1_700_000_001


@pytest.fixture
def tree(root: Path) -> Path:
    """DCIM/a.jpg, DCIM/Camera/b.mp4, notes.txt, all of the same time."""
    (root / "DCIM" / "Camera").mkdir(parents=True)
    (root / "DCIM" / "a.jpg").write_bytes(b"jpeg")
    (root / "DCIM" / "Camera" / "b.mp4").write_bytes(b"video")
    (root / "notes.txt").write_bytes(b"hello world")
    for path in [*root.rglob("*")]:
        os.utime(path, (MOMENT, MOMENT))
    return root


@pytest.mark.usefixtures("tree")
def test_parents(connect: Connect) -> None:
    """FFFFFFFF is the root, 0 is everything, a handle is a folder."""
    phone = connect()
    top = phone.listing()
    assert set(top) == {"DCIM", "notes.txt"}
    inside = phone.listing(top["DCIM"])
    assert set(inside) == {"a.jpg", "Camera"}
    everything = phone.handles(0)
    assert len(everything) == 5
    assert set(everything) >= {*top.values(), *inside.values()}
    assert phone.do(Operation.GetNumObjects, INTERNAL, 0, 0).parameters == (5,)
    assert phone.do(Operation.GetNumObjects, INTERNAL, 0, ROOT_PARENT).parameters == (2,)


@pytest.mark.usefixtures("tree")
def test_by_format(connect: Connect) -> None:
    phone = connect()
    assert phone.handles(object_format=Format.Association) == [phone.listing()["DCIM"]]
    assert len(phone.handles(0, object_format=Format.Association)) == 2


@pytest.mark.usefixtures("tree")
@pytest.mark.parametrize(
    ("storage", "parent", "code"),
    [
        (CARD, ROOT_PARENT, Response.InvalidStorageID),
        (INTERNAL, 999, Response.InvalidObjectHandle),
    ],
)
def test_wrong_places(connect: Connect, storage: int, parent: int, code: int) -> None:
    assert connect().do(Operation.GetObjectHandles, storage, 0, parent).code == code


@pytest.mark.usefixtures("tree")
def test_a_file_has_no_children(connect: Connect) -> None:
    phone = connect()
    file = phone.listing()["notes.txt"]
    assert phone.do(Operation.GetObjectHandles, INTERNAL, 0, file).code == Response.InvalidObjectHandle


@pytest.mark.usefixtures("tree")
def test_object_info(connect: Connect) -> None:
    """Root children have parent 0; dates are local time without a zone; folders have size 0."""
    phone = connect()
    top = phone.listing()
    info = phone.info(top["notes.txt"])
    assert (info.storage_id, info.parent_object, info.object_format) == (INTERNAL, 0, Format.Text)
    assert info.object_compressed_size == 11
    assert info.modification_date == info.capture_date == encode_local_date(MOMENT)
    folder = phone.info(top["DCIM"])
    assert (folder.object_format, folder.association_type) == (Format.Association, 0)
    assert folder.object_compressed_size == 0
    assert phone.info(phone.listing(top["DCIM"])["a.jpg"]).parent_object == top["DCIM"]


def test_formats_follow_the_name(connect: Connect, root: Path) -> None:
    names = {
        "a.JPG": Format.EXIF_JPEG,
        "b.unknown": Format.Undefined,
        "c": Format.Undefined,
        ".mp3": Format.MP3,
    }
    for name in names:
        (root / name).touch()
    phone = connect()
    assert {name: phone.info(handle).object_format for name, handle in phone.listing().items()} == names


def test_files_of_4_gib_and_more(connect: Connect, root: Path) -> None:
    """ObjectInfo gives up, the property tells; the last size that fits is ambiguous."""
    size = (4 << 30) + 5
    with (root / "big").open("wb") as file:
        file.truncate(size)
    phone = connect()
    (handle,) = phone.handles()
    assert phone.info(handle).object_compressed_size == SIZE_UNKNOWN
    data = phone.get(Operation.GetObjectPropValue, handle, Property.ObjectSize)
    assert decode_value(DataType.UINT64, data) == size


def test_wide_object_info(connect: Connect, root: Path) -> None:
    """Samsung's variant says the size."""
    size = (4 << 30) + 5
    with (root / "big").open("wb") as file:
        file.truncate(size)
    phone = connect("wide-object-info")
    info = phone.info(phone.handles()[0])
    assert (info.wide, info.object_compressed_size, info.filename) == (True, size, "big")


def test_samsung_dates(connect: Connect, root: Path) -> None:
    (root / "a").touch()
    phone = connect("samsung")
    assert phone.info(phone.handles()[0]).modification_date.endswith(".")


def test_changes_on_the_phone_appear_at_the_next_listing(connect: Connect, root: Path) -> None:
    """And what stays keeps its handle; a handle is never used twice."""
    (root / "stays").touch()
    (root / "goes").touch()
    phone = connect()
    before = phone.listing()
    (root / "goes").unlink()
    (root / "comes").touch()
    after = phone.listing()
    assert set(after) == {"stays", "comes"}
    assert after["stays"] == before["stays"]
    assert after["comes"] > max(before.values())
    assert phone.do(Operation.GetObjectInfo, before["goes"]).code == Response.InvalidObjectHandle


def test_an_object_that_vanished_since(connect: Connect, root: Path) -> None:
    """No listing is needed for its handle to end."""
    (root / "a").touch()
    phone = connect()
    (handle,) = phone.handles()
    (root / "a").unlink()
    assert phone.do(Operation.GetObjectInfo, handle).code == Response.InvalidObjectHandle
    (root / "a").touch()
    assert phone.do(Operation.GetObjectInfo, handle).code == Response.InvalidObjectHandle


def test_a_file_that_became_a_folder(connect: Connect, root: Path) -> None:
    (root / "a").touch()
    phone = connect()
    (before,) = phone.handles()
    (root / "a").unlink()
    (root / "a").mkdir()
    (after,) = phone.handles()
    assert after != before
    assert phone.info(after).object_format == Format.Association


def test_nothing_outside_is_shown(connect: Connect, root: Path, tmp_path: Path) -> None:
    """No symbolic links, neither to files nor to directories, and no pipes."""
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "key").write_text("secret")
    (root / "link").symlink_to(tmp_path / "secret")
    (root / "file").symlink_to(tmp_path / "secret" / "key")
    os.mkfifo(root / "pipe")
    assert connect().handles(0) == []


def test_a_folder_replaced_by_a_link_leads_nowhere(connect: Connect, root: Path, tmp_path: Path) -> None:
    """Even with handles from before."""
    (root / "folder").mkdir()
    (root / "folder" / "key").write_text("mine")
    phone = connect()
    folder = phone.listing()["folder"]
    key = phone.listing(folder)["key"]
    (root / "folder").rename(tmp_path / "elsewhere")
    (root / "folder").symlink_to(tmp_path / "elsewhere")
    assert not phone.do(Operation.GetObject, key).ok
    assert not phone.do(Operation.GetObjectHandles, INTERNAL, 0, folder).ok
    assert not phone.announce("new", 0, parent=folder).ok
    assert not phone.do(Operation.DeleteObject, key).ok
    assert (tmp_path / "elsewhere" / "key").read_text() == "mine"


def test_names_that_are_not_unicode(connect: Connect, root: Path) -> None:
    """They come as lone surrogates, and go back."""
    (root / os.fsdecode(b"caf\xe9")).touch()
    phone = connect()
    (handle,) = phone.handles()
    name = phone.info(handle).filename
    assert os.fsencode(name) == b"caf\xe9"
    assert phone.rename(handle, name + "2").ok
    assert [os.fsencode(path.name) for path in root.iterdir()] == [b"caf\xe92"]


def test_names_that_are_too_long(connect: Connect, root: Path) -> None:
    """255 ASCII characters are one more than MTP can say: Android clips."""
    (root / ("x" * 255)).touch()
    phone = connect()
    assert phone.info(phone.handles()[0]).filename == "x" * 254


# --- property lists


@pytest.mark.usefixtures("tree")
def test_depth_0_is_the_object(connect: Connect) -> None:
    phone = connect()
    file = phone.listing()["notes.txt"]
    (element,) = phone.prop_list(file, Property.ObjectFileName)
    assert (element.handle, element.data_type, element.value) == (file, DataType.STR, "notes.txt")


@pytest.mark.usefixtures("tree")
def test_depth_1_is_the_children_and_then_the_folder(connect: Connect) -> None:
    """The folder itself comes last."""
    phone = connect()
    folder = phone.listing()["DCIM"]
    elements = phone.prop_list(folder, Property.ObjectFileName, depth=1)
    assert [element.handle for element in elements[:-1]] == phone.handles(folder)
    assert (elements[-1].handle, elements[-1].value) == (folder, "DCIM")


@pytest.mark.usefixtures("tree")
@pytest.mark.parametrize("depth", [0, 1])
def test_handle_0_is_the_roots_children(connect: Connect, depth: int) -> None:
    phone = connect()
    elements = phone.prop_list(0, Property.ObjectFileName, depth=depth)
    assert {element.handle for element in elements} == set(phone.handles())


@pytest.mark.usefixtures("tree")
def test_everything_at_once(connect: Connect) -> None:
    """Depth FFFFFFFF from the root."""
    elements = connect().prop_list(0, Property.ObjectSize, depth=ALL)
    assert len(elements) == 5
    assert sorted(element.value for element in elements if isinstance(element.value, int)) == [0, 0, 4, 5, 11]


@pytest.mark.usefixtures("tree")
def test_all_properties(connect: Connect) -> None:
    """As many as GetObjectPropsSupported lists, each with a value."""
    phone = connect()
    supported = decode_integers(phone.get(Operation.GetObjectPropsSupported, Format.Text), 2)
    elements = phone.prop_list(phone.listing()["notes.txt"], ALL)
    assert tuple(element.property_code for element in elements) == supported
    values = {element.property_code: element.value for element in elements}
    assert None not in values.values()
    assert values[Property.ObjectSize] == 11
    assert values[Property.DateModified] == encode_local_date(MOMENT)
    assert values[Property.Name] == values[Property.DisplayName] == "notes.txt"


@pytest.mark.usefixtures("tree")
def test_properties_by_format(connect: Connect) -> None:
    phone = connect()
    elements = phone.prop_list(0, Property.ObjectFileName, depth=1, object_format=Format.Text)
    assert [element.value for element in elements] == ["notes.txt"]


@pytest.mark.usefixtures("tree")
def test_unknown_property_in_a_list(connect: Connect) -> None:
    """Type UNDEF, no value bytes, no error."""
    phone = connect()
    (element,) = phone.prop_list(phone.handles()[0], 0xDCFF)
    assert (element.data_type, element.value) == (DataType.UNDEF, None)


@pytest.mark.usefixtures("tree")
@pytest.mark.parametrize(
    ("handle", "code", "group", "depth", "expected"),
    [
        (0, 0, 0, 1, Response.ParameterNotSupported),
        (0, 0, 2, 1, Response.SpecificationByGroupUnsupported),
        (0, ALL, 0, 2, Response.SpecificationByDepthUnsupported),
        (1, ALL, 0, ALL, Response.SpecificationByDepthUnsupported),
        (999, ALL, 0, 1, Response.InvalidObjectHandle),
    ],
)
def test_refused_property_lists(
    connect: Connect, handle: int, code: int, group: int, depth: int, expected: int
) -> None:
    """A data phase with a count of zero comes before the error."""
    phone = connect()
    phone.handles()
    answer = phone.do(Operation.GetObjectPropList, handle, 0, code, group, depth)
    assert answer.code == expected
    assert answer.data is not None
    assert list(decode_property_list(answer.data)) == []


@pytest.mark.usefixtures("tree")
def test_property_values(connect: Connect) -> None:
    phone = connect()
    file = phone.listing()["notes.txt"]
    data = phone.get(Operation.GetObjectPropValue, file, Property.ObjectFileName)
    assert decode_value(DataType.STR, data) == "notes.txt"
    assert phone.do(Operation.GetObjectPropValue, file, 0xDCFF).code == Response.InvalidObjectPropFormat
    assert phone.do(Operation.GetObjectPropValue, 99, 0xDC07).code == Response.InvalidObjectHandle


def test_property_descriptions(connect: Connect) -> None:
    """Only the file name can be written; sizes have 64 bits."""
    phone = connect()
    descriptions = {
        code: PropertyDescription.decode(phone.get(Operation.GetObjectPropDesc, code, Format.Text))
        for code in decode_integers(phone.get(Operation.GetObjectPropsSupported, Format.Text), 2)
    }
    assert [code for code, description in descriptions.items() if description.writable] == [0xDC07]
    assert descriptions[Property.ObjectSize].data_type == DataType.UINT64
    assert descriptions[Property.DateModified].form_flag == 3
    answer = phone.do(Operation.GetObjectPropDesc, Property.Artist, Format.Text)
    assert answer.code == Response.ObjectPropNotSupported
