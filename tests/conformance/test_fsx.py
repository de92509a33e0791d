"""Thousands of random operations come to what a model in memory says."""

from __future__ import annotations

import pytest

from conformance.fsx import Fsx
from conformance.place import Place


def test_random_operations(place: Place, request: pytest.FixtureRequest) -> None:
    """Whatever is written, truncated, renamed and mapped in whatever order reads as it was written."""
    fsx = Fsx(place.path, request.config.getoption("--fsx-seed"))
    fsx.run(request.config.getoption("--fsx-steps"))
    assert fsx.compared
    if place.backing is not None:
        shown = {path.name: path.read_bytes() for path in place.path.iterdir()}
        assert {path.name: path.read_bytes() for path in place.backing.iterdir()} == shown
