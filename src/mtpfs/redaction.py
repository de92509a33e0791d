"""Names and serial numbers, kept out of what people put into bug reports (`--redact`).

The code that decodes a name or a serial number registers it here. What people see (the log's lines, the commands'
output) passes `redact` last, and that replaces what it knows. So a new log line needs no care, and can't leak. A
name's replacement is always the same. It keeps what a bug may depend on: a common extension, and what mtpfs itself
puts in front (`.mtpfs-new-…`).

The hash is keyed with this machine's id. So it is the same in all parts of one report, and a name can't be found by
hashing guesses. Where there is no such id, the key lasts for one run.

A folder may be called `a`, or `device`. To replace each such word would spoil the log, and would tell the name. So a
name that is a plain word is replaced only where it stands for itself: as the whole of what is logged, between
slashes, or in quotes. Therefore error messages have names in quotes, or as paths. The constant part of a log line is
never searched.

Invariant: off, nothing is remembered, and every function returns at once. What is replaced once is replaced in every
later text.
"""

from __future__ import annotations

import copy
import hashlib
import logging
import os
import re
from pathlib import Path
from typing import Any

MACHINE_ID = Path("/etc/machine-id")
LENGTH = 8  # hexadecimal digits: among 10,000 names two hardly ever have one hash
SUBSTRING = 6  # characters from which on a serial number is replaced inside words, too
_EXTENSION = re.compile(
    r"3gp|7z|aac|aax|apk|avi|bin|bmp|cfg|csv|db|dng|doc|docx|epub|flac|flv|gif|gpx|gz|heic|heif|htm|"
    r"html|ico|ini|iso|jpeg|jpg|js|json|kmz|log|m3u|m4a|m4b|m4v|md|mid|mkv|mobi|mov|mp3|mp4|mpeg|mpg|"
    r"nomedia|odt|ogg|ogv|opus|part|pdf|pkg|pls|png|ppt|pptx|prc|ps|psd|py|raw|rar|rtf|sh|sqlite|srt|"
    r"svg|swp|tar|tif|tiff|tmp|ts|txt|vcf|wav|webm|webp|wma|wmv|xls|xlsx|xml|xz|zip",
    re.IGNORECASE,
)
"""Extensions that tell no secret. Any other may be half of a name."""
_OURS = re.compile(r"\.?mtpfs-[a-z]+-[0-9a-f]{6}-[0-9a-f]+[-=]")
"""What a temporary name begins with; see `mtpfs.vfs.temporaries`."""
_WORD = re.compile(r"\w")
_START = re.compile(r"(?<!\w)\w|[^\w]")
"""Where a name may begin: not in the middle of a word."""
_QUOTES = {"'", '"', "`"}


class _Secrets:
    """What must not be shown, with what is shown instead."""

    def __init__(self) -> None:
        self._key = _key()
        self._names: dict[str, str] = {}
        self._lengths: list[int] = []
        """Of all names, the longest first."""
        self._serials: dict[str, str] = {}

    def add_name(self, text: str, *spellings: str) -> None:
        """Hide a name: itself, the spellings that `repr` gives it, and `spellings`."""
        if text in self._names or text in {"", ".", ".."}:
            return
        shown = self._shown(text)
        escaped = repr(text)[1:-1]
        as_bytes = repr(text.encode("utf-8", "surrogatepass"))[2:-1]
        for form in {text, escaped, escaped.replace("'", "\\'"), as_bytes, *spellings}:
            self._add(form, shown)

    def add_serial(self, text: str) -> None:
        if not text or text in self._serials:
            return
        shown = f"serial-{self._hash(text)}"
        self._add(text, shown)
        self._add(f"serial:{text}", f"serial:{shown}")
        if len(text) >= SUBSTRING:
            longest_first = sorted([*self._serials, text], key=len, reverse=True)
            self._serials = {one: self._names[one] for one in longest_first}

    def replace(self, text: str) -> str:
        """Replace all that is known, the longest name first at each place."""
        if text in self._names:
            return self._names[text]
        pieces, done = [], 0
        for match in _START.finditer(text):
            start = match.start()
            if start < done:
                continue
            end = self._end(text, start)
            if end:
                pieces += [self._without_serials(text[done:start]), self._names[text[start:end]]]
                done = end
        return "".join([*pieces, self._without_serials(text[done:])])

    def _add(self, form: str, shown: str) -> None:
        self._names[form] = shown
        if len(form) not in self._lengths:
            self._lengths = sorted([*self._lengths, len(form)], reverse=True)

    def _end(self, text: str, start: int) -> int:
        """Return where the name that begins at `start` ends; 0: none does."""
        for length in self._lengths:
            end = start + length
            if end <= len(text) and text[start:end] in self._names and self._stands(text, start, end):
                return end
        return 0

    @staticmethod
    def _stands(text: str, start: int, end: int) -> bool:
        """Tell whether what is there is the name, and not a part of a word, nor a word that only looks like it."""
        name, before, after = text[start:end], text[start - 1 : start], text[end : end + 1]
        if _WORD.match(name[-1]) and after and _WORD.match(after):
            return False
        words = len(_WORD.findall(name))
        if 0 < words < len(name):
            return True
        return "/" in {before, after} or (before == after and before in _QUOTES)

    def _without_serials(self, text: str) -> str:
        for serial, shown in self._serials.items():
            text = text.replace(serial, shown)
        return text

    def _shown(self, name: str) -> str:
        ours = _OURS.match(name)
        prefix = ours[0] if ours else ""
        rest = name[len(prefix) :]
        _, dot, extension = rest.rpartition(".")
        kept = f".{extension}" if dot and _EXTENSION.fullmatch(extension) else ""
        return f"{prefix}name-{self._hash(rest)}{kept}"

    def _hash(self, text: str) -> str:
        data = text.encode("utf-8", "surrogatepass")
        return hashlib.blake2b(data, key=self._key, digest_size=LENGTH // 2).hexdigest()


_secrets: _Secrets | None = None


def start() -> None:
    """Hide what will be registered from now on, until the program ends."""
    global _secrets  # noqa: PLW0603 - it is the program that is asked for redaction, not a part of it
    _secrets = _secrets or _Secrets()


def is_on() -> bool:
    """Tell whether anything is hidden."""
    return _secrets is not None


def hide_name(name: str | bytes) -> None:
    """Never show this name: of a file, a folder, a storage, or the name that the user gave the device."""
    if _secrets is None:
        return
    if isinstance(name, str):
        _secrets.add_name(name)
    else:  # it may be logged decoded in one of two ways, or not at all
        _secrets.add_name(name.decode("utf-8", "replace"), os.fsdecode(name), repr(name)[2:-1])


def hide_serial(serial: str) -> None:
    """Never show this serial number."""
    if _secrets is not None:
        _secrets.add_serial(serial)


def redact(text: str) -> str:
    """Return `text` with short hashes instead of the names and serial numbers that are known."""
    return text if _secrets is None else _secrets.replace(text)


def redacted(value: Any) -> Any:
    """Return a value made of dictionaries, lists and plain values with every text in it redacted, keys excepted."""
    if _secrets is None:
        return value
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {key: redacted(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [redacted(one) for one in value]
    return value


class _Argument:
    """An argument of a log record, redacted whether it is wanted by `%s` or by `%r`."""

    def __init__(self, value: object) -> None:
        self._value = value

    def __str__(self) -> str:
        return redact(str(self._value))

    def __repr__(self) -> str:
        return redact(repr(self._value))


class Formatter(logging.Formatter):
    """A formatter whose lines and tracebacks are redacted, if anything is."""

    def format(self, record: logging.LogRecord) -> str:
        if _secrets is None:
            return super().format(record)
        record = copy.copy(record)  # other handlers have it, too
        record.exc_text = None
        if isinstance(record.args, tuple) and record.args:
            record.args = tuple(
                one if isinstance(one, int | float) else _Argument(one) for one in record.args
            )
        else:
            record.msg, record.args = redact(record.getMessage()), ()
        return super().format(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's name
        return redact(super().formatException(ei))


def _key() -> bytes:
    try:
        machine = MACHINE_ID.read_bytes().strip()
    except OSError:
        machine = b""
    return hashlib.sha256(b"mtpfs --redact\0" + machine).digest() if machine else os.urandom(32)
