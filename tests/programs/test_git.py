"""git: repositories on the phone."""

from __future__ import annotations

from pathlib import Path

from mount.conftest import Mount, run
from programs.conftest import contents

_GIT = ("git", "-c", "user.name=T", "-c", "user.email=t@example.org", "-c", "gc.auto=0")


def _commit(repository: Path, text: str) -> None:
    (repository / "notes.txt").write_text(text)
    run(*_GIT, "add", ".", cwd=repository)
    run(*_GIT, "commit", "-qm", text, cwd=repository)


def test_repository_on_the_phone(mounted: Mount) -> None:
    """A repository is made, committed to, packed and checked on the mount, and what is on the phone is whole too."""
    repository = mounted.root / "repository"
    run(*_GIT, "init", "-q", repository)
    for number in range(3):
        _commit(repository, f"commit {number}")
    run(*_GIT, "gc", "-q", cwd=repository)
    for place in (repository, mounted.phone / "repository"):
        run(*_GIT, "fsck", "--strict", cwd=place)
    assert run(*_GIT, "status", "--porcelain", cwd=repository).stdout == ""
    assert run(*_GIT, "log", "--format=%s", cwd=repository).stdout.split("\n")[0] == "commit 2"


def test_clone_from_the_phone(mounted: Mount, tmp_path: Path) -> None:
    """A repository that is on the phone can be cloned to this machine."""
    run(*_GIT, "init", "-q", tmp_path / "origin")
    _commit(tmp_path / "origin", "one")
    run("cp", "-r", tmp_path / "origin", mounted.root)
    run(*_GIT, "clone", "-q", "--no-local", mounted.root / "origin", tmp_path / "clone")
    run(*_GIT, "fsck", "--strict", cwd=tmp_path / "clone")
    assert (tmp_path / "clone/notes.txt").read_text() == "one"


def test_clone_onto_the_phone(mounted: Mount, tree: Path) -> None:
    """A repository of this machine is cloned onto the phone, worked on there, and pushed back."""
    run(*_GIT, "init", "-q", "-b", "main", cwd=tree)
    _commit(tree, "one")
    run(*_GIT, "checkout", "-q", "--detach", cwd=tree)
    clone = mounted.root / "clone"
    run(*_GIT, "clone", "-q", "-b", "main", tree, clone)
    assert run(*_GIT, "status", "--porcelain", cwd=clone).stdout == ""
    _commit(clone, "two")
    run(*_GIT, "checkout", "-q", "HEAD~1", cwd=clone)
    assert (clone / "notes.txt").read_text() == "one"
    run(*_GIT, "checkout", "-q", "main", cwd=clone)
    run(*_GIT, "push", "-q", "origin", "main", cwd=clone)
    run(*_GIT, "fsck", "--strict", cwd=clone)
    assert run(*_GIT, "log", "-1", "--format=%s", "main", cwd=tree).stdout.strip() == "two"
    assert contents(clone / "photos") == contents(tree / "photos")
