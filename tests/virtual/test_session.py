"""Session, device, storages, device properties."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mtpfs.protocol.codes import (
    ALL,
    ROOT_PARENT,
    AccessCapability,
    DeviceProperty,
    Event,
    Operation,
    Response,
)
from mtpfs.protocol.datasets import DeviceInfo, StorageInfo
from mtpfs.protocol.wire import Reader, decode_integers, decode_value, encode_value
from virtual.conftest import Connect
from virtual.initiator import CARD, INTERNAL


def test_device_info_without_a_session(connect: Connect) -> None:
    """AOSP answers it at any time."""
    phone = connect("serial=S1&model=M")
    assert phone.do(Operation.CloseSession).ok
    info = DeviceInfo.decode(phone.get(Operation.GetDeviceInfo))
    assert (info.serial_number, info.model, info.manufacturer) == ("S1", "M", "mtpfs")
    assert info.vendor_extension_desc == "microsoft.com: 1.0; android.com: 1.0;"
    assert info.operations_supported == phone.transport.responder.capabilities.operations
    assert Event.ObjectInfoChanged in info.events_supported


def test_samsung(connect: Connect) -> None:
    """No android.com, and an extension without a minor version."""
    info = DeviceInfo.decode(connect("samsung").get(Operation.GetDeviceInfo))
    assert "android.com" not in info.vendor_extension_desc
    assert info.vendor_extension_desc.endswith("samsung.com/devicestatus: 1;")


def test_opening_twice(connect: Connect) -> None:
    """The open session's id comes with the refusal."""
    phone = connect()
    answer = phone.do(Operation.OpenSession, 7)
    assert (answer.code, answer.parameters) == (Response.SessionAlreadyOpen, (1,))


@pytest.mark.parametrize(
    ("operation", "parameters"),
    [
        (Operation.GetStorageIDs, ()),
        (Operation.GetStorageInfo, (INTERNAL,)),
        (Operation.GetObjectHandles, (INTERNAL, 0, ROOT_PARENT)),
        (Operation.GetNumObjects, (INTERNAL, 0, ROOT_PARENT)),
        (Operation.GetObjectPropsSupported, (0x3000,)),
        (Operation.CloseSession, ()),
    ],
)
def test_what_needs_a_session(connect: Connect, operation: int, parameters: tuple[int, ...]) -> None:
    phone = connect()
    assert phone.do(Operation.CloseSession).ok
    assert phone.do(operation, *parameters).code == Response.SessionNotOpen


def test_handles_survive_the_session(connect: Connect, root: Path) -> None:
    """They live as long as the phone's MTP service."""
    (root / "a").touch()
    phone = connect()
    (handle,) = phone.handles()
    assert phone.do(Operation.CloseSession).ok
    phone.open()
    assert phone.info(handle).filename == "a"


@pytest.mark.parametrize(
    ("operation", "parameters"),
    [
        (Operation.GetObjectHandles, (INTERNAL, 0)),
        (Operation.GetObjectInfo, ()),
        (Operation.GetPartialObject64, (1, 0, 0)),
        (Operation.GetObjectPropList, (0, 0, ALL, 0)),
        (Operation.MoveObject, (1, INTERNAL)),
        (Operation.TruncateObject, (1, 0)),
    ],
)
def test_missing_parameters(connect: Connect, operation: int, parameters: tuple[int, ...]) -> None:
    """Trailing zeros may be omitted, says the standard; AOSP counts."""
    assert connect().do(operation, *parameters).code == Response.InvalidParameter


def test_unknown_operation(connect: Connect) -> None:
    phone = connect("no-move")
    assert phone.do(0x9999).code == Response.OperationNotSupported
    assert phone.do(Operation.MoveObject, 1, INTERNAL, 0).code == Response.OperationNotSupported
    assert phone.do(Operation.SetObjectPropList, send=b"\0\0\0\0").code == Response.OperationNotSupported
    phone.handles()


def test_storage_info(connect: Connect, root: Path) -> None:
    """Capacity and free space are those of the directory's filesystem."""
    phone = connect()
    assert decode_integers(phone.get(Operation.GetStorageIDs)) == (INTERNAL,)
    info = StorageInfo.decode(phone.get(Operation.GetStorageInfo, INTERNAL))
    numbers = os.statvfs(root)
    assert info.max_capacity == numbers.f_blocks * numbers.f_frsize
    assert 0 < info.free_space_in_bytes <= info.max_capacity
    assert info.storage_description == "Internal shared storage"
    assert info.access_capability == AccessCapability.READ_WRITE
    assert phone.do(Operation.GetStorageInfo, CARD).code == Response.InvalidStorageID


def test_two_storages(connect: Connect, root: Path) -> None:
    """The second one is removable, and has its own objects."""
    phone = connect("storages=2")
    assert decode_integers(phone.get(Operation.GetStorageIDs)) == (INTERNAL, CARD)
    (root / "SD card" / "song.mp3").touch()
    assert StorageInfo.decode(phone.get(Operation.GetStorageInfo, CARD)).storage_description == "SD card"
    assert phone.handles() == []
    assert [phone.info(handle).storage_id for handle in phone.handles(storage=CARD)] == [CARD]
    assert len(phone.handles(storage=ALL)) == 1


def test_given_capacity(connect: Connect, root: Path) -> None:
    """A small phone on a large disk."""
    (root / "a").write_bytes(bytes(300))
    info = StorageInfo.decode(connect("capacity=1000").get(Operation.GetStorageInfo, INTERNAL))
    assert (info.max_capacity, info.free_space_in_bytes) == (1000, 700)


def test_read_only(connect: Connect) -> None:
    info = StorageInfo.decode(connect("read-only").get(Operation.GetStorageInfo, INTERNAL))
    assert info.access_capability == AccessCapability.READ_ONLY_WITHOUT_DELETE


def test_locked_until_unlocked(connect: Connect, root: Path) -> None:
    """No storages, no objects; then all of them, with an event."""
    (root / "a").touch()
    phone = connect("locked")
    assert decode_integers(phone.get(Operation.GetStorageIDs)) == ()
    assert phone.do(Operation.GetObjectHandles, ALL, 0, ROOT_PARENT).code == Response.InvalidStorageID
    assert phone.do(Operation.GetObjectInfo, 1).code == Response.InvalidObjectHandle
    phone.transport.set_locked(False)
    assert phone.events() == [(Event.StoreAdded, INTERNAL)]
    (handle,) = phone.handles()
    phone.transport.set_locked(True)
    phone.transport.set_locked(True)
    assert phone.events() == [(Event.StoreRemoved, INTERNAL)]
    assert phone.do(Operation.GetObjectInfo, handle).code == Response.InvalidObjectHandle


def test_battery(connect: Connect) -> None:
    """Value, and the range that gives it a scale."""
    phone = connect()
    code = DeviceProperty.BatteryLevel
    assert decode_value(2, phone.get(Operation.GetDevicePropValue, code)) == 87
    reader = Reader(phone.get(Operation.GetDevicePropDesc, code))
    assert (reader.u16(), reader.u16(), reader.u8()) == (code, 2, 0)
    assert [reader.u8() for _ in range(reader.remaining)] == [87, 87, 1, 0, 100, 1]
    assert phone.do(Operation.SetDevicePropValue, code, send=b"\1").code == Response.DevicePropNotSupported


def test_friendly_name(connect: Connect) -> None:
    """Can be written and reset."""
    phone = connect("model=M")
    code = DeviceProperty.DeviceFriendlyName
    assert decode_value(0xFFFF, phone.get(Operation.GetDevicePropValue, code)) == "M"
    assert phone.do(Operation.SetDevicePropValue, code, send=encode_value(0xFFFF, "Telefon")).ok
    assert decode_value(0xFFFF, phone.get(Operation.GetDevicePropValue, code)) == "Telefon"
    reader = Reader(phone.get(Operation.GetDevicePropDesc, code))
    assert (reader.u16(), reader.u16(), reader.u8()) == (code, 0xFFFF, 1)
    assert (reader.string(), reader.string(), reader.u8()) == ("", "Telefon", 0)
    assert phone.do(Operation.ResetDevicePropValue, code).ok
    assert decode_value(0xFFFF, phone.get(Operation.GetDevicePropValue, code)) == ""


@pytest.mark.parametrize("operation", [Operation.GetDevicePropDesc, Operation.GetDevicePropValue])
def test_unknown_device_property(connect: Connect, operation: int) -> None:
    assert connect().do(operation, DeviceProperty.DateTime).code == Response.DevicePropNotSupported
