"""Where the conformance tests run: an ordinary directory, mounts of every kind of virtual phone, or `--mount-path`.

An ordinary directory checks the tests themselves. Each kind of phone is mounted
once, each test gets a directory of its own on it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from conformance.place import Place, fresh_directory
from mount.conftest import CAPABILITIES, HAS_FUSE, virtual_mount

DISK = "disk"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test in the directory that was asked for, or everywhere."""
    if "base" in metafunc.fixturenames:
        chosen = metafunc.config.getoption("--mount-path")
        kinds = [chosen] if chosen else [DISK, *CAPABILITIES, "case-insensitive"]
        ids = ["chosen"] if chosen else [kind or "android" for kind in kinds]
        metafunc.parametrize("base", kinds, ids=ids, indirect=True, scope="session")


@pytest.fixture(scope="session")
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A directory on the filesystem under test."""
    with ExitStack() as stack:
        if request.config.getoption("--mount-path"):
            yield Place(Path(request.param).resolve())
        elif request.param == DISK:
            yield Place(tmp_path_factory.mktemp(DISK))
        elif not HAS_FUSE:
            pytest.skip("no /dev/fuse or no fusermount3")
        else:
            phone, mountpoint = tmp_path_factory.mktemp("phone"), tmp_path_factory.mktemp("mount")
            mounted = stack.enter_context(virtual_mount(phone, mountpoint, request.param))
            yield Place(
                mounted.root,
                backing=mounted.phone,
                renames="no-rename" not in request.param,
                moves="no-move" not in request.param,
            )


@pytest.fixture
def place(base: Place) -> Iterator[Place]:
    """An empty directory for one test."""
    with fresh_directory(base) as fresh:
        yield fresh


@pytest.fixture
def root(place: Place) -> Path:
    """The empty directory's path."""
    return place.path
