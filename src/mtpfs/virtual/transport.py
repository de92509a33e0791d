"""The cable to a virtual phone: `mtpfs.transport.Transport`, in process.

The responder runs inside the caller's `write`, so its answer is there before
`read` is called. A read that finds nothing can only time out. It does so on the
transport's own clock, without sleeping: `monotonic` jumps ahead. So tests of
timeouts of a minute take no time. Events are different. They may come from
another thread or from the directory, so `read_event` really waits.

Invariant: one lock around the responder; a timeout moves the clock by exactly
the time that was asked for.
"""

from __future__ import annotations

import threading
import time
from array import array
from collections.abc import Callable
from pathlib import Path

from mtpfs.errors import TransportGoneError, TransportTimeoutError
from mtpfs.protocol.codes import Event
from mtpfs.transport import PLUGGED_IN, Buffer
from mtpfs.virtual.capabilities import PREFIX, Capabilities, parse_virtual
from mtpfs.virtual.faults import FaultScript
from mtpfs.virtual.responder import Responder

POLL_INTERVAL = 0.25
"""Seconds between two looks for changes in the directories while waiting for an event."""
QUIET_TIME = 1.0
"""Seconds for which `reopen` keeps quiet, on the transport's clock."""


class VirtualTransport:
    """One plugged-in virtual phone. `sleeper` replaces the jumping clock by real (or other) waiting."""

    def __init__(
        self,
        responder: Responder,
        *,
        name: str = "virtual",
        faults: FaultScript | None = None,
        sleeper: Callable[[float], None] | None = None,
    ) -> None:
        if faults is not None:
            responder.faults = faults
        self._responder = responder
        self._name = name
        self._sleeper = sleeper
        self._skipped = 0.0
        self._closed = False
        self._parted = False
        """The phone has left since it was connected last."""
        self._changed = threading.Condition(threading.RLock())
        responder.use_clock(self.monotonic)

    @property
    def name(self) -> str:
        """What messages call it: `virtual:` and the first directory."""
        return self._name

    @property
    def advice(self) -> str:
        """Return what to do if it doesn't answer."""
        return PLUGGED_IN

    @property
    def max_packet(self) -> int:
        """Bytes in a bulk packet."""
        return self._responder.max_packet

    @property
    def responder(self) -> Responder:
        """The phone's inside, for tests. Not to be touched while another thread uses the transport."""
        return self._responder

    @property
    def faults(self) -> FaultScript:
        """What is to go wrong; more can be added at any time."""
        return self._responder.faults

    def monotonic(self) -> float:
        """Return seconds on the clock that jumps."""
        return time.monotonic() + self._skipped

    def sleep(self, seconds: float) -> None:
        """Let the clock jump, or call `sleeper`."""
        if self._sleeper is not None:
            self._sleeper(seconds)
        else:
            self._skipped += seconds

    def _check_open(self) -> None:
        if self._closed:
            raise TransportGoneError("the transport is closed")
        if self._parted or self._responder.gone:
            self._parted = True  # as on a bus: what comes back is another connection, which has to be made
            raise TransportGoneError("the virtual phone was unplugged")

    # --- Transport

    def write(self, data: Buffer, timeout: float) -> int:
        """Send one bulk transfer: the phone takes all of it, and answers at once."""
        del timeout  # this phone takes everything at once
        with self._changed:
            self._check_open()
            view = memoryview(data).cast("B")
            self._responder.receive(view)
            if self._responder.phone.events:
                self._changed.notify_all()
            return len(view)

    def read(self, buffer: array[int], timeout: float) -> int:
        """Receive one bulk transfer. If nothing is there, the clock jumps and `TransportTimeoutError` is raised.

        Raises `ValueError` for a buffer that is no multiple of `max_packet`, where a real one would overflow.
        """
        view = memoryview(buffer).cast("B")
        if len(view) % self.max_packet:
            raise ValueError(f"buffer of {len(view)} bytes is no multiple of {self.max_packet}")  # EOVERFLOW
        late = self._await_answer(timeout)
        with self._changed:
            self._check_open()
            count = None if self._responder.held else self._responder.fill(view)
            if self._responder.phone.events:
                self._changed.notify_all()
        if count is None:
            self.sleep(timeout - late)
            raise TransportTimeoutError("nothing came from the virtual phone")
        return count

    def _await_answer(self, timeout: float) -> float:
        """Let an answer that is held back come nearer; return the seconds that this took."""
        with self._changed:
            late = min(self._responder.held, timeout)
            self._responder.held -= late
        if late:
            self.sleep(late)
        return late

    def read_event(self, timeout: float) -> bytes:
        """Wait for one interrupt transfer, in real time; `b""` when none came."""
        deadline = time.monotonic() + timeout
        with self._changed:
            while True:
                self._check_open()
                event = self._responder.next_event()
                if event is None:
                    self._responder.phone.poll()
                    event = self._responder.next_event()
                if event is not None:
                    return event
                left = deadline - time.monotonic()
                if left <= 0:
                    return b""
                self._changed.wait(min(left, POLL_INTERVAL))

    def clear_halt(self) -> None:
        """Let both endpoints work again."""
        with self._changed:
            self._check_open()
            self._responder.clear_halt()

    def cancel(self, transaction_id: int) -> None:
        """Class request Cancel; see `Responder.cancel` for what it does outside a data phase."""
        with self._changed:
            self._check_open()
            self._responder.cancel(transaction_id)

    def device_status(self) -> int:
        """Class request GetDeviceStatus: OK, DeviceBusy, or TransactionCancelled while the endpoints are halted."""
        with self._changed:
            self._check_open()
            return self._responder.device_status()

    def reopen(self) -> None:
        """Keep quiet for `QUIET_TIME` seconds; nothing else has to be done here."""
        with self._changed:
            self._check_open()
        self.sleep(QUIET_TIME)

    def release(self) -> None:
        """Do nothing: no other program could want this phone."""

    def reconnect(self) -> bool:
        """Connect again; tell whether the phone is there."""
        with self._changed:
            self._parted = self._closed or self._responder.gone
            return not self._parted

    def close(self) -> None:
        """End the phone's service. May be called again, and from any thread."""
        with self._changed:
            if not self._closed:
                self._closed = True
                self._responder.close()
            self._changed.notify_all()

    # --- the hand on the phone

    def unplug(self) -> None:
        """Pull the cable: every call raises `TransportGoneError` from now on."""
        with self._changed:
            self._responder.close()
            self._responder.gone = self._parted = True
            self._changed.notify_all()

    def replug(self) -> None:
        """Put the cable back: a new MTP service with new handles, over the same directories.

        A host that was connected has to `reconnect`. A phone that isn't unplugged only begins its service anew.
        """
        with self._changed:
            old = self._responder
            self._parted |= old.gone
            old.close()
            self._responder = Responder(
                old.directories, old.capabilities, max_packet=old.max_packet, faults=old.faults
            )
            self._responder.use_clock(self.monotonic)
            self._responder.phone.trusted = old.phone.trusted  # a phone remembers whom it trusts
            self._closed = False
            self._changed.notify_all()

    def set_locked(self, locked: bool) -> None:
        """Lock or unlock the screen: the storages go or come."""
        with self._changed:
            self._responder.phone.set_locked(locked)
            self._changed.notify_all()

    def set_trusted(self, trusted: bool) -> None:
        """Say yes (or no) to "Trust this computer?": storages are described or not. No event tells."""
        with self._changed:
            self._responder.phone.trusted = trusted

    def renumber(self) -> None:
        """Give every object a new handle, and send the event that says so."""
        with self._changed:
            self._responder.phone.renumber()
            self._responder.phone.notify(Event.DeviceReset, 0)
            self._changed.notify_all()


def open_virtual(
    argument: str,
    *,
    max_packet: int = 512,
    faults: FaultScript | None = None,
    sleeper: Callable[[float], None] | None = None,
) -> VirtualTransport:
    """Make a phone of `virtual:DIR?options` and plug it in.

    `max_packet` is in bytes. Raises `SetupError` for a directory that isn't there, and `UsageError`
    for an unknown word.
    """
    directories, capabilities = parse_virtual(argument)
    return virtual_phone(directories, capabilities, max_packet=max_packet, faults=faults, sleeper=sleeper)


def virtual_phone(
    directories: list[Path],
    capabilities: Capabilities | None = None,
    *,
    max_packet: int = 512,
    faults: FaultScript | None = None,
    sleeper: Callable[[float], None] | None = None,
) -> VirtualTransport:
    """Make a phone of one directory per storage and plug it in. `max_packet` is in bytes."""
    responder = Responder(directories, capabilities, max_packet=max_packet, faults=faults)
    return VirtualTransport(responder, name=f"{PREFIX}{directories[0]}", sleeper=sleeper)
