"""`mtpfs list`: the phones on the bus, or the cameras in the network, for people and for programs.

Everything comes from descriptors, sysfs and /proc. So no device is
opened, and no program that holds one is disturbed. What is in the network
`avahi-browse` knows (`mtpfs.cli.network`).

Invariant: with `--json` stdout holds one JSON object and nothing else.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from mtpfs.cli.command import Parser, add_redact, printable
from mtpfs.cli.mounts import KIND, is_dead, mounts, report
from mtpfs.cli.network import Camera, find_cameras
from mtpfs.errors import SetupError
from mtpfs.redaction import redact, redacted
from mtpfs.settings import STATISTICS_NAME
from mtpfs.transport.holders import find_holders
from mtpfs.transport.phones import UsbPhone


def run(words: list[str]) -> int:
    """Run `mtpfs list`; return its exit status. Raises `SetupError`."""
    parser = Parser(
        prog="mtpfs list",
        usage="mtpfs list [--network] [--json] [--redact]",
        description="List the MTP devices on the bus, or the cameras in the network.",
    )
    add_redact(parser)
    parser.add_argument("-J", "--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--network", action="store_true", help="list cameras in the network (avahi-browse) instead"
    )
    chosen = parser.parse(words)
    if chosen.network:
        cameras, mounted = find_cameras(), mounted_places()
        print(cameras_as_json(cameras, mounted) if chosen.json else cameras_as_table(cameras, mounted))
        return 0
    from mtpfs.transport.usb import find_phones  # noqa: PLC0415 - pyusb is slow to load and may be missing

    found = rows(find_phones())
    print(as_json(found) if chosen.json else as_table(found))
    return 0


@dataclass(frozen=True, slots=True)
class Row:
    """What `list` tells of one phone."""

    phone: UsbPhone
    held_by: str
    mounted_at: str


def rows(phones: list[UsbPhone]) -> list[Row]:
    """Look up who holds the phones and where mtpfs has mounted them."""
    mounted = mounted_places()
    return [
        Row(
            phone,
            ", ".join(str(holder) for holder in find_holders(phone.node)),
            next((mounted[key] for key in (phone.place, phone.source, phone.name) if key in mounted), ""),
        )
        for phone in phones
    ]


def mounted_places() -> dict[str, str]:
    """Return the mountpoints of mtpfs by `bus:BBB,DDD` or `ip:HOST`; of mounts that we may not ask, by their fsname."""
    places = {}
    for target, kind, source in mounts():
        if kind != KIND or is_dead(target):
            continue
        try:
            transport = str(report(target, STATISTICS_NAME)["transport"])
        except SetupError:
            places[source] = target
        else:
            bus, _, place = transport.partition(" ")
            places[f"bus:{place}" if bus == "usb" else transport] = target
    return places


def as_json(found: list[Row]) -> str:
    return json.dumps(
        redacted(
            {
                "devices": [
                    {
                        "source": row.phone.source,
                        "bus": row.phone.bus,
                        "address": row.phone.address,
                        "vendor_id": f"{row.phone.vendor_id:04x}",
                        "product_id": f"{row.phone.product_id:04x}",
                        "manufacturer": row.phone.manufacturer,
                        "product": row.phone.product,
                        "serial": row.phone.serial,
                        "held_by": row.held_by,
                        "mounted_at": row.mounted_at,
                    }
                    for row in found
                ]
            }
        ),
        indent=2,
    )


def as_table(found: list[Row]) -> str:
    if not found:
        return "No MTP device found."
    head = ("BUS", "ID", "NAME", "SOURCE", "HELD BY", "MOUNTED AT")
    lines = [
        head,
        *(
            tuple(
                printable(redact(cell))
                for cell in (
                    f"{row.phone.bus:03},{row.phone.address:03}",
                    f"{row.phone.vendor_id:04x}:{row.phone.product_id:04x}",
                    row.phone.name,
                    row.phone.source,
                    row.held_by or "-",
                    row.mounted_at or "-",
                )
            )
            for row in found
        ),
    ]
    return _table(lines)


def cameras_as_json(cameras: list[Camera], mounted: dict[str, str]) -> str:
    return json.dumps(
        redacted(
            {
                "cameras": [
                    {
                        "source": camera.source.text,
                        "host": camera.source.host,
                        "port": camera.source.port,
                        "name": camera.name,
                        "mounted_at": mounted.get(camera.source.text, ""),
                    }
                    for camera in cameras
                ]
            }
        ),
        indent=2,
    )


def cameras_as_table(cameras: list[Camera], mounted: dict[str, str]) -> str:
    if not cameras:
        return "No camera announces PTP/IP in the network. Many do only while their Wi-Fi function for computers is on."
    head = ("NAME", "SOURCE", "MOUNTED AT")
    rows = [
        (camera.name or "-", camera.source.text, mounted.get(camera.source.text, "-")) for camera in cameras
    ]
    return _table([head, *(tuple(printable(redact(cell)) for cell in row) for row in rows)])


def _table(lines: list[tuple[str, ...]]) -> str:
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
