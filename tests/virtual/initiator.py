"""A bare initiator: one call, one transaction, no recovery and no opinion.

Independent of `mtpfs.session` on purpose: what the virtual phone does is
checked with containers and nothing above them.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass

from mtpfs.protocol.codes import ROOT_PARENT, ContainerType, Format, Operation, Property, Response
from mtpfs.protocol.containers import (
    Container,
    ContainerStream,
    DataChunk,
    DataStart,
    decode_event,
    encode_header,
    needs_zero_length_packet,
)
from mtpfs.protocol.datasets import ObjectInfo, PropertyElement, decode_property_list
from mtpfs.protocol.wire import decode_integers, encode_value
from mtpfs.virtual.transport import VirtualTransport

INTERNAL = 0x00010001
CARD = 0x00020001
TIMEOUT = 1.0


@dataclass(frozen=True)
class Answer:
    """What came back. `data` is None when there was no data phase."""

    code: int
    parameters: tuple[int, ...] = ()
    data: bytes | None = None

    @property
    def ok(self) -> bool:
        return self.code == Response.OK


class Initiator:
    def __init__(self, transport: VirtualTransport, *, buffer: int = 1 << 16) -> None:
        self.transport = transport
        self.transaction = 0
        self.buffer = array("B", bytes(buffer))

    # --- the parts of a transaction

    def command(self, operation: int, *parameters: int) -> None:
        self.transaction += 1
        command = Container(ContainerType.COMMAND, operation, self.transaction, parameters)
        self.transport.write(command.encode(), TIMEOUT)

    def data(self, operation: int, payload: bytes, *, step: int = 1 << 20, length: int | None = None) -> None:
        """Send the data phase in writes of `step` bytes, a multiple of the packet size."""
        size = len(payload) if length is None else length
        stream = encode_header(ContainerType.DATA, operation, self.transaction, size) + payload
        for position in range(0, len(stream), step):
            self.transport.write(stream[position : position + step], TIMEOUT)
        if needs_zero_length_packet(len(stream), self.transport.max_packet):
            self.transport.write(b"", TIMEOUT)

    def read(self) -> bytes:
        return bytes(self.buffer[: self.transport.read(self.buffer, TIMEOUT)])

    def answer(self) -> Answer:
        stream, data = ContainerStream(), bytearray()
        with_data = False
        while True:
            count = self.transport.read(self.buffer, TIMEOUT)
            stream.feed(memoryview(bytes(self.buffer[:count])), short=count < len(self.buffer))
            while (event := stream.next_event()) is not None:
                match event:
                    case DataStart():
                        with_data = True
                    case DataChunk(chunk):
                        data += chunk
                    case Container(code=code, transaction_id=transaction, parameters=parameters):
                        assert transaction == self.transaction
                        assert stream.idle
                        return Answer(code, parameters, bytes(data) if with_data else None)

    # --- transactions

    def do(self, operation: int, *parameters: int, send: bytes | None = None) -> Answer:
        self.command(operation, *parameters)
        if send is not None:
            self.data(operation, send)
        return self.answer()

    def get(self, operation: int, *parameters: int) -> bytes:
        """Do it and insist on success and on data."""
        answer = self.do(operation, *parameters)
        assert answer.ok, hex(answer.code)
        assert answer.data is not None
        return answer.data

    def open(self) -> None:
        assert self.do(Operation.OpenSession, 1).ok

    def handles(
        self, parent: int = ROOT_PARENT, storage: int = INTERNAL, object_format: int = 0
    ) -> list[int]:
        return list(decode_integers(self.get(Operation.GetObjectHandles, storage, object_format, parent)))

    def info(self, handle: int) -> ObjectInfo:
        return ObjectInfo.decode(self.get(Operation.GetObjectInfo, handle))

    def listing(self, parent: int = ROOT_PARENT, storage: int = INTERNAL) -> dict[str, int]:
        """Handles by name."""
        return {self.info(handle).filename: handle for handle in self.handles(parent, storage)}

    def prop_list(
        self, handle: int, code: int, *, depth: int = 0, object_format: int = 0
    ) -> list[PropertyElement]:
        data = self.get(Operation.GetObjectPropList, handle, object_format, code, 0, depth)
        return list(decode_property_list(data))

    def announce(
        self, name: str, size: int, *, parent: int = ROOT_PARENT, storage: int = INTERNAL, modified: str = ""
    ) -> Answer:
        info = ObjectInfo(object_compressed_size=size, filename=name, modification_date=modified)
        return self.do(Operation.SendObjectInfo, storage, parent, send=info.encode())

    def upload(
        self,
        name: str,
        content: bytes,
        *,
        parent: int = ROOT_PARENT,
        storage: int = INTERNAL,
        modified: str = "",
    ) -> int:
        answer = self.announce(name, len(content), parent=parent, storage=storage, modified=modified)
        assert answer.ok, hex(answer.code)
        sent = self.do(Operation.SendObject, send=content)
        assert sent.ok, hex(sent.code)
        return answer.parameters[2]

    def make_folder(self, name: str, *, parent: int = ROOT_PARENT, storage: int = INTERNAL) -> Answer:
        info = ObjectInfo(object_format=Format.Association, filename=name)
        return self.do(Operation.SendObjectInfo, storage, parent, send=info.encode())

    def rename(self, handle: int, name: str) -> Answer:
        data = encode_value(0xFFFF, name)
        return self.do(Operation.SetObjectPropValue, handle, Property.ObjectFileName, send=data)

    def edit(self, handle: int, offset: int, content: bytes) -> Answer:
        return self.do(
            Operation.SendPartialObject, handle, offset & 0xFFFFFFFF, offset >> 32, len(content), send=content
        )

    def events(self, timeout: float = 0.0) -> list[tuple[int, int]]:
        """All events that are due: code and first parameter."""
        found = []
        while data := self.transport.read_event(timeout):
            event = decode_event(data)
            found.append((event.code, event.parameters[0]))
        return found
