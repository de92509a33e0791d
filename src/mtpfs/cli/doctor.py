"""`mtpfs doctor`: everything a mount can fail at, looked at in turn, and what to do about each.

Strategy: each part (program, FUSE, mountpoint, bus, phone) is looked at even if
an earlier one has failed, because two things may be wrong at once. Where the
mount itself has a check, that one is called, so the two can't disagree. The
phone is opened last, and only if nobody holds it.

Invariant: the exit status is 0 exactly if no finding is a problem; nothing is
changed, apart from a session that is opened and closed.
"""

from __future__ import annotations

import argparse
import errno
import importlib
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mtpfs.cli import mounts
from mtpfs.cli.command import SOURCES, Parser, add_redact, ask, printable
from mtpfs.cli.mountpoint import DEV_FUSE, check_fuse, check_mountpoint
from mtpfs.errors import SetupError
from mtpfs.redaction import redact
from mtpfs.transport.source import Source, parse_source

OK, NOTE, PROBLEM = "ok", "note", "problem"
SYSFS = Path("/sys/bus/usb/devices")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: how it is, in words that say what to do if it isn't well."""

    level: str
    """`OK`, `NOTE` (a mount works, something else might not) or `PROBLEM`."""
    text: str


def run(words: list[str]) -> int:
    """Run `mtpfs doctor`; return 0 if a mount would work, else 1. Raises `SetupError`."""
    parser = Parser(
        prog="mtpfs doctor",
        usage="mtpfs doctor [SOURCE] [MOUNTPOINT] [--redact]",
        description="Find out what keeps a mount from working.",
        epilog=SOURCES,
    )
    parser.add_argument("words", nargs="*", help=argparse.SUPPRESS)
    add_redact(parser)
    source, mountpoint = _meant(parser.parse(words).words)
    level = OK
    for finding in examine(source, mountpoint):
        print(f"{finding.level:<8} {printable(redact(finding.text))}", flush=True)
        level = PROBLEM if finding.level == PROBLEM else level
    print("\nA mount would not work." if level == PROBLEM else "\nA mount would work.")
    return int(level == PROBLEM)


def examine(source: Source, mountpoint: str = "") -> Iterator[Finding]:
    """Look at everything that a mount of `source` (on `mountpoint`, if given) needs."""
    yield from _program()
    yield from _fuse()
    yield from _mountpoints(mountpoint)
    if source.kind == "virtual":
        yield from _answers(source, source.text)
    else:
        yield from _usb(source)


def _meant(words: list[str]) -> tuple[Source, str]:
    """Tell source and mountpoint apart; either may be missing."""
    if len(words) > 2:
        raise SetupError(f"one source and one mountpoint, not {len(words)} arguments")
    if len(words) == 1 and (words[0].startswith((".", "/")) or os.path.lexists(words[0])):
        return parse_source("any"), words[0]
    source, mountpoint = [*words, *["any", ""][len(words) :]]
    return parse_source(source).absolute(), mountpoint


def _program() -> Iterator[Finding]:
    for module, package in (("pyfuse3", "fuse3"), ("trio", ""), ("usb", "")):
        try:
            importlib.import_module(module)
        except ImportError as error:
            advice = f"`apt install {package}`, or install mtpfs again" if package else "install mtpfs again"
            yield Finding(PROBLEM, f"{module} can't be loaded ({error}): {advice}")
    if not any(Path(directory, "mount.mtpfs").exists() for directory in ("/sbin", "/usr/sbin")):
        yield Finding(NOTE, "mount.mtpfs isn't in /sbin: `mount -t mtpfs` and lines of fstab need it there")


def _fuse() -> Iterator[Finding]:
    failure = _failure(lambda: check_fuse(frozenset()))
    if failure:
        yield failure
        return
    if not os.access(DEV_FUSE, os.R_OK | os.W_OK):
        yield Finding(PROBLEM, f"{DEV_FUSE} may not be opened by you: `chmod 666 {DEV_FUSE}`")
        return
    yield Finding(OK, "FUSE is there")
    if os.geteuid() == 0:
        return
    program = shutil.which("fusermount3")
    if program and not Path(program).stat().st_mode & stat.S_ISUID:
        yield Finding(PROBLEM, f"{program} isn't set-user-ID root: `apt reinstall fuse3` repairs it")
    failure = _failure(lambda: check_fuse(frozenset({"allow_other"})))
    if failure:
        yield Finding(NOTE, f"only you can look into a mount of yours: {failure.text}")


def _mountpoints(wanted: str) -> Iterator[Finding]:
    for target, kind, source in mounts.mounts():
        if kind != mounts.KIND or (wanted and target == os.path.realpath(wanted)):
            continue
        if mounts.is_dead(target):
            yield Finding(
                NOTE, f"{target}: a mount died here; `fusermount3 -u {target}` removes what is left"
            )
        else:
            yield Finding(OK, f"{source} is mounted on {target}")
    if not wanted:
        return
    failure = _failure(lambda: check_mountpoint(wanted))
    if failure:
        yield failure
    elif not os.access(wanted, os.W_OK):
        yield Finding(PROBLEM, f"{wanted}: you may not write to it, and so not mount on it")
    elif any(Path(wanted).iterdir()):
        yield Finding(
            NOTE, f"{wanted} isn't empty: what is in it can't be seen while something is mounted on it"
        )
    else:
        yield Finding(OK, f"{wanted} can be mounted on")


def _usb(source: Source) -> Iterator[Finding]:
    if not SYSFS.is_dir():
        yield Finding(PROBLEM, "this kernel has no USB (or hides it, as in a container)")
        return
    try:
        from mtpfs.transport.phones import choose  # noqa: PLC0415 - pyusb may be what is missing
        from mtpfs.transport.usb import find_phones  # noqa: PLC0415

        phones = find_phones()
        phone = choose(phones, source)
    except ImportError:
        return  # said already
    except SetupError as error:
        yield Finding(PROBLEM, str(error))
        yield from _other_modes()
        return
    from mtpfs.cli.list import rows  # noqa: PLC0415

    yield Finding(OK, f"{phone.name} is on the bus ({phone.source}, {phone.node})")
    (row,) = rows([phone])
    if row.mounted_at:
        yield Finding(OK, f"it is mounted on {row.mounted_at}")
        return
    if not os.access(phone.node, os.R_OK | os.W_OK):
        from mtpfs.transport.phones import claim_failure  # noqa: PLC0415

        yield Finding(PROBLEM, str(claim_failure(phone, PermissionError(errno.EACCES, phone.node))))
        return
    yield from _answers(source, phone.name)


def _other_modes() -> Iterator[Finding]:
    """Phones that are plugged in, but not for files."""
    from mtpfs.transport.recognition import phone_in_another_mode, sysfs_devices  # noqa: PLC0415

    for device in sysfs_devices(SYSFS).values():
        mode = phone_in_another_mode(device)
        if mode:
            name = f"{device.text('manufacturer')} {device.text('product')}".strip() or "a phone"
            yield Finding(
                PROBLEM,
                f"{name} ({device.text('idVendor')}:{device.text('idProduct')}) is connected for {mode} only: "
                'choose "File transfer" in its USB notification',
            )


def _answers(source: Source, name: str) -> Iterator[Finding]:
    """Open the device and ask for its storages, as a mount would."""
    try:
        storages = ask(source, lambda device: device.storages())
    except ImportError:
        return  # said already
    except SetupError as error:
        yield Finding(PROBLEM, str(error))
        return
    if storages:
        names = ", ".join(redact(storage.description or storage.volume) for storage in storages)
        yield Finding(OK, f"{name} answers; its storages: {names}")
    else:
        yield Finding(
            PROBLEM,
            f'{name} answers, but shows nothing: unlock it, and tap "Allow" if it asks; a mount would be '
            "empty until then",
        )


def _failure(check: Callable[[], None]) -> Finding | None:
    try:
        check()
    except SetupError as error:
        return Finding(PROBLEM, str(error))
    return None
