"""What the file commands share: their words, how they open the phone, how they tell errors, how they end.

An error is one line that names the file, and the command goes on with the next one. The exit status tells: 0 all
done, 1 something failed, 2 wrong use. Output for people escapes what a terminal would obey. In a pipe names are as
they are, and with `--json` each line is one object.

Invariant: with `--json` stdout holds one JSON object a line and nothing else.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from mtpfs.cli import phones
from mtpfs.cli.command import SOURCES, Parser, add_redact, add_source, default_source, printable
from mtpfs.cli.daemon import log_to_stderr
from mtpfs.cli.phones import Phone
from mtpfs.errors import MtpfsError, SetupError, UsageError
from mtpfs.redaction import redact, redacted

if TYPE_CHECKING:
    from mtpfs.library import Entry

FAILED, WRONG_USE = 1, 2
"""Exit statuses, besides 0."""
GONE = frozenset({errno.ENODEV, errno.ENOTCONN})
"""Errors without the phone: nothing more makes sense then."""


class FileParser(Parser):
    """The parser of a file command. `-h` is free for sizes that people can read, as in coreutils."""

    def __init__(self, command: str, usage: str, description: str, *, has_json: bool = True) -> None:
        super().__init__(
            prog=f"mtpfs {command}",
            usage=f"mtpfs {command} {usage}",
            description=description,
            epilog="PATH is on the phone: /STORAGE/DIRECTORY/FILE, or DIRECTORY/FILE on whichever storage it is. "
            f"Patterns are matched on the phone: quote them. {SOURCES}",
            add_help=False,
        )
        self.add_argument("--help", action="help", help="show this help and exit")
        add_source(self)
        if has_json:
            self.add_argument("--json", action="store_true", help="print one JSON object a line")
        add_redact(self)

    def parse(self, words: Sequence[str] | None) -> argparse.Namespace:
        """Parse as others do, but take no empty path: it is a variable that isn't set. Raises `UsageError`."""
        chosen = super().parse(words)
        if "" in getattr(chosen, "paths", ()):
            raise UsageError("an empty path means nothing")
        return chosen

    def add_replacing_options(self) -> None:
        """Add what is common to all commands that may replace a file."""
        self.add_argument("-n", "--no-clobber", action="store_true", help="replace nothing")
        self.add_argument("-i", "--interactive", action="store_true", help="ask before something is replaced")

    def add_paths(self, name: str, least: str) -> None:
        """Take paths: `*`, `+`, or `?`."""
        self.add_argument(name, nargs=least, help=argparse.SUPPRESS)


class Run:
    """One run of a file command: the phone, what is printed, and what has failed."""

    def __init__(self, command: str, phone: Phone, chosen: argparse.Namespace) -> None:
        self.phone = phone
        self.chosen = chosen
        self.failures: list[str] = []
        self._errnos: dict[int, None] = {}
        self.before_line: Callable[[], None] = lambda: None
        """Called before something is printed: a bar gets out of the way."""
        self._command = command

    def say(self, text: str) -> None:
        """Print a line for people, or for a pipe."""
        self.before_line()
        text = redact(text)
        with to_output():
            print(printable(text) if sys.stdout.isatty() else text)

    def say_json(self, facts: dict[str, Any]) -> None:
        """Print an object."""
        self.before_line()
        with to_output():
            print(json.dumps(redacted(facts)), flush=True)

    def fail(self, error: OSError | MtpfsError | str) -> str:
        """Tell of a failure, and count it; return its text."""
        text = error if isinstance(error, str) else described(error)
        self.failures.append(text)
        if not isinstance(error, str):
            self._errnos[error.errno or 0] = None
        self.before_line()
        with to_output():
            sys.stdout.flush()
        print(f"mtpfs {self._command}: {printable(redact(text))}", file=sys.stderr, flush=True)
        return text

    def conclude(self, summary: str, advice: Mapping[int, str] | None = None) -> None:
        """Say at the end, on a terminal, how much it was; and what has failed, if that isn't on the screen any more.

        `advice`: what can be done about failures, by errno.
        """
        if summary and sys.stderr.isatty():
            print(summary, file=sys.stderr)
        self.tell_failures(advice)

    def tell_failures(self, advice: Mapping[int, str] | None = None) -> None:
        """Say at the end what has failed, if that isn't on the screen any more, and what to do; `advice` as above."""
        if len(self.failures) > 1:
            print(f"mtpfs {self._command}: {len(self.failures)} failed:", file=sys.stderr)
            for text in self.failures:
                print(f"  {printable(redact(text))}", file=sys.stderr)
        for text in dict.fromkeys(advice[code] for code in self._errnos if advice and code in advice):
            print(f"mtpfs {self._command}: {text}", file=sys.stderr)

    def advise(self, text: str) -> None:
        """Say what to do."""
        print(f"mtpfs {self._command}: {text}", file=sys.stderr, flush=True)

    @contextlib.contextmanager
    def going_on(self) -> Iterator[None]:
        """Tell of a failure in the block, and go on; but not without the phone."""
        try:
            yield
        except (OSError, MtpfsError) as error:
            self.fail_or_end(error)

    def fail_or_end(self, error: OSError | MtpfsError) -> None:
        """Tell of a failure; raise it if the phone is gone."""
        if error.errno in GONE:
            raise error
        self.fail(error)


def run_with_phone(
    command: str,
    chosen: argparse.Namespace,
    work: Callable[[Run], None],
    opened: Callable[[], contextlib.AbstractContextManager[Phone]] | None = None,
) -> int:
    """Open the phone, do the work, and return the exit status; `opened` opens another one than the source means.

    Raises `SetupError`, and what concerns stdout.
    """
    log_to_stderr(debug=False)
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="surrogateescape")
    source = chosen.source or default_source()
    try:
        with opened() if opened else phones.opened(source) as phone:
            run = Run(command, phone, chosen)
            try:
                work(run)
            except UsageError:
                raise
            except (OSError, MtpfsError) as error:
                run.fail(error)
            return FAILED if run.failures else 0
    except _OutputError as failure:
        raise failure.error from None
    except OSError as error:  # opening the phone, or its end
        raise SetupError(error.strerror or str(error)) from error


class _OutputError(Exception):
    """The standard output can't be written: that is no file's failure."""

    def __init__(self, error: OSError) -> None:
        super().__init__(error)
        self.error = error


@contextlib.contextmanager
def to_output() -> Iterator[None]:
    """Write to the standard output in the block: an error there ends the command."""
    try:
        yield
    except OSError as error:
        raise _OutputError(error) from error


def described(error: OSError | MtpfsError) -> str:
    """Return an error as one line that names the file."""
    if not isinstance(error, OSError):
        return str(error)
    text = error.strerror or str(error)
    if error.filename2:
        return f"{quoted(error.filename)} -> {quoted(error.filename2)}: {text}"
    return f"{quoted(error.filename)}: {text}" if error.filename else text


def quoted(path: object) -> str:
    """Return a path in quotes."""
    return f"'{os.fsdecode(path) if isinstance(path, bytes) else path}'"


# --- values for people and programs ---


def as_facts(entry: Entry) -> dict[str, Any]:
    """Return an entry as JSON has it."""
    return {
        "path": entry.path,
        "name": entry.name,
        "type": "directory" if entry.is_dir else "file",
        "size": entry.size,
        "modified": date_of(entry.modified),
    }


def date_of(modified: float | None) -> str | None:
    """Return a date as JSON has it: UTC, in ISO 8601."""
    if modified is None:
        return None
    return datetime.fromtimestamp(modified, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def local_date(modified: float | None, *, to_the_second: bool = False) -> str:
    """Return a date for people, in this machine's zone."""
    if modified is None:
        return "-"
    form = "%Y-%m-%d %H:%M:%S" if to_the_second else "%Y-%m-%d %H:%M"
    return datetime.fromtimestamp(modified, UTC).astimezone().strftime(form)


def short(size: float) -> str:
    """Return a size in bytes as coreutils' `-h` has it: `9.5M`, `340K`, `17`."""
    if size < 1024:
        return f"{size:.0f}"
    for unit in "KMGT":
        size /= 1024
        if size < 1023.5 or unit == "T":
            break
    return f"{size:.1f}{unit}" if size < 9.95 else f"{size:.0f}{unit}"


def agreed(question: str) -> bool:
    """Ask on the terminal; anything but a yes is a no."""
    print(f"{printable(redact(question))} ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in {"y", "yes"}
