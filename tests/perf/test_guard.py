"""What each scene costs is what is stored: transactions, bytes, hops between threads, memory, steps. No clock."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from perf.counting import LargePieces
from perf.counts import WANTED, Counts
from perf.guard import Cost, cost, steps_per_file
from perf.scenes import SCENES, Scene

NAMES = [scene.name for scene in SCENES]


def figures(found: Cost) -> dict[str, object]:
    told = dataclasses.asdict(found)
    del told["steps"]  # of Python's version; those of one more file tell
    return told


@pytest.mark.parametrize("scene", SCENES, ids=NAMES)
def test_scene(scene: Scene, tmp_path: Path, large_pieces: LargePieces, counts: Counts) -> None:
    found = figures(cost(scene, tmp_path / "scene", large_pieces))
    if scene.per_file:
        found["steps_per_file"] = steps_per_file(scene, tmp_path, large_pieces)
    if complaints := counts.complaints(scene.name, found):
        pytest.fail("\n".join([*complaints, WANTED]), pytrace=False)


def test_reasons(counts: Counts) -> None:
    """Each scene has figures, with a reason, and none was changed by hand."""
    assert sorted(counts.names) == sorted(NAMES)
    unsealed = counts.unsealed()
    assert not unsealed, (
        f"tests/perf/counts.toml: {', '.join(unsealed)}: changed by hand, or without a reason. "
        "`make perf-guard REASON='why'` stores figures."
    )


def test_a_change_is_told(tmp_path: Path) -> None:
    """In words, by scene and figure; and stored with a new reason only."""
    store = tmp_path / "counts.toml"
    before = {"transactions": {"GetObject": 2}, "bytes_in": 4000, "steps_per_file": 100.0, "requests": 200}
    assert Counts(store).complaints("read", before)[0] == "read: no transactions are stored"
    first = Counts(store, "the first ones")
    assert first.complaints("read", before) == []
    assert first.complaints("read", before) == []
    first.write(["read"])

    same = before | {"steps_per_file": 102.0, "requests": 205}
    assert Counts(store).complaints("read", same) == []
    other = {
        "transactions": {"GetPartialObject": 3},
        "bytes_in": 5000,
        "steps_per_file": 120.0,
        "requests": 300,
    }
    assert Counts(store).complaints("read", other) == [
        "read: transactions GetObject were 2, are 0 now",
        "read: transactions GetPartialObject were 0, are 3 now",
        "read: bytes from the device were 4,000, are 5,000 now",
        "read: steps for each file more were 100.0, are 120.0 now",
        "read: requests of the kernel were 190 to 210, are 300 now",
    ]
    with pytest.raises(ValueError, match="reason"):
        Counts(store, "the first ones").complaints("read", other)
    second = Counts(store, 'it reads "in parts" now')
    assert second.complaints("read", other) == []
    second.write(["read"])
    assert Counts(store).complaints("read", other) == []
    assert Counts(store).unsealed() == []

    store.write_text(store.read_text().replace("bytes_in = 5000", "bytes_in = 6000"))
    assert Counts(store).unsealed() == ["read"]


def test_a_step_more_is_seen(
    tmp_path: Path, large_pieces: LargePieces, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a change costs shows in each figure."""
    from mtpfs.vfs.windows import Windows

    scene = next(scene for scene in SCENES if scene.name == "read 64 MiB")
    plain = cost(scene, tmp_path / "plain", large_pieces)
    read = Windows.read

    async def copied(self: Windows, offset: int, count: int, size: int) -> bytes:
        data = await read(self, offset, count, size)
        return bytes(data) if count < 1 << 20 else bytes(data) + b""

    monkeypatch.setattr(Windows, "read", copied)
    assert cost(scene, tmp_path / "small", large_pieces) == plain
    whole = next(scene for scene in SCENES if scene.name == "read 64 MiB in requests of 1 MiB")
    monkeypatch.undo()
    plain = cost(whole, tmp_path / "whole", large_pieces)
    monkeypatch.setattr(Windows, "read", copied)
    assert cost(whole, tmp_path / "copied", large_pieces).large_pieces == plain.large_pieces + 64
