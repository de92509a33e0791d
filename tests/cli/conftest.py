"""A module's phone, `cable`, reached in both ways."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.files import Commands, reached


@pytest.fixture(params=["cable", "mount"])
def commands(request: pytest.FixtureRequest, cable: Commands, tmp_path: Path) -> Iterator[Commands]:
    """The same phone, over the cable and behind a mount."""
    with reached(request.param, cable, tmp_path / "mnt"):
        yield cable
