"""Strings at their limits, and what can't be encoded."""

from __future__ import annotations

import pytest

from mtpfs.errors import LocalProtocolError, RemoteProtocolError
from mtpfs.protocol.codes import DataType
from mtpfs.protocol.wire import Reader, Value, Writer, encode_value, utf16_units


def encode(text: str) -> bytes:
    writer = Writer()
    writer.string(text)
    return writer.to_bytes()


@pytest.mark.parametrize(
    "text", ["a" * 254, "é" * 254, "😀" * 127, "a" * 252 + "😀"], ids=["ascii", "latin", "emoji", "mixed"]
)
def test_254_units_fit(text: str) -> None:
    """The longest strings: the length byte says 255, because the NUL counts."""
    data = encode(text)
    assert data[0] == 255
    assert len(data) == 1 + 2 * 255
    assert Reader(data).string() == text
    assert utf16_units(text) == 254


@pytest.mark.parametrize("text", ["a" * 255, "a" + "😀" * 127, "😀" * 128], ids=["ascii", "emoji", "more"])
def test_255_units_do_not_fit(text: str) -> None:
    """A name that Linux takes, and MTP doesn't."""
    with pytest.raises(LocalProtocolError):
        encode(text)


def test_the_empty_string_is_one_byte() -> None:
    """No terminator."""
    assert encode("") == b"\0"
    assert Reader(b"\0").string() == ""


@pytest.mark.parametrize("text", ["\ud800", "\udfff", "a\udc80b"])  # noqa: PT014 - ruff takes all surrogates for one
def test_lone_surrogates_survive(text: str) -> None:
    """No object is lost because its name isn't Unicode."""
    assert Reader(encode(text)).string() == text


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("03 6100 6200 0000", "ab"),
        ("02 6100 6200", "ab"),
        ("05 6100 0000 ffff 6300 0000", "a"),
        ("01 0000", ""),
    ],
    ids=["plain", "no NUL", "junk behind the NUL", "NUL alone"],
)
def test_strings_as_devices_send_them(data: str, text: str) -> None:
    reader = Reader(bytes.fromhex(data))
    assert reader.string() == text
    assert not reader.remaining


def test_a_string_that_ends_too_early() -> None:
    with pytest.raises(RemoteProtocolError, match="too early"):
        Reader(b"\x03a\0b\0\0").string()


def test_a_nul_inside_can_not_be_encoded() -> None:
    """It would come back shorter."""
    with pytest.raises(LocalProtocolError):
        encode("a\0b")


@pytest.mark.parametrize(
    ("data_type", "value"),
    [
        (DataType.UINT8, 256),
        (DataType.UINT8, -1),
        (DataType.INT8, 128),
        (DataType.UINT128, 1 << 128),
        (DataType.UINT32, "text"),
        (DataType.STR, 5),
        (DataType.UNDEF, 5),
        (DataType.UINT16, (1, 2)),
        (DataType.AUINT16, 1),
        (DataType.UINT16, None),
        (0x1234, 1),
    ],
)
def test_values_that_do_not_fit_their_type(data_type: int, value: Value) -> None:
    with pytest.raises(LocalProtocolError):
        encode_value(data_type, value)


@pytest.mark.parametrize(
    ("data_type", "value", "data"),
    [
        (DataType.INT16, -2, "feff"),
        (DataType.UINT128, 1, "01" + 15 * "00"),
        (DataType.AINT8, (-1, 1), "02000000ff01"),
        (DataType.AUINT128, (2,), "0100000002" + 15 * "00"),
        (DataType.UNDEF, None, ""),
    ],
)
def test_values_byte_for_byte(data_type: int, value: Value, data: str) -> None:
    assert encode_value(data_type, value) == bytes.fromhex(data)
