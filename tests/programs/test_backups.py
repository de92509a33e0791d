"""borg and restic: backups onto the phone, and of what is on it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from mount.conftest import Mount
from programs.conftest import contents, dates, program

Program = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def borg(tmp_path: Path) -> Program:
    """Run borg with a home of its own."""
    words = (
        "env",
        f"BORG_BASE_DIR={tmp_path}/borg",
        "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK=yes",
        "borg",
    )
    return lambda *more, cwd: program(*words, *more, cwd=cwd)


@pytest.fixture
def restic(tmp_path: Path) -> Program:
    """Run restic with a password and a cache of its own."""
    words = ("env", "RESTIC_PASSWORD=secret", f"RESTIC_CACHE_DIR={tmp_path}/cache", "restic", "--json")
    return lambda *more, cwd: program(*words, *more, cwd=cwd)


def test_borg_repository_on_the_phone(mounted: Mount, borg: Program, tree: Path, tmp_path: Path) -> None:
    """A repository on the phone takes two backups, passes its check, and gives everything back."""
    repository, back = mounted.root / "backup", tmp_path / "back"
    back.mkdir()
    borg("init", "-e", "none", repository, cwd=tree)
    borg("create", f"{repository}::one", ".", cwd=tree)
    (tree / "later").write_text("later")
    borg("create", f"{repository}::two", ".", cwd=tree)
    borg("delete", f"{repository}::one", cwd=tree)
    borg("compact", repository, cwd=tree)
    borg("check", "--verify-data", repository, cwd=tree)
    borg("extract", f"{repository}::two", cwd=back)
    assert contents(back) == contents(tree)
    borg("check", mounted.phone / "backup", cwd=tree)


def test_borg_backup_of_the_phone(filled: Mount, borg: Program, tmp_path: Path) -> None:
    """The second backup finds only the newest file new, which borg doesn't trust yet; the first gives all back."""
    repository, back = tmp_path / "repository", tmp_path / "back"
    back.mkdir()
    borg("init", "-e", "none", repository, cwd=tmp_path)
    borg("create", f"{repository}::one", "tree", cwd=filled.root)
    again = borg("create", "--list", "--filter", "AME", f"{repository}::two", "tree", cwd=filled.root)
    newest = max(dates(filled.phone), key=dates(filled.phone).__getitem__)
    assert again.stderr.splitlines() in ([], [f"A {newest}"])
    borg("extract", f"{repository}::one", cwd=back)
    assert contents(back / "tree") == contents(filled.phone / "tree")
    assert dates(back / "tree") == dates(filled.phone / "tree")


def test_restic_repository_on_the_phone(mounted: Mount, restic: Program, tree: Path, tmp_path: Path) -> None:
    """A repository on the phone takes two backups, passes its check, and gives everything back."""
    repository = f"--repo={mounted.root}/backup"
    restic(repository, "init", cwd=tree)
    restic(repository, "backup", ".", cwd=tree)
    (tree / "later").write_text("later")
    restic(repository, "backup", ".", cwd=tree)
    restic(repository, "forget", "--keep-last", "1", "--prune", cwd=tree)
    restic(repository, "check", "--read-data", cwd=tree)
    restic(repository, "restore", "latest", "--target", tmp_path / "back", cwd=tree)
    assert contents(tmp_path / "back") == contents(tree)


def test_restic_backup_of_the_phone(filled: Mount, restic: Program, tmp_path: Path) -> None:
    """The second backup of the phone reads no file anew, and the first gives everything back."""
    repository = f"--repo={tmp_path}/repository"
    restic(repository, "init", cwd=tmp_path)
    restic(repository, "backup", "tree", cwd=filled.root)
    again = restic(repository, "backup", "tree", cwd=filled.root).stdout
    summary = json.loads(again.splitlines()[-1])
    assert (summary["files_new"], summary["files_changed"], summary["files_unmodified"]) == (0, 0, 21)
    restic(repository, "restore", "latest", "--target", tmp_path / "back", cwd=tmp_path)
    assert contents(tmp_path / "back/tree") == contents(filled.phone / "tree")
    assert dates(tmp_path / "back/tree") == dates(filled.phone / "tree")
