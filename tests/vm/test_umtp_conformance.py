"""The conformance tests on uMTP-Responder, over real USB."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance.conftest import place, root
from conformance.place import Place
from conformance.test_fsx import *  # noqa: F403 - the same tests, in another place
from conformance.test_posix import *  # noqa: F403
from conformance.test_posix_more import *  # noqa: F403
from vm.phones import Mount, UmtpPhone

__all__ = ["place", "root"]


@pytest.fixture(scope="module")
def base(umtp_phones: list[UmtpPhone], mountpoint: Path) -> Iterator[Place]:
    """The first phone's storage; this responder can't move objects."""
    mounted = Mount(umtp_phones[0].source, mountpoint)
    (storage,) = mountpoint.iterdir()
    yield Place(storage, backing=umtp_phones[0].directory, moves=False)
    mounted.unmount()
