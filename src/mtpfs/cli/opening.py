"""One question to a device that nobody has mounted."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from mtpfs.errors import MtpfsError, SetupError, leaves
from mtpfs.transport.source import Source

if TYPE_CHECKING:
    from mtpfs.device import Device

T = TypeVar("T")


def ask(source: Source, question: Callable[[Device], Awaitable[T]]) -> T:
    """Open the device, put a question to it and close it again; return the answer. Raises `SetupError`."""
    import trio  # noqa: PLC0415 - slow to load

    from mtpfs.phone import open_device, open_source  # noqa: PLC0415

    async def converse() -> T:
        async with open_device(lambda: open_source(source)) as device:
            return await question(device)

    try:
        return trio.run(converse)
    except MtpfsError as error:
        raise SetupError(str(error)) from error
    except BaseExceptionGroup as group:
        expected, others = group.split(MtpfsError)
        if others or not expected:
            raise
        raise SetupError("; ".join(str(error) for error in leaves(expected))) from group
