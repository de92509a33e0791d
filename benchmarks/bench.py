"""Measures mtpfs beside the others, and writes results.md and results.svg. `bench.py [--lab|--local] [DIR]`

`--lab`: only what needs a USB bus of software; for any kernel that has dummy_hcd and FunctionFS.
`--local`: only what needs neither. DIR is where the results go (default: here).
`--rounds N`: measure everything so often, in turns; the median counts, if the rounds agree.
`--divisor N`: files N times smaller than 200 MiB and 1 GiB, for an emulated machine.
`--alone`: leave the others out, who take ten times as long.
`--commands`: only the commands that need no mount, beside aft-mtp-cli.
`--fast`: only a phone that is as fast as its link, at high or super speed, whichever the bus has.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TOP / "tests"))

import bus  # noqa: E402
import commands  # noqa: E402
import fast  # noqa: E402
import local  # noqa: E402
import meanwhile  # noqa: E402
import report  # noqa: E402


def say(words: str) -> None:
    print(words, flush=True)


def over_usb(rounds: int, *, alone: bool) -> tuple[str, str]:
    """Return the table and the picture."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        base = Path(name)
        # A disk's cache would take it as fast; an emulated disk, or another machine's file tree, doesn't.
        os.environ["TMPDIR"] = name
        bench = bus.Bench(base, say)
        for _ in range(rounds):
            bench.round(alone=alone)
        listed = meanwhile.list_during_copy(bench.phone, base / "mount")
        say(str(listed))
        bench.end()
        spooled = max((meanwhile.write_without_edit(base) for _ in range(rounds)), key=lambda one: one.share)
        say(str(spooled))
    peers = [] if alone else [*bench.peers, bench.tool]
    return report.bus_table(bench.ours, peers, listed, spooled), report.picture([bench.ours, *peers])


def of_a_fast_phone(rounds: int) -> str:
    """Return the table."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        os.environ["TMPDIR"] = name
        found = fast.measure(Path(name), rounds)
    say(str(found))
    return report.fast_table(found)


def of_commands(rounds: int) -> str:
    """Return the table."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        os.environ["TMPDIR"] = name
        return report.commands_table(commands.measure(Path(name), rounds, say))


def load() -> str:
    """Return what else the machine has to do."""
    return f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs"


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure mtpfs beside other programs.")
    parser.add_argument("--lab", action="store_true", help="only over USB, in a kernel that has dummy_hcd")
    parser.add_argument("--local", action="store_true", help="only on the virtual phone")
    parser.add_argument("--fast", action="store_true", help="only a phone that is as fast as its link")
    parser.add_argument("--commands", action="store_true", help="only the commands that need no mount")
    parser.add_argument("--rounds", type=int, default=5, help="how often everything is measured (5)")
    parser.add_argument("--divisor", type=int, default=1, help="how many times smaller the files are (1)")
    parser.add_argument("--alone", action="store_true", help="without the other programs")
    parser.add_argument("directory", nargs="?", default=".", type=Path, help="where the results go")
    chosen = parser.parse_args()
    bus.SIZES.divisor = chosen.divisor
    text, before = [], load()
    if chosen.fast:
        text.append("## A phone that is as fast as its link\n\n" + of_a_fast_phone(chosen.rounds))
    elif chosen.commands:
        text.append("## Commands without a mount, over USB\n\n" + of_commands(chosen.rounds))
    elif not chosen.local:
        table, picture = over_usb(chosen.rounds, alone=chosen.alone)
        text.append("## Over USB (uMTP-Responder on dummy_hcd, high speed)\n\n" + table)
        (chosen.directory / "results.svg").write_text(picture)
    if not (chosen.lab or chosen.fast or chosen.commands):
        with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
            found, starts = local.measure(Path(name)), local.starting(Path(name))
        text.append("## On the virtual phone\n\n" + report.local_table(found, starts))
    text.append(f"Load average before: {before}; after, with the work itself: {load()}.")
    kinds = {"usb": chosen.lab, "local": chosen.local, "fast": chosen.fast, "commands": chosen.commands}
    written = chosen.directory / "-".join(["results", *(kind for kind, is_on in kinds.items() if is_on)])
    written = written.with_suffix(".md")
    written.write_text("\n\n".join(text) + "\n")
    print(written.read_text())
    return 0


if __name__ == "__main__":
    subprocess.run(["modprobe", "-a", "fuse", "libcomposite", "usb_f_fs"], check=False, capture_output=True)
    sys.exit(main())
