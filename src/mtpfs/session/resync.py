"""Getting back in step with a responder, from the gentlest means to the roughest.

There are three means, and each is tried when the one before it didn't help. (1) Clear
halts. If a data phase is really in progress, stop it with the Cancel request. Read what
is still on its way, and throw it away. (2) Close and open the session. (3) Give the
interface up for a moment, claim it again, open the session. Never SET_CONFIGURATION and
never a USB reset: many phones drop MTP on either until they are plugged in anew.

Invariant: each of them ends within a bounded time, and `engine.in_step` is True
afterwards only if the responder really answered.

Sources: Still Image Class 1.0 section 5.2 (Cancel, GetDeviceStatus); AOSP, for
which a Cancel outside a data phase is harmful; libmtp for the drain.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from mtpfs.errors import (
    MtpfsError,
    ResponseError,
    SetupError,
    TransportError,
    TransportGoneError,
    TransportStallError,
    TransportTimeoutError,
)
from mtpfs.protocol.codes import Operation, Response
from mtpfs.protocol.datasets import DeviceInfo
from mtpfs.session.engine import Engine

log = logging.getLogger(__name__)

SESSION_ID = 1
DRAIN_QUIET = 0.3  # seconds of silence after which the pipe counts as empty
DRAIN_LIMIT = 5.0  # seconds that a drain may take altogether
STATUS_PAUSE = 0.2  # seconds between two GetDeviceStatus requests
STATUS_LIMIT = 3.0  # seconds that a device may stay busy after a Cancel
OPEN_ATTEMPTS = 3  # a phone that is still binding its gadget ignores the first OpenSession
OPEN_PAUSE = 1.0  # seconds between them
UNKNOWN_TRANSACTION = 0
TIMEOUT = 5.0  # seconds per transaction here: others are waiting, and a live device answers these at once
SHORT_TIMEOUT = 1.0  # seconds for a command that probably isn't taken for one


def open_first_session(engine: Engine) -> None:
    """Open the session on a device of which nothing is known yet.

    A host that was killed while it sent a file may have left the device waiting for the rest. Android takes our
    command for the end of it. Sailfish takes it for some bytes more, and answers nothing, whoever asks. Only a
    Cancel ends that. To an Android device that waits for a command it would do harm, so it is the last resort:
    for a device that has taken a command, said nothing, and calls itself busy, or has taken three.

    Raises what `open_session` raises.
    """
    taken, heard = engine.bytes_out, engine.bytes_in

    def is_mute() -> bool:
        return engine.bytes_out != taken and engine.bytes_in == heard and not engine.hurried

    try:
        open_session(engine, is_hopeless=lambda: is_mute() and _is_busy(engine))
    except TransportTimeoutError:
        if not is_mute():
            raise
        log.info("it takes commands and answers none: perhaps it waits for another host's data")
        engine.fall_out_of_step()
        _tolerate(lambda: engine.transport.cancel(UNKNOWN_TRANSACTION))
        resynchronise(engine)
        open_session(engine, (SHORT_TIMEOUT, TIMEOUT, TIMEOUT))  # the first one may still be taken for data


def open_session(
    engine: Engine,
    timeouts: Sequence[float] = (TIMEOUT,) * OPEN_ATTEMPTS,
    is_hopeless: Callable[[], bool] = lambda: False,
) -> None:
    """Open the MTP session, in any state that an earlier host left the device in.

    `timeouts`: seconds for each attempt. `is_hopeless` is asked after one has failed.

    Raises the last attempt's error.
    """
    for attempt, timeout in enumerate(timeouts, 1):
        try:
            _open_once(engine, timeout)
            return
        except TransportGoneError:
            raise
        except MtpfsError as error:
            if attempt == len(timeouts) or engine.hurried or is_hopeless():
                raise
            log.info("OpenSession failed (%s), trying again", error)
            if not engine.in_step:
                resynchronise(engine)
            engine.transport.sleep(OPEN_PAUSE)


def _open_once(engine: Engine, timeout: float) -> None:
    try:
        engine.transact(Operation.OpenSession, SESSION_ID, timeout=timeout)
    except ResponseError as error:
        if error.code != Response.SessionAlreadyOpen:
            raise
        # Left open by a host that crashed. Ids start anew only in a new session.
        engine.transact(Operation.CloseSession, timeout=TIMEOUT)
        engine.transact(Operation.OpenSession, SESSION_ID, timeout=TIMEOUT)


def resynchronise(engine: Engine) -> None:
    """Rung 1: stop what is going on, clear halts, read away leftovers.

    Raises `TransportGoneError` when the device left, `TransportError` when
    the pipe doesn't become quiet.
    """
    transport = engine.transport
    if engine.in_data_phase:
        engine.fall_out_of_step()
        _tolerate(lambda: transport.cancel(engine.transaction_id))
        _drain(engine)
        _await_ready(engine)
    _tolerate(transport.clear_halt)
    _drain(engine)
    engine.assume_step()


def reopen_session(engine: Engine) -> None:
    """Rung 2: a new session on the same interface."""
    engine.assume_step()
    try:
        engine.transact(Operation.CloseSession, timeout=TIMEOUT)
    except ResponseError:
        pass  # there was none
    except (TransportStallError, TransportTimeoutError):
        resynchronise(engine)
    open_session(engine, (TIMEOUT,))


def reopen_interface(engine: Engine) -> None:
    """Rung 3: release, be quiet, claim, and a new session."""
    engine.transport.reopen()
    engine.assume_step()
    open_session(engine, (TIMEOUT, TIMEOUT))


def reconnect(engine: Engine, known: DeviceInfo) -> DeviceInfo | None:
    """Open a session on the device that was unplugged; return what it says of itself, or None while it isn't there.

    Raises `SetupError` if another one is in its place, and what keeps it from answering.
    """
    if not engine.transport.reconnect():
        return None
    engine.renew()
    open_session(engine)
    info = device_info(engine)
    if _identity(info) != _identity(known):
        # Cheap players share one serial number; a network gives an address to another camera.
        engine.transact(Operation.CloseSession)
        engine.transport.release()
        raise SetupError(f"{engine.transport.name} is another device than the one that left")
    return info


def device_info(engine: Engine, timeout: float | None = None) -> DeviceInfo:
    """Ask the device what it is; legal in any state."""
    return DeviceInfo.decode(engine.transact(Operation.GetDeviceInfo, timeout=timeout).data)


def _identity(info: DeviceInfo) -> tuple[str, str, str]:
    return info.manufacturer, info.model, info.serial_number


def _drain(engine: Engine) -> None:
    start = engine.transport.monotonic()
    while engine.transport.monotonic() - start < DRAIN_LIMIT:
        try:
            engine.read_transfer(1 << 20, DRAIN_QUIET)
        except TransportTimeoutError:
            return
        except TransportStallError:
            engine.transport.clear_halt()
    raise TransportError("the device doesn't stop sending")


def _await_ready(engine: Engine) -> None:
    start = engine.transport.monotonic()
    while engine.transport.monotonic() - start < STATUS_LIMIT:
        try:
            status = engine.transport.device_status()
        except TransportGoneError:
            raise
        except TransportError:
            return  # not every device has the request
        if status != Response.DeviceBusy:
            return
        engine.transport.sleep(STATUS_PAUSE)


def _is_busy(engine: Engine) -> bool:
    """Tell whether the device says that it is in a transaction, as Sailfish does in a data phase.

    Android never says so unless it was told to cancel. It is asked twice, because Tizen always says so once.
    """
    for _ in range(2):
        try:
            if engine.transport.device_status() != Response.DeviceBusy:
                return False
        except TransportGoneError:
            raise
        except TransportError:
            return False  # not every device has the request
        engine.transport.sleep(STATUS_PAUSE)
    return True


def _tolerate(request: Callable[[], None]) -> None:
    """Make a request that a device may lack (it stalls endpoint 0 then, which heals itself)."""
    try:
        request()
    except TransportGoneError:
        raise
    except TransportError as error:
        log.debug("not supported here: %s", error)
