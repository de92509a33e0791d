"""The transaction engine: one MTP transaction, start to end, on the calling thread.

`transact` sends the command, moves the data either way and waits for
the response. Each blocking call is a slice of a timeout, which begins anew
whenever bytes move. Incoming bytes go through `ContainerStream`, and what
arrives is judged by its container type, not by what was expected: a responder
may answer without a data phase, with a data phase *and* an error, or with
leftovers of an earlier transaction.

Data-out is sent as Windows does: header glued to the start of the payload,
every write but the last a multiple of the packet size, and one zero-length
packet if, and only if, the total is such a multiple.

A response that arrives while data is still being sent ends the sending. It isn't known
then how much of the rest the device expects, so the pipe counts as out of step.

Invariant: `transact` either returns with the pipe in step (response consumed), or
raises; `in_step` says whether the next transaction may begin. It is refused until
`mtpfs.session.resync` has brought both sides back in step.

Sources: Still Image Class 1.0 section 7; AOSP MtpServer, uMTP-Responder, QEMU
and libmtp for what the standard leaves open.
"""

from __future__ import annotations

import logging
from array import array
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from mtpfs.errors import (
    LocalProtocolError,
    RemoteProtocolError,
    ResponseError,
    StoppedError,
    TransportError,
    TransportStallError,
    TransportTimeoutError,
    name_of,
)
from mtpfs.protocol.codes import ContainerType, Operation, Response
from mtpfs.protocol.containers import (
    HEADER_SIZE,
    Container,
    ContainerStream,
    DataChunk,
    DataStart,
    encode_header,
    needs_zero_length_packet,
    parameter,
)
from mtpfs.session.buffers import Buffers
from mtpfs.session.handles import Handle
from mtpfs.session.timeouts import Timeouts
from mtpfs.transport import Buffer, Transport

log = logging.getLogger(__name__)
wire_log = logging.getLogger("mtpfs.wire")
"""One line for each transaction."""

SMALL = 64 << 10  # bytes: up to here a copy costs less than a buffer of its own
LARGE_TRANSFER = (
    4 << 20
)  # bytes, a multiple of every packet size; usbfs allows 16 MiB for all transfers together
SLICE = 2.0  # seconds: how long one blocking call may last, so that shutdown is noticed
LISTENING = 0.1  # seconds for a device that takes nothing to say why
GLANCE = (
    0.001  # seconds for which it is asked, between two transfers of a long upload, whether it has answered
)
AFTER_STRAY = 1.0  # seconds for the answer to a command that may be lost
MAX_STRAY_CONTAINERS = 16  # leftovers of earlier transactions that are skipped before giving up
DEFAULT_LIMIT = 1 << 20  # bytes of payload that an answer may have unless the caller says otherwise
SLOWEST = 16 << 10  # bytes per second, on the whole, below which a device counts as not answering
COPIED = 4 << 10  # bytes up to which the pieces of an answer are joined as they come
_TRANSACTION_MODULUS = 0xFFFFFFFE  # ids run from 1 to 0xFFFFFFFE


class Phase(Enum):
    """Where the wire stands. Changed by the thread that runs transactions, nowhere else."""

    IN_STEP = auto()
    """Nothing is on the wire: a transaction may begin."""
    COMMAND = auto()
    """In a transaction, before or after its data phase."""
    SENDING = auto()
    """In its data phase, to the device."""
    RECEIVING = auto()
    """In its data phase, from the device."""
    BROKEN = auto()
    """Out of step, and in no data phase: a Cancel would do harm."""


_NEXT = {
    Phase.IN_STEP: {Phase.COMMAND, Phase.BROKEN},
    Phase.COMMAND: {Phase.COMMAND, Phase.SENDING, Phase.RECEIVING, Phase.IN_STEP, Phase.BROKEN},
    Phase.SENDING: {Phase.COMMAND, Phase.RECEIVING, Phase.IN_STEP, Phase.BROKEN},
    Phase.RECEIVING: {Phase.COMMAND, Phase.SENDING, Phase.RECEIVING, Phase.IN_STEP, Phase.BROKEN},
    Phase.BROKEN: {Phase.IN_STEP, Phase.BROKEN},
}


@dataclass(frozen=True, slots=True)
class DataSource:
    """Data to send that isn't in memory: `size` bytes, which `fill` puts into one view after the other.

    `fill` gets an offset and room for the bytes from there, and returns how many it has put there:
    fewer than there is room for when there are no more. It may be asked for all of it again.
    `stopped` is asked between two pieces. If it is True, sending ends with `StoppedError`.
    """

    size: int
    fill: Callable[[int, memoryview], int]
    stopped: Callable[[], bool] = lambda: False


@dataclass(frozen=True, slots=True)
class Result:
    """A successful transaction: the response's parameters and the data received (empty: none)."""

    parameters: tuple[int, ...]
    data: memoryview
    generation: int = 0
    """The session that answered: the one in which object handles in it are valid."""

    def handle(self, index: int) -> Handle:
        """Return the object handle in the response's parameter `index`, counted from 0."""
        return Handle(parameter(self.parameters, index), self.generation)


class Engine:
    """Runs transactions on one transport. Used by one thread at a time."""

    def __init__(self, transport: Transport, timeouts: Timeouts | None = None) -> None:
        self.transport = transport
        self.timeouts = timeouts or Timeouts()
        self.stream = ContainerStream()
        self.transaction_id = 0
        self._hurried = False
        self.split_headers = False
        """Send a data header in a transfer of its own, as Windows Phone needs it (AFTL)."""
        self.misses_data = False
        """The device may have all the data of a transaction, and not look at it before more comes (`_nudge`)."""
        self.operations: Counter[int] = Counter()
        self.bytes_in = 0
        self.bytes_out = 0
        self.generation = 0
        """Grows with every new session on the device: object handles of older ones are void."""
        self._next_id = 0
        self.renew()

    def renew(self) -> None:
        """Begin anew: the transport has another connection, maybe with packets of another size."""
        self.stream.clear()
        self._phase = Phase.IN_STEP
        self._scratch = array("B", (0,)) * self._round_up(SMALL)
        self._large = Buffers(LARGE_TRANSFER + self.transport.max_packet)
        self._whole = Buffers(HEADER_SIZE + LARGE_TRANSFER)

    @property
    def in_step(self) -> bool:
        """Both sides are between two transactions, as far as is known."""
        return self._phase is Phase.IN_STEP

    @property
    def in_data_phase(self) -> bool:
        """The last transaction broke off in its data phase: the device may be told by a Cancel, once."""
        return self._phase in {Phase.SENDING, Phase.RECEIVING}

    @property
    def hurried(self) -> bool:
        """Waiting is given up at the end of the current slice."""
        return self._hurried

    def hurry(self) -> None:
        """Give up waiting at the end of the current slice, until `take_time`. May be called from any thread."""
        self._hurried = True

    def take_time(self) -> None:
        """Wait as long as timeouts say."""
        self._hurried = False

    def renumbered(self) -> None:
        """Note that the handles given so far are void."""
        self.generation += 1

    def fall_out_of_step(self) -> None:
        """Refuse transactions from now on; no data phase is in progress (any more)."""
        self.enter(Phase.BROKEN)

    def assume_step(self) -> None:
        """Let transactions begin again, and see how they fare; what has come so far is forgotten."""
        self.stream.clear()
        if not self.in_step:
            self.enter(Phase.BROKEN)
            self.enter(Phase.IN_STEP)

    def enter(self, phase: Phase) -> None:
        """Note where the wire stands now. For this module."""
        if phase not in _NEXT[self._phase]:
            raise AssertionError(f"{self._phase} is not followed by {phase}")
        self._phase = phase

    def transact(
        self,
        operation: int,
        *parameters: int,
        data: bytes | DataSource | None = None,
        expected: int = 0,
        limit: int = DEFAULT_LIMIT,
        size: int | None = None,
        sink: Callable[[memoryview], None] | None = None,
        timeout: float | None = None,
    ) -> Result:
        """Run one transaction.

        `expected`: bytes of data likely to come, to choose the buffer.
        `limit`: bytes of data beyond which the device is taken for a liar.
        `size`: exact payload size, if known, for a container of unknown length.
        `sink`: gets the data piece by piece; `Result.data` is then empty.
        `timeout`: seconds without progress, if not those of the operation's class.

        Raises `ResponseError`, after which `in_step` is False only if the device answered before
        it had all the data; `TransportError` or `RemoteProtocolError` (out of step: recover first).
        """
        if not self.in_step:
            raise TransportError("the session is out of step")
        self.transaction_id = self._take_id(operation)
        self.operations[operation] += 1
        self.enter(Phase.COMMAND)
        command = Container(ContainerType.COMMAND, operation, self.transaction_id, parameters)
        before = self.transport.monotonic(), self.bytes_out, self.bytes_in
        receipt = _Receipt(self, operation, limit, size, sink)
        answer = "broken off"
        try:
            response = self._exchange(
                command, data, receipt, expected, timeout or self.timeouts.of(operation)
            )
            answer = name_of(Response, response.code)
        except TransportStallError:
            self.enter(Phase.BROKEN)  # what has stalled is in no data phase
            raise
        finally:
            if wire_log.isEnabledFor(logging.DEBUG):
                self._log_transaction(command, answer, *before)
        if response.code != Response.OK:
            raise ResponseError(operation, response.code)
        return Result(response.parameters, receipt.payload(), self.generation)

    def _exchange(
        self,
        command: Container,
        data: bytes | DataSource | None,
        receipt: _Receipt,
        expected: int,
        timeout: float,
    ) -> Container:
        self._write(command.encode(), timeout)
        if data is not None:
            source = DataSource(len(data), _filler(data)) if isinstance(data, bytes) else data
            before = self.bytes_out
            early = self._send_data(command.code, source, receipt, min(timeout, self.timeouts.contents))
            if early is not None:
                # A device that has taken nothing of the data waits for the next command.
                self.enter(Phase.IN_STEP if self.bytes_out == before else Phase.BROKEN)
                return early
            self.enter(Phase.COMMAND)
        receipt.nudge = self._nudge if data is not None and self.misses_data else None
        response = receipt.receive(expected, timeout)
        self.enter(Phase.IN_STEP)
        return response

    def _nudge(self) -> None:
        """Send a transfer of nothing, after which the device looks at what it has. To others it means nothing."""
        log.debug("%s: no answer yet, a zero-length packet follows", self.transport.name)
        try:
            self.transport.write(b"", LISTENING)
        except TransportTimeoutError:
            log.debug("which isn't taken")  # so it still reads what it has: it is slow

    def _log_transaction(
        self, command: Container, answer: str, started: float, bytes_out: int, bytes_in: int
    ) -> None:
        wire_log.debug(
            "%s: %s(%s) %d bytes out, %d in, %s, %.1f ms",
            self.transport.name,
            name_of(Operation, command.code),
            ", ".join(f"0x{value:X}" for value in command.parameters),
            self.bytes_out - bytes_out,
            self.bytes_in - bytes_in,
            answer,
            1000 * (self.transport.monotonic() - started),
        )

    def reset_ids(self) -> None:
        """Start counting transactions anew: OpenSession takes 0, the next one 1."""
        self._next_id = 0

    def read_transfer(self, size: int, timeout: float) -> tuple[memoryview, bool]:
        """Receive one transfer of at most about `size` bytes: the bytes, and whether it ended short.

        Raises `TransportTimeoutError` when nothing came.
        """
        # One packet more than asked: the zero-length packet, or a glued response, then ends
        # this transfer instead of costing another one.
        wanted = self._round_up(size) + self.transport.max_packet
        small = wanted <= len(self._scratch)
        if small:
            buffer = self._scratch
        elif wanted == self._large.size:
            buffer = self._large.take()
        else:
            buffer = array("B", (0,)) * wanted
        started = self.transport.monotonic()
        count = self.transport.read(buffer, timeout)
        # A timeout with some whole packets looks like a short transfer, but is none.
        short = count < len(buffer) and (
            count % self.transport.max_packet > 0 or self.transport.monotonic() - started < timeout
        )
        self.bytes_in += count
        view = memoryview(buffer)[:count]
        # A transfer that is much shorter than its buffer mustn't keep all of that alive.
        return (memoryview(bytes(view)) if small or 2 * count < len(buffer) else view.cast("B")), short

    def _take_id(self, operation: int) -> int:
        if operation == Operation.OpenSession:
            self._next_id = 1
            return 0
        taken = self._next_id
        self._next_id = self._next_id % _TRANSACTION_MODULUS + 1
        return taken

    def _round_up(self, size: int) -> int:
        packet = self.transport.max_packet
        return -(-size // packet) * packet

    def _write(self, data: Buffer, timeout: float, receipt: _Receipt | None = None) -> Container | None:
        """Send one transfer. With `receipt`: return the response that came instead of the device taking it."""
        view = memoryview(data).cast("B")
        sent, deadline = 0, self.transport.monotonic() + timeout
        while True:
            try:
                # An array as a whole goes out as it is; a view of it would be copied.
                count = self.transport.write(view[sent:] if sent else data, min(SLICE, timeout))
            except TransportTimeoutError:
                count = 0
            else:
                if not view:
                    return None
            sent += count
            self.bytes_out += count
            if sent == len(view):
                return None
            now = self.transport.monotonic()
            if sent % self.transport.max_packet:
                raise TransportError("a bulk-out transfer broke off inside a packet")
            if count:
                deadline = now + timeout
            elif receipt is None:
                self._listen(LISTENING)
            elif (response := self._early_response(receipt, LISTENING)) is not None:
                return response
            if now >= deadline or self._hurried:
                raise TransportTimeoutError(f"no byte accepted for {timeout:.0f} s")

    def _listen(self, seconds: float) -> None:
        """Take what the device says before it is asked, and keep it until it is looked at.

        A device that is full, or refuses an upload, may answer at once and take no more data:
        uMTP-Responder takes none until its refusal has been read.
        """
        try:
            transfer, short = self.read_transfer(0, seconds)
        except TransportTimeoutError:
            return
        self.stream.feed(transfer, short=short)

    def _early_response(self, receipt: _Receipt, seconds: float) -> Container | None:
        self._listen(seconds)
        response = receipt.look()
        if response is None and self._phase is not Phase.SENDING:
            self.enter(Phase.SENDING)  # what came was of an earlier transaction
        return response

    def _send_data(
        self, operation: int, source: DataSource, receipt: _Receipt, timeout: float
    ) -> Container | None:
        """Send the data phase; return the response if one came before the device had all of it."""
        self.enter(Phase.SENDING)
        header = encode_header(ContainerType.DATA, operation, self.transaction_id, source.size)
        total = source.size if self.split_headers else len(header) + source.size
        left, start = source.size, len(header)
        if start + left == self._whole.size:
            chunk = self._whole.take()
        else:
            chunk = self._large.take() if left > SMALL else array("B", (0,)) * (start + left)
        chunk[:start] = array("B", header)
        if self.split_headers:
            response = self._write(header, timeout, receipt)
            if response is not None:
                return response
            start = 0
        while left or start:
            if left < source.size:
                # Not before a part of it is on its way: what is stopped has to be in its data phase.
                if source.stopped():
                    raise StoppedError("the rest isn't wanted any more")
                if (response := self._early_response(receipt, GLANCE)) is not None:
                    return response
            take = min(left, len(chunk) - start)
            filled = source.fill(source.size - left, memoryview(chunk)[start : start + take]) if take else 0
            if filled != take:
                raise LocalProtocolError(f"{take} bytes of data announced, {filled} there")
            left, start = left - take, start + take
            if len(chunk) // 2 < start < len(chunk):
                del chunk[start:]  # a new buffer for the next one costs less than copying most of this one
            response = self._write(chunk if start == len(chunk) else chunk[:start], timeout, receipt)
            if response is not None:
                return response
            start = 0
        if needs_zero_length_packet(total, self.transport.max_packet):
            return self._write(b"", timeout, receipt)
        return None


class _Receipt:
    """What comes back in one transaction: data, if any, then the response."""

    def __init__(
        self,
        engine: Engine,
        operation: int,
        limit: int,
        size: int | None,
        sink: Callable[[memoryview], None] | None,
    ) -> None:
        self.engine = engine
        self.operation = operation
        self.limit = limit
        self.size = size
        self.sink = sink
        self.pieces: list[memoryview | bytearray] = []
        self.received = 0
        self.strays = 0
        self.started = 0.0
        self.discarding = False
        self.may_be_lost = False
        """Another host's transaction has ended just now. The device may have taken the command for the end of it."""
        self.nudge: Callable[[], None] | None = None
        """What to do when nothing has come for a while."""

    def payload(self) -> memoryview:
        if len(self.pieces) == 1:
            return memoryview(self.pieces[0])
        return memoryview(b"".join(self.pieces))

    def receive(self, expected: int, timeout: float) -> Container:
        """Read until the response is there. Raises `TransportError`, `RemoteProtocolError`."""
        self.started = self.engine.transport.monotonic()
        while (response := self.look()) is None:
            self._read_more(expected, min(timeout, AFTER_STRAY) if self.may_be_lost else timeout)
        return response

    def look(self) -> Container | None:
        """Go through what has been read; return the response if it is among it. Raises `RemoteProtocolError`."""
        while (event := self.engine.stream.next_event()) is not None:
            if isinstance(event, DataStart):
                self._start(event)
            elif isinstance(event, DataChunk):
                self._take(event.data)
            elif not isinstance(event, Container):
                self.engine.enter(Phase.COMMAND)
            elif self._is_ours(event):
                return event
        return None

    def _start(self, start: DataStart) -> None:
        self._forget_data()  # an answer has one data phase: the one before was another one's
        self.engine.enter(Phase.RECEIVING)
        age = (self.engine.transaction_id - start.transaction_id) & 0xFFFFFFFF
        self.discarding = 0 < age < MAX_STRAY_CONTAINERS
        if self.discarding:
            self._count_stray(f"data of transaction {start.transaction_id}")
        elif age or start.code != self.operation:
            # Creative players and Aricent's stack send garbage here; Windows doesn't mind.
            log.debug("data header names operation 0x%04X, id %d", start.code, start.transaction_id)
        if start.length is not None and start.length > self.limit:
            raise RemoteProtocolError(
                f"{name_of(Operation, self.operation)}: {start.length} bytes announced, {self.limit} allowed"
            )

    def _take(self, piece: memoryview) -> None:
        if self.discarding:
            return
        self.received += len(piece)
        if self.received > self.limit:
            raise RemoteProtocolError(
                f"{name_of(Operation, self.operation)}: more than {self.limit} bytes of data"
            )
        if self.size is not None and self.received >= self.size:
            self.engine.stream.end_data()
        if self.sink is not None:
            self.sink(piece)
        elif self.pieces and len(piece) <= COPIED:
            last = self.pieces[-1]
            if isinstance(last, bytearray):
                last += piece
            else:
                self.pieces.append(bytearray(piece))
        else:
            self.pieces.append(piece)

    def _is_ours(self, container: Container) -> bool:
        if container.type != ContainerType.RESPONSE:
            raise RemoteProtocolError(f"container type {container.type} where a response was due")
        if container.transaction_id == self.engine.transaction_id:
            return True
        # Leica ends a session as transaction 0. But OpenSession has this number, too, and its answer may be late.
        is_zero = container.transaction_id == 0 and container.code != Response.SessionAlreadyOpen
        if is_zero and self.operation == Operation.CloseSession:
            return True
        self._count_stray(f"response of transaction {container.transaction_id}")
        self.may_be_lost |= self.operation == Operation.OpenSession
        self._forget_data()  # its header needn't have named that transaction truly
        return False

    def _forget_data(self) -> None:
        """Drop data that turns out to belong to an earlier transaction, maybe of a session before this one."""
        if self.received and self.sink is not None:
            raise RemoteProtocolError("data of an earlier transaction")
        self.pieces.clear()
        self.received = 0

    def _count_stray(self, what: str) -> None:
        self.strays += 1
        log.debug("skipped a stray %s", what)
        if self.strays > MAX_STRAY_CONTAINERS:
            raise RemoteProtocolError("nothing but leftovers of earlier transactions")

    def _read_more(self, expected: int, timeout: float) -> None:
        engine = self.engine
        needed = engine.stream.needed
        if engine.in_data_phase:
            size = LARGE_TRANSFER if needed is None else min(needed, LARGE_TRANSFER)
        else:
            size = 0 if self.received else min(expected + 12, LARGE_TRANSFER)
        left, deadline = timeout, engine.transport.monotonic() + timeout
        while True:
            try:
                transfer, short = engine.read_transfer(size, min(SLICE, left))
            except TransportTimeoutError:
                left = deadline - engine.transport.monotonic()
                if left <= 0 or engine.hurried:
                    raise
                if self.nudge is not None:
                    self.nudge()
            else:
                self._require_progress(timeout)
                engine.stream.feed(transfer, short=short)
                return

    def _require_progress(self, timeout: float) -> None:
        """Give up on a device that keeps us waiting by bytes that lead nowhere."""
        waited = self.engine.transport.monotonic() - self.started
        if waited > 2 * timeout + self.received / SLOWEST:
            raise TransportTimeoutError(
                f"{name_of(Operation, self.operation)}: {self.received} bytes in {waited:.0f} s"
            )


def _filler(data: bytes) -> Callable[[int, memoryview], int]:
    view = memoryview(data)

    def fill(offset: int, room: memoryview) -> int:
        piece = view[offset : offset + len(room)]
        room[: len(piece)] = piece
        return len(piece)

    return fill
