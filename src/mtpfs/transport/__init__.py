"""The byte pipes to a responder: what every transport offers, and nothing else.

A transport moves bytes and knows no MTP. Its methods block. The session calls
the bulk methods from one worker thread and `read_event` from another. So one
endpoint is never used by two threads. Every call ends within its timeout.

Errors: `TransportTimeoutError` (nothing moved in time, the caller may call
again), `TransportStallError` (endpoint halted), `TransportGoneError` (device
left), `TransportError` for the rest.
"""

from __future__ import annotations

from array import array
from typing import Protocol

PLUGGED_IN = 'Unlock the phone and choose "File transfer" in its USB notification; if that is so already, plug it in again.'
"""The advice about a phone on a cable."""

Buffer = bytes | bytearray | memoryview | array  # type: ignore[type-arg]


class Transport(Protocol):
    """One claimed MTP interface (or its stand-in)."""

    @property
    def name(self) -> str:
        """Where this is, for messages: `usb 001,004`, `ip:192.168.1.20` or `virtual:/srv/phone`."""

    @property
    def advice(self) -> str:
        """What a user can do about a device that doesn't answer: whole sentences."""

    @property
    def max_packet(self) -> int:
        """Return wMaxPacketSize in bytes of the bulk endpoints at the speed in use; 1 where there are no packets."""

    def monotonic(self) -> float:
        """Return seconds on the clock that this transport's timeouts are counted on."""

    def sleep(self, seconds: float) -> None:
        """Wait on that clock (a simulated one needs no real time)."""

    def write(self, data: Buffer, timeout: float) -> int:
        """Send one bulk transfer (empty: a zero-length packet); return bytes accepted.

        Fewer than `len(data)` means that the timeout struck in the middle.
        """

    def read(self, buffer: array[int], timeout: float) -> int:
        """Receive one bulk transfer into `buffer`; return its length, 0 for a zero-length packet.

        `len(buffer)` must be a multiple of `max_packet`.
        """

    def read_event(self, timeout: float) -> bytes:
        """Receive one interrupt transfer; `b""` when none came in time."""

    def clear_halt(self) -> None:
        """Clear the halt of both bulk endpoints."""

    def cancel(self, transaction_id: int) -> None:
        """Class request Cancel. Only legal while a data phase is in progress."""

    def device_status(self) -> int:
        """Class request GetDeviceStatus; return its response code."""

    def reopen(self) -> None:
        """Give the interface up, stay quiet for a moment, claim it again (no reset)."""

    def release(self) -> None:
        """Give up what `reconnect` has claimed: it is another device.

        Only `reconnect` and `close` may be called then.
        """

    def reconnect(self) -> bool:
        """After `TransportGoneError`: claim the same device if it is on the bus again; tell whether it is.

        `name` and `max_packet` may be others then. Raises `SetupError` when it is there but can't be claimed.
        """

    def close(self) -> None:
        """Release everything. Idempotent."""
