"""Storages that are listed and can't be described."""

from __future__ import annotations

import pytest

from device.scripted import STORAGE, Answers, handles, scripted, storage_info
from mtpfs.errors import RemoteProtocolError, TransportGoneError
from mtpfs.protocol.codes import Operation, Response

SECOND = 0x00020001
REFUSALS = [Response.StoreNotAvailable, Response.InvalidStorageID, Response.AccessDenied]


def listing(*storages: int, info: Answers) -> dict[int, Answers]:
    return {Operation.GetStorageIDs: handles(*storages), Operation.GetStorageInfo: info}


@pytest.mark.parametrize("code", REFUSALS)
async def test_before_trust(code: Response, caplog: pytest.LogCaptureFixture) -> None:
    """An iPhone's storage before "Trust" isn't shown, is logged once, and comes when it answers."""
    device, _ = scripted(listing(STORAGE, info=[code, code, storage_info(1000)]))
    for _ in range(2):
        assert await device.storages() == []
        assert device.untrusted
    assert len(caplog.records) == 1
    (storage,) = await device.storages()
    assert storage.free == 1000
    assert not device.untrusted


async def test_one_of_two() -> None:
    """The other storage is shown."""

    def info(storage: int) -> bytes | Response:
        return Response.AccessDenied if storage == STORAGE else storage_info(5)

    device, _ = scripted(listing(STORAGE, SECOND, info=info))
    assert [storage.id for storage in await device.storages()] == [SECOND]
    assert device.untrusted


async def test_other_refusals() -> None:
    """A storage that is refused for another reason isn't shown either, but has nothing to do with trust."""
    device, _ = scripted(listing(STORAGE, info=Response.GeneralError))
    assert await device.storages() == []
    assert not device.untrusted


async def test_refused_always() -> None:
    """However often it is refused, describing storages stays possible."""
    device, _ = scripted(listing(STORAGE, info=[*[Response.OperationNotSupported] * 5, storage_info(5)]))
    for _ in range(5):
        assert await device.storages() == []
    assert len(await device.storages()) == 1


@pytest.mark.parametrize("error", [RemoteProtocolError("junk"), TransportGoneError("unplugged")])
async def test_errors_stay_errors(error: RemoteProtocolError | TransportGoneError) -> None:
    """Nonsense and a lost device are no empty phone."""
    device, _ = scripted(listing(STORAGE, info=error))
    with pytest.raises(type(error)):
        await device.storages()


async def test_locked() -> None:
    """A locked phone lists none, and is not one that isn't trusted."""
    device, _ = scripted(listing(0x00010000, info=storage_info(1)))
    assert await device.storages() == []
    assert not device.untrusted
