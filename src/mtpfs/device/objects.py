"""What a device tells of its objects and storages, as values.

What can't be known for certain is said in the value itself (`None`, `size_known`, `date_elsewhere`, `free_known`), so
that a device's guess is never taken for a fact.

Invariant: a value never changes; a newer answer makes a new one.
"""

from __future__ import annotations

from dataclasses import dataclass

from mtpfs.protocol.codes import Format
from mtpfs.session import Handle


@dataclass(frozen=True, slots=True)
class Entry:
    """An object in a listing. `size` in bytes, `modified` in seconds since the epoch."""

    handle: Handle
    name: str
    is_folder: bool
    size: int
    modified: float | None
    """None: unknown for good, unless `date_elsewhere`."""
    date_elsewhere: bool = False
    """The lists don't tell the date truly, but ObjectInfo does: ask `listing.entry` when it is wanted."""
    size_known: bool = True
    """False: 4 GiB or more on a device that can't say how much; `size` is 4 GiB - 1 then."""
    protected: bool = False
    """ProtectionStatus says read-only. Property lists aren't asked for it: only ObjectInfo tells."""


@dataclass(frozen=True, slots=True)
class Storage:
    """A storage that is present. `capacity` and `free` in bytes, as the device tells them."""

    id: int
    description: str
    volume: str
    removable: bool
    writable: bool
    deletable: bool
    capacity: int
    free: int
    free_known: bool = True
    """False: `free` is 0, all ones, or more than the capacity that the device told. See `Room`."""


def is_folder(object_format: int) -> bool:
    """Only the format tells: Android reports AssociationType 0 for folders, HTC a size."""
    return object_format == Format.Association
