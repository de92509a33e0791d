"""Which phone is meant: the SOURCE word of the command line and of fstab.

It is one small grammar, `kind:argument`. It avoids what mount(8) and systemd take for themselves (`LABEL=`, `UUID=`,
anything below `/dev`). udev and systemd know a device by its directory in sysfs. Such a path is read at once as the
device's place on the bus.

Invariant: a `Source` that was parsed is complete; whether its device exists is another question.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from ipaddress import IPv6Address
from pathlib import Path

from mtpfs.errors import SetupError, UsageError
from mtpfs.protocol.ptpip import PORT
from mtpfs.redaction import hide_serial

KINDS = "any, serial:SERIAL, usb:VVVV:PPPP, bus:BBB,DDD, /sys/DEVICE, ip:HOST[:PORT], virtual:DIR"
SYSFS = "/sys/"
_HOST = re.compile(r"(?P<host>\[[^\[\]]+\]|[0-9a-zA-Z][0-9a-zA-Z._-]{0,252})(:(?P<port>[0-9]{1,5}))?")
_ZONE = re.compile(r"[\w.-]+", re.ASCII)  # a network interface, behind a link-local address


@dataclass(frozen=True, slots=True)
class Source:
    """A parsed source; only the fields of its kind are set."""

    kind: str
    """`any`, `serial`, `usb`, `bus`, `ip` or `virtual`."""
    text: str
    """Of `ip` there is one spelling, so that sources can be compared."""
    serial: str = ""
    vendor_id: int = 0
    product_id: int = 0
    bus: int = 0
    address: int = 0
    host: str = ""
    """A name or an address, without the brackets of IPv6."""
    port: int = 0
    argument: str = ""

    def absolute(self) -> Source:
        """Return it with a virtual phone's directory absolute: a daemon has another working directory."""
        if self.kind != "virtual":
            return self
        return replace(self, argument=os.path.join(os.getcwd(), self.argument))  # noqa: PTH109, PTH118


def parse_source(text: str) -> Source:
    """Parse `any`, `serial:S`, `usb:VVVV:PPPP`, `bus:BBB,DDD`, `/sys/...`, `ip:HOST[:PORT]` or `virtual:DIR`.

    Raises `UsageError` naming what isn't one of them, `SetupError` for what isn't a USB device in sysfs.
    """
    if text.startswith(SYSFS):
        text = _place(Path(text))
    kind, _, argument = text.partition(":")
    if text in {"any", ""}:
        return Source("any", "any")
    if kind == "serial" and argument:
        hide_serial(argument)
        return Source("serial", text, serial=argument)
    if kind == "usb" and (ids := re.fullmatch(r"([0-9a-fA-F]{4}):([0-9a-fA-F]{4})", argument)):
        return Source("usb", text, vendor_id=int(ids[1], 16), product_id=int(ids[2], 16))
    if kind == "bus" and (place := re.fullmatch(r"(\d{1,3}),(\d{1,3})", argument)):
        return Source("bus", text, bus=int(place[1]), address=int(place[2]))
    if kind == "ip" and (where := _network_place(argument)):
        return ip_source(*where)
    if kind == "virtual" and argument:
        return Source("virtual", text, argument=argument)
    raise UsageError(f"no such source: {text!r}; possible are: {KINDS}")


def ip_source(host: str, port: int) -> Source:
    """Return the source of what answers at a port; `host` is a name or an address, without brackets."""
    shown = f"[{host}]" if ":" in host else host
    return Source("ip", f"ip:{shown}{'' if port == PORT else f':{port}'}", host=host, port=port)


def _network_place(text: str) -> tuple[str, int] | None:
    found = _HOST.fullmatch(text)
    if not found:
        return None
    host, port = found["host"], int(found["port"] or PORT)
    if host.startswith("["):
        address, percent, zone = host[1:-1].partition("%")
        try:
            host = str(IPv6Address(address)) + percent + zone
        except ValueError:
            return None
        if percent and not _ZONE.fullmatch(zone):
            return None
    return (host.lower() if ":" not in host else host, port) if 0 < port < 1 << 16 else None


def _place(directory: Path) -> str:
    """Return the `bus:` word of a USB device's directory in sysfs."""
    try:
        bus, address = (int((directory / name).read_text()) for name in ("busnum", "devnum"))
    except (OSError, ValueError) as error:
        raise SetupError(f"{directory} isn't a USB device, or not any more") from error
    return f"bus:{bus:03},{address:03}"
