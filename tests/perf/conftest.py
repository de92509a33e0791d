"""What is counted with, and the figures that are stored."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from perf.counting import LargePieces
from perf.counts import Counts
from perf.scenes import SCENES


@pytest.fixture(scope="session")
def large_pieces(tmp_path_factory: pytest.TempPathFactory) -> LargePieces:
    return LargePieces(tmp_path_factory.mktemp("allocations"))


@pytest.fixture(scope="session")
def counts(request: pytest.FixtureRequest) -> Iterator[Counts]:
    """The stored figures; at the end they are stored anew, if a reason was given."""
    reason: str | None = request.config.getoption("--store-counts")
    found = Counts(reason=reason or "")
    yield found
    if reason:
        found.write([scene.name for scene in SCENES])
