"""Imports from a virtual phone: photos to put on it, the command in this process, with faults, and what is here then."""

from __future__ import annotations

import contextlib
import io
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

from cli.files import Commands, local_file
from mount.conftest import wait_until
from mtpfs.cli.main import main
from mtpfs.virtual import transport
from mtpfs.virtual.faults import FaultScript
from mtpfs.virtual.transport import VirtualTransport
from pictures import made

DATE = 1_738_366_200.0  # 2025-01-31 23:30:00 UTC
CAMERA = "DCIM/Camera"
WHATSAPP = "Android/media/com.whatsapp/WhatsApp/Media"


def photo(number: int, date: str = made.DATE) -> bytes:
    """Return a photo that is unlike all others, but as large as they are."""
    return made.jpeg(date, more=b"%08d" % number * 100)


@dataclass
class Imports(Commands):
    """A phone with photos, and a directory to import to."""

    cables: list[VirtualTransport] = field(default_factory=list)
    shown: Path | None = None
    """Where a mount shows the phone's files: it hears a moment later of what is put there."""

    def put(self, name: str, data: bytes, date: float = DATE) -> Path:
        """Put a file onto the phone."""
        return local_file(self.phone / name, data, date)

    @property
    def target(self) -> Path:
        return self.here / "Photos"

    def imported(self) -> dict[str, bytes]:
        """Return what is here, by path."""
        return visible(self.target)

    def parts(self) -> list[Path]:
        """Return what is on its way."""
        return [path for top in self.target.glob(".mtpfs-import-*") for path in (top, *top.iterdir())]

    def on_phone(self) -> dict[str, bytes]:
        return {
            str(path.relative_to(self.phone)): path.read_bytes()
            for path in self.phone.rglob("*")
            if path.is_file()
        }

    def again(self, *words: str, status: int = 0) -> list[dict[str, Any]]:
        """Import; return what is told of each file."""
        if (shown := self.shown) is not None:
            wait_until(lambda: sizes(shown) == sizes(self.phone), "what is on the phone shows")
        return self.objects("import", *words, str(self.target), status=status)

    def here_and_now(
        self, *words: str, faults: FaultScript | None = None, source: str = ""
    ) -> tuple[int, str, str]:
        """Import in this process; return the status, the output and the errors."""
        real = transport.open_virtual

        def opened(argument: str) -> VirtualTransport:
            self.cables.append(real(argument, faults=faults))
            return self.cables[-1]

        out, err = io.StringIO(), io.StringIO()
        with (
            patch.object(transport, "open_virtual", opened),
            patch.dict(os.environ, {"MTPFS_SOURCE": source or self.source}),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            status = main(["import", *words, str(self.target)])
        return status, out.getvalue(), err.getvalue()


def sizes(directory: Path) -> dict[str, int]:
    """Return how large all files below a directory are."""
    found = {}
    for path in directory.rglob("*"):
        with contextlib.suppress(FileNotFoundError):  # a listing can't be trusted while it changes
            if path.is_file():
                found[str(path.relative_to(directory))] = path.stat().st_size
    return found


def visible(directory: Path) -> dict[str, bytes]:
    """Return the contents of all files below a directory that aren't on their way."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file() and not path.relative_to(directory).parts[0].startswith(".mtpfs-import-")
    }


def statuses(found: list[dict[str, Any]]) -> dict[str, int]:
    """Count what is told by status."""
    counts: dict[str, int] = {}
    for each in found:
        counts[each["status"]] = counts.get(each["status"], 0) + 1
    return counts
