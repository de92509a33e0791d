"""Framing over USB: the 12-byte container header and the splitting of a byte stream.

Bulk-in is a stream whose transfer boundaries can't be relied on. Data and response may come glued in one transfer,
a header may come alone, a zero-length packet may be present, absent, or replaced by a pad byte. So
`ContainerStream` collects bytes, cuts them by ContainerLength, and goes by the container's *type*. Only a
container of unknown length (0xFFFFFFFF, 4 GiB and more) is ended by a short transfer. The virtual phone has a simpler
reader of its own, because AOSP's goes by packets.

Invariant: the bytes of all events, in order, are the bytes that were fed, less headers and padding. A byte that
arrived in one piece with its neighbours isn't copied.

Sources: Still Image Class 1.0 section 7; go-mtpfs, libmtp and AOSP for the
deviations.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from mtpfs.errors import LocalProtocolError, RemoteProtocolError
from mtpfs.protocol.codes import ContainerType

HEADER_SIZE = 12
UNKNOWN_LENGTH = 0xFFFFFFFF
"""ContainerLength of a data container that ends with a short transfer."""
MAX_PARAMETERS = 5
_HEADER = struct.Struct("<IHHI")
_TYPES = frozenset(int(kind) for kind in ContainerType)


@dataclass(frozen=True, slots=True)
class Container:
    """A command, response or event: code, transaction and up to five u32 parameters."""

    type: ContainerType
    code: int
    transaction_id: int
    parameters: tuple[int, ...] = ()

    def encode(self) -> bytes:
        """Return header and parameters. Raises `LocalProtocolError` for more than five, or one beyond 32 bits."""
        if len(self.parameters) > MAX_PARAMETERS:
            raise LocalProtocolError(f"{len(self.parameters)} parameters, {MAX_PARAMETERS} are possible")
        try:
            return encode_header(
                self.type, self.code, self.transaction_id, 4 * len(self.parameters)
            ) + struct.pack(f"<{len(self.parameters)}I", *self.parameters)
        except struct.error as error:
            raise LocalProtocolError(f"parameter out of range in {self}") from error


@dataclass(frozen=True, slots=True)
class DataStart:
    """A data container began. `length` is the payload's in bytes, None when it ends with a short transfer."""

    code: int
    transaction_id: int
    length: int | None


@dataclass(frozen=True, slots=True)
class DataChunk:
    """The next bytes of the payload (never empty)."""

    data: memoryview


@dataclass(frozen=True, slots=True)
class DataEnd:
    """The payload is complete."""


StreamEvent = Container | DataStart | DataChunk | DataEnd


def encode_header(kind: ContainerType, code: int, transaction_id: int, payload: int) -> bytes:
    """Return the 12-byte header of a container with `payload` bytes.

    From 4 GiB on the length is `UNKNOWN_LENGTH`: a short transfer ends the container then. `code` has 16 bits,
    `transaction_id` 32. Raises `struct.error` for a larger one.
    """
    length = HEADER_SIZE + payload
    return _HEADER.pack(min(length, UNKNOWN_LENGTH), kind, code, transaction_id)


def decode_event(data: bytes) -> Container:
    """Decode an interrupt transfer: header and parameters (the standard has three at most).

    Accepts what real devices send: 8 bytes and more, a length field that is
    larger than what arrived. Raises `RemoteProtocolError` for fewer bytes, and
    for another type of container.
    """
    if len(data) < 8:
        raise RemoteProtocolError(f"event of {len(data)} bytes")
    length, kind, code = struct.unpack_from("<IHH", data)
    if kind != ContainerType.EVENT:
        raise RemoteProtocolError(f"container type {kind} on the event pipe")
    body = data[:length] if length >= 8 else data
    transaction = int.from_bytes(body[8:12], "little")
    tail = body[HEADER_SIZE:]
    parameters = struct.unpack_from(f"<{len(tail) // 4}I", tail)
    return Container(ContainerType.EVENT, code, transaction, parameters)


class ContainerStream:
    """Splits received transfers into containers. Feed transfers, take events."""

    def __init__(self) -> None:
        self._pieces: deque[memoryview] = deque()
        self._buffered = 0
        self._payload_left: int | None = 0
        self._in_data = False
        self._ended_short = False
        self._padding_possible = False
        self._short = False

    @property
    def needed(self) -> int | None:
        """Bytes still missing from the container at hand; None while its length is unknown."""
        if not self._in_data:
            return max(0, HEADER_SIZE - self._buffered)
        if self._payload_left is None:
            return None
        return max(0, self._payload_left - self._buffered)

    @property
    def idle(self) -> bool:
        """Tell whether the stream stands between two containers with nothing buffered."""
        return not self._in_data and not self._buffered

    def feed(self, transfer: memoryview, *, short: bool) -> None:
        """Add one transfer. `short`: it ended before the reader's buffer was full.

        It isn't copied: the caller must not change the buffer under `transfer` afterwards. Raises nothing;
        what can't be a container is found by `next_event`.
        """
        self._short = short
        if self._padding_possible and short and len(transfer) == 1 and not self._buffered:
            # iRiver and old Samsung players: one pad byte stands for the zero-length packet
            self._padding_possible = False
            return
        if transfer:
            self._padding_possible = False
            if not self._in_data and not self._buffered and len(transfer) < HEADER_SIZE and not any(transfer):
                return  # Samsung YP-U3: a few zero bytes before the response
            self._pieces.append(transfer)
            self._buffered += len(transfer)
        if self._in_data and self._payload_left is None and short:
            self._ended_short = True

    def next_event(self) -> StreamEvent | None:
        """Return the next event, None when more bytes are needed.

        Raises `RemoteProtocolError` for a header that can't be one; the stream
        is then out of step, and only `clear` helps.
        """
        if self._in_data:
            return self._next_data_event()
        if self._buffered < HEADER_SIZE:
            return None
        length, kind, code, transaction = _HEADER.unpack(self._peek(HEADER_SIZE))
        if kind not in _TYPES or length < HEADER_SIZE:
            raise RemoteProtocolError(f"no container: length {length}, type {kind}, code 0x{code:04X}")
        if kind == ContainerType.DATA:
            self._drop(HEADER_SIZE)
            self._in_data = True
            self._payload_left = None if length == UNKNOWN_LENGTH else length - HEADER_SIZE
            # Without a length, what follows the header in its own transfer may be all; a header that
            # came alone (Windows Phone) ends a transfer, but not the data.
            self._ended_short = self._payload_left is None and self._short and self._buffered > 0
            return DataStart(code, transaction, self._payload_left)
        if length > HEADER_SIZE + 4 * MAX_PARAMETERS:
            raise RemoteProtocolError(f"container of type {kind} with {length} bytes")
        if self._buffered < length:
            return None
        body = self._peek(length)
        self._drop(length)
        count = (length - HEADER_SIZE) // 4
        parameters = struct.unpack_from(f"<{count}I", body, HEADER_SIZE)
        return Container(ContainerType(kind), code, transaction, parameters)

    def end_data(self) -> None:
        """Declare the payload of unknown length complete: its size was known otherwise."""
        if self._in_data and self._payload_left is None:
            self._payload_left = 0

    def clear(self) -> None:
        """Forget everything, as after a drain."""
        self.__init__()  # type: ignore[misc]

    def _next_data_event(self) -> DataChunk | DataEnd | None:
        if self._payload_left == 0 or (self._ended_short and not self._buffered):
            self._in_data = False
            if self._short and self._buffered == 1:
                self._drop(1)  # the pad byte (see `feed`), read together with the data
            else:
                self._padding_possible = True
            return DataEnd()
        if not self._buffered:
            return None
        piece = self._pieces.popleft()
        if self._payload_left is not None:
            if len(piece) > self._payload_left:
                self._pieces.appendleft(piece[self._payload_left :])
                piece = piece[: self._payload_left]
            self._payload_left -= len(piece)
        self._buffered -= len(piece)
        return DataChunk(piece)

    def _peek(self, size: int) -> bytes:
        if len(self._pieces[0]) < size:
            # Only headers are ever joined, but the tail behind them must stay in order.
            self._pieces = deque([memoryview(b"".join(self._pieces))])
        return bytes(self._pieces[0][:size])

    def _drop(self, size: int) -> None:
        piece = self._pieces.popleft()
        if len(piece) > size:
            self._pieces.appendleft(piece[size:])
        self._buffered -= size


def needs_zero_length_packet(total: int, max_packet: int) -> bool:
    """Tell whether a data phase of `total` bytes, header included, must end with a zero-length packet."""
    return total > 0 and total % max_packet == 0


def parameter(parameters: Sequence[int], index: int) -> int:
    """Return a parameter by its index; an absent one is 0 (trailing zeros may be omitted)."""
    return parameters[index] if index < len(parameters) else 0
