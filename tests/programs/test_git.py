"""git: repositories on the phone."""

from __future__ import annotations

from pathlib import Path

from mount.conftest import Mount
from programs.conftest import contents, program

_GIT = ("git", "-c", "user.name=T", "-c", "user.email=t@example.org", "-c", "gc.auto=0")


def _commit(repository: Path, text: str) -> None:
    (repository / "notes.txt").write_text(text)
    program(*_GIT, "add", ".", cwd=repository)
    program(*_GIT, "commit", "-qm", text, cwd=repository)


def test_repository_on_the_phone(mounted: Mount) -> None:
    """A repository is made, committed to, packed and checked on the mount, and what is on the phone is whole too."""
    repository = mounted.root / "repository"
    program(*_GIT, "init", "-q", repository)
    for number in range(3):
        _commit(repository, f"commit {number}")
    program(*_GIT, "gc", "-q", cwd=repository)
    for place in (repository, mounted.phone / "repository"):
        program(*_GIT, "fsck", "--strict", cwd=place)
    assert program(*_GIT, "status", "--porcelain", cwd=repository).stdout == ""
    assert program(*_GIT, "log", "--format=%s", cwd=repository).stdout.split("\n")[0] == "commit 2"


def test_clone_from_the_phone(mounted: Mount, tmp_path: Path) -> None:
    """A repository that is on the phone can be cloned to this machine."""
    program(*_GIT, "init", "-q", tmp_path / "origin")
    _commit(tmp_path / "origin", "one")
    program("cp", "-r", tmp_path / "origin", mounted.root)
    program(*_GIT, "clone", "-q", "--no-local", mounted.root / "origin", tmp_path / "clone")
    program(*_GIT, "fsck", "--strict", cwd=tmp_path / "clone")
    assert (tmp_path / "clone/notes.txt").read_text() == "one"


def test_clone_onto_the_phone(mounted: Mount, tree: Path) -> None:
    """A repository of this machine is cloned onto the phone, worked on there, and pushed back."""
    program(*_GIT, "init", "-q", "-b", "main", cwd=tree)
    _commit(tree, "one")
    program(*_GIT, "checkout", "-q", "--detach", cwd=tree)
    clone = mounted.root / "clone"
    program(*_GIT, "clone", "-q", "-b", "main", tree, clone)
    assert program(*_GIT, "status", "--porcelain", cwd=clone).stdout == ""
    _commit(clone, "two")
    program(*_GIT, "checkout", "-q", "HEAD~1", cwd=clone)
    assert (clone / "notes.txt").read_text() == "one"
    program(*_GIT, "checkout", "-q", "main", cwd=clone)
    program(*_GIT, "push", "-q", "origin", "main", cwd=clone)
    program(*_GIT, "fsck", "--strict", cwd=clone)
    assert program(*_GIT, "log", "-1", "--format=%s", "main", cwd=tree).stdout.strip() == "two"
    assert contents(clone / "photos") == contents(tree / "photos")
