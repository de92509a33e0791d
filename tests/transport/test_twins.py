"""Two devices that say the same of themselves: what was meant for one never gets to the other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from mtpfs.device import Device
from mtpfs.errors import MtpfsError
from mtpfs.session import open_session
from mtpfs.transport.usb import UsbTransport, find_phones, open_phone
from mtpfs.vfs import Filesystem
from mtpfs.vfs.remembered import RememberedDates
from transport.test_usb import Silence
from transport.usbip_backend import NO_SYSFS, Bus, Port, mtp_device, usb_bus


@pytest.fixture
def bus() -> Iterator[Bus]:
    with usb_bus() as bus:
        yield bus


@pytest.fixture
def directories(tmp_path: Path) -> tuple[Path, Path]:
    """What A holds, and what B holds."""
    for name in "ab":
        (tmp_path / name).mkdir()
    return tmp_path / "a", tmp_path / "b"


def open_first(bus: Bus) -> UsbTransport:
    return open_phone(find_phones(bus, NO_SYSFS)[0], bus)


def was_claimed(port: Port) -> bool:
    return any(call.startswith("claim") for call in port.calls)


def test_both_were_there(bus: Bus, directories: tuple[Path, Path]) -> None:
    """With both on the bus from the start, A is A only where it was; B isn't touched."""
    a, b = (bus.plug(mtp_device(place), number) for number, place in enumerate(directories, 1))
    transport = open_first(bus)
    bus.unplug(a)
    for _ in range(3):
        assert not transport.reconnect()
    bus.plug(mtp_device(directories[0]), 3)  # it may be A, or a third one
    assert not transport.reconnect()
    assert not was_claimed(b)
    bus.plug(mtp_device(directories[0]), 1)
    assert transport.reconnect()
    transport.close()


def test_the_other_one_came_later(
    bus: Bus, directories: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    """B was plugged in while A was in use: nobody had looked at the bus, but when A has just left B is there."""
    a = bus.plug(mtp_device(directories[0]), 1)
    transport = open_first(bus)
    b = bus.plug(mtp_device(directories[1]), 2)
    bus.unplug(a)
    for _ in range(3):
        assert not transport.reconnect()
    assert not was_claimed(b)
    assert caplog.messages == [
        "there is another Others Oracle with the same serial number; this one is waited for at port 1-1"
    ]
    bus.plug(mtp_device(directories[0]), 1)
    assert transport.reconnect()
    transport.close()


def test_one_device_goes_anywhere(bus: Bus, directories: tuple[Path, Path]) -> None:
    """As long as no other one has been seen, the serial number is enough, and the port may be another one."""
    place = directories[0]
    port = bus.plug(mtp_device(place), 1)
    transport = open_first(bus)
    for number in (2, 3):
        bus.unplug(port)
        assert not transport.reconnect()
        port = bus.plug(mtp_device(place), number)
        assert transport.reconnect()
    transport.close()


def test_without_serial_number(bus: Bus, directories: tuple[Path, Path]) -> None:
    """Then only the port tells; the same kind of device elsewhere is another one."""
    a = bus.plug(mtp_device(directories[0], serial=""), 1)
    transport = open_first(bus)
    bus.unplug(a)
    assert not transport.reconnect()
    b = bus.plug(mtp_device(directories[1], serial=""), 2)
    assert not transport.reconnect()
    assert not was_claimed(b)
    bus.plug(mtp_device(directories[0], serial=""), 1)
    assert transport.reconnect()
    transport.close()


def test_who_says_something_else_was_another_one(bus: Bus, directories: tuple[Path, Path]) -> None:
    """What the session gives up, because it isn't the device, counts as a twin that was seen: it isn't tried again."""
    a = bus.plug(mtp_device(directories[0]), 1)
    transport = open_first(bus)
    bus.unplug(a)
    assert not transport.reconnect()
    b = bus.plug(mtp_device(directories[1]), 2)
    assert transport.reconnect()
    transport.release()
    b.calls.clear()
    assert not transport.reconnect()
    assert not was_claimed(b)
    bus.plug(mtp_device(directories[0]), 1)
    assert transport.reconnect()
    transport.close()


@pytest.mark.parametrize("serial", ["S1", ""])
async def test_unsent_file_waits_for_its_device(
    bus: Bus, directories: tuple[Path, Path], serial: str
) -> None:
    """A is pulled before a file is closed, and B is there: the file arrives on A when that is back, and never on B."""
    a = bus.plug(mtp_device(directories[0], serial=serial), 1)
    bus.plug(mtp_device(directories[1], serial=serial), 2)
    transport = open_first(bus)
    async with open_session(transport) as session, trio.open_nursery() as nursery:
        fs = Filesystem(Device(session), nursery, Silence(), RememberedDates())
        nursery.start_soon(fs.events.follow)
        (storage,) = await fs.entries(fs.tree.root)
        opened = await fs.create(storage, b"letter")
        await fs.write(opened, 0, b"contents")
        await trio.to_thread.run_sync(bus.unplug, a)
        with trio.fail_after(5):
            await session.until_gone()
        with pytest.raises(MtpfsError):
            await fs.flush(opened)
        await fs.release(opened)
        await trio.sleep(2.5)  # more than two looks at the bus
        assert session.gone
        assert list(directories[1].iterdir()) == []
        bus.plug(mtp_device(directories[0], serial=serial), 1)
        with trio.fail_after(10):
            while not (directories[0] / "letter").exists():
                await trio.sleep(0.1)
            await session.until_back()
        await fs.finish()
        assert (directories[0] / "letter").read_bytes() == b"contents"
        assert list(directories[1].iterdir()) == []
        nursery.cancel_scope.cancel()
