"""Texts from devices in what commands print: on one line each, escaped, and redacted where that is asked for."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from mtpfs import redaction
from mtpfs.cli import devices, info, stats
from mtpfs.device.description import Description
from mtpfs.transport.phones import UsbPhone

PHONE = UsbPhone(1, 4, 0x18D1, 0x4EE1, "Google", "Pixel \x1b[31m", "SERIAL4711", 0, 0x81, 1, 0x82, 512)
FACTS = asdict(
    Description(
        name="Google Pixel",
        manufacturer="Google",
        model="Pixel",
        version="14",
        serial="SERIAL4711",
        friendly_name="Bob's phone",
        extensions="",
        battery=None,
        storages=(),
        capabilities={"write": True},
        quirks=(),
        learned={"MoveObject": "not used: the device says it has none"},
    )
) | {"usb_serial": "USB4711"}


def test_info_tells_what_was_learned() -> None:
    """What was found out of the device and its USB serial number are in the text."""
    lines = info.as_text(FACTS).splitlines()
    assert "  MoveObject: not used: the device says it has none" in lines
    assert lines[lines.index("Learned") - 1] == "  none"  # the quirks
    assert any(line.split() == ["USB", "serial:", "USB4711"] for line in lines)
    assert info.as_text(FACTS | {"learned": {}}).endswith("Learned\n  nothing yet")


def test_stats_escapes() -> None:
    """A device can't send the terminal commands by its name, in a table or as JSON."""
    waits = {"count": 1.0, "mean": 0.1, "p99": 0.2, "longest": 0.3}
    counts = dict.fromkeys(("transactions", "bytes_in", "bytes_out", "queued", "recoveries"), 0)
    session = counts | {
        "operations": {"GetDeviceInfo": 1},
        "metadata_waits": waits,
        "bulk_waits": waits,
    }
    names = ("listings_fetched", "listings_cached", "windows_fetched", "window_bytes", "window_hits")
    cache = dict.fromkeys((*names, "window_misses", "nodes"), 0)
    found = {"device": "evil\x1b]0;owned\x07\nphone", "session": session, "cache": cache}
    for text in (stats.as_text(found), stats.as_json(found)):
        assert text.replace("\n", "").isprintable()
    assert stats.as_text(found).splitlines()[0].endswith(r"evil\x1b]0;owned\x07\nphone")


def test_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """`list --redact` shows which phones there are, without their serial numbers."""
    monkeypatch.setattr(redaction, "_secrets", None)
    rows = [devices.Row(PHONE, "", "/media/Pixel-SERIAL4711")]
    assert "SERIAL4711" in devices.as_table(rows)
    redaction.start()
    redaction.hide_serial("SERIAL4711")
    for text in (devices.as_table(rows), devices.as_json(rows)):
        assert "SERIAL4711" not in text
        assert "serial:serial-" in text
        assert "Google" in text
    assert "\x1b" not in devices.as_table(rows)
