"""From a source to an open phone, and back in order.

The lifetimes are those of `mtpfs.phone`. The nurseries in it would wrap the block's own exception in groups. So that is
carried around them, and leaves as it is.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from mtpfs.library.errors import about
from mtpfs.library.phone import Listeners, Phone
from mtpfs.library.values import DeviceOnBus, Event, EventKind
from mtpfs.phone import open_device, open_filesystem, open_source
from mtpfs.session import Session
from mtpfs.settings import METADATA_TIMEOUT, Settings
from mtpfs.transport.source import parse_source


async def devices() -> list[DeviceOnBus]:
    """Return the phones, players and cameras on the bus. None is opened, so no other program is disturbed.

    Raises `OSError` where the bus can't be looked at (libusb is missing, say).
    """
    with about():
        return await trio.to_thread.run_sync(_find)


def _find() -> list[DeviceOnBus]:
    from mtpfs.transport.phones import tell_apart  # noqa: PLC0415 - pyusb is slow to load and may be missing
    from mtpfs.transport.usb import find_phones  # noqa: PLC0415

    return [
        DeviceOnBus(
            phone.source,
            phone.name,
            phone.manufacturer,
            phone.product,
            phone.serial,
            phone.vendor_id,
            phone.product_id,
            phone.bus,
            phone.address,
        )
        for phone in tell_apart(find_phones())
    ]


@asynccontextmanager
async def connect(
    source: str = "any", *, read_only: bool = False, timeout: float = METADATA_TIMEOUT
) -> AsyncIterator[Phone]:
    """Open a phone for the block: `any`, `serial:S`, `usb:VVVV:PPPP`, `bus:BBB,DDD`, `ip:HOST`, `virtual:DIR`.

    No other program can use it meanwhile. `read_only`: every change is refused with EROFS. `timeout`: seconds that a
    simple request may go without progress; longer ones follow in proportion.

    A phone that is unplugged inside the block, or locked, answers ENODEV, and goes on when it is back. At the end
    files that were never closed are dropped. Raises `OSError`: ENODEV if there is no such phone, EBUSY if another
    program has it, EACCES, EINVAL for what isn't a source or fits several phones, EIO if it doesn't answer; of a
    camera in the network also what `connect(2)` gives. The text says what to do.
    """
    failure: BaseException | None = None
    with about(source):
        parsed = parse_source(source).absolute()
        listeners = Listeners()
        async with (
            open_device(lambda: open_source(parsed), timeout) as device,
            open_filesystem(device, Settings(read_only=read_only), listeners) as fs,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(_tell_of_returns, device.session, listeners)
            phone = Phone(fs, listeners)
            try:
                yield phone
            except BaseException as error:  # noqa: BLE001 - raised below, outside of the nurseries
                failure = error
            with trio.CancelScope(shield=True):
                await phone._close()  # noqa: SLF001 - the two are one unit
            nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


async def _tell_of_returns(session: Session, listeners: Listeners) -> None:
    while True:
        await session.until_gone()
        listeners.tell(Event(EventKind.STORAGE, "/"))
        await session.until_back()
        listeners.tell(Event(EventKind.STORAGE, "/"))
