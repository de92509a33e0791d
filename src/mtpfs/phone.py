"""A phone, opened: from the source that the user named to the filesystem on the device, without a mount.

Lifetimes are nested: transport, session, device, filesystem. When the filesystem is closed, for any reason, what
isn't saved yet is sent first. Then the session ends. USB and the virtual phone are imported only when one is used, so
that neither can keep the other from working.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import trio

from mtpfs.device import Device
from mtpfs.session import open_session
from mtpfs.session.timeouts import Timeouts
from mtpfs.settings import METADATA_TIMEOUT, Settings
from mtpfs.transport import Transport
from mtpfs.transport.source import Source
from mtpfs.vfs import Filesystem, Notifier
from mtpfs.vfs.remembered import RememberedDates


def open_source(source: Source) -> Transport:
    """Find and claim the device. No other program can use it until the transport is closed.

    Blocks, and so runs in one of trio's threads: what cancels the call ends the wait for a camera's user. Raises
    `SetupError` with what to do.
    """
    if source.kind == "virtual":
        from mtpfs.virtual.transport import open_virtual  # noqa: PLC0415

        return open_virtual(source.argument)
    if source.kind == "ip":
        from mtpfs.transport.guid import own_guid  # noqa: PLC0415
        from mtpfs.transport.ip import open_camera  # noqa: PLC0415

        return open_camera(source, own_guid(), is_wanted=trio.from_thread.check_cancelled)
    from mtpfs.transport.phones import choose  # noqa: PLC0415
    from mtpfs.transport.usb import find_phones, open_phone  # noqa: PLC0415

    return open_phone(choose(find_phones(), source))


@asynccontextmanager
async def open_device(
    open_transport: Callable[[], Transport], timeout: float = METADATA_TIMEOUT
) -> AsyncIterator[Device]:
    """Open a session on the transport that `open_transport` makes, in a thread; both are closed at the end.

    `timeout`: seconds that a simple request may go without progress. Raises `SetupError`.
    """
    transport = await trio.to_thread.run_sync(open_transport)
    async with open_session(transport, Timeouts().scaled(timeout)) as session:
        yield Device(session)


@asynccontextmanager
async def open_filesystem(
    device: Device, settings: Settings, notifier: Notifier
) -> AsyncIterator[Filesystem]:
    """Have a filesystem on a device. `notifier` is told what changes without having been asked for.

    At the end, also of a caller that is cancelled, what isn't saved yet is sent. Raises `SetupError` if
    there is no storage of the name that the settings want.
    """
    info = device.info
    async with trio.open_nursery() as nursery:
        dates = RememberedDates(f"{info.manufacturer}/{info.model}/{info.serial_number}")
        nursery.start_soon(dates.load)
        fs = Filesystem(
            device,
            nursery,
            notifier,
            dates,
            ttl=settings.ttl,
            storage=settings.storage,
            read_only=settings.read_only,
            readahead=settings.readahead,
        )
        if settings.storage and await device.storages():  # a locked phone has none, and may be unlocked later
            await fs.tree.ensure_listed(fs.tree.root)
        nursery.start_soon(fs.events.follow)
        try:
            yield fs
        finally:
            with trio.CancelScope(shield=True):
                await fs.finish()
                await dates.close()
            nursery.cancel_scope.cancel()
