"""A soak: mixed load on real mounts while everything goes wrong.

Strategy: several workers per mount, one hand per phone; see `worker` and `trouble`. At the
end the phones are well again, every file is compared with what was acknowledged,
everything is deleted, and nothing may be left: inodes, descriptors, threads, memory.

Invariant: the seed decides what every worker and every hand wants to do; only the order
in which they get to it is the machine's.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from soak.rig import Gauges, Rig, rig, wait_until
from soak.trouble import Trouble
from soak.worker import FOLDERS, Tally, Worker

KINDS = ("", "no-edit&no-proplist&no-events")
OF_THE_CHILD = [
    "anon_inode",
    "pipe",
    "pipe",
]  # descriptors of the one that tells watchers; it comes with the first news
WORKERS = 3  # on each mount
DEADLINE = 150.0  # seconds for one operation: the budgets of a dead device, on a busy machine
QUIET = 12.0  # seconds after which idle threads have ended
GROWTH = 12 << 20  # bytes that a process may have grown by, from the middle third of the time to the last


@dataclass
class Result:
    """How it went. `problems` is what may not be."""

    problems: list[str] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)
    troubles: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    memory: list[str] = field(default_factory=list)


class Soak:
    """One mount with its workers and its trouble."""

    def __init__(self, mounted: Rig, seed: int, result: Result) -> None:
        self.rig = mounted
        self.result = result
        self.gauges = Gauges(mounted)
        self.trouble = Trouble(mounted.hand, seed)
        self.workers = [
            Worker(mounted.root, mounted.phone, f"w{number}", seed * 100 + number, result.tally)
            for number in range(WORKERS)
        ]
        for worker in self.workers:
            worker.prepare()
        time.sleep(1)
        self._nodes = mounted.statistics()["cache"]["nodes"]
        self._descriptors = [*mounted.descriptors, *OF_THE_CHILD]
        runs: list[Callable[[], None]] = [self.gauges.run, *(w.run for w in self.workers), self.trouble.run]
        self._threads = [threading.Thread(target=run, daemon=True) for run in runs]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def look(self) -> list[str]:
        """Return what has gone wrong that may not."""
        wrong = []
        failures = {worker.name: worker.failure for worker in self.workers} | {
            "the hand": self.trouble.failure
        }
        for name, failure in failures.items():
            if failure is not None:
                wrong.append(f"{name}: {type(failure).__name__}: {failure}")
        for worker in self.workers:
            if worker.failure is not None:
                wrong += [f"{worker.name} before: {line}" for line in worker.history()]
        for worker in self.workers:
            doing = worker.doing
            if doing is not None and time.monotonic() - doing[1] > DEADLINE:
                wrong.append(f"{worker.name}: {doing[0]} hangs since {time.monotonic() - doing[1]:.0f} s")
                self.rig.dump()
        if isinstance(self.trouble.failure, TimeoutError):
            self.rig.dump()
        if self.rig.process.poll() is not None:
            wrong.append(f"the mount has ended with {self.rig.process.returncode}")
        return wrong

    def end(self) -> list[str]:
        """Let the phone become well, and check everything; return what is wrong."""
        self.trouble.end()
        self._threads[-1].join(60)
        for worker in self.workers:
            worker.end()
        deadline = time.monotonic() + DEADLINE
        for thread in self._threads[1:-1]:
            thread.join(max(0.0, deadline - time.monotonic()))
        wrong = self.look()
        if not wrong:
            wrong += self._check_contents()
        self.gauges.end()
        if not wrong:
            wrong += self._check_leaks()
        wrong += self._check_log()
        self._count()
        return wrong

    def _check_contents(self) -> list[str]:
        try:
            wait_until(self._well, "the phone's recovery")
            # Plugged in anew, a phone forgets the names that it had reserved for uploads that broke off.
            self.rig.hand.say("unplug")
            wait_until(lambda: not self._well(), "the phone's leave")  # else it is the cache that is well
            self.rig.hand.say("plug")
            wait_until(self._well, "the phone's return")
            for worker in self.workers:
                worker.check_all()
        except (AssertionError, OSError) as error:
            if isinstance(error, TimeoutError):
                self.rig.dump()
            return [f"at the end: {type(error).__name__}: {error}"]
        return []

    def _well(self) -> bool:
        try:
            for worker in self.workers:
                os.listdir(self.rig.root / worker.name)
            return not self.rig.statistics()["cache"]["undelivered"]
        except OSError:
            return False

    def _check_leaks(self) -> list[str]:
        wrong = []
        try:
            for worker in self.workers:
                for path in sorted((self.rig.root / worker.name).iterdir()):
                    shutil.rmtree(path)
        except OSError as error:
            return [f"deleting everything: {error}"]
        left = [path for path in self.rig.phone.rglob("*") if path.name not in {w.name for w in self.workers}]
        if left:
            self.result.troubles["temporary objects left on the phone"] += len(left)
            for path in left:
                path.unlink()
        try:
            wait_until(lambda: self._leaks() == [], "the end of all leaks", 2 * QUIET)
        except TimeoutError:
            wrong += self._leaks()
        status = self.rig.unmount()
        if status:
            wrong.append(f"the mount ended with {status}")
        return wrong

    def _leaks(self) -> list[str]:
        statistics = self.rig.statistics()
        found = []
        expected = self._nodes - len(self.workers) * FOLDERS
        nodes, queued = statistics["cache"]["nodes"], statistics["session"]["queued"]
        if nodes > expected:
            found.append(f"{nodes} inodes, expected were {expected}")
        if queued:
            found.append(f"{queued} jobs in the queue")
        extra = Counter(self.rig.descriptors) - Counter(self._descriptors)
        if extra:
            found.append(f"descriptors left open: {dict(extra)}")
        if self.rig.threads > 8:
            found.append(f"{self.rig.threads} threads")
        growth = self.gauges.growth()
        if growth > GROWTH:
            found.append(f"memory has grown by {growth >> 20} MiB")
        return found

    def _check_log(self) -> list[str]:
        log = self.rig.log.read_text(errors="replace")
        return ["there is a traceback in the log"] if "Traceback" in log else []

    def _count(self) -> None:
        result = self.result
        result.troubles.update(self.trouble.counts)
        megabytes = [f"{size >> 20}" for size in self.gauges.memory[:: max(1, len(self.gauges.memory) // 12)]]
        result.memory.append(" ".join(megabytes))


def soak(seconds: float, seed: int, *, usb: bool = False) -> Result:
    """Run for so long; return how it went."""
    result = Result()
    with ExitStack() as stack:
        base = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="soak-")))
        soaks = []
        for number, words in enumerate(KINDS):
            (base / f"phone{number}").mkdir()
            mounted = stack.enter_context(rig(base / f"phone{number}", words, usb=usb))
            soaks.append(Soak(mounted, seed + number, result))
        for each in soaks:
            each.start()
        end = time.monotonic() + seconds
        while time.monotonic() < end and not any(each.look() for each in soaks):
            time.sleep(0.5)
        for each, words in zip(soaks, KINDS, strict=True):
            try:
                for item in each.rig.hand.say("tally").split():
                    kind, count = item.split("=")
                    result.faults[kind] += int(count)
            except OSError as error:
                result.problems.append(f"the hand is lost: {error}")
            wrong = each.end()
            result.problems += [f"[{words or 'android'}] {problem}" for problem in wrong]
            if wrong:
                keep = Path(tempfile.mkdtemp(prefix="soak-log-"))
                shutil.copy(each.rig.log, keep)
                result.problems.append(f"the log is {keep}/log")
    return result


def tell(result: Result, seconds: float, seed: int) -> None:
    """Print the counts."""

    def listed(counts: Counter[str]) -> str:
        return ", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or "none"

    tally = result.tally
    errors = tally.errors.total()
    operations = tally.operations.total()
    print(f"soak of {seconds:.0f} s on {len(KINDS)} mounts with {WORKERS} workers each, seed {seed}")
    print(f"faults injected: {result.faults.total()} ({listed(result.faults)})")
    print(f"other trouble: {listed(result.troubles)}")
    print(f"operations: {operations} ({listed(tally.operations)})")
    print(f"answered with an error: {errors} ({listed(tally.errors)})")
    print(f"bytes written and acknowledged: {tally.written}; read: {tally.read}; verified: {tally.verified}")
    for words, memory in zip(KINDS, result.memory, strict=False):
        print(f"memory in MiB over time, {words or 'android'}: {memory}")
    print("lost, hung or leaked:", "; ".join(result.problems) or "nothing")
