"""Options of the whole suite."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator

import pytest

from mtpfs.vfs.spool import spool_directory


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("mtpfs")
    group.addoption(
        "--mount-path",
        metavar="DIR",
        help="run the conformance tests in this directory instead of on virtual phones",
    )
    group.addoption(
        "--fsx-steps",
        type=int,
        default=1000,
        metavar="N",
        help="length of the random operation test on each kind of phone (default: %(default)s)",
    )
    group.addoption(
        "--fsx-seed", type=int, default=1, metavar="N", help="seed of the random operation test (default: 1)"
    )


def pytest_configure() -> None:
    """Have Ctrl-C heeded by what the tests start, also where they run as a shell's job in the background."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def own_spool() -> Iterator[None]:
    """Keep what the tests make mtpfs put aside out of the directory where people look for theirs."""
    before = os.environ.get("TMPDIR")
    with tempfile.TemporaryDirectory(prefix="mtpfs-tests-", dir=spool_directory()) as directory:
        os.environ["TMPDIR"] = directory
        yield
        if before is None:
            del os.environ["TMPDIR"]
        else:
            os.environ["TMPDIR"] = before
