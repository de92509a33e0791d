"""What may be on the phone, by all that programs were told.

Strategy: for each file, the versions that it may have. A write that was acknowledged
(by close or fsync) leaves one. One that failed leaves the old ones and the new one, for
what the mount has kept may still be delivered later. Changes in place aren't atomic, so
one that failed leaves a blend of both. What is on the phone's own disk settles what a
failed rename or unlink has done, which nothing does later.

Invariant: a version that was acknowledged and not replaced since is the only one.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field


class Violation(AssertionError):  # noqa: N818 - the name says it
    """A byte is lost, or a call has lied."""


@dataclass(frozen=True)
class Blend:
    """Old contents that were being changed in place into new ones when that failed."""

    old: bytes
    new: bytes

    def holds(self, content: bytes) -> bool:
        """Tell whether each byte is the old or the new one, and the length at most the longer one's."""
        if not min(len(self.old), len(self.new)) <= len(content) <= max(len(self.old), len(self.new)):
            return False
        start, end = self._changed()
        if content[:start] != self.old[:start][: len(content)]:
            return False
        for at in range(start, min(end, len(content))):
            # What a file has grown by without data is zeros
            choices = {text[at] for text in (self.old, self.new) if at < len(text)} | {0}
            if content[at] not in choices:
                return False
        return content[end:] in {self.old[end : len(content)], self.new[end : len(content)]}

    def _changed(self) -> tuple[int, int]:
        old, new = self.old, self.new
        shorter = min(len(old), len(new))
        start = _first_difference(old, new, shorter)
        if len(old) != len(new):
            return start, max(len(old), len(new))
        return start, shorter - _first_difference(old[::-1], new[::-1], shorter - start)


def _first_difference(one: bytes, other: bytes, limit: int) -> int:
    low, high = 0, limit  # one[:low] == other[:low]
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


Version = bytes | Blend | None
"""Contents; None: there is no such file."""


@dataclass
class File:
    """What may be under one name."""

    versions: list[Version] = field(default_factory=lambda: [None])
    deliverable: bool = False
    """A write has failed: the mount may hold its contents, and deliver them later."""
    wandering: list[bytes] = field(default_factory=list)
    """Contents of renames that broke off on the way: their only copy gets this name as soon as it is free."""

    @property
    def certain(self) -> bool:
        return len(self.versions) == 1 and not isinstance(self.versions[0], Blend)

    @property
    def content(self) -> bytes | None:
        """The contents of a file that is certain."""
        version = self.versions[0]
        return version if isinstance(version, bytes) else None

    @property
    def may_be_absent(self) -> bool:
        return None in self.versions

    @property
    def may_be_present(self) -> bool:
        return any(version is not None for version in self.versions) or bool(self.wandering)

    def acknowledged(self, version: Version) -> None:
        """Somebody was told that this is it."""
        self.versions = [version]
        self.deliverable = False

    def written(self, version: Version) -> None:
        """It is being written: unless that is acknowledged, it may come true at any time."""
        self.attempted(version)
        self.deliverable = True

    def attempted(self, version: Version) -> None:
        """It was tried and has failed, or may come true later."""
        if version not in self.versions:
            self.versions.append(version)

    def allows(self, content: bytes | None) -> bool:
        if self.may_be_absent and content in self.wandering:
            return True
        return any(
            version.holds(content)
            if isinstance(version, Blend) and content is not None
            else version == content
            for version in self.versions
        )

    def check(self, where: str, content: bytes | None) -> None:
        """Raise `Violation` if `content` can't be there."""
        if not self.allows(content):
            expected = " or ".join(map(told, self.versions))
            raise Violation(f"{where}: {told(content)} instead of {expected}")


def told(version: Version) -> str:
    """Describe a version in a few words."""
    if version is None:
        return "nothing"
    if isinstance(version, Blend):
        return f"a blend of {told(version.old)} and {told(version.new)}"
    return f"{len(version)} bytes ({hashlib.sha256(version).hexdigest()[:8]})"
