"""What the commands share: how they are called, how they ask a device, how they print.

It is one module because each command needs all three, and because it is loaded before help is shown: so nothing here
imports trio, pyfuse3 or pyusb before a device is asked.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import traceback
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, NoReturn, TypeVar

from mtpfs import redaction
from mtpfs.errors import MtpfsError, SetupError, UsageError, leaves
from mtpfs.transport.source import Source, parse_source

if TYPE_CHECKING:
    from mtpfs.device import Device

T = TypeVar("T")

SOURCES = (
    "SOURCE is any (default), serial:SERIAL, usb:VVVV:PPPP, bus:BBB,DDD, /sys/DEVICE, ip:HOST[:PORT] or virtual:DIR; "
    "`mtpfs list` shows what is there."
)


# --- arguments ---

_LITERAL = "\0"
"""Stands before a word that is no option whatever it looks like. No argument of a program can have it."""


class Parser(argparse.ArgumentParser):
    """argparse, but mistakes end with status 1: what mount(8) and the man page say."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message.replace(_LITERAL, '')}; see `{self.prog} --help`")

    def parse(self, words: Sequence[str] | None) -> argparse.Namespace:
        """Parse the arguments, in whatever order options and others come; after `--` there are only others.

        Raises `UsageError`.
        """
        given = [*(sys.argv[1:] if words is None else words)]
        if "--" in given:
            # argparse forgets the `--` where it allows any order.
            at = given.index("--")
            given[at:] = [_LITERAL + word for word in given[at + 1 :]]
        found = self.parse_intermixed_args(given)
        for name, value in vars(found).items():
            if isinstance(value, str):
                setattr(found, name, value.removeprefix(_LITERAL))
            elif isinstance(value, list):
                setattr(found, name, [each.removeprefix(_LITERAL) for each in value])
        return found


def add_redact(parser: Parser) -> None:
    """Let a command have `--redact`. It is in force as soon as it is parsed."""
    parser.add_argument(
        "--redact",
        action=_Redact,
        nargs=0,
        help="show short hashes instead of serial numbers and names, for bug reports",
    )


class _Redact(argparse.Action):
    def __call__(self, *_parsed: object) -> None:
        redaction.start()
        logging.raiseExceptions = (
            False  # logging itself would print the arguments of a line that it can't format
        )
        sys.excepthook = _print_redacted
        sys.unraisablehook = lambda found: _print_redacted(
            found.exc_type, found.exc_value, found.exc_traceback
        )


def _print_redacted(
    kind: type[BaseException], error: BaseException | None, where: TracebackType | None
) -> None:
    print(redaction.redact("".join(traceback.format_exception(kind, error, where))), end="", file=sys.stderr)


def default_source() -> str:
    """Return the source that is meant where none is given."""
    return os.environ.get("MTPFS_SOURCE") or "any"


def add_source(parser: Parser) -> None:
    """Let a command have `--source`, as the file commands have it."""
    parser.add_argument(
        "--source", metavar="SOURCE", default="", help="which device; else MTPFS_SOURCE, else any"
    )


def is_source(text: str) -> bool:
    """Tell whether a word is a source, be its device there or not."""
    try:
        parse_source(text)
    except SetupError as error:
        return not isinstance(error, UsageError)
    return True


def check_order(source: str, mountpoint: str, command: str) -> None:
    """Raise `UsageError` if source and mountpoint are swapped."""
    if is_source(mountpoint) and not is_source(source):
        raise UsageError(f"the source comes first: `{command} {mountpoint} {source}`")


# --- asking a device ---


def ask(source: Source, question: Callable[[Device], Awaitable[T]]) -> T:
    """Open the device, put a question to it and close it again; return the answer. Raises `SetupError`."""
    import trio  # noqa: PLC0415 - slow to load

    from mtpfs.phone import open_device, open_source  # noqa: PLC0415

    async def converse() -> T:
        async with open_device(lambda: open_source(source)) as device:
            return await question(device)

    try:
        return trio.run(converse)
    except MtpfsError as error:
        raise SetupError(str(error)) from error
    except BaseExceptionGroup as group:
        expected, others = group.split(MtpfsError)
        if others or not expected:
            raise
        raise SetupError("; ".join(str(error) for error in leaves(expected))) from group


# --- printing ---


def printable(text: str) -> str:
    r"""Return `text` with control characters, line ends and lone surrogates as `\x1b` and the like."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
