"""Whatever a device sends is either a value or a `RemoteProtocolError`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtpfs.errors import RemoteProtocolError
from mtpfs.protocol import ptpip
from mtpfs.protocol.containers import Container, ContainerStream, decode_event
from mtpfs.protocol.datasets import (
    DeviceInfo,
    ObjectInfo,
    PropertyDescription,
    StorageInfo,
    decode_property_list,
    encode_property_list,
)
from mtpfs.protocol.dates import decode_date
from mtpfs.protocol.wire import decode_integers, decode_value
from mtpfs.transport.recognition import os_descriptor_names_mtp, os_vendor_code
from protocol import strategies

DECODERS: list[Callable[[bytes], object]] = [
    DeviceInfo.decode,
    StorageInfo.decode,
    ObjectInfo.decode,
    PropertyDescription.decode,
    lambda data: list(decode_property_list(data)),
    decode_integers,
    lambda data: decode_integers(data, 16),
    decode_event,
    os_vendor_code,
    lambda data: os_descriptor_names_mtp(data, data[0] if data else 0),
    lambda data: ptpip.decode(data[0] if data else 0, data[1:]),
    lambda data: decode_date(data.decode("utf-16-le", "surrogatepass" if len(data) % 2 == 0 else "replace")),
]
NAMES = [
    "DeviceInfo",
    "StorageInfo",
    "ObjectInfo",
    "ObjectPropDesc",
    "ObjectPropList",
    "u32s",
    "u128s",
    "event",
    "Microsoft OS string",
    "Microsoft OS descriptor",
    "PTP/IP packet",
    "date",
]


@pytest.mark.parametrize("decode", DECODERS, ids=NAMES)
@given(data=st.binary(max_size=600))
def test_datasets(decode: Callable[[bytes], object], data: bytes) -> None:
    """Junk."""
    with suppress(RemoteProtocolError):
        decode(data)


@given(st.data())
def test_damaged_datasets(data: st.DataObject) -> None:
    """Real datasets with one byte changed and the end cut off: nearer to the decoders' edges than junk is."""
    whole = data.draw(
        strategies.device_infos.map(DeviceInfo.encode)
        | strategies.object_infos.map(ObjectInfo.encode)
        | strategies.property_descriptions().map(PropertyDescription.encode)
        | strategies.property_lists.map(encode_property_list)
        | strategies.storage_infos.map(StorageInfo.encode)
    )
    position = data.draw(st.integers(0, len(whole) - 1))
    damaged = bytearray(whole[: data.draw(st.integers(0, len(whole)))])
    if position < len(damaged):
        damaged[position] = data.draw(strategies.u8)
    for decode in DECODERS:
        with suppress(RemoteProtocolError):
            decode(bytes(damaged))


@given(strategies.events, st.integers(0, 24))
def test_damaged_events(event: Container, length: int) -> None:
    """Events cut off anywhere."""
    with suppress(RemoteProtocolError):
        decode_event(event.encode()[:length])


@given(strategies.u16, st.binary(max_size=60))
def test_values(data_type: int, data: bytes) -> None:
    """Any type code, known or not."""
    with suppress(RemoteProtocolError):
        decode_value(data_type, data)


@given(st.text(max_size=30) | st.from_regex(r"[0-9]{8}T[0-9]{6}(\.[0-9]*)?(Z|[+-][0-9]{4})?", fullmatch=True))
def test_dates(text: str) -> None:
    """A date or None, and never an exception: one odd date must not hide an object."""
    moment = decode_date(text)
    assert moment is None or isinstance(moment, float)


@given(st.lists(st.tuples(st.binary(max_size=80), st.booleans()), max_size=6))
def test_container_stream(transfers: list[tuple[bytes, bool]]) -> None:
    """Junk transfers: events, then silence or an error; what comes out is never more than what went in."""
    stream = ContainerStream()
    received = 0
    try:
        for data, short in transfers:
            stream.feed(memoryview(data), short=short)
            while (event := stream.next_event()) is not None:
                received += len(getattr(event, "data", b""))
    except RemoteProtocolError:
        stream.clear()
        assert stream.idle
    assert received <= sum(len(data) for data, _ in transfers)


@given(st.binary(max_size=100))
def test_a_huge_count_allocates_nothing(data: bytes) -> None:
    """An array that claims four thousand million elements is refused before anything is allocated."""
    with pytest.raises(RemoteProtocolError, match="array claims"):
        decode_integers(b"\xff\xff\xff\xff" + data)
