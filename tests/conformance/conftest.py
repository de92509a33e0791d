"""Where the conformance tests run: an ordinary directory, mounts of every kind of virtual phone, of some over TCP, or
`--mount-path`.

An ordinary directory checks the tests themselves. Each kind of phone is mounted
once, each test gets a directory of its own on it. Tests of what was there before
(`tree`) run on the kinds that can only be read, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from conformance.place import Place, fresh_directory, put
from conformance.test_reading import CONTENTS
from mount.conftest import HAS_FUSE, network_mount, virtual_mount
from mtpfs.virtual.capabilities import parse_options
from phones import KINDS, WRITABLE, name

DISK = "disk"
OVER_TCP = "ip:"
NETWORK = ("as=android8", "as=camera")
"""The kinds of phone that are mounted once more, as cameras in the network: one that can do much, and one that can't."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test in the directory that was asked for, or everywhere."""
    if "base" in metafunc.fixturenames:
        chosen = metafunc.config.getoption("--mount-path")
        usable = KINDS if "tree" in metafunc.fixturenames else WRITABLE
        network = [f"{OVER_TCP}{kind}" for kind in NETWORK if kind in usable]
        kinds = [chosen] if chosen else [DISK, *usable, *network]
        ids = ["chosen"] if chosen else [name(kind) for kind in kinds]
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
            words = request.param.removeprefix(OVER_TCP)
            if words == request.param:
                mounted = stack.enter_context(virtual_mount(phone, mountpoint, words))
            else:
                mounted, _ = stack.enter_context(network_mount(phone, mountpoint, words))
            yield Place.on_phone(mounted.root, mounted.phone, parse_options(words))


@pytest.fixture
def place(base: Place) -> Iterator[Place]:
    """An empty directory for one test."""
    with fresh_directory(base) as fresh:
        yield fresh


@pytest.fixture
def root(place: Place) -> Path:
    """The empty directory's path."""
    return place.path


@pytest.fixture
def tree(base: Place) -> Iterator[Path]:
    """A directory with files that were on the phone before; `CONTENTS` says which."""
    with put(base, CONTENTS) as directory:
        yield directory
