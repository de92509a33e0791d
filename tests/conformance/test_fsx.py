"""Thousands of random operations come to what a model in memory says."""

from __future__ import annotations

import os

import pytest

from conformance.fsx import Fsx
from conformance.place import Place


def test_random_operations(place: Place, request: pytest.FixtureRequest) -> None:
    """Whatever is written, truncated, renamed and mapped in whatever order reads as it was written."""
    fsx = Fsx(place.path, request.config.getoption("--fsx-seed"))
    fsx.run(request.config.getoption("--fsx-steps"))
    assert fsx.compared
    if place.backing is not None:
        for path in place.path.iterdir():
            with path.open("rb") as file:
                os.fsync(
                    file
                )  # a file that was emptied by opening is sent when it is closed, which isn't waited for
        shown = {path.name: path.read_bytes() for path in place.path.iterdir()}
        assert {path.name: path.read_bytes() for path in place.backing.iterdir()} == shown
