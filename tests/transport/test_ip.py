"""PTP/IP in memory: a session over it, what a camera may answer, and trouble behind every byte."""

from __future__ import annotations

import errno
import socket
import threading
from array import array
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import chain, pairwise, repeat
from pathlib import Path

import pytest
import trio

from equipment.air import KINDS, RESET, SILENCE, Air, Trouble
from equipment.ptpip import Camera
from mtpfs.errors import MtpfsError, ResponseError, SetupError, TransportGoneError, TransportTimeoutError
from mtpfs.protocol.codes import ROOT_PARENT, ContainerType, Event, Operation, Response
from mtpfs.protocol.containers import Container
from mtpfs.protocol.datasets import ObjectInfo
from mtpfs.protocol.ptpip import PROBE_REQUEST, DataPacket, FailReason, StartData
from mtpfs.protocol.wire import decode_integers
from mtpfs.session import Change, DataSource, Rank, Session, open_session
from mtpfs.transport import ip
from mtpfs.transport.ip import IpTransport, open_camera
from mtpfs.transport.phones import UnavailableError
from mtpfs.transport.source import parse_source
from mtpfs.virtual.capabilities import parse_options
from mtpfs.virtual.faults import Fault, Kind

GUID = bytes(range(16))
SOURCE = parse_source("ip:camera.local")
STORAGE = 0x00010001
PICTURE = bytes(range(256)) * 1000


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "IMG_1.JPG").write_bytes(PICTURE)
    (tmp_path / "empty").write_bytes(b"")
    return tmp_path


def air_with(directory: Path, words: str = "as=camera") -> Air:
    return Air(Camera([directory], parse_options(words)))


@pytest.fixture
def air(directory: Path) -> Air:
    """A network with a camera."""
    return air_with(directory)


def connect(air: Air, **more: Callable[[], object]) -> IpTransport:
    return open_camera(SOURCE, GUID, dial=air.dial, clock=air.clock, sleep=air.sleep, **more)


@asynccontextmanager
async def session_over(air: Air) -> AsyncIterator[Session]:
    transport = await trio.to_thread.run_sync(connect, air)
    with trio.fail_after(60):
        async with open_session(transport) as session:
            yield session


async def handles(session: Session) -> list[int]:
    result = await session.transact(Operation.GetObjectHandles, STORAGE, 0, ROOT_PARENT)
    return list(decode_integers(bytes(result.data)))


async def contents(session: Session) -> dict[str, bytes]:
    """Read all files by name."""
    found = {}
    for handle in await handles(session):
        info = ObjectInfo.decode((await session.transact(Operation.GetObjectInfo, handle)).data)
        result = await session.transact(
            Operation.GetObject, handle, expected=info.object_compressed_size, limit=1 << 30, rank=Rank.BULK
        )
        found[info.filename] = bytes(result.data)
    return found


@pytest.mark.parametrize("most", [1, 7, 1 << 20])
async def test_a_session(air: Air, most: int) -> None:
    """A whole session; it doesn't matter in which pieces bytes come and go."""
    air.most = most
    async with session_over(air) as session:
        assert session.info.model == "Camera"
        assert await contents(session) == {"IMG_1.JPG": PICTURE, "empty": b""}
        assert session.statistics().recoveries == 0
    assert air.camera.active is None
    (initiator,) = air.camera.initiators
    assert initiator.guid == GUID
    assert initiator.name


async def upload(session: Session, data: bytes | DataSource, name: str = "new") -> None:
    size = len(data) if isinstance(data, bytes) else data.size
    info = ObjectInfo(object_compressed_size=size, filename=name).encode()
    await session.transact(Operation.SendObjectInfo, STORAGE, ROOT_PARENT, data=info)
    await session.transact(Operation.SendObject, data=data, rank=Rank.BULK)


@pytest.mark.parametrize("size", [0, 1, 65524, 65536, 5_000_000])
@pytest.mark.parametrize("most", [1000, 1 << 20])
async def test_data_to_the_device(directory: Path, size: int, most: int) -> None:
    """For devices that take files, too: Android phones don't speak PTP/IP, but the protocol can do it."""
    air = air_with(directory, "as=android14")
    air.most = most
    data = (PICTURE * 20)[:size]
    async with session_over(air) as session:
        await upload(session, data)
        assert (directory / "new").read_bytes() == data
        assert session.statistics().recoveries == 0


async def test_events(air: Air, directory: Path) -> None:
    """The camera tells of a new picture, and may ask whether we are there."""
    async with session_over(air) as session:
        air.camera.probes = 2
        await handles(session)
        (directory / "IMG_2.JPG").write_bytes(b"new")
        event = await session.events.receive()
        assert isinstance(event, Container)
        assert event.code == Event.ObjectAdded
        while air.camera.probes_answered < 2:
            await trio.sleep(0.01)


# --- at the door ---


def refusal(air: Air) -> UnavailableError:
    with pytest.raises(UnavailableError) as raised:
        connect(air)
    return raised.value


@pytest.mark.parametrize(
    ("reason", "code", "text"),
    [
        (FailReason.REJECTED, errno.EACCES, "has to be paired first"),
        (FailReason.BUSY, errno.EBUSY, "only one program at a time"),
        (FailReason.UNSPECIFIED, errno.EACCES, "gives no reason (code 3)"),
    ],
)
def test_refused(air: Air, reason: FailReason, code: int, text: str) -> None:
    air.camera.refuses = reason
    error = refusal(air)
    assert error.errno == code
    assert text in str(error)


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (ConnectionRefusedError(111, "Connection refused"), errno.ECONNREFUSED, "refuses connections"),
        (OSError(errno.EHOSTUNREACH, "No route to host"), errno.EHOSTUNREACH, "No route to host"),
        (TimeoutError("timed out"), errno.EHOSTUNREACH, "can't be reached (timed out)"),
        (OSError(-2, "Name or service not known"), errno.EHOSTUNREACH, "Name or service not known"),
    ],
)
def test_not_there(air: Air, error: OSError, code: int, text: str) -> None:
    air.reach = error
    found = refusal(air)
    assert found.errno == code
    assert text in str(found)


def test_one_at_a_time(air: Air) -> None:
    """A second program is told why, after the camera had time to notice that the first one has ended."""
    first = connect(air)
    before = air.clock()
    error = refusal(air)
    assert error.errno == errno.EBUSY
    assert ip.BUSY_PATIENCE <= air.clock() - before < ip.BUSY_PATIENCE + 2
    first.close()
    connect(air).close()


def test_the_user_is_waited_for(air: Air, caplog: pytest.LogCaptureFixture) -> None:
    """The camera shows a question; we say so, and go on when it is answered."""
    air.camera.asks = True
    waited = []

    def is_wanted() -> None:
        waited.append(air.clock())
        if len(waited) == 20:
            air.camera.asks = False

    before = air.clock()
    connect(air, is_wanted=is_wanted).close()
    assert 5 < air.clock() - before < 20
    assert caplog.text.count("Look at the camera's screen") == 1


def test_nobody_answers(air: Air) -> None:
    """Not for ever."""
    air.camera.asks = True
    before = air.clock()
    error = refusal(air)
    assert error.errno == errno.ETIMEDOUT
    assert "no answer within 60 s. Look at the camera's screen" in str(error)
    assert ip.PAIRING <= air.clock() - before < ip.PAIRING + 2


def test_a_wait_that_is_given_up(air: Air) -> None:
    """Whoever doesn't want to wait any longer isn't kept, and no connection stays."""

    class EnoughError(Exception):
        pass

    def is_wanted() -> None:
        raise EnoughError

    air.camera.asks = True
    with pytest.raises(EnoughError):
        connect(air, is_wanted=is_wanted)
    assert air.camera.active is None


@pytest.mark.parametrize("after", range(0, 54, 3))
@pytest.mark.parametrize("kind", KINDS)
def test_trouble_at_the_door(air: Air, after: int, kind: str) -> None:
    """Half a welcome is none. It is told in one paragraph, in finite time, and the next try works."""
    air.trouble = Trouble(after, kind)
    before = air.clock()
    error = refusal(air)
    assert error.errno in {errno.ECONNRESET, errno.ETIMEDOUT}
    assert "ip:camera.local" in str(error)
    assert air.clock() - before < ip.PAIRING + ip.ANSWERING + 2
    connect(air).close()


# --- trouble later ---


async def _until_it_works(session: Session) -> dict[str, bytes]:
    """Try again, as programs do, until the files can be read; count nothing but errors of ours as trouble."""
    while True:
        await session.until_back()
        try:
            return await contents(session)
        except MtpfsError:
            await trio.sleep(0.05)


@pytest.mark.parametrize("kind", KINDS)
async def test_trouble_behind_every_packet(
    directory: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection breaks, ends or falls silent anywhere: the session is in step afterwards, and reads the truth."""
    monkeypatch.setattr("mtpfs.session.link.PAUSE", 0.01)
    monkeypatch.setattr("mtpfs.session.link.REST", 0.01)
    monkeypatch.setattr("mtpfs.session.session.EVENT_WAIT", 0.01)
    (directory / "IMG_1.JPG").write_bytes(PICTURE[:100])
    expected = {"IMG_1.JPG": PICTURE[:100], "empty": b""}
    air = air_with(directory)
    async with session_over(air) as session:
        start = air.delivered
        await contents(session)
        length = air.delivered - start
        assert length > 300
        for after in range(0, length, 13):
            air.trouble = Trouble(after, kind)
            before = air.clock()
            assert await _until_it_works(session) == expected, after
            assert air.clock() - before < 120, after
            air.trouble = None


HARMLESS = {Kind.UNNOTICED, Kind.RENUMBER, Kind.VANISH, Kind.GONE, Kind.GONE_MID_DATA}
"""Faults that leave another phone behind, or none; and one that needs something to be sent."""


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind not in HARMLESS], ids=lambda kind: kind.name)
async def test_what_a_phone_does_on_usb(air: Air, kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that a virtual phone can do wrong in a data phase: the session is in step afterwards."""
    monkeypatch.setattr("mtpfs.session.link.PAUSE", 0.01)
    async with session_over(air) as session:
        air.camera.responder.faults.add(Fault(kind, Operation.GetObject, amount=100))
        await _until_it_works(session)
        air.camera.responder.faults.clear()
        assert await _until_it_works(session) == {"IMG_1.JPG": PICTURE, "empty": b""}


async def test_silence_while_the_session_is_opened(air: Air) -> None:
    """A camera that says nothing once it is connected: the text says what to look at."""
    air.camera.responder.faults.add(Fault(Kind.SILENCE, Operation.OpenSession, times=100))
    with pytest.raises(SetupError, match=r"Look at the camera's screen"):
        async with session_over(air):
            pass


async def test_refused_in_the_middle_of_data(directory: Path) -> None:
    """An answer that comes before all the data is there: it is heard, and the next transaction is in step."""
    air = air_with(directory, "as=android14")
    air.camera.responder.faults.add(Fault(Kind.REFUSE, Operation.SendObject, code=Response.StoreFull))
    async with session_over(air) as session:
        with pytest.raises(ResponseError, match="StoreFull"):
            await upload(session, PICTURE * 100)
        assert (await contents(session))["IMG_1.JPG"] == PICTURE
        await upload(session, b"abc", "second")
    assert (directory / "second").read_bytes() == b"abc"


async def test_an_upload_that_is_stopped(directory: Path) -> None:
    """Given up by us in the middle of its data: the connection is made anew, and the camera keeps nothing of it."""
    air = air_with(directory, "as=android14")
    sent = []

    def fill(offset: int, room: memoryview) -> int:
        sent.append(offset)
        return len(room)

    source = DataSource(20 << 20, fill, lambda: len(sent) > 1)
    async with session_over(air) as session:
        with pytest.raises(MtpfsError):
            await upload(session, source)
        assert (await contents(session))["IMG_1.JPG"] == PICTURE
        assert session.generation > 0
    assert len(air.camera.initiators) == 2


async def test_it_comes_back(air: Air, monkeypatch: pytest.MonkeyPatch) -> None:
    """Out of the network and back: ENODEV meanwhile, then a new session, without anybody's doing."""
    monkeypatch.setattr("mtpfs.session.link.PAUSE", 0.01)
    async with session_over(air) as session:
        await contents(session)
        air.reach = OSError(errno.ENETUNREACH, "Network is unreachable")
        air.trouble = Trouble(0, RESET)
        with pytest.raises(MtpfsError):
            await contents(session)
        assert await session.events.receive() is Change.GONE
        with pytest.raises(TransportGoneError):
            await contents(session)
        tries = len(air.dialled)
        while len(air.dialled) < tries + 2:
            air.sleep(1)
            await trio.sleep(0.01)
        air.reach = None
        air.sleep(ip.LONGEST_PAUSE)
        await session.until_back()
        assert (await contents(session))["IMG_1.JPG"] == PICTURE
        assert session.statistics().returns == 1


def test_growing_intervals(air: Air) -> None:
    """A camera that is away for long is tried less and less often, but never less than every quarter of a minute."""
    transport = connect(air)
    air.reach = OSError(errno.EHOSTUNREACH, "No route to host")
    start = len(air.dialled)
    for _ in range(1200):
        assert not transport.reconnect()
        air.sleep(0.1)
    tries = air.dialled[start:]
    pauses = [round(later - earlier) for earlier, later in pairwise(tries)]
    assert pauses[:4] == [1, 2, 4, 8]
    assert set(pauses[4:]) == {15}
    air.reach = None
    air.sleep(ip.LONGEST_PAUSE)
    assert transport.reconnect()
    transport.close()
    assert not transport.reconnect()


def test_it_is_back_but_refuses(air: Air) -> None:
    """That is told, where a camera that isn't there is waited for in silence."""
    transport = connect(air)
    air.camera.refuses = FailReason.REJECTED
    with pytest.raises(UnavailableError, match="paired"):
        transport.reconnect()
    assert not transport.reconnect()  # not at once
    transport.close()


async def test_another_camera_at_the_address(
    air: Air, directory: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It isn't taken for the first one, whose handles would mean other pictures there."""
    monkeypatch.setattr("mtpfs.session.link.PAUSE", 0.01)
    async with session_over(air) as session:
        own = air.camera
        air.camera = Camera([directory], parse_options("as=camera&serial=other"))
        air.trouble = Trouble(0, RESET)
        with pytest.raises(MtpfsError):
            await contents(session)
        while "another device" not in caplog.text:
            air.sleep(1)
            await trio.sleep(0.01)
        assert session.gone
        air.camera = own
        air.sleep(ip.LONGEST_PAUSE)
        await session.until_back()


def test_a_camera_that_takes_nothing(air: Air) -> None:
    """Its buffers are full: a write ends in time, and nothing is lost when they aren't any more."""
    transport = connect(air)
    command = Container(ContainerType.COMMAND, Operation.GetDeviceInfo, 1).encode()
    buffer = array("B", bytes(4096))
    air.stuck = True
    transport.write(command, 1)
    before = air.clock()
    with pytest.raises(TransportTimeoutError):
        transport.read(buffer, 5)
    assert 5 <= air.clock() - before < 6
    air.stuck = False
    assert transport.read(buffer, 5) > 100
    transport.close()


def test_closed_while_events_are_read(air: Air) -> None:
    """Who waits for an event hears of the end at once."""
    transport = connect(air)
    ended = []

    def wait() -> None:
        try:
            while True:
                transport.read_event(0.1)
        except TransportGoneError as error:
            ended.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    transport.close()
    thread.join(5)
    assert ended


def test_silence_is_a_timeout(air: Air) -> None:
    transport = connect(air)
    air.trouble = Trouble(0, SILENCE)
    transport.write(Container(ContainerType.COMMAND, Operation.GetDeviceInfo, 1).encode(), 1)
    before = air.clock()
    with pytest.raises(TransportTimeoutError):
        transport.read(array("B", bytes(4096)), 5)
    assert 5 <= air.clock() - before < 6
    transport.close()


PROBES = PROBE_REQUEST.encode()
EMPTY = DataPacket(1, 0, is_last=False).encode()


@pytest.mark.parametrize(
    "flood", [[PROBES, PROBES], [StartData(1, None).encode(), EMPTY]], ids=["probes", "empty packets"]
)
async def test_a_flood_of_nothing(air: Air, flood: list[bytes]) -> None:
    """Packets that lead nowhere, without end, are no progress: the caller gets an error, and the session comes back."""
    async with session_over(air) as session:
        air.camera.responder.faults.add(Fault(Kind.SILENCE, Operation.GetObjectHandles))
        pieces = chain(flood[:1], repeat(flood[1]))
        air.flood = lambda for_events: b"" if for_events else next(pieces)
        before = air.clock()
        with pytest.raises(MtpfsError):
            await handles(session)
        assert 50 < air.clock() - before < 100
        air.flood = lambda _: b""
        assert (await _until_it_works(session))["IMG_1.JPG"] == PICTURE


def test_a_flood_of_probes_on_the_event_connection(air: Air) -> None:
    """They are answered for as long as we listen, and no longer."""
    transport = connect(air)
    air.flood = lambda for_events: PROBES if for_events else b""
    before = air.clock()
    assert transport.read_event(0.5) == b""
    assert 0.5 <= air.clock() - before < 1
    assert air.camera.probes_answered > 10
    transport.close()


JUNK = [b"\xff" * 8, DataPacket(1, 5, is_last=False).encode() + b"abcde", b"\x10\0\0\0\x63\0\0\0" + bytes(8)]


@pytest.mark.parametrize("junk", JUNK, ids=["no packet", "data", "unknown"])
async def test_junk_on_the_event_connection(
    air: Air, directory: Path, junk: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing that follows could be understood. So both connections are made anew."""
    monkeypatch.setattr("mtpfs.session.link.PAUSE", 0.01)
    async with session_over(air) as session:
        await handles(session)
        air.distort = lambda _: junk
        (directory / "IMG_2.JPG").write_bytes(b"new")
        await session.until_gone()
        air.distort = bytes
        while session.gone:
            air.sleep(1)
            await trio.sleep(0.01)
        assert len(await contents(session)) == 3


# --- real sockets ---


def test_the_kernel_looks_after_the_connection() -> None:
    """It asks a silent camera whether it is there, and gives up within seconds."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        connection = ip.dial("127.0.0.1", server.getsockname()[1], 5)
        assert isinstance(connection, socket.socket)
        with connection:
            options = [
                connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
                *(
                    connection.getsockopt(socket.IPPROTO_TCP, name)
                    for name in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
                ),
            ]
            assert options == [1, *ip.KEEPALIVE]
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 11000


@pytest.mark.parametrize("host", ["x" * 64, "a..b"])
def test_names_that_cant_be(host: str) -> None:
    with pytest.raises(UnavailableError, match="can't be reached"):
        open_camera(parse_source(f"ip:{host}"), GUID)
