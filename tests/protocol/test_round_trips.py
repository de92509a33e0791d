"""Whatever can be encoded decodes to the same value."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mtpfs.protocol.containers import Container, decode_event
from mtpfs.protocol.datasets import (
    DeviceInfo,
    ObjectInfo,
    PropertyDescription,
    PropertyElement,
    StorageInfo,
    decode_property_list,
    encode_property_list,
)
from mtpfs.protocol.dates import decode_date, encode_date, encode_local_date
from mtpfs.protocol.wire import (
    Reader,
    Value,
    Writer,
    decode_integers,
    decode_value,
    encode_integers,
    encode_value,
)
from protocol import strategies


@given(strategies.texts)
def test_strings(text: str) -> None:
    """Every string of up to 254 units, lone surrogates included."""
    writer = Writer()
    writer.string(text)
    reader = Reader(writer.to_bytes())
    assert reader.string() == text
    assert not reader.remaining


@given(strategies.typed_values)
def test_values(typed: tuple[int, Value]) -> None:
    """Every data type with every value that fits it."""
    data_type, value = typed
    assert decode_value(data_type, encode_value(data_type, value)) == value


@given(st.sampled_from([1, 2, 4, 8, 16]), st.data())
def test_integer_arrays(size: int, data: st.DataObject) -> None:
    """Bare arrays, as GetObjectHandles returns them."""
    values = data.draw(st.lists(st.integers(0, 2 ** (8 * size) - 1)))
    assert list(decode_integers(encode_integers(values, size), size)) == values


@given(strategies.device_infos)
def test_device_info(info: DeviceInfo) -> None:
    assert DeviceInfo.decode(info.encode()) == info


@given(strategies.storage_infos)
def test_storage_info(info: StorageInfo) -> None:
    assert StorageInfo.decode(info.encode()) == info


@given(strategies.object_infos)
def test_object_info(info: ObjectInfo) -> None:
    """Both variants: the standard's, and Samsung's with a 64-bit size."""
    assert ObjectInfo.decode(info.encode()) == info


@given(strategies.property_lists)
def test_property_list(elements: list[PropertyElement]) -> None:
    assert list(decode_property_list(encode_property_list(elements))) == elements


@given(strategies.property_descriptions())
def test_property_description(description: PropertyDescription) -> None:
    """Every form, including those that carry nothing."""
    assert PropertyDescription.decode(description.encode()) == description


@given(strategies.events)
def test_events(event: Container) -> None:
    assert decode_event(event.encode()) == event


@given(st.integers(-62135596800, 253402300799))
def test_dates_in_utc(seconds: int) -> None:
    """Every whole second of the years 1 to 9999."""
    assert decode_date(encode_date(seconds)) == seconds


@given(st.integers(0, 2**32))
def test_local_dates_name_a_moment_of_that_local_time(seconds: int) -> None:
    """A local time may exist twice a year, so the string is compared, not the number."""
    text = encode_local_date(seconds)
    moment = decode_date(text)
    assert moment is not None
    assert encode_local_date(moment) == text
