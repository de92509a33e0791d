"""`mtpfs stats`: what a running mount has done so far, for people and for programs.

The mount itself tells, by a file in its root that no listing shows
(`mtpfs.fuse.report`).

Invariant: the device isn't asked for anything.
"""

from __future__ import annotations

import json
from typing import Any

from mtpfs.cli.command import Parser, add_redact, printable
from mtpfs.cli.mounts import report
from mtpfs.redaction import redacted
from mtpfs.settings import STATISTICS_NAME


def run(words: list[str]) -> int:
    """Run `mtpfs stats`; return its exit status. Raises `SetupError`."""
    parser = Parser(prog="mtpfs stats", description="Show what a mount has done so far.")
    parser.add_argument("mountpoint", metavar="MOUNTPOINT")
    add_redact(parser)
    parser.add_argument("-J", "--json", action="store_true", help="print JSON")
    chosen = parser.parse(words)
    found = report(chosen.mountpoint, STATISTICS_NAME)
    found = redacted(found)
    print(as_json(found) if chosen.json else as_text(found))
    return 0


def as_json(found: dict[str, Any]) -> str:
    return json.dumps(found, indent=2)


def as_text(found: dict[str, Any]) -> str:
    """Return the statistics as a table of name and value."""
    session, cache = found["session"], found["cache"]
    rows = [
        ("device", found["device"]),
        ("transactions", session["transactions"]),
        *((f"  {name}", count) for name, count in sorted(session["operations"].items())),
        ("bytes received", session["bytes_in"]),
        ("bytes sent", session["bytes_out"]),
        ("waiting now", session["queued"]),
        ("waits, metadata", _waits(session["metadata_waits"])),
        ("waits, bulk", _waits(session["bulk_waits"])),
        ("recoveries", session["recoveries"]),
        ("listings", f"{cache['listings_fetched']} fetched, {cache['listings_cached']} known"),
        ("windows", f"{cache['windows_fetched']} fetched, {cache['window_bytes']} bytes kept"),
        ("reads", f"{cache['window_hits']} from windows, {cache['window_misses']} had to start one"),
        ("nodes", cache["nodes"]),
    ]
    width = max(len(name) for name, _ in rows)
    return "\n".join(printable(f"{name:<{width}}  {value}") for name, value in rows)


def _waits(waits: dict[str, float]) -> str:
    mean, p99, longest = (f"{1000 * waits[key]:.1f}" for key in ("mean", "p99", "longest"))
    return f"{waits['count']:.0f}, mean {mean} ms, 99 % below {p99} ms, longest {longest} ms"
