"""A network in memory, with a camera in it: connections on a clock that jumps, and trouble after any byte.

Strategy: `Air.dial` is what `mtpfs.transport.ip` dials by. A wait for something that can't come any more lets the
clock jump by the time that was asked for. Events are different: they may come from another thread, so a wait on an
event connection really waits.

Invariant: trouble strikes one connection, once, behind exactly the byte that was chosen.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from equipment.ptpip import Camera
from mtpfs.transport.ip import Connection

RESET, CLOSE, SILENCE = "reset", "close", "silence"
KINDS = (RESET, CLOSE, SILENCE)
_POLL = 0.02  # seconds


@dataclass
class Trouble:
    """What happens to a connection when `after` more bytes have come from the camera."""

    after: int
    kind: str


class Air:
    """The network."""

    def __init__(self, camera: Camera) -> None:
        self.camera = camera
        self.trouble: Trouble | None = None
        self.reach: OSError | None = None
        """What a try to connect fails with."""
        self.most = 1 << 30
        """Bytes that come or go at once."""
        self.stuck = False
        """The camera takes nothing: its buffers are full."""
        self.delivered = 0
        """Bytes that have come from the camera so far."""
        self.dialled: list[float] = []
        """When somebody tried to connect."""
        self.distort: Callable[[bytes], bytes] = bytes
        """What becomes of what the camera sends."""
        self.flood: Callable[[bool], bytes] = lambda _: b""
        """What the camera sends without end, when it has nothing else to say. Each time takes a millisecond.

        It is told whether that is on an event connection.
        """
        self.event_wait = 1e9
        """Seconds that a wait for events lasts at most."""
        self._skipped = 0.0

    def clock(self) -> float:
        return time.monotonic() + self._skipped

    def sleep(self, seconds: float) -> None:
        self._skipped += seconds

    def dial(self, host: str, port: int, timeout: float) -> Connection:
        self.dialled.append(self.clock())
        if self.reach is not None:
            raise self.reach
        return _Wire(self)


class _Wire:
    def __init__(self, air: Air) -> None:
        self._air = air
        self._conversation = air.camera.open()
        self._inbox = b""
        self._timeout = 0.0
        self._struck = ""
        self._changed = threading.Event()
        self._closed = False
        self._is_welcome = False

    def settimeout(self, seconds: float, /) -> None:
        assert seconds > 0
        self._timeout = seconds

    def sendmsg(self, buffers: Sequence[bytes | bytearray | memoryview], /) -> int:
        self._check()
        air = self._air
        data = b"".join(buffers)[: air.most]
        if air.stuck:
            air.sleep(self._timeout)
            raise TimeoutError
        if self._struck != SILENCE:
            with air.camera.lock:
                self._conversation.receive(data)
        return len(data)

    def recv_into(self, buffer: memoryview, /) -> int:
        assert buffer
        deadline = time.monotonic() + min(self._timeout, self._air.event_wait)
        while True:
            self._check()
            with self._air.camera.lock:
                if not self._inbox and self._struck != SILENCE:
                    sent = self._conversation.pull()
                    self._inbox = self._air.distort(sent) if sent else self._flood()
                count = self._deliver(buffer) if self._inbox else 0
                if count or self._struck == CLOSE:
                    return count
                self._check()
                if not self._inbox and self._conversation.over:
                    return 0
                if not (self._conversation.has_events and self._is_welcome):
                    self._wait()
                    continue
            if time.monotonic() >= deadline:
                raise TimeoutError
            self._changed.wait(min(_POLL, self._air.event_wait))

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            with self._air.camera.lock:
                self._conversation.close()
            self._changed.set()

    def _check(self) -> None:
        if self._closed:
            raise OSError(9, "Bad file descriptor")
        if self._struck == RESET or self._conversation.broken:
            raise ConnectionResetError(104, "Connection reset by peer")

    def _deliver(self, buffer: memoryview) -> int:
        air = self._air
        count = min(len(buffer), len(self._inbox), air.most)
        if air.trouble is not None:
            count = min(count, air.trouble.after)
            air.trouble.after -= count
        buffer[:count] = self._inbox[:count]
        self._inbox = self._inbox[count:]
        air.delivered += count
        self._is_welcome |= count > 0 and not self._inbox
        if air.trouble is not None and not air.trouble.after and not count:
            self._struck, air.trouble = air.trouble.kind, None
            self._inbox = b""
        return count

    def _flood(self) -> bytes:
        more = self._air.flood(self._conversation.has_events)
        if more:
            self._air.sleep(0.001)
        return more

    def _wait(self) -> None:
        """Let an answer that is held back come nearer, or the time be over."""
        responder = self._air.camera.responder
        late = min(responder.held, self._timeout) if self._struck != SILENCE else 0.0
        if late:
            responder.held -= late
            self._timeout -= late
            self._air.sleep(late)
            if self._timeout > 0:
                return
        self._air.sleep(self._timeout)
        raise TimeoutError
