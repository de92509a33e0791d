"""The virtual phone behind real endpoints: `python -m equipment.functionfs`, on FunctionFS.

Strategy: the same responder as in process, fed with what arrives on the bulk-out
endpoint and emptied into the bulk-in endpoint. Three threads, because three things
block: the bulk endpoints are the main thread's, control requests and events have
one each. A Cancel comes while the main thread may be stuck in a write that nobody
reads any more; a signal gets it out. Halting an endpoint is FunctionFS's way: by
using its file in the wrong direction.

Lines on standard input, or on a socket (`--control PATH`), are the words of `control`;
so a test holds the phone in its hand. Each is answered by a line when it is done.

Invariant: the responder is only touched with the lock held, and never while a
transfer blocks.

Source: the kernel's Documentation/usb/functionfs.rst, f_fs.c; Still Image Class 1.0.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import logging
import os
import signal
import struct
import sys
import threading
import time
from pathlib import Path
from types import FrameType
from typing import NoReturn

from equipment.control import ControlSocket, obey
from equipment.gadget import Gadget, Identity, free_controller
from mtpfs.errors import SetupError, TransportGoneError, TransportStallError
from mtpfs.protocol.codes import Event
from mtpfs.virtual.capabilities import Capabilities, parse_virtual
from mtpfs.virtual.faults import FaultScript
from mtpfs.virtual.responder import Responder
from mtpfs.virtual.transport import POLL_INTERVAL

_log = logging.getLogger(__name__)

CHUNK = 64 << 10  # bytes per transfer of FunctionFS: a whole number of packets at every speed
_FULL_SPEED, _HIGH_SPEED = 64, 512  # bytes per bulk packet
_EVENT_PACKET = 28
_DISABLED = {errno.ESHUTDOWN, errno.ECONNRESET, errno.ENODEV, errno.EPIPE}
_ENABLE, _DISABLE, _SETUP, _UNBIND = 2, 3, 4, 1
_CANCEL, _RESET, _STATUS = 0x64, 0x66, 0x67
_HALTED = errno.EBADMSG  # what FunctionFS says when using a file in the wrong direction has halted it


def descriptors() -> bytes:
    """Return the function's descriptors (v2: full and high speed) for ep0.

    The order makes ep1 bulk-in, ep2 bulk-out and ep3 interrupt-in.
    """
    interface = struct.pack("<9B", 9, 4, 0, 0, 3, 6, 1, 1, 1)
    sets = b""
    for packet, interval in ((_FULL_SPEED, 10), (_HIGH_SPEED, 6)):
        sets += interface
        sets += struct.pack("<BBBBHB", 7, 5, 0x81, 2, packet, 0)
        sets += struct.pack("<BBBBHB", 7, 5, 0x02, 2, packet, 0)
        sets += struct.pack("<BBBBHB", 7, 5, 0x83, 3, _EVENT_PACKET, interval)
    flags = 1 | 2  # has full-speed and high-speed descriptors
    return struct.pack("<5I", 3, 20 + len(sets), flags, 4, 4) + sets


def strings() -> bytes:
    """Return the interface's name, for ep0."""
    name = b"MTP\0"
    return struct.pack("<4IH", 2, 18 + len(name), 1, 1, 0x409) + name


class _InterruptedError(Exception):
    """The transfer that was under way is of no use any more."""


class UsbPhone:
    """A virtual phone on a gadget. `serve` runs it."""

    def __init__(self, gadget: Gadget, responder: Responder) -> None:
        self._gadget = gadget
        self._responder = responder
        self._lock = threading.RLock()
        self._enabled = threading.Event()
        self._writing = False
        self._main = threading.get_ident()
        endpoints = gadget.endpoints
        self._control = os.open(endpoints / "ep0", os.O_RDWR)
        os.write(self._control, descriptors())
        os.write(self._control, strings())
        self._in = os.open(endpoints / "ep1", os.O_RDWR)
        self._out = os.open(endpoints / "ep2", os.O_RDWR)
        self._events = os.open(endpoints / "ep3", os.O_RDWR)
        signal.signal(signal.SIGUSR2, self._interrupt)

    def serve(self) -> NoReturn:
        """Be a phone until the program is ended."""
        for work in (self._serve_control, self._serve_events, self._obey):
            threading.Thread(target=work, daemon=True).start()
        while True:
            self._enabled.wait()
            try:
                self._exchange()
            except _InterruptedError:
                continue
            except TransportStallError:
                self._halt()
            except TransportGoneError:
                self._gadget.unplug()
                self._renew()
            except OSError as error:
                if error.errno not in _DISABLED:
                    raise
                self._enabled.clear()

    # --- bulk --------------------------------------------------------------------------

    def _exchange(self) -> None:
        data = os.read(self._out, CHUNK)
        with self._lock:
            self._responder.receive(data)
            late, self._responder.held = self._responder.held, 0.0
        time.sleep(late)
        buffer = memoryview(bytearray(CHUNK))
        while True:
            with self._lock:
                count = self._responder.fill(buffer)
            if count is None:
                return
            self._write(buffer[:count])

    def _write(self, data: memoryview) -> None:
        self._writing = True
        try:
            os.write(self._in, data)
        finally:
            self._writing = False

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        if self._writing:
            raise _InterruptedError

    def _halt(self) -> None:
        for attempt in (lambda: os.read(self._in, 1), lambda: os.write(self._out, b"\0")):
            try:
                attempt()
            except OSError as error:
                if error.errno != _HALTED:
                    raise
        with self._lock:
            self._responder.clear_halt()  # the host will: the controller sees to it that it has to

    # --- control -----------------------------------------------------------------------

    def _serve_control(self) -> None:
        while True:
            event = os.read(self._control, 12)
            kind = event[8]
            if kind == _ENABLE:
                self._renew()
                self._enabled.set()
            elif kind in {_DISABLE, _UNBIND}:
                self._enabled.clear()
            elif kind == _SETUP:
                with contextlib.suppress(OSError):  # the host has given it up
                    self._answer(*struct.unpack("<BBHHH", event[:8]))

    def _answer(self, request_type: int, request: int, value: int, index: int, length: int) -> None:
        del value, index
        if request_type & 0x80:
            if request == _STATUS:
                with self._lock:
                    status = self._responder.device_status()
                os.write(self._control, struct.pack("<HH", 4, status)[:length])
            else:
                os.read(self._control, 0)  # the wrong direction: a stall
            return
        if request == _CANCEL and length >= 6:
            data = os.read(self._control, length)
            with self._lock:
                self._responder.cancel(int.from_bytes(data[2:6], "little"))
            signal.pthread_kill(self._main, signal.SIGUSR2)
        elif request == _RESET:
            os.read(self._control, length)
            self._renew()
            signal.pthread_kill(self._main, signal.SIGUSR2)
        else:
            os.write(self._control, b"")  # a stall

    def _renew(self) -> None:
        """Start the MTP service anew, as a phone does when it is plugged in."""
        with self._lock:
            old = self._responder
            old.close()
            self._responder = Responder(
                old.directories, old.capabilities, max_packet=old.max_packet, faults=old.faults
            )
            self._responder.phone.trusted = old.phone.trusted

    # --- events, and the hand that holds the phone ---------------------------------------

    def _serve_events(self) -> None:
        while True:
            self._enabled.wait()
            with self._lock:
                self._responder.phone.poll()
                event = self._responder.next_event()
            if event is None:
                time.sleep(POLL_INTERVAL)
                continue
            try:
                os.write(self._events, event)
            except OSError as error:
                _log.debug("event: %s", error)

    def _obey(self) -> None:
        for line in sys.stdin:
            print(obey(self, line), flush=True)

    @property
    def faults(self) -> FaultScript:
        return self._responder.faults

    def unplug(self) -> None:
        self._gadget.unplug()

    def replug(self) -> None:
        self._gadget.plug_in()

    def set_locked(self, locked: bool) -> None:
        with self._lock:
            self._responder.phone.set_locked(locked)

    def set_trusted(self, trusted: bool) -> None:
        with self._lock:
            self._responder.phone.trusted = trusted

    def renumber(self) -> None:
        with self._lock:
            self._responder.phone.renumber()
            self._responder.phone.notify(Event.DeviceReset, 0)


def main(arguments: list[str] | None = None) -> int:
    """Run the program; return its exit status."""
    parser = argparse.ArgumentParser(
        prog="equipment.functionfs",
        description="Be a virtual phone on a real USB bus, by a gadget (needs root, libcomposite, usb_f_fs).",
    )
    parser.add_argument("phone", metavar="DIR[?WORDS]", help="as in virtual:DIR")
    parser.add_argument("--name", default="mtpfs", help="the gadget's name (default mtpfs)")
    parser.add_argument("--udc", default="", help="the device controller (default: one that is free)")
    parser.add_argument(
        "--control", type=Path, metavar="PATH", help="a socket that takes words, as standard input does"
    )
    chosen = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="equipment.functionfs: %(message)s")
    try:
        directories, capabilities = parse_virtual(chosen.phone)
        identity = Identity(chosen.name, capabilities.serial, product=capabilities.model)
        with Gadget(identity, chosen.udc or free_controller()).made() as gadget:
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
            phone = UsbPhone(gadget, _responder(directories, capabilities))
            gadget.plug_in()
            print("done: plug", flush=True)
            with contextlib.ExitStack() as stack:
                if chosen.control is not None:
                    stack.callback(ControlSocket(chosen.control, phone).close)
                phone.serve()
    except SetupError as error:
        print(f"equipment.functionfs: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass
    return 0


def _responder(directories: list[Path], capabilities: Capabilities) -> Responder:
    return Responder(directories, capabilities, max_packet=_HIGH_SPEED, faults=FaultScript())


if __name__ == "__main__":
    sys.exit(main())
