"""The virtual phone as a camera on TCP: `python -m equipment.network DIR[?WORDS]`.

Strategy: `equipment.ptpip` on real sockets, with a thread for each connection. It listens on 127.0.0.1 and nowhere
else: whoever reaches it reads the files, as with a real camera. It prints its port when it can be reached.

Lines on standard input, or on a socket (`--control PATH`), are the words of `control`. `unplug` takes it out of the
network: nothing listens any more, and all connections are reset.

Invariant: the camera is only touched with its lock held, and never while a socket blocks.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import signal
import socket
import struct
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from equipment.control import ControlSocket, obey
from equipment.ptpip import Camera, Conversation
from mtpfs.errors import SetupError
from mtpfs.protocol.codes import Event
from mtpfs.virtual.capabilities import parse_virtual
from mtpfs.virtual.faults import FaultScript
from mtpfs.virtual.transport import POLL_INTERVAL

HOST = "127.0.0.1"
CHUNK = 64 << 10
_KEEPALIVE = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)


class CameraServer:
    """A camera that can be reached as long as the block lasts."""

    def __init__(self, camera: Camera, port: int = 0) -> None:
        self.camera = camera
        self.port = port
        self._listener: socket.socket | None = None
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []

    @property
    def source(self) -> str:
        return f"ip:{HOST}:{self.port}"

    def __enter__(self) -> Self:
        self.replug()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.unplug()
        with self.camera.lock:
            self.camera.responder.close()

    # --- the hand that holds it

    @property
    def faults(self) -> FaultScript:
        return self.camera.responder.faults

    def replug(self) -> None:
        """Come (back) into the network, at the same port."""
        if self._listener is not None:
            return
        listener = socket.create_server((HOST, self.port))
        self.port = listener.getsockname()[1]
        self._listener = listener
        self._start(self._accept, listener)

    def unplug(self) -> None:
        """Leave the network."""
        listener, self._listener = self._listener, None
        if listener is None:
            return
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)  # wakes `accept`, which closing alone doesn't
        listener.close()
        with self._lock:
            for connection in self._connections:
                _reset(connection)
        threads, self._threads = self._threads, []
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join()

    def set_locked(self, locked: bool) -> None:
        with self.camera.lock:
            self.camera.responder.phone.set_locked(locked)

    def set_trusted(self, trusted: bool) -> None:
        with self.camera.lock:
            self.camera.responder.phone.trusted = trusted

    def renumber(self) -> None:
        with self.camera.lock:
            self.camera.responder.phone.renumber()
            self.camera.responder.phone.notify(Event.DeviceReset, 0)

    # --- connections

    def _start(self, work: object, argument: socket.socket) -> None:
        thread = threading.Thread(target=work, args=(argument,), daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return  # closed
            with self._lock:
                self._connections.add(connection)
            self._start(self._converse, connection)

    def _converse(self, connection: socket.socket) -> None:
        conversation = self.camera.open()
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in zip(_KEEPALIVE, (5, 2, 3), strict=True):
                connection.setsockopt(socket.IPPROTO_TCP, option, value)
            self._exchange(connection, conversation)
        except OSError:
            pass  # the other side has gone, or we have
        finally:
            with self.camera.lock:
                conversation.close()
            with self._lock:
                self._connections.discard(connection)
                if conversation.broken:
                    _reset(connection)
                connection.close()

    def _exchange(self, connection: socket.socket, conversation: Conversation) -> None:
        while True:
            with self.camera.lock:
                data, late = conversation.pull(), 0.0
                if not data and not conversation.has_events:
                    late, self.camera.responder.held = self.camera.responder.held, 0.0
                gone = self.camera.responder.gone
            if gone:
                threading.Thread(target=self.unplug, daemon=True).start()
                return
            if conversation.broken:
                return
            if data:
                connection.settimeout(None)
                connection.sendall(data)
                continue
            if conversation.over:
                return
            connection.settimeout(late or POLL_INTERVAL)
            try:
                received = connection.recv(CHUNK)
            except TimeoutError:
                continue
            if not received:
                return
            with self.camera.lock:
                conversation.receive(received)


def _reset(connection: socket.socket) -> None:
    """End a connection at once, so that the other side gets ECONNRESET."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.shutdown(socket.SHUT_RDWR)


def camera_of(argument: str) -> Camera:
    """Return the camera that `DIR?words` means. Raises `SetupError`."""
    directories, capabilities = parse_virtual(argument)
    return Camera(directories, capabilities, FaultScript())


def main(arguments: list[str] | None = None) -> int:
    """Run the program; return its exit status."""
    parser = argparse.ArgumentParser(
        prog="equipment.network", description="Be a virtual camera that is reached by PTP/IP at 127.0.0.1."
    )
    parser.add_argument("phone", metavar="DIR[?WORDS]", help="as in virtual:DIR")
    parser.add_argument("--port", type=int, default=0, help="the TCP port (default: one that is free)")
    parser.add_argument(
        "--control", type=Path, metavar="PATH", help="a socket that takes words, as standard input does"
    )
    chosen = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="equipment.network: %(message)s")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        with contextlib.ExitStack() as stack:
            server = stack.enter_context(CameraServer(camera_of(chosen.phone), chosen.port))
            if chosen.control is not None:
                stack.callback(ControlSocket(chosen.control, server).close)
            print(server.port, flush=True)
            for line in sys.stdin:
                print(obey(server, line), flush=True)
            signal.pause()
    except SetupError as error:
        print(f"equipment.network: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
