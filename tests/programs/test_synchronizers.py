"""rsync, rclone and unison: what was brought over once isn't brought over again."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

from mount.conftest import Mount, run
from programs.conftest import contents, dates, program

NO_FOLDER_RENAMES = frozenset({"as=tizen"})
"""Where a large folder can't get another extension (EXDEV), which unison asks for with every folder that it makes."""


def _rsync(source: Path, target: Path) -> list[str]:
    """Return what rsync transferred."""
    shown = program("rsync", "-ai", "--no-perms", f"{source}/", target).stdout
    return [line for line in shown.splitlines() if line.startswith((">", "<"))]


def _rclone(*words: str | Path) -> str:
    """Return what rclone told; MTP's dates are of whole seconds, which it can't know."""
    return program("rclone", "--config=", "-v", "--modify-window=1s", *words).stderr


def _unison(home: Path, one: Path, two: Path) -> subprocess.CompletedProcess[str]:
    """Synchronize without questions."""
    words = ("-batch", "-times", "-perms=0", "-dontchmod", "-links=false")
    return run("env", f"UNISON={home}", "unison", one, two, *words, check=False)


def test_rsync_onto_the_phone(mounted: Mount, tree: Path) -> None:
    """rsync -a brings over everything with its dates, then nothing, then only what has changed."""
    assert len(_rsync(tree, mounted.root)) == 21
    assert contents(mounted.phone) == contents(tree)
    assert dates(mounted.root) == dates(mounted.phone) == dates(tree)
    assert _rsync(tree, mounted.root) == []
    (tree / "photos/512 bytes.dat").write_text("changed")
    assert len(_rsync(tree, mounted.root)) == 1
    assert contents(mounted.phone) == contents(tree)
    assert _rsync(tree, mounted.root) == []


def test_rsync_in_place(mounted: Mount, tree: Path) -> None:
    """rsync -a --inplace changes files where they are, dates included, and then has nothing to do."""
    words = ("rsync", "-ai", "--no-perms", "--inplace", f"{tree}/", mounted.root)
    program(*words)
    large = tree / "photos/1300000 bytes.dat"
    large.write_bytes(large.read_bytes()[:-1] + b"!")
    os.utime(large, (1_600_000_000, 1_600_000_000))
    program(*words)
    assert contents(mounted.phone) == contents(tree)
    assert not [line for line in program(*words).stdout.splitlines() if line.startswith(">")]


def test_rsync_from_the_phone(filled: Mount, tmp_path: Path) -> None:
    """rsync -a from the phone brings over everything with its dates, then nothing."""
    assert len(_rsync(filled.root / "tree", tmp_path / "back")) == 21
    assert contents(tmp_path / "back") == contents(filled.phone / "tree")
    assert dates(tmp_path / "back") == dates(filled.phone / "tree")
    assert _rsync(filled.root / "tree", tmp_path / "back") == []


def test_rclone_onto_the_phone(mounted: Mount, tree: Path) -> None:
    """rclone brings over a tree, finds it equal, and transfers nothing the second time."""
    _rclone("copy", tree, mounted.root / "tree")
    assert contents(mounted.phone / "tree") == contents(tree)
    _rclone("check", "--download", tree, mounted.root / "tree")
    assert "There was nothing to transfer" in _rclone("sync", tree, mounted.root / "tree")
    (tree / "photos/512 bytes.dat").unlink()
    (tree / "photos/new.dat").write_text("new")
    _rclone("sync", tree, mounted.root / "tree")
    assert contents(mounted.phone / "tree") == contents(tree)


def test_rclone_from_the_phone(filled: Mount, tmp_path: Path) -> None:
    """rclone brings a tree from the phone, finds it equal, and transfers nothing the second time."""
    back = tmp_path / "back"
    _rclone("copy", filled.root / "tree", back)
    assert contents(back) == contents(filled.phone / "tree")
    _rclone("check", "--download", filled.root / "tree", back)
    assert "There was nothing to transfer" in _rclone("sync", filled.root / "tree", back)


def test_unison(mounted: Mount, tree: Path, tmp_path: Path) -> None:
    """unison brings over a new tree with its dates, has nothing to do after that, and carries changes both ways."""
    there = mounted.root / "tree"
    there.mkdir()
    if mounted.words in NO_FOLDER_RENAMES:
        (there / "photos/summer 2024").mkdir(parents=True)
    first = _unison(tmp_path / "home", tree, there)
    assert first.returncode == 0, first.stderr
    assert contents(mounted.phone / "tree") == contents(tree)
    assert dates(there) == dates(tree)
    second = _unison(tmp_path / "home", tree, there)
    assert (second.returncode, "Nothing to do" in second.stderr) == (0, True), second.stderr
    time.sleep(1.1)  # unison looks into folders whose date has changed, and MTP's dates are whole seconds
    (tree / "here").write_text("here")
    (there / "there").write_text("there")
    (there / "photos/512 bytes.dat").unlink()
    third = _unison(tmp_path / "home", tree, there)
    assert third.returncode == 0, third.stderr
    assert contents(mounted.phone / "tree") == contents(tree)
    assert {"here", "there"} <= set(contents(tree))
    assert "photos/512 bytes.dat" not in contents(tree)
