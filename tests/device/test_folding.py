"""Whether a storage tells letter case apart, and what counts as the same name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import trio

from device.scripted import ROOT, STORAGE, UPLOADED, Answer, Answers, handles, object_info, scripted
from device.world import World, world
from mtpfs.device import folding
from mtpfs.device.names import fold
from mtpfs.device.quirks import find_quirks
from mtpfs.errors import TransportGoneError
from mtpfs.protocol.codes import Operation, Response
from mtpfs.protocol.datasets import DeviceInfo

PROBES = {8: ".mtpfs-probe-0-a", 9: ".mtpfs-probe-0-A"}


async def find_out(w: World) -> bool:
    w.device.quirks = replace(w.device.quirks, folds=None)  # the virtual phone says that it is an Android
    return await folding.find_out_folding(w.device, w.storage.id, w.root)


@pytest.mark.parametrize(("words", "folds"), [("", False), ("case-insensitive", True)])
async def test_found_out_once(tmp_path: Path, words: str, folds: bool) -> None:
    """Two objects are made and go again; the second question costs nothing."""
    async with world(tmp_path, words) as w:
        assert await find_out(w) is folds
        assert w.device.folds(w.storage.id) is folds
        assert not list(tmp_path.iterdir())
        sent = w.operations["SendObjectInfo"]
        assert await find_out(w) is folds
        assert w.operations["SendObjectInfo"] == sent == 2


async def test_several_at_once(tmp_path: Path) -> None:
    """Tasks that collide at the same time share one experiment."""
    async with world(tmp_path) as w, trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(find_out, w)
    assert w.operations["SendObjectInfo"] == 2
    assert not list(tmp_path.iterdir())


async def test_cancelled(tmp_path: Path) -> None:
    """A caller that is cancelled leaves nothing on the phone."""
    async with world(tmp_path) as w:
        with trio.move_on_after(0):
            await find_out(w)
        assert not list(tmp_path.iterdir())
        assert w.device.folding(w.storage.id) is False


def probing(second: Answer, **answers: Answers) -> dict[int, Answers]:
    """Return the answers of a device that makes object 8 and answers `second` to the next."""
    return {
        **UPLOADED,
        Operation.SendObjectInfo: [(STORAGE, 0xFFFFFFFF, 8), second],
        **{Operation[name]: answer for name, answer in answers.items()},
    }


@pytest.mark.parametrize(
    ("answers", "folds"),
    [
        (probing(Response.GeneralError), True),
        (probing(Response.InvalidParameter), True),
        (probing((STORAGE, 0, 8), GetObjectHandles=handles(8)), True),
        (probing((STORAGE, 0, 9), GetObjectHandles=handles(9)), True),
        (
            probing((STORAGE, 0, 9), GetObjectHandles=handles(8, 9), GetObjectInfo=object_info("renamed")),
            True,
        ),
        (
            # AOSP: two entries in the table, one file on the disk
            probing(
                (STORAGE, 0, 9),
                GetObjectHandles=handles(8, 9),
                GetObjectInfo=[object_info("a"), object_info("A")],
            ),
            True,
        ),
        (probing(Response.StoreFull), None),
        (probing((STORAGE, 0, 0xFFFFFFFF)), None),
        (probing(Response.StoreNotAvailable), None),
        ({**UPLOADED, Operation.SendObjectInfo: Response.GeneralError}, None),
    ],
)
async def test_what_the_answers_mean(
    answers: dict[int, Answers], folds: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refused second name, or a first that is gone, is folding; what says nothing teaches nothing."""
    monkeypatch.setattr("secrets.token_hex", lambda _: "0")
    device, session = scripted(answers)
    assert await folding.find_out_folding(device, STORAGE, ROOT) is (folds is not False)
    assert device.folding(STORAGE) is folds
    made = 0 if answers[Operation.SendObjectInfo] == Response.GeneralError else 1
    assert session.count(Operation.DeleteObject) >= made


async def test_unplugged_meanwhile() -> None:
    """A device that goes is an error of the session, and nothing was learned."""
    device, _ = scripted(probing(TransportGoneError("unplugged")))
    with pytest.raises(TransportGoneError):
        await folding.find_out_folding(device, STORAGE, ROOT)
    assert device.folding(STORAGE) is None


async def test_what_is_known_beforehand() -> None:
    """Unknown counts as folding; a listing teaches more than a maker's name; Android is never tried out."""
    device, _ = scripted({})
    assert device.folding(STORAGE) is None
    assert device.folds(STORAGE)
    device.learned_folding(STORAGE, folds=False)
    assert not device.folds(STORAGE)
    assert device.folds(STORAGE + 0x10000)
    umtp, session = scripted({}, maker="Viveris Technologies")
    assert not umtp.folds(STORAGE)
    assert not await folding.find_out_folding(umtp, STORAGE, ROOT)
    assert not session.calls


@pytest.mark.parametrize(
    ("maker", "extensions", "folds"),
    [
        ("Google", "microsoft.com: 1.0; android.com: 1.0;", True),
        ("SAMSUNG", "microsoft.com: 1.0;", True),
        ("Viveris Technologies", "microsoft.com: 1.0; android.com: 1.0;", False),
        ("Garmin", "microsoft.com: 1.0;", None),
    ],
)
def test_who_folds(maker: str, extensions: str, folds: bool | None) -> None:
    """Android is known by its extension, uMTP-Responder by its maker, and others by nothing."""
    quirks = find_quirks(DeviceInfo(manufacturer=maker, vendor_extension_desc=extensions))
    assert quirks.folds is folds


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Song.mp3", "sONG.MP3"),
        ("Café", "CAFE\u0301"),
        ("Straße", "STRASSE"),
        ("a\u200bb", "ab"),
        ("ΣΑΣ", "σας"),
        ("\u1e9e", "ss"),
    ],
)
def test_one_name(one: str, other: str) -> None:
    """What Android's /sdcard keeps in one file has one key."""
    assert fold(one) == fold(other)
    assert fold(fold(one)) == fold(one)


@pytest.mark.parametrize(("one", "other"), [("a", "b"), ("e", "é"), ("a b", "ab")])
def test_two_names(one: str, other: str) -> None:
    """What looks alike and isn't the same stays apart."""
    assert fold(one) != fold(other)
