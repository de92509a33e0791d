"""A mount's socket: what it answers, to whom, and what it makes of nonsense.

Strategy: the real server on a real socket, over a filesystem without FUSE; the client is the commands' own, in a
thread, or bare bytes. That the mount says where its socket is, `tests/cli/test_thumbs.py` has.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import stat
import threading
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trio

from mtpfs.door import server, words
from mtpfs.door.client import DoorClient
from mtpfs.vfs import News
from photos import corners, encoded, photo
from vfs.world import World, world

STORAGE = "/Internal shared storage"
THUMBNAIL = encoded(corners(160, 120))


@dataclass
class Served:
    """A filesystem, and where its socket is."""

    world: World
    place: str
    scope: trio.CancelScope

    @asynccontextmanager
    async def client(self) -> AsyncIterator[DoorClient]:
        with await trio.to_thread.run_sync(DoorClient, self.place) as client:
            yield client

    async def stream(self) -> trio.SocketStream:
        return await trio.open_unix_socket(self.place)

    async def said(self, *lines: bytes) -> list[Any]:
        """Say bytes on a new connection; return all that is answered before it ends."""
        async with await self.stream() as stream:
            for line in lines:
                await stream.send_all(line)
            await stream.send_eof()
            try:
                data = b"".join([piece async for piece in stream])
            except trio.BrokenResourceError:
                data = b""
        return [json.loads(line) for line in data.splitlines()]


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of this user's own; root has none otherwise."""
    place = tmp_path / "run"
    place.mkdir(mode=0o700)
    monkeypatch.setattr(words, "runtime_directory", lambda: place)
    return place


@asynccontextmanager
async def served(tmp_path: Path, options: str = "", **how: Any) -> AsyncIterator[Served]:
    phone = tmp_path / "phone"
    phone.mkdir(exist_ok=True)
    async with world(phone, options, **how) as w, trio.open_nursery() as nursery:
        with server.opened() as listening:
            assert listening is not None
            nursery.start_soon(server.Door(w.fs, w.kernel.heard).serve, listening)
            yield Served(w, server.place_of(listening), nursery.cancel_scope)
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def busy(s: Served) -> AsyncIterator[None]:
    """Have the wire busy for the block."""
    begun, gate = threading.Event(), threading.Event()

    def hold(_: object) -> None:
        begun.set()
        gate.wait(20)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(s.world.fs.device.session.run, hold)
        await trio.to_thread.run_sync(begun.wait, 10)
        try:
            yield
        finally:
            gate.set()


async def queued(s: Served) -> None:
    """Wait until somebody waits for the wire."""
    with trio.fail_after(10):
        while not s.world.fs.device.session.statistics().queued:
            await trio.sleep(0.01)


def request(**facts: Any) -> bytes:
    return json.dumps(facts).encode() + b"\n"


# --- what it does


async def test_thumbnail(tmp_path: Path) -> None:
    """A thumbnail comes as it is, again and again on one connection; one that isn't there is an error with its errno."""
    async with served(tmp_path) as s:
        (s.world.phone / "a.jpg").write_bytes(photo(thumbnail=THUMBNAIL))
        (s.world.phone / "b.txt").write_bytes(b"text")
        (s.world.phone / "d").mkdir()
        async with s.client() as client:
            for _ in range(2):
                assert await trio.to_thread.run_sync(client.thumbnail, f"{STORAGE}/a.jpg") == THUMBNAIL
            for path, code in (
                ("b.txt", errno.ENODATA),
                ("c.jpg", errno.ENOENT),
                ("d", errno.EISDIR),
                ("b.txt/x", errno.ENOTDIR),
            ):
                with pytest.raises(OSError) as error:
                    await trio.to_thread.run_sync(client.thumbnail, f"{STORAGE}/{path}")
                assert error.value.errno == code
            assert await trio.to_thread.run_sync(client.thumbnail, f"{STORAGE}/a.jpg") == THUMBNAIL


async def test_odd_names(tmp_path: Path) -> None:
    """Names are what they are on the mount, in any script."""
    async with served(tmp_path) as s:
        names = ("ä ö.jpg", "日本.jpg", 'q"\\.jpg', "\N{PILE OF POO}.jpg")
        for name in names:
            (s.world.phone / name).write_bytes(photo(thumbnail=THUMBNAIL))
        for name in names:
            async with s.client() as client:
                assert await trio.to_thread.run_sync(client.thumbnail, f"{STORAGE}/{name}") == THUMBNAIL


async def test_copy(tmp_path: Path) -> None:
    """The phone copies by itself, nothing goes over the cable, and open windows hear of it."""
    async with served(tmp_path) as s:
        (s.world.phone / "a.bin").write_bytes(bytes(1 << 20))
        (s.world.phone / "d").mkdir()
        (s.world.phone / "e").mkdir()
        (s.world.phone / "d/x").write_bytes(b"x")
        async with s.client() as client:
            before = s.world.fs.device.session.statistics()
            await trio.to_thread.run_sync(client.copy, f"{STORAGE}/a.bin", f"{STORAGE}/d/b.bin")
            await trio.to_thread.run_sync(client.copy, f"{STORAGE}/d", f"{STORAGE}/e/d")
            after = s.world.fs.device.session.statistics()
            assert after.bytes_in - before.bytes_in < 10_000
            assert (s.world.phone / "d/b.bin").read_bytes() == bytes(1 << 20)
            assert (s.world.phone / "e/d/x").read_bytes() == b"x"
            assert (News.APPEARED, b"b.bin") in s.world.kernel.news
            for target, code in (
                ("d/b.bin", errno.EEXIST),
                ("nowhere/x", errno.ENOENT),
                ("a.bin/x", errno.ENOTDIR),
            ):
                with pytest.raises(OSError) as error:
                    await trio.to_thread.run_sync(client.copy, f"{STORAGE}/a.bin", f"{STORAGE}/{target}")
                assert error.value.errno == code


@pytest.mark.parametrize(
    ("words_", "how", "code"), [("no-copy", {}, errno.EOPNOTSUPP), ("", {"read_only": True}, errno.EROFS)]
)
async def test_what_the_mount_cannot_do(tmp_path: Path, words_: str, how: dict[str, Any], code: int) -> None:
    """Who may only read on the mount may only read here; what the phone can't do is said."""
    async with served(tmp_path, words_, **how) as s:
        (s.world.phone / "a").write_bytes(b"a")
        async with s.client() as client:
            with pytest.raises(OSError) as error:
                await trio.to_thread.run_sync(client.copy, f"{STORAGE}/a", f"{STORAGE}/b")
            assert error.value.errno == code
    assert [each.name for each in (tmp_path / "phone").iterdir()] == ["a"]


async def test_a_client_that_goes_away(tmp_path: Path) -> None:
    """Its request is cancelled, and the next client finds everything in order."""
    async with served(tmp_path) as s:
        (s.world.phone / "a.jpg").write_bytes(photo(thumbnail=THUMBNAIL))
        await s.world.names()
        async with busy(s):
            async with await s.stream() as stream:
                await stream.send_all(request(do="thumbnail", path=f"{STORAGE}/a.jpg"))
                await queued(s)
            async with await s.stream() as stream:  # answered when the one before is done with
                await stream.send_all(request(do="what"))
                await stream.receive_some()
        async with s.client() as client:
            assert await trio.to_thread.run_sync(client.thumbnail, f"{STORAGE}/a.jpg") == THUMBNAIL
        assert s.world.operations["GetThumb"] == 1


async def test_the_end_of_the_mount(tmp_path: Path) -> None:
    """A client that waits hears that there is no mount any more, and the socket's file goes."""
    heard: list[int | None] = []
    async with served(tmp_path) as s, busy(s), s.client() as client:
        (s.world.phone / "a.jpg").write_bytes(photo())
        place = Path(s.place)

        def ask() -> None:
            try:
                client.thumbnail(f"{STORAGE}/a.jpg")
            except OSError as error:
                heard.append(error.errno)

        with trio.CancelScope(shield=True):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.to_thread.run_sync, ask)
                await queued(s)
                s.scope.cancel()
    assert heard in ([errno.ENOTCONN], [errno.ECONNRESET])
    assert not place.exists()


# --- nonsense


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"nonsense\n",
        b"[]\n",
        b"7\n",
        b"null\n",
        b"{}\n",
        b'{"do": 7}\n',
        b'{"do": []}\n',
        b'{"do": "thumbnail"}\n',
        b'{"do": "thumbnail", "path": 7}\n',
        b'{"do": "thumbnail", "path": "a.jpg"}\n',
        b'{"do": "thumbnail", "path": "/../../etc/passwd"}\n',
        b'{"do": "thumbnail", "path": "/Internal shared storage/./a.jpg"}\n',
        b'{"do": "thumbnail", "path": "/a\\u0000b"}\n',
        b'{"do": "thumbnail", "path": "/\\ud800"}\n',
        b'{"do": "copy", "source": "/Internal shared storage/a.jpg", "target": "/"}\n',
        b'{"do": "copy", "source": "/Internal shared storage", "target": "/x"}\n',
        b'{"do": "copy", "source": "/", "target": "/Internal shared storage/x"}\n',
        b'{"do": "__class__"}\n',
        b"[" * 60_000 + b"\n",
        b"\xff\xfe\n",
    ],
)
async def test_nonsense(tmp_path: Path, line: bytes) -> None:
    """It is answered with an error, and the same connection goes on."""
    async with served(tmp_path) as s:
        (s.world.phone / "a.jpg").write_bytes(photo(thumbnail=THUMBNAIL))
        async with await s.stream() as stream:
            for said, has_error in ((line, True), (request(do="thumbnail", path=f"{STORAGE}/a.jpg"), False)):
                await stream.send_all(said)
                data = b""
                while not data.endswith(b"\n"):
                    piece = await stream.receive_some()
                    assert piece
                    data += piece
                answer = json.loads(data)
                assert ("error" in answer) is has_error, answer
    assert [each.name for each in (tmp_path / "phone").iterdir()] == ["a.jpg"]


async def test_too_long(tmp_path: Path) -> None:
    """A line without an end isn't kept: the connection ends, whatever its length."""
    async with served(tmp_path) as s:
        async with await s.stream() as stream:
            with trio.fail_after(20):
                sent = 0
                try:
                    while True:
                        await stream.send_all(b"x" * 10_000)
                        sent += 10_000
                except trio.BrokenResourceError:
                    assert sent > words.REQUEST_LIMIT
        assert await s.said(b'{"do": "' + b"x" * words.REQUEST_LIMIT + b'"}\n') == []
        assert (await s.said(request(do="what")))[0]["error"]["errno"] == errno.EOPNOTSUPP


async def test_two_at_a_time_on_one_connection(tmp_path: Path) -> None:
    """A second request before the answer to the first isn't agreed on: the connection ends."""
    async with served(tmp_path) as s:
        (s.world.phone / "a.jpg").write_bytes(photo(thumbnail=THUMBNAIL))
        line = request(do="thumbnail", path=f"{STORAGE}/a.jpg")
        async with busy(s), await s.stream() as stream:
            await stream.send_all(line)
            await queued(s)
            await stream.send_all(line)
            with trio.fail_after(5):
                assert await stream.receive_some() == b""


async def test_many_clients(tmp_path: Path) -> None:
    """More than are answered at a time wait for their turn."""
    async with served(tmp_path) as s:
        (s.world.phone / "a.jpg").write_bytes(photo(thumbnail=THUMBNAIL))
        with ExitStack() as clients:
            each = [
                clients.enter_context(await trio.to_thread.run_sync(DoorClient, s.place))
                for _ in range(3 * server.MOST)
            ]

            def ask(client: DoorClient) -> None:
                with client:
                    assert client.thumbnail(f"{STORAGE}/a.jpg") == THUMBNAIL

            async with trio.open_nursery() as nursery:
                for client in each:
                    nursery.start_soon(trio.to_thread.run_sync, ask, client)


# --- who


async def test_another_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Who isn't this user gets no answer, and isn't told anything, on either side."""
    async with served(tmp_path) as s:
        stranger = os.geteuid() + 1
        monkeypatch.setattr(os, "geteuid", lambda: stranger)
        assert await s.said(request(do="what")) == []
        assert "another user" in caplog.text
        with pytest.raises(PermissionError, match="another user"):
            await trio.to_thread.run_sync(DoorClient, s.place)
    caplog.clear()


async def test_modes(tmp_path: Path, runtime: Path) -> None:
    """Socket and directory are the user's alone; what a killed process of this number has left is replaced."""
    left = runtime / "mtpfs" / f"mount-{os.getpid()}"
    left.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as old:
        old.bind(str(left))
    async with served(tmp_path) as s:
        assert Path(s.place) == left
        assert stat.S_IMODE(left.stat().st_mode) == 0o600
        assert (await s.said(request(do="what")))[0]["error"]
    assert not left.exists()


def test_no_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Where there is none, or its path is too long, a mount has no socket, and that is all."""
    monkeypatch.setattr(words, "runtime_directory", lambda: None)
    with server.opened() as listening:
        assert server.place_of(listening) == ""
    long = tmp_path / ("x" * 120)
    long.mkdir()
    monkeypatch.setattr(words, "runtime_directory", lambda: long)
    with server.opened() as listening:
        assert listening is None
    assert "no socket" in caplog.text
    caplog.clear()


def test_runtime_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has to be the user's own, closed to others, and there; root has none."""
    monkeypatch.undo()
    own, open_to_all, file = tmp_path / "own", tmp_path / "open", tmp_path / "file"
    own.mkdir(mode=0o700)
    open_to_all.mkdir()
    open_to_all.chmod(0o755)
    file.touch(mode=0o600)
    user = own.stat().st_uid or 4321
    for place in (own, open_to_all, file):
        os.chown(place, user, -1)
    monkeypatch.setattr(os, "geteuid", lambda: user)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(own))
    assert words.runtime_directory() == own
    for wrong in (open_to_all, file, tmp_path / "nowhere", "relative"):
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(wrong))
        assert words.runtime_directory() in {None, Path(f"/run/user/{user}")}
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(own))
    monkeypatch.setattr(os, "geteuid", lambda: user + 1)
    assert words.runtime_directory() != own
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert words.runtime_directory() is None
