"""What a device does with the dates of files: does it take them, with contents or later, and in which zone.

Not all devices tell this truly. So it is found out from the first upload with a date, and kept in the device's
fields, which are written only here.

Sources: AOSP takes a date with the contents from 8.1 on, and none later; libmtp for devices that take it as a
property.
"""

from __future__ import annotations

import logging
import time
from datetime import datetime, timedelta, timezone

from mtpfs.device import listing
from mtpfs.device.device import Device
from mtpfs.device.objects import Entry
from mtpfs.errors import MtpfsError, ResponseError
from mtpfs.protocol.codes import DataType, Format, Operation, Property
from mtpfs.protocol.datasets import PropertyDescription
from mtpfs.protocol.wire import encode_value
from mtpfs.session import Handle

log = logging.getLogger(__name__)

_ZONE_STEP = 15 * 60  # seconds: time zones differ by quarters of an hour
_ZONE_LIMIT = 14 * 3600
_ROUNDING = 2  # seconds: FAT keeps even ones only
_ARRIVING = 60  # seconds from an arrival to the look at its date, and what clocks differ


async def set_modified(device: Device, handle: Handle, modified: float) -> bool:
    """Set an existing object's date (seconds since the epoch); tell whether the device did.

    Android never does. Raises what the session raises, but no refusal. A caller that is cancelled stops waiting.
    """
    if not await can_set_dates(device):
        return False
    try:
        await device.call(
            Operation.SetObjectPropValue,
            handle,
            Property.DateModified,
            data=encode_value(DataType.STR, device.encoded_date(modified)),
        )
    except ResponseError as error:
        log.info("DateModified can't be set after all: %s", error)
        device.dates_writable = False
        return False
    return True


async def can_set_dates(device: Device) -> bool:
    """Tell whether the device says that dates of existing objects can be set. It is asked once.

    Raises nothing but cancellation: what isn't told counts as no.
    """
    if device.dates_writable is None:
        device.dates_writable = await _dates_writable(device)
    return device.dates_writable


async def _dates_writable(device: Device) -> bool:
    if not device.supports(Operation.SetObjectPropValue, Operation.GetObjectPropDesc):
        return False
    try:
        answer = await device.call(Operation.GetObjectPropDesc, Property.DateModified, Format.Undefined)
        return PropertyDescription.decode(answer.data).writable
    except MtpfsError as error:
        log.debug("no description of DateModified: %s", error)
        return False


async def learn_date(device: Device, handle: Handle, modified: float) -> float | None:
    """Find out what the device made of the date that an upload carried; return the object's real one.

    Both are in seconds since the epoch; None: it tells none. The first time this finds out the device's zone, too:
    a date that comes back shifted by whole quarters of an hour was kept, and is only told in another zone.
    A date that may just as well be that of the arrival proves neither; the next file's will do.
    Raises what `listing.entry` raises.
    """
    described = await listing.entry(device, handle)
    if described.modified is None:
        return None
    shift = described.modified - int(modified)
    is_zone = abs(shift) <= _ZONE_LIMIT and shift % _ZONE_STEP == 0 and not device.keeps_dates
    if (is_zone or abs(shift) <= _ROUNDING) and _may_be_arrival(modified):
        return described.modified
    if shift and is_zone:
        offset = _local_offset(modified) + timedelta(seconds=shift)
        device.zone = timezone(offset)
        log.info("%s reckons in the zone UTC%+g h", device.name, offset.total_seconds() / 3600)
        shift = 0
        described = await listing.entry(device, handle)
    device.keeps_dates = abs(shift) <= _ROUNDING
    return described.modified


def _may_be_arrival(modified: float) -> bool:
    """Tell whether a date is about now, in whichever zone the device reckons."""
    age = abs(time.time() - modified)
    return age <= _ZONE_LIMIT + _ARRIVING and (age + _ARRIVING) % _ZONE_STEP <= 2 * _ARRIVING


def looks_like(found: Entry, known: Entry) -> bool:
    """Tell whether an object can be the one that was known by another handle: by its size, and by its date if that is known.

    The date that an object was sent with isn't: the device may have dropped it.
    """
    dates_differ = (
        found.modified is not None
        and known.modified is not None
        and abs(found.modified - known.modified) > _ROUNDING
    )
    return found.size == known.size and not dates_differ


def _local_offset(seconds: float) -> timedelta:
    return datetime.fromtimestamp(seconds).astimezone().utcoffset() or timedelta()
