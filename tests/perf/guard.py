"""What a scene costs, counted on a mount without kernel, threads and clock (`perf.rig`)."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from mtpfs.fuse.operations import Operations
from mtpfs.settings import Settings
from perf.counting import Cable, LargePieces, Work, counted_steps
from perf.rig import Rig, rig
from perf.scenes import MOUNT, Scene
from perf.users import MIB, Modelled
from stress.wire import leave_nothing_to_chance

LARGE = MIB
"""Bytes from which on a piece of memory is counted: the kernel's largest request, and the smallest window of a run."""
KIND = "as=android14"


@dataclass(frozen=True)
class Cost:
    """What one run of a scene has taken."""

    transactions: dict[str, int]
    bytes_in: int
    bytes_out: int
    hops: int
    """Jobs of the session, and functions that were run in a thread otherwise."""
    large_pieces: int
    """Pieces of memory of a window or more that were taken on our side of the cable."""
    steps: int
    """On our side, if they were counted."""


def cost(scene: Scene, place: Path, pieces: LargePieces, *, files: int = 0, trace: bool = False) -> Cost:
    """Play a scene, in a directory of its own, with so many files; `trace`: count the steps."""
    files = files or scene.files
    phone, spools = place / "phone", place / "spools"
    phone.mkdir(parents=True)
    spools.mkdir()
    scene.prepare(phone, files)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TMPDIR", str(spools))
            leave_nothing_to_chance(patch, random.Random(0))
            hops = _counted_threads(patch)
            measure = _Measure(scene, phone, files, patch, pieces, hops, trace=trace)
            return trio.run(measure.run, clock=MockClock(autojump_threshold=0))
    finally:
        shutil.rmtree(place)


def _counted_threads(patch: pytest.MonkeyPatch) -> Counter[str]:
    hops: Counter[str] = Counter()
    run_sync: Callable[..., Any] = trio.to_thread.run_sync

    async def counted(function: Any, *arguments: Any, **options: Any) -> Any:
        hops["threads"] += 1
        return await run_sync(function, *arguments, **options)

    patch.setattr("trio.to_thread.run_sync", counted)
    return hops


class _Measure:
    def __init__(
        self,
        scene: Scene,
        phone: Path,
        files: int,
        patch: pytest.MonkeyPatch,
        pieces: LargePieces,
        hops: Counter[str],
        *,
        trace: bool,
    ) -> None:
        self._scene = scene
        self._phone = phone
        self._files = files
        self._patch = patch
        self._pieces = pieces
        self._hops = hops
        self._trace = trace
        self._cable = Cable(pieces)

    async def run(self) -> Cost:
        with self._pieces.counted(LARGE):
            async with rig(self._phone, KIND, cable=self._cable) as r:
                operations = Operations(r.fs, Settings(ttl=3600.0), {})
                user = Modelled(operations, r.root.ino, self._patch)
                if self._scene.warm is not None:
                    await self._scene.warm(user)
                before = None if self._scene.name == MOUNT else self._so_far(r, 0)
                steps = Work()
                if self._trace:
                    with counted_steps(self._cable) as steps:
                        await self._scene.play(user, self._files)
                else:
                    await self._scene.play(user, self._files)
                after = self._so_far(r, steps.ours)
        return after if before is None else _difference(after, before)

    def _so_far(self, r: Rig, steps: int) -> Cost:
        told = r.session.statistics()
        return Cost(
            dict(told.operations),
            told.bytes_in,
            told.bytes_out,
            r.session.jobs + self._hops["threads"],
            self._pieces.count - self._cable.large_pieces,
            steps,
        )


def _difference(after: Cost, before: Cost) -> Cost:
    transactions = Counter(after.transactions)
    transactions.subtract(before.transactions)
    return Cost(
        {name: count for name, count in sorted(transactions.items()) if count},
        after.bytes_in - before.bytes_in,
        after.bytes_out - before.bytes_out,
        after.hops - before.hops,
        after.large_pieces - before.large_pieces,
        after.steps - before.steps,
    )


FEWER, MORE = 40, 80


def steps_per_file(scene: Scene, place: Path, pieces: LargePieces) -> float:
    """Return the steps that one more file takes, or that lies beside those that the scene is about."""
    fewer, more = (
        cost(scene, place / f"{files}", pieces, files=files, trace=True) for files in (FEWER, MORE)
    )
    return (more.steps - fewer.steps) / (MORE - FEWER)
