"""Phones and mountpoints for the tests on real USB. Runs inside the virtual machine only."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from mtpfs.cli.mounts import is_mounted
from vm.phones import UmtpPhone, run


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Tell of a failure at once: the machine may not live to the summary."""
    if report.failed:
        print(f"\n{report.longreprtext}")  # noqa: T201


@pytest.fixture(scope="session")
def umtp_phones(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[UmtpPhone]]:
    """Two phones with different serial numbers, each with a 64 MiB file and 500 small ones."""
    phones = []
    for number in range(2):
        directory = tmp_path_factory.mktemp(f"phone{number}")
        (directory / "large.bin").write_bytes(os.urandom(64 << 20))
        (directory / "files").mkdir()
        for count in range(1, 501):
            (directory / f"files/file {count}.txt").write_bytes(b"x" * count)
        phones.append(UmtpPhone(number, directory))
    yield phones
    for phone in phones:
        phone.unplug()


@pytest.fixture(scope="module")
def mountpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory to mount on; whatever is mounted there at the end is unmounted."""
    directory = tmp_path_factory.mktemp("mount")
    yield directory
    if is_mounted(str(directory)):
        run("fusermount3", "-u", directory, check=False)
    if is_mounted(str(directory)):
        run("fusermount3", "-uz", directory)
