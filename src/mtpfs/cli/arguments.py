"""The parser all commands share: argparse, with mistakes as `UsageError`."""

from __future__ import annotations

import argparse
import logging
import sys
import traceback
from types import TracebackType
from typing import NoReturn

from mtpfs import redaction
from mtpfs.errors import UsageError


class Parser(argparse.ArgumentParser):
    """argparse, but mistakes end with status 1: what mount(8) and the man page say."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see `{self.prog} --help`")


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


SOURCES = (
    "SOURCE is any (default), serial:SERIAL, usb:VVVV:PPPP, bus:BBB,DDD, /sys/DEVICE or virtual:DIR; "
    "`mtpfs list` shows what is there."
)
