"""What kind of phone the virtual one is, and how a source argument says so.

It is one frozen dataclass. Its defaults are a current Android phone. A
personality (`as=NAME`) is a value of it: a product that exists, by its flags.
Each further option word switches one thing, in any order. Flags are named
for the behaviour, never for the maker.

The argument is `virtual:DIR?word&word=value`. A directory's name may have commas
in it, so the options come behind a question mark. It may have question marks in
it, too. So the longest directory that exists is taken.

Invariant: `parse_virtual` either returns directories that exist or raises a
`SetupError` that names the word or the directory at fault.

Sources of the personalities, each named at its flags: AOSP (MtpServer, MtpFfsHandle,
MtpStorageManager), buteo-mtp, cmtp-responder, uMTP-Responder, libgphoto2's vcamera.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from mtpfs.errors import SetupError, UsageError
from mtpfs.protocol.codes import Format
from mtpfs.protocol.codes import Operation as Op

PREFIX = "virtual:"
MAX_STORAGES = 8
DATES = ("android", "samsung", "qemu", "jolla", "lumia", "none", "zero", "junk")
"""The known ways to write a date, by the product that does it."""

THUMBNAILS = (
    "android",
    "embedded",
    "samsung",
    "late",
    "none",
    "empty",
    "huge",
    "text",
    "cut",
    "bomb",
    "other",
)
"""The known ways to have thumbnails, and to be wrong about them: see `thumbnails`."""

_ANDROID = (
    *range(Op.GetDeviceInfo, Op.SendObject + 1),
    Op.ResetDevice,
    *range(Op.GetDevicePropDesc, Op.ResetDevicePropValue + 1),
    Op.MoveObject,
    Op.CopyObject,
    Op.GetPartialObject,
    *range(Op.GetObjectPropsSupported, Op.GetObjectPropList + 1),
    *range(Op.GetPartialObject64, Op.EndEditObject + 1),
)
FULL_MODES = ("refuse", "lie", "early", "stall", "aosp")
"""What a phone does when its disk is full: see `space`."""
FAT_LARGEST_FILE = (4 << 30) - 1
_EDIT = frozenset({Op.SendPartialObject, Op.TruncateObject, Op.BeginEditObject, Op.EndEditObject})


@dataclass(frozen=True, slots=True)
class Capabilities:
    """One kind of phone. `missing` holds the operations that it lacks against AOSP."""

    missing: frozenset[int] = frozenset()
    events: bool = True
    read_only: bool = False
    storages: int = 1
    case_insensitive: bool = False
    samsung: bool = False
    wide_object_info: bool = False
    locked: bool = False
    strict: bool = False
    """Model AOSP's worst habit too: data that follows a refused command is read as commands."""
    capacity: int | None = None
    """Bytes that each storage holds; None: as much as the directory's filesystem."""
    dates: str = "android"
    """How dates are written: one of `DATES`."""
    serial: str = "virtual"
    manufacturer: str = "mtpfs"
    model: str = "Virtual phone"

    # --- names and listings

    ghost_seconds: float = 0.01
    """How long a vacated name stays taken and listed; 0: not at all (AOSP, MtpStorageManager)."""
    short_copy_handles: bool = True
    """CopyObject answers with the lower half of the new handle, and where the name is taken it copies all the same, and
    says OK and 0xFFFF (AOSP, IMtpDatabase::beginCopyObject)."""
    reserves_size: bool = False
    """A file is there from its SendObjectInfo on, with its whole size, its date, and zeros (buteo-mtp, createFile)."""
    notices_late: bool = False
    """A notice that a name was vacated comes after the answer, and costs what has taken the name by then (buteo-mtp,
    uMTP-Responder)."""
    finds_again: bool = False
    """What a late notice has cost is found again, under another handle. A renamed object loses its handle, too, if the
    notice comes while the table still has the old name; here at every second rename (uMTP-Responder, inotify.c and
    mtp_properties.c)."""
    hides_dot_names: bool = False
    """What begins with a dot isn't listed (cmtp-responder, mtp_store.c)."""
    alters_names: bool = False
    """Names are stored as others, with OK (uMTP-Responder, see `changes`)."""
    forbidden_in_renames: str = ""
    """Characters that SetObjectPropValue refuses, though SendObjectInfo takes them (buteo-mtp)."""
    fixed_extension: bool = False
    """A rename must keep the extension (cmtp-responder, see `changes`)."""
    lists_one_storage: bool = False
    """GetObjectPropList of children fails when there are two storages (buteo-mtp)."""
    lists_one_by_one: bool = False
    """GetObjectPropList tells of one object only, for any depth (uMTP-Responder)."""
    dated_lists: bool = True
    """Property lists know the dates; if not, they say 1970 (Android up to 8)."""
    stale_sizes: bool = False
    """A size is what it was when the object was first seen (cmtp-responder)."""
    broken_partial64: bool = False
    """GetPartialObject64 takes its offset's upper half for the count (cmtp-responder)."""

    thumbnails: str = "android"
    """What GetThumb answers: one of `THUMBNAILS`. `late` answers by a property, too (buteo-mtp)."""

    # --- events

    unordered_events: bool = True
    """What is noticed together is told in no order (AOSP: one thread for each event)."""
    echoes_writes: bool = True
    """ObjectInfoChanged follows the host's own uploads and edits (AOSP: CLOSE_WRITE)."""
    watches_own_folders: bool = True
    """Folders that the host made are watched; if not, only those that it listed (cmtp-responder)."""

    # --- writing

    full: str = "aosp"
    """What happens when the disk is full on the way: one of `FULL_MODES`."""
    checks_space: bool = True
    """SendObjectInfo answers StoreFull to what is larger than the free space."""
    max_file: int | None = None
    """Bytes of the largest file; None: no limit, but FAT's on what is removable."""
    removable: bool = False
    """All storages are cards, not only those after the first: names are trimmed, files limited."""
    one_edit: bool = False
    """BeginEdit ends the edit that was open (buteo-mtp)."""
    hollow_edits: bool = False
    """The edit operations answer OK and change nothing (cmtp-responder)."""
    keeps_date_in_edits: bool = False
    """SendPartialObject restores the date of modification (buteo-mtp)."""
    ignores_utc_dates: bool = False
    """An upload's date is dropped if it ends in `Z` (buteo-mtp, datetime_to_time_t)."""
    arrival_dates: bool = False
    """An upload's date is dropped: the file has that of its arrival (AOSP before 8.1, cmtp-responder,
    uMTP-Responder)."""
    formats: tuple[int, ...] = ()
    """The only formats that an upload may have; empty: any (players)."""
    even_seconds: bool = False
    """Dates of uploads are rounded to two seconds (FAT)."""
    deletes_though_read_only: bool = False
    """Write protected, deletion allowed (cameras)."""
    pretends_to_delete: bool = False
    """DeleteObject of a protected object answers OK and does nothing (cameras)."""

    # --- the protocol itself

    mtp: bool = True
    """False: a PTP device, which knows neither object properties nor extensions."""
    vendor_description: str | None = None
    """The vendor extension description, where it isn't Android's."""
    untrusted: bool = False
    """Storages are listed, but not described until the user has said yes (iPhone: "Trust")."""
    strict_transactions: bool = False
    """Each transaction id must be one more than the last (libgphoto2's vcamera)."""
    takes_nothing: bool = False
    """A zero-length packet where a command was due means nothing (buteo-mtp, processReceivedData)."""
    tells_busy: bool = False
    """GetDeviceStatus says so while a transaction waits for data (buteo-mtp, receiveContainer)."""
    counts_data: bool = False
    """A file's data end with their last byte. A short packet before that ends nothing, and after a Cancel what comes
    first is taken for more of them (buteo-mtp, processReceivedData)."""
    refuses_twice: bool = False
    """A refused data phase is answered again at its end (uMTP-Responder)."""
    off_by_one_after_cancel: bool = True
    """A Cancel that meets no data phase leaves the server one read behind (AOSP, MtpFfsHandle)."""

    @property
    def operations(self) -> tuple[int, ...]:
        """The operations that GetDeviceInfo lists, and the only ones that are answered."""
        return tuple(int(code) for code in _ANDROID if code not in self.missing)

    @property
    def extensions(self) -> str:
        """The vendor extension description."""
        if self.vendor_description is not None:
            return self.vendor_description
        if self.samsung:  # as on a Galaxy: no version behind devicestatus' colon
            return "microsoft.com: 1.0; samsung.com/kies: 1.0; samsung.com/devicestatus: 1;"
        return "microsoft.com: 1.0; android.com: 1.0;"


def _without(*operations: int) -> Callable[[Capabilities], Capabilities]:
    return lambda old: replace(old, missing=old.missing | frozenset(operations))


_ANDROID_14 = Capabilities()
_WITHOUT_ANDROID = replace(  # no other product has AOSP's table, its thread of events or its transport
    _ANDROID_14,
    ghost_seconds=0,
    short_copy_handles=False,
    unordered_events=False,
    echoes_writes=False,
    off_by_one_after_cancel=False,
    full="refuse",
)
_COPYING = frozenset({Op.MoveObject, Op.CopyObject})
_PLAYABLE = (Format.Association, Format.MP3, Format.WMA, Format.WAV, Format.WMV, Format.EXIF_JPEG)
_PERSONALITIES: dict[str, Capabilities] = {
    "android14": _ANDROID_14,
    # MediaProvider's table: no ghosts, no move or copy, and the property's column has no date
    "android8": replace(_WITHOUT_ANDROID, missing=_COPYING, dated_lists=False, thumbnails="embedded"),
    # buteo-mtp: mtpdeviceinfo.cpp (operations), mtpresponder.cpp (edits), fsstorageplugin.cpp (the rest)
    "sailfish": replace(
        _WITHOUT_ANDROID,
        missing=frozenset({Op.GetThumb, Op.ResetDevice, Op.ResetDevicePropValue}),
        dates="jolla",
        notices_late=True,
        takes_nothing=True,
        reserves_size=True,
        counts_data=True,
        tells_busy=True,
        ignores_utc_dates=True,
        one_edit=True,
        keeps_date_in_edits=True,
        forbidden_in_renames='<>:"/\\|?*' + "".join(map(chr, range(0x20))),
        lists_one_storage=True,
        thumbnails="late",
        vendor_description="microsoft.com: 1.0; microsoft.com/WMPPD: 11.0; android.com: 1.0;",
        model="Jolla",
    ),
    # cmtp-responder: mtp_device.c (operations), mtp_cmd_handler.c (edits, partial reads)
    "tizen": replace(
        _WITHOUT_ANDROID,
        missing=_COPYING
        | frozenset(
            {
                Op.GetNumObjects,
                Op.GetThumb,
                Op.ResetDevice,
                *range(Op.GetDevicePropDesc, Op.ResetDevicePropValue + 1),
                Op.GetObjectPropsSupported,
                Op.GetObjectPropList,
                Op.TruncateObject,
            }
        ),
        hides_dot_names=True,
        fixed_extension=True,
        hollow_edits=True,
        broken_partial64=True,
        stale_sizes=True,
        arrival_dates=True,
        watches_own_folders=False,
        thumbnails="none",
        model="Tizen",
    ),
    # libgphoto2's vcamera: ten operations, ids checked, read-only with deletion
    "camera": replace(
        _WITHOUT_ANDROID,
        missing=_COPYING
        | _EDIT
        | frozenset(
            {
                Op.SendObjectInfo,
                Op.SendObject,
                Op.ResetDevice,
                Op.SetDevicePropValue,
                Op.ResetDevicePropValue,
                Op.GetPartialObject,
                Op.GetPartialObject64,
                *range(Op.GetObjectPropsSupported, Op.GetObjectPropList + 1),
            }
        ),
        mtp=False,
        vendor_description="",
        strict_transactions=True,
        read_only=True,
        deletes_though_read_only=True,
        pretends_to_delete=True,
        removable=True,
        thumbnails="embedded",
        model="Camera",
    ),
    # Sony, Garmin, Creative, by their logs: FAT, and uploads of what can be played only
    "player": replace(
        _WITHOUT_ANDROID,
        missing=_COPYING | _EDIT | frozenset({Op.GetPartialObject64}),
        case_insensitive=True,
        formats=tuple(int(code) for code in _PLAYABLE),
        even_seconds=True,
        max_file=FAT_LARGEST_FILE,
        vendor_description="microsoft.com: 1.0; microsoft.com/WMPPD: 11.0;",
        model="Player",
    ),
    # uMTP-Responder: mtp_support_def.c (operations), mtp_op_sendobject.c (errors of write ignored),
    # mtp_sanitize.c (names), inotify.c (handles)
    "umtp": replace(
        _WITHOUT_ANDROID,
        missing=_COPYING
        | frozenset({Op.GetNumObjects, Op.GetThumb, Op.ResetDevice, Op.ResetDevicePropValue}),
        thumbnails="none",
        lists_one_by_one=True,
        refuses_twice=True,
        notices_late=True,
        finds_again=True,
        alters_names=True,
        arrival_dates=True,
        full="lie",
        checks_space=False,
        model="uMTP",
    ),
}
PERSONALITIES = tuple(_PERSONALITIES)
"""The names that `as=` knows; the first is the default."""

_WORDS: dict[str, Callable[[Capabilities], Capabilities]] = {
    "no-edit": _without(*_EDIT),
    "no-partial64": _without(Op.GetPartialObject64),
    "no-partial": _without(Op.GetPartialObject64, Op.GetPartialObject),
    "no-proplist": _without(Op.GetObjectPropList),
    "no-move": _without(Op.MoveObject),
    "no-copy": _without(Op.CopyObject),
    "no-rename": _without(Op.SetObjectPropValue),
    "no-events": lambda old: replace(old, events=False),
    "read-only": lambda old: replace(old, read_only=True),
    "case-insensitive": lambda old: replace(old, case_insensitive=True),
    "samsung": lambda old: replace(
        old,
        samsung=True,
        manufacturer="Samsung",
        dates="samsung",
        thumbnails="samsung",
        missing=old.missing | _EDIT | frozenset({Op.GetPartialObject64}),
    ),
    "wide-object-info": lambda old: replace(old, wide_object_info=True),
    "locked": lambda old: replace(old, locked=True),
    "strict": lambda old: replace(old, strict=True),
    "alters": lambda old: replace(old, alters_names=True),
    "partial": lambda old: replace(old, missing=old.missing - {Op.GetPartialObject}),
    "removable": lambda old: replace(old, removable=True),
    "arrival-dates": lambda old: replace(old, arrival_dates=True),
    "untrusted": lambda old: replace(old, untrusted=True),
}
_VALUES = (
    *("as", "ghost", "full", "max-file", "storages", "capacity", "dates", "thumbnails", "serial", "model"),
)
WORDS = (*_WORDS, *(f"{name}=" for name in _VALUES))
"""Every option word that `parse_virtual` knows."""


def parse_virtual(argument: str) -> tuple[list[Path], Capabilities]:
    """Split `virtual:DIR?options` into one directory per storage and the capabilities."""
    directory, options = _split(argument.removeprefix(PREFIX))
    serial = f"V{zlib.crc32(os.fsencode(directory.resolve())):08X}"
    capabilities = parse_options(options, serial)
    if capabilities.storages == 1:
        return [directory], capabilities
    directories = [directory / storage_name(index) for index in range(capabilities.storages)]
    for storage in directories:
        try:
            storage.mkdir(exist_ok=True)
        except OSError as error:
            raise SetupError(f"can't create the storage {storage}: {error.strerror}") from error
    return directories, capabilities


def parse_options(options: str, serial: str = "virtual") -> Capabilities:
    """Return what `word&word=value` makes of a phone. Raises `UsageError` that names the word at fault."""
    capabilities = replace(_ANDROID_14, serial=serial)
    # The personality first, at any place: the other words change it
    for word in sorted(filter(None, options.split("&")), key=lambda word: not word.startswith("as=")):
        capabilities = _apply(capabilities, word)
    return capabilities


def storage_name(index: int) -> str:
    """Return what Android calls its storage number `index`."""
    return ("Internal shared storage", "SD card")[index] if index < 2 else f"SD card {index}"


def _split(text: str) -> tuple[Path, str]:
    directory, options = text, ""
    while True:
        path = Path(directory).expanduser()
        try:
            if directory and path.is_dir():
                return path, options
        except OSError as error:
            raise SetupError(f"{directory}: {error.strerror}") from error
        directory, mark, tail = directory.rpartition("?")
        if not mark:
            missing = text.partition("?")[0]
            raise SetupError(f"no directory {missing!r} to make a virtual phone of")
        options = f"{tail}&{options}"


def _apply(capabilities: Capabilities, word: str) -> Capabilities:
    if word in _WORDS:
        return _WORDS[word](capabilities)
    name, _, value = word.partition("=")
    match name:
        case "as" if value in _PERSONALITIES:
            return replace(_PERSONALITIES[value], serial=capabilities.serial)
        case "ghost" if value.replace(".", "", 1).isdecimal():
            return replace(capabilities, ghost_seconds=float(value))
        case "full" if value in FULL_MODES:
            # A test that chooses a mode wants to meet it, not to be refused before
            return replace(capabilities, full=value, checks_space=value in {"refuse", "aosp"})
        case "max-file" if value.isdecimal():
            return replace(capabilities, max_file=int(value))
        case "serial" if value:
            return replace(capabilities, serial=value)
        case "model" if value:
            return replace(capabilities, model=value)
        case "storages" if value.isdecimal() and 1 <= int(value) <= MAX_STORAGES:
            return replace(capabilities, storages=int(value))
        case "capacity" if value.isdecimal():
            return replace(capabilities, capacity=int(value))
        case "dates" if value in DATES:
            return replace(capabilities, dates=value)
        case "thumbnails" if value in THUMBNAILS:
            return replace(capabilities, thumbnails=value)
    raise UsageError(f"virtual phone: unknown option {word!r}; known are {', '.join(WORDS)}")
