"""What became of contents that the device hadn't got when the mount ended.

`close` and `fsync` tell programs, and the log tells administrators. A user who waits for the end of a mount, to unplug
the device, sees neither. So it is noted here, where it happens.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Unsent:
    """Contents that never arrived."""

    path: str
    """The file's path, from the mount's root."""
    kept: str
    """The file in the recovery directory; empty: there is none."""
    reason: str


@dataclass(slots=True)
class Outcome:
    """The outcome of one mount. `arrived` has the paths of what was sent after the unmount."""

    arrived: list[str] = field(default_factory=list)
    unsent: list[Unsent] = field(default_factory=list)
    """Also from before the unmount: a held file, say, that the device has refused after its `close`."""
