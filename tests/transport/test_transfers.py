"""Transfers, timeouts, halts and claims: `UsbTransport` on pyusb, on a responder that others wrote."""

from __future__ import annotations

import errno
import os
import struct
import threading
import time
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from usbip.classes.device.mtp import build_object_info

from mtpfs.errors import (
    TransportError,
    TransportGoneError,
    TransportStallError,
    TransportTimeoutError,
)
from mtpfs.protocol.containers import Container
from mtpfs.session import open_session
from mtpfs.transport.phones import UnavailableError, UsbPhone
from mtpfs.transport.usb import CLAIM_PATIENCE, QUIET, UsbTransport, find_phones, open_phone
from transport.usbip_backend import NO_SYSFS, Bus, Port, mtp_device, usb_bus

BULK_OUT, BULK_IN, INTERRUPT_IN = 0x01, 0x81, 0x82
GET_DEVICE_INFO, OPEN_SESSION, GET_NUM_OBJECTS, GET_OBJECT = 0x1001, 0x1002, 0x1006, 0x1009
SEND_OBJECT_INFO, SEND_OBJECT = 0x100C, 0x100D
ROOT = 0xFFFFFFFF
MEBIBYTE = 1 << 20
EVENT = struct.pack("<IHHII", 16, 4, 0x4002, ROOT, 7)
PATIENCE = 10.0  # seconds in which what comes at once has come, however busy the machine is


class Clock:
    """Time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept.append(seconds)


class Wire:
    """A claimed phone, with its device side in reach."""

    def __init__(self, bus: Bus, port: Port, clock: Clock) -> None:
        self.bus, self.port, self.clock = bus, port, clock
        (phone,) = find_phones(bus, NO_SYSFS)
        port.calls.clear()
        self.transport = open_phone(phone, bus, clock=clock, sleep=clock.sleep)
        self.mtp = port.device.interfaces[0]
        self.buffer = array("B", bytes(MEBIBYTE))

    def command(self, code: int, transaction: int, *parameters: int) -> None:
        head = struct.pack("<IHHI", 12 + 4 * len(parameters), 1, code, transaction)
        self.transport.write(head + struct.pack(f"<{len(parameters)}I", *parameters), 1)

    def receive(self) -> bytes:
        return bytes(self.buffer[: self.transport.read(self.buffer, 5)])

    def response(self) -> int:
        container = self.receive()
        length, kind, code = struct.unpack_from("<IHH", container)
        assert (length, kind) == (len(container), 3)
        return int(code)


@pytest.fixture
def bus() -> Iterator[Bus]:
    with usb_bus() as bus:
        yield bus


@pytest.fixture
def wire(bus: Bus, tmp_path: Path) -> Iterator[Wire]:
    (tmp_path / "large").write_bytes(os.urandom(3 * MEBIBYTE + 17))
    wire = Wire(bus, bus.plug(mtp_device(tmp_path)), Clock())
    # The server resets all endpoints when a host attaches, in its own time: a halt would be forgotten by that.
    wire.command(GET_DEVICE_INFO, 0)
    wire.receive()
    assert wire.response() == 0x2001
    yield wire
    wire.transport.close()


# --- bulk


def test_device_info_as_bytes(wire: Wire) -> None:
    """A command goes out, data and response come back as transfers of their own."""
    wire.command(GET_DEVICE_INFO, 0)
    data = wire.receive()
    assert struct.unpack_from("<IHHI", data) == (len(data), 2, GET_DEVICE_INFO, 0)
    assert "microsoft.com".encode("utf-16-le") in data
    assert wire.response() == 0x2001


def test_large_transfers_both_ways(wire: Wire, tmp_path: Path) -> None:
    """More than a buffer's worth arrives whole, read and written."""
    wire.command(OPEN_SESSION, 0, 1)
    assert wire.response() == 0x2001
    content = (tmp_path / "large").read_bytes()
    wire.command(GET_OBJECT, 1, 1)
    got = b""
    while len(got) < 12 + len(content):
        got += wire.receive()
    assert got[12:] == content
    assert wire.response() == 0x2001

    for code, data in (
        (SEND_OBJECT_INFO, build_object_info(0x10001, 0x3000, len(content), 0, "copy", False)),
        (SEND_OBJECT, content),
    ):
        wire.command(code, 2, *((0x10001, ROOT) if code == SEND_OBJECT_INFO else ()))
        stream = memoryview(struct.pack("<IHHI", 12 + len(data), 2, code, 2) + data)
        for at in range(0, len(stream), MEBIBYTE):
            piece = stream[at : at + MEBIBYTE]
            assert wire.transport.write(piece, 5) == len(piece)
        assert wire.response() == 0x2001
    assert (tmp_path / "copy").read_bytes() == content


@pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview, lambda data: array("B", data)])
def test_pyusb_gets_what_it_copies_fast(
    wire: Wire, monkeypatch: pytest.MonkeyPatch, wrap: Callable[[bytes], Any]
) -> None:
    """Views are turned into arrays: pyusb takes 300 times as long over them."""
    seen: list[Any] = []

    def pyusb_write(_endpoint: int, data: Any, _timeout: int) -> int:
        seen.append(data)
        return len(data)

    monkeypatch.setattr(wire.transport._device, "write", pyusb_write)
    assert wire.transport.write(wrap(b"abc"), 1) == 3
    assert bytes(seen[0]) == b"abc"
    assert not isinstance(seen[0], memoryview)


def test_zero_length_packet(wire: Wire) -> None:
    """An empty write is a transfer too."""
    assert wire.transport.write(b"", 1) == 0


def test_odd_buffers_are_refused(wire: Wire) -> None:
    """A buffer that ends inside a packet would lose data some day; it is a mistake of ours."""
    with pytest.raises(ValueError, match="513"):
        wire.transport.read(array("B", bytes(513)), 1)


def test_silence_is_a_timeout_and_loses_nothing(wire: Wire) -> None:
    """A read ends in time, and the answer that comes later is there for the next one."""
    start = time.monotonic()
    with pytest.raises(TransportTimeoutError) as caught:
        wire.transport.read(wire.buffer, 0.05)
    assert 0.04 < time.monotonic() - start < 2
    assert caught.value.errno == errno.ETIMEDOUT
    wire.mtp.in_ep.write(b"late")
    assert wire.receive() == b"late"


def test_no_timeout_is_for_ever(wire: Wire) -> None:
    """0 would mean infinity to libusb; the backend refuses it."""
    with pytest.raises(TransportTimeoutError):
        wire.transport.read(wire.buffer, 0)
    assert wire.transport.read_event(0.0001) == b""


# --- halts


@pytest.mark.parametrize("endpoint", ["in_ep", "out_ep"])
def test_halt(wire: Wire, endpoint: str) -> None:
    """A halted pipe is told apart, and works again once the halt is cleared."""
    getattr(wire.mtp, endpoint).stall()
    transfers = {
        "in_ep": lambda: wire.transport.read(wire.buffer, PATIENCE),
        "out_ep": lambda: wire.transport.write(b"x" * 12, PATIENCE),
    }
    with pytest.raises(TransportStallError):
        transfers[endpoint]()
    wire.transport.clear_halt()
    wire.command(OPEN_SESSION, 0, 1)
    assert wire.response() == 0x2001


def test_halted_interrupt_pipe_heals(wire: Wire) -> None:
    """Nobody but the reader of events knows that pipe, so it clears the halt itself."""
    wire.mtp.intr_ep.stall()
    assert wire.transport.read_event(1) == b""
    wire.mtp.intr_ep.write(EVENT)
    assert wire.transport.read_event(1) == EVENT


# --- errors


@pytest.mark.parametrize(
    ("code", "kind", "shown"),
    [
        (errno.ETIMEDOUT, TransportTimeoutError, errno.ETIMEDOUT),
        (errno.EPIPE, TransportStallError, errno.EIO),
        (errno.ENODEV, TransportGoneError, errno.ENODEV),
        (errno.EIO, TransportError, errno.EIO),
        (errno.EOVERFLOW, TransportError, errno.EOVERFLOW),
        (errno.ENOENT, TransportError, errno.EIO),  # would pass for a missing file
        (errno.EINTR, TransportError, errno.EIO),
    ],
)
def test_errors(
    wire: Wire,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    code: int,
    kind: type[TransportError],
    shown: int,
) -> None:
    """Each of libusb's errors becomes one of ours while the device is there."""
    monkeypatch.setattr(UsbPhone, "node", str(tmp_path))
    wire.port.faults[BULK_IN] = [code]
    with pytest.raises(TransportError) as caught:
        wire.transport.read(wire.buffer, 1)
    assert (type(caught.value), caught.value.errno) == (kind, shown)
    assert wire.transport.name in str(caught.value)


def test_broken_transfer_without_a_node_is_a_departure(
    wire: Wire, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """EIO is what an unplugged device's last transfer ends with."""
    monkeypatch.setattr(UsbPhone, "node", str(tmp_path / "gone"))
    wire.port.faults[BULK_OUT] = [errno.EIO]
    with pytest.raises(TransportGoneError):
        wire.transport.write(b"x", 1)


def test_unplugged_in_the_middle(wire: Wire) -> None:
    """A read that waits ends when the cable is pulled, and so does everything after it."""
    threading.Timer(0.1, wire.bus.unplug, [wire.port]).start()
    start = time.monotonic()
    with pytest.raises(TransportGoneError):
        wire.transport.read(wire.buffer, 30)
    assert time.monotonic() - start < 10
    for call in (
        lambda: wire.transport.write(b"x", 1),
        lambda: wire.transport.read_event(1),
        wire.transport.clear_halt,
        wire.transport.device_status,
        wire.transport.reopen,
    ):
        with pytest.raises(TransportGoneError):
            call()


def test_pipe_that_is_not_there(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """A phone that changed its USB mode has other endpoints; pyusb's ValueError stays inside."""
    wire.transport.close()
    (phone,) = find_phones(wire.bus, NO_SYSFS)
    monkeypatch.setattr(UsbPhone, "bulk_in", 0x85)
    transport = open_phone(phone, wire.bus)
    with pytest.raises(TransportError, match="0x85"):
        transport.read(wire.buffer, 1)
    transport.close()


# --- events


def test_events_beside_a_transfer(wire: Wire) -> None:
    """The interrupt pipe is read while a bulk read waits: neither holds up the other."""
    threading.Timer(0.1, wire.mtp.intr_ep.write, [EVENT]).start()
    caught: list[bytes] = []
    reader = threading.Thread(target=lambda: caught.append(wire.transport.read_event(5)))
    reader.start()
    with pytest.raises(TransportTimeoutError):
        wire.transport.read(wire.buffer, 0.5)
    reader.join(5)
    assert caught == [EVENT]


def test_no_event(wire: Wire) -> None:
    """Silence isn't an error here."""
    assert wire.transport.read_event(0.02) == b""


# --- class requests


def test_cancel_and_status(bus: Bus, tmp_path: Path) -> None:
    """Both are asked of the interface, in the standard's shape, and never for fewer than 8 bytes."""
    asked = []

    def on_control(setup: Any, data: bytes = b"") -> bytes:
        asked.append((setup.bmRequestType, setup.bRequest, setup.wValue, setup.wIndex, data))
        if setup.bRequest == 0x67:
            assert setup.wLength >= 8
            return bytes.fromhex("08001920") + bytes(4)
        return b""

    wire = Wire(bus, bus.plug(mtp_device(tmp_path, on_control=on_control)), Clock())
    wire.transport.cancel(0x12345678)
    assert wire.transport.device_status() == 0x2019
    wire.transport.close()
    assert asked == [
        (0x21, 0x64, 0, 0, bytes.fromhex("014078563412")),
        (0xA1, 0x67, 0, 0, b""),
    ]


def test_requests_that_a_device_lacks(wire: Wire) -> None:
    """Endpoint 0 stalls, which heals itself."""
    for call in (lambda: wire.transport.cancel(1), wire.transport.device_status):
        with pytest.raises(TransportStallError):
            call()
    wire.command(OPEN_SESSION, 0, 1)
    assert wire.response() == 0x2001


def test_short_status(bus: Bus, tmp_path: Path) -> None:
    """A status without a code is an error, not a code."""
    wire = Wire(bus, bus.plug(mtp_device(tmp_path, on_control=lambda *_: b"\x04\x00")), Clock())
    with pytest.raises(TransportError, match="2 bytes"):
        wire.transport.device_status()
    wire.transport.close()


# --- claiming, reopening, closing


def test_claiming_is_all_that_is_done(wire: Wire) -> None:
    """Nothing resets the device, sets a configuration or an alternate setting."""
    wire.transport.reopen()
    wire.transport.close()
    assert wire.port.calls == [
        "open",
        "claim 0",
        "release 0",
        "close",
        "open",
        "claim 0",
        "release 0",
        "close",
    ]


def test_a_prober_lets_go(bus: Bus, tmp_path: Path) -> None:
    """EBUSY right after plugging in passes."""
    port = bus.plug(mtp_device(tmp_path))
    port.claim_errors = [errno.EBUSY] * 3
    wire = Wire(bus, port, Clock())
    assert len(wire.clock.slept) == 3
    wire.transport.close()


def test_a_holder_holds_on(bus: Bus, tmp_path: Path) -> None:
    """After some seconds it's enough, and the node isn't kept open."""
    port = bus.plug(mtp_device(tmp_path))
    port.claim_errors = [errno.EBUSY] * 1000
    clock = Clock()
    with pytest.raises(UnavailableError, match="in use by another program") as caught:
        open_phone(find_phones(bus, NO_SYSFS)[0], bus, clock=clock, sleep=clock.sleep)
    assert caught.value.errno == errno.EBUSY
    assert CLAIM_PATIENCE <= clock.now < CLAIM_PATIENCE + 1
    assert bus.handles == []


def test_kernel_driver_is_detached_where_there_is_one(bus: Bus, tmp_path: Path) -> None:
    """The disk half of a player with two modes gives way."""
    port = bus.plug(mtp_device(tmp_path))
    port.kernel_drivers = {0}
    wire = Wire(bus, port, Clock())
    assert "detach 0" in port.calls
    wire.transport.close()


def test_alternate_setting(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is chosen only for an interface that is not its device's default."""
    wire.transport.close()
    (phone,) = find_phones(wire.bus, NO_SYSFS)
    monkeypatch.setattr(UsbPhone, "alternate", 1)
    chosen: list[tuple[int, int]] = []
    monkeypatch.setattr("usb.core.Device.set_interface_altsetting", lambda _device, *to: chosen.append(to))
    open_phone(phone, wire.bus).close()
    assert chosen == [(0, 1)]


def test_reopening(wire: Wire) -> None:
    """Released, quiet for a moment, claimed again, and in working order."""
    wire.command(OPEN_SESSION, 0, 1)
    assert wire.response() == 0x2001
    wire.port.claim_errors = [errno.EBUSY]
    wire.transport.reopen()
    assert wire.clock.slept[0] == QUIET
    wire.command(GET_NUM_OBJECTS, 1, ROOT, 0, 0)
    assert wire.response() == 0x2001


def test_reopening_in_vain(wire: Wire) -> None:
    """Somebody else was faster: an error of the transport, with its errno."""
    wire.port.claim_errors = [errno.EBUSY] * 1000
    with pytest.raises(TransportError) as caught:
        wire.transport.reopen()
    assert caught.value.errno == errno.EBUSY


@pytest.mark.parametrize("give_up", [UsbTransport.close, UsbTransport.reopen])
def test_giving_up_waits_for_the_reader_of_events(
    wire: Wire, give_up: Callable[[UsbTransport], None]
) -> None:
    """Releasing an interface under a transfer deadlocks libusb."""
    started = threading.Event()

    def read() -> None:
        started.set()
        wire.transport.read_event(0.4)
        wire.port.calls.append("event read")

    reader = threading.Thread(target=read)
    reader.start()
    started.wait()
    time.sleep(0.1)  # into the transfer
    give_up(wire.transport)
    reader.join()
    assert wire.port.calls.index("event read") < wire.port.calls.index("release 0")


def test_closing_twice(wire: Wire) -> None:
    """The second time nothing happens, and nothing works any more."""
    wire.transport.close()
    wire.transport.close()
    assert wire.port.calls.count("close") == 1
    for call in (
        lambda: wire.transport.write(b"", 1),
        lambda: wire.transport.read_event(1),
        wire.transport.reopen,
    ):
        with pytest.raises(TransportGoneError):
            call()
    assert wire.bus.handles == []


async def test_session_hears_of_events(bus: Bus, tmp_path: Path) -> None:
    """A whole session runs on it, bulk and interrupt pipes at once, and gives everything back."""
    port = bus.plug(mtp_device(tmp_path))
    transport = open_phone(find_phones(bus, NO_SYSFS)[0], bus)
    async with open_session(transport) as session:
        assert session.info.model == "Oracle"
        port.device.interfaces[0].intr_ep.write(EVENT)
        with trio.fail_after(5):
            event = await session.events.receive()
        assert isinstance(event, Container)
        assert (event.code, event.parameters) == (0x4002, (7,))
    assert bus.handles == []


def test_plugged_in_again(bus: Bus, tmp_path: Path) -> None:
    """The same serial number is the same phone, wherever it is plugged in; another one isn't, and nobody is claimed."""
    port = bus.plug(mtp_device(tmp_path))
    transport = open_phone(find_phones(bus, NO_SYSFS)[0], bus)
    name = transport.name
    bus.unplug(port)
    with pytest.raises(TransportGoneError):
        transport.write(bytes(12), 1)
    assert not transport.reconnect()
    other = bus.plug(mtp_device(tmp_path, serial="S2"))
    assert not transport.reconnect()
    assert not any(call.startswith("claim") for call in other.calls)
    bus.plug(mtp_device(tmp_path))
    assert transport.reconnect()
    assert transport.name != name
    transport.write(struct.pack("<IHHI", 12, 1, GET_DEVICE_INFO, 0), 1)
    buffer = array("B", bytes(4096))
    assert transport.read(buffer, 5) > 100
    transport.close()
    assert not transport.reconnect()
    assert bus.handles == []


def test_taken_by_another_program(bus: Bus, tmp_path: Path) -> None:
    """A phone that is back in somebody else's hands is an error that says so, and can be had later."""
    port = bus.plug(mtp_device(tmp_path))
    clock = Clock()
    transport = open_phone(find_phones(bus, NO_SYSFS)[0], bus, clock=clock, sleep=clock.sleep)
    bus.unplug(port)
    back = bus.plug(mtp_device(tmp_path))
    back.claim_errors = [errno.EBUSY] * 100
    with pytest.raises(UnavailableError, match="in use by another program"):
        transport.reconnect()
    back.claim_errors.clear()
    assert transport.reconnect()
    transport.release()
    assert transport.reconnect()
    transport.close()


async def test_session_goes_on(bus: Bus, tmp_path: Path) -> None:
    """A session on it survives a change of the port: ENODEV at once meanwhile, then a new generation of handles."""
    (tmp_path / "f").write_bytes(b"contents")
    port = bus.plug(mtp_device(tmp_path))
    transport = open_phone(find_phones(bus, NO_SYSFS)[0], bus)
    async with open_session(transport) as session:
        await session.transact(GET_NUM_OBJECTS, ROOT, 0, ROOT)
        generation = session.generation
        await trio.to_thread.run_sync(bus.unplug, port)
        with trio.fail_after(5):
            await session.until_gone()
        with pytest.raises(TransportGoneError), trio.fail_after(1):
            await session.transact(GET_NUM_OBJECTS, ROOT, 0, ROOT)
        bus.plug(mtp_device(tmp_path))
        with trio.fail_after(10):
            await session.until_back()
        assert session.generation > generation
        await session.transact(GET_NUM_OBJECTS, ROOT, 0, ROOT)
        assert session.statistics().returns == 1
    assert bus.handles == []
