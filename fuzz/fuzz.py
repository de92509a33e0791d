"""Coverage-guided fuzzing of everything that a device's bytes reach. `fuzz.py TARGET [libFuzzer options]`

Strategy: atheris instruments mtpfs as it is imported and looks for inputs that
reach new branches. The targets are each dataset's decoder, the container stream
and PTP/IP's packets in pieces of any size, and whole sessions on the filesystem with a lying device, over USB and over TCP.

Invariant: an input passes if nothing but `MtpfsError` comes out.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

with atheris.instrument_imports(include=["mtpfs"]):
    from hostile.device import run_network_session, run_session
    from mtpfs.errors import MtpfsError
    from mtpfs.pictures.taken import date_in
    from mtpfs.protocol import datasets, ptpip, wire
    from mtpfs.protocol.containers import ContainerStream, decode_event
    from mtpfs.protocol.dates import decode_date
    from mtpfs.transport.recognition import os_descriptor_names_mtp, os_vendor_code

DECODERS: list[Callable[[bytes], object]] = [
    datasets.DeviceInfo.decode,
    datasets.StorageInfo.decode,
    datasets.ObjectInfo.decode,
    datasets.PropertyDescription.decode,
    lambda data: list(datasets.decode_property_list(data)),
    wire.decode_integers,
    decode_event,
    lambda data: wire.decode_value(int.from_bytes(data[:2], "little"), data[2:]),
    lambda data: decode_date(data.decode("utf-16-le", "replace"), None),
    lambda data: date_in(io.BytesIO(data)),  # a photo's
    os_vendor_code,
    lambda data: os_descriptor_names_mtp(data, data[0] if data else 0),
    lambda data: ptpip.decode(data[0] if data else 0, data[1:]),
]


def decoders(data: bytes) -> None:
    """The first byte chooses the decoder."""
    if data:
        with contextlib.suppress(MtpfsError):
            DECODERS[data[0] % len(DECODERS)](data[1:])


def stream(data: bytes) -> None:
    """Two bytes before each transfer give its length and whether it is a short one."""
    containers = ContainerStream()
    at = 0
    while at + 1 < len(data):
        end = at + 2 + data[at]
        try:
            containers.feed(memoryview(data)[at + 2 : end], short=bool(data[at + 1] & 1))
            while containers.next_event() is not None:
                pass
        except MtpfsError:
            return
        at = end


def packets(data: bytes) -> None:
    """The first byte is the size of the reader's buffer, a byte before each piece its length."""
    unpacker = ptpip.Unpacker()
    view = memoryview(bytearray(12 + (data[0] if data else 0)))
    at, done = 1, 0
    with contextlib.suppress(MtpfsError):
        while at < len(data):
            piece = data[at + 1 : at + 1 + data[at]]
            at += 1 + data[at]
            while piece:
                count, ends = unpacker.fill(view[done:])
                done = 0 if ends or done + count == len(view) else done + count
                room = unpacker.room(view[done:])
                take = min(len(room), len(piece))
                room[:take] = piece[:take]
                piece = piece[take:]
                done += unpacker.took(take)


def session(data: bytes) -> None:
    run_session(data)


def network(data: bytes) -> None:
    run_network_session(data)


TARGETS = {"decoders": decoders, "stream": stream, "packets": packets, "session": session, "network": network}


def main() -> None:
    logging.disable(logging.CRITICAL)
    os.environ["XDG_STATE_HOME"] = os.devnull  # dates of invented phones are kept in memory only
    name = sys.argv.pop(1) if len(sys.argv) > 1 else ""
    if name not in TARGETS:
        sys.exit(f"fuzz.py {'|'.join(TARGETS)} [libFuzzer options]")
    atheris.Setup(sys.argv, TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
