"""The life of a mount: a phone (`mtpfs.phone`), the kernel's connection, signals, and the end in order.

Lifetimes are nested. The phone outlives the kernel's connection. So when the mount ends, for any reason, what is
still unsaved is sent before the session closes. `umount` makes `answer_requests` return by itself. A signal before
the mount is there stops the set-up, between two transactions. Later it asks for the unmount, and the same end
follows. A busy mount is detached lazily.

Invariant: `ready` is called exactly once, when the kernel has the mount. Errors before that are raised. Later ones
are logged and answered by errno. No signal ends the program in the middle.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from mtpfs.door import server as door
from mtpfs.errors import InterruptedSetupError, MtpfsError, SetupError
from mtpfs.fuse import connection
from mtpfs.fuse.connection import KernelNotifier
from mtpfs.fuse.echo import Echo, EchoOperations, device_of
from mtpfs.fuse.report import Report
from mtpfs.phone import open_device, open_filesystem
from mtpfs.session import Session
from mtpfs.settings import END_SIGNALS, Settings
from mtpfs.transport import Transport
from mtpfs.unmount import UnmountReport
from mtpfs.vfs import Filesystem, News, Node

if TYPE_CHECKING:
    from mtpfs.thumbnails.visitor import Visitor

log = logging.getLogger(__name__)

NOTIFICATION_PATIENCE = (
    2.0  # seconds that a notification to the kernel gets when no request is answered any more
)
ECHO_PATIENCE = 2.0  # seconds that a killed child gets to end
READ_AHEAD = 1024  # KiB that the kernel reads ahead, and asks for in one request


async def serve(
    open_transport: Callable[[], Transport],
    mountpoint: str,
    settings: Settings,
    ready: Callable[[], None],
    stopping: Callable[[], None],
) -> None:
    """Mount the phone behind `open_transport` and serve it until it is unmounted.

    Calls `ready` when it is usable, and `stopping` when it isn't any more; files may remain to be sent then.
    The caller may have blocked `END_SIGNALS`; here they are heeded.
    Raises `SetupError` and what opening the device raises, before `ready`.
    """
    mount = _Mount(mountpoint, settings, ready, stopping)
    with _heeded_signals() as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(mount.await_signals, signals, nursery)
            with mount.setup:
                await mount.serve(open_transport)
            nursery.cancel_scope.cancel()
    if mount.setup.cancelled_caught:
        raise InterruptedSetupError


class _Mount:
    """One mount. A signal stops its set-up, asks for the unmount, or ends the sending after that."""

    def __init__(
        self, mountpoint: str, settings: Settings, ready: Callable[[], None], stopping: Callable[[], None]
    ) -> None:
        self.setup = trio.CancelScope()
        self._mountpoint = mountpoint
        self._settings = settings
        self._ready = ready
        self._stopping = stopping
        self._place = os.path.realpath(mountpoint)  # asked now, because later it is we who answer
        self._echo = Echo(self._place)
        self._visitor: Visitor | None = None
        self._fs: Filesystem | None = None
        """Set when it is mounted. So is the next one."""
        self._notifier: KernelNotifier | None = None
        self._unmounted = False
        self._asked = False

    async def serve(self, open_transport: Callable[[], Transport]) -> None:
        """Open the phone, mount it, and send what is left when it is unmounted."""
        settings = self._settings
        async with open_device(open_transport, settings.timeout) as device, trio.open_nursery() as nursery:
            notifier = KernelNotifier(nursery, self._heard)
            with contextlib.closing(UnmountReport()) as report:
                async with open_filesystem(device, settings, notifier) as fs:
                    await self._run(fs, notifier, report)
                    nursery.start_soon(report.follow, fs)
                report.conclude(fs)
            nursery.cancel_scope.cancel()

    async def _run(self, fs: Filesystem, notifier: KernelNotifier, report: UnmountReport) -> None:
        settings, echo = self._settings, self._echo
        await _warn_if_empty(fs)
        with door.opened() as listening:
            process = report.process | {"socket": door.place_of(listening)}
            operations = EchoOperations(fs, settings, process, echo)
            if settings.thumbnails:
                operations.visitor = self._visitor = await self._new_visitor(fs)
            await self._answer(fs, notifier, operations, listening)

    async def _answer(
        self,
        fs: Filesystem,
        notifier: KernelNotifier,
        operations: EchoOperations,
        listening: socket.socket | None,
    ) -> None:
        settings, echo = self._settings, self._echo
        await trio.lowlevel.checkpoint_if_cancelled()  # from here to `ready` nothing can come in between
        connection.connect(operations, self._mountpoint, _fuse_options(fs, settings))
        self._fs, self._notifier = fs, notifier
        try:
            log.info("%s is mounted on %s", fs.device.name, self._mountpoint)
            # A process that is told that it is ready may send a signal at once.
            with trio.open_signal_receiver(signal.SIGUSR1) as questions:
                self._ready()
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_report_on_signal, questions, operations.report)
                    if not settings.read_only:
                        nursery.start_soon(echo.run)
                    if operations.visitor is not None:
                        nursery.start_soon(operations.visitor.run)
                    if listening is not None:
                        nursery.start_soon(door.Door(fs, notifier.heard).serve, listening)
                    if settings.exit_on_unplug:
                        nursery.start_soon(self._end_when_gone, fs.device.session)
                    if os.geteuid() == 0:
                        nursery.start_soon(_raise_read_ahead, self._place, operations.begun)
                    await connection.answer_requests()
                    nursery.cancel_scope.cancel()
        finally:
            self._unmounted = True
            self._stopping()
            # The kernel has unmounted, or `_end` has waited for the last notification: there is none, or it ends now.
            with trio.CancelScope(shield=True):
                await notifier.finish(NOTIFICATION_PATIENCE)
                connection.disconnect()
                await echo.ended(ECHO_PATIENCE)

    async def _new_visitor(self, fs: Filesystem) -> Visitor | None:
        """Return who makes thumbnails; None where that can't be."""
        from mtpfs.thumbnails.decoder import Decoder  # noqa: PLC0415 - slow to load, and most mounts have none
        from mtpfs.thumbnails.entries import cache_of  # noqa: PLC0415
        from mtpfs.thumbnails.visitor import Visitor  # noqa: PLC0415

        cache = await trio.to_thread.run_sync(cache_of, os.geteuid())
        if cache is None:
            log.warning(
                "option thumbnails: there is no thumbnail cache for root, or for who isn't in the password database"
            )
            return None
        try:
            decoder = Decoder()
        except SetupError as error:
            log.warning("option thumbnails: %s", error)
            return None
        return Visitor(fs, cache, decoder, os.fsencode(self._place))

    def _heard(self, news: News, node: Node) -> None:
        """Pass on what has become of a name without a request."""
        self._echo.heard(news, node)
        if self._visitor is not None:
            self._visitor.heard(news, node)

    async def await_signals(self, signals: AsyncIterator[int], nursery: trio.Nursery) -> None:
        """Do what signals ask for, until cancelled."""
        async for number in signals:
            log.info("%s: ending", signal.Signals(number).name)
            if self._fs is None:
                self.setup.cancel()
                continue
            if self._asked:
                log.warning("asked again: what isn't sent yet goes to the recovery directory")
                self._fs.hurry()
            elif not self._unmounted:
                nursery.start_soon(self._unmount)
            self._asked = True
            self._fs.stop()

    async def _unmount(self) -> None:
        await trio.to_thread.run_sync(self._write_back)
        await self._end()

    async def _end(self) -> None:
        assert self._notifier is not None
        await self._notifier.finish()
        if not self._unmounted:
            connection.end()

    async def _end_when_gone(self, session: Session) -> None:
        await session.until_gone()
        await self._end()

    def _write_back(self) -> None:
        """Have the kernel hand over what programs have written into mapped files: it can't later."""
        # By another process. A thread of ours that waits for our own answer keeps `/dev/fuse` open: when we are killed, the
        # kernel would wait for that answer for ever.
        words = ["sync", "--file-system", self._place]
        try:
            subprocess.run(words, check=True, stdin=subprocess.DEVNULL, capture_output=True)
        except (OSError, subprocess.SubprocessError) as error:  # unmounted meanwhile, or the device is gone
            log.debug("nothing is handed over: %s", error)


@contextlib.contextmanager
def _heeded_signals() -> Iterator[AsyncIterator[int]]:
    """Receive `END_SIGNALS`, but not those that were ignored when we were started (nohup)."""
    heeded = [number for number in END_SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    with trio.open_signal_receiver(*heeded, signal.SIGTERM) as signals:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, END_SIGNALS)
        yield signals


async def _warn_if_empty(fs: Filesystem) -> None:
    """Say why there is nothing to be seen: it looks like a fault."""
    try:
        if await fs.device.storages():
            return
    except MtpfsError as error:  # programs get it when they look
        log.info("storages: %s", error)
        return
    log.warning(
        '%s shows no storages: the mount is empty until you unlock it, and tap "Allow" if it asks',
        fs.device.name,
    )


def _fuse_options(fs: Filesystem, settings: Settings) -> set[str]:
    options = set(settings.fuse_options)
    options.add(f"fsname={connection.escaped(settings.fsname or fs.device.name)}")
    options.add(f"subtype={connection.escaped(settings.subtype)}")
    if settings.debug:
        options.add("debug")
    return options


async def _raise_read_ahead(place: str, begun: trio.Event) -> None:
    """Have the kernel ask for more at once: a third less work per byte. Only root may say so.

    Our answer to the kernel's first request lowers what is set before it.
    """
    await begun.wait()
    await trio.lowlevel.checkpoint()  # the answer leaves when its handler has returned
    device = device_of(place)
    if device is None:
        return  # the mount has ended already
    setting = Path(f"/sys/class/bdi/{os.major(device)}:{os.minor(device)}/read_ahead_kb")
    try:
        setting.write_text(f"{READ_AHEAD}")  # noqa: ASYNC240 - not on a disk
    except OSError as error:  # a container's root, say
        log.debug("the kernel's read-ahead stays as it is: %s", error)


async def _report_on_signal(signals: AsyncIterator[int], report: Report) -> None:
    async for _ in signals:
        report.say()
