"""A device in words and numbers: what `mtpfs info` and `mtpfs doctor` tell of it.

Strategy: DeviceInfo is known already; storages cost a transaction each, and the
two properties that people care for (battery, friendly name) are asked for only
where the device lists them. A property that it lists and then refuses is left out.

Invariant: describing changes nothing, neither on the device nor in `Device`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from mtpfs.device.device import Device, Storage
from mtpfs.errors import ProtocolError, ResponseError
from mtpfs.protocol.codes import DeviceProperty, Operation
from mtpfs.protocol.wire import Reader

_RANGE_FORM = 1


@dataclass(frozen=True, slots=True)
class Description:
    """What a device is and can do. Texts are empty, numbers None where it doesn't say."""

    name: str
    manufacturer: str
    model: str
    version: str
    serial: str
    friendly_name: str
    extensions: str
    battery: int | None
    """Percent."""
    storages: tuple[Storage, ...]
    capabilities: dict[str, bool]
    """By what they are good for; see `_capabilities`."""
    quirks: tuple[str, ...]
    """Names of the fields of `Quirks` that apply."""


async def describe(device: Device) -> Description:
    """Ask the device what it is. Raises `TransportError`, and `ResponseError` if it shows no storages at all."""
    info = device.info
    return Description(
        name=device.name,
        manufacturer=info.manufacturer.strip(),
        model=info.model.strip(),
        version=info.device_version.strip(),
        serial=info.serial_number.strip(),
        friendly_name=str(await _property(device, DeviceProperty.DeviceFriendlyName) or ""),
        extensions=info.vendor_extension_desc.strip(),
        battery=_percent(await _property(device, DeviceProperty.BatteryLevel)),
        storages=tuple(await device.storages()),
        capabilities=_capabilities(device),
        quirks=tuple(
            field.name for field in fields(device.quirks) if getattr(device.quirks, field.name) is True
        ),
    )


def _capabilities(device: Device) -> dict[str, bool]:
    return {
        "write": device.supports(Operation.SendObjectInfo, Operation.SendObject),
        "edit in place": device.can_edit,
        "read ranges": device.supports(Operation.GetPartialObject64)
        or device.supports(Operation.GetPartialObject),
        "read ranges beyond 4 GiB": device.supports(Operation.GetPartialObject64),
        "list by property lists": device.supports(Operation.GetObjectPropList),
        "rename": device.can_rename,
        "move": device.supports(Operation.MoveObject),
        "delete": device.supports(Operation.DeleteObject),
        "announce changes": device.sends_events,
    }


async def _property(device: Device, code: int) -> str | float | None:
    """Return a property's current value; levels as a fraction of their range. None: the device has none."""
    if code not in device.info.device_properties_supported:
        return None
    try:
        reader = Reader((await device.call(Operation.GetDevicePropDesc, code)).data)
        _, data_type, _ = reader.u16(), reader.u16(), reader.u8()
        _, current = reader.value(data_type), reader.value(data_type)
        if isinstance(current, str):
            return current
        if not isinstance(current, int) or reader.u8() != _RANGE_FORM:
            return None
        low, high = reader.value(data_type), reader.value(data_type)
    except (ResponseError, ProtocolError):
        return None  # listed and refused: Android does that where the system gives no battery state
    if not isinstance(low, int) or not isinstance(high, int) or high <= low:
        return None
    return (current - low) / (high - low)


def _percent(level: str | float | None) -> int | None:
    return round(100 * level) if isinstance(level, float) and 0 <= level <= 1 else None
