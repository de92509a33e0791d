"""A device in words and numbers: what `mtpfs info` and `mtpfs doctor` tell of it.

DeviceInfo is known already. Storages cost a transaction each. The two properties that people care for (battery,
friendly name) are asked for only where the device lists them. A property that it lists and then refuses is left out.

What was learned of the device since it was opened stands beside what it says of itself, because a bug report needs
both.

Invariant: describing changes nothing, neither on the device nor in `Device`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from mtpfs.device.device import Device
from mtpfs.device.objects import Storage
from mtpfs.errors import ProtocolError, ResponseError, name_of
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
    learned: dict[str, str]
    """What was found out by using the device, in plain words; see `learned`."""


async def describe(device: Device) -> Description:
    """Ask the device what it is.

    Raises `ResponseError` if it shows no storages at all, `TransportError`, and `ProtocolError`.
    """
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
        learned=learned(device),
    )


def learned(device: Device) -> dict[str, str]:
    """Return what using the device has shown, subject by subject. Asks nothing; empty while nothing is known."""
    found: dict[str, str] = {}
    for code, reason in device.operations.withdrawn.items():
        found[name_of(Operation, code)] = f"not used: {reason}"
    if device.room.caught:
        found["sizes"] = f"caught answering OK with less than it was sent, {device.room.caught} times"
    elif device.stale_sizes:
        found["sizes"] = "told late after a file has changed"
    if device.recent.deletions_undone:
        found["deletion"] = f"answered OK and not done, {device.recent.deletions_undone} times"
    if device.dates_in_lists is not None:
        found["dates in lists"] = (
            "as good as any" if device.dates_in_lists else "false; ObjectInfo tells them"
        )
    if device.keeps_dates is not None:
        found["dates of uploads"] = "kept" if device.keeps_dates else "not kept"
    if device.dates_writable is not None:
        found["dates of existing files"] = "can be set" if device.dates_writable else "can't be set"
    if device.zone is not None:
        found["time zone"] = str(device.zone)
    if device.wide_object_info:
        found["ObjectInfo"] = "with 64-bit sizes"
    for storage_id, folds in device.folding_learned.items():
        found[f"letter case on 0x{storage_id:08X}"] = "folded" if folds else "told apart"
    if altered := sorted({kind for (_, kind), kept in device.spelling.items() if not kept}):
        found["names"] = f"stored as others: {', '.join(map(repr, altered))}"
    if device.formats_refused:
        refused = ", ".join(f"0x{code:04X}" for code in sorted(device.formats_refused))
        found["object formats"] = f"listed and refused: {refused}"
    if device.untrusted:
        found["storages"] = "one is listed that isn't described"
    for storage in device.room.unknown:
        found[f"free room of 0x{storage:08X}"] = "not told in a way that can be believed"
    return found


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
