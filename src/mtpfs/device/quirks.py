"""Deviations that have to be known before they do harm, found from DeviceInfo.

They are found from what the device says of itself, never from a table of 1,500 vendor and product ids. What can be
found out by trying is left to fallbacks at run time.

Invariant: a quirk only ever makes us more careful; without any, a conforming device is served correctly.
"""

from __future__ import annotations

from dataclasses import dataclass

from mtpfs.protocol.datasets import DeviceInfo


@dataclass(frozen=True, slots=True)
class Quirks:
    """What to mind with this device."""

    eof_short_packet: bool = False
    """A partial read that reaches the end of the file and fills its last packet hangs (Samsung; libmtp #8)."""
    utc_dates: bool = False
    """Dates without a suffix are UTC instead of local time (QEMU)."""
    split_headers: bool = False
    """Data-out headers need a transfer of their own (Windows Phone; AFTL)."""
    folds: bool | None = None
    """`FOO` and `foo` are one file below a protocol that tells them apart: creating one truncates the other (AOSP).
    None: unknown. What is learned of a storage counts for more (see `Device.folding`)."""
    overwrite_corrupts: bool = False
    """Sending an existing name ruins both objects (Garmin; libmtp #307): delete first."""
    local_dates: bool = False
    """A date that ends in `Z` is dropped; one without a suffix, in the device's own zone, is kept (Sailfish,
    buteo-mtp, datetime_to_time_t)."""
    notices_late: bool = False
    """It is told of its own changes like of all others: by name, and after it has answered. What has taken a vacated
    name by then is dropped from its tables, and isn't seen again before it starts anew (Sailfish, buteo-mtp;
    `writing`)."""

    reserves_size: bool = False
    """A file is there from the announcement of its upload on, with its whole size and its date, and nothing but zeros
    in it (Sailfish, buteo-mtp, createFile). If the host dies then, no look at it tells that it isn't whole."""

    misses_data: bool = False
    """Data that comes while it still sends the answer before may lie in its buffer until more comes: its reader's
    notices are counted as one, and one look ends where the ring buffer does (Sailfish, buteo-mtp, handleDataReady and
    getData)."""


def find_quirks(info: DeviceInfo) -> Quirks:
    """Return the quirks of the device that describes itself as `info`."""
    maker = info.manufacturer.casefold()
    android = "android.com" in info.vendor_extension_desc
    sailfish = android and "microsoft.com/WMPPD" in info.vendor_extension_desc
    return Quirks(
        eof_short_packet="samsung" in maker and not android,
        utc_dates=maker == "qemu",
        split_headers=maker == "microsoft" or "microsoft/WindowsPhone" in info.vendor_extension_desc,
        # uMTP-Responder copies Android's description but serves a Linux directory as it is.
        folds=False if maker == "viveris technologies" else True if android or "samsung" in maker else None,
        overwrite_corrupts="garmin" in maker,
        local_dates=sailfish,
        notices_late=sailfish,
        reserves_size=sailfish,
        misses_data=sailfish,
    )
