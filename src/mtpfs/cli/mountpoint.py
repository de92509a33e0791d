"""Where to mount: what can be known to fail there before the device is touched, and directories made for a device.

The checks look at the mountpoint, at /dev/fuse and at /etc/fuse.conf in the order in which a mount would trip over
them. They change nothing, and leave to the mount what they can't find out.

A directory that is made for a device (`--in`) is named after the product and the serial number. So it is the same
every time, and two phones of one kind get two. Where the serial number doesn't tell them apart, the port is added.
What a killed mount has left on it is cleared first, because nothing else would. It is only ever removed with rmdir,
which can't remove anybody's files.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from mtpfs.cli.mounts import KIND, is_dead, mounts, real_path
from mtpfs.errors import MachineError, SetupError
from mtpfs.redaction import hide_name
from mtpfs.state import directories, spool_directory
from mtpfs.transport.source import Source, parse_source

log = logging.getLogger(__name__)

DEV_FUSE = Path("/dev/fuse")
FUSE_CONF = Path("/etc/fuse.conf")
PRODUCT_LENGTH = 40
"""Characters; with a serial number of at most 126 the whole stays below NAME_MAX."""


def check_mountpoint(mountpoint: str) -> None:
    """Raise `SetupError` unless a filesystem can be mounted here."""
    if is_dead(mountpoint):
        raise SetupError(f"{mountpoint}: a filesystem died here; `fusermount3 -u {mountpoint}` removes it")
    # First: a mount that doesn't answer would keep the rest waiting.
    real = real_path(mountpoint)
    for target, kind, source in mounts():
        if kind == KIND and target == real:
            raise SetupError(f"{mountpoint}: {source} is mounted here already")
    try:
        is_directory = Path(mountpoint).is_dir()
    except OSError as error:
        raise SetupError(f"{mountpoint}: {error.strerror}") from error
    if not os.path.lexists(mountpoint):
        raise SetupError(f"{mountpoint}: no such directory; `mkdir` it first")
    if not is_directory:
        raise SetupError(f"{mountpoint}: not a directory")
    _check_places(real)


def _check_places(mountpoint: str) -> None:
    """Raise `SetupError` unless what is kept on this machine can be: a mount that asks itself waits for ever."""
    spools = spool_directory()
    for place in (spools, *map(str, directories())):
        if Path(real_path(place)).is_relative_to(mountpoint):
            raise SetupError(
                f"{mountpoint}: the mount would cover {place}, where mtpfs keeps what it needs on this machine; "
                "choose another mountpoint, or set TMPDIR and XDG_STATE_HOME"
            )
    if not Path(spools).is_dir():
        raise SetupError(f"{spools}: no such directory, so nothing could be written; set TMPDIR to another")


def check_fuse(fuse_options: frozenset[str]) -> None:
    """Raise `MachineError` where FUSE itself is missing, `SetupError` where it doesn't allow what is asked."""
    if not DEV_FUSE.exists():
        raise MachineError(f"{DEV_FUSE} is missing: the kernel has no FUSE; `modprobe fuse` loads it")
    if os.geteuid() == 0:
        return
    if shutil.which("fusermount3") is None:
        raise MachineError("fusermount3 isn't installed: `apt install fuse3` brings it")
    others = {"allow_other", "allow_root"} & fuse_options
    if others and not _others_allowed():
        raise SetupError(f"option {min(others)} needs the line `user_allow_other` in {FUSE_CONF}")


def _others_allowed() -> bool:
    try:
        lines = FUSE_CONF.read_text().splitlines()
    except OSError:
        return True  # unreadable: fusermount3 will say
    return any(line.strip() == "user_allow_other" for line in lines)


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
    if source.kind == "ip":
        return directory_name("", source.text.removeprefix("ip:")), source
    from mtpfs.transport.phones import choose  # noqa: PLC0415
    from mtpfs.transport.usb import find_phones  # noqa: PLC0415

    phone = choose(find_phones(), source)
    port = phone.port if phone.goes_by_port else ""
    return directory_name(phone.product or phone.name, phone.serial, port), parse_source(phone.place)
