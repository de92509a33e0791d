"""MTP's DateTime strings: `YYYYMMDDThhmmss[.s][Z|±hhmm]` (MTP 1.1 section 3.2.5).

Decoding makes seconds since the epoch, and accepts odd forms. Encoding uses the one form that
nearly every responder understands: UTC with a `Z`. (Android ignores a numeric offset,
and would take the digits for its local time.) Sailfish drops such a date. It gets
local time without a suffix.

Invariant: decoding never raises. What isn't a date is None ("unknown"),
because one odd date must not hide an object.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo

_DATE = re.compile(
    r"(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)"
    r"(?:\.(\d*))?"  # Samsung sends the dot without a digit
    r"(Z|[+-]\d{4})?"  # Jolla: Z, Windows Phone: +0100, most others nothing
)


def decode_date(text: str, zone: tzinfo | None = None) -> float | None:
    """Return seconds since the epoch, or None when `text` holds no date.

    `zone` is the device's, used where the string names none; None means this
    host's local zone, which is the best guess for a phone on its cable.
    """
    match = _DATE.fullmatch(text.strip())
    if match is None:
        return None
    *fields, fraction, suffix = match.groups()
    year, month, day, hour, minute, second = (int(field) for field in fields)
    try:
        moment = datetime(year, month, day, hour, minute, min(second, 59))  # noqa: DTZ001 - zone follows
        if suffix == "Z":
            moment = moment.replace(tzinfo=UTC)
        elif suffix:
            offset = timedelta(hours=int(suffix[1:3]), minutes=int(suffix[3:]))
            moment = moment.replace(tzinfo=timezone(-offset if suffix[0] == "-" else offset))
        else:
            moment = moment.replace(tzinfo=zone)
        return moment.timestamp() + float(f"0.{fraction or 0}")
    except (ValueError, OverflowError, OSError):
        return None  # month 0, day 31 of February, year 0…


def encode_date(seconds: float) -> str:
    """Return `seconds` since the epoch as `YYYYMMDDThhmmssZ`, whole seconds; `""` beyond years 1 to 9999."""
    try:
        return datetime.fromtimestamp(int(seconds // 1), UTC).strftime("%Y%m%dT%H%M%SZ").rjust(16, "0")
    except (ValueError, OverflowError, OSError):
        return ""


def encode_local_date(seconds: float, zone: tzinfo | None = None) -> str:
    """Return `seconds` since the epoch as local time without a suffix, `""` beyond years 1 to 9999.

    Android and uMTP-Responder report dates so. `zone` is the device's; None: this host's.
    """
    try:
        return datetime.fromtimestamp(int(seconds // 1), zone).strftime("%Y%m%dT%H%M%S").rjust(15, "0")
    except (ValueError, OverflowError, OSError):
        return ""
