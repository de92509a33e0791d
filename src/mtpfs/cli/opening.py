"""From the source that was named to a transport to its device.

Strategy: USB and the virtual phone are loaded only when they are the ones
meant, so that neither can keep the other from working.

Invariant: a transport that is returned is claimed, and nobody else's until it is closed.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from mtpfs.errors import MtpfsError, SetupError, leaves
from mtpfs.transport import Transport
from mtpfs.transport.source import Source, parse_source

if TYPE_CHECKING:
    from mtpfs.device import Device

T = TypeVar("T")


def absolute_source(text: str) -> Source:
    """Parse a source; a virtual phone's directory becomes absolute, because a daemon changes its own."""
    source = parse_source(text)
    if source.kind == "virtual":
        source = replace(source, argument=os.path.join(os.getcwd(), source.argument))  # noqa: PTH109, PTH118
    return source


def open_source(source: Source) -> Transport:
    """Find and claim the device. Raises `SetupError` with what to do."""
    if source.kind == "virtual":
        from mtpfs.virtual.transport import open_virtual  # noqa: PLC0415

        return open_virtual(source.argument)
    from mtpfs.transport.phones import choose  # noqa: PLC0415
    from mtpfs.transport.usb import find_phones, open_phone  # noqa: PLC0415

    return open_phone(choose(find_phones(), source))


def ask(source: Source, question: Callable[[Device], Awaitable[T]]) -> T:
    """Open the device, put a question to it and close it again; return the answer. Raises `SetupError`."""
    import trio  # noqa: PLC0415 - slow to load

    from mtpfs.device import Device  # noqa: PLC0415
    from mtpfs.session import open_session  # noqa: PLC0415

    async def converse() -> T:
        transport = await trio.to_thread.run_sync(open_source, source)
        async with open_session(transport) as session:
            return await question(Device(session))

    try:
        return trio.run(converse)
    except MtpfsError as error:
        raise SetupError(str(error)) from error
    except BaseExceptionGroup as group:
        expected, others = group.split(MtpfsError)
        if others or not expected:
            raise
        raise SetupError("; ".join(str(error) for error in leaves(expected))) from group
