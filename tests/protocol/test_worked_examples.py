"""Byte for byte: OpenSession, a property list and an upload as they look on the wire."""

from __future__ import annotations

from mtpfs.protocol.codes import ContainerType, DataType, Event, Format, Operation, Property, Response
from mtpfs.protocol.containers import Container, ContainerStream, DataChunk, decode_event, encode_header
from mtpfs.protocol.datasets import ObjectInfo, PropertyElement, decode_property_list, encode_property_list

PROPERTY_LIST = bytes.fromhex(
    "06000000"
    "31000000 02dc 0400 0130"
    "31000000 07dc ffff 05 4400 4300 4900 4d00 0000"
    "32000000 02dc 0400 0030"
    "32000000 04dc 0800 0000004001000000"
    "32000000 07dc ffff 06 e900 2e00 6200 6900 6e00 0000"
    "32000000 09dc ffff 10 3200 3000 3200 3400 3000 3200 3200 3900 5400 3100 3300 3400 3500 3000 3100 0000"
)
ELEMENTS = [
    PropertyElement(0x31, Property.ObjectFormat, DataType.UINT16, Format.Association),
    PropertyElement(0x31, Property.ObjectFileName, DataType.STR, "DCIM"),
    PropertyElement(0x32, Property.ObjectFormat, DataType.UINT16, Format.Undefined),
    PropertyElement(0x32, Property.ObjectSize, DataType.UINT64, 5368709120),
    PropertyElement(0x32, Property.ObjectFileName, DataType.STR, "é.bin"),
    PropertyElement(0x32, Property.DateModified, DataType.STR, "20240229T134501"),
]


def _container(data: str) -> object:
    stream = ContainerStream()
    stream.feed(memoryview(bytes.fromhex(data)), short=True)
    return stream.next_event()


def test_open_session() -> None:
    """Example 1: the command, and both answers it may get."""
    command = Container(ContainerType.COMMAND, Operation.OpenSession, 0, (1,))
    assert command.encode() == bytes.fromhex("10000000 0100 0210 00000000 01000000")
    assert _container("0c000000 0300 0120 00000000") == Container(ContainerType.RESPONSE, Response.OK, 0)
    assert _container("10000000 0300 1e20 00000000 01000000") == Container(
        ContainerType.RESPONSE, Response.SessionAlreadyOpen, 0, (1,)
    )


def test_get_object_prop_list() -> None:
    """Example 2: command, data container and the six elements in it."""
    command = Container(ContainerType.COMMAND, Operation.GetObjectPropList, 5, (0x21, 0, 0xFFFFFFFF, 0, 1))
    assert command.encode() == bytes.fromhex(
        "20000000 0100 0598 05000000 21000000 00000000 ffffffff 00000000 01000000"
    )
    header = encode_header(ContainerType.DATA, Operation.GetObjectPropList, 5, len(PROPERTY_LIST))
    assert header == bytes.fromhex("85000000 0200 0598 05000000")
    assert list(decode_property_list(PROPERTY_LIST)) == ELEMENTS
    assert encode_property_list(ELEMENTS) == PROPERTY_LIST


def test_upload() -> None:
    """Example 3: SendObjectInfo and SendObject of three bytes."""
    command = Container(ContainerType.COMMAND, Operation.SendObjectInfo, 9, (0x00010001, 0xFFFFFFFF))
    assert command.encode() == bytes.fromhex("14000000 0100 0c10 09000000 01000100 ffffffff")
    info = ObjectInfo(
        storage_id=0x00010001,
        object_compressed_size=3,
        parent_object=0xFFFFFFFF,
        filename="a.txt",
        modification_date="20240229T134501Z",
    )
    expected = bytes.fromhex(
        "01000100 0030 0000 03000000 0000"
        + 24 * "00"
        + "ffffffff 0000 00000000 00000000"
        + "06 6100 2e00 7400 7800 7400 0000"
        + "00"
        + "11 3200 3000 3200 3400 3000 3200 3200 3900 5400 3100 3300 3400 3500 3000 3100 5a00 0000"
        + "00"
    )
    assert info.encode() == expected
    assert encode_header(ContainerType.DATA, Operation.SendObjectInfo, 9, len(expected))[0] == 0x72
    assert _container("18000000 0300 0120 09000000 01000100 00000000 77000000") == Container(
        ContainerType.RESPONSE, Response.OK, 9, (0x00010001, 0, 0x77)
    )
    data = encode_header(ContainerType.DATA, Operation.SendObject, 10, 3) + b"hi\n"
    assert data == bytes.fromhex("0f000000 0200 0d10 0a000000 68690a")
    stream = ContainerStream()
    stream.feed(memoryview(data), short=True)
    stream.next_event()
    assert stream.next_event() == DataChunk(memoryview(b"hi\n"))


def test_event() -> None:
    """ObjectAdded of object 0x78."""
    data = bytes.fromhex("10000000 0400 0240 09000000 78000000")
    assert decode_event(data) == Container(ContainerType.EVENT, Event.ObjectAdded, 9, (0x78,))
