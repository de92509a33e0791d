"""Datasets as real devices cut, count and shift them."""

from __future__ import annotations

import pytest

from mtpfs.errors import RemoteProtocolError
from mtpfs.protocol.codes import DataType
from mtpfs.protocol.datasets import (
    SIZE_UNKNOWN,
    DeviceInfo,
    ObjectInfo,
    PropertyDescription,
    PropertyElement,
    StorageInfo,
    decode_property_list,
    encode_property_list,
)

ELEMENT = PropertyElement(1, 0xDC07, DataType.STR, "a")


def test_device_info_without_its_tail() -> None:
    """Strings that some players cut off are empty."""
    data = DeviceInfo(manufacturer="m", model="x").encode()
    assert DeviceInfo.decode(data[:-2]) == DeviceInfo(manufacturer="m", model="x")
    assert DeviceInfo.decode(DeviceInfo().encode()[:-4]) == DeviceInfo()


def test_storage_info_without_its_tail() -> None:
    data = StorageInfo(storage_description="s").encode()
    assert StorageInfo.decode(data[:-1]).storage_description == "s"


def test_object_info_of_4_gib() -> None:
    """The 32-bit field can only say that it is too small; the wide one says the size."""
    info = ObjectInfo(object_compressed_size=5 << 30, filename="a")
    assert ObjectInfo.decode(info.encode()).object_compressed_size == SIZE_UNKNOWN
    wide = ObjectInfo(object_compressed_size=5 << 30, filename="a", wide=True)
    assert ObjectInfo.decode(wide.encode()) == wide
    assert len(wide.encode()) == len(info.encode()) + 4


def test_object_info_without_its_tail() -> None:
    data = ObjectInfo(filename="a").encode()
    assert ObjectInfo.decode(data[:-3]) == ObjectInfo(filename="a")
    with pytest.raises(RemoteProtocolError):
        ObjectInfo.decode(data[:51])


def test_property_list_with_a_count_that_is_too_large() -> None:
    """Creative players: the end of the data ends the list."""
    data = bytearray(encode_property_list([ELEMENT, ELEMENT]))
    data[0] = 9
    assert list(decode_property_list(data)) == [ELEMENT, ELEMENT]


def test_property_list_with_a_count_that_is_too_small() -> None:
    """The count ends the list too."""
    data = bytearray(encode_property_list([ELEMENT, ELEMENT]))
    data[0] = 1
    assert list(decode_property_list(data)) == [ELEMENT]


def test_property_list_cut_inside_an_element() -> None:
    """What came before it is not lost."""
    elements = decode_property_list(encode_property_list([ELEMENT, ELEMENT])[:-1])
    assert next(elements) == ELEMENT
    with pytest.raises(RemoteProtocolError):
        next(elements)


def test_property_list_with_an_unknown_property() -> None:
    """AOSP: type UNDEF and no value at all."""
    elements = [PropertyElement(1, 0xDCFF, DataType.UNDEF, None), ELEMENT]
    data = encode_property_list(elements)
    assert data[4:12] == bytes.fromhex("01000000 ffdc 0000")
    assert list(decode_property_list(data)) == elements


def test_property_description_cut_behind_the_default() -> None:
    """Group and form are missing on some players."""
    description = PropertyDescription(0xDC04, DataType.UINT64, writable=False, default=0)
    assert PropertyDescription.decode(description.encode()[:-5]) == description


def test_property_description_with_an_unknown_form() -> None:
    data = bytearray(PropertyDescription(0xDC04, DataType.UINT8, writable=False, default=0).encode())
    data[-1] = 0x77
    with pytest.raises(RemoteProtocolError, match="form"):
        PropertyDescription.decode(data)
