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
from pathlib import Path

from mtpfs.errors import SetupError, UsageError
from mtpfs.redaction import hide_serial

KINDS = "any, serial:SERIAL, usb:VVVV:PPPP, bus:BBB,DDD, /sys/DEVICE, virtual:DIR"
SYSFS = "/sys/"


@dataclass(frozen=True, slots=True)
class Source:
    """A parsed source; only the fields of its kind are set."""

    kind: str
    """`any`, `serial`, `usb`, `bus` or `virtual`."""
    text: str
    serial: str = ""
    vendor_id: int = 0
    product_id: int = 0
    bus: int = 0
    address: int = 0
    argument: str = ""

    def absolute(self) -> Source:
        """Return it with a virtual phone's directory absolute: a daemon has another working directory."""
        if self.kind != "virtual":
            return self
        return replace(self, argument=os.path.join(os.getcwd(), self.argument))  # noqa: PTH109, PTH118


def parse_source(text: str) -> Source:
    """Parse `any`, `serial:S`, `usb:VVVV:PPPP`, `bus:BBB,DDD`, `/sys/...` or `virtual:DIR`.

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
    if kind == "virtual" and argument:
        return Source("virtual", text, argument=argument)
    raise UsageError(f"no such source: {text!r}; possible are: {KINDS}")


def _place(directory: Path) -> str:
    """Return the `bus:` word of a USB device's directory in sysfs."""
    try:
        bus, address = (int((directory / name).read_text()) for name in ("busnum", "devnum"))
    except (OSError, ValueError) as error:
        raise SetupError(f"{directory} isn't a USB device, or not any more") from error
    return f"bus:{bus:03},{address:03}"
