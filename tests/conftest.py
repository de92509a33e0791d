"""Options of the whole suite."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("mtpfs")
    group.addoption(
        "--mount-path",
        metavar="DIR",
        help="run the conformance tests in this directory instead of on virtual phones",
    )
    group.addoption(
        "--fsx-steps",
        type=int,
        default=1000,
        metavar="N",
        help="length of the random operation test on each kind of phone (default: %(default)s)",
    )
    group.addoption(
        "--fsx-seed", type=int, default=1, metavar="N", help="seed of the random operation test (default: 1)"
    )
