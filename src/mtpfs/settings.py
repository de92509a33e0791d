"""What a mount can be told: one frozen record, filled by the command line."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass, field

STATISTICS_NAME = ".mtpfs-statistics"
"""The file in a mount's root that tells what it has done (`mtpfs.fuse.report`)."""
INFO_NAME = ".mtpfs-info"
"""And the one that tells what its device is."""

UNMOUNT_REPORT = "mtpfs-unmount"
"""The file in a mount's memory to which it tells its end (`mtpfs.unmount`)."""

END_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that ask a mount to end."""


METADATA_TIMEOUT = 10.0
"""Seconds that a simple request may go without progress."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything about a mount but its source and mountpoint.

    `fuse_options` are words for libfuse itself (`allow_other`, `ro`, `noexec`,
    …) without `fsname` and `subtype`; the rest is ours. Masks are permission bits to take away.
    """

    fuse_options: frozenset[str] = frozenset()
    fsname: str = ""
    """Shown as the source in `findmnt`; empty: the device's name."""
    subtype: str = "mtpfs"
    read_only: bool = False
    uid: int = field(default_factory=os.getuid)
    gid: int = field(default_factory=os.getgid)
    fmask: int = 0o133
    dmask: int = 0o022
    debug: bool = False
    storage: str = ""
    """Show only the storage with this description, name or id (0x…); its contents are then the root."""
    timeout: float = METADATA_TIMEOUT
    """Seconds that a metadata transaction may go without progress; other timeouts follow in proportion."""
    readahead: int = 4 << 20
    """Bytes that are fetched at once for a sequential reader, at most; 0: never more than was asked for."""
    thumbnails: bool = False
    """Make entries in the user's thumbnail cache for what is listed (`mtpfs.thumbnails.visitor`)."""
    exit_on_unplug: bool = False
    """End the mount when the device leaves the bus, instead of waiting for its return."""
    ttl: float = 5.0
    """Seconds that a listing stays valid on a device that sends no events."""
