"""The command `mtpfs`, which counts the kernel's requests: `python -m perf.mounted WORDS...`.

The counts are in `.mtpfs-statistics`, as `requests`; those for that file itself are left out.
"""

from __future__ import annotations

import functools
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

from mtpfs.cli.main import main as mtpfs
from mtpfs.fuse import report
from mtpfs.fuse.operations import Operations

_requests: Counter[str] = Counter()
_HANDLERS = (
    *(
        "lookup",
        "getattr",
        "setattr",
        "statfs",
        "opendir",
        "readdir",
        "releasedir",
        "mkdir",
        "rmdir",
        "unlink",
    ),
    *("rename", "open", "create", "mknod", "read", "write", "flush", "fsync", "release"),
)


def _is_about_report(operations: Operations, arguments: tuple[Any, ...]) -> bool:
    for argument in arguments[:2]:
        if isinstance(argument, bytes) and argument in report.INODES:
            return True
        if isinstance(argument, int) and (
            argument in report.INODES.values() or argument in operations.report
        ):
            return True
    return False


def _counted(name: str, handler: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(handler)
    async def counted(operations: Operations, *arguments: Any) -> Any:
        if not _is_about_report(operations, arguments):
            _requests[name] += 1
        return await handler(operations, *arguments)

    return counted


def main(words: list[str]) -> int:
    """Run `mtpfs WORDS...`; return its exit status."""
    for name in _HANDLERS:
        setattr(Operations, name, _counted(name, getattr(Operations, name)))
    plain = report.statistics

    def with_requests(fs: Any) -> dict[str, Any]:
        return plain(fs) | {"requests": dict(_requests)}

    report.statistics = with_requests
    return mtpfs(words)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
