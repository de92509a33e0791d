"""Delete, rename, move, copy."""

from __future__ import annotations

from pathlib import Path

import pytest

from mtpfs.protocol.codes import ROOT_PARENT, Operation, Property, Response
from virtual.conftest import Connect
from virtual.initiator import CARD, INTERNAL


@pytest.fixture
def tree(root: Path) -> Path:
    (root / "folder" / "inner").mkdir(parents=True)
    (root / "folder" / "inner" / "deep").write_text("deep")
    (root / "folder" / "file").write_text("inside")
    (root / "file").write_text("outside")
    (root / "other").mkdir()
    return root


# --- delete


def test_delete(connect: Connect, tree: Path) -> None:
    phone = connect("ghost=0")
    handle = phone.listing()["file"]
    assert phone.do(Operation.DeleteObject, handle).ok
    assert not (tree / "file").exists()
    assert phone.do(Operation.DeleteObject, handle).code == Response.InvalidObjectHandle


def test_delete_is_recursive(connect: Connect, tree: Path) -> None:
    """All handles below end with it."""
    phone = connect("ghost=0")
    folder = phone.listing()["folder"]
    inside = phone.listing(folder)
    assert phone.do(Operation.DeleteObject, folder, 0).ok
    assert not (tree / "folder").exists()
    for handle in inside.values():
        assert phone.do(Operation.GetObjectInfo, handle).code == Response.InvalidObjectHandle


@pytest.mark.usefixtures("tree")
@pytest.mark.parametrize("handle", [0, 0xFFFFFFFF, 999])
def test_delete_nothing(connect: Connect, handle: int) -> None:
    """Not even "everything" is something that AOSP deletes."""
    phone = connect()
    assert phone.do(Operation.DeleteObject, handle).code == Response.InvalidObjectHandle


def test_delete_that_fails(connect: Connect, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PartialDeletion, and the object is still there."""
    phone = connect()
    handle = phone.listing()["file"]

    def refuse(self: Path, missing_ok: bool = False) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "unlink", refuse)
    assert phone.do(Operation.DeleteObject, handle).code == Response.PartialDeletion
    assert phone.info(handle).filename == "file"


# --- rename


def test_rename(connect: Connect, tree: Path) -> None:
    """Handle and content stay."""
    phone = connect()
    handle = phone.listing()["file"]
    assert phone.rename(handle, "new name.txt").ok
    assert not (tree / "file").exists()
    assert (tree / "new name.txt").read_text() == "outside"
    assert phone.listing()["new name.txt"] == handle


def test_rename_a_folder(connect: Connect, tree: Path) -> None:
    """What is inside keeps its handles."""
    phone = connect()
    folder = phone.listing()["folder"]
    file = phone.listing(folder)["file"]
    assert phone.rename(folder, "renamed").ok
    assert phone.get(Operation.GetObject, file) == b"inside"
    assert (tree / "renamed" / "file").exists()


@pytest.mark.parametrize("name", ["other", "file", "", ".", "..", "a/b", "../up", "\ud800"])
def test_refused_names(connect: Connect, tree: Path, name: str) -> None:
    """Existing ones (there is no replacing) and impossible ones."""
    phone = connect()
    handle = phone.listing()["file"]
    assert phone.rename(handle, name).code == Response.GeneralError
    assert (tree / "file").read_text() == "outside"
    assert phone.info(handle).filename == "file"


def test_rename_to_another_case(connect: Connect, tree: Path) -> None:
    """Also where the storage takes both for the same."""
    phone = connect("case-insensitive")
    handle = phone.listing()["file"]
    assert phone.rename(handle, "File").ok
    assert phone.listing()["File"] == handle
    assert (tree / "File").read_text() == "outside"


@pytest.mark.usefixtures("tree")
@pytest.mark.parametrize("code", [Property.DateModified, Property.ObjectSize, Property.Name, 0xDCFF])
def test_only_the_name_can_be_set(connect: Connect, code: int) -> None:
    phone = connect()
    handle = phone.listing()["file"]
    answer = phone.do(Operation.SetObjectPropValue, handle, code, send=b"\0")
    assert answer.code == Response.ObjectPropNotSupported


@pytest.mark.usefixtures("tree")
def test_rename_what_is_not_there(connect: Connect) -> None:
    assert connect().rename(999, "x").code == Response.InvalidObjectHandle


# --- move and copy


def test_move(connect: Connect, tree: Path) -> None:
    """To a folder and back to the root, which is 0 here; the handle stays."""
    phone = connect("ghost=0")
    top = phone.listing()
    assert phone.do(Operation.MoveObject, top["file"], INTERNAL, top["other"]).ok
    assert (tree / "other" / "file").read_text() == "outside"
    assert phone.listing(top["other"]) == {"file": top["file"]}
    assert phone.info(top["file"]).parent_object == top["other"]
    assert phone.do(Operation.MoveObject, top["file"], INTERNAL, 0).ok
    assert (tree / "file").read_text() == "outside"


def test_move_a_folder(connect: Connect, tree: Path) -> None:
    phone = connect()
    top = phone.listing()
    inside = phone.listing(top["folder"])
    assert phone.do(Operation.MoveObject, top["folder"], INTERNAL, top["other"]).ok
    assert phone.get(Operation.GetObject, inside["file"]) == b"inside"
    assert (tree / "other" / "folder" / "inner" / "deep").exists()


@pytest.mark.parametrize("operation", [Operation.MoveObject, Operation.CopyObject])
def test_refused_destinations(connect: Connect, tree: Path, operation: int) -> None:
    """FFFFFFFF isn't the root here; names aren't replaced; files aren't folders; a folder isn't its own."""
    phone = connect()
    top = phone.listing()
    inner = phone.listing(top["folder"])["inner"]
    for handle, storage, parent, code in (
        (top["file"], INTERNAL, ROOT_PARENT, Response.InvalidObjectHandle),
        (top["file"], INTERNAL, 999, Response.InvalidObjectHandle),
        (999, INTERNAL, 0, Response.InvalidObjectHandle),
        (top["file"], CARD, 0, Response.InvalidStorageID),
        (top["folder"], INTERNAL, top["file"], Response.InvalidParentObject),
        (top["file"], INTERNAL, top["folder"], Response.GeneralError),
        (top["file"], INTERNAL, 0, Response.GeneralError),
        (top["folder"], INTERNAL, inner, Response.GeneralError),
    ):
        assert phone.do(operation, handle, storage, parent).code == code
    assert (tree / "folder" / "file").read_text() == "inside"
    assert (tree / "folder" / "inner" / "deep").read_text() == "deep"


def test_move_to_the_card(connect: Connect, root: Path) -> None:
    """Copied and deleted by the phone; the handles stay."""
    phone = connect("storages=2")
    internal, card = root / "Internal shared storage", root / "SD card"
    (internal / "folder").mkdir()
    (internal / "folder" / "file").write_text("inside")
    (internal / "single").write_text("single")
    top = phone.listing()
    file = phone.listing(top["folder"])["file"]
    assert phone.do(Operation.MoveObject, top["folder"], CARD, 0).ok
    assert phone.do(Operation.MoveObject, top["single"], CARD, top["folder"]).ok
    assert list(internal.iterdir()) == []
    assert (card / "folder" / "single").read_text() == "single"
    assert phone.info(file).storage_id == CARD
    assert phone.get(Operation.GetObject, file) == b"inside"


def test_copy(connect: Connect, tree: Path) -> None:
    """A new handle, and two files."""
    phone = connect()
    top = phone.listing()
    answer = phone.do(Operation.CopyObject, top["file"], INTERNAL, top["other"])
    assert answer.ok
    (copy,) = answer.parameters
    assert copy not in top.values()
    assert phone.listing(top["other"]) == {"file": copy}
    assert (tree / "other" / "file").read_text() == (tree / "file").read_text() == "outside"


def test_copy_a_folder(connect: Connect, tree: Path) -> None:
    """Recursive, links excepted."""
    phone = connect()
    top = phone.listing()
    answer = phone.do(Operation.CopyObject, top["folder"], INTERNAL, top["other"])
    assert (tree / "other" / "folder" / "inner" / "deep").read_text() == "deep"
    assert set(phone.listing(answer.parameters[0])) == {"file", "inner"}


def test_copy_more_than_fits(connect: Connect, root: Path) -> None:
    (root / "file").write_bytes(bytes(600))
    phone = connect("capacity=1000")
    folder = phone.make_folder("folder").parameters[2]
    answer = phone.do(Operation.CopyObject, phone.listing()["file"], INTERNAL, folder)
    assert answer.code == Response.StoreFull
