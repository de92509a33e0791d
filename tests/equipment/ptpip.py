"""The virtual phone as a camera in the network: PTP/IP's responder, without sockets.

Strategy: the same responder as on a cable, with "packets" of one byte, so that only an empty transfer ends data. A
`Conversation` is one TCP connection: what has arrived goes into `receive`, what is to be sent comes out of `pull`. So
the same camera answers on real sockets (`equipment.network`) and in memory, on a clock that jumps. A halt doesn't
exist over TCP: the camera resets the connection, as one whose program has crashed.

Like a camera it talks to one initiator at a time. Its session ends with the command connection.

Invariant: `lock` is held whenever a conversation is used.
"""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

from mtpfs.errors import RemoteProtocolError, TransportError
from mtpfs.protocol.codes import ContainerType
from mtpfs.protocol.containers import (
    UNKNOWN_LENGTH,
    Container,
    ContainerStream,
    DataChunk,
    DataEnd,
    DataStart,
    decode_event,
    encode_header,
)
from mtpfs.protocol.ptpip import (
    GUID_SIZE,
    INIT_EVENT_ACK,
    PROBE_REQUEST,
    PROBE_RESPONSE,
    DataPacket,
    FailReason,
    InitCommandAck,
    InitCommandRequest,
    InitEventRequest,
    InitFail,
    Packet,
    PacketStream,
    Request,
    StartData,
    encode_answer,
)
from mtpfs.virtual.capabilities import Capabilities
from mtpfs.virtual.faults import FaultScript
from mtpfs.virtual.responder import Responder

PIECE = 64 << 10  # bytes of data in one packet


class Camera:
    """A virtual phone that is reached by connections. `open` makes one."""

    def __init__(
        self, directories: list[Path], capabilities: Capabilities, faults: FaultScript | None = None
    ) -> None:
        self.lock = threading.RLock()
        self.refuses: FailReason | None = None
        """Why it takes nobody, if so."""
        self.asks = False
        """It shows its user a question, and doesn't answer before there is one."""
        self.probes = 0
        """Questions whether the initiator is still there, to be sent on the event connection."""
        self.probes_answered = 0
        self.initiators: list[InitCommandRequest] = []
        """Who has come so far."""
        self.active: Conversation | None = None
        self.connection = 0
        self.guid = hashlib.md5(capabilities.serial.encode()).digest()[:GUID_SIZE]
        self.responder = Responder(directories, capabilities, max_packet=1, faults=faults)

    def open(self) -> Conversation:
        """Return what stands for a TCP connection to it."""
        return Conversation(self)

    def renew(self) -> None:
        """Begin the service anew, as after the connection has ended."""
        old = self.responder
        old.close()
        self.responder = Responder(old.directories, old.capabilities, max_packet=1, faults=old.faults)
        self.responder.phone.trusted = old.phone.trusted
        self.active = None


class Conversation:
    """One connection, from the camera's side."""

    def __init__(self, camera: Camera) -> None:
        self.over = False
        """The camera ends the connection when everything is sent."""
        self.broken = False
        """It resets it at once."""
        self.has_events = False
        """It is an event connection."""
        self._camera = camera
        self._packets = PacketStream()
        self._payload = memoryview(bytearray(PIECE))
        self._output = bytearray()
        self._answers = ContainerStream()
        self._buffer = memoryview(bytearray(PIECE))
        self._waiting: InitCommandAck | None = None
        self._request: Container | None = None
        self._sent_last = False
        self._data: DataStart | None = None

    def receive(self, data: memoryview | bytes) -> None:
        """Take what has arrived."""
        view = memoryview(data)
        try:
            while view and not self.over:
                is_payload = self._packets.payload_left > 0
                room = self._packets.room(self._payload)[: len(view)]
                room[:] = view[: len(room)]
                packet = self._packets.took(len(room))
                if is_payload:
                    self._camera.responder.receive(bytes(room))
                view = view[len(room) :]
                if packet is not None:
                    self._heed(packet)
                if self._sent_last and not self._packets.payload_left:
                    self._end_data()
        except TransportError:
            self.broken = True
        except RemoteProtocolError:
            self.over = True

    def pull(self) -> bytes:
        """Return what is to be sent now; b"": nothing."""
        if self._waiting is not None and not self._camera.asks:
            self._output += self._waiting.encode()
            self._waiting = None
        if not self._output and not self.over:
            try:
                self._pull_event() if self.has_events else self._pull_answer()
            except (TransportError, RemoteProtocolError):  # the latter: what a fault has made of an answer
                self.broken = True
        found = bytes(self._output)
        self._output.clear()
        return b"" if self.broken else found

    def close(self) -> None:
        """Note that the other side has ended the connection."""
        self.over = True
        if self._camera.active is self:
            self._camera.renew()

    # --- what arrives

    def _heed(self, packet: Packet) -> None:
        match packet:
            case InitCommandRequest():
                self._welcome(packet)
            case InitEventRequest(connection=connection) if connection == self._camera.connection:
                self.has_events = True
                self._output += INIT_EVENT_ACK.encode()
            case Request(command=command) if self._camera.active is self:
                self._request = command
                self._camera.responder.receive(command.encode())
            case StartData(transaction_id=transaction, total=total) if self._request is not None:
                size = UNKNOWN_LENGTH if total is None else total
                header = encode_header(ContainerType.DATA, self._request.code, transaction, size)
                self._camera.responder.receive(header)
                if total == 0:  # libgphoto2 sends nothing more then
                    self._end_data()
            case DataPacket(is_last=is_last) if self._request is not None:
                self._sent_last = is_last
            case DataPacket(size=0, is_last=True):
                pass  # of data of no bytes, whose end was known
            case _ if packet == PROBE_REQUEST:
                self._output += PROBE_RESPONSE.encode()
            case _ if packet == PROBE_RESPONSE and self.has_events:
                self._camera.probes_answered += 1
            case _:
                raise RemoteProtocolError(f"not now: {packet}")

    def _end_data(self) -> None:
        self._sent_last = False
        if self._request is not None:
            self._request = None
            self._camera.responder.receive(b"")

    def _welcome(self, request: InitCommandRequest) -> None:
        camera = self._camera
        camera.initiators.append(request)
        refusal = FailReason.BUSY if camera.active is not None else camera.refuses
        if refusal is not None:
            self._output += InitFail(refusal).encode()
            self.over = True
            return
        camera.active = self
        camera.connection += 1
        self._waiting = InitCommandAck(camera.connection, camera.guid, camera.responder.capabilities.model)

    # --- what is to be sent

    def _pull_answer(self) -> None:
        responder = self._camera.responder
        if self._camera.active is not self or responder.held:
            return
        while not self._output:
            count = responder.fill(self._buffer)
            if count is None:
                return
            self._answers.feed(memoryview(bytes(self._buffer[:count])), short=count < len(self._buffer))
            while (event := self._answers.next_event()) is not None:
                self._say(event)

    def _say(self, event: Container | DataStart | DataChunk | DataEnd) -> None:
        match event:
            case DataStart():
                self._data = event
                self._output += StartData(event.transaction_id, event.length).encode()
            case DataChunk(data=data) if self._data is not None:
                self._output += DataPacket(self._data.transaction_id, len(data), is_last=False).encode()
                self._output += data
            case DataEnd() if self._data is not None:
                self._output += DataPacket(self._data.transaction_id, 0, is_last=True).encode()
            case Container():
                self._output += encode_answer(event)

    def _pull_event(self) -> None:
        if self._camera.probes:
            self._camera.probes -= 1
            self._output += PROBE_REQUEST.encode()
        self._camera.responder.phone.poll()
        event = self._camera.responder.next_event()
        if event is not None:
            self._output += encode_answer(decode_event(event))
