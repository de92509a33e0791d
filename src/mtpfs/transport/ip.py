"""PTP/IP: the transport to a camera over TCP, by two connections, one for commands and one for events.

`mtpfs.protocol.ptpip` turns packets into containers, so the session above is the same as over USB. Halts don't exist
here, nor do packet sizes: every byte is a packet of its own (`max_packet`), which makes the session end all data by
an empty transfer.

A transaction that is given up in the middle of a packet, or of its data, leaves the two sides out of step. PTP/IP
has a Cancel, but cameras differ in whether and where they listen for it. So both connections are closed, and made
anew by `reopen`. That is sure with every camera, and rare.

A network tells nothing when a camera leaves it. So the kernel asks the other machine whether it is still there (TCP
keepalive). Without an answer for about ten seconds the camera counts as gone. Then `reconnect` tries to reach it,
at growing intervals. A camera that asks whether we are there (a probe) is answered.

Nothing is encrypted, and neither side proves who it is: this is for networks that are trusted.

Invariant: this is the only module of the package that opens network connections, and no `OSError` leaves it. Every
wait is finite.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import threading
import time
from array import array
from collections.abc import Callable, Sequence
from typing import Protocol

from mtpfs.errors import RemoteProtocolError, TransportError, TransportGoneError, TransportTimeoutError
from mtpfs.protocol.codes import ContainerType, Event
from mtpfs.protocol.containers import Container
from mtpfs.protocol.ptpip import (
    INIT_EVENT_ACK,
    LONGEST_NAME,
    PROBE_REQUEST,
    PROBE_RESPONSE,
    Cancel,
    DataPacket,
    FailReason,
    InitCommandAck,
    InitCommandRequest,
    InitEventRequest,
    InitFail,
    Packer,
    Packet,
    PacketStream,
    Unpacker,
)
from mtpfs.transport import Buffer
from mtpfs.transport.phones import UnavailableError
from mtpfs.transport.source import Source

log = logging.getLogger(__name__)

CONNECTING = 4.0  # seconds for a TCP connection
ANSWERING = 5.0  # seconds for an answer that needs nobody's hand
PAIRING = 60.0  # seconds for one that may need a hand: the camera asks its user whether we may
PATIENCE = 2.0  # seconds of that before we say what we wait for
SLICE = 0.5  # seconds after which a wait looks whether it is still wanted
EVENT_ATTEMPTS = 3  # some cameras open their event port a moment after the first connection
EVENT_PAUSE = 0.1
BUSY_PATIENCE = 3.0  # seconds: a camera notices late that the connection before this one has ended
BUSY_PAUSE = 0.5
QUIET = 1.0  # seconds without a connection before there is another one
LONGEST_PAUSE = 15.0  # seconds between two tries to reach a camera that has left; they begin with one second
KEEPALIVE = (5, 2, 3)  # seconds of silence, seconds between questions, questions without an answer

ADVICE = (
    "Look at the camera's screen: it may ask whether this computer may connect. "
    "Makers' own ways of pairing aren't supported."
)


class Connection(Protocol):
    """What is needed of a socket. It raises `OSError`; `TimeoutError` without a number when the time is over."""

    def settimeout(self, seconds: float, /) -> None: ...

    def sendmsg(self, buffers: Sequence[bytes | bytearray | memoryview], /) -> int: ...

    def recv_into(self, buffer: memoryview, /) -> int: ...

    def close(self) -> None: ...


Dial = Callable[[str, int, float], Connection]


def dial(host: str, port: int, timeout: float) -> Connection:
    """Connect to a port. Raises `OSError`."""
    try:
        connection = socket.create_connection((host, port), timeout)
    except UnicodeError as error:
        raise OSError(errno.EINVAL, "the host's name can't be one") from error
    with contextlib.suppress(OSError):  # not each of these is everywhere, and all works without them
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        idle, interval, count = KEEPALIVE
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, idle)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, interval)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, count)
        patience = 1000 * (idle + interval * count)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, patience)
    return connection


def open_camera(
    source: Source,
    guid: bytes,
    *,
    is_wanted: Callable[[], object] = lambda: None,
    dial: Dial = dial,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> IpTransport:
    """Connect to a camera.

    `guid`: what it knows this user by. `is_wanted` is called while the camera's user is waited for, and may raise.
    Raises `UnavailableError`.
    """
    transport = IpTransport(source, guid, dial=dial, clock=clock, sleep=sleep)
    try:
        transport.connect(PAIRING, is_wanted)
    except BaseException:
        transport.close()
        raise
    return transport


class IpTransport:
    """A connected camera; see `mtpfs.transport.Transport`."""

    def __init__(
        self,
        source: Source,
        guid: bytes,
        *,
        dial: Dial = dial,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._source = source
        self._guid = guid
        self._dial = dial
        self._clock = clock
        self._sleep = sleep
        self._closed = False
        self._pause = 0.0
        self._next_try = 0.0
        self._event_lock = threading.Lock()  # who holds it has the event connection
        self._command: Connection | None = None
        self._events: Connection | None = None
        self._begin()

    @property
    def name(self) -> str:
        return self._source.text

    @property
    def advice(self) -> str:
        return ADVICE

    @property
    def max_packet(self) -> int:
        return 1

    def monotonic(self) -> float:
        return self._clock()

    def sleep(self, seconds: float) -> None:
        self._sleep(seconds)

    # --- data ---

    def write(self, data: Buffer, timeout: float) -> int:
        if self._answered_early:
            raise TransportError("the camera answered before it had all the data")
        view = memoryview(data).cast("B")
        deadline = self._clock() + timeout
        taken = 0
        while True:
            if taken < len(view) or not view:
                taken += self._packer.accept(view[taken:])
            if self._packer.open or self._packer.outgoing:
                count = self._send(view[taken : taken + self._packer.open], deadline)
                if count is None:
                    break
                taken += count
            elif taken == len(view):
                return taken
        if not taken:
            raise TransportTimeoutError("nothing was taken")
        return taken

    def read(self, buffer: array[int], timeout: float) -> int:
        deadline = self._clock() + timeout
        operation = self._packer.release()
        if operation is not None:
            self._unpacker.operation = operation
        while self._packer.outgoing:
            if self._send(memoryview(b""), deadline) is None:
                raise TransportTimeoutError("nothing was taken")
        view = memoryview(buffer).cast("B")
        done = 0
        while True:
            count, ends = self._unpacker.fill(view[done:])
            done += count
            if ends and not self._packer.idle:
                self._answered_early = True
            if ends or done == len(view):
                return done
            received = self._receive(self._live(self._command), self._unpacker.room(view[done:]), deadline)
            if received is None:
                break
            try:
                done += self._unpacker.took(received)
            except RemoteProtocolError:
                self._part()
                raise
        if not done:
            raise TransportTimeoutError("nothing came")
        return done

    def read_event(self, timeout: float) -> bytes:
        with self._event_lock:
            connection = self._live(self._events)
            deadline = self._clock() + timeout
            nothing = memoryview(b"")
            while True:
                received = self._receive(connection, self._event_stream.room(nothing), deadline)
                if received is None:
                    return b""
                try:
                    packet = self._event_stream.took(received)
                    if isinstance(packet, DataPacket):
                        raise RemoteProtocolError("data on the event connection")
                except RemoteProtocolError as error:
                    # What follows has no meaning. The other connection may be in use at this moment: it goes later.
                    connection.close()
                    self._events = None
                    raise TransportGoneError(str(error)) from error
                if isinstance(packet, Container) and packet.type == ContainerType.EVENT:
                    return packet.encode()
                if isinstance(packet, Cancel):
                    return Container(
                        ContainerType.EVENT, Event.CancelTransaction, packet.transaction_id
                    ).encode()
                if packet == PROBE_REQUEST:
                    self._say(connection, PROBE_RESPONSE.encode(), ANSWERING)
                elif packet is not None:
                    log.debug("%s: a packet on the event connection: %s", self.name, packet)

    # --- trouble ---

    def clear_halt(self) -> None:
        """Part from the camera if it waits for more of something, or we do."""
        self._packer.drop()
        if not (self._packer.idle and self._unpacker.idle):
            self._part()
            self._live(None)

    def cancel(self, transaction_id: int) -> None:
        del transaction_id  # whatever it was: see the module's docstring
        self.clear_halt()

    def device_status(self) -> int:
        raise TransportError("there is no such request over TCP")

    def release(self) -> None:
        self._part()

    def reopen(self) -> None:
        self._part()
        self._sleep(QUIET)
        try:
            self.connect(ANSWERING)
        except UnavailableError as error:
            raise TransportGoneError(str(error)) from error

    def reconnect(self) -> bool:
        if self._closed or self._clock() < self._next_try:
            return False
        self._part()
        self._pause = min(2 * self._pause or 1.0, LONGEST_PAUSE)
        try:
            self.connect(ANSWERING)
        except UnavailableError as error:
            self._next_try = self._clock() + self._pause
            if error.errno in {errno.EACCES, errno.EBUSY}:
                raise  # it is there
            log.debug("%s", error)
            return False
        self._pause = self._next_try = 0.0
        return True

    def close(self) -> None:
        self._closed = True
        self._part()

    # --- the connections ---

    def connect(self, patience: float, is_wanted: Callable[[], object] = lambda: None) -> None:
        """Make both connections. `patience`: seconds that the camera's user may take. Raises `UnavailableError`."""
        deadline = self._clock() + BUSY_PATIENCE
        with self._event_lock:
            while True:
                try:
                    self._connect(patience, is_wanted)
                    return
                except UnavailableError as error:
                    self._hang_up()
                    if error.errno != errno.EBUSY or self._clock() >= deadline:
                        raise
                    self._sleep(BUSY_PAUSE)
                except (OSError, TransportError, RemoteProtocolError) as error:
                    self._hang_up()
                    raise self._failure(error) from error

    def _connect(self, patience: float, is_wanted: Callable[[], object]) -> None:
        self._begin()
        host, port = self._source.host, self._source.port
        self._command = command = self._dial(host, port, CONNECTING)
        self._say(command, InitCommandRequest(self._guid, _own_name()).encode(), ANSWERING)
        packet = self._hear(command, PacketStream(), patience, is_wanted)
        if isinstance(packet, InitFail):
            raise self._refusal(packet.reason)
        if not isinstance(packet, InitCommandAck):
            raise RemoteProtocolError(f"{packet} instead of a welcome")
        self._events = events = self._dial_again(host, port)
        self._say(events, InitEventRequest(packet.connection).encode(), ANSWERING)
        answer = self._hear(events, self._event_stream, ANSWERING, is_wanted)
        if isinstance(answer, InitFail):
            raise self._refusal(answer.reason)
        if answer != INIT_EVENT_ACK:
            raise RemoteProtocolError(f"{answer} instead of a welcome on the event connection")

    def _dial_again(self, host: str, port: int) -> Connection:
        for _ in range(EVENT_ATTEMPTS - 1):
            try:
                return self._dial(host, port, CONNECTING)
            except ConnectionRefusedError:
                self._sleep(EVENT_PAUSE)
        return self._dial(host, port, CONNECTING)

    def _hear(
        self, connection: Connection, stream: PacketStream, patience: float, is_wanted: Callable[[], object]
    ) -> Packet:
        """Wait for a packet. Raises `TransportError`, `RemoteProtocolError`."""
        started = self._clock()
        told = False
        nothing = memoryview(b"")
        while (now := self._clock()) < started + patience:
            is_wanted()
            if not told and now >= started + PATIENCE:
                log.warning("%s doesn't answer yet. %s", self.name, ADVICE)
                told = True
            received = self._receive(connection, stream.room(nothing), min(now + SLICE, started + patience))
            packet = stream.took(received) if received else None
            if packet is not None:
                return packet
        raise TransportTimeoutError(f"no answer within {patience:.0f} s")

    def _failure(self, error: Exception) -> UnavailableError:
        if isinstance(error, ConnectionRefusedError):
            return UnavailableError(
                errno.ECONNREFUSED,
                f"{self.name} refuses connections. Its Wi-Fi function may be off, or another program "
                "may have the camera: it takes only one at a time.",
            )
        if isinstance(error, TransportTimeoutError):
            return UnavailableError(
                errno.ETIMEDOUT,
                f"{self.name} can be reached, but {error}. {ADVICE} "
                "Or another program has the camera: it takes only one at a time.",
            )
        if isinstance(error, TransportGoneError):
            return UnavailableError(
                errno.ECONNRESET,
                f"{self.name} can be reached, but: {error}. {ADVICE} "
                "Or another program has the camera: it takes only one at a time.",
            )
        if isinstance(error, RemoteProtocolError):
            return UnavailableError(errno.EPROTO, f"{self.name} doesn't speak PTP/IP: {error}.")
        code = getattr(error, "errno", None) or errno.EHOSTUNREACH
        return UnavailableError(
            code if code > 0 else errno.EHOSTUNREACH,  # the numbers of a name that isn't found are negative
            f"{self.name} can't be reached ({getattr(error, 'strerror', None) or error}). "
            "Is the camera's Wi-Fi on, and this computer in the same network?",
        )

    def _refusal(self, reason: int) -> UnavailableError:
        if reason == FailReason.REJECTED:
            return UnavailableError(
                errno.EACCES,
                f"{self.name} refuses this computer: it has to be paired first. Have the camera accept a new "
                "computer or device in its Wi-Fi menu, and try again. Makers' own ways of pairing aren't supported.",
            )
        if reason == FailReason.BUSY:
            return UnavailableError(
                errno.EBUSY,
                f"{self.name} is in use: it takes only one program at a time. Close the other one, or another "
                "device's app; `mtpfs list --network` shows whether it is mounted here.",
            )
        return UnavailableError(
            errno.EACCES, f"{self.name} refuses this computer, and gives no reason (code {reason}). {ADVICE}"
        )

    def _begin(self) -> None:
        """Be as a new connection is."""
        self._packer = Packer()
        self._unpacker = Unpacker()
        self._event_stream = PacketStream()
        self._answered_early = False

    def _part(self) -> None:
        with self._event_lock:
            self._hang_up()

    def _hang_up(self) -> None:
        for connection in (self._command, self._events):
            if connection is not None:
                connection.close()
        self._command = self._events = None

    def _live(self, connection: Connection | None) -> Connection:
        if connection is None:
            if self._closed:
                raise TransportGoneError("closed")
            raise TransportError("the connection was given up, and has to be made anew")
        return connection

    # --- bytes ---

    def _send(self, payload: memoryview, deadline: float) -> int | None:
        """Send what is due, and then `payload`; return how many bytes of that went out, None when time is over."""
        outgoing = bytes(self._packer.outgoing)
        sent = self._give(self._live(self._command), [outgoing, payload], deadline)
        return None if sent is None else self._packer.sent(sent)

    def _say(self, connection: Connection, data: bytes, timeout: float) -> None:
        view, deadline = memoryview(data), self._clock() + timeout
        while view:
            sent = self._give(connection, [view], deadline)
            if sent is None:
                raise TransportTimeoutError("it takes nothing")
            view = view[sent:]

    def _give(
        self, connection: Connection, buffers: Sequence[bytes | memoryview], deadline: float
    ) -> int | None:
        left = deadline - self._clock()
        if left <= 0:  # for the socket, 0 would mean not to wait
            return None
        try:
            connection.settimeout(left)
            return connection.sendmsg(buffers)
        except OSError as error:
            self._check_time_is_over(error)
            return None

    def _receive(self, connection: Connection, room: memoryview, deadline: float) -> int | None:
        """Return the count of bytes that came, None when time is over: also if bytes come for ever.

        Raises `TransportGoneError`.
        """
        left = deadline - self._clock()
        if left <= 0:
            return None
        try:
            connection.settimeout(left)
            received = connection.recv_into(room)
        except OSError as error:
            self._check_time_is_over(error)
            return None
        if not received:
            raise TransportGoneError("the connection was closed by the camera")
        return received

    def _check_time_is_over(self, error: OSError) -> None:
        """Raise `TransportGoneError` if it is anything else that has failed."""
        if not (isinstance(error, TimeoutError) and error.errno is None):
            raise TransportGoneError(error.strerror or str(error)) from error


def _own_name() -> str:
    """Return what the camera shows: this machine's name."""
    return os.uname().nodename.partition(".")[0][:LONGEST_NAME] or "mtpfs"
