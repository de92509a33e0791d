"""Each fault does what it says, once, and the phone works afterwards."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

import pytest

from mtpfs.errors import TransportGoneError, TransportStallError, TransportTimeoutError
from mtpfs.protocol.codes import Event, Operation, Property, Response
from mtpfs.protocol.datasets import DeviceInfo
from mtpfs.virtual.faults import FOREVER, Fault, FaultScript, Kind
from virtual.conftest import Connect
from virtual.initiator import Initiator

GET = Operation.GetObject
CONTENT = bytes(range(256)) * 8
RESPONSE = bytes.fromhex("0c00000003000120")


@pytest.fixture
def phone(connect: Connect, root: Path) -> Initiator:
    """With one file of 2048 bytes as object 1, read 4096 bytes at a time."""
    (root / "file").write_bytes(CONTENT)
    phone = connect(buffer=4096)
    assert phone.handles() == [1]
    return phone


def after(phone: Initiator, fault: Fault, handle: int = 1) -> list[bytes]:
    """Let the fault strike a GetObject; return all transfers that come."""
    phone.transport.faults.add(fault)
    phone.command(GET, handle)
    transfers = []
    try:
        while True:
            transfers.append(phone.read())
    except TransportTimeoutError:
        return transfers


def header(phone: Initiator, size: int = len(CONTENT)) -> bytes:
    return (size + 12).to_bytes(4, "little") + b"\x02\0\x09\x10" + phone.transaction.to_bytes(4, "little")


def response(phone: Initiator) -> bytes:
    return RESPONSE + phone.transaction.to_bytes(4, "little")


def test_matching() -> None:
    """By operation, after `skip`, `times` times; one fault for each command, the first that fits."""
    one = Fault(Kind.BUSY, GET, skip=1, times=2)
    two = Fault(Kind.STALL)
    script = FaultScript(one, two)
    taken = [script.take(operation) for operation in (GET, GET, GET, GET)]
    assert taken == [two, one, one, None]
    assert script.struck == [two, one, one]
    script.add(Fault(Kind.BUSY, times=FOREVER))
    assert all(script.take(operation) for operation in range(100))
    assert len(script.pending) == 1
    script.clear()
    assert script.take(GET) is None


def test_busy(phone: Initiator) -> None:
    """So many times, then it works."""
    phone.transport.faults.add(Fault(Kind.BUSY, GET, times=3))
    codes = [phone.do(GET, 1).code for _ in range(4)]
    assert codes == [Response.DeviceBusy] * 3 + [Response.OK]


def test_refuse(phone: Initiator) -> None:
    """Any code; data on its way is dropped (Xperia: editing is advertised and refused)."""
    phone.transport.faults.add(
        Fault(Kind.REFUSE, Operation.SendPartialObject, times=FOREVER, code=Response.OperationNotSupported)
    )
    assert phone.do(Operation.BeginEditObject, 1).ok
    for size in (1, 500, 100_000):
        assert phone.edit(1, 0, bytes(size)).code == Response.OperationNotSupported


def test_refuse_twice(phone: Initiator) -> None:
    """uMTP-Responder: once for the command, once for the data."""
    phone.transport.faults.add(Fault(Kind.REFUSE_TWICE, Operation.SendObjectInfo, code=0x200F))
    assert phone.announce("file2", 1).code == Response.AccessDenied
    assert phone.answer().code == Response.AccessDenied
    phone.upload("file2", b"x")


def test_fail(phone: Initiator) -> None:
    """All data, and then an error."""
    phone.transport.faults.add(Fault(Kind.FAIL, GET))
    answer = phone.do(GET, 1)
    assert (answer.code, answer.data) == (Response.GeneralError, CONTENT)


def test_stall(phone: Initiator) -> None:
    phone.transport.faults.add(Fault(Kind.STALL, GET))
    phone.command(GET, 1)
    for _ in range(2):
        with pytest.raises(TransportStallError):
            phone.read()
    phone.transport.clear_halt()
    with pytest.raises(TransportTimeoutError):
        phone.read()
    assert phone.get(GET, 1) == CONTENT


def test_stall_mid_data(phone: Initiator, root: Path) -> None:
    (root / "file").write_bytes(bytes(20_000))
    phone.transport.faults.add(Fault(Kind.STALL_MID_DATA, GET, amount=9000))
    phone.command(GET, 1)
    assert len(phone.read()) == len(phone.read()) == 4096
    with pytest.raises(TransportStallError):
        phone.read()
    phone.transport.clear_halt()
    assert len(phone.get(GET, 1)) == 20_000


@pytest.mark.parametrize("kind", [Kind.STALL_MID_DATA, Kind.GONE_MID_DATA])
def test_trouble_while_data_is_received(phone: Initiator, root: Path, kind: Kind) -> None:
    """The upload's file is removed."""
    assert phone.announce("new", 20_000).ok
    phone.transport.faults.add(Fault(kind, Operation.SendObject, amount=9000))
    phone.command(Operation.SendObject)
    with pytest.raises(TransportStallError if kind is Kind.STALL_MID_DATA else TransportGoneError):
        phone.data(Operation.SendObject, bytes(20_000), step=1024)
    assert not (root / "new").exists()


def test_silence_while_data_is_received(phone: Initiator, root: Path) -> None:
    assert phone.announce("new", 20_000).ok
    phone.transport.faults.add(Fault(Kind.SILENCE_MID_DATA, Operation.SendObject, amount=9000))
    phone.command(Operation.SendObject)
    phone.data(Operation.SendObject, bytes(20_000), step=1024)
    with pytest.raises(TransportTimeoutError):
        phone.read()
    assert phone.do(Operation.GetDeviceInfo).ok


@pytest.mark.parametrize(("kind", "happened"), [(Kind.SILENCE, False), (Kind.SILENT_SUCCESS, True)])
def test_silence(phone: Initiator, root: Path, kind: Kind, happened: bool) -> None:
    """No answer; whether the operation took place is what the initiator has to find out."""
    phone.transport.faults.add(Fault(kind, Operation.DeleteObject))
    phone.command(Operation.DeleteObject, 1)
    with pytest.raises(TransportTimeoutError):
        phone.read()
    assert (root / "file").exists() is not happened
    assert phone.do(Operation.GetDeviceInfo).ok


def test_silence_takes_data(phone: Initiator) -> None:
    phone.transport.faults.add(Fault(Kind.SILENCE, Operation.SendObjectInfo))
    with pytest.raises(TransportTimeoutError):
        phone.announce("file2", 1)
    phone.upload("file2", b"x")


def test_silence_mid_data(phone: Initiator) -> None:
    """Whole packets, so that it doesn't look like the end."""
    transfers = after(phone, Fault(Kind.SILENCE_MID_DATA, GET, amount=1100))
    assert transfers == [(header(phone) + CONTENT)[:1024]]


def test_truncated_data(phone: Initiator) -> None:
    transfers = after(phone, Fault(Kind.TRUNCATED_DATA, GET, amount=100))
    assert transfers == [header(phone) + CONTENT[:100], response(phone)]


def test_overlong_data(phone: Initiator) -> None:
    transfers = after(phone, Fault(Kind.OVERLONG_DATA, GET, amount=5))
    assert transfers == [header(phone) + CONTENT + b"\xa5" * 5, response(phone)]


def test_wrong_transaction(phone: Initiator) -> None:
    data, end = after(phone, Fault(Kind.WRONG_TRANSACTION, GET, amount=-1))
    assert (
        int.from_bytes(data[8:12], "little") == int.from_bytes(end[8:12], "little") == phone.transaction - 1
    )


def test_wrong_data_header(phone: Initiator) -> None:
    """The type is right, the rest is junk."""
    data, end = after(phone, Fault(Kind.WRONG_DATA_HEADER, GET))
    assert data[:6] == header(phone)[:6]
    assert data[6:12] != header(phone)[6:]
    assert (data[12:], end) == (CONTENT, response(phone))


def test_stale_response(phone: Initiator) -> None:
    stale, data, end = after(phone, Fault(Kind.STALE_RESPONSE, GET))
    assert stale == RESPONSE + (phone.transaction - 1).to_bytes(4, "little")
    assert (data, end) == (header(phone) + CONTENT, response(phone))


def test_split_header(phone: Initiator) -> None:
    assert after(phone, Fault(Kind.SPLIT_HEADER, GET)) == [header(phone), CONTENT, response(phone)]


def test_glued(phone: Initiator) -> None:
    assert after(phone, Fault(Kind.GLUED, GET)) == [header(phone) + CONTENT + response(phone)]


@pytest.fixture
def exact(phone: Initiator, root: Path) -> int:
    """An object that ends with a whole packet: 12 + 4084 bytes, one full read."""
    (root / "exact").write_bytes(CONTENT + CONTENT[:2036])
    return phone.listing()["exact"]


def test_without_faults_there_is_one_zero_length_packet(phone: Initiator, exact: int) -> None:
    phone.command(GET, exact)
    assert [len(phone.read()) for _ in range(3)] == [4096, 0, 12]


def test_missing_zero_length_packet(phone: Initiator, exact: int) -> None:
    assert [len(t) for t in after(phone, Fault(Kind.MISSING_ZLP, GET), exact)] == [4096, 12]


def test_missing_zero_length_packet_in_a_larger_read(connect: Connect, root: Path) -> None:
    """Nothing ends the data's packets: the response comes in the same read."""
    (root / "file").write_bytes(bytes(500))
    phone = connect()
    phone.handles()
    phone.transport.faults.add(Fault(Kind.MISSING_ZLP, GET))
    phone.command(GET, 1)
    assert phone.read() == header(phone, 500) + bytes(500) + response(phone)


def test_extra_zero_length_packet(phone: Initiator, exact: int) -> None:
    assert [len(t) for t in after(phone, Fault(Kind.EXTRA_ZLP, GET), exact)] == [4096, 0, 0, 12]
    assert [len(t) for t in after(phone, Fault(Kind.EXTRA_ZLP, GET))] == [2060, 0, 12]


def test_pad_byte(phone: Initiator, exact: int) -> None:
    """Instead of the zero-length packet, and only there."""
    assert [len(t) for t in after(phone, Fault(Kind.PAD_BYTE, GET), exact)] == [4096, 1, 12]
    assert [len(t) for t in after(phone, Fault(Kind.PAD_BYTE, GET))] == [2060, 12]


def test_zero_junk(phone: Initiator) -> None:
    assert after(phone, Fault(Kind.ZERO_JUNK, GET))[1:] == [bytes(4), response(phone)]


def test_garbage_header(phone: Initiator) -> None:
    data, end = after(phone, Fault(Kind.GARBAGE_HEADER, GET))
    assert data == b"\x13\x37" * 6 + CONTENT
    assert end == response(phone)


def test_garbage_response(phone: Initiator) -> None:
    phone.transport.faults.add(Fault(Kind.GARBAGE_HEADER, Operation.DeleteObject))
    phone.command(Operation.DeleteObject, 1)
    assert phone.read() == b"\x13\x37" * 6


def test_lying_length(phone: Initiator) -> None:
    data, end = after(phone, Fault(Kind.LYING_LENGTH, GET, amount=1000))
    assert data == header(phone, len(CONTENT) + 1000) + CONTENT
    assert end == response(phone)


def test_unknown_length(phone: Initiator) -> None:
    """0xFFFFFFFF although it would fit; the short transfer is the end."""
    phone.transport.faults.add(Fault(Kind.UNKNOWN_LENGTH, GET, times=2))
    assert phone.get(GET, 1) == CONTENT
    assert phone.do(GET, 1).ok


def test_lying_count(phone: Initiator) -> None:
    phone.transport.faults.add(Fault(Kind.LYING_COUNT, Operation.GetObjectHandles, amount=9))
    data = phone.get(Operation.GetObjectHandles, 0, 0, 0xFFFFFFFF)
    assert data == bytes.fromhex("0a000000 01000000")


@pytest.mark.parametrize("fault", [Fault(Kind.GONE, GET), Fault(Kind.GONE_MID_DATA, GET, amount=600)])
def test_gone_until_plugged_in_again(phone: Initiator, fault: Fault) -> None:
    phone.transport.faults.add(fault)
    phone.command(GET, 1)
    with pytest.raises(TransportGoneError):
        phone.read()
    with pytest.raises(TransportGoneError):
        phone.transport.reopen()
    phone.transport.replug()
    assert phone.transport.reconnect()
    phone.open()
    assert phone.handles() == [1]
    assert phone.get(GET, 1) == CONTENT


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind not in {Kind.GONE, Kind.STALL}])
def test_every_fault_at_an_operation_without_data(phone: Initiator, kind: Kind) -> None:
    """The phone survives, whatever came out of it."""
    phone.transport.faults.add(Fault(kind, Operation.GetNumObjects, amount=1))
    phone.command(Operation.GetNumObjects, 0, 0, 0xFFFFFFFF)
    for _ in range(5):
        with suppress(TransportTimeoutError):
            phone.read()
    assert DeviceInfo.decode(phone.get(Operation.GetDeviceInfo)).model == "Virtual phone"


def test_silence_in_the_only_transfer(phone: Initiator) -> None:
    """Silence that begins in the last packets of the data is silence too."""
    assert phone.announce("new", 2000).ok
    phone.transport.faults.add(Fault(Kind.SILENCE_MID_DATA, Operation.SendObject, amount=1000))
    phone.command(Operation.SendObject)
    phone.data(Operation.SendObject, bytes(2000))
    with pytest.raises(TransportTimeoutError):
        phone.read()
    assert phone.do(Operation.GetDeviceInfo).ok


def test_late(phone: Initiator) -> None:
    """The answer comes after so much time, whatever is asked for meanwhile."""
    phone.transport.faults.add(Fault(Kind.LATE, GET, amount=2500))
    phone.command(GET, 1)
    before = phone.transport.monotonic()
    for _ in range(2):
        with pytest.raises(TransportTimeoutError):
            phone.read()
    assert phone.read() == header(phone) + CONTENT
    assert 2.5 <= phone.transport.monotonic() - before < 3
    assert phone.read() == response(phone)


@pytest.mark.parametrize("size", [1000, 1012 + 512, 20_000])
def test_full_in_the_middle(phone: Initiator, root: Path, size: int) -> None:
    """All data is taken, then StoreFull is answered; nothing of it stays."""
    assert phone.announce("new", size).ok
    phone.transport.faults.add(Fault(Kind.FULL, Operation.SendObject, amount=900))
    phone.command(Operation.SendObject)
    phone.data(Operation.SendObject, bytes(size), step=1024)
    assert phone.answer().code == Response.StoreFull
    assert not (root / "new").exists()
    phone.upload("new", b"x")


def test_renumbered(phone: Initiator) -> None:
    """Old handles are nobody's, new ones were never used, and an edit that was open is ended."""
    assert phone.do(Operation.BeginEditObject, 1).ok
    phone.transport.faults.add(Fault(Kind.RENUMBER, GET))
    assert phone.do(GET, 1).code == Response.InvalidObjectHandle
    (handle,) = phone.handles()
    assert handle > 1
    assert phone.get(GET, handle) == CONTENT
    assert phone.do(Operation.EndEditObject, 1).code == Response.GeneralError
    phone.transport.renumber()
    assert phone.handles() != [handle]
    assert (Event.DeviceReset, 0) in phone.events()


def test_vanished(phone: Initiator, root: Path) -> None:
    """The object is gone when its turn comes; a handle of nothing does no harm."""
    phone.transport.faults.add(Fault(Kind.VANISH, GET, times=2))
    assert phone.do(GET, 1).code == Response.InvalidObjectHandle
    assert not (root / "file").exists()
    assert phone.do(GET, 1).code == Response.InvalidObjectHandle
    assert phone.handles() == []


def test_phantom(phone: Initiator) -> None:
    """A handle too many, in a dataset whose lengths are right, and of no object."""
    phone.transport.faults.add(Fault(Kind.PHANTOM, Operation.GetObjectHandles))
    one, phantom = phone.handles()
    assert one == 1
    assert phone.do(Operation.GetObjectInfo, phantom).code == Response.InvalidObjectHandle
    assert phone.handles() == [1]


def test_lying_size(phone: Initiator) -> None:
    """Too large, too small, never below 0; the truth afterwards."""
    for amount, size in ((1000, 3048), (-48, 2000), (-5000, 0)):
        phone.transport.faults.add(Fault(Kind.LYING_SIZE, Operation.GetObjectInfo, amount=amount))
        phone.transport.faults.add(Fault(Kind.LYING_SIZE, Operation.GetObjectPropList, amount=amount))
        assert phone.info(1).object_compressed_size == size
        assert phone.prop_list(1, Property.ObjectSize)[0].value == size
    assert phone.info(1).object_compressed_size == len(CONTENT)


@pytest.mark.parametrize(
    ("who", "expected"),
    [
        ("android", "20200229T040000"),
        ("samsung", "20200229T040000."),
        ("qemu", "20200229T030000"),
        ("jolla", "20200229T030000Z"),
        ("lumia", "20200229T040000+0100"),
        ("none", ""),
        ("zero", "00000000T000000"),
        ("junk", "the day before yesterday"),
    ],
)
def test_dates(
    connect: Connect, root: Path, monkeypatch: pytest.MonkeyPatch, who: str, expected: str
) -> None:
    """Every way to write a date, in ObjectInfo and in property lists."""
    monkeypatch.setenv("TZ", "XXX-1")
    time.tzset()
    try:
        (root / "file").touch()
        os.utime(root / "file", (1582945200, 1582945200))
        phone = connect(f"dates={who}")
        (handle,) = phone.handles()
        assert phone.info(handle).modification_date == expected
        assert phone.prop_list(handle, Property.DateModified)[0].value == expected
    finally:
        monkeypatch.undo()
        time.tzset()
