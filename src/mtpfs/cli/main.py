"""`mtpfs` and `mount.mtpfs`: arguments in, exit status out.

Arguments, options and mountpoint are checked before trio, pyfuse3 and pyusb are
imported. So help comes at once, and so does the answer to a mistake. Then the
mount runs in a child (or in the foreground). Its failure is one paragraph on stderr.

Exit statuses of `mtpfs`: 0 mounted (or, in the foreground, unmounted in order),
130 interrupted before that, 1 anything else. Of `mount.mtpfs`, after mount(8):
1 wrong invocation, 2 the machine lacks something, 4 internal error, 8 interrupted,
32 the mount failed.

Invariant: no traceback reaches a user for anything but a bug.
"""

from __future__ import annotations

import argparse
import importlib
import keyword
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import ModuleType

from mtpfs import __version__
from mtpfs.cli import daemon, options
from mtpfs.cli.command import (
    SOURCES,
    Parser,
    add_redact,
    add_source,
    check_order,
    default_source,
    is_source,
    printable,
)
from mtpfs.cli.mountpoint import check_fuse, check_mountpoint, mountpoint_in
from mtpfs.errors import InterruptedSetupError, MachineError, MtpfsError, SetupError, UsageError, leaves
from mtpfs.redaction import redact
from mtpfs.settings import Settings
from mtpfs.transport.source import Source, parse_source

log = logging.getLogger(__name__)

FILE_COMMANDS = ("ls", "tree", "stat", "get", "put", "cat", "rm", "mkdir", "mv", "cp", "df", "sync", "thumbs")
"""Those that work on files of a phone, without a mount or through one. Wrong use of them is status 2."""
OWN_PAGES = ("import",)
"""More of them, each with a man page of its own."""
COMMANDS = ("umount", "list", "info", "doctor", "stats", *FILE_COMMANDS, *OWN_PAGES)
"""First words that name a command: the module of this package with that name runs it."""
WRONG_USE = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `mtpfs`; return its exit status."""
    _have_standard_files()
    words = _command_first(list(sys.argv[1:] if arguments is None else arguments))
    try:
        try:
            return _run(words)
        finally:
            print(end="", flush=True)  # what fails, fails here, and not when the interpreter ends
    except UsageError as error:
        return _fail(error, WRONG_USE if words and words[0] in (*FILE_COMMANDS, *OWN_PAGES) else 1)
    except SetupError as error:
        return _fail(error, _status(error))
    except KeyboardInterrupt:
        return _status(InterruptedSetupError())
    except OSError as error:
        # It is the output that can't be written: what else may fail is told where it does. The interpreter, which
        # tries again when it ends, is not to complain as well.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):  # `mtpfs stats | head -1`: its reader has had enough
            return 128 + signal.SIGPIPE
        return _fail(SetupError(f"the output can't be written: {error.strerror}"), 1)


def _have_standard_files() -> None:
    """Have something that fails where the caller has closed a standard file (`<&-`); errors have nowhere to go then.

    Else the next file that is opened would get its number, and what is printed.
    """
    for number, (name, mode) in enumerate(
        (("stdin", os.O_WRONLY), ("stdout", os.O_RDONLY), ("stderr", os.O_RDWR))
    ):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, mode)  # the lowest number that is free: the one that is missing
            setattr(sys, name, open(descriptor, "w" if number else "r", closefd=False))  # noqa: SIM115


def _command_first(words: list[str]) -> list[str]:
    """Return the words with a command in front of a `--source` that stands before it."""
    count = 2 if words[:1] == ["--source"] else 1 if words and words[0].startswith("--source=") else 0
    if count and len(words) > count and words[count] in COMMANDS:
        return [words[count], *words[:count], *words[count + 1 :]]
    return words


def _run(words: list[str]) -> int:
    first = words[0] if words else ""
    if first == "help":
        _help(words[1:])
        return 0
    if first in COMMANDS:
        return int(_module(first).run(words[1:]))
    chosen = _mtpfs_parser().parse(words)
    source, mountpoint = _paths(chosen.paths, chosen.directory, chosen.source)
    if chosen.paths == [first] and not os.path.lexists(first):
        _suggest(first)
    return _mount(
        source,
        mountpoint,
        chosen.directory,
        options.parse_options(chosen.options, sloppy=chosen.sloppy),
        ignored=options.foreign_options(chosen.options),
        foreground=chosen.foreground or chosen.debug,
        debug=chosen.debug,
        status=_status,
    )


def _suggest(word: str) -> None:
    """Raise `UsageError` if a word is much like a command."""
    from difflib import get_close_matches  # noqa: PLC0415 - seldom needed

    if near := get_close_matches(word, COMMANDS, 1):
        raise UsageError(f"{word}: neither a directory nor a command; did you mean `mtpfs {near[0]}`?")


def _module(command: str) -> ModuleType:
    """Return the module of a command; of a word that is Python's own, with a line behind it."""
    return importlib.import_module(f"mtpfs.cli.{command}{'_' if keyword.iskeyword(command) else ''}")


def _help(words: list[str]) -> None:
    """Print the help of a command, or of all. Raises `UsageError`."""
    if not words:
        print(_mtpfs_parser().format_help(), end="")
    elif words[0] in COMMANDS:
        _module(words[0]).run(["--help"])
    else:
        raise UsageError(f"there is no command `{words[0]}`; commands are: {', '.join(COMMANDS)}")


def mount_helper(arguments: Sequence[str] | None = None) -> int:
    """Run `mount.mtpfs`, as mount(8) calls it; return its exit status."""
    _have_standard_files()
    try:
        chosen = _helper_parser().parse(arguments)
        settings = options.parse_options(chosen.options, sloppy=chosen.sloppy)
        if chosen.fake:
            parse_source(chosen.source)
            return 0
        return _mount(
            chosen.source,
            chosen.target,
            None,
            settings,
            ignored=options.foreign_options(chosen.options),
            foreground=False,
            debug=False,
            status=_mount_status,
        )
    except SetupError as error:
        return _fail(error, _mount_status(error))
    except KeyboardInterrupt:
        return _mount_status(InterruptedSetupError())
    except Exception:
        log.critical("internal error", exc_info=True)
        return daemon.INTERNAL


def _status(error: MtpfsError) -> int:
    return 130 if isinstance(error, InterruptedSetupError) else 1


def _mount_status(error: MtpfsError) -> int:
    if isinstance(error, UsageError):
        return 1
    if isinstance(error, MachineError):
        return 2
    return 8 if isinstance(error, InterruptedSetupError) else 32


def _mtpfs_parser() -> Parser:
    parser = Parser(
        prog="mtpfs",
        usage="mtpfs [SOURCE] MOUNTPOINT [-o OPTIONS] [-f] [-d] [--redact]\n"
        "       mtpfs [SOURCE] --in DIR [-o OPTIONS] [-f] [-d] [--redact]\n"
        "       mtpfs ls|tree|stat|cat|get|put|rm|mkdir|mv|cp|df|sync|thumbs [OPTIONS] [PATH...]\n"
        "       mtpfs import [OPTIONS] DIRECTORY\n"
        "       mtpfs umount MOUNTPOINT [--redact]\n"
        "       mtpfs list [--network] [--json] [--redact]\n       mtpfs info [SOURCE|MOUNTPOINT] [--json] [--redact]\n"
        "       mtpfs doctor [SOURCE] [MOUNTPOINT] [--redact]\n"
        "       mtpfs stats MOUNTPOINT [--json] [--redact]\n       mtpfs help [COMMAND]",
        description="Mount a phone or player that speaks MTP, or work on its files without a mount.",
        epilog=(
            f"{SOURCES}\nMTPFS_SOURCE is the default. `mtpfs get --help` and so on tell of the commands for files.\n`mtpfs umount MOUNTPOINT` unmounts, and waits until everything is on the phone.\n\nmount options (-o):\n"
            + options.help_text()
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("paths", nargs="*", help=argparse.SUPPRESS)
    parser.add_argument(
        "--in",
        dest="directory",
        metavar="DIR",
        help="mount on a directory below DIR that is named after the device, made for it, and removed "
        "when it is unmounted",
    )
    parser.add_argument(
        "-o", dest="options", action="append", default=[], metavar="OPTIONS", help="mount options"
    )
    parser.add_argument("-f", dest="foreground", action="store_true", help="stay in the foreground")
    parser.add_argument("-d", dest="debug", action="store_true", help="log everything; implies -f")
    parser.add_argument("-s", dest="sloppy", action="store_true", help="ignore unknown mount options")
    add_source(parser)
    add_redact(parser)
    parser.add_argument("-V", "--version", action="version", version=f"mtpfs {__version__}")
    return parser


def _helper_parser() -> Parser:
    parser = Parser(prog="mount.mtpfs", usage="mount.mtpfs SOURCE TARGET [-sfnv] [-o OPTIONS] [--redact]")
    parser.add_argument("source")
    parser.add_argument("target")
    parser.add_argument("-o", dest="options", action="append", default=[], metavar="OPTIONS")
    parser.add_argument("-s", dest="sloppy", action="store_true", help="ignore unknown mount options")
    parser.add_argument("-f", dest="fake", action="store_true", help="do everything but mount")
    parser.add_argument("-n", action="store_true", help="ignored: there is no mtab")
    parser.add_argument("-v", action="store_true", help="ignored")
    parser.add_argument("-t", metavar="TYPE", help="ignored: the type is known")
    parser.add_argument("-N", metavar="NAMESPACE", help="ignored: mount(8) has entered it")
    add_redact(parser)
    parser.add_argument("-V", "--version", action="version", version=f"mtpfs {__version__}")
    return parser


def _paths(paths: list[str], directory: str | None, source: str) -> tuple[str, str]:
    """Tell source and mountpoint apart; with `--in` there is no mountpoint (""). Raises `UsageError`.

    `source`: the one of `--source`; then only the mountpoint remains to be told.
    """
    if paths and paths[0] in {*COMMANDS, "help"} and not directory:
        raise UsageError(
            f"`{paths[0]}` is a command, and has to come first; a directory of that name is ./{paths[0]}"
        )
    most = (1 if directory else 2) - bool(source)
    if len(paths) > most:
        after = "mount options stand behind -o" if directory is None else "with --in there is no mountpoint"
        raise UsageError(f"{paths[most]!r} is one argument too many; {after}; see `mtpfs --help`")
    if directory:
        return (paths[0] if paths else source or default_source()), ""
    if not paths:
        raise UsageError("where to mount it is missing: `mtpfs DIRECTORY`; `mtpfs --help` says more")
    if len(paths) == 1:
        if is_source(paths[0]) and not os.path.lexists(paths[0]):
            raise UsageError(f"where to mount it is missing: `mtpfs {paths[0]} DIRECTORY`")
        return source or default_source(), paths[0]
    source, mountpoint = paths
    check_order(source, mountpoint, "mtpfs")
    return source, mountpoint


def _mount(
    source_text: str,
    mountpoint: str,
    directory: str | None,
    settings: Settings,
    *,
    ignored: list[str],
    foreground: bool,
    debug: bool,
    status: Callable[[MtpfsError], int],
) -> int:
    """Mount on `mountpoint`, or, if there is a `directory`, on one made below it."""
    source = parse_source(source_text).absolute()
    place = os.path.abspath(directory or mountpoint)  # noqa: PTH100 - resolve() would follow a link to a dead mount
    if not directory:
        check_mountpoint(place)
    check_fuse(settings.fuse_options)
    settings = replace(
        settings, fsname=settings.fsname or _fsname(source), debug=settings.debug and foreground
    )
    daemon.log_to_stderr(debug=debug)
    if ignored:
        log.warning("options for other filesystems, without effect here: %s", ", ".join(ignored))

    def run(ready: Callable[[], None], stopping: Callable[[], None]) -> int:
        failures: list[MtpfsError] = []
        try:
            if directory:
                _serve_in(source, place, settings, ready, stopping)
            else:
                _serve(source, place, settings, ready, stopping)
        except* MtpfsError as group:
            failures = leaves(group)
        for error in failures:
            log.error("%s", error)
        return max(map(status, failures), default=0)

    return (daemon.in_foreground if foreground else daemon.in_background)(run)


def _serve_in(
    source: Source, directory: str, settings: Settings, ready: daemon.Call, stopping: daemon.Call
) -> None:
    with mountpoint_in(directory, source) as (mountpoint, device):
        check_mountpoint(mountpoint)

        def announce() -> None:
            print(redact(mountpoint), flush=True)
            ready()

        _serve(device, mountpoint, settings, announce, stopping)


def _serve(
    source: Source, mountpoint: str, settings: Settings, ready: daemon.Call, stopping: daemon.Call
) -> None:
    import trio  # noqa: PLC0415 - slow to load, and not before the fork

    from mtpfs.mount import serve  # noqa: PLC0415
    from mtpfs.phone import open_source  # noqa: PLC0415

    trio.run(serve, lambda: open_source(source), mountpoint, settings, ready, stopping)


def _fsname(source: Source) -> str:
    """Return what findmnt shows: the source itself where it says something, else "" for the device's name."""
    return "" if source.kind == "any" else source.text


def _fail(error: MtpfsError, status: int) -> int:
    print(f"mtpfs: {printable(redact(str(error)))}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
