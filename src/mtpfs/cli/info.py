"""`mtpfs info`: what one device is, holds and can do, for people and for programs.

A phone that mtpfs has mounted can't be opened a second time. So its mount is
asked, by a file in its root that no listing shows (`mtpfs.fuse.report`). Any other
phone is opened for a moment.

Invariant: with `--json` stdout holds one JSON object and nothing else.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import Any

from mtpfs.cli.command import SOURCES, Parser, add_redact, add_source, ask, default_source, printable
from mtpfs.cli.list import mounted_places, rows
from mtpfs.cli.mounts import is_mounted, report
from mtpfs.errors import UsageError
from mtpfs.redaction import hide_name, hide_serial, redacted
from mtpfs.settings import INFO_NAME, STATISTICS_NAME
from mtpfs.transport.phones import UsbPhone
from mtpfs.transport.source import parse_source


def run(words: list[str]) -> int:
    """Run `mtpfs info`; return its exit status. Raises `SetupError`."""
    parser = Parser(
        prog="mtpfs info",
        usage="mtpfs info [SOURCE|MOUNTPOINT | --source SOURCE] [--json] [--redact]",
        description="Tell what a device is, what it holds and what it can do.",
        epilog=SOURCES,
    )
    parser.add_argument("place", nargs="?", default="", help=argparse.SUPPRESS)
    add_source(parser)
    add_redact(parser)
    parser.add_argument("-J", "--json", action="store_true", help="print JSON")
    chosen = parser.parse(words)
    if chosen.place and chosen.source:
        raise UsageError(f"{chosen.place!r} and --source are two: give one of them")
    facts = _facts(chosen.place or chosen.source or default_source())
    _hide(facts)
    facts = redacted(facts)
    print(json.dumps(facts, indent=2) if chosen.json else as_text(facts))
    return 0


def _facts(text: str) -> dict[str, Any]:
    """Return a `Description` as plain values, and `usb_serial`, which is what the source `serial:` goes by."""
    if is_mounted(text):
        bus, _, place = str(report(text, STATISTICS_NAME)["transport"]).partition(" ")
        there = [phone for phone in _phones() if phone.place == f"bus:{place}"] if bus == "usb" else []
        return report(text, INFO_NAME) | {"usb_serial": there[0].serial if there else ""}
    source = parse_source(text).absolute()
    serial = ""
    if source.kind == "ip":
        if mountpoint := mounted_places().get(source.text):
            return report(mountpoint, INFO_NAME) | {"usb_serial": ""}
    elif source.kind != "virtual":
        from mtpfs.transport.phones import choose  # noqa: PLC0415 - not needed for the virtual phone

        phone = choose(_phones(), source)
        serial = phone.serial
        (row,) = rows([phone])
        if row.mounted_at:
            return report(row.mounted_at, INFO_NAME) | {"usb_serial": serial}
    from mtpfs.device.description import describe  # noqa: PLC0415 - slow to load

    return asdict(ask(source, describe)) | {"usb_serial": serial}


def _phones() -> list[UsbPhone]:
    from mtpfs.transport.usb import find_phones  # noqa: PLC0415 - pyusb is slow to load and may be missing

    return find_phones()


def _hide(facts: dict[str, Any]) -> None:
    """Register what must not be shown with `--redact`: a mount that was asked has it in its own memory."""
    hide_serial(facts["serial"])
    hide_serial(facts["usb_serial"])
    hide_name(facts["friendly_name"])
    for storage in facts["storages"]:
        hide_name(storage["description"])
        hide_name(storage["volume"])


def as_text(facts: dict[str, Any]) -> str:
    """Return a description, as `Description` has it, as lines for people."""
    lines = [facts["name"]]
    for label, key in (
        ("Friendly name", "friendly_name"),
        ("Maker", "manufacturer"),
        ("Model", "model"),
        ("Version", "version"),
        ("Serial", "serial"),
        ("USB serial", "usb_serial"),
        ("Extensions", "extensions"),
    ):
        if facts[key]:
            lines.append(f"  {label + ':':<15} {facts[key]}")
    if facts["battery"] is not None:
        lines.append(f"  {'Battery:':<15} {facts['battery']} %")
    lines.append("Storages")
    lines += [f"  {_storage(storage)}" for storage in facts["storages"]] or [
        "  none: the phone is locked, or asks whether to allow access"
    ]
    lines.append("Capabilities")
    lines += [f"  {'yes' if has else 'no':<4} {what}" for what, has in facts["capabilities"].items()]
    lines.append("Quirks")
    lines += [f"  {quirk}" for quirk in facts["quirks"]] or ["  none"]
    lines.append("Learned")
    lines += [f"  {subject}: {what}" for subject, what in facts["learned"].items()] or ["  nothing yet"]
    return "\n".join(map(printable, lines))


def _storage(storage: dict[str, Any]) -> str:
    name = storage["description"] or storage["volume"] or f"storage {storage['id']:08x}"
    notes = [f"{_size(storage['free'])} free of {_size(storage['capacity'])}"]
    if storage["removable"]:
        notes.append("removable")
    if not storage["writable"]:
        notes.append("read-only")
    return f"{name}: {', '.join(notes)}"


def _size(count: int) -> str:
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.4g} {unit}"
        size /= 1024
    return f"{size:.4g} TiB"
