"""mtpfs: mount phones and players that speak MTP (Media Transfer Protocol), and use them from programs.

This is the list of what is public. docs/library.md describes it. Each of the names is loaded when it is first asked
for. So a command that needs none of them, and the mount, start as fast as without them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

__all__ = [
    "DeviceOnBus",
    "Entry",
    "Event",
    "EventKind",
    "File",
    "Phone",
    "Storage",
    "connect",
    "devices",
    "sync",
]

if TYPE_CHECKING:
    from mtpfs import sync as sync
    from mtpfs.library import (
        DeviceOnBus,
        Entry,
        Event,
        EventKind,
        File,
        Phone,
        Storage,
        connect,
        devices,
    )
else:

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        if name == "sync":
            return importlib.import_module("mtpfs.sync")
        return getattr(importlib.import_module("mtpfs.library"), name)

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
