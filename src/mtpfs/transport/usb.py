"""USB by pyusb: finding MTP interfaces, and the transport over one of them.

An interface is MTP's if its string says so, or if its class is Still Image. One of
vendor class with the same three endpoints is, too, if its vendor is known for that, or
if its OS descriptor names MTP. The configuration, names and serial numbers come from
sysfs (`mtpfs.transport.recognition`). So devices can be listed without opening any, and
without the right to. The configuration is never set and the device never reset: either
makes many phones drop MTP until they are plugged in again.

Transfers block in libusb with the interpreter's lock released. Every timeout is
finite (0 would mean for ever). A timeout in which nothing moved raises. So it is the
session that decides between "slow" and "dead".

A device that was unplugged is looked for in sysfs, which costs nothing. Only when it is
there again, libusb looks for it, in a new context. An old context learns of arrivals
from udev only, and of none where no udevd runs. Each look at the bus finds out whether another
device shares its serial number. The first look after it has left comes at once, so a
device that is seen then at another port with that number is another one.

Invariant: this is the only module that imports pyusb, and no exception of
pyusb's leaves it.
"""

from __future__ import annotations

import errno
import logging
import struct
import threading
import time
from array import array
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import usb.backend.libusb1
import usb.core
import usb.util

from mtpfs.errors import (
    MachineError,
    TransportError,
    TransportGoneError,
    TransportStallError,
    TransportTimeoutError,
)
from mtpfs.redaction import hide_serial
from mtpfs.transport import PLUGGED_IN, Buffer, recognition
from mtpfs.transport.phones import UnavailableError, UsbPhone, claim_failure, left_the_bus, tell_apart
from mtpfs.transport.recognition import SysfsDevice, sysfs_devices

log = logging.getLogger(__name__)

SYSFS = Path("/sys/bus/usb/devices")
CLAIM_PATIENCE = 3.0  # seconds: probers (mtp-probe, a file manager) let go soon after plug-in
CLAIM_PAUSE = 0.25
QUIET = 1.0  # seconds without the interface before it is claimed again
CONTROL_TIMEOUT = 1000  # milliseconds

_CANCEL, _DEVICE_STATUS = 0x64, 0x67
_OUT_REQUEST, _IN_REQUEST = 0x21, 0xA1
_GET_DESCRIPTOR, _STRING_DESCRIPTOR = 0x06, 0x03
_IN_STANDARD, _IN_VENDOR = 0x80, 0xC0
_SPEAKING_ERRORS = {errno.EACCES, errno.EBUSY, errno.ENOMEM, errno.EOVERFLOW}
"""Error numbers that mean the same to a program on the mount. ENOENT, say, would be wrong about a file."""


def find_phones(backend: Any = None, sysfs: Path = SYSFS) -> list[UsbPhone]:
    """Return all MTP interfaces on the bus, in order of bus and address. Raises `SetupError` without libusb."""
    entries = sysfs_devices(sysfs)
    devices = _devices(backend, lambda _device: True)
    phones = [_inspect(device, entries.get((device.bus, device.address))) for device in devices]
    return tell_apart(
        sorted((phone for phone in phones if phone), key=lambda phone: (phone.bus, phone.address))
    )


def open_phone(
    phone: UsbPhone,
    backend: Any = None,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> UsbTransport:
    """Claim a phone. Raises `SetupError` that says which program holds it, or which permission is missing."""
    device = _device_of(phone, backend)
    if device is None:
        raise left_the_bus(phone)
    transport = UsbTransport(device, phone, backend, clock=clock, sleep=sleep)
    transport.claim()
    return transport


def _new_context() -> Any:
    usb.backend.libusb1._lib_object = None  # noqa: SLF001 - pyusb keeps its first one for ever
    return usb.backend.libusb1.get_backend()


def _device_of(phone: UsbPhone, backend: Any) -> Any:
    place = (phone.bus, phone.address)
    return next(iter(_devices(backend, lambda device: (device.bus, device.address) == place)), None)


def _devices(backend: Any, wanted: Callable[[Any], bool]) -> list[Any]:
    try:
        found = list(usb.core.find(find_all=True, backend=backend, custom_match=wanted))
    except usb.core.NoBackendError as error:
        raise MachineError("libusb isn't installed: `apt install libusb-1.0-0` brings it.") from error
    except usb.core.USBError as error:
        raise UnavailableError(errno.EIO, f"libusb can't list the USB devices: {error}.") from error
    for device in found:
        # libusb crashes if a device is released after its context. pyusb may do so: its order is left to chance.
        device._ctx.dev.context = device.backend  # noqa: SLF001 - the only object that goes when libusb's own does
    return found


class UsbTransport:
    """A claimed MTP interface; see `mtpfs.transport.Transport`."""

    def __init__(
        self,
        device: Any,
        phone: UsbPhone,
        backend: Any = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._device = device
        self._phone = phone
        self._backend = backend
        self._clock = clock
        self._sleep = sleep
        self._closed = False
        self._before = phone
        """The phone that was claimed before `reconnect` found one."""
        self._is_missing = False
        """It was looked for at least once since it left."""
        # Releasing an interface while a transfer is in flight deadlocks libusb (libusb #1143).
        self._event_lock = threading.Lock()

    @property
    def name(self) -> str:
        return f"usb {self._phone.bus:03},{self._phone.address:03}"

    @property
    def advice(self) -> str:
        """Return what to do if it doesn't answer."""
        return PLUGGED_IN

    @property
    def max_packet(self) -> int:
        return self._phone.max_packet

    def monotonic(self) -> float:
        return self._clock()

    def sleep(self, seconds: float) -> None:
        self._sleep(seconds)

    def claim(self) -> None:
        """Claim the interface, patiently. Raises `SetupError` with what to do."""
        try:
            self._claim()
        except usb.core.USBError as error:
            usb.util.dispose_resources(self._device)
            raise claim_failure(self._phone, error) from error

    def write(self, data: Buffer, timeout: float) -> int:
        if isinstance(data, memoryview):
            # pyusb would copy a view item by item: 34 ms per MiB instead of 0.1, with the interpreter locked.
            copy = array("B")
            copy.frombytes(data)
            data = copy
        with self._translated():
            return int(self._device.write(self._phone.bulk_out, data, _milliseconds(timeout)))

    def read(self, buffer: array[int], timeout: float) -> int:
        if len(buffer) % self.max_packet:  # the last packet might not fit: EOVERFLOW, and data lost
            raise ValueError(f"buffer of {len(buffer)} bytes is no multiple of {self.max_packet}")
        with self._translated():
            return int(self._device.read(self._phone.bulk_in, buffer, _milliseconds(timeout)))

    def read_event(self, timeout: float) -> bytes:
        with self._event_lock:
            if self._closed:
                raise TransportGoneError("closed")
            try:
                with self._translated():
                    # An event has at most 24 bytes; a whole one must fit even in packets of 8.
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

    def release(self) -> None:
        with self._event_lock:
            usb.util.dispose_resources(self._device)
            self._phone = self._before
            self._go_by_port()

    def reopen(self) -> None:
        with self._event_lock, self._translated():
            usb.util.dispose_resources(self._device)
            self._sleep(QUIET)
            self._claim()

    def reconnect(self) -> bool:
        with self._event_lock:
            if self._closed:
                return False
            first_look, self._is_missing = not self._is_missing, True
            if not self._may_be_back():
                return False
            usb.util.dispose_resources(self._device)
            backend = self._backend or _new_context()
            there = [phone for phone in find_phones(backend) if self._phone.is_like(phone)]
            if any(phone.has_twin or (first_look and phone.port != self._phone.port) for phone in there):
                # At the first look this one has just left. It can't have been plugged in elsewhere yet.
                self._go_by_port()
            phone = next(filter(self._phone.is_same, there), None)
            device = _device_of(phone, backend) if phone else None
            if phone is None or device is None:
                return False
            self._before = self._phone
            self._device, self._phone = device, replace(phone, has_twin=self._phone.has_twin)
            self.claim()
            self._is_missing = False
            return True

    def close(self) -> None:
        with self._event_lock:
            if not self._closed:
                self._closed = True
                usb.util.dispose_resources(self._device)

    def _may_be_back(self) -> bool:
        if self._backend is not None:
            return True  # another bus than the one in sysfs
        phone = self._phone
        wanted = phone.serial, f"{phone.vendor_id:04x}"
        return any(
            (entry.text("serial"), entry.text("idVendor")) == wanted
            for entry in sysfs_devices(SYSFS).values()
            if entry.port == phone.port or not phone.goes_by_port
        )

    def _go_by_port(self) -> None:
        """Note that there is another device with this one's serial number."""
        if not self._phone.goes_by_port:
            log.warning(
                "there is another %s with the same serial number; this one is waited for at port %s",
                self._phone.name,
                self._phone.port,
            )
        self._phone = replace(self._phone, has_twin=True)

    def _claim(self) -> None:
        deadline = self._clock() + CLAIM_PATIENCE
        while True:
            try:
                self._claim_once()
            except usb.core.USBError as error:
                if error.errno != errno.EBUSY or self._clock() >= deadline:
                    raise
                self._sleep(CLAIM_PAUSE)
            else:
                return

    def _claim_once(self) -> None:
        device, phone = self._device, self._phone
        try:
            if device.is_kernel_driver_active(phone.interface):
                device.detach_kernel_driver(phone.interface)  # usb-storage on players with two modes
        except NotImplementedError:
            pass  # a backend without kernel drivers
        usb.util.claim_interface(device, phone.interface)
        if phone.alternate:  # never without need: some phones take SET_INTERFACE for a reset
            device.set_interface_altsetting(phone.interface, phone.alternate)

    def _translated(self) -> _Translated:
        if self._closed:
            raise TransportGoneError("closed")
        return _Translated(self)

    def translate(self, error: BaseException | None) -> TransportError | None:
        """Return our error for one that pyusb raises; None for any other."""
        if isinstance(error, usb.core.USBError):
            return self._translate(error)
        if isinstance(error, NotImplementedError | ValueError):
            # Not supported by the backend; or the endpoint is not there, as after a change of USB mode.
            return TransportError(f"{self.name}: {error}")
        return None

    def _translate(self, error: usb.core.USBError) -> TransportError:
        text = f"{self.name}: {error.strerror or error}"
        if isinstance(error, usb.core.USBTimeoutError) or error.errno == errno.ETIMEDOUT:
            return TransportTimeoutError(text)
        if error.errno == errno.EPIPE:
            return TransportStallError(text)
        gone = error.errno in {errno.ENODEV, errno.ESHUTDOWN}
        if gone or (error.errno in {errno.EIO, errno.ENOENT} and not Path(self._phone.node).exists()):
            return TransportGoneError(text)
        failure = TransportError(text)
        if error.errno in _SPEAKING_ERRORS:
            failure.errno = error.errno
        return failure


class _Translated:
    """Turns pyusb's errors in a block into ours.

    A generator would do, but contextlib's frame refers to the error that refers to the frame. The device, which
    both refer to, and libusb's context would then live until the next garbage collection.
    """

    def __init__(self, transport: UsbTransport) -> None:
        self._transport = transport

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        translation = self._transport.translate(error)
        if translation is not None:
            try:
                raise translation from error
            finally:
                del translation  # its traceback holds this frame


def _inspect(device: Any, entry: SysfsDevice | None) -> UsbPhone | None:
    """Describe a device if it has an MTP interface; None for all others, and for what can't be read."""
    entry = entry or SysfsDevice(None)
    try:
        configuration = _active_configuration(device, entry)
        for interface in configuration:
            endpoints = _endpoints(interface)
            objection = (
                "it hasn't just a bulk endpoint each way and an interrupt endpoint in"
                if endpoints is None
                else _objection(device, configuration, interface, entry)
            )
            if endpoints is not None and not objection:
                return _describe(device, interface, endpoints, entry)
            log.debug("%s: not MTP: %s", _interface_name(device, interface), objection)
    except (usb.core.USBError, NotImplementedError) as error:  # unconfigured, or gone while we looked
        log.debug("%s: not MTP: it can't be read: %s", _device_name(device), error)
    finally:
        usb.util.dispose_resources(device)  # where it had to be opened
    return None


def _device_name(device: Any) -> str:
    return f"usb {device.bus:03},{device.address:03} ({device.idVendor:04x}:{device.idProduct:04x})"


def _interface_name(device: Any, interface: Any) -> str:
    kind = (interface.bInterfaceClass, interface.bInterfaceSubClass, interface.bInterfaceProtocol)
    alternate = f".{interface.bAlternateSetting}" if interface.bAlternateSetting else ""
    return (
        f"{_device_name(device)}, interface {interface.bInterfaceNumber}{alternate} "
        f"of class {'/'.join(f'{number:02x}' for number in kind)}"
    )


def _active_configuration(device: Any, entry: SysfsDevice) -> Any:
    """Return the active configuration; pyusb's own way opens the node, which we may lack permission for."""
    value = entry.text("bConfigurationValue")
    known = (configuration for configuration in device if str(configuration.bConfigurationValue) == value)
    return next(known, None) or device.get_active_configuration()


def _describe(device: Any, interface: Any, endpoints: tuple[Any, Any, Any], entry: SysfsDevice) -> UsbPhone:
    bulk_in, bulk_out, interrupt_in = endpoints
    serial = entry.text("serial") or _string(device, device.iSerialNumber)
    hide_serial(serial)
    return UsbPhone(
        bus=device.bus,
        address=device.address,
        vendor_id=device.idVendor,
        product_id=device.idProduct,
        manufacturer=entry.text("manufacturer") or _string(device, device.iManufacturer),
        product=entry.text("product") or _string(device, device.iProduct),
        serial=serial,
        interface=interface.bInterfaceNumber,
        bulk_in=bulk_in.bEndpointAddress,
        bulk_out=bulk_out.bEndpointAddress,
        interrupt_in=interrupt_in.bEndpointAddress,
        max_packet=bulk_out.wMaxPacketSize,
        alternate=interface.bAlternateSetting,
        port=entry.port or _port(device),
    )


def _port(device: Any) -> str:
    """Return the port as sysfs would call it; "" if libusb doesn't know."""
    numbers = device.port_numbers or ()
    return f"{device.bus}-{'.'.join(map(str, numbers))}" if numbers else ""


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


def _objection(device: Any, configuration: Any, interface: Any, entry: SysfsDevice) -> str:
    """Return why an interface with an MTP interface's endpoints isn't one; "" if it is."""
    kind = (interface.bInterfaceClass, interface.bInterfaceSubClass, interface.bInterfaceProtocol)
    if kind == recognition.STILL_IMAGE:
        return ""
    place = (configuration.bConfigurationValue, interface.bInterfaceNumber)
    described = entry.interface_text(*place, "interface")
    if "MTP" in described:
        return ""
    if interface.bInterfaceClass != recognition.VENDOR_CLASS:
        return "neither of class Still Image nor of vendor class, and not named MTP"
    driver = entry.driver(*place)
    unasked = recognition.vendor_class_objection(device.idVendor, device.idProduct, driver)
    if unasked:
        return unasked
    described = described or _string(device, interface.iInterface)
    if described:  # named for something else: it isn't ours to probe
        return "" if "MTP" in described else f"named {described!r}"
    if device.idVendor in recognition.VENDOR_CLASS_MAKERS or _os_descriptor_names_mtp(
        device, interface.bInterfaceNumber
    ):
        return ""
    return "of vendor class and without a name, of no maker known for that, and no OS descriptor says MTP"


def _os_descriptor_names_mtp(device: Any, interface: int) -> bool:
    """Ask for Microsoft's descriptors, as Windows does of everything that is plugged in."""
    index = _STRING_DESCRIPTOR << 8 | recognition.OS_STRING
    try:
        string = device.ctrl_transfer(
            _IN_STANDARD, _GET_DESCRIPTOR, index, 0, recognition.OS_STRING_LENGTH, CONTROL_TIMEOUT
        )
        code = recognition.os_vendor_code(bytes(string))
        if code is None:
            return False
        size = recognition.OS_ANSWER_LENGTH
        answer = device.ctrl_transfer(
            _IN_VENDOR, code, 0, recognition.OS_COMPATIBLE_ID, size, CONTROL_TIMEOUT
        )
    except (usb.core.USBError, NotImplementedError):
        return False
    return recognition.os_descriptor_names_mtp(bytes(answer), interface)


def _string(device: Any, index: int) -> str:
    """Ask the device for one of its strings; "" if it has none, or none for us."""
    try:
        return (usb.util.get_string(device, index) or "").strip("\0 ") if index else ""
    except (usb.core.USBError, ValueError, NotImplementedError):
        return ""


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))
