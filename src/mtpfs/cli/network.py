"""Cameras in the network that announce PTP/IP, as `avahi-browse` knows them.

Any machine in the network can announce anything, under any name. So each line is taken apart strictly, and what isn't
a service of ours with an address is passed over. Names are text like a device's own: they are escaped where they are
shown.

Invariant: the program ends in finite time, and what it says is bounded.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from mtpfs.cli.command import printable
from mtpfs.errors import MachineError, SetupError
from mtpfs.redaction import hide_name
from mtpfs.transport.source import Source, ip_source

SERVICE = "_ptp._tcp"
PATIENCE = 15  # seconds
LONGEST_OUTPUT = 1 << 20  # bytes
MOST = 256  # cameras
_ESCAPED = re.compile(rb"\\([0-9]{3}|.)")


@dataclass(frozen=True, slots=True)
class Camera:
    """A camera, or what says that it is one."""

    name: str
    source: Source


def find_cameras() -> list[Camera]:
    """Ask for some seconds what is announced. Raises `SetupError`."""
    words = ["avahi-browse", "-ptr", SERVICE]
    try:
        done = subprocess.run(words, check=False, capture_output=True, timeout=PATIENCE)
    except FileNotFoundError as error:
        raise MachineError("avahi-browse isn't installed: `apt install avahi-utils` brings it") from error
    except subprocess.TimeoutExpired as error:
        raise SetupError(f"avahi-browse didn't end within {PATIENCE} s") from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()
        raise SetupError(
            f"avahi-browse failed: {printable(said) or f'status {done.returncode}'}. Does avahi-daemon run?"
        )
    return parse(done.stdout[:LONGEST_OUTPUT])


def parse(output: bytes) -> list[Camera]:
    """Return the cameras in the output of `avahi-browse -pr`; of one that has several addresses, the first IPv4 one."""
    found: dict[bytes, Camera] = {}
    for line in output.splitlines():
        fields = line.split(b";", 9)
        if len(fields) < 9 or fields[0] != b"=" or fields[4] != SERVICE.encode():
            continue
        interface, name, address, port = (fields[i] for i in (1, 3, 7, 8))
        source = _source(address.decode(errors="replace"), port, interface.decode(errors="replace"))
        known = found.get(name)
        if source is None or (known is None and len(found) == MOST):
            continue
        if known is None or (":" in known.source.host and ":" not in source.host):
            text = _ESCAPED.sub(_unescape, name).decode(errors="replace")
            hide_name(text)
            found[name] = Camera(text, source)
    return sorted(found.values(), key=lambda camera: (camera.name, camera.source.text))


def _source(address: str, port: bytes, interface: str) -> Source | None:
    """Return the source of an address; None if it isn't one."""
    try:
        place: IPv4Address | IPv6Address = ip_address(address)
    except ValueError:
        return None
    if not re.fullmatch(rb"[0-9]{1,5}", port) or not 0 < int(port) < 1 << 16:
        return None
    if place.version == 6 and place.is_link_local and "%" not in address:
        if not re.fullmatch(r"[\w.-]+", interface, re.ASCII):
            return None
        address = f"{address}%{interface}"
    elif "%" in address:
        return None
    return ip_source(address, int(port))


def _unescape(found: re.Match[bytes]) -> bytes:
    r"""Return what `\032` or `\.` stands for."""
    code = found[1]
    return bytes([int(code)]) if len(code) == 3 and int(code) < 256 else code
