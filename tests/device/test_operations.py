"""What a device advertises, and what takes it back."""

from __future__ import annotations

import errno

import pytest

from device.scripted import handle, scripted
from mtpfs.device import Device, Rank, reading
from mtpfs.errors import FsError, ResponseError
from mtpfs.protocol.codes import Operation, Response


async def refused(device: Device, operation: int, number: int) -> None:
    with pytest.raises(ResponseError) as caught:
        await device.call(operation, handle(number))
    assert caught.value.code == Response.OperationNotSupported


async def test_one_object_is_no_proof() -> None:
    """However often one object is refused, the operation stays for all others."""
    device, _ = scripted({}, lists=[Operation.DeleteObject])
    for _ in range(10):
        await refused(device, Operation.DeleteObject, 1)
    assert device.supports(Operation.DeleteObject)


async def test_several_objects_are() -> None:
    """Refused for three objects and never done, an operation is gone, and asked for no more."""
    device, session = scripted({}, lists=[Operation.SetObjectPropValue])
    for number in (1, 2, 3):
        assert device.can_rename
        await refused(device, Operation.SetObjectPropValue, number)
    assert not device.can_rename
    with pytest.raises(FsError) as caught:
        await device.call(Operation.SetObjectPropValue, handle(4))
    assert caught.value.errno == errno.EOPNOTSUPP
    assert len(session.calls) == 3


async def test_what_worked_once_stays() -> None:
    """An operation that the device has done is never withdrawn by refusals."""
    device, _ = scripted({Operation.DeleteObject: [Response.OK, Response.OperationNotSupported]})
    await device.call(Operation.DeleteObject, handle(1))
    for number in range(2, 10):
        await refused(device, Operation.DeleteObject, number)
    assert device.supports(Operation.DeleteObject)


async def test_what_is_about_no_object_goes_at_once() -> None:
    """A refusal that no object can be the reason of is final."""
    device, _ = scripted({}, lists=[Operation.GetObjectPropDesc])
    with pytest.raises(ResponseError):
        await device.call(Operation.GetObjectPropDesc, 0xDC09, 0x3000)
    assert not device.supports(Operation.GetObjectPropDesc)


async def test_partial_reads_fall_back_per_object() -> None:
    """An object that wide reads are refused for is read by narrow ones; others are asked for wide ones again."""

    def wide(number: int, *_: int) -> bytes | Response:
        return Response.OperationNotSupported if number == 1 else b"wide"

    device, _ = scripted({Operation.GetPartialObject64: wide, Operation.GetPartialObject: b"slim"})
    assert bytes(await reading.read(device, handle(1), 0, 4, 4, rank=Rank.BULK)) == b"slim"
    assert bytes(await reading.read(device, handle(2), 0, 4, 4, rank=Rank.BULK)) == b"wide"


async def test_edit_operations_that_are_missing() -> None:
    """A Sony Xperia's edits are refused file by file, and not offered any more after the third."""
    device, _ = scripted(
        {},
        lists=[
            Operation.BeginEditObject,
            Operation.EndEditObject,
            Operation.SendPartialObject,
            Operation.TruncateObject,
        ],
    )
    for number in (1, 2, 3):
        assert device.can_edit
        await refused(device, Operation.BeginEditObject, number)
    assert not device.can_edit
