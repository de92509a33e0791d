"""PTP over TCP (PTP/IP): its packets, and how they become the containers that USB has, and back.

A session knows containers: a header of 12 bytes, and what follows it. TCP has packets instead. An operation says
beforehand whether data will be sent with it, data is announced, and its last packet says that it is the last one.
`Packer` and `Unpacker` stand between the two, one for each direction of the command connection. So everything above
the transport is the same as over USB. A payload is never copied here. It goes from the caller's buffer to the
socket, and from the socket into the caller's buffer.

A command is held back until it is known whether data follows it, because its packet has to say so.

Invariant: what arrives is a packet that may come at this point, or a `RemoteProtocolError`. Nothing that a packet
claims makes anything be allocated.

Sources: CIPA DC-005 as told by libgphoto2's PTPIP.TXT and Wireshark's dissector; where they differ, libgphoto2's code.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

from mtpfs.errors import LocalProtocolError, RemoteProtocolError
from mtpfs.protocol.codes import ContainerType
from mtpfs.protocol.containers import (
    HEADER_SIZE,
    MAX_PARAMETERS,
    UNKNOWN_LENGTH,
    Container,
    encode_header,
)

PORT = 15740
VERSION = 0x00010000
GUID_SIZE = 16
LONGEST_NAME = 39  # UTF-16 units, without the NUL
PACKET_HEADER = 8  # bytes: length and type
DATA_HEADER = 12  # the same, and a transaction
LARGEST_PACKET = 1024  # bytes of one that carries no data; the longest name makes 112
CHUNK = 64 << 10  # bytes of data in one packet from us: what cameras have from other programs, too
UNKNOWN_TOTAL = 0xFFFFFFFFFFFFFFFF
_NO_DATA, _DATA_OUT = 1, 2
_CONTAINER_HEADER = struct.Struct("<IHHI")


class PacketType(IntEnum):
    """What a packet is."""

    INIT_COMMAND_REQUEST = 1
    INIT_COMMAND_ACK = 2
    INIT_EVENT_REQUEST = 3
    INIT_EVENT_ACK = 4
    INIT_FAIL = 5
    REQUEST = 6
    RESPONSE = 7
    EVENT = 8
    START_DATA = 9
    DATA = 10
    CANCEL = 11
    END_DATA = 12
    PROBE_REQUEST = 13
    PROBE_RESPONSE = 14


class FailReason(IntEnum):
    """Why a responder doesn't want us."""

    REJECTED = 1
    BUSY = 2
    UNSPECIFIED = 3


@dataclass(frozen=True, slots=True)
class InitCommandRequest:
    """The first packet on the command connection."""

    guid: bytes
    name: str
    version: int = VERSION

    def encode(self) -> bytes:
        return _packet(
            PacketType.INIT_COMMAND_REQUEST, _guid(self.guid), _name(self.name), _u32(self.version)
        )


@dataclass(frozen=True, slots=True)
class InitCommandAck:
    """The responder wants us; `connection` goes with the event connection."""

    connection: int
    guid: bytes
    name: str
    version: int = VERSION

    def encode(self) -> bytes:
        return _packet(
            PacketType.INIT_COMMAND_ACK,
            _u32(self.connection),
            _guid(self.guid),
            _name(self.name),
            _u32(self.version),
        )


@dataclass(frozen=True, slots=True)
class InitEventRequest:
    """The first packet on the event connection."""

    connection: int

    def encode(self) -> bytes:
        return _packet(PacketType.INIT_EVENT_REQUEST, _u32(self.connection))


@dataclass(frozen=True, slots=True)
class InitFail:
    """The responder doesn't want us."""

    reason: int

    def encode(self) -> bytes:
        return _packet(PacketType.INIT_FAIL, _u32(self.reason))


@dataclass(frozen=True, slots=True)
class Request:
    """A command. `sends_data`: data from the initiator follows."""

    command: Container
    sends_data: bool

    def encode(self) -> bytes:
        phase = _DATA_OUT if self.sends_data else _NO_DATA
        return _packet(PacketType.REQUEST, _u32(phase), encode_body(self.command))


@dataclass(frozen=True, slots=True)
class StartData:
    """Data begins. `total` is its size in bytes, None where that isn't known."""

    transaction_id: int
    total: int | None

    def encode(self) -> bytes:
        total = UNKNOWN_TOTAL if self.total is None else self.total
        return _packet(PacketType.START_DATA, struct.pack("<IQ", self.transaction_id, total))


@dataclass(frozen=True, slots=True)
class DataPacket:
    """The next `size` bytes of data come. They aren't in here, nor in `encode`."""

    transaction_id: int
    size: int
    is_last: bool

    def encode(self) -> bytes:
        kind = PacketType.END_DATA if self.is_last else PacketType.DATA
        return struct.pack("<III", DATA_HEADER + self.size, kind, self.transaction_id)


@dataclass(frozen=True, slots=True)
class Cancel:
    """A transaction is given up."""

    transaction_id: int

    def encode(self) -> bytes:
        return _packet(PacketType.CANCEL, _u32(self.transaction_id))


@dataclass(frozen=True, slots=True)
class Signal:
    """A packet that is nothing but its type."""

    type: PacketType

    def encode(self) -> bytes:
        return _packet(self.type)


Packet = (
    InitCommandRequest
    | InitCommandAck
    | InitEventRequest
    | InitFail
    | Request
    | Container
    | StartData
    | DataPacket
    | Cancel
    | Signal
)
"""A `Container` is a response or an event."""

INIT_EVENT_ACK = Signal(PacketType.INIT_EVENT_ACK)
PROBE_REQUEST = Signal(PacketType.PROBE_REQUEST)
PROBE_RESPONSE = Signal(PacketType.PROBE_RESPONSE)
_SIGNALS = {signal.type for signal in (INIT_EVENT_ACK, PROBE_REQUEST, PROBE_RESPONSE)}
_DATA = {PacketType.DATA, PacketType.END_DATA}


def encode_answer(container: Container) -> bytes:
    """Return the packet of a response or an event."""
    kind = PacketType.EVENT if container.type == ContainerType.EVENT else PacketType.RESPONSE
    return _packet(kind, encode_body(container))


def encode_body(container: Container) -> bytes:
    """Return code, transaction and parameters, as all three kinds of packets have them."""
    count = len(container.parameters)
    return struct.pack(f"<HI{count}I", container.code, container.transaction_id, *container.parameters)


def decode(kind: int, body: bytes) -> Packet:
    """Return the packet of a type and what follows the header; of data packets, that is the transaction alone.

    Raises `RemoteProtocolError`.
    """
    try:
        if kind in _SIGNALS:
            return Signal(PacketType(kind))
        match kind:
            case PacketType.RESPONSE:
                return _container(ContainerType.RESPONSE, body)
            case PacketType.EVENT:
                return _container(ContainerType.EVENT, body)
            case PacketType.REQUEST:
                return Request(_container(ContainerType.COMMAND, body[4:]), _number(body) == _DATA_OUT)
            case PacketType.START_DATA:
                transaction, total = struct.unpack_from("<IQ", body)
                return StartData(transaction, None if total == UNKNOWN_TOTAL else total)
            case PacketType.CANCEL:
                return Cancel(_number(body))
            case PacketType.INIT_COMMAND_REQUEST:
                return InitCommandRequest(_part(body, 0, GUID_SIZE), *_text_and_version(body[GUID_SIZE:]))
            case PacketType.INIT_COMMAND_ACK:
                guid = _part(body, 4, GUID_SIZE)
                return InitCommandAck(_number(body), guid, *_text_and_version(body[4 + GUID_SIZE :]))
            case PacketType.INIT_EVENT_REQUEST:
                return InitEventRequest(_number(body))
            case PacketType.INIT_FAIL:
                return InitFail(_number(body))
    except struct.error as error:
        raise RemoteProtocolError(f"packet of type {kind} with {len(body)} bytes") from error
    raise RemoteProtocolError(f"packet of unknown type {kind}")


class PacketStream:
    """Cuts what arrives into packets. The bytes of data themselves go where the caller wants them.

    Put what comes next into (a part of) `room`, then call `took`.
    """

    def __init__(self) -> None:
        self.payload_left = 0
        """Bytes still missing from the data packet at hand."""
        self._head = memoryview(bytearray(LARGEST_PACKET))
        self._have = 0
        self._needed = PACKET_HEADER
        self._kind = 0

    @property
    def idle(self) -> bool:
        """Tell whether the stream stands between two packets."""
        return not self._have and not self.payload_left

    def room(self, payload: memoryview) -> memoryview:
        """Return where the next bytes belong: in `payload`, or in here."""
        return payload[: self.payload_left] if self.payload_left else self._head[self._have : self._needed]

    def took(self, count: int) -> Packet | None:
        """Note that `count` bytes were put there; return the packet that they complete.

        A `DataPacket` is returned when its bytes begin. Raises `RemoteProtocolError`: nothing that follows has a
        meaning.
        """
        if self.payload_left:
            self.payload_left -= count
            return None
        self._have += count
        if self._have < self._needed:
            return None
        length, kind = struct.unpack_from("<II", self._head)
        if self._have == PACKET_HEADER:
            least = DATA_HEADER if kind in _DATA else PACKET_HEADER
            if length < least or (kind not in _DATA and length > LARGEST_PACKET):
                raise RemoteProtocolError(f"packet of type {kind} with {length} bytes")
            self._needed = DATA_HEADER if kind in _DATA else length
            if self._have < self._needed:
                return None
        body = bytes(self._head[PACKET_HEADER : self._have])
        self._have, self._needed = 0, PACKET_HEADER
        if kind in _DATA:
            self.payload_left = length - DATA_HEADER
            return DataPacket(_number(body), self.payload_left, kind == PacketType.END_DATA)
        return decode(kind, body)


class Unpacker:
    """What comes on the command connection, as containers: `fill`, and if that isn't enough, `room` and `took`."""

    def __init__(self) -> None:
        self.operation = 0
        """The operation that is on the wire: a container of data names it, a packet doesn't."""
        self._packets = PacketStream()
        self._ready = b""
        self._ended = False
        """A container ends behind `_ready`."""
        self._data: StartData | None = None
        """The data phase at hand."""
        self._told = False
        """Its container has begun."""
        self._passed = 0
        """Bytes of it that have been announced by packets."""
        self._is_last = False

    @property
    def idle(self) -> bool:
        """Tell whether it stands between two containers."""
        return self._data is None and self._packets.idle and not self._ready

    def fill(self, view: memoryview) -> tuple[int, bool]:
        """Put what is there already into `view`: the count of bytes, and whether a container ends behind them."""
        count = min(len(self._ready), len(view))
        view[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        ends = self._ended and not self._ready
        if ends:
            self._ended = False
        return count, ends

    def room(self, view: memoryview) -> memoryview:
        """Return where the next bytes from the connection belong: into `view`, or elsewhere."""
        return self._packets.room(view)

    def took(self, count: int) -> int:
        """Note that `count` bytes were put there; return how many of them are in the view.

        Raises `RemoteProtocolError`.
        """
        is_payload = self._packets.payload_left > 0
        packet = self._packets.took(count)
        if isinstance(packet, DataPacket):
            self._announce(packet)
        elif packet is not None:
            self._begin(packet)
        if self._is_last and not self._packets.payload_left:
            self._data, self._is_last, self._ended = None, False, True
        return count if is_payload else 0

    def _begin(self, packet: Packet) -> None:
        is_response = isinstance(packet, Container) and packet.type == ContainerType.RESPONSE
        data = self._data
        if data is not None and is_response and self._passed == data.total:
            # Where nothing is missing, the packet that ends the data may be.
            if not self._told:
                self._ready = self._header(data, 0)
            self._data = data = None
        if data is not None:
            raise RemoteProtocolError(f"{type(packet).__name__} in the middle of data")
        if isinstance(packet, StartData):
            self._data, self._told, self._passed = packet, False, 0
        elif isinstance(packet, Container) and is_response:
            self._ready, self._ended = self._ready + packet.encode(), True
        elif packet not in {PROBE_REQUEST, PROBE_RESPONSE}:
            raise RemoteProtocolError(f"{type(packet).__name__} where a response was due")

    def _announce(self, packet: DataPacket) -> None:
        data = self._data
        if data is None or packet.transaction_id != data.transaction_id:
            raise RemoteProtocolError("data that wasn't announced")
        self._passed += packet.size
        wrong = data.total is not None and (
            self._passed > data.total or (packet.is_last and self._passed < data.total)
        )
        if wrong:
            raise RemoteProtocolError(f"{data.total} bytes of data announced, {self._passed} came")
        self._is_last = packet.is_last
        if not self._told and (packet.size or packet.is_last):
            # Not before: a container without a length mustn't begin with a transfer that holds the header alone.
            self._told = True
            self._ready = self._header(data, packet.size if packet.is_last else data.total)

    def _header(self, data: StartData, total: int | None) -> bytes:
        size = UNKNOWN_LENGTH if total is None else total
        return encode_header(ContainerType.DATA, self.operation, data.transaction_id, size)


class Packer:
    """What is to go out on the command connection, given as containers.

    Before each piece call `accept`. Send `outgoing`, and `open` bytes of the piece behind it; say what was `sent`.
    """

    def __init__(self) -> None:
        self.outgoing = bytearray()
        """What is to be sent before anything else."""
        self.open = 0
        """Bytes that the packet at hand still needs from the caller."""
        self._held: Container | None = None
        self._transaction = 0
        self._left: int | None = 0
        """Bytes of the data phase that have no packet yet; None where only its end will tell."""

    @property
    def idle(self) -> bool:
        """Tell whether the other side has all of what it was promised."""
        return not self.outgoing and not self.open and self._left == 0

    def accept(self, piece: memoryview) -> int:
        """Look at what is to be written next; return how many bytes of it are dealt with already.

        An empty piece ends data whose length isn't known, and means nothing else. Raises `LocalProtocolError` for a
        command in the middle of data.
        """
        if self.open:
            return 0
        if self._left == 0:
            return self._accept_container(piece) if piece else 0
        if piece or self._left is None:
            size = min(len(piece), CHUNK if self._left is None else min(CHUNK, self._left))
            is_last = not piece if self._left is None else size == self._left
            self.outgoing += DataPacket(self._transaction, size, is_last).encode()
            self.open = size
            self._left = 0 if is_last else self._left and self._left - size
        return 0

    def sent(self, count: int) -> int:
        """Note that `count` bytes went out; return how many of them were the caller's."""
        ours = min(count, len(self.outgoing))
        del self.outgoing[:ours]
        self.open -= count - ours
        return count - ours

    def release(self) -> int | None:
        """Let a command go that no data follows; return its operation, None if there is none."""
        held = self._held
        if held is None:
            return None
        self._go(held, sends_data=False)
        return held.code

    def drop(self) -> None:
        """Forget a command that hasn't gone out: it won't be answered."""
        self._held = None

    def _go(self, command: Container, *, sends_data: bool) -> None:
        self._held = None
        self.outgoing += Request(command, sends_data).encode()

    def _accept_container(self, piece: memoryview) -> int:
        if len(piece) < HEADER_SIZE:
            raise LocalProtocolError(f"{len(piece)} bytes where a container was due")
        length, kind, code, transaction = _CONTAINER_HEADER.unpack_from(piece)
        if kind == ContainerType.COMMAND:
            count = (len(piece) - HEADER_SIZE) // 4
            parameters = struct.unpack_from(f"<{count}I", piece, HEADER_SIZE)
            self._held = Container(ContainerType.COMMAND, code, transaction, parameters)
            return len(piece)
        if kind != ContainerType.DATA or self._held is None:
            raise LocalProtocolError(f"container of type {kind} where a command was due")
        self._go(self._held, sends_data=True)
        self._transaction = transaction
        self._left = None if length == UNKNOWN_LENGTH else length - HEADER_SIZE
        self.outgoing += StartData(transaction, self._left).encode()
        if self._left == 0:
            self.outgoing += DataPacket(transaction, 0, is_last=True).encode()
        return HEADER_SIZE


def _packet(kind: PacketType, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack("<II", PACKET_HEADER + len(body), kind) + body


def _container(kind: ContainerType, body: bytes) -> Container:
    code, transaction = struct.unpack_from("<HI", body)
    count = (len(body) - 6) // 4
    if count > MAX_PARAMETERS:
        raise RemoteProtocolError(f"{count} parameters, {MAX_PARAMETERS} are possible")
    return Container(kind, code, transaction, struct.unpack_from(f"<{count}I", body, 6))


def _u32(value: int) -> bytes:
    return struct.pack("<I", value)


def _number(body: bytes) -> int:
    return int(struct.unpack_from("<I", body)[0])


def _part(body: bytes, start: int, size: int) -> bytes:
    part = body[start : start + size]
    if len(part) < size:
        raise RemoteProtocolError(f"{len(part)} bytes where {size} were due")
    return part


def _guid(guid: bytes) -> bytes:
    if len(guid) != GUID_SIZE:
        raise LocalProtocolError(f"a GUID of {len(guid)} bytes")
    return guid


def _name(name: str) -> bytes:
    return name.encode("utf-16-le", "surrogatepass")[: 2 * LONGEST_NAME] + b"\0\0"


def _text_and_version(body: bytes) -> tuple[str, int]:
    """Take a name and the version behind it. Some devices leave the version out, or the NUL."""
    for end in range(0, len(body) - 1, 2):
        if body[end : end + 2] == b"\0\0":
            version = body[end + 2 : end + 6]
            return _text(body[:end]), _number(version) if len(version) == 4 else VERSION
    return _text(body), VERSION


def _text(units: bytes) -> str:
    return units[: len(units) // 2 * 2].decode("utf-16-le", "surrogatepass")
