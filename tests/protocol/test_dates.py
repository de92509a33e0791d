"""DateTime strings, as the standard has them and as devices send them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

import pytest

from mtpfs.protocol.dates import decode_date, encode_date, encode_local_date

MOMENT = datetime(2024, 2, 29, 13, 45, 1, tzinfo=UTC).timestamp()
EAST = timezone(timedelta(hours=5, minutes=30))


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This host's local zone, for the length of a test."""
    import time

    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("20240229T134501Z", MOMENT),
        ("20240229T144501+0100", MOMENT),
        ("20240229T081501-0530", MOMENT),
        ("20240229T134501.5Z", MOMENT + 0.5),
        ("20240229T134501.Z", MOMENT),
        (" 20240229T134501Z ", MOMENT),
    ],
    ids=["Z (Jolla)", "+0100 (Lumia)", "west", "tenths", "dot", "blanks"],
)
def test_with_a_zone(text: str, seconds: float) -> None:
    assert decode_date(text) == seconds
    assert decode_date(text, EAST) == seconds, "a zone in the string wins"


@pytest.mark.parametrize("text", ["20240229T191501", "20240229T191501.", "20240229T191501.0"])
def test_without_a_zone_in_the_device_s(text: str) -> None:
    """Android and, with a dot and no digit, Samsung."""
    assert decode_date(text, EAST) == MOMENT


@pytest.mark.usefixtures("berlin")
@pytest.mark.parametrize(("text", "hour"), [("20240229T144501", 13), ("20240729T154501", 13)])
def test_without_any_zone_in_this_host_s(text: str, hour: int) -> None:
    """Winter and summer: the offset is that of the date, not of today."""
    moment = decode_date(text)
    assert moment is not None
    assert datetime.fromtimestamp(moment, UTC).hour == hour


@pytest.mark.parametrize(
    "text",
    [
        "",
        "00000000T000000",
        "20240000T000000",
        "20240100T000000",
        "20230229T000000",
        "20241301T000000",
        "20240229T250000",
        "20240229T134501+9900",
        "20240229",
        "2024-02-29T13:45:01",
        "junk",
        "20240229T134501ZZ",
        "20240229T134501+01",
    ],
)
def test_what_is_no_date(text: str) -> None:
    """Unknown, not an error."""
    assert decode_date(text, UTC) is None


def test_a_leap_second_is_the_second_before() -> None:
    assert decode_date("20161231T235960Z") == datetime(2016, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp()


def test_encoding_names_utc() -> None:
    """The one form that Android understands; fractions are dropped downwards."""
    assert encode_date(MOMENT) == "20240229T134501Z"
    assert encode_date(MOMENT + 0.999) == "20240229T134501Z"
    assert encode_date(-0.5) == "19691231T235959Z"


@pytest.mark.parametrize("seconds", [1e18, -1e18, float("inf"), float("nan")])
def test_encoding_what_no_date_can_hold(seconds: float) -> None:
    """No date rather than a wrong one."""
    assert encode_date(seconds) == ""


@pytest.mark.usefixtures("berlin")
def test_local_dates_have_no_suffix() -> None:
    assert encode_local_date(MOMENT) == "20240229T144501"
