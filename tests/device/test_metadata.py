"""Thumbnails and properties: what devices answer, and what a program gets of it."""

from __future__ import annotations

import errno

import pytest

from device.scripted import Answer, handle, object_info, scripted
from mtpfs.device import metadata
from mtpfs.errors import MtpfsError
from mtpfs.protocol.codes import DataType, Operation, Property, Response
from mtpfs.protocol.datasets import PropertyDescription, PropertyElement, encode_property_list
from mtpfs.protocol.wire import encode_integers, encode_value

OBJECT = handle(5)
LIST = encode_property_list(
    [
        PropertyElement(5, Property.ObjectFileName, DataType.STR, "a.jpg"),
        PropertyElement(6, Property.ObjectFileName, DataType.STR, "of another object"),
        PropertyElement(5, 0xD901, DataType.UINT16, 7),
    ]
)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (Response.NoThumbnailPresent, errno.ENODATA),
        (Response.GeneralError, errno.ENODATA),
        (Response.OK, errno.ENODATA),
        (Response.OperationNotSupported, errno.EOPNOTSUPP),
        (Response.InvalidObjectHandle, errno.ENOENT),
    ],
)
async def test_no_thumbnail(answer: Answer, code: int) -> None:
    """Each way to have none is one errno; what is another matter stays another."""
    device, _ = scripted({Operation.GetThumb: answer})
    with pytest.raises(MtpfsError) as caught:
        await metadata.thumbnail(device, OBJECT)
    assert caught.value.errno == code


async def test_thumbnail() -> None:
    """A thumbnail is what the device sends."""
    device, session = scripted({Operation.GetThumb: b"\xff\xd8 picture"})
    assert await metadata.thumbnail(device, OBJECT) == b"\xff\xd8 picture"
    assert session.calls == [(Operation.GetThumb, (5,))]


@pytest.mark.parametrize("cut", [0, 3])
async def test_listed_properties(cut: int) -> None:
    """One list has all of them; of another object nothing is taken, and a list that is cut is good up to there."""
    device, session = scripted({Operation.GetObjectPropList: LIST[: len(LIST) - cut]})
    found = await metadata.properties(device, OBJECT)
    assert found == {"ObjectFileName": "a.jpg"} | ({} if cut else {"0xD901": 7})
    assert len(session.calls) == 1


async def test_properties_one_by_one() -> None:
    """Without lists each is asked for; what this object hasn't got is left out."""

    def description(code: int, _format: int) -> bytes:
        kind = DataType.STR if code == Property.ObjectFileName else DataType.UINT32
        return PropertyDescription(
            code, kind, writable=False, default="" if kind is DataType.STR else 0
        ).encode()

    def value(_object: int, code: int) -> Answer:
        if code == Property.ObjectFileName:
            return encode_value(DataType.STR, "a.jpg")
        return Response.ObjectPropNotSupported

    device, _ = scripted(
        {
            Operation.GetObjectPropList: Response.SpecificationByGroupUnsupported,
            Operation.GetObjectInfo: object_info("a.jpg"),
            Operation.GetObjectPropsSupported: encode_integers(
                [Property.ObjectFileName, Property.ObjectSize], 2
            ),
            Operation.GetObjectPropDesc: description,
            Operation.GetObjectPropValue: value,
        }
    )
    assert await metadata.properties(device, OBJECT) == {"ObjectFileName": "a.jpg"}


async def test_object_without_properties() -> None:
    """A camera has an ObjectInfo, whose fields have the standard's names as well."""
    device, _ = scripted({Operation.GetObjectInfo: object_info("a.jpg", 17)})
    found = await metadata.properties(device, OBJECT)
    assert (found["Filename"], found["ObjectCompressedSize"]) == ("a.jpg", 17)


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (b"\x03\0\0\0abc", b"abc"),
        (b"\x03\0\0\0abcde", b"abc"),
        (b"\x04\0\0\0abc", None),
        (b"\0\0\0\0", None),
        (b"", None),
        (Response.ObjectPropNotSupported, None),
        (Response.InvalidObjectPropCode, None),
    ],
)
async def test_sample(answer: Answer, found: bytes | None) -> None:
    """Without GetThumb (Sailfish) a property is the thumbnail, as far as all of it has come."""
    device, session = scripted({Operation.GetObjectPropValue: answer})
    if found is None:
        with pytest.raises(MtpfsError) as error:
            await metadata.thumbnail(device, OBJECT)
        assert error.value.errno == errno.ENODATA
    else:
        assert await metadata.thumbnail(device, OBJECT) == found
    assert session.calls == [(Operation.GetObjectPropValue, (5, 0xDC86))]
