"""The responder's state machine: bulk transfers in, bulk transfers and events out.

It does no I/O. `receive` takes what arrived on the bulk-out endpoint. The pieces
may have any size, but each except the last of a transfer is a whole number of
packets. `fill` serves one read of the host, `next_event` one poll of the interrupt
endpoint. A host has to be patient with devices. This side goes by packets: a data
phase ends with a short or zero-length packet and with nothing else, because that
is how AOSP's reads end. A host's mistakes are logged as warnings. They have the
same effect as on a phone: the server loop ends, and nothing is answered until the
phone is plugged in again.

Invariant: one command at a time; no response is sent before the data phase
that belongs to it is over, refused commands excepted.

Source: AOSP, MtpServer, MtpFfsHandle and MtpRequestPacket.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable
from enum import Enum, auto
from pathlib import Path
from typing import TypeVar

from mtpfs.errors import TransportGoneError, TransportStallError, name_of
from mtpfs.protocol.codes import ContainerType, Operation, Response
from mtpfs.protocol.containers import HEADER_SIZE, MAX_PARAMETERS, UNKNOWN_LENGTH, Container, encode_header
from mtpfs.virtual import changes, device_properties, edit, queries
from mtpfs.virtual.capabilities import Capabilities
from mtpfs.virtual.faults import TRAPS, Fault, FaultScript, Kind, Trap, bend
from mtpfs.virtual.phone import CutShort, Dataset, Phone, Query, Reply, Request, Sink, Stream
from mtpfs.virtual.store import Refusal
from mtpfs.virtual.transfers import Outbox, ShrunkError, Transfer

_log = logging.getLogger(__name__)
_HEADER = struct.Struct("<IHHI")
_LARGEST_COMMAND = HEADER_SIZE + 4 * MAX_PARAMETERS
DATASET_LIMIT = 16384
"""AOSP takes a dataset with a single read of this size."""

_T = TypeVar("_T")
_MODULES = (queries, changes, edit, device_properties)
_QUERIES: dict[int, tuple[int, Query]] = {}
_DATASETS: dict[int, tuple[int, Dataset]] = {}
_STREAMS: dict[int, tuple[int, Stream]] = {}
for _module in _MODULES:
    _QUERIES |= _module.HANDLERS.queries
    _DATASETS |= _module.HANDLERS.datasets
    _STREAMS |= _module.HANDLERS.streams


class _Phase(Enum):
    COMMAND = auto()
    DATASET = auto()
    STREAM = auto()
    DROP = auto()
    """Taking the data of a command that was refused already, or that gets no answer."""
    STOPPED = auto()


class Responder:
    """One phone's MTP server."""

    def __init__(
        self,
        directories: list[Path],
        capabilities: Capabilities | None = None,
        *,
        max_packet: int = 512,
        faults: FaultScript | None = None,
    ) -> None:
        self.directories = directories
        self.capabilities = capabilities or Capabilities()
        self.phone = Phone(directories, self.capabilities)
        self.max_packet = max_packet
        self.faults = faults if faults is not None else FaultScript()
        self.stalled = False
        self.gone = False
        self.held = 0.0
        """Seconds for which the cable has to keep the answer back."""
        self._outbox = Outbox(max_packet)
        self._phase = _Phase.COMMAND
        self._request = Request(0, 0, ())
        self._refused: Request | None = None
        self._fault: Fault | None = None
        self._trap: Trap | None = None
        self._after_drop: int | None = None
        """What to answer when all of the data that is dropped has come; None: nothing."""
        self._answered = False
        """A response to the request at hand was given."""
        self._dataset = bytearray()
        self._sink: Sink | None = None
        self._header: bytes | None = None
        self._announced: int | None = None
        self._received = 0
        self._behind: bytes | None = None
        """What came last, once a Cancel has put the server one read behind."""
        self._lagging = False
        self._expects_more = False
        """A Cancel came before all of the data, on a phone that counts them."""
        self._unnoticed: bytes | None = None
        """Packets that were taken, and that the phone doesn't look at before more come."""
        self._due = 0
        """The transaction id that has to come next, where the phone is strict."""

    def use_clock(self, clock: Callable[[], float]) -> None:
        """Measure the phone's own delays by the clock at the other end of the cable."""
        self.phone.store.clock = clock

    # --- commands

    def receive(self, transfer: memoryview | bytes) -> None:
        """Take packets from the bulk-out endpoint; empty: a zero-length packet.

        Raises `TransportStallError` while the endpoints are halted, `TransportGoneError` after a fault has
        unplugged it.
        """
        self._check_endpoints()
        if self._lagging:
            # The read that the Cancel abandoned is still queued and takes what was meant for the next one
            late, self._behind = self._behind, bytes(transfer)
            if late is None:
                return
            transfer = late
        unnoticed, self._unnoticed = self._unnoticed, None
        if unnoticed is not None:
            self._take(memoryview(unnoticed))
            if not transfer:
                return
        self._take(memoryview(transfer).cast("B"))

    def _take(self, view: memoryview) -> None:
        ends = not view or len(view) % self.max_packet != 0
        if ends and self._phase in {_Phase.DATASET, _Phase.STREAM} and self._is_unnoticed():
            self._unnoticed = bytes(view)
            return
        match self._phase:
            case _Phase.COMMAND:
                self._receive_command(view, ends=ends)
            case _Phase.DATASET:
                if len(self._dataset) <= DATASET_LIMIT:  # more than that is refused at its end anyway
                    self._dataset += view
                if self._springs_on_receipt(len(self._dataset)):
                    self._drop(view, ends=ends)
                elif ends:
                    self._end_dataset()
            case _Phase.STREAM:
                self._receive_stream(view, ends=ends)
            case _Phase.DROP:
                self._drop(view, ends=ends)
            case _Phase.STOPPED:
                pass

    def _is_unnoticed(self) -> bool:
        if self._fault is None or self._fault.kind is not Kind.UNNOTICED:
            return False
        self._fault = None
        return True

    def _receive_command(self, view: memoryview, *, ends: bool) -> None:
        if not view and self.capabilities.takes_nothing:
            return
        if self._expects_more:
            self._expects_more = False
            _log.warning("%d bytes are taken for more of what was cancelled", len(view))
            return
        refused, self._refused = self._refused, None
        size = len(view)
        if size >= HEADER_SIZE:
            length, kind, code, transaction = _HEADER.unpack_from(view)
            belongs = refused is not None and (code, transaction) == (
                refused.operation,
                refused.transaction_id,
            )
            if kind == ContainerType.DATA and belongs and not self.capabilities.strict:
                # AOSP would take it for a command; this phone is kinder unless it is told not to be
                self._phase, self._header = _Phase.DROP, None
                self._drop(view, ends=ends)
                return
            if size <= _LARGEST_COMMAND and size % 4 == 0 and length == size:
                if kind != ContainerType.COMMAND:
                    _log.warning("container of type %d where a command was due: ignored", kind)
                    return
                parameters = struct.unpack_from(f"<{(size - HEADER_SIZE) // 4}I", view, HEADER_SIZE)
                self._start(Request(code, transaction, parameters))
                return
        self._stop(f"{size} bytes where a command was due")

    def _start(self, request: Request) -> None:
        phone, operation = self.phone, request.operation
        self._request, self._fault, self._trap = request, self.faults.take(operation), None
        self._after_drop = None
        self._answered = False
        self._dataset.clear()
        self._header, self._sink, self._received = None, None, 0
        phone.last_transaction = request.transaction_id
        phone.store.hear()
        if operation != Operation.SendObject:
            phone.upload = None  # its name stays reserved: see `changes`
        phone.size_lie = 0
        is_due = self._is_due(request)
        if self._fault is not None and self._strike(self._fault):
            return
        if not is_due:
            self._refuse(Reply(Response.GeneralError))  # libgphoto2's vcamera, CHECK_SEQUENCE_NUMBER
            return
        if operation not in self.capabilities.operations:
            self._refuse(Reply(Response.OperationNotSupported))
        elif operation in _QUERIES:
            needed, query = _QUERIES[operation]
            self._answer(self._guard(needed, lambda: query(phone, request)))
        elif operation in _DATASETS:
            self._phase = _Phase.DATASET
        else:
            needed, stream = _STREAMS[operation]
            sink = self._guard(needed, lambda: stream(phone, request))
            if isinstance(sink, Reply):
                self._refuse(sink)
                if self.capabilities.refuses_twice:
                    self._after_drop = sink.code  # uMTP-Responder: the data container is dispatched too
            else:
                self._sink, self._phase = sink, _Phase.STREAM

    def _is_due(self, request: Request) -> bool:
        """Tell whether a transaction id is the right one. OpenSession begins the count."""
        if request.operation == Operation.OpenSession or self.phone.session is None:
            self._due = request.transaction_id
        due, self._due = self._due, self._due + 1
        return not self.capabilities.strict_transactions or request.transaction_id == due

    def _guard(self, needed: int, run: Callable[[], _T]) -> _T | Reply:
        """Run an operation. What it refuses, and what the filesystem refuses it, are answers."""
        if len(self._request.parameters) < needed:
            return Reply(Response.InvalidParameter)
        try:
            return run()
        except Refusal as refusal:
            return Reply(refusal.code, refusal.parameters)
        except OSError as error:
            _log.debug("%s: %s", name_of(Operation, self._request.operation), error)
            return Reply(Response.GeneralError)

    def _strike(self, fault: Fault) -> bool:
        """Let a fault act at command time; tell whether the operation is dealt with."""
        self._trap = TRAPS.get(fault.kind)
        match fault.kind:
            case Kind.REFUSE | Kind.REFUSE_TWICE:
                self._refuse(Reply(fault.code))
                self._after_drop = fault.code if fault.kind is Kind.REFUSE_TWICE else None
            case Kind.RENUMBER:
                self.phone.renumber()
                return False
            case Kind.VANISH:
                self.phone.store.vanish(self._request.p(1))
                return False
            case Kind.LYING_SIZE:
                self.phone.size_lie = fault.amount
                return False
            case Kind.BUSY:
                self._refuse(Reply(Response.DeviceBusy))
            case Kind.SILENCE:
                self._refused = self._request
            case Kind.STALL:
                self.stalled = True
            case Kind.GONE:
                self.gone = True
            case _:
                return False
        return True

    def _refuse(self, reply: Reply) -> None:
        """Answer before the data phase, if there is one: its data will have to be dropped."""
        self._answer(reply)
        self._refused = self._request

    # --- data from the initiator

    def _end_dataset(self) -> None:
        self._phase = _Phase.COMMAND
        needed, dataset = _DATASETS[self._request.operation]
        data = bytes(self._dataset)
        if (
            len(data) > DATASET_LIMIT
            or not self._is_data_header(data)
            or _HEADER.unpack_from(data)[0] != len(data)
        ):
            _log.warning("dataset of %d bytes whose header says otherwise", len(data))
            self._answer(Reply(Response.InvalidParameter))
            return
        self._answer(self._guard(needed, lambda: dataset(self.phone, self._request, data[HEADER_SIZE:])))

    def _is_data_header(self, data: bytes | memoryview) -> bool:
        if len(data) < HEADER_SIZE:
            return False
        _, kind, code, transaction = _HEADER.unpack_from(data)
        expected = (ContainerType.DATA, self._request.operation, self._request.transaction_id)
        return bool((kind, code, transaction) == expected)

    def _receive_stream(self, view: memoryview, *, ends: bool) -> None:
        assert self._sink is not None
        sink = self._sink
        if self._header is None:
            if not self._is_data_header(view):
                _log.warning("no data header where one was due")
                sink.abort()
                self._phase, self._sink = _Phase.COMMAND, None
                self._answer(Reply(Response.GeneralError))
                return
            self._header = bytes(view[:HEADER_SIZE])
            length = _HEADER.unpack(self._header)[0]
            self._announced = None if length == UNKNOWN_LENGTH else length - HEADER_SIZE
            view = view[HEADER_SIZE:]
            if not view and ends and self._announced != 0:
                return  # the header alone: AOSP takes the payload from the transfer that follows
        if view:
            try:
                sink.write(view)
            except CutShort as cut:
                self._cut_short(cut.reply, ends=ends)
                return
            self._received += len(view)
            if self.capabilities.counts_data and self._announced is not None:
                ends = self._received >= self._announced
            if self._springs_on_receipt(self._received):
                self._drop(view, ends=ends)
                return
        if ends:
            self._phase, self._sink = _Phase.COMMAND, None
            if self._announced is not None and self._received != self._announced:
                _log.warning("data phase of %d bytes, announced were %d", self._received, self._announced)
            self._answer(self._guard(0, lambda: sink.finish(self._announced)))

    def _cut_short(self, reply: Reply | None, *, ends: bool) -> None:
        """End a data phase that the phone has no more room for."""
        self._abort_data()
        if reply is None:
            self.stalled = True
            self._check_endpoints()
        else:
            self._answer(reply)
            if not ends and not self.capabilities.strict:
                # AOSP would read the rest as commands
                self._phase, self._header = _Phase.DROP, b""

    def _drop(self, view: memoryview, *, ends: bool) -> None:
        if self._answered and _is_command(view):
            # The host has heard that the rest isn't wanted
            self._phase = _Phase.COMMAND
            self._receive_command(view, ends=ends)
            return
        if self._header is None:
            self._header = bytes(view[:HEADER_SIZE])
            if ends and len(view) == HEADER_SIZE < int.from_bytes(self._header[:4], "little"):
                return  # the header alone
        if ends:
            self._phase = _Phase.COMMAND
            if self._after_drop is not None:
                self._answer(Reply(self._after_drop))

    # --- what goes out

    def _answer(self, reply: Reply) -> None:
        request, fault = self._request, self._fault
        self._answered = True
        if fault is not None and fault.kind is Kind.FAIL:
            reply = Reply(fault.code, data=reply.data)
        if fault is not None and fault.kind is Kind.LATE:
            self.held = fault.amount / 1000
        header = b""
        if reply.data is not None:
            self.phone.store.hear(everything=True)  # buteo-mtp, sendData: its event loop runs meanwhile
            header = encode_header(
                ContainerType.DATA, request.operation, request.transaction_id, len(reply.data)
            )
        else:
            self._trap = None  # traps are for data phases
        payload = b"" if reply.data is None else reply.data
        response = Container(
            ContainerType.RESPONSE, reply.code, request.transaction_id, reply.parameters
        ).encode()
        if fault is not None:
            transfers = bend(fault, header, payload, response, self.max_packet)
        elif header:
            transfers = [Transfer(header, payload), Transfer(response)]
        else:
            transfers = [Transfer(response)]
        for transfer in transfers:
            self._outbox.put(transfer)

    def fill(self, view: memoryview) -> int | None:
        """Serve one read of the bulk-in endpoint into `view`, a whole number of packets.

        Returns the bytes received, 0 for a zero-length packet, None when
        there is nothing to receive yet. Raises as `receive` does.
        """
        self._check_endpoints()
        try:
            count = self._outbox.fill(view)
        except ShrunkError:
            self._outbox.clear()
            self.stalled = True
            raise TransportStallError("the file became shorter while it was sent") from None
        if self._trap is not None and not self._outbox and (count is None or count < len(view)):
            self._spring()
        return count

    def next_transfer(self, max_bytes: int) -> memoryview | None:
        """Return what one read of `max_bytes` would receive, for callers without a buffer of their own."""
        buffer = memoryview(bytearray(max_bytes))
        count = self.fill(buffer)
        return None if count is None else buffer[:count]

    def next_event(self) -> bytes | None:
        """Return the next interrupt transfer; None: there is none."""
        return self.phone.events.popleft().encode() if self.phone.events else None

    # --- trouble

    def _check_endpoints(self) -> None:
        if self.gone:
            raise TransportGoneError("the virtual phone was unplugged")
        if self.stalled:
            raise TransportStallError("endpoint halted")

    def _springs_on_receipt(self, received: int) -> bool:
        """Tell whether the rest of the data is to be dropped."""
        if self._trap is None or self._fault is None or received < self._fault.amount:
            return False
        self._abort_data()
        self._phase, self._header = _Phase.DROP, b""
        if self._trap is Trap.FULL:
            self._after_drop = Response.StoreFull
        self._spring()
        return True

    def _spring(self) -> None:
        trap, self._trap = self._trap, None
        if trap is Trap.STALL:
            self.stalled = True
        elif trap is Trap.GONE:
            self.gone = True
        if self.stalled or self.gone:
            self._phase = _Phase.COMMAND
        self._check_endpoints()

    def _abort_data(self) -> None:
        if self._sink is not None:
            self._sink.abort()
            self._sink = None
        self._outbox.clear()
        self._unnoticed = None
        self.held = 0.0
        self._phase = _Phase.COMMAND

    def _stop(self, reason: str) -> None:
        """End the server loop, as AOSP does for a malformed request."""
        _log.warning("the virtual phone's server loop ends: %s", reason)
        self._phase = _Phase.STOPPED
        self._outbox.clear()
        self.phone.close()

    def clear_halt(self) -> None:
        """Let both endpoints work again."""
        self.stalled = False

    def cancel(self, transaction_id: int) -> None:
        """Class request Cancel: the data phase ends, and no response follows."""
        in_data = bool(self._outbox) or self._phase in {_Phase.DATASET, _Phase.STREAM}
        if in_data and (self.capabilities.counts_data or transaction_id == self._request.transaction_id):
            self._expects_more = self.capabilities.counts_data and self._phase is _Phase.STREAM
            self._abort_data()
        else:
            # AOSP abandons the read that waits for a command, and it goes on to take what comes next.
            # (A fault that struck leaves the server in its transaction: there the Cancel is right.)
            idle = self._fault is None and not self.stalled
            self._lagging |= idle and self.capabilities.off_by_one_after_cancel
            _log.warning("Cancel of transaction %d, which has no data phase in progress", transaction_id)

    def device_status(self) -> int:
        """Class request GetDeviceStatus."""
        if self.capabilities.tells_busy and self._phase in {_Phase.DATASET, _Phase.STREAM}:
            return Response.DeviceBusy
        return Response.TransactionCancelled if self.stalled else Response.OK

    def close(self) -> None:
        """End the MTP service, as unplugging does: handles end, open edits are committed."""
        self._abort_data()
        self.phone.close()


def _is_command(transfer: memoryview) -> bool:
    size = len(transfer)
    if not HEADER_SIZE <= size <= _LARGEST_COMMAND or size % 4:
        return False
    length, kind, _, _ = _HEADER.unpack_from(transfer)
    return bool(length == size and kind == ContainerType.COMMAND)
