"""The parser all commands share: argparse, with mistakes as `UsageError`."""

from __future__ import annotations

import argparse
from typing import NoReturn

from mtpfs.errors import UsageError


class Parser(argparse.ArgumentParser):
    """argparse, but mistakes end with status 1: what mount(8) and the man page say."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see `{self.prog} --help`")


SOURCES = (
    "SOURCE is any (default), serial:SERIAL, usb:VVVV:PPPP, bus:BBB,DDD, /sys/DEVICE or virtual:DIR; "
    "`mtpfs list` shows what is there."
)
