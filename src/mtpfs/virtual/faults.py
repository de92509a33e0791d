"""Misbehaviour on demand: what real devices were seen doing, one fault at a time.

A script is a list of faults. Each waits for its operation, lets
`skip` commands of that operation pass and then strikes `times` times. At most
one fault strikes a command: the first one in the script. It answers in the
operation's place, or it changes the transfers of the operation's answer.

Invariant: no chance and no clock is involved; the same commands meet the same
faults.

Sources: libmtp, go-mtpfs, libgphoto2 for which device does what (see `Kind`).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum, auto

from mtpfs.errors import SetupError
from mtpfs.protocol.codes import Operation, Response
from mtpfs.protocol.containers import HEADER_SIZE
from mtpfs.virtual.transfers import FileRange, Piece, Transfer

FOREVER = 1 << 62


class Kind(Enum):
    """What goes wrong. `Fault.amount` and `Fault.code` are meant where they are named."""

    REFUSE = auto()
    """The operation isn't run; response `code`. Data that follows is taken and dropped."""
    BUSY = auto()
    """REFUSE with DeviceBusy."""
    REFUSE_TWICE = auto()
    """REFUSE at command time, and once more when the data phase is over (uMTP-Responder)."""
    FAIL = auto()
    """The operation is run, its data phase kept, but the response says `code`."""
    STALL = auto()
    """The operation isn't run; both endpoints stall before anything is sent."""
    STALL_MID_DATA = auto()
    """Both endpoints stall when `amount` bytes of the data phase went through (in either direction)."""
    SILENCE = auto()
    """The operation isn't run, nothing is ever answered; data is taken and dropped."""
    SILENT_SUCCESS = auto()
    """The operation is run, but nothing is answered."""
    SILENCE_MID_DATA = auto()
    """The data phase stops after `amount` bytes, and so does everything else of this answer."""
    TRUNCATED_DATA = auto()
    """The data phase ends after `amount` payload bytes, its length field notwithstanding; then the response."""
    OVERLONG_DATA = auto()
    """`amount` junk bytes follow the payload inside the transfer, the length field doesn't count them."""
    WRONG_TRANSACTION = auto()
    """Data and response carry a transaction id that is `amount` too high (negative: a stale one)."""
    WRONG_DATA_HEADER = auto()
    """Code and transaction of the data header are junk (Creative ZEN)."""
    STALE_RESPONSE = auto()
    """A response to an earlier transaction comes first."""
    SPLIT_HEADER = auto()
    """The data header is a transfer of its own (Windows Phone)."""
    GLUED = auto()
    """Data and response come in one transfer (Samsung YP-T9)."""
    MISSING_ZLP = auto()
    """An exact multiple of packets isn't ended by a zero-length packet (QEMU, xHCI)."""
    EXTRA_ZLP = auto()
    """A zero-length packet too many, before the response."""
    PAD_BYTE = auto()
    """One more byte stands for the zero-length packet of an exact multiple (iRiver, A&K)."""
    ZERO_JUNK = auto()
    """A transfer of `amount` (default 4) zero bytes comes before the response (Samsung YP-U3)."""
    GARBAGE_HEADER = auto()
    """The data phase (or the response) starts with 12 bytes that are no header."""
    LYING_LENGTH = auto()
    """The data header's length is `amount` more than what is sent."""
    UNKNOWN_LENGTH = auto()
    """The data header's length is 0xFFFFFFFF; the transfer's end is the data's end."""
    LYING_COUNT = auto()
    """The dataset's count of elements (its first u32) is `amount` too high (Creative ZEN)."""
    GONE = auto()
    """The device leaves the bus, until it is plugged in again."""
    GONE_MID_DATA = auto()
    """The device leaves the bus when `amount` bytes of the data phase went through (in either direction)."""
    LATE = auto()
    """The operation is run, but answered only after `amount` milliseconds."""
    FULL = auto()
    """The storage is full when `amount` bytes of an upload went through: StoreFull, when all data was taken."""
    RENUMBER = auto()
    """Every object gets a new handle before the operation is run, and no event tells."""
    VANISH = auto()
    """The object that the command is about (its first parameter) is deleted before the operation is run."""
    PHANTOM = auto()
    """A list of handles holds one more, of no object."""
    LYING_SIZE = auto()
    """Each object's size in the answer is `amount` bytes too high (negative: too low)."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing to go wrong. `operation` None: at any operation."""

    kind: Kind
    operation: int | None = None
    skip: int = 0
    times: int = 1
    amount: int = 0
    code: int = Response.GeneralError


def parse_fault(text: str) -> Fault:
    """Parse `KIND [OPERATION] [skip=N] [times=N] [amount=N] [code=RESPONSE]`.

    As in `stall-mid-data GetPartialObject64 amount=100000`; `times=0` is for ever.
    Raises `SetupError` naming what isn't known.
    """
    kind, *words = text.split()
    try:
        fault = Fault(Kind[kind.upper().replace("-", "_")])
        for word in words:
            name, equals, value = word.partition("=")
            if not equals:
                fault = replace(fault, operation=Operation[name])
            elif name == "code":
                fault = replace(fault, code=Response[value])
            elif name == "times":
                fault = replace(fault, times=int(value, 0) or FOREVER)
            elif name == "skip":
                fault = replace(fault, skip=int(value, 0))
            elif name == "amount":
                fault = replace(fault, amount=int(value, 0))
            else:
                raise SetupError(f"fault {text!r}: {name} isn't known")
    except KeyError as error:
        raise SetupError(f"fault {text!r}: {error.args[0]} isn't known") from error
    except ValueError as error:
        raise SetupError(f"fault {text!r}: {error}") from error
    return fault


class FaultScript:
    """The faults still to come. Give one to the transport, add to it at any time."""

    def __init__(self, *faults: Fault) -> None:
        self._waiting: list[_Waiting] = [_Waiting(fault, fault.skip, fault.times) for fault in faults]
        self.struck: list[Fault] = []
        """What has gone wrong so far, for a test to look at."""
        self._lock = threading.Lock()  # faults may be added in another thread than they strike in

    def add(self, fault: Fault) -> None:
        """Add a fault at the end. May be called from any thread."""
        with self._lock:
            self._waiting.append(_Waiting(fault, fault.skip, fault.times))

    def clear(self) -> None:
        """Forget the faults that are still to come. May be called from any thread."""
        with self._lock:
            self._waiting.clear()

    @property
    def pending(self) -> tuple[Fault, ...]:
        """The faults that are still to come, the next first."""
        return tuple(waiting.fault for waiting in self._waiting)

    def take(self, operation: int) -> Fault | None:
        """Return the fault that strikes this command, if any."""
        with self._lock:
            return self._take(operation)

    def _take(self, operation: int) -> Fault | None:
        for waiting in self._waiting:
            if waiting.fault.operation not in {None, operation}:
                continue
            if waiting.skip:
                waiting.skip -= 1
                continue
            waiting.times -= 1
            if not waiting.times:
                self._waiting.remove(waiting)
            self.struck.append(waiting.fault)
            return waiting.fault
        return None


@dataclass(slots=True)
class _Waiting:
    fault: Fault
    skip: int
    times: int


class Trap(Enum):
    """What happens when a sent or received data phase reaches `Fault.amount` bytes."""

    STALL = auto()
    GONE = auto()
    SILENCE = auto()
    FULL = auto()


TRAPS = {
    Kind.STALL_MID_DATA: Trap.STALL,
    Kind.GONE_MID_DATA: Trap.GONE,
    Kind.SILENCE_MID_DATA: Trap.SILENCE,
    Kind.FULL: Trap.FULL,
}
PHANTOM_HANDLE = 0x7FFFFFF0


def bend(fault: Fault, header: bytes, payload: Piece, response: bytes, max_packet: int) -> Iterable[Transfer]:
    """Return the transfers that answer an operation; `header` is empty when it has no data phase."""
    amount, total = fault.amount, len(header) + len(payload)
    data = [header, payload] if header else []
    exact = bool(header) and total % max_packet == 0
    match fault.kind:
        case Kind.SILENT_SUCCESS:
            return _nothing(payload)
        case Kind.STALL_MID_DATA | Kind.GONE_MID_DATA | Kind.SILENCE_MID_DATA if header:
            # A whole number of packets, or the last one would look like the end of the data
            return [_cut(data, amount - amount % max_packet, zero_length_packet=False)]
        case Kind.TRUNCATED_DATA if header:
            return [_cut(data, HEADER_SIZE + amount), Transfer(response)]
        case Kind.OVERLONG_DATA if header:
            return [Transfer(*data, b"\xa5" * amount), Transfer(response)]
        case Kind.WRONG_TRANSACTION:
            data = [_shift_transaction(header, amount), payload] if header else []
            response = _shift_transaction(response, amount)
        case Kind.WRONG_DATA_HEADER if header:
            data = [header[:6] + b"\xde\xad\xbe\xef\xfe\xed", payload]
        case Kind.STALE_RESPONSE:
            return [Transfer(_shift_transaction(response, -1)), *_transfers(data, response)]
        case Kind.SPLIT_HEADER if header:
            return [Transfer(header), *_transfers([payload], response)]
        case Kind.GLUED if header:
            return [Transfer(*data, response)]
        case Kind.MISSING_ZLP if header:
            return [Transfer(*data, zero_length_packet=False), Transfer(response)]
        case Kind.EXTRA_ZLP:
            return [*_transfers(data, b""), Transfer(), Transfer(response)]
        case Kind.PAD_BYTE if exact:
            return [Transfer(*data, b"\0"), Transfer(response)]
        case Kind.ZERO_JUNK:
            return [*_transfers(data, b""), Transfer(bytes(amount or 4)), Transfer(response)]
        case Kind.GARBAGE_HEADER:
            junk = b"\x13\x37" * (HEADER_SIZE // 2)
            return _transfers([junk, payload], response) if header else [Transfer(junk)]
        case Kind.LYING_LENGTH if header:
            data = [_number(header, 0, total + amount), payload]
        case Kind.UNKNOWN_LENGTH if header:
            data = [_number(header, 0, 0xFFFFFFFF), payload]
        case Kind.LYING_COUNT if header and isinstance(payload, bytes) and len(payload) >= 4:
            count = int.from_bytes(payload[:4], "little") + amount
            data = [header, _number(payload, 0, count)]
        case Kind.PHANTOM if header and isinstance(payload, bytes) and len(payload) >= 4:
            count = int.from_bytes(payload[:4], "little") + 1
            data = [
                _number(header, 0, total + 4),
                _number(payload, 0, count),
                PHANTOM_HANDLE.to_bytes(4, "little"),
            ]
    return _transfers(data, response)


def _transfers(data: list[Piece] | list[bytes], response: bytes) -> list[Transfer]:
    transfers = [Transfer(*data)] if data else []
    return [*transfers, Transfer(response)] if response else transfers


def _nothing(payload: Piece) -> list[Transfer]:
    if isinstance(payload, FileRange):
        payload.close()
    return []


def _cut(pieces: list[Piece], size: int, *, zero_length_packet: bool = True) -> Transfer:
    kept: deque[Piece] = deque()
    for piece in pieces:
        if isinstance(piece, FileRange):
            if size < len(piece):
                piece.left = size
                if not size:
                    piece.close()
            kept.append(piece)
        else:
            kept.append(piece[:size])
        size = max(0, size - len(kept[-1]))
    return Transfer(*kept, zero_length_packet=zero_length_packet)


def _number(data: bytes, position: int, value: int) -> bytes:
    return data[:position] + (value & 0xFFFFFFFF).to_bytes(4, "little") + data[position + 4 :]


def _shift_transaction(container: bytes, amount: int) -> bytes:
    return _number(container, 8, int.from_bytes(container[8:12], "little") + amount)
