"""Dates of files: what a device says that it does with them, and what it turns out to do."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, timedelta, timezone

import pytest

from device.scripted import Answers, handle, object_info, scripted
from mtpfs.device import dates
from mtpfs.device.device import Device
from mtpfs.errors import TransportTimeoutError
from mtpfs.protocol.codes import DataType, Operation, Property, Response
from mtpfs.protocol.datasets import PropertyDescription
from mtpfs.protocol.dates import encode_local_date

SENT = 1_600_000_001.0
"""The date that an upload carried; odd, because FAT keeps even seconds only."""
OBJECT = handle(9)
MINUTES = 60


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have this host in a zone that isn't UTC: a device without a zone is taken to be in the host's."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "XYZ-3")  # three hours east of Greenwich
        time.tzset()
        yield
    time.tzset()


def description(*, writable: bool) -> bytes:
    return PropertyDescription(Property.DateModified, DataType.STR, writable, "").encode()


def telling(*shown: str, maker: str = "Acme") -> Device:
    """Return a device that tells these dates of its only object, one after the other."""
    device, _ = scripted({Operation.GetObjectInfo: [object_info(date=date) for date in shown]}, maker=maker)
    return device


def local(seconds: float, hours: float = 3) -> str:
    """Return a date as a device in that zone tells it: without naming the zone."""
    return encode_local_date(seconds, timezone(timedelta(hours=hours)))


@pytest.mark.parametrize(
    ("shown", "kept"),
    [
        (local(SENT), True),
        (local(SENT - 1), True),  # FAT
        (local(SENT + 2), True),
        (local(SENT + 3), False),
        (local(SENT - 3), False),
        (local(SENT + 86_400), False),  # no zone is that far away
        (local(SENT + 14 * 3600 + 15 * MINUTES * 60), False),
        (local(SENT + 1000), False),  # zones differ by quarters of an hour
    ],
)
async def test_kept(shown: str, kept: bool) -> None:
    """A date that comes back, but for FAT's two seconds, was kept; any other is the device's own, and is told."""
    device = telling(shown)
    told = await dates.learn_date(device, OBJECT, SENT + 0.7)
    assert device.keeps_dates is kept
    assert device.zone is None
    assert told is not None
    assert local(told) == shown


@pytest.mark.parametrize("hours", [0, -11, 5.75, 14, -8.25])
async def test_zone(hours: float) -> None:
    """A date that comes back shifted by quarters of an hour was kept, and tells the device's zone."""
    device = telling(local(SENT, hours))
    assert await dates.learn_date(device, OBJECT, SENT) == SENT
    assert device.keeps_dates is True
    assert device.zone is not None
    assert device.zone.utcoffset(None) == timedelta(hours=hours)


async def test_zone_of_a_device_with_one() -> None:
    """A device that keeps dates isn't moved to another zone by one that is wrong: it is a date of its own."""
    device = telling(local(SENT), local(SENT + 3600))
    await dates.learn_date(device, OBJECT, SENT)
    assert await dates.learn_date(device, OBJECT, SENT) == SENT + 3600
    assert device.zone is None
    assert device.keeps_dates is False


@pytest.mark.parametrize("hours", [0, 1, -7.25])
async def test_date_of_arrival(hours: float) -> None:
    """A date that is about now, in some zone, may be that of the arrival. It proves nothing; the next one does."""
    arrival = int(time.time())
    fresh = arrival - hours * 3600
    device = telling(local(fresh), local(arrival), local(arrival))
    for _ in range(2):
        await dates.learn_date(device, OBJECT, fresh)
        assert device.zone is None
    assert device.keeps_dates is not True
    assert await dates.learn_date(device, OBJECT, SENT) == arrival
    assert device.keeps_dates is False


async def test_utc() -> None:
    """Where dates without a zone are known to be UTC, nothing has to be learned of it."""
    device = telling(local(SENT, 0), maker="QEMU")
    assert await dates.learn_date(device, OBJECT, SENT) == SENT
    assert device.zone is UTC


async def test_untold() -> None:
    """A device that tells no date shows nothing: neither that it keeps dates nor that it doesn't."""
    device = telling("")
    assert await dates.learn_date(device, OBJECT, SENT) is None
    assert device.keeps_dates is None


@pytest.mark.parametrize(
    ("answers", "writable"),
    [
        ({Operation.GetObjectPropDesc: description(writable=True)}, True),
        ({Operation.GetObjectPropDesc: description(writable=False)}, False),
        ({Operation.GetObjectPropDesc: Response.ObjectPropNotSupported}, False),
        ({Operation.GetObjectPropDesc: b"no description"}, False),
        ({Operation.GetObjectPropDesc: TransportTimeoutError("silent")}, False),
        ({}, False),
    ],
)
async def test_whether_dates_can_be_set(answers: dict[int, Answers], writable: bool) -> None:
    """It is asked once. Without a clear yes, nothing is tried."""
    device, session = scripted({**answers, Operation.SetObjectPropValue: Response.OK})
    for _ in range(2):
        assert await dates.can_set_dates(device) is writable
        assert await dates.set_modified(device, OBJECT, SENT) is writable
    assert session.count(Operation.GetObjectPropDesc) == len(answers)
    assert session.count(Operation.SetObjectPropValue) == 2 * writable


async def test_names_only() -> None:
    """A device that can't set properties isn't asked whether this one can be set."""
    device, session = scripted({Operation.GetObjectPropDesc: description(writable=True)})
    assert not await dates.can_set_dates(device)
    assert session.calls == []


async def test_refused_after_all() -> None:
    """A device that says that dates can be set, and refuses, isn't asked to again."""
    device, session = scripted(
        {
            Operation.GetObjectPropDesc: description(writable=True),
            Operation.SetObjectPropValue: Response.AccessDenied,
        }
    )
    for _ in range(2):
        assert not await dates.set_modified(device, OBJECT, SENT)
    assert session.count(Operation.SetObjectPropValue) == 1


async def test_silence_is_no_refusal() -> None:
    """A device that doesn't answer has said nothing of what it can do: the error is the caller's."""
    device, _ = scripted(
        {
            Operation.GetObjectPropDesc: description(writable=True),
            Operation.SetObjectPropValue: [TransportTimeoutError("silent"), Response.OK],
        }
    )
    with pytest.raises(TransportTimeoutError):
        await dates.set_modified(device, OBJECT, SENT)
    assert await dates.set_modified(device, OBJECT, SENT)
