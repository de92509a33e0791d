"""USB by pyusb: finding MTP interfaces, and the transport over one of them.

Strategy: an interface is MTP's if its string says so, if its class is Still
Image, or if it is of vendor class with the same three endpoints and a vendor
known to do that. Names and serial numbers come from sysfs, so devices can be
listed without opening (or being allowed to open) any. The configuration is
never set and the device never reset: either makes many phones drop MTP until
they are plugged in again.

Transfers block in libusb with the interpreter's lock released. Every timeout is
finite (0 would mean for ever), and timeouts with nothing moved raise, so that
"slow" and "dead" stay the session's decision.

Invariant: this is the only module that imports pyusb, and no exception of
pyusb's leaves it.
"""

from __future__ import annotations

import errno
import struct
import threading
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import usb.core
import usb.util

from mtpfs.errors import (
    SetupError,
    TransportError,
    TransportGoneError,
    TransportStallError,
    TransportTimeoutError,
)
from mtpfs.transport import Buffer
from mtpfs.transport.phones import UsbPhone, claim_failure, left_the_bus

SYSFS = Path("/sys/bus/usb/devices")
CLAIM_PATIENCE = 3.0  # seconds: probers (mtp-probe, a file manager) let go soon after plug-in
CLAIM_PAUSE = 0.25
QUIET = 1.0  # seconds without the interface before it is claimed again
CONTROL_TIMEOUT = 1000  # milliseconds

_STILL_IMAGE = (6, 1, 1)
_VENDOR_CLASS = 0xFF
_VENDOR_CLASS_MAKERS = {
    0x041E: "Creative",
    0x045E: "Microsoft",
    0x0421: "Nokia",
    0x0781: "SanDisk",
    0x04E8: "Samsung",
    0x091E: "Garmin",
    0x0BB4: "HTC",
    0x1004: "LG",
    0x12D1: "Huawei",
    0x18D1: "Google",
    0x1949: "Amazon",
    0x22B8: "Motorola",
    0x2717: "Xiaomi",
    0x0FCE: "Sony Ericsson",
    0x054C: "Sony",
}
"""Vendor ids whose players and phones use a vendor-class MTP interface without its string."""
_CANCEL, _DEVICE_STATUS = 0x64, 0x67
_OUT_REQUEST, _IN_REQUEST = 0x21, 0xA1


def find_phones(backend: Any = None, sysfs: Path = SYSFS) -> list[UsbPhone]:
    """Return all MTP interfaces on the bus, in order of bus and address. Raises `SetupError` without libusb."""
    try:
        devices = list(usb.core.find(find_all=True, backend=backend))
    except usb.core.NoBackendError as error:
        raise SetupError("libusb isn't installed: `apt install libusb-1.0-0` brings it.") from error
    phones = (_inspect(device, sysfs) for device in devices)
    return sorted((phone for phone in phones if phone), key=lambda phone: (phone.bus, phone.address))


def open_phone(phone: UsbPhone, backend: Any = None) -> UsbTransport:
    """Claim a phone. Raises `SetupError` that says who holds it, or which permission is missing."""
    devices = usb.core.find(
        find_all=True,
        backend=backend,
        custom_match=lambda device: (device.bus, device.address) == (phone.bus, phone.address),
    )
    for device in devices:
        transport = UsbTransport(device, phone)
        transport.claim()
        return transport
    raise left_the_bus(phone)


class UsbTransport:
    """A claimed MTP interface; see `mtpfs.transport.Transport`."""

    def __init__(
        self,
        device: Any,
        phone: UsbPhone,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._device = device
        self._phone = phone
        self._clock = clock
        self._sleep = sleep
        self._closed = False
        # Releasing an interface while a transfer is in flight deadlocks libusb (libusb #1143).
        self._event_lock = threading.Lock()

    @property
    def name(self) -> str:
        return f"usb {self._phone.bus:03},{self._phone.address:03}"

    @property
    def max_packet(self) -> int:
        return self._phone.max_packet

    def monotonic(self) -> float:
        return self._clock()

    def sleep(self, seconds: float) -> None:
        self._sleep(seconds)

    def claim(self) -> None:
        """Claim the interface, patiently. Raises `SetupError` with what to do."""
        phone, deadline = self._phone, self._clock() + CLAIM_PATIENCE
        while True:
            try:
                self._claim_once()
                return
            except usb.core.USBError as error:
                if error.errno == errno.EBUSY and self._clock() < deadline:
                    self._sleep(CLAIM_PAUSE)
                    continue
                usb.util.dispose_resources(self._device)
                raise claim_failure(phone, error) from error

    def write(self, data: Buffer, timeout: float) -> int:
        with self._translated():
            return int(self._device.write(self._phone.bulk_out, data, _milliseconds(timeout)))

    def read(self, buffer: array[int], timeout: float) -> int:
        with self._translated():
            return int(self._device.read(self._phone.bulk_in, buffer, _milliseconds(timeout)))

    def read_event(self, timeout: float) -> bytes:
        with self._event_lock:
            if self._closed:
                raise TransportGoneError("closed")
            try:
                with self._translated():
                    data = self._device.read(self._phone.interrupt_in, 64, _milliseconds(timeout))
            except TransportTimeoutError:
                return b""
            except TransportStallError:
                with self._translated():
                    self._device.clear_halt(self._phone.interrupt_in)
                return b""
            return bytes(data)

    def clear_halt(self) -> None:
        with self._translated():
            self._device.clear_halt(self._phone.bulk_in)
            self._device.clear_halt(self._phone.bulk_out)

    def cancel(self, transaction_id: int) -> None:
        payload = struct.pack("<HI", 0x4001, transaction_id)
        with self._translated():
            self._device.ctrl_transfer(
                _OUT_REQUEST, _CANCEL, 0, self._phone.interface, payload, CONTROL_TIMEOUT
            )

    def device_status(self) -> int:
        # AOSP's server loop ends when fewer than 8 bytes are asked for, so ask for plenty.
        with self._translated():
            data = self._device.ctrl_transfer(
                _IN_REQUEST, _DEVICE_STATUS, 0, self._phone.interface, 32, CONTROL_TIMEOUT
            )
        if len(data) < 4:
            raise TransportError(f"device status of {len(data)} bytes")
        return int.from_bytes(bytes(data[2:4]), "little")

    def reopen(self) -> None:
        with self._event_lock:
            usb.util.dispose_resources(self._device)
            self._sleep(QUIET)
            try:
                self._claim_once()
            except usb.core.USBError as error:
                raise self._translate(error) from error

    def close(self) -> None:
        with self._event_lock:
            if not self._closed:
                self._closed = True
                usb.util.dispose_resources(self._device)

    def _claim_once(self) -> None:
        device, interface = self._device, self._phone.interface
        try:
            if device.is_kernel_driver_active(interface):
                device.detach_kernel_driver(interface)  # usb-storage on players with two modes
        except NotImplementedError:
            pass  # a backend without kernel drivers
        usb.util.claim_interface(device, interface)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        if self._closed:
            raise TransportGoneError("closed")
        try:
            yield
        except usb.core.USBError as error:
            raise self._translate(error) from error
        except NotImplementedError as error:
            raise TransportError(str(error)) from error

    def _translate(self, error: usb.core.USBError) -> TransportError:
        text = f"{self.name}: {error.strerror or error}"
        if isinstance(error, usb.core.USBTimeoutError) or error.errno == errno.ETIMEDOUT:
            return TransportTimeoutError(text)
        if error.errno == errno.EPIPE:
            return TransportStallError(text)
        gone = error.errno in {errno.ENODEV, errno.ESHUTDOWN}
        if gone or (error.errno in {errno.EIO, errno.ENOENT} and not Path(self._phone.node).exists()):
            return TransportGoneError(text)
        return TransportError(text)


def _inspect(device: Any, sysfs: Path) -> UsbPhone | None:
    """Describe a device if it has an MTP interface; None for all others, and for what can't be read."""
    try:
        configuration = device.get_active_configuration()
        interfaces = list(configuration)
    except (usb.core.USBError, NotImplementedError):
        return None  # unconfigured, or gone while we looked
    directory = _sysfs_directory(device, sysfs)
    for interface in interfaces:
        endpoints = _endpoints(interface)
        if endpoints is None or not _is_mtp(device, configuration, interface, directory):
            continue
        bulk_in, bulk_out, interrupt_in = endpoints
        return UsbPhone(
            bus=device.bus,
            address=device.address,
            vendor_id=device.idVendor,
            product_id=device.idProduct,
            manufacturer=_text(device, directory, "manufacturer", device.iManufacturer),
            product=_text(device, directory, "product", device.iProduct),
            serial=_text(device, directory, "serial", device.iSerialNumber),
            interface=interface.bInterfaceNumber,
            bulk_in=bulk_in.bEndpointAddress,
            bulk_out=bulk_out.bEndpointAddress,
            interrupt_in=interrupt_in.bEndpointAddress,
            max_packet=bulk_out.wMaxPacketSize,
        )
    return None


def _endpoints(interface: Any) -> tuple[Any, Any, Any] | None:
    """Return (bulk in, bulk out, interrupt in) if the interface has exactly these."""
    found: dict[tuple[int, int], Any] = {}
    for endpoint in interface:
        kind = usb.util.endpoint_type(endpoint.bmAttributes)
        found[kind, usb.util.endpoint_direction(endpoint.bEndpointAddress)] = endpoint
    wanted = (
        (usb.util.ENDPOINT_TYPE_BULK, usb.util.ENDPOINT_IN),
        (usb.util.ENDPOINT_TYPE_BULK, usb.util.ENDPOINT_OUT),
        (usb.util.ENDPOINT_TYPE_INTR, usb.util.ENDPOINT_IN),
    )
    if interface.bNumEndpoints != len(wanted) or any(key not in found for key in wanted):
        return None
    bulk_in, bulk_out, interrupt_in = (found[key] for key in wanted)
    return bulk_in, bulk_out, interrupt_in


def _is_mtp(device: Any, configuration: Any, interface: Any, directory: Path | None) -> bool:
    kind = (interface.bInterfaceClass, interface.bInterfaceSubClass, interface.bInterfaceProtocol)
    if kind == _STILL_IMAGE:
        return True
    name = f"{_parent_name(directory)}:{configuration.bConfigurationValue}.{interface.bInterfaceNumber}"
    described = _text(device, directory and directory / name, "interface", interface.iInterface)
    if "MTP" in described:
        return True
    return (
        interface.bInterfaceClass == _VENDOR_CLASS
        and device.idVendor in _VENDOR_CLASS_MAKERS
        and not described
    )


def _parent_name(directory: Path | None) -> str:
    return directory.name if directory else ""


def _sysfs_directory(device: Any, sysfs: Path) -> Path | None:
    """Return the device's directory in sysfs; None where there is no sysfs."""
    if not sysfs.is_dir():
        return None
    for directory in sysfs.iterdir():
        if _file_text(directory / "busnum") == str(device.bus) and _file_text(directory / "devnum") == str(
            device.address
        ):
            return directory
    return None


def _text(device: Any, directory: Path | None, attribute: str, index: int) -> str:
    """Return a string of the device: from sysfs, which needs no permission, else by asking it."""
    if not index:
        return ""
    if directory is not None:
        return _file_text(directory / attribute)
    try:
        return str(usb.util.get_string(device, index) or "").strip("\0 ")
    except (usb.core.USBError, ValueError, NotImplementedError):
        return ""


def _file_text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip("\0 \n")
    except OSError:
        return ""


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))
