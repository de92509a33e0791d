"""A mountpoint of its own for a device: made for the mount, named after the device, and taken away again.

Strategy: the name is the product's and the serial number, so it is the same
every time and two phones of one kind get two. Where the serial number doesn't tell
them apart, the port is added. What a mount that died has left
on the directory is cleared first, because nobody else would.

Invariant: a directory is only ever removed with rmdir, which can't remove
anybody's files.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from mtpfs.cli.mounts import is_dead
from mtpfs.errors import SetupError
from mtpfs.redaction import hide_name
from mtpfs.transport.source import Source, parse_source

log = logging.getLogger(__name__)

PRODUCT_LENGTH = 40
"""Characters; with a serial number of at most 126 the whole stays below NAME_MAX."""


def directory_name(product: str, serial: str, port: str = "") -> str:
    """Return a name that no shell has to quote: `Pixel-7-28291FDH2003WX`."""
    name = re.sub(r"[^\w.+-]+", "-", f"{product[:PRODUCT_LENGTH]} {serial} {port}").strip("-.")
    return name or "phone"


@contextlib.contextmanager
def mountpoint_in(base: str, source: Source) -> Iterator[tuple[str, Source]]:
    """Make a mountpoint for the device below `base` for as long as the context lasts.

    Yields it, and the source that means just this device. Raises `SetupError`
    if there is no such device, or no such directory can be made.
    """
    name, source = _identify(source)
    hide_name(name)
    mountpoint = os.path.join(base, name)  # noqa: PTH118 - a string like any mountpoint
    if is_dead(mountpoint):
        cleared = subprocess.run(
            ["fusermount3", "-u", "-z", "--", mountpoint], check=False, capture_output=True, text=True
        )
        if cleared.returncode:
            raise SetupError(f"{mountpoint}: a filesystem died here, and stays: {cleared.stderr.strip()}")
    try:
        Path(mountpoint).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SetupError(f"{mountpoint}: {error.strerror}") from error
    try:
        yield mountpoint, source
    finally:
        if not os.path.ismount(mountpoint):  # else it is another mtpfs's, which was there first
            try:
                Path(mountpoint).rmdir()
            except OSError as error:
                log.warning("%s is left: %s", mountpoint, error.strerror)


def _identify(source: Source) -> tuple[str, Source]:
    if source.kind == "virtual":
        from mtpfs.virtual.capabilities import parse_virtual  # noqa: PLC0415 - slow to load

        _, capabilities = parse_virtual(source.argument)
        return directory_name(capabilities.model, capabilities.serial), source
    from mtpfs.transport.phones import choose  # noqa: PLC0415
    from mtpfs.transport.usb import find_phones  # noqa: PLC0415

    phone = choose(find_phones(), source)
    port = phone.port if phone.goes_by_port else ""
    return directory_name(phone.product or phone.name, phone.serial, port), parse_source(phone.place)
