"""The raw link: how fast one object can be had and sent, by nothing but pyusb and 40 lines of MTP.

Strategy: one GetObject and one SendObject with transfers of 4 MiB, nothing else
on the bus. It shares no code with mtpfs, so that what slows both can't hide.

Invariant: rates are of payload bytes, over the whole transaction.
"""

from __future__ import annotations

import contextlib
import json
import struct
import sys
import threading
import time
from array import array
from dataclasses import asdict, dataclass
from typing import Any

import usb.core
import usb.util

TRANSFER = 4 << 20  # bytes
SMALL = 64 << 10  # bytes; beyond the largest listing here
TIMEOUT = 20_000  # milliseconds
_COMMAND, _DATA, _RESPONSE = 1, 2, 3
_GET_DEVICE_INFO, _OPEN, _CLOSE = 0x1001, 0x1002, 0x1003
_HANDLES, _INFO, _GET, _DELETE, _SEND_INFO, _SEND = 0x1007, 0x1008, 0x1009, 0x100B, 0x100C, 0x100D
_ALL = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Link:
    """What the link can do: bytes per second both ways, seconds of a small transaction, and what that costs."""

    read: float
    write: float
    transaction: float
    read_cpu: float
    """Seconds of CPU per byte, in user and kernel mode."""
    write_cpu: float


class RawPhone:
    """The first MTP interface of one device; for one measurement."""

    def __init__(self, serial: str) -> None:
        self._device = device = _find(serial)
        interface = device.get_active_configuration()[0, 0]
        self._number = interface.bInterfaceNumber
        endpoints = {(e.bmAttributes & 3, e.bEndpointAddress >> 7): e for e in interface}
        self._in = endpoints[usb.util.ENDPOINT_TYPE_BULK, 1].bEndpointAddress
        self._out = endpoints[usb.util.ENDPOINT_TYPE_BULK, 0].bEndpointAddress
        self._events = endpoints[usb.util.ENDPOINT_TYPE_INTR, 1].bEndpointAddress
        self._packet = endpoints[usb.util.ENDPOINT_TYPE_BULK, 1].wMaxPacketSize
        usb.util.claim_interface(device, self._number)
        # A responder that has an event to tell may answer nothing until somebody takes it.
        self._closing = threading.Event()
        self._listener = threading.Thread(target=self._listen)
        self._listener.start()
        # One buffer, written to beforehand: faulting pages in would count as the link's time.
        self._buffer = array("B", (0,)) * TRANSFER
        self._small = array("B", (0,)) * SMALL
        self._id = 0
        self.call(_OPEN, 1)

    def close(self) -> None:
        self.call(_CLOSE)
        self._closing.set()
        self._listener.join()
        usb.util.dispose_resources(self._device)

    def call(self, code: int, *parameters: int) -> tuple[int, bytes]:
        """Run a transaction with little or no data; return the third response parameter and the data."""
        self._command(code, parameters)
        count = self._device.read(self._in, self._small, TIMEOUT)
        answer, data = bytes(self._small[:count]), b""
        if answer[4] == _DATA:
            length = struct.unpack_from("<I", answer)[0]
            data, answer = answer[12:length], answer[length:]
            while not answer:  # a zero-length packet may come between
                answer = bytes(self._device.read(self._in, self._packet, TIMEOUT))
        return self._check(answer), data

    def receive(self, handle: int) -> int:
        """GetObject; return the number of bytes."""
        self._command(_GET, (handle,))
        buffer = self._buffer
        count = self._device.read(self._in, buffer, TIMEOUT)
        length = struct.unpack_from("<I", buffer)[0]
        got = count
        while got < length or count == len(buffer):
            count = self._device.read(self._in, buffer, TIMEOUT)
            got += count
        if got == length:
            self._check(bytes(self._device.read(self._in, self._packet, TIMEOUT)))
        return int(length - 12)

    def send(self, storage: int, name: str, size: int) -> int:
        """SendObjectInfo and SendObject of arbitrary bytes; return the new handle."""
        text = (name + "\0").encode("utf-16-le")
        info = struct.pack("<IHHI", storage, 0x3000, 0, size) + bytes(40) + bytes([len(name) + 1]) + text
        self._command(_SEND_INFO, (storage, _ALL))
        self._device.write(
            self._out,
            struct.pack("<IHHI", 15 + len(info), _DATA, _SEND_INFO, self._id) + info + bytes(3),
            TIMEOUT,
        )
        handle = self._check(bytes(self._device.read(self._in, self._packet, TIMEOUT)))
        self._command(_SEND, ())
        left = 12 + size
        self._buffer[:12] = array("B", struct.pack("<IHHI", left, _DATA, _SEND, self._id))
        while left >= TRANSFER:
            left -= self._device.write(self._out, self._buffer, TIMEOUT)
        if left or (12 + size) % self._packet == 0:
            self._device.write(self._out, self._buffer[:left], TIMEOUT)
        self._check(bytes(self._device.read(self._in, self._packet, TIMEOUT)))
        return handle

    def _listen(self) -> None:
        while not self._closing.is_set():
            with contextlib.suppress(usb.core.USBTimeoutError):
                self._device.read(self._events, 64, 500)

    def _command(self, code: int, parameters: tuple[int, ...]) -> None:
        self._id += code != _OPEN
        body = struct.pack(f"<{len(parameters)}I", *parameters)
        self._device.write(
            self._out, struct.pack("<IHHI", 12 + len(body), _COMMAND, code, self._id) + body, TIMEOUT
        )

    @staticmethod
    def _check(answer: bytes) -> int:
        length, kind, code = struct.unpack_from("<IHH", answer)
        if kind != _RESPONSE or code != 0x2001:
            raise OSError(f"response 0x{code:04X}")
        return int(struct.unpack_from("<I", answer, 20)[0]) if length >= 24 else 0


def _find(serial: str) -> Any:
    for _ in range(50):
        for device in usb.core.find(find_all=True):
            with contextlib.suppress(ValueError, usb.core.USBError):  # it has just left, or just come
                if device.serial_number == serial:
                    return device
        time.sleep(0.1)
    raise LookupError(f"no device {serial}")


def measure(serial: str, name: str, size: int) -> Link:
    """Measure the link to a phone whose first storage holds a file `name` of `size` bytes in its root."""
    phone = RawPhone(serial)
    _, ids = phone.call(0x1004)
    storage = struct.unpack_from("<I", ids, 4)[0]
    _, handles = phone.call(_HANDLES, storage, 0, _ALL)
    wanted = (name + "\0").encode("utf-16-le")
    found = [
        h
        for h in struct.unpack_from(f"<{len(handles) // 4 - 1}I", handles, 4)
        if wanted in phone.call(_INFO, h)[1]
    ]
    started = time.perf_counter()
    for _ in range(20):
        phone.call(_GET_DEVICE_INFO)
    transaction = (time.perf_counter() - started) / 20
    started, computed = time.perf_counter(), time.process_time()
    received = phone.receive(found[0])
    read, read_cpu = time.perf_counter() - started, time.process_time() - computed
    if received != size:
        raise OSError(f"{received} bytes of {size}")
    started, computed = time.perf_counter(), time.process_time()
    handle = phone.send(storage, "raw.bin", size)
    write, write_cpu = time.perf_counter() - started, time.process_time() - computed
    phone.call(_DELETE, handle, 0)
    phone.close()
    return Link(size / read, size / write, transaction, read_cpu / size, write_cpu / size)


if __name__ == "__main__":
    print(json.dumps(asdict(measure(sys.argv[1], sys.argv[2], int(sys.argv[3])))))
