"""Handles that are out of date: one policy for all code that needs a handle.

A handle is good for one session. Some devices number their objects anew within a session, or don't know one for a
moment. So code that needs a handle gets it by `Tree.handle` or `Tree.place` inside a step, and has the step run here.
By the second try the tree has noted that the handle was refused, so the step gets another one. Two tries are enough:
what is refused then isn't there.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from mtpfs.errors import ResponseError, SessionLostError
from mtpfs.session import Session

log = logging.getLogger(__name__)

T = TypeVar("T")


async def with_current_handles(
    session: Session,
    step: Callable[[], Awaitable[T]],
    *,
    is_stale: Callable[[ResponseError], bool],
    subject: Callable[[], str],
) -> T:
    """Return what `step` returns; do it once more if it failed because a handle of it was out of date.

    That is so in a new session, and where `is_stale` says so of the device's answer. A step must be safe to
    repeat after such an answer. `subject` names it in the log.
    Raises what the second try raises; what the first raises if that had other reasons, or the device is away.
    """
    for last in (False, True):
        try:
            return await step()
        except SessionLostError as error:
            if last or session.gone:
                raise
            reason = str(error)
        except ResponseError as error:
            if last or not is_stale(error):
                raise
            reason = str(error)
        log.debug("%s: %s; once more, with handles that are looked up anew", subject(), reason)
    raise AssertionError("unreachable")
