"""`mtpfs doctor`: everything a mount can fail at, looked at in turn, and what to do about each.

Each part (program, FUSE, mountpoint, bus, phone) is looked at even if
an earlier one has failed, because two things may be wrong at once. Where the
mount itself has a check, that one is called, so the two can't disagree. The
phone is opened last, and only if no program holds it. What is wrong is printed
first, because that is what the reader came for.

Invariant: the exit status is 0 exactly if no finding is a problem. Nothing is
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
from mtpfs.cli.command import SOURCES, Parser, add_redact, add_source, ask, check_order, printable
from mtpfs.cli.list import mounted_places, rows
from mtpfs.cli.mountpoint import DEV_FUSE, check_fuse, check_mountpoint
from mtpfs.errors import SetupError, UsageError
from mtpfs.redaction import hide_name, redact
from mtpfs.settings import INFO_NAME, STATISTICS_NAME
from mtpfs.transport.phones import UsbPhone, choose, claim_failure
from mtpfs.transport.source import SYSFS as SYSFS_PREFIX
from mtpfs.transport.source import Source, parse_source

OK, NOTE, PROBLEM = "ok", "note", "problem"
SYSFS = Path("/sys/bus/usb/devices")
HELPER = Path("/sbin/mount.mtpfs")
READ_AHEAD_RULE = "72-mtpfs-readahead.rules"
RULES = [
    f"{directory}/udev/rules.d/{READ_AHEAD_RULE}"
    for directory in ("/etc", "/usr/local/lib", "/usr/lib", "/lib")
]
"""Where udev looks for it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: how it is, in words that say what to do if it isn't well."""

    level: str
    """`OK`, `NOTE` (a mount works, something else might not) or `PROBLEM`."""
    text: str
    verdict: str = ""
    """What the whole comes to because of this, if there is no problem."""


def run(words: list[str]) -> int:
    """Run `mtpfs doctor`; return 0 if a mount would work, else 1. Raises `SetupError`."""
    parser = Parser(
        prog="mtpfs doctor",
        usage="mtpfs doctor [SOURCE | --source SOURCE] [MOUNTPOINT] [--redact]",
        description="Find out what keeps a mount from working.",
        epilog=SOURCES,
    )
    parser.add_argument("words", nargs="*", help=argparse.SUPPRESS)
    add_source(parser)
    add_redact(parser)
    chosen = parser.parse(words)
    given = chosen.source or os.environ.get("MTPFS_SOURCE", "")
    source, mountpoint = _meant(chosen.words, given, most=1 if chosen.source else 2)
    findings = sorted(
        examine(source, mountpoint), key=lambda finding: (PROBLEM, OK, NOTE).index(finding.level)
    )
    for finding in findings:
        print(f"{finding.level:<8} {printable(redact(finding.text))}")
    failed = any(finding.level == PROBLEM for finding in findings)
    verdicts = [finding.verdict for finding in findings if finding.verdict]
    print("\nA mount would not work." if failed else f"\n{[*verdicts, 'A mount would work.'][0]}")
    return int(failed)


def examine(source: Source | None, mountpoint: str = "") -> Iterator[Finding]:
    """Look at everything that a mount of `source` (None: any phone) on `mountpoint` ("": anywhere) needs."""
    yield from _program()
    yield from _fuse()
    yield from _other_mounts(mountpoint)
    if mountpoint:
        there = _mounted_on(mountpoint)
        if there and (source is None or _is_on(source, mountpoint)):
            yield from _mounted(there, mountpoint)
            return
        yield from _mountpoint(mountpoint)
    if source is not None and source.kind == "virtual":
        yield from _answers(source, source.text, mountpoint)
    elif source is not None and source.kind == "ip":
        yield from _network(source, mountpoint)
    else:
        yield from _usb(source or parse_source("any"), mountpoint)


def _meant(words: list[str], given: str, *, most: int) -> tuple[Source | None, str]:
    """Tell source and mountpoint apart; either may be missing.

    `given` is the source if no word is. Raises `SetupError`.
    """
    if len(words) > most:
        raise UsageError(f"{words[most]!r} is one argument too many; see `mtpfs doctor --help`")
    if most == 1 or not words or (len(words) == 1 and _is_place(words[0])):
        return parse_source(given).absolute() if given else None, words[0] if words else ""
    source, mountpoint = [*words, *["", ""][len(words) :]]
    if mountpoint:
        check_order(source, mountpoint, "mtpfs doctor")
    return parse_source(source).absolute() if source else None, mountpoint


def _is_place(word: str) -> bool:
    is_path = word.startswith((".", "/")) and not word.startswith(SYSFS_PREFIX)
    return is_path or os.path.lexists(word)


def _program() -> Iterator[Finding]:
    for module, package in (("pyfuse3", "fuse3"), ("trio", ""), ("usb", "")):
        try:
            importlib.import_module(module)
        except ImportError as error:
            advice = f"`apt install {package}`, or install mtpfs again" if package else "install mtpfs again"
            yield Finding(PROBLEM, f"{module} can't be loaded ({error}): {advice}")
    try:
        HELPER.stat()
    except PermissionError as error:
        yield Finding(NOTE, f"{HELPER} may not be looked at by you: {error.strerror}")
    except OSError:
        yield Finding(NOTE, "mount.mtpfs isn't in /sbin: `mount -t mtpfs` and lines of fstab need it there")
    if os.geteuid() and not any(map(os.path.exists, RULES)):
        yield Finding(
            NOTE,
            f"{READ_AHEAD_RULE} isn't among udev's rules: reading from your mounts costs more processor time",
        )


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


def _other_mounts(wanted: str) -> Iterator[Finding]:
    real = mounts.real_path(wanted) if wanted else ""
    for target, kind, source in mounts.mounts():
        if kind != mounts.KIND or target == real:
            continue
        if mounts.is_dead(target):
            yield Finding(
                NOTE, f"{target}: a mount died here; `fusermount3 -u {target}` removes what is left"
            )
        else:
            yield Finding(OK, f"{source} is mounted on {target}")


def _mounted_on(mountpoint: str) -> str:
    """Return what mtpfs has mounted there, and still serves; "" if nothing."""
    real = mounts.real_path(mountpoint)
    found = [source for target, kind, source in mounts.mounts() if (target, kind) == (real, mounts.KIND)]
    return found[-1] if found and not mounts.is_dead(mountpoint) else ""


def _is_on(source: Source, mountpoint: str) -> bool:
    """Tell whether it is this source's device that is mounted there."""
    try:
        if source.kind == "virtual":
            from mtpfs.virtual.capabilities import PREFIX, parse_virtual  # noqa: PLC0415 - slow to load

            directories, _ = parse_virtual(source.argument)
            told = mounts.report(mountpoint, STATISTICS_NAME)
            return str(told["transport"]) == f"{PREFIX}{directories[0]}"
        if source.kind == "ip":
            return mounted_places().get(source.text) == mounts.real_path(mountpoint)
        (row,) = rows([_chosen(source)])
    except (SetupError, ImportError):
        return False  # it is another question, and asked later, why
    return row.mounted_at == mounts.real_path(mountpoint)


def _mounted(what: str, mountpoint: str) -> Iterator[Finding]:
    """What is to be said of a mount that is there: that is what was wanted."""
    yield Finding(OK, f"{what} is mounted on {mountpoint}", "It is mounted.")
    try:
        shown = mounts.names(mountpoint)
        storages = {
            each[key]
            for each in mounts.report(mountpoint, INFO_NAME)["storages"]
            for key in ("description", "volume")
        }
    except SetupError as error:
        yield Finding(NOTE, str(error))
        return
    if not shown:
        yield Finding(NOTE, f'{mountpoint} is empty: unlock the phone, and tap "Allow" if it asks')
    elif storages & set(shown):
        yield _about_storages(mountpoint, min(storages & set(shown)))


def _about_storages(mountpoint: str, storage: str) -> Finding:
    hide_name(storage)
    place = os.path.join(mountpoint, storage)  # noqa: PTH118 - a string, as it was given
    return Finding(
        NOTE,
        f"files go into a storage, such as '{place}': the top of the mount holds storages and nothing else",
    )


def _mountpoint(wanted: str) -> Iterator[Finding]:
    failure = _failure(lambda: check_mountpoint(wanted))
    if failure:
        yield failure
        return
    if not os.access(wanted, os.W_OK):
        yield Finding(PROBLEM, f"{wanted}: you may not write to it, and so not mount on it")
        return
    status = Path(wanted).stat()
    if os.geteuid() not in {0, status.st_uid} and status.st_mode & stat.S_ISVTX:
        yield Finding(
            PROBLEM, f"{wanted} belongs to another user, and is shared: make a directory of your own"
        )
        return
    yield Finding(OK, f"{wanted} can be mounted on")
    try:
        is_empty = not any(Path(wanted).iterdir())
    except OSError as error:
        yield Finding(
            NOTE, f"{wanted} can't be looked into ({error.strerror}), which doesn't matter to a mount"
        )
        return
    if not is_empty:
        yield Finding(
            NOTE, f"{wanted} isn't empty: what is in it can't be seen while something is mounted on it"
        )


def _chosen(source: Source) -> UsbPhone:
    """Return the phone on the bus that a source names. Raises `SetupError`, and `ImportError` without pyusb."""
    from mtpfs.transport.usb import find_phones  # noqa: PLC0415 - pyusb may be what is missing

    return choose(find_phones(), source)


def _usb(source: Source, mountpoint: str) -> Iterator[Finding]:
    if not os.path.isdir(SYSFS):  # noqa: PTH112 - one that may not be looked at is as good as none
        yield Finding(PROBLEM, "this kernel has no USB (or hides it, as in a container)")
        return
    try:
        phone = _chosen(source)
    except ImportError:
        return  # said already
    except SetupError as error:
        yield Finding(PROBLEM, str(error))
        yield from _other_modes()
        return
    yield Finding(OK, f"{phone.name} is on the bus ({phone.source}, {phone.node})")
    (row,) = rows([phone])
    if row.mounted_at:
        yield Finding(OK, f"it is mounted on {row.mounted_at}", "It is mounted.")
        return
    if not os.access(phone.node, os.R_OK | os.W_OK):
        yield Finding(PROBLEM, str(claim_failure(phone, PermissionError(errno.EACCES, phone.node))))
        return
    yield from _answers(source, phone.name, mountpoint)


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


def _network(source: Source, mountpoint: str) -> Iterator[Finding]:
    """A camera that isn't on a bus: there is nothing to look at before it is opened, but whether we hold it."""
    place = mounted_places().get(source.text)
    if place:
        yield Finding(OK, f"it is mounted on {place}", "It is mounted.")
        return
    yield from _answers(source, source.text, mountpoint)


def _answers(source: Source, name: str, mountpoint: str) -> Iterator[Finding]:
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
        if mountpoint:
            yield _about_storages(mountpoint, storages[0].description or storages[0].volume)
    else:
        yield Finding(
            NOTE,
            f'{name} answers, but shows nothing: unlock it, and tap "Allow" if it asks',
            "A mount would work, and be empty until the phone is unlocked.",
        )


def _failure(check: Callable[[], None]) -> Finding | None:
    try:
        check()
    except SetupError as error:
        return Finding(PROBLEM, str(error))
    return None
