"""Measures mtpfs beside the others, and writes results.md and results.svg. `bench.py [--usb|--local] [DIR]`

`--usb`: only what needs dummy_hcd and FunctionFS in the running kernel.
`--local`: only what needs neither. DIR is where the results go (default: here).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TOP / "tests"))

import bus  # noqa: E402
import local  # noqa: E402
import report  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure mtpfs beside other programs.")
    parser.add_argument("--usb", action="store_true", help="only over USB, in a kernel that has dummy_hcd")
    parser.add_argument("--local", action="store_true", help="only on the virtual phone")
    parser.add_argument("directory", nargs="?", default=".", type=Path, help="where the results go")
    chosen = parser.parse_args()
    text = []
    if not chosen.local:
        with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
            link, results = bus.measure(Path(name), lambda words: print(words, flush=True))
        text.append("## Over USB (uMTP-Responder on dummy_hcd, high speed)\n\n" + report.table(link, results))
        (chosen.directory / "results.svg").write_text(report.picture(link, results))
    if not chosen.usb:
        with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
            found, starts = local.measure(Path(name)), local.starting(Path(name))
        text.append("## On the virtual phone\n\n" + report.local_table(found, starts))
    written = chosen.directory / f"results{'-usb' * chosen.usb}{'-local' * chosen.local}.md"
    written.write_text("\n\n".join(text) + "\n")
    print(written.read_text())
    return 0


if __name__ == "__main__":
    subprocess.run(["modprobe", "-a", "fuse", "libcomposite", "usb_f_fs"], check=False, capture_output=True)
    sys.exit(main())
