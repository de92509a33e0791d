"""`-o` options: one table, from which parsing, `--help` and the check of the man page are made.

Each word is looked up in the table and applied to the settings, in order,
so the later one wins. Words that mount(8), fstab and systemd keep for
themselves are dropped, because libfuse rejects most of them. So are those that
lines of other FUSE filesystems often have, and these are told to the log. What
libfuse takes and every mount can have is handed on.

Invariant: `parse_options` returns complete settings or raises a one-line
`UsageError` naming the word at fault.
"""

from __future__ import annotations

import grp
import pwd
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from mtpfs.errors import UsageError
from mtpfs.settings import Settings

LARGEST_READAHEAD = 16 << 20  # bytes; usbfs gives all transfers together no more

LARGEST_ID = (1 << 32) - 2  # of a user or group; the one above means "no user" to the kernel
LONGEST = 3600  # seconds that an option can be

Apply = Callable[[Settings, str], Settings]


@dataclass(frozen=True, slots=True)
class Option:
    """One option: its name, what its value is called (empty: it has none), its help, what it does."""

    name: str
    value: str
    help: str
    apply: Apply


def _field(name: str, convert: Callable[[str], object]) -> Apply:
    def apply(settings: Settings, value: str) -> Settings:
        return replace(settings, **{name: convert(value)})  # type: ignore[arg-type] # the table pairs them

    return apply


def _fuse(word: str, *, without: Iterable[str] = ()) -> Apply:
    def apply(settings: Settings, _value: str) -> Settings:
        return replace(settings, fuse_options=settings.fuse_options - set(without) | {word})

    return apply


def _shared(word: str) -> Apply:
    def apply(settings: Settings, _value: str) -> Settings:
        # Without default_permissions the mode bits would mean nothing to the others let in.
        return replace(settings, fuse_options=settings.fuse_options | {word, "default_permissions"})

    return apply


def _mask(value: str) -> int:
    if not re.fullmatch(r"0?[0-7]{1,3}", value):
        raise ValueError("an octal number such as 022 is needed")
    return int(value, 8)


def _umask(settings: Settings, value: str) -> Settings:
    mask = _mask(value)
    return replace(settings, fmask=mask, dmask=mask)


def _user(value: str) -> int:
    if re.fullmatch("[0-9]+", value):
        return _identity(value)
    try:
        return pwd.getpwnam(value).pw_uid
    except (KeyError, ValueError) as error:  # ValueError: a NUL in it
        raise ValueError("there is no user with that name") from error


def _group(value: str) -> int:
    if re.fullmatch("[0-9]+", value):
        return _identity(value)
    try:
        return grp.getgrnam(value).gr_gid
    except (KeyError, ValueError) as error:
        raise ValueError("there is no group with that name") from error


def _identity(value: str) -> int:
    if len(value) > 10 or int(value) > LARGEST_ID:
        raise ValueError(f"the largest number is {LARGEST_ID}")
    return int(value)


def _seconds(value: str) -> float:
    if not re.fullmatch(r"[0-9]+(\.[0-9]*)?|\.[0-9]+", value) or not 0 < float(value) <= LONGEST:
        raise ValueError(f"a number of seconds is needed, more than 0 and at most {LONGEST}")
    return float(value)


def _size(value: str) -> int:
    if not (parts := re.fullmatch(r"([0-9]{1,9})([KM]?)", value)):
        raise ValueError("a number of bytes is needed, or one with K or M, such as 4M")
    size = int(parts[1]) << {"": 0, "K": 10, "M": 20}[parts[2]]
    if size > LARGEST_READAHEAD:
        raise ValueError("at most 16M are possible: the kernel may refuse larger transfers")
    return size


def _text(value: str) -> str:
    if not value:
        raise ValueError("it must not be empty")
    return value


def _read_only(settings: Settings, _value: str) -> Settings:
    return replace(settings, read_only=True, fuse_options=settings.fuse_options - {"rw"} | {"ro"})


def _read_write(settings: Settings, _value: str) -> Settings:
    return replace(settings, read_only=False, fuse_options=settings.fuse_options - {"ro"})


def _switch(on: str, text: str) -> list[Option]:
    """Return an option of libfuse and its negation."""
    off = f"no{on}"
    return [
        Option(on, "", f"{text} (default)", _fuse(on, without=[off])),
        Option(off, "", f"not: {text}", _fuse(off, without=[on])),
    ]


OPTIONS = [
    Option("ro", "", "mount read-only", _read_only),
    Option("rw", "", "mount read-write (default)", _read_write),
    Option("allow_other", "", "let other users in; implies default_permissions", _shared("allow_other")),
    Option("allow_root", "", "let root in; implies default_permissions", _shared("allow_root")),
    Option("default_permissions", "", "have the kernel check mode bits", _fuse("default_permissions")),
    Option("uid", "USER", "owner of all files (default: who mounts)", _field("uid", _user)),
    Option("gid", "GROUP", "group of all files (default: who mounts)", _field("gid", _group)),
    Option("umask", "MASK", "permission bits taken from files and directories, octal", _umask),
    Option("fmask", "MASK", "permission bits taken from files (default 133)", _field("fmask", _mask)),
    Option("dmask", "MASK", "permission bits taken from directories (default 022)", _field("dmask", _mask)),
    Option("fsname", "NAME", "source shown by findmnt (default: the device's name)", _field("fsname", _text)),
    Option(
        "subtype", "NAME", "type shown by findmnt after `fuse.` (default mtpfs)", _field("subtype", _text)
    ),
    Option("storage", "NAME", "mount only this storage, as the root", _field("storage", _text)),
    Option(
        "timeout", "SECONDS", "how long a simple request may take (default 10)", _field("timeout", _seconds)
    ),
    Option(
        "readahead",
        "SIZE",
        "what is fetched at once for a sequential reader, with K or M; 0: nothing ahead (default 4M)",
        _field("readahead", _size),
    ),
    Option(
        "ttl", "SECONDS", "how long attributes and listings are believed (default 5)", _field("ttl", _seconds)
    ),
    Option(
        "thumbnails",
        "",
        "fetch the phone's thumbnails of what is listed, for file managers (needs Pillow)",
        lambda settings, _: replace(settings, thumbnails=True),
    ),
    Option(
        "exit_on_unplug",
        "",
        "unmount when the device is unplugged (default: wait for its return)",
        lambda settings, _: replace(settings, exit_on_unplug=True),
    ),
    Option(
        "debug", "", "log what the kernel asks (with -f)", lambda settings, _: replace(settings, debug=True)
    ),
    *_switch("atime", "update access times"),
    *_switch("exec", "allow programs to be run"),
    *_switch("suid", "honour set-user-ID bits"),
    *_switch("dev", "honour device files"),
    Option("nodiratime", "", "don't update directories' access times", _fuse("nodiratime")),
    Option("sync", "", "write synchronously", _fuse("sync", without=["async"])),
    Option("async", "", "write asynchronously (default)", _fuse("async", without=["sync"])),
    Option("dirsync", "", "change directories synchronously", _fuse("dirsync")),
    Option("auto_unmount", "", "unmount when the program dies", _fuse("auto_unmount")),
]
_TABLE = {option.name: option for option in OPTIONS}

_DROPPED = {
    *("auto", "noauto", "user", "nouser", "users", "nousers", "owner", "group", "_netdev", "nofail"),
    *("defaults", "relatime", "norelatime", "strictatime", "nostrictatime", "lazytime", "nolazytime"),
    *("diratime", "comment", "uhelper", "helper", "loop", "nonempty", "silent", "loud", "mand", "nomand"),
}
"""Words of mount(8), fstab(5) and systemd.mount(5): theirs, not ours."""
_FOREIGN = {
    *("big_writes", "use_ino", "readdir_ino", "hard_remove", "kernel_cache", "auto_cache", "direct_io"),
    *("large_read", "intr", "max_read", "max_write", "max_readahead"),
    *("attr_timeout", "entry_timeout", "ac_attr_timeout", "negative_timeout"),
}
"""Words of libfuse that people have in their lines for other filesystems.

With some of them no mount of ours would work.
"""
REMOUNT = "remount"


def split_options(text: str) -> list[str]:
    r"""Split at commas; `\,` is a comma and `\\` a backslash."""
    words = [re.sub(r"\\([\\,])", r"\1", word) for word in re.findall(r"((?:\\[\\,]|[^,])+)", text)]
    return [word for word in words if word]


def parse_options(texts: Iterable[str], *, sloppy: bool = False) -> Settings:
    """Return the settings that the arguments of all `-o` together make. Raises `UsageError`."""
    settings = Settings()
    words = [word for text in texts for word in split_options(text)]
    if (
        REMOUNT in words
    ):  # before all others: mount(8) adds what it finds in the table of mounts, `user_id=0` say
        raise UsageError(
            "option remount can't be used: a mount keeps its options; unmount it and mount it again"
        )
    for word in words:
        settings = _apply(settings, word, sloppy=sloppy)
    return settings


def foreign_options(texts: Iterable[str]) -> list[str]:
    """Return the words among all `-o` that have no effect here: they are for other FUSE filesystems."""
    return [word for text in texts for word in split_options(text) if word.partition("=")[0] in _FOREIGN]


def _apply(settings: Settings, word: str, *, sloppy: bool) -> Settings:
    name, equals, value = word.partition("=")
    if name in _DROPPED | _FOREIGN or name.lower().startswith("x-"):
        return settings
    option = _TABLE.get(name)
    if option is None:
        if sloppy:
            return settings
        raise UsageError(f"unknown option: {name}")
    if bool(equals) != bool(option.value):
        wanted = f"needs a value: {name}={option.value}" if option.value else "takes no value"
        raise UsageError(f"option {name} {wanted}")
    try:
        return option.apply(settings, value)
    except ValueError as error:
        raise UsageError(f"option {name}={value}: {error}") from error


def help_text() -> str:
    """Return the table as `--help` shows it."""
    lines = []
    for option in OPTIONS:
        word = f"{option.name}={option.value}" if option.value else option.name
        lines.append(f"  {word:<20} {option.help}")
    return "\n".join(lines)
