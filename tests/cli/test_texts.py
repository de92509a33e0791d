"""Texts from devices in what commands print: on one line each, escaped, and redacted where that is asked for."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import asdict

import pytest

from mtpfs import redaction
from mtpfs.cli import info, stats
from mtpfs.cli.list import Row, as_json, as_table
from mtpfs.device.description import Description
from mtpfs.errors import SetupError
from mtpfs.transport.phones import UsbPhone, choose
from mtpfs.transport.source import parse_source

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


@pytest.fixture
def off_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "_secrets", None)


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


@pytest.mark.usefixtures("off_afterwards")
def test_list() -> None:
    """`list --redact` shows which phones there are, without their serial numbers."""
    rows = [Row(PHONE, "", "/media/Pixel-SERIAL4711")]
    assert "SERIAL4711" in as_table(rows)
    redaction.start()
    redaction.hide_serial("SERIAL4711")
    for text in (as_table(rows), as_json(rows)):
        assert "SERIAL4711" not in text
        assert "serial:serial-" in text
        assert "Google" in text
    assert "\x1b" not in as_table(rows)


@pytest.mark.usefixtures("off_afterwards")
def test_a_source_is_a_serial_number() -> None:
    """What was asked for by serial number isn't shown in the error about it."""
    redaction.start()
    with pytest.raises(SetupError) as caught:
        choose([PHONE], parse_source("serial:ANOTHER4711"))
    redaction.hide_serial(PHONE.serial)
    shown = redaction.redact(str(caught.value))
    assert "4711" not in shown
    assert shown.count("serial:serial-") == 2


def test_a_bug_is_redacted() -> None:
    """The traceback of a bug, which no log has, shows no name either."""
    program = (
        "from mtpfs import redaction\n"
        "from mtpfs.cli.command import Parser, add_redact\n"
        "parser = Parser()\n"
        "add_redact(parser)\n"
        "parser.parse_args(['--redact'])\n"
        "redaction.hide_name('letter to Bob.pdf')\n"
        "raise KeyError('letter to Bob.pdf')\n"
    )
    said = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True)
    assert said.returncode == 1
    assert "KeyError: 'name-" in said.stderr
    assert "Bob" not in said.stderr
