"""Errors of the layers below, as programs expect them: an OSError of the right class, with errno and path.

Python chooses the class by errno: FileNotFoundError, PermissionError, TimeoutError and so on. A timeout stays
ETIMEDOUT here, while on the mount it is EIO: a program that calls the library can make more of it.

Invariant: what an operation of the library raises is an OSError about the path that the caller gave; but for a bug,
and for cancellation.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from mtpfs.errors import MtpfsError, ResponseError, SetupError, UsageError


def os_error(error: MtpfsError, *paths: str) -> OSError:
    """Return an error as an OSError about one path or two."""
    code = errno.EINVAL if isinstance(error, UsageError) else error.errno
    text, more = os.strerror(code), str(error)
    if isinstance(error, SetupError):
        text = more
    elif more not in {"", errno.errorcode.get(code)} and not isinstance(error, ResponseError):
        text = f"{text} ({more})"
    first, second = (*paths, None, None)[:2]
    return OSError(code, text, first, None, second)


@contextmanager
def about(*paths: str) -> Iterator[None]:
    """Raise what is raised inside as an OSError about one path or two."""
    try:
        yield
    except MtpfsError as error:
        raise os_error(error, *paths) from error
    except BaseExceptionGroup as group:
        # A nursery has wrapped the only error that there was.
        found, others = group.split(MtpfsError)
        if others is not None or found is None:
            raise
        raise os_error(_first(found), *paths) from group


def _first(group: BaseExceptionGroup[MtpfsError]) -> MtpfsError:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
