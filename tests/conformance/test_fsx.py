"""Thousands of random operations come to what a model in memory says."""

from __future__ import annotations

import os

import pytest

from conformance.fsx import Fsx
from conformance.place import Place

SHORT, LONG = 1_000, 4_000  # steps; `make fsx` takes 10,000 on each
TRIED_LONGER = frozenset({"as=android14"})
"""The kinds of phone that are tried with LONG; the others are tried with SHORT."""


def kind_of(request: pytest.FixtureRequest) -> str:
    """Return the kind of phone that a test runs on; empty where the suite runs somewhere else."""
    callspec = getattr(request.node, "callspec", None)
    return str(callspec.params["base"]) if callspec else ""


def test_random_operations(place: Place, request: pytest.FixtureRequest) -> None:
    """Whatever is written, truncated, renamed and mapped in whatever order reads as it was written."""
    fsx = Fsx(place.path, request.config.getoption("--fsx-seed"))
    asked = request.config.getoption("--fsx-steps")
    fsx.run(asked or (LONG if kind_of(request) in TRIED_LONGER else SHORT))
    assert fsx.compared
    if place.backing is not None:
        for path in place.path.iterdir():
            with path.open("rb") as file:
                os.fsync(
                    file
                )  # a file that was emptied by opening is sent when it is closed, which isn't waited for
        shown = {path.name: path.read_bytes() for path in place.path.iterdir()}
        assert {path.name: path.read_bytes() for path in place.backing.iterdir()} == shown
