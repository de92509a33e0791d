"""Which devices are phones, found without opening them; and what is said when none can be had."""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import usb.core
import usbip
from hypothesis import given
from hypothesis import strategies as st

from mtpfs.cli.mountpoint import directory_name
from mtpfs.errors import MachineError, SetupError
from mtpfs.transport.phones import UsbPhone, choose
from mtpfs.transport.recognition import (
    os_descriptor_names_mtp,
    os_vendor_code,
    sysfs_devices,
    vendor_class_objection,
)
from mtpfs.transport.source import parse_source
from mtpfs.transport.usb import find_phones, open_phone
from transport.usbip_backend import NO_SYSFS, Bus, Handle, Port, mtp_device, usb_bus, usb_error, vendor_class

UNKNOWN_MAKER = 0x1209
HUAWEI, GOOGLE, COLORIMETER = 0x12D1, 0x18D1, 0x0765


@pytest.fixture
def bus() -> Iterator[Bus]:
    with usb_bus() as bus:
        yield bus


@pytest.fixture
def sysfs(tmp_path: Path) -> Path:
    root = tmp_path / "sysfs"
    root.mkdir()
    (root / "usb1").mkdir()  # a hub that tells nothing
    return root


def describe(sysfs: Path, port: Port, *, interface: str = "", driver: str = "", **texts: str) -> None:
    """Write what the kernel shows of a device."""
    directory = sysfs / f"1-{port.address}"
    own = directory / f"{directory.name}:1.0"
    own.mkdir(parents=True)
    texts = {
        "busnum": str(port.bus),
        "devnum": str(port.address),
        "bConfigurationValue": "1",
        **texts,
    }
    for name, text in texts.items():
        (directory / name).write_text(text + "\n")
    if interface:
        (own / "interface").write_text(interface + "\n")
    if driver:
        (own / "driver").symlink_to(f"../../drivers/{driver}")


# --- without opening


def test_listing_opens_nothing(bus: Bus, sysfs: Path, tmp_path: Path) -> None:
    """All that is shown of a phone comes from sysfs: whoever holds it isn't disturbed."""
    port = bus.plug(vendor_class(tmp_path, string="ignored"))
    describe(sysfs, port, interface="MTP", manufacturer="Maker", product="Phone", serial="S9")
    (phone,) = find_phones(bus, sysfs)
    assert (phone.name, phone.source) == ("Maker Phone", "serial:S9")
    assert port.calls == []


def test_no_permission_is_said_when_it_is_needed(bus: Bus, sysfs: Path, tmp_path: Path) -> None:
    """A phone that may not be opened is found all the same; opening it says what is missing."""
    port = bus.plug(mtp_device(tmp_path))
    port.open_error = errno.EACCES
    describe(sysfs, port, product="Phone")
    (phone,) = find_phones(bus, sysfs)
    with pytest.raises(SetupError, match=r"Phone \(/dev/bus/usb/001/002\).*uaccess.*plugdev") as caught:
        open_phone(phone, bus)
    assert caught.value.errno == errno.EACCES


def test_texts_that_can_not_be_had(bus: Bus, sysfs: Path, tmp_path: Path) -> None:
    """Neither in sysfs nor from the device: then the ids name it, and its place selects it."""
    port = bus.plug(mtp_device(tmp_path))
    port.open_error = errno.EACCES
    describe(sysfs, port)
    (phone,) = find_phones(bus, sysfs)
    assert (phone.name, phone.source) == ("1209:4d54", "bus:001,002")


def test_texts_from_the_device(bus: Bus, tmp_path: Path) -> None:
    """Without sysfs the device is asked, and not kept open."""
    bus.plug(mtp_device(tmp_path, serial="S7"))
    (phone,) = find_phones(bus, NO_SYSFS)
    assert (phone.manufacturer, phone.product, phone.serial) == ("Others", "Oracle", "S7")
    assert bus.handles == []


def test_one_node_open_at_a_time(bus: Bus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that had to be asked is let go before the next one is looked at."""
    for serial in "ABC":
        bus.plug(mtp_device(tmp_path, serial=serial))
    others: list[int] = []
    open_device = bus.open_device

    def counting(port: Port) -> Handle:
        others.append(len(bus.handles))
        return open_device(port)

    monkeypatch.setattr(bus, "open_device", counting)
    assert len(find_phones(bus, NO_SYSFS)) == 3
    assert others == [0, 0, 0]


def test_several(bus: Bus, tmp_path: Path) -> None:
    """Phones come in order; what isn't one is left out, unopened devices included."""
    for serial in "AB":
        bus.plug(mtp_device(tmp_path, serial=serial))
    keyboard = usbip.USBDevice(1, 2, product="Keyboard")
    keyboard.add(usbip.Interface())
    bus.plug(keyboard)
    bus.plug(mtp_device(tmp_path)).open_error = errno.EACCES  # no sysfs: nothing can be known of it
    assert [phone.serial for phone in find_phones(bus, NO_SYSFS)] == ["A", "B"]


def test_device_that_leaves_while_we_look(
    bus: Bus, sysfs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It isn't there, and that's all."""
    describe(sysfs, bus.plug(mtp_device(tmp_path)))

    def gone(*_: Any) -> None:
        raise usb_error(errno.ENODEV)

    monkeypatch.setattr(bus, "get_endpoint_descriptor", gone)
    assert find_phones(bus, sysfs) == []


# --- vendor class


@pytest.mark.parametrize(
    ("vendor_id", "changes", "is_phone"),
    [
        (UNKNOWN_MAKER, {"string": "MTP"}, True),
        (UNKNOWN_MAKER, {"string": "RIM MS/MTP"}, True),
        (UNKNOWN_MAKER, {"string": "ADB Interface", "os_descriptor": True}, False),
        (GOOGLE, {"string": "ADB Interface"}, False),
        (GOOGLE, {}, True),
        (UNKNOWN_MAKER, {}, False),
        (UNKNOWN_MAKER, {"os_descriptor": True}, True),
        (HUAWEI, {}, False),
        (HUAWEI, {"os_descriptor": True}, True),
        (COLORIMETER, {"os_descriptor": True}, False),
        (UNKNOWN_MAKER, {"os_descriptor": True, "bInterfaceClass": 3}, False),
    ],
)
def test_vendor_class(
    bus: Bus, tmp_path: Path, vendor_id: int, changes: dict[str, Any], is_phone: bool
) -> None:
    """The name decides; without one the maker, or the descriptor that Windows would ask for."""
    bus.plug(vendor_class(tmp_path, vendor_id=vendor_id, **changes))
    assert bool(find_phones(bus, NO_SYSFS)) is is_phone


@pytest.mark.parametrize(("driver", "is_phone"), [("", True), ("usbfs", True), ("option", False)])
def test_drivers(bus: Bus, sysfs: Path, tmp_path: Path, driver: str, is_phone: bool) -> None:
    """The kernel drives no MTP; an interface that it drives is a modem or so, and isn't even asked."""
    port = bus.plug(vendor_class(tmp_path, os_descriptor=True))
    describe(sysfs, port, driver=driver)
    assert bool(find_phones(bus, sysfs)) is is_phone
    assert bool(port.calls) is is_phone


@pytest.mark.parametrize(
    ("vendor_id", "product_id", "safe"),
    [
        (0x04A9, 0x2206, False),
        (0x04A9, 0x3113, False),
        (0x04A9, 0x3114, True),
        (0x03F0, 0xC511, False),
        (0x1DB2, 0x060F, False),
        (0x1DB2, 0x0610, True),
        (0x03EB, 0x0001, False),
    ],
)
def test_what_is_never_probed(vendor_id: int, product_id: int, safe: bool) -> None:
    """Scanners and the like, by whole makers or by ranges of products."""
    assert (not vendor_class_objection(vendor_id, product_id, "")) is safe


@pytest.mark.parametrize(
    ("vendor_id", "changes", "driver", "reason"),
    [
        (GOOGLE, {"string": "ADB Interface"}, "", "named 'ADB Interface'"),
        (UNKNOWN_MAKER, {}, "", "no maker known for that, and no OS descriptor says MTP"),
        (HUAWEI, {"os_descriptor": True}, "option", "the driver option drives it"),
        (COLORIMETER, {"os_descriptor": True}, "", "such devices hang when they are asked"),
        (UNKNOWN_MAKER, {"bInterfaceClass": 3}, "", "neither of class Still Image nor of vendor class"),
    ],
)
def test_rejections_are_logged(
    bus: Bus,
    sysfs: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    vendor_id: int,
    changes: dict[str, Any],
    driver: str,
    reason: str,
) -> None:
    """With -d, who misses his phone sees which interface was looked at and why it isn't taken for MTP's."""
    port = bus.plug(vendor_class(tmp_path, vendor_id=vendor_id, **changes))
    describe(sysfs, port, driver=driver)
    with caplog.at_level(logging.DEBUG, "mtpfs.transport.usb"):
        assert find_phones(bus, sysfs) == []
    (said,) = [record.getMessage() for record in caplog.records if record.name == "mtpfs.transport.usb"]
    assert said.startswith(f"usb 001,002 ({vendor_id:04x}:4d54), interface 0 of class ")
    assert reason in said


def test_other_rejections(
    bus: Bus, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So is an interface with other endpoints, and a device that can't be read; a phone isn't mentioned."""
    caplog.set_level(logging.DEBUG, "mtpfs.transport.usb")
    bus.plug(mtp_device(tmp_path))
    assert len(find_phones(bus, NO_SYSFS)) == 1
    assert caplog.messages == []
    descriptor = bus.get_interface_descriptor

    def with_two(*place: Any) -> Any:
        found = descriptor(*place)
        found.bNumEndpoints = 2
        return found

    monkeypatch.setattr(bus, "get_interface_descriptor", with_two)
    assert find_phones(bus, NO_SYSFS) == []
    assert "just a bulk endpoint each way and an interrupt endpoint" in caplog.messages[-1]

    def gone(*_place: Any) -> Any:
        raise usb_error(errno.ENODEV)

    monkeypatch.setattr(bus, "get_configuration_descriptor", gone)
    assert find_phones(bus, NO_SYSFS) == []
    assert "can't be read" in caplog.messages[-1]


def test_os_descriptor_of_a_player() -> None:
    """The Sansa Fuze's, from the reference; and of two functions each has its own."""
    fuze = bytes.fromhex("2800000000010400010000000000000000014d545000") + bytes(18)
    assert os_descriptor_names_mtp(fuze, 0)
    assert not os_descriptor_names_mtp(fuze, 1)
    second = bytes([1, 1]) + b"MTP".ljust(22, b"\0")
    assert os_descriptor_names_mtp(bytes(16) + b"\x00\x01WINUSB".ljust(24, b"\0") + second, 1)
    assert not os_descriptor_names_mtp(bytes(16) + b"\x00\x01PTP".ljust(24, b"\0"), 0)


@given(st.binary(max_size=80))
def test_os_descriptors_of_any_bytes(data: bytes) -> None:
    """Devices answer what they like."""
    assert os_vendor_code(data) is None or data[2:4] == b"M\0"
    assert isinstance(os_descriptor_names_mtp(data, 0), bool)


def test_sysfs_that_is_not_there() -> None:
    """A container has none."""
    assert sysfs_devices(NO_SYSFS) == {}


# --- none to be had


def test_left_the_bus(bus: Bus, tmp_path: Path) -> None:
    """Found, then unplugged, then opened."""
    port = bus.plug(mtp_device(tmp_path))
    (phone,) = find_phones(bus, NO_SYSFS)
    bus.unplug(port)
    with pytest.raises(SetupError, match="has left the bus") as caught:
        open_phone(phone, bus)
    assert caught.value.errno == errno.ENODEV


def test_no_libusb(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package that brings it is named."""

    def find(**_: Any) -> None:
        raise usb.core.NoBackendError("No backend available")

    monkeypatch.setattr(usb.core, "find", find)
    with pytest.raises(MachineError, match=r"apt install libusb-1\.0-0"):
        find_phones()


def test_bus_that_can_not_be_listed(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    """No exception of pyusb's leaves the transport."""

    def broken() -> None:
        raise usb_error(errno.EIO)

    monkeypatch.setattr(bus, "enumerate_devices", broken)
    with pytest.raises(SetupError, match="can't list"):
        find_phones(bus, NO_SYSFS)


def test_two_of_one_serial_number() -> None:
    """Cheap players share it: then their places are given, which do select."""
    twins = [UsbPhone(1, at, 1, 2, "Cheap", "Player", "0", 0, 0x81, 1, 0x82, 512) for at in (5, 6)]
    with pytest.raises(SetupError, match=r"serial:0 fits 2.*bus:001,005.*bus:001,006") as caught:
        choose(twins, parse_source("serial:0"))
    assert caught.value.errno == errno.EINVAL
    assert choose(twins, parse_source("bus:001,006")).address == 6


def test_twins_are_named_by_their_ports(bus: Bus, tmp_path: Path) -> None:
    """Two phones with one serial number: neither goes by that; each is named with its port and has its own directory."""
    for number in (3, 4):
        bus.plug(mtp_device(tmp_path, serial="S0"), number)
    bus.plug(mtp_device(tmp_path, serial="S1"), 5)
    phones = find_phones(bus, NO_SYSFS)
    assert [phone.source for phone in phones] == ["bus:001,002", "bus:001,003", "serial:S1"]
    with pytest.raises(
        SetupError, match=r"serial:S0 fits 2.*bus:001,002 at port 1-3.*bus:001,003 at port 1-4"
    ):
        choose(phones, parse_source("serial:S0"))
    names = [directory_name(phone.product, phone.serial, phone.port) for phone in phones[:2]]
    assert names == ["Oracle-S0-1-3", "Oracle-S0-1-4"]
