"""`mtpfs list`: the phones on the bus, for people and for programs.

Everything comes from descriptors, sysfs and /proc. So no device is
opened, and no program that holds one is disturbed.

Invariant: with `--json` stdout holds one JSON object and nothing else.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from mtpfs.cli.command import Parser, add_redact, printable
from mtpfs.cli.mounts import KIND, is_dead, mounts, report
from mtpfs.errors import SetupError
from mtpfs.redaction import redact, redacted
from mtpfs.settings import STATISTICS_NAME
from mtpfs.transport.holders import find_holders
from mtpfs.transport.phones import UsbPhone


def run(words: list[str]) -> int:
    """Run `mtpfs list`; return its exit status. Raises `SetupError`."""
    parser = Parser(
        prog="mtpfs list",
        usage="mtpfs list [--json] [--redact]",
        description="List the MTP devices on the bus.",
    )
    add_redact(parser)
    parser.add_argument("-J", "--json", action="store_true", help="print JSON")
    chosen = parser.parse(words)
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
    """Return the mountpoints of mtpfs by `bus:BBB,DDD`; of mounts that we may not ask, by their fsname."""
    places = {}
    for target, kind, source in mounts():
        if kind != KIND or is_dead(target):
            continue
        try:
            bus, _, place = str(report(target, STATISTICS_NAME)["transport"]).partition(" ")
        except SetupError:
            places[source] = target
        else:
            places[f"bus:{place}" if bus == "usb" else source] = target
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
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
