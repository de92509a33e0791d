"""Contents that are sent after `close`.

*Held*: a temporary file that a program is about to rename. The rename sends it. Without a rename it is sent after
`PATIENCE` seconds. Its `close` said that all is well, so what is refused then goes to the recovery directory.

*Waiting*: the device left, or fell silent, before it had everything. The program that wrote it got an error from
`close` or `fsync`. But the contents are kept, and sent when the device is there again. They wait as long as the mount
lasts, also for the storages to be unlocked. A device that is there and fails gets a few more tries.

Invariant: when the mount has ended, contents that are not on the device are in a file that the log names.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import trio

from mtpfs.errors import MtpfsError, TransportError
from mtpfs.session import Session
from mtpfs.vfs.files import Files
from mtpfs.vfs.openfile import Condition, OpenFile, is_away
from mtpfs.vfs.outcome import Unsent

log = logging.getLogger(__name__)

PATIENCE = 10.0  # seconds between close and rename; rsync takes milliseconds
PAUSE = 3.0  # seconds between two tries
TRIES = 3  # while the device is there and fails


class WriteBack:
    """Sends what is left behind. Its tasks run in `nursery`, one for each file."""

    def __init__(self, files: Files, session: Session, nursery: trio.Nursery) -> None:
        self._files = files
        self._session = session
        self._nursery = nursery
        self._at_work: set[OpenFile] = set()
        self._hurry = trio.Event()

    async def see_to(self, file: OpenFile) -> None:
        """See to a file that may have been closed for the last time: end it, or send it later."""
        if file.opens:
            return
        if file.must_be_kept:
            if file not in self._at_work:
                self._at_work.add(file)
                self._nursery.start_soon(self._run, file)
        else:
            await self._files.end(file)

    async def _run(self, file: OpenFile) -> None:
        try:
            if file.condition is Condition.HELD:
                await self._send_held(file)
            await self._deliver(file)
        except Exception as error:  # no error here may end the mount
            log.exception("sending %s", file.node.path)
            self._files.send_to_recovery(file, error)
        finally:
            self._at_work.discard(file)
        await self._files.end(file)

    async def _send_held(self, file: OpenFile) -> None:
        await trio.sleep(PATIENCE)
        if file.condition is not Condition.HELD or file.opens:
            return
        try:
            await self._files.claim_and_save(file)
        except MtpfsError as error:
            if not is_away(error):
                self._files.send_to_recovery(file, error)

    async def _deliver(self, file: OpenFile) -> None:
        failures = 0
        while file.condition is Condition.WAITING and not file.node.deleted:
            await self._session.until_back()
            try:
                await self._files.claim_and_save(file)
                if file.must_be_kept:
                    await trio.sleep(PAUSE)  # stopped by a deletion, which may fail
                elif not file.node.deleted:
                    log.warning("%s has arrived on the device now", file.node.path)
            except MtpfsError as error:
                failures += isinstance(error, TransportError) and not self._session.gone
                if not is_away(error) or failures >= TRIES:
                    self._files.send_to_recovery(file, error)
                    return
                await trio.sleep(PAUSE)

    def hurry(self) -> None:
        """Put what isn't saved yet into the recovery directory instead of sending it."""
        self._hurry.set()

    async def finish(self) -> None:
        """Bring everything that is left to the device: the mount ends. `hurry` cuts it short."""
        self._files.stop()
        outcome = self._files.outcome
        for file in self._files.all():
            path, was_unsaved = file.node.path, file.is_unsaved
            known = len(outcome.unsent)
            error: MtpfsError | None = None
            try:
                if not await self._until_hurry(self._files.claim_and_save, file):
                    error = MtpfsError("the mount had to end at once")
            except MtpfsError as failure:
                error = failure
            if error is not None:
                self._files.send_to_recovery(file, error)
            if was_unsaved and len(outcome.unsent) == known:
                if error is None:
                    outcome.arrived.append(path)
                else:
                    outcome.unsent.append(Unsent(path, "", str(error)))
            file.opens = 0
            await self._until_hurry(self._files.end, file)

    async def _until_hurry(self, call: Callable[[OpenFile], Awaitable[None]], file: OpenFile) -> bool:
        """Make a call, which may have to wait; tell whether it came to its end, and wasn't cut short.

        Raises what it raises.
        """
        error: MtpfsError | None = None
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._cancel_in_a_hurry, scope)
                try:
                    await call(file)
                except MtpfsError as failure:
                    error = failure  # raised outside of the nursery, which would wrap it
                nursery.cancel_scope.cancel()
        if error is not None:
            raise error
        return not scope.cancelled_caught

    async def _cancel_in_a_hurry(self, scope: trio.CancelScope) -> None:
        await self._hurry.wait()
        scope.cancel()
