"""The conformance tests on personalities of the virtual phone, over real USB."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance.conftest import place, root, tree
from conformance.place import Place
from conformance.test_posix import *  # noqa: F403 - the same tests, in another place
from conformance.test_posix_more import *  # noqa: F403
from conformance.test_reading import *  # noqa: F403
from mtpfs.virtual.capabilities import parse_options
from phones import name
from vm.phones import Mount, VirtualUsbPhone

__all__ = ["place", "root", "tree"]

KINDS = ("as=android14", "as=sailfish", "as=tizen")
"""Those whose servers have habits on the bus or in their answers that in-process tests may hide."""


@pytest.fixture(scope="module", params=KINDS, ids=name)
def base(
    request: pytest.FixtureRequest, mountpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    """The only storage of each kind of phone."""
    directory = tmp_path_factory.mktemp("phone")
    phone = VirtualUsbPhone(directory, name(request.param), request.param)
    mounted = Mount(phone.source, mountpoint)
    (storage,) = mountpoint.iterdir()
    yield Place.on_phone(storage, directory, parse_options(request.param))
    mounted.unmount()
    phone.end()
