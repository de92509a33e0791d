"""From the source that was named to a transport to its device.

Strategy: USB and the virtual phone are loaded only when they are the ones
meant, so that neither can keep the other from working.

Invariant: a transport that is returned is claimed, and nobody else's until it is closed.
"""

from __future__ import annotations

import os
from dataclasses import replace

from mtpfs.transport import Transport
from mtpfs.transport.source import Source, parse_source


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
