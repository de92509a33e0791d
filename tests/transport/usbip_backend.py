"""A USB bus for pyusb, on which devices of the `usbip` package are plugged in.

Strategy: every opened handle is one USB/IP connection through the package's
in-process `Loopback`. Requests carry sequence numbers and a thread hands the
replies to whoever waits, so that a bulk and an interrupt read can be under way
at once, and a timeout unlinks its request as the kernel does: nothing is lost,
and a device that stays silent really is waited for. What no `usbip` device can
do (refuse a claim, vanish, break a transfer) is scripted in the `Port`.

Invariant: whatever pyusb gets from here it could get from libusb, errnos included.
"""

from __future__ import annotations

import errno
import os
import queue
import socket
import struct
import threading
from array import array
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import usb.backend
import usb.core
import usbip
from usbip import core, protocol
from usbip.classes.device.mtp import MTP

from mtpfs.transport.usb import UsbTransport, find_phones, open_phone
from transport.usbip_phone import PRODUCT_ID, VENDOR_ID, Store

NO_SYSFS = Path("/nonexistent")
_HEADER = struct.Struct(">IIIIIIiiii8s")
_DEVICE_FIELDS = (
    "bLength bDescriptorType bcdUSB bDeviceClass bDeviceSubClass bDeviceProtocol bMaxPacketSize0 idVendor "
    "idProduct bcdDevice iManufacturer iProduct iSerialNumber bNumConfigurations"
)
_CONFIGURATION_FIELDS = "bLength bDescriptorType wTotalLength bNumInterfaces bConfigurationValue iConfiguration bmAttributes bMaxPower"
_INTERFACE_FIELDS = (
    "bLength bDescriptorType bInterfaceNumber bAlternateSetting bNumEndpoints bInterfaceClass bInterfaceSubClass "
    "bInterfaceProtocol iInterface"
)
_ENDPOINT_FIELDS = "bLength bDescriptorType bEndpointAddress bmAttributes wMaxPacketSize bInterval"


def usb_error(code: int) -> usb.core.USBError:
    kind = usb.core.USBTimeoutError if code == errno.ETIMEDOUT else usb.core.USBError
    return kind(os.strerror(code), None, code)


@dataclass
class Port:
    """A place on the bus with a device in it, and what shall go wrong with it."""

    device: Any
    loopback: Any
    bus: int
    address: int
    number: int = 1
    """Which socket it is in."""
    open_error: int = 0
    claim_errors: list[int] = field(default_factory=list)
    """One errno per attempt, then claiming works."""
    faults: dict[int, list[int]] = field(default_factory=dict)
    """By endpoint address: an errno for each of the next transfers."""
    kernel_drivers: set[int] = field(default_factory=set)
    """Interfaces that a kernel driver is bound to."""
    calls: list[str] = field(default_factory=list)
    """What was done to the device besides transfers."""


class Handle:
    """An opened device: one connection, any number of requests under way."""

    def __init__(self, port: Port) -> None:
        self.port = port
        self._socket = port.loopback.connect()
        info = protocol.client_import(self._socket, port.device.busid.encode())
        self._device_id = info["busnum"] << 16 | info["devnum"]
        self._sequence = 0
        self._waiting: dict[int, queue.SimpleQueue[tuple[int, int, bytes]]] = {}
        self._lock = threading.Lock()
        self._receiver = threading.Thread(target=self._receive, name="usbip receiver", daemon=True)
        self._receiver.start()

    def close(self) -> None:
        self.cut()
        self._socket.close()

    def cut(self) -> None:
        """Pull the cable: what is under way ends with ENODEV, and so does what follows."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # closing alone wouldn't wake the receiver
        self._receiver.join()

    def submit(
        self, endpoint: int, data: bytes, length: int, timeout: int, setup: bytes = bytes(8)
    ) -> tuple[int, bytes]:
        """Do one transfer; return how many bytes moved, and those that came in."""
        if timeout <= 0:
            raise AssertionError("a timeout of 0 is for ever")
        if (errors := self.port.faults.get(endpoint)) is not None and errors:
            raise usb_error(errors.pop(0))
        direction = core.IN if endpoint & 0x80 else core.OUT
        number, reply = self._send(protocol.CMD_SUBMIT, direction, endpoint & 0x0F, 0, length, setup, data)
        try:
            status, moved, received = reply.get(timeout=timeout / 1000)
        except queue.Empty:
            _, unlinked = self._send(
                protocol.CMD_UNLINK, direction, endpoint & 0x0F, number, 0, bytes(8), b""
            )
            unlinked.get()
            try:
                status, moved, received = reply.get_nowait()  # it was faster than the unlinking
            except queue.Empty:
                raise usb_error(errno.ETIMEDOUT) from None
        finally:
            with self._lock:
                self._waiting.pop(number, None)
        if status:
            raise usb_error(-status)
        return moved, received

    def _send(
        self, command: int, direction: int, endpoint: int, flags: int, length: int, setup: bytes, data: bytes
    ) -> tuple[int, queue.SimpleQueue[tuple[int, int, bytes]]]:
        reply: queue.SimpleQueue[tuple[int, int, bytes]] = queue.SimpleQueue()
        with self._lock:
            self._sequence += 1
            number = self._sequence
            self._waiting[number] = reply
            head = (command, number, self._device_id, direction, endpoint, flags, length, 0, 0, 0, setup)
            try:
                self._socket.sendall(_HEADER.pack(*head) + data)
            except OSError:
                reply.put((-errno.ENODEV, 0, b""))
        return number, reply

    def _receive(self) -> None:
        while (header := self._receive_exactly(48)) is not None:
            number, direction = struct.unpack(">4xI4xI", header[:16])
            status, actual = struct.unpack(">ii", header[20:28])
            body = b""
            if header[3] == protocol.RET_SUBMIT and direction == core.IN and actual > 0:
                body = self._receive_exactly(actual) or b""
            with self._lock:
                if (reply := self._waiting.pop(number, None)) is not None:
                    reply.put((status, actual, body))
        with self._lock:
            for reply in self._waiting.values():
                reply.put((-errno.ENODEV, 0, b""))

    def _receive_exactly(self, count: int) -> bytes | None:
        try:
            return protocol._recvall(self._socket, count)  # type: ignore[no-any-return] # usbip has no types
        except OSError:
            return None


class Bus(usb.backend.IBackend):
    """The pyusb backend: `Bus().plug(device)`."""

    def __init__(self) -> None:
        super().__init__()
        self.ports: list[Port] = []
        self.handles: list[Handle] = []
        self._plugged = 0

    def plug(self, device: Any, number: int = 1) -> Port:
        self._plugged += 1
        loopback = usbip.Loopback()
        device.plug(via=loopback)
        port = Port(device, loopback, bus=1, address=self._plugged + 1, number=number)
        self.ports.append(port)
        return port

    def unplug(self, port: Port) -> None:
        self.ports.remove(port)
        for handle in self.handles:
            if handle.port is port:
                handle.cut()
        port.device.unplug()  # closes usbip's sockets, so nobody may be waiting on them any more

    def close(self) -> None:
        for port in list(self.ports):
            self.unplug(port)
        for handle in list(self.handles):
            self.close_device(handle)

    # --- descriptors

    def enumerate_devices(self) -> Iterator[Port]:
        return iter(list(self.ports))

    def get_device_descriptor(self, port: Port) -> SimpleNamespace:
        fields = struct.unpack("<BBHBBBBHHHBBBB", port.device.device_descriptor().pack())
        place = {
            "bus": port.bus,
            "address": port.address,
            "port_number": port.number,
            "port_numbers": (port.number,),
            "speed": 3,
        }
        return SimpleNamespace(**dict(zip(_DEVICE_FIELDS.split(), fields, strict=True)), **place)

    def get_configuration_descriptor(self, port: Port, config: int) -> SimpleNamespace:
        if config:
            raise IndexError
        return _descriptor("<BBHBBBBB", _CONFIGURATION_FIELDS, port.device.config_bytes()[:9])

    def get_interface_descriptor(self, port: Port, intf: int, alt: int, _config: int) -> SimpleNamespace:
        return _descriptor("<9B", _INTERFACE_FIELDS, self._interface(port, intf, alt)[0])

    def get_endpoint_descriptor(
        self, port: Port, ep: int, intf: int, alt: int, _config: int
    ) -> SimpleNamespace:
        found = _descriptor("<BBBBHB", _ENDPOINT_FIELDS, self._interface(port, intf, alt)[ep + 1][:7])
        found.bRefresh = found.bSynchAddress = 0
        return found

    @staticmethod
    def _interface(port: Port, number: int, alternate: int) -> list[bytes]:
        """Return the interface descriptor followed by those of its endpoints."""
        found: list[bytes] = []
        for raw in core.iter_descriptors(port.device.config_bytes(), offset=9):
            if raw[1] == core.DT_INTERFACE:
                if found:
                    break
                if (raw[2], raw[3]) == (number, alternate):
                    found.append(raw)
            elif raw[1] == core.DT_ENDPOINT and found:
                found.append(raw)
        if not found:
            raise IndexError
        return found

    # --- handles

    def open_device(self, port: Port) -> Handle:
        port.calls.append("open")
        if port.open_error:
            raise usb_error(port.open_error)
        if port not in self.ports:
            raise usb_error(errno.ENODEV)
        handle = Handle(port)
        self.handles.append(handle)
        return handle

    def close_device(self, handle: Handle) -> None:
        if handle in self.handles:  # a test that failed leaves pyusb's half to be closed after ours
            handle.port.calls.append("close")
            self.handles.remove(handle)
            handle.close()

    def get_configuration(self, _handle: Handle) -> int:
        return 1

    def set_configuration(self, handle: Handle, _value: int) -> None:
        handle.port.calls.append("set_configuration")

    def reset_device(self, handle: Handle) -> None:
        handle.port.calls.append("reset")

    def set_interface_altsetting(self, handle: Handle, interface: int, alternate: int) -> None:
        handle.port.calls.append(f"set_interface {interface} {alternate}")

    def claim_interface(self, handle: Handle, interface: int) -> None:
        handle.port.calls.append(f"claim {interface}")
        if interface in handle.port.kernel_drivers:
            raise usb_error(errno.EBUSY)
        if handle.port.claim_errors:
            raise usb_error(handle.port.claim_errors.pop(0))

    def release_interface(self, handle: Handle, interface: int) -> None:
        handle.port.calls.append(f"release {interface}")

    def is_kernel_driver_active(self, handle: Handle, interface: int) -> bool:
        return interface in handle.port.kernel_drivers

    def detach_kernel_driver(self, handle: Handle, interface: int) -> None:
        handle.port.calls.append(f"detach {interface}")
        handle.port.kernel_drivers.remove(interface)

    # --- transfers

    def bulk_write(self, handle: Handle, ep: int, _interface: int, data: array[int], timeout: int) -> int:
        return handle.submit(ep, data.tobytes(), len(data), timeout)[0]

    def bulk_read(self, handle: Handle, ep: int, _interface: int, buff: array[int], timeout: int) -> int:
        _, received = handle.submit(ep, b"", len(buff), timeout)
        memoryview(buff).cast("B")[: len(received)] = received
        return len(received)

    intr_read = bulk_read

    def ctrl_transfer(
        self,
        handle: Handle,
        request_type: int,
        request: int,
        value: int,
        index: int,
        data: array[int],
        timeout: int,
    ) -> int:
        setup = struct.pack("<BBHHH", request_type, request, value, index, len(data))
        if not request_type & 0x80:
            return handle.submit(0, data.tobytes(), len(data), timeout, setup)[0]
        _, received = handle.submit(0x80, b"", len(data), timeout, setup)
        memoryview(data).cast("B")[: len(received)] = received
        return len(received)

    def clear_halt(self, handle: Handle, ep: int) -> None:
        self.ctrl_transfer(handle, 0x02, 0x01, 0, ep, array("B"), 1000)


def _descriptor(layout: str, names: str, raw: bytes) -> SimpleNamespace:
    fields = dict(zip(names.split(), struct.unpack(layout, raw), strict=True))
    return SimpleNamespace(**fields, extra_descriptors=[])


def mtp_device(directory: Path, *, serial: str = "S1", vendor_id: int = VENDOR_ID, **changes: Any) -> Any:
    """Make a phone that serves `directory`; `changes` are attributes of its interface. See `vendor_class`."""
    device = usbip.USBDevice(vendor_id, PRODUCT_ID, manufacturer="Others", product="Oracle", serial=serial)
    device.set_speed(usbip.SPEED_HIGH)
    mtp = MTP(Store(directory), name="Oracle", winusb=changes.pop("os_descriptor", False))
    text = changes.pop("string", "")
    mtp.string_index = device.add_string(text)
    for name, value in changes.items():
        setattr(mtp, name, value)
    device.add(mtp)
    return device


def vendor_class(directory: Path, **changes: Any) -> Any:
    """Make a phone with an interface of vendor class, as Android's are."""
    kind = {"bInterfaceClass": 0xFF, "bInterfaceSubClass": 0xFF, "bInterfaceProtocol": 0}
    return mtp_device(directory, **(kind | changes))


@contextmanager
def usb_bus() -> Iterator[Bus]:
    """Make an empty bus, and take everything off it in the end."""
    bus = Bus()
    try:
        yield bus
    finally:
        bus.close()


@contextmanager
def usbip_transport(directory: Path) -> Iterator[UsbTransport]:
    """Plug in a phone that serves `directory`, and claim it: a transport for sessions."""
    with usb_bus() as bus:
        bus.plug(mtp_device(directory))
        transport = open_phone(find_phones(bus, NO_SYSFS)[0], bus)
        try:
            yield transport
        finally:
            transport.close()
