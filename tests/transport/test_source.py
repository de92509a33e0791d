"""The SOURCE word: what it may be, and what it means."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtpfs.errors import SetupError
from mtpfs.transport import source
from mtpfs.transport.source import Source, parse_source


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("any", Source("any", "any")),
        ("", Source("any", "any")),
        ("serial:R58:M", Source("serial", "serial:R58:M", serial="R58:M")),
        ("usb:18d1:4EE1", Source("usb", "usb:18d1:4EE1", vendor_id=0x18D1, product_id=0x4EE1)),
        ("bus:001,017", Source("bus", "bus:001,017", bus=1, address=17)),
        ("ip:Camera.local", Source("ip", "ip:camera.local", host="camera.local", port=15740)),
        ("ip:10.0.0.7:15740", Source("ip", "ip:10.0.0.7", host="10.0.0.7", port=15740)),
        ("ip:10.0.0.7:80", Source("ip", "ip:10.0.0.7:80", host="10.0.0.7", port=80)),
        ("ip:[FE80::0:1%wlan0]", Source("ip", "ip:[fe80::1%wlan0]", host="fe80::1%wlan0", port=15740)),
        ("ip:[::1]:81", Source("ip", "ip:[::1]:81", host="::1", port=81)),
        ("virtual:a/b", Source("virtual", "virtual:a/b", argument="a/b")),
    ],
)
def test_kinds(text: str, expected: Source) -> None:
    """Each kind of source is told by its word."""
    assert parse_source(text) == expected


def test_sysfs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A device's directory in sysfs means what is in that place on the bus."""
    monkeypatch.setattr(source, "SYSFS", f"{tmp_path}/")
    (tmp_path / "1-2").mkdir()
    (tmp_path / "1-2/busnum").write_text("1\n")
    (tmp_path / "1-2/devnum").write_text("5\n")
    assert parse_source(f"{tmp_path}/1-2") == Source("bus", "bus:001,005", bus=1, address=5)
    (tmp_path / "1-2/devnum").unlink()
    with pytest.raises(SetupError, match="1-2 isn't a USB device"):
        parse_source(f"{tmp_path}/1-2")


@given(
    st.text().filter(lambda text: not text.startswith(source.SYSFS))
    | st.sampled_from(["serial:", "usb:1:2", "usb:12345:1234", "bus:1", "virtual:", "ip:", "ip::1", "/dev/x"])
)
def test_anything_else_is_refused(text: str) -> None:
    """Any text is a source, or refused in one line."""
    try:
        said = parse_source(text).kind
    except SetupError as error:
        said = str(error)
    assert said in {"any", "serial", "usb", "bus", "ip", "virtual"} or source.KINDS in said
    assert "\n" not in said
