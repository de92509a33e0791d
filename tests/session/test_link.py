"""Whether a session can be used: what may follow what, however the tasks meet."""

from __future__ import annotations

import trio

from mtpfs.session.link import Link


async def test_closed_while_the_device_comes_back() -> None:
    """A session that is closed while a thread connects again stays closed: the thread can't be cancelled."""
    link, came_back = Link(), list[bool]()
    link.leave()

    async def reconnect() -> bool:
        link.close()
        return True

    with trio.fail_after(5):
        await link.watch(reconnect, lambda: came_back.append(True))
    assert link.closed
    assert not came_back


async def test_back() -> None:
    """One that isn't closed is used again, and the next departure is noticed."""
    link = Link()
    link.leave()
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(link.watch, _there, link.come_back)
            await link.until_back()
            assert (link.gone, link.returns) == (False, 1)
            link.leave()
            await link.until_back()
            nursery.cancel_scope.cancel()
    assert link.returns == 2


async def _there() -> bool:
    await trio.lowlevel.checkpoint()
    return True
