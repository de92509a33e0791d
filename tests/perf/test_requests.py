"""How often the kernel asks in each scene, on a real mount. READ and STATFS are left out: the kernel and other programs choose."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

import pytest
import trio

from mount.conftest import HAS_FUSE, running
from perf.counts import WANTED, Counts
from perf.scenes import MOUNT, SCENES
from perf.users import OnMount

pytestmark = pytest.mark.skipif(not HAS_FUSE, reason="no /dev/fuse or no fusermount3")


def asked(mountpoint: Path) -> int:
    """Return how many requests there were; READ, the look at the mount's own files, and STATFS, which others ask, left out."""
    requests = Counter(json.loads((mountpoint / ".mtpfs-statistics").read_text())["requests"])
    del requests["read"], requests["statfs"]
    return requests.total()


def test_requests(tmp_path: Path, counts: Counts) -> None:
    """All scenes on one mount, each in a folder of its own.

    The phone sends no events: when they arrive, and make the kernel ask again, is a matter of time.
    """
    phone, mountpoint = tmp_path / "phone", tmp_path / "mount"
    mountpoint.mkdir()
    for number, scene in enumerate(SCENES):
        (phone / f"{number}").mkdir(parents=True)
        scene.prepare(phone / f"{number}", scene.files)
    command = [sys.executable, "-m", "perf.mounted", f"virtual:{phone}?no-events", str(mountpoint), "-f"]
    complaints: list[str] = []
    with running([*command, "-o", "ttl=3600"], phone, mountpoint, "") as mounted:
        for number, scene in enumerate(SCENES):
            if scene.name == MOUNT:
                continue
            user = OnMount(mounted.root / f"{number}")
            if scene.warm is not None:
                trio.run(scene.warm, user)
            else:
                (mounted.root / f"{number}").stat()
            before = asked(mountpoint)
            trio.run(scene.play, user, scene.files)
            complaints += counts.complaints(scene.name, {"requests": asked(mountpoint) - before})
    if complaints:
        pytest.fail("\n".join([*complaints, WANTED]), pytrace=False)
