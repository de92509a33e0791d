"""What becomes of the objects that a crash has left in the middle of a change."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from mtpfs.device import Device
from mtpfs.errors import FsError
from mtpfs.protocol.codes import Operation, Response
from mtpfs.protocol.wire import MAX_STRING_UNITS, utf16_units
from mtpfs.session import open_session
from mtpfs.vfs import Filesystem
from mtpfs.vfs.remembered import RememberedDates
from mtpfs.vfs.settling import TRIES
from mtpfs.vfs.temporaries import Kind, Temporary, moving_name, parse, temporary_name
from mtpfs.virtual.faults import FOREVER, Fault
from mtpfs.virtual.faults import Kind as FaultKind
from mtpfs.virtual.transport import open_virtual
from vfs.world import Kernel, World, world

NAMES = st.text(st.characters(), min_size=1, max_size=300)


@given(kind=st.sampled_from([Kind.NEW, Kind.OLD, Kind.GONE]), name=NAMES, number=st.integers(0, 2**64 - 1))
def test_names_are_read_as_they_were_written(kind: Kind, name: str, number: int) -> None:
    """A temporary name fits everywhere and tells kind, number and name; of a long one whether it is that name."""
    temporary = temporary_name(kind, name, number)
    assert utf16_units(temporary) <= MAX_STRING_UNITS
    assert len(temporary.encode("utf-8", "surrogatepass")) <= MAX_STRING_UNITS
    left = parse(temporary)
    assert left is not None
    assert (left.kind, left.number) == (kind, number)
    assert left.means(name)
    assert not left.means(name + "x")
    assert left.name in {name, ""}


@given(name=NAMES)
def test_ordinary_names(name: str) -> None:
    """Nothing else is taken for a leftover."""
    assert parse(name) is None
    for near in (
        ".mtpfs-statistics",
        ".mtpfs-info",
        ".mtpfs-new-12345-0-x",
        ".mtpfs-other-123456-0-x",
        ".mtpfs-new-123456-0",
    ):
        assert parse(near) is None


NEW, OLD, GONE = ".mtpfs-new-000000-4-f", ".mtpfs-old-000000-4-f", ".mtpfs-gone-000000-0-f"
LAST, PART = ".mtpfs-last-000000-4-f", ".mtpfs-part-000000-0-f"
MOVE = "d/" + moving_name("g", "f", "d")


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ({NEW: "1234"}, {"f": "1234"}),
        ({NEW: "1234", "f": "old"}, {"f": "old"}),
        ({NEW: "12", "f": "old"}, {"f": "old"}),
        ({NEW: "12"}, {NEW: "12"}),
        ({OLD: "old"}, {"f": "old"}),
        ({OLD: "old", "f": "1234"}, {"f": "1234"}),
        ({OLD: "old", "f": "another"}, {OLD: "old", "f": "another"}),
        ({NEW: "1234", OLD: "old", "f": "12"}, {"f": "1234"}),
        ({NEW: "12", OLD: "old"}, {"f": "old"}),
        ({LAST: "1234"}, {"f": "1234"}),
        ({LAST: "1234", "f": "12"}, {"f": "1234"}),
        ({LAST: "1234", "f": "5678"}, {"f": "5678"}),
        ({LAST: "12", "f": "5678"}, {"f": "5678"}),
        ({LAST: "1234", "f/x": "y"}, {LAST: "1234", "f/x": "y"}),
        ({NEW: "1234", OLD: "old", "f/x": "y"}, {OLD: "old", "f/x": "y"}),
        ({PART: "12345", "f": "old"}, {"f": "old"}),
        ({PART: "12345"}, {PART: "12345"}),
        ({NEW: "1234", OLD: "old", GONE: "x"}, {"f": "1234"}),
        ({GONE: "x"}, {}),
        ({GONE: "x", "f": "y"}, {"f": "y"}),
        ({NEW: "1234", OLD: "old"}, {"f": "1234"}),
        ({MOVE: "1234"}, {"d/f": "1234"}),
        ({MOVE: "1234", f"d/{OLD}": "old", "d/g": "another"}, {"d/f": "1234", "d/g": "another"}),
        ({f"d/{OLD}": "old", MOVE: "1234"}, {"d/f": "1234"}),
        ({MOVE.removeprefix("d/"): "1234"}, {"g": "1234"}),
        ({MOVE: "1234", "d/f": "taken"}, {MOVE: "1234", "d/f": "taken"}),
        ({".mtpfs-new-000000-4=0123456789abcdef": "1234"}, {".mtpfs-new-000000-4=0123456789abcdef": "1234"}),
        ({f"{GONE}/precious": "x"}, {f"{GONE}/precious": "x"}),
    ],
)
async def test_settling(tmp_path: Path, before: dict[str, str], expected: dict[str, str]) -> None:
    """Every combination ends with whole contents under their name, and what isn't certain is kept and shown."""
    for path, data in before.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(data)
    async with world(tmp_path) as w:
        directories = [w.root, *(node for node in await w.fs.entries(w.root) if node.is_folder)]
        shown = {
            "/".join(filter(None, (directory.device_path, node.object_name))): node
            for directory in directories
            for node in await w.fs.entries(directory)
            if not node.is_folder
        }
        assert {path: (await w.get(node)).decode() for path, node in shown.items()} == expected
        before_again = w.operations.copy()
        w.fs.tree.expire()
        await w.names()
        assert w.operations.get("SetObjectPropValue") == before_again.get("SetObjectPropValue")
        assert w.operations.get("DeleteObject") == before_again.get("DeleteObject")
    found = {
        str(path.relative_to(tmp_path)): path.read_text() for path in tmp_path.rglob("*") if path.is_file()
    }
    assert found == expected


@pytest.mark.parametrize(
    ("before", "skip"),
    [
        ({NEW: "1234"}, 0),
        ({NEW: "1234", "f": "5678"}, 1),
        ({LAST: "1234"}, 0),
        ({LAST: "1234", "f": "5678"}, 1),
        ({OLD: "old", "f": "1234"}, 0),
    ],
)
async def test_end_that_cannot_be_read(tmp_path: Path, before: dict[str, str], skip: int) -> None:
    """A size is what a device was promised. While the last byte of a copy can't be read, the other one stays."""
    for name, data in before.items():
        (tmp_path / name).write_text(data)
    async with world(tmp_path) as w:
        w.transport.faults.add(Fault(FaultKind.REFUSE, Operation.GetPartialObject64, skip=skip))
        assert sorted(await w.names()) == sorted(os.fsencode(name) for name in before)
        assert not w.transport.faults.pending
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("numbers", [("000000", "000001"), ("000001", "000000")])
async def test_two_old_ones(tmp_path: Path, numbers: tuple[str, str]) -> None:
    """Of several that were put aside the youngest is what the file was last."""
    async with world(tmp_path) as w:
        for number, data in zip(numbers, ("1234", "5678"), strict=True):
            (tmp_path / OLD.replace("000000", number)).write_text(data)
            await w.fs.tree.look(w.root)  # the phone numbers it
        w.fs.tree.expire()
        assert await w.names() == [b"f"]
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"f": "5678"}


async def test_read_only(tmp_path: Path) -> None:
    """A read-only mount, and a storage that can't be written to, show what is there and touch nothing."""
    (tmp_path / NEW).write_text("1234")
    for words, read_only in (("", True), ("read-only", False)):
        async with (
            open_session(open_virtual(f"{tmp_path}?{words}")) as session,
            trio.open_nursery() as nursery,
        ):
            fs = Filesystem(Device(session), nursery, Kernel(), RememberedDates(), read_only=read_only)
            (storage,) = await fs.entries(fs.tree.root)
            assert [node.name for node in await fs.entries(storage)] == [NEW.encode()]
        assert os.listdir(tmp_path) == [NEW]


@pytest.mark.parametrize("operation", [Operation.DeleteObject, Operation.SetObjectPropValue])
async def test_settling_that_fails(
    tmp_path: Path, operation: Operation, caplog: pytest.LogCaptureFixture
) -> None:
    """A listing comes whatever goes wrong with what was left, which is tried a few times and reported once."""
    (tmp_path / GONE).write_text("gone")
    (tmp_path / NEW).write_text("1234")
    (tmp_path / "other").touch()
    async with world(tmp_path) as w:
        w.transport.faults.add(Fault(FaultKind.REFUSE, operation, times=FOREVER))
        if operation is Operation.SetObjectPropValue:  # then it would be sent under its name
            w.transport.faults.add(Fault(FaultKind.REFUSE, Operation.SendObjectInfo, times=FOREVER))
        with caplog.at_level(logging.WARNING, "mtpfs.vfs.settling"):
            names = await w.names()
            for _ in range(5):
                assert await w.names() == names
            listed = w.fs.tree.listings_fetched
            assert await w.names() == names
            assert w.fs.tree.listings_fetched == listed  # what is hopeless is no reason to list anew
            for _ in range(2):
                w.fs.tree.expire()
                assert await w.names() == names
        assert w.operations[operation.name] == TRIES
        assert b"other" in names
        assert (NEW.encode() in names) == (operation is Operation.SetObjectPropValue)
        assert GONE.encode() not in names
        assert len(caplog.records) == 2


@pytest.mark.parametrize(
    ("fault", "times"),
    [
        (Fault(FaultKind.SILENCE, Operation.SetObjectPropValue), 1),
        (Fault(FaultKind.REFUSE, Operation.SetObjectPropValue, code=Response.GeneralError), TRIES - 1),
        (Fault(FaultKind.REFUSE, Operation.SetObjectPropValue, code=Response.InvalidObjectHandle), 5),
    ],
)
async def test_settling_that_breaks_off(tmp_path: Path, fault: Fault, times: int) -> None:
    """When the device is silent, locked or unwilling while a leftover is settled, the next look settles it."""
    (tmp_path / NEW).write_text("1234")
    async with world(tmp_path) as w:
        w.transport.faults.add(replace(fault, times=times))
        w.transport.faults.add(Fault(FaultKind.REFUSE, Operation.SendObjectInfo, times=times))
        for _ in range(times):
            assert await w.names() == [NEW.encode()]
        assert await w.names() == [b"f"]
        listings = w.operations["GetObjectHandles"]
        assert await w.names() == [b"f"]
        assert w.operations["GetObjectHandles"] == listings
    assert os.listdir(tmp_path) == ["f"]


async def test_name_that_is_refused(tmp_path: Path) -> None:
    """Where the device doesn't rename, the contents are sent under their name."""
    (tmp_path / NEW).write_text("1234")
    async with world(tmp_path) as w:
        w.transport.faults.add(Fault(FaultKind.REFUSE, Operation.SetObjectPropValue, times=FOREVER))
        assert await w.names() == [b"f"]
        assert await w.get(await w.fs.lookup(w.root, b"f")) == b"1234"
    assert os.listdir(tmp_path) == ["f"]


async def test_folder_that_cannot_be_looked_into(tmp_path: Path) -> None:
    """Whether a folder is empty and may go is asked again when there was no answer."""
    old = ".mtpfs-old-000000-0-f"
    for name in (old, "f"):
        (tmp_path / name).mkdir()
    async with world(tmp_path) as w:
        w.transport.faults.add(Fault(FaultKind.REFUSE, Operation.GetObjectHandles, skip=1))
        assert await w.names() == [old.encode(), b"f"]
        assert await w.names() == [b"f"]
    assert os.listdir(tmp_path) == ["f"]


async def test_what_is_in_use_is_left_alone(tmp_path: Path) -> None:
    """A file that this mount has deleted while it is open isn't a leftover, however often the directory is listed."""
    (tmp_path / "f").write_bytes(b"contents")
    async with world(tmp_path) as w:
        opened = await w.open(b"f", write=False)
        await w.fs.unlink(w.root, b"f")
        (hidden,) = os.listdir(tmp_path)
        left = parse(hidden)
        assert left is not None
        assert (left.kind, left.name) == (Kind.GONE, "f")
        for _ in range(3):
            w.fs.tree.expire()
            assert await w.names() == []
        assert await w.fs.read(opened, 0, 100) == b"contents"
        await w.fs.release(opened)
    assert os.listdir(tmp_path) == []


async def test_replaced_while_open(tmp_path: Path) -> None:
    """A file that was replaced while open is called deleted, so that a crash can't bring it back."""
    (tmp_path / "f").write_bytes(b"old")
    (tmp_path / "g").write_bytes(b"newer")
    async with world(tmp_path) as w:
        opened = await w.open(b"f", write=False)
        await w.fs.rename(w.root, b"g", w.root, b"f")
        assert {left.kind if (left := parse(name)) else name for name in os.listdir(tmp_path)} == {
            Kind.GONE,
            "f",
        }
        assert await w.fs.read(opened, 0, 100) == b"old"
        await w.fs.release(opened)
    assert os.listdir(tmp_path) == ["f"]


async def test_reserved_names(tmp_path: Path) -> None:
    """Nobody can make an entry that the next listing would delete."""
    async with world(tmp_path) as w:
        await w.put(b"f", b"x")
        for attempt in (
            w.fs.create(w.root, GONE.encode()),
            w.fs.mkdir(w.root, NEW.encode()),
            w.fs.rename(w.root, b"f", w.root, GONE.encode()),
        ):
            with pytest.raises(FsError) as caught:
                await attempt
            assert caught.value.errno == errno.EINVAL
        assert await w.names() == [b"f"]


async def test_case_counts_where_it_counts(tmp_path: Path) -> None:
    """Contents aren't given back a name that would destroy another file on a device that ignores case."""
    (tmp_path / NEW).write_text("1234")
    (tmp_path / "F").write_text("another")
    async with world(tmp_path, "case-insensitive") as w:
        assert sorted(await w.names()) == [NEW.encode(), b"F"]
    assert (tmp_path / "F").read_text() == "another"


@pytest.mark.parametrize(
    ("words", "expected"),
    [("", {"F": "1234", "f": "another"}), ("case-insensitive", {NEW[:-1] + "F": "1234", "f": "another"})],
)
async def test_case_of_what_is_restored(tmp_path: Path, words: str, expected: dict[str, str]) -> None:
    """A name that differs in case is another one, where the device tells them apart."""
    (tmp_path / (NEW[:-1] + "F")).write_text("1234")
    (tmp_path / "f").write_text("another")
    async with world(tmp_path, words) as w:
        (storage,) = await w.fs.device.storages()
        w.fs.device.learned_folding(storage.id, folds=bool(words))
        w.fs.tree.expire()
        assert sorted(await w.names()) == sorted(os.fsencode(name) for name in expected)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == expected


@pytest.mark.parametrize(
    ("leftover", "claimed", "restored"),
    [
        (NEW, "f", "f"),
        (OLD, "f", "f"),
        (OLD, OLD, "f"),
        (moving_name("g", "f", "d"), "g", "g"),
        (moving_name("g", "f", ""), "f", "f"),
        (GONE, GONE, ""),
    ],
    ids=["new", "old", "old itself", "move elsewhere", "move to here", "gone"],
)
async def test_where_a_change_is_at_work(tmp_path: Path, leftover: str, claimed: str, restored: str) -> None:
    """What another change may need is neither settled nor shown, and the next look after that change settles it."""
    (tmp_path / leftover).write_text("1234")
    (tmp_path / "other").touch()
    async with world(tmp_path) as w:
        async with w.claims.claim((w.root, claimed)):
            assert await w.names() == [b"other"]
            assert sorted(os.listdir(tmp_path)) == sorted([leftover, "other"])
        if claimed == leftover:  # that change would have told what became of it
            w.fs.tree.expire()
        assert sorted(await w.names()) == sorted(filter(None, [os.fsencode(restored), b"other"]))
    assert sorted(os.listdir(tmp_path)) == sorted(filter(None, [restored, "other"]))


async def test_deleted_beside_a_change(tmp_path: Path) -> None:
    """What a program has asked to be deleted waits for no change of the same name."""
    (tmp_path / GONE).write_text("1234")
    async with world(tmp_path) as w, w.claims.claim((w.root, "f")):
        assert await w.names() == []
        assert os.listdir(tmp_path) == []


def test_leftover_of_a_long_name() -> None:
    """Of a long name only a digest is kept, which is enough to know it again."""
    name = "n" * 250
    left = parse(temporary_name(Kind.NEW, name, 7))
    assert isinstance(left, Temporary)
    assert (left.name, left.number) == ("", 7)
    assert left.means(name)


async def replaced_by_writing(w: World) -> None:
    await w.put(b"f", b"second")


async def replaced_by_rename(w: World) -> None:
    await w.fs.rename(w.root, b"g", w.root, b"f")


@pytest.mark.parametrize("replaced", [replaced_by_writing, replaced_by_rename])
@pytest.mark.parametrize("moved", [False, True])
async def test_what_was_replaced_does_not_come_back(
    tmp_path: Path, replaced: Callable[[World], Awaitable[None]], *, moved: bool
) -> None:
    """A file that was replaced, and couldn't be deleted, is deleted later, even if its name is free by then."""
    async with world(tmp_path, "no-edit&no-events") as w:
        await w.put(b"f", b"first")
        await w.put(b"g", b"another")
        # The second one is for the listing before the next change.
        w.transport.faults.add(
            Fault(FaultKind.REFUSE, Operation.DeleteObject, code=Response.AccessDenied, times=2)
        )
        await replaced(w)
        assert b"first" in {path.read_bytes() for path in tmp_path.iterdir()}
        if moved:
            await w.fs.rename(w.root, b"f", w.root, b"h")
        else:
            await w.fs.unlink(w.root, b"f")
        w.root.distrust()
        assert b"f" not in await w.names()
        assert b"first" not in {path.read_bytes() for path in tmp_path.iterdir()}
