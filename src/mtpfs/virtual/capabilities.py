"""What kind of phone the virtual one is, and how a source argument says so.

Strategy: one frozen dataclass whose defaults are a current Android phone; each
option word switches one thing. The argument is `virtual:DIR?word&word=value`:
a directory may hold commas, so options come behind a question mark, and since
it may hold question marks too, the longest existing directory wins.

Invariant: `parse_virtual` either returns directories that exist or raises a
`SetupError` that names the word or the directory at fault.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from mtpfs.errors import SetupError, UsageError
from mtpfs.protocol.codes import Operation as Op

PREFIX = "virtual:"
MAX_STORAGES = 8
DATES = ("android", "samsung", "qemu", "jolla", "lumia", "none", "zero", "junk")
"""The known ways to write a date, by who does it."""

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
    control: Path | None = None
    """Where the phone listens to words (see `control`)."""
    serial: str = "virtual"
    model: str = "Virtual phone"

    @property
    def operations(self) -> tuple[int, ...]:
        """The operations that GetDeviceInfo lists, and the only ones that are answered."""
        return tuple(int(code) for code in _ANDROID if code not in self.missing)

    @property
    def extensions(self) -> str:
        """The vendor extension description."""
        if self.samsung:  # as on a Galaxy: no version behind devicestatus' colon
            return "microsoft.com: 1.0; samsung.com/kies: 1.0; samsung.com/devicestatus: 1;"
        return "microsoft.com: 1.0; android.com: 1.0;"


def _without(*operations: int) -> Callable[[Capabilities], Capabilities]:
    return lambda old: replace(old, missing=old.missing | frozenset(operations))


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
        old, samsung=True, dates="samsung", missing=old.missing | _EDIT | frozenset({Op.GetPartialObject64})
    ),
    "wide-object-info": lambda old: replace(old, wide_object_info=True),
    "locked": lambda old: replace(old, locked=True),
    "strict": lambda old: replace(old, strict=True),
}
_VALUES = ("storages", "capacity", "dates", "control", "serial", "model")
WORDS = (*_WORDS, *(f"{name}=" for name in _VALUES))
"""Every option word that `parse_virtual` knows."""


def parse_virtual(argument: str) -> tuple[list[Path], Capabilities]:
    """Split `virtual:DIR?options` into one directory per storage and the capabilities."""
    directory, options = _split(argument.removeprefix(PREFIX))
    capabilities = Capabilities(serial=f"V{zlib.crc32(os.fsencode(directory.resolve())):08X}")
    for word in filter(None, options.split("&")):
        capabilities = _apply(capabilities, word)
    if capabilities.storages == 1:
        return [directory], capabilities
    directories = [directory / storage_name(index) for index in range(capabilities.storages)]
    for storage in directories:
        try:
            storage.mkdir(exist_ok=True)
        except OSError as error:
            raise SetupError(f"can't create the storage {storage}: {error.strerror}") from error
    return directories, capabilities


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
        case "control" if value.startswith("/"):
            return replace(capabilities, control=Path(value))
    raise UsageError(f"virtual phone: unknown option {word!r}; known are {', '.join(WORDS)}")
