"""What the phone tells unasked."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from mtpfs.protocol.codes import Event, Operation
from mtpfs.protocol.containers import decode_event
from virtual.conftest import Connect
from virtual.initiator import Initiator


@pytest.fixture
def phone(connect: Connect, root: Path) -> Initiator:
    """With its root listed: folder (1 or 2) and file."""
    (root / "folder").mkdir()
    (root / "file").write_text("content")
    phone = connect()
    phone.handles()
    phone.events()
    return phone


def test_own_uploads_echo(phone: Initiator) -> None:
    """ObjectInfoChanged for every file that isn't empty; folders, deletions and renames are silent."""
    full = phone.upload("full", b"x")
    phone.upload("empty", b"")
    phone.make_folder("new")
    assert phone.rename(full, "renamed").ok
    assert phone.events() == [(Event.ObjectInfoChanged, full)]
    assert phone.do(Operation.DeleteObject, full).ok
    assert phone.events() == []


def test_edits_echo_at_their_end(phone: Initiator) -> None:
    file = phone.listing()["file"]
    assert phone.do(Operation.BeginEditObject, file).ok
    assert phone.edit(file, 0, b"x").ok
    assert phone.events() == []
    assert phone.do(Operation.EndEditObject, file).ok
    assert phone.events() == [(Event.ObjectInfoChanged, file)]


def test_copies_echo(phone: Initiator) -> None:
    top = phone.listing()
    (copy,) = phone.do(Operation.CopyObject, top["file"], 0, top["folder"]).parameters
    assert phone.events() == [(Event.ObjectInfoChanged, copy)]


def test_events_carry_the_last_transaction(phone: Initiator) -> None:
    """As AOSP has it: the number says nothing about the event."""
    phone.upload("full", b"x")
    phone.do(Operation.GetDeviceInfo)
    event = decode_event(phone.transport.read_event(0))
    assert event.transaction_id == phone.transaction - 1


def test_changes_in_listed_directories(phone: Initiator, root: Path) -> None:
    """Added and removed, without anybody asking."""
    file = phone.listing()["file"]
    (root / "new").touch()
    (root / "file").unlink()
    events = phone.events()
    assert (Event.ObjectRemoved, file) in events
    ((_, added),) = [event for event in events if event[0] == Event.ObjectAdded]
    assert phone.info(added).filename == "new"
    assert len(events) == 2


def test_a_rename_on_the_phone_is_a_new_object(phone: Initiator, root: Path) -> None:
    file = phone.listing()["file"]
    (root / "file").rename(root / "moved")
    assert {code for code, _ in phone.events()} == {Event.ObjectRemoved, Event.ObjectAdded}
    assert phone.listing()["moved"] != file


def test_new_folders_are_watched_at_once(phone: Initiator, root: Path) -> None:
    """With all that is in them, now and later."""
    (root / "new" / "inner").mkdir(parents=True)
    (root / "new" / "inner" / "file").touch()
    added = [handle for code, handle in phone.events() if code == Event.ObjectAdded]
    assert sorted(phone.info(handle).filename for handle in added) == ["file", "inner", "new"]
    (root / "new" / "inner" / "later").touch()
    assert len(phone.events()) == 1


def test_folders_made_by_the_initiator_are_watched(phone: Initiator, root: Path) -> None:
    phone.make_folder("made")
    (root / "made" / "file").touch()
    assert [code for code, _ in phone.events()] == [Event.ObjectAdded]


def test_unlisted_directories_are_not_watched(phone: Initiator, root: Path) -> None:
    (root / "folder" / "file").touch()
    assert phone.events() == []
    folder = phone.listing()["folder"]
    assert phone.listing(folder).keys() == {"file"}
    assert phone.events() == []


def test_changed_content(phone: Initiator, root: Path) -> None:
    """The directory's own time doesn't tell of it: files are looked at in rounds."""
    file = phone.listing()["file"]
    for _ in range(3):
        phone.events()
    (root / "file").write_text("other content")
    os.utime(root / "file", (1, 1))
    deadline = time.monotonic() + 10
    while not (events := phone.events()):
        assert time.monotonic() < deadline
    assert events == [(Event.ObjectInfoChanged, file)]


def test_a_listing_reports_changes_too(phone: Initiator, root: Path) -> None:
    (root / "new").touch()
    handle = phone.listing()["new"]
    assert phone.events() == [(Event.ObjectAdded, handle)]


def test_no_events_without_a_session(phone: Initiator, root: Path) -> None:
    assert phone.do(Operation.CloseSession).ok
    (root / "new").touch()
    assert phone.events() == []


def test_a_phone_without_events(connect: Connect, root: Path) -> None:
    phone = connect("no-events")
    phone.handles()
    phone.upload("file", b"x")
    (root / "new").touch()
    assert phone.events() == []


def test_waiting_is_woken_by_another_thread(phone: Initiator) -> None:
    """The event pipe has a thread of its own."""
    found: list[bytes] = []
    thread = threading.Thread(target=lambda: found.append(phone.transport.read_event(30)))
    thread.start()
    handle = phone.upload("file2", b"x")
    thread.join(10)
    assert not thread.is_alive()
    assert decode_event(found[0]).parameters == (handle,)


def test_waiting_ends_in_time(phone: Initiator) -> None:
    started = time.monotonic()
    assert phone.transport.read_event(0.05) == b""
    assert 0.04 < time.monotonic() - started < 5
