"""An MTP phone that others wrote (PyPI `usbip`), reached through pyusb itself.

`usbip` has device classes and an in-process transport; `UsbipBackend` makes them
a pyusb backend. So the code that talks to real phones runs, from descriptors
over claiming to transfers, against a responder of another author. What
`usbip` can't do is stay silent: a read waits until the device answers, so reads
of the interrupt pipe are answered here, by a timeout.
"""

from __future__ import annotations

import errno
import os
import shutil
import time
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import usb.backend
import usb.core
import usbip
from usbip.classes.device.mtp import MTP

VENDOR_ID, PRODUCT_ID = 0x1209, 0x4D54
STALLED = usb.core.USBError("Pipe error", -9, errno.EPIPE)


class Store:
    """A directory, as `usbip`'s MTP class wants its storage."""

    read_only = False
    description = "Directory"

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def listdir(self, path: str) -> list[str]:
        return os.listdir(self._directory / path)

    def stat(self, path: str) -> tuple[bool, int, float]:
        status = (self._directory / path).stat()
        return (self._directory / path).is_dir(), status.st_size, status.st_mtime

    def read(self, path: str, offset: int = 0, size: int | None = None) -> bytes:
        with (self._directory / path).open("rb") as file:
            file.seek(offset)
            return file.read(-1 if size is None else size)

    def write(self, path: str, data: bytes) -> None:
        (self._directory / path).write_bytes(data)

    def pwrite(self, path: str, offset: int, data: bytes) -> None:
        with (self._directory / path).open("r+b") as file:
            file.seek(offset)
            file.write(data)

    def truncate(self, path: str, size: int) -> None:
        os.truncate(self._directory / path, size)

    def mkdir(self, path: str) -> None:
        (self._directory / path).mkdir()

    def remove(self, path: str) -> None:
        if (self._directory / path).is_dir():
            shutil.rmtree(self._directory / path)
        else:
            (self._directory / path).unlink()

    def rename(self, old: str, new: str) -> None:
        (self._directory / old).rename(self._directory / new)

    def disk_usage(self) -> tuple[int, int]:
        return 1 << 30, 1 << 29


class UsbipBackend(usb.backend.IBackend):
    """A bus with one device, for pyusb. `claim_error` makes claiming fail with that errno."""

    def __init__(self, transport: Any) -> None:
        super().__init__()
        self._handle = usbip.open(VENDOR_ID, PRODUCT_ID, transport=transport)
        self.present = True
        self.claim_error: int | None = None
        self.claims = 0
        self._configuration = self._handle.control(0x80, 0x06, 0x0200, 0, 4096)

    def close(self) -> None:
        self._handle.close()

    def enumerate_devices(self) -> Iterator[int]:
        return iter([1] if self.present else [])

    def get_device_descriptor(self, _dev: int) -> SimpleNamespace:
        raw = self._handle.control(0x80, 0x06, 0x0100, 0, 18)
        names = (
            "bLength",
            "bDescriptorType",
            "bDeviceClass",
            "bDeviceSubClass",
            "bDeviceProtocol",
            "bMaxPacketSize0",
        )
        at = (0, 1, 4, 5, 6, 7)
        words = {"bcdUSB": 2, "idVendor": 8, "idProduct": 10, "bcdDevice": 12}
        return SimpleNamespace(
            **{name: raw[index] for name, index in zip(names, at, strict=True)},
            **{name: int.from_bytes(raw[index : index + 2], "little") for name, index in words.items()},
            iManufacturer=raw[14],
            iProduct=raw[15],
            iSerialNumber=raw[16],
            bNumConfigurations=raw[17],
            address=2,
            bus=1,
            port_number=1,
            port_numbers=(1,),
            speed=3,
        )

    def get_configuration_descriptor(self, _dev: int, config: int) -> SimpleNamespace:
        if config:
            raise IndexError
        raw = self._configuration
        return SimpleNamespace(
            bLength=raw[0],
            bDescriptorType=raw[1],
            wTotalLength=int.from_bytes(raw[2:4], "little"),
            bNumInterfaces=raw[4],
            bConfigurationValue=raw[5],
            iConfiguration=raw[6],
            bmAttributes=raw[7],
            bMaxPower=raw[8],
            extra_descriptors=[],
        )

    def get_interface_descriptor(self, _dev: int, intf: int, alt: int, _config: int) -> SimpleNamespace:
        found = [raw for raw in self._descriptors(4) if (raw[2], raw[3]) == (intf, alt)]
        if not found:
            raise IndexError
        names = (
            *("bLength", "bDescriptorType", "bInterfaceNumber", "bAlternateSetting", "bNumEndpoints"),
            *("bInterfaceClass", "bInterfaceSubClass", "bInterfaceProtocol", "iInterface"),
        )
        return SimpleNamespace(**dict(zip(names, found[0], strict=True)), extra_descriptors=[])

    def get_endpoint_descriptor(
        self, _dev: int, ep: int, _intf: int, _alt: int, _config: int
    ) -> SimpleNamespace:
        raw = self._descriptors(5)[ep]
        return SimpleNamespace(
            bLength=raw[0],
            bDescriptorType=raw[1],
            bEndpointAddress=raw[2],
            bmAttributes=raw[3],
            wMaxPacketSize=int.from_bytes(raw[4:6], "little"),
            bInterval=raw[6],
            bRefresh=0,
            bSynchAddress=0,
            extra_descriptors=[],
        )

    def open_device(self, dev: int) -> int:
        return dev

    def close_device(self, _handle: int) -> None:
        pass

    def get_configuration(self, _handle: int) -> int:
        return self._configuration[5]  # type: ignore[no-any-return] # usbip has no types

    def claim_interface(self, _handle: int, _interface: int) -> None:
        self.claims += 1
        if self.claim_error is not None:
            raise usb.core.USBError("no", None, self.claim_error)

    def release_interface(self, _handle: int, _interface: int) -> None:
        pass

    def is_kernel_driver_active(self, _handle: int, _interface: int) -> bool:
        return False

    def bulk_write(self, _handle: int, ep: int, _interface: int, data: array[int], _timeout: int) -> int:
        with self._stalls():
            return int(self._handle.bulk_out(ep, bytes(data)))

    def bulk_read(self, _handle: int, ep: int, _interface: int, buff: array[int], _timeout: int) -> int:
        with self._stalls():
            data = self._handle.bulk_in(ep, len(buff))
        buff[: len(data)] = array("B", data)
        return len(data)

    def intr_read(self, _handle: int, _ep: int, _interface: int, _buff: array[int], timeout: int) -> int:
        time.sleep(timeout / 1000)
        raise usb.core.USBTimeoutError("Operation timed out", -7, errno.ETIMEDOUT)

    def ctrl_transfer(
        self,
        _handle: int,
        request_type: int,
        request: int,
        value: int,
        index: int,
        data: array[int],
        _timeout: int,
    ) -> int:
        with self._stalls():
            if not request_type & 0x80:
                return int(self._handle.control(request_type, request, value, index, bytes(data)))
            answer = self._handle.control(request_type, request, value, index, len(data))
        data[: len(answer)] = array("B", answer)
        return len(answer)

    def clear_halt(self, _handle: int, ep: int) -> None:
        self._handle.clear_halt(ep)

    @contextmanager
    def _stalls(self) -> Iterator[None]:
        if not self.present:
            raise usb.core.USBError("No such device", -4, errno.ENODEV)
        try:
            yield
        except usbip.Stall as error:
            raise STALLED from error

    def _descriptors(self, kind: int) -> list[bytes]:
        raw, found, position = bytes(self._configuration), [], 0
        while position < len(raw):
            if raw[position + 1] == kind:
                found.append(raw[position : position + raw[position]])
            position += raw[position]
        return found


@contextmanager
def usbip_bus(directory: Path) -> Iterator[UsbipBackend]:
    """Plug in a phone that serves `directory`."""
    device = usbip.USBDevice(VENDOR_ID, PRODUCT_ID, product="Oracle", manufacturer="Others", serial="S1")
    device.set_speed(usbip.SPEED_HIGH)
    device.add(MTP(Store(directory), name="Oracle"))
    transport = usbip.Loopback()
    device.plug(via=transport)
    backend = UsbipBackend(transport)
    try:
        yield backend
    finally:
        backend.close()
        device.unplug()
