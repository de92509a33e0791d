"""Conformance tests on personalities of the virtual phone, over real USB.

Those that edit, replace, move, delete and read, because that is where the servers differ; all of them
would take an emulated machine a quarter of an hour.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance.conftest import place, root, tree
from conformance.place import Place
from conformance.test_posix import (
    test_append,
    test_mixed_positional_io,
    test_rename_over_a_file,
    test_rename_while_an_old_file_is_changed,
    test_unlink_of_an_open_file,
)
from conformance.test_posix_more import (
    test_written_on_after_it_was_replaced,
)
from conformance.test_reading import (
    test_deleting,
    test_everything_is_there,
)
from mtpfs.virtual.capabilities import parse_options
from phones import name
from vm.phones import Mount, VirtualUsbPhone

__all__ = [
    "place",
    "root",
    "test_append",
    "test_deleting",
    "test_everything_is_there",
    "test_mixed_positional_io",
    "test_rename_over_a_file",
    "test_rename_while_an_old_file_is_changed",
    "test_unlink_of_an_open_file",
    "test_written_on_after_it_was_replaced",
    "tree",
]

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
