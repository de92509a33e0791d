"""Options of the whole suite."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from mtpfs.state import spool_directory

LONG = frozenset({"install", "soak"})
"""Directories of tests that take long."""


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
        metavar="N",
        help="length of the random operation test on each kind of phone (default: 4000 on android14, 1000 on the others)",
    )
    group.addoption(
        "--all-steps",
        action="store_true",
        help="break every change off at each of its steps on every kind of phone, not at a sample of them",
    )
    group.addoption(
        "--unmounts",
        type=int,
        metavar="N",
        help="how many times a mount is ended in the middle of events, in each of four ways (default: 20)",
    )
    group.addoption(
        "--store-counts",
        metavar="REASON",
        help="store what scenes cost now, where it differs, and why that is wanted (tests/perf/counts.toml)",
    )
    group.addoption(
        "--fsx-seed", type=int, default=1, metavar="N", help="seed of the random operation test (default: 1)"
    )


def pytest_configure() -> None:
    """Have Ctrl-C heeded by what the tests start, also where they run as a shell's job in the background."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the long tests first: at the end all processes but one would wait for the last of them."""
    items.sort(key=lambda item: Path(item.path).parent.name not in LONG)


@pytest.fixture(scope="session", autouse=True)
def own_directories() -> Iterator[None]:
    """Keep what the tests make mtpfs put aside, and the dates that it remembers, out of where people have theirs.

    Both are in the environment, so that mounts that the tests start have them too.
    """
    with (
        tempfile.TemporaryDirectory(prefix="mtpfs-tests-", dir=spool_directory()) as spools,
        tempfile.TemporaryDirectory(prefix="mtpfs-tests-state-") as state,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("TMPDIR", spools)
        patch.setenv("XDG_STATE_HOME", state)
        patch.setenv(
            "DBUS_SESSION_BUS_ADDRESS", "unix:path=/dev/null"
        )  # no notifications to who runs the tests
        yield
