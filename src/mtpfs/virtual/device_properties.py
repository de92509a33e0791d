"""The device properties: battery level, friendly name, synchronization partner, kind of device.

One table says what each property is. The two strings can be written,
as on Android, and live as long as the phone object does.

Invariant: description and value of a property always agree.
"""

from __future__ import annotations

from dataclasses import dataclass

from mtpfs.protocol.codes import DataType, DeviceProperty, Operation, Response
from mtpfs.protocol.wire import Value, Writer, decode_value, encode_value
from mtpfs.virtual.phone import Handlers, Phone, Reply, Request
from mtpfs.virtual.store import Refusal

BATTERY_LEVEL, BATTERY_FULL = 87, 100
MOBILE_HANDSET = 3
_RANGE = 1


@dataclass(frozen=True, slots=True)
class _Setting:
    data_type: DataType
    attribute: str = ""
    """The `Phone` attribute that holds the value; empty for constants."""
    constant: int = 0
    range: tuple[int, int, int] | None = None


_SETTINGS = {
    DeviceProperty.BatteryLevel: _Setting(DataType.UINT8, constant=BATTERY_LEVEL, range=(0, BATTERY_FULL, 1)),
    DeviceProperty.PerceivedDeviceType: _Setting(DataType.UINT32, constant=MOBILE_HANDSET),
    DeviceProperty.DeviceFriendlyName: _Setting(DataType.STR, "friendly_name"),
    DeviceProperty.SynchronizationPartner: _Setting(DataType.STR, "synchronization_partner"),
}


def _setting(code: int) -> _Setting:
    for known, setting in _SETTINGS.items():
        if known == code:
            return setting
    raise Refusal(Response.DevicePropNotSupported)


def _value(phone: Phone, setting: _Setting) -> Value:
    return str(getattr(phone, setting.attribute)) if setting.attribute else setting.constant


def get_device_prop_value(phone: Phone, request: Request) -> Reply:
    """Answer with a property's value."""
    setting = _setting(request.p(1))
    return Reply(data=encode_value(setting.data_type, _value(phone, setting)))


def get_device_prop_desc(phone: Phone, request: Request) -> Reply:
    """Answer with a DevicePropDesc: type, access, default and current value, range."""
    setting = _setting(request.p(1))
    writer = Writer()
    writer.u16(request.p(1))
    writer.u16(setting.data_type)
    writer.u8(bool(setting.attribute))
    writer.value(setting.data_type, "" if setting.attribute else setting.constant)
    writer.value(setting.data_type, _value(phone, setting))
    writer.u8(_RANGE if setting.range else 0)
    for bound in setting.range or ():
        writer.value(setting.data_type, bound)
    return Reply(data=writer.to_bytes())


def set_device_prop_value(phone: Phone, request: Request, data: bytes) -> Reply:
    """Write one of the two strings; all else is DevicePropNotSupported."""
    setting = _setting(request.p(1))
    if not setting.attribute:
        raise Refusal(Response.DevicePropNotSupported)
    setattr(phone, setting.attribute, decode_value(DataType.STR, data))
    return Reply()


def reset_device_prop_value(phone: Phone, request: Request) -> Reply:
    """Make one of the two strings empty."""
    setting = _setting(request.p(1))
    if not setting.attribute:
        raise Refusal(Response.DevicePropNotSupported)
    setattr(phone, setting.attribute, "")
    return Reply()


HANDLERS = Handlers(
    queries={
        Operation.GetDevicePropDesc: (1, get_device_prop_desc),
        Operation.GetDevicePropValue: (1, get_device_prop_value),
        Operation.ResetDevicePropValue: (1, reset_device_prop_value),
    },
    datasets={Operation.SetDevicePropValue: (1, set_device_prop_value)},
)
