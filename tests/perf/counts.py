"""The figures that are stored, and what is said of those that differ.

`counts.toml` has a part for each scene: its figures, the reason why they are what they are, and a seal over both. Only
`make perf-guard REASON=...` can make the seal. So no figure can be changed by hand without a reason, and no new figure
can keep an old reason.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from pathlib import Path
from typing import Any

WANTED = "If that is wanted: make perf-guard REASON='why', and commit tests/perf/counts.toml with the change."
STORE = Path(__file__).with_name("counts.toml")
SLACK = 0.08
"""By what part the steps of a file may differ: Python's versions differ in what they count as a line."""
_HEAD = """\
# What each scene costs, counted: see tests/README.md. Written by `make perf-guard REASON='why'`, not by hand.
# bytes_in, bytes_out: over the link; hops: to another thread and back; large_pieces: of memory, of 1 MiB or more;
# requests: the kernel's, READ left out, at least and at most; steps_per_file: lines of Python.
"""
_WORDS = {
    "bytes_in": "bytes from the device",
    "bytes_out": "bytes to the device",
    "hops": "hops between threads",
    "large_pieces": "pieces of memory of 1 MiB or more",
    "steps_per_file": "steps for each file more",
    "requests": "requests of the kernel",
}

Figures = dict[str, Any]


class Counts:
    """The stored figures. With a `reason`, those that differ are taken over, for `write`."""

    def __init__(self, path: Path = STORE, reason: str = "") -> None:
        self._path = path
        self._reason = reason.strip()
        self._parts: dict[str, Figures] = tomllib.loads(path.read_text()) if path.exists() else {}
        self._before = {name: part.get("reason", "") for name, part in self._parts.items()}

    @property
    def names(self) -> list[str]:
        """The scenes that have figures."""
        return list(self._parts)

    def complaints(self, name: str, found: Figures) -> list[str]:
        """Return in plain words what of a scene differs; nothing if it was taken over. Raises `ValueError` without a new reason."""
        stored = self._parts.get(name, {})
        differing = {key: value for key, value in found.items() if _differs(key, stored.get(key), value)}
        if differing and self._reason:
            if self._reason == self._before.get(name):
                raise ValueError(f"{name}: the reason is that of the figures that are stored already")
            taken = {key: _with_room(key, value) for key, value in differing.items()}
            part = {**stored, **taken, "reason": self._reason}
            self._parts[name] = {**part, "seal": _seal(part)}
            return []
        return [
            line
            for key, value in differing.items()
            for line in _difference(name, key, stored.get(key), value)
        ]

    def unsealed(self) -> list[str]:
        """Return the scenes without a reason, or whose figures or reason were changed by hand."""
        return [
            name
            for name, part in self._parts.items()
            if not str(part.get("reason", "")).strip() or part.get("seal") != _seal(part)
        ]

    def write(self, order: list[str]) -> None:
        """Write the file, its parts in that order; others are left out."""
        parts = [_part(name, self._parts[name]) for name in order if name in self._parts]
        self._path.write_text("\n".join([_HEAD, *parts]))


def _differs(key: str, stored: Any, found: Any) -> bool:
    if stored is None:
        return True
    if key == "requests":
        least, most = stored
        return not least <= found <= most
    if key == "steps_per_file":
        return bool(abs(found - stored) > SLACK * stored)
    return bool(stored != found)


def _with_room(key: str, found: Any) -> Any:
    """Return what is stored: for what isn't the same each time, a range."""
    if key == "requests":
        room = max(3, found // 20)
        return [found - room, found + room]
    return found


def _difference(name: str, key: str, stored: Any, found: Any) -> list[str]:
    if stored is None:
        return [f"{name}: no {_WORDS.get(key, key)} are stored"]
    if key == "transactions":
        return [
            f"{name}: transactions {operation} were {stored.get(operation, 0)}, are {found.get(operation, 0)} now"
            for operation in sorted(stored.keys() | found.keys())
            if stored.get(operation, 0) != found.get(operation, 0)
        ]
    were = f"{stored[0]} to {stored[1]}" if key == "requests" else f"{stored:,}"
    return [f"{name}: {_WORDS[key]} were {were}, are {found:,} now"]


def _seal(part: Figures) -> str:
    sealed = {key: value for key, value in part.items() if key != "seal"}
    return hashlib.blake2b(json.dumps(sealed, sort_keys=True).encode(), digest_size=6).hexdigest()


def _part(name: str, part: Figures) -> str:
    order = ["reason", "transactions", *_WORDS, "seal"]
    lines = [f"{key} = {_toml(part[key])}" for key in order if key in part]
    return "\n".join([f"[{json.dumps(name)}]", *lines, ""])


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{key} = {_toml(each)}' for key, each in value.items())} }}"
    return json.dumps(value, ensure_ascii=False)
