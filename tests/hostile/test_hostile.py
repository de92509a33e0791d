"""Whole sessions with a device that lies: every call is answered, by a value or by an error of ours."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from hostile.device import run_network_session, run_session

LONGEST = 3600.0  # seconds on the device's clock: two hundred calls, each within its timeout


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.binary(max_size=300))
@example(data=b"")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_any_lies(data: bytes) -> None:
    """Whatever a device sends, no operation raises anything unknown, or hangs."""
    assert run_session(data) < LONGEST


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.binary(max_size=300))
@example(data=b"")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_any_lies_over_tcp(data: bytes) -> None:
    """The same of a camera in the network, or of who passes for it."""
    assert run_network_session(data) < LONGEST


def test_memory_is_bounded() -> None:
    """Announcing billions of anything doesn't make room for them."""
    lie = bytes([0]) + (8).to_bytes(2, "little")
    tracemalloc.start()
    try:
        for at in range(0, 40, 4):
            for edge in range(6):
                run_session(lie + at.to_bytes(2, "little") + edge.to_bytes(2, "little"))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 32 << 20
