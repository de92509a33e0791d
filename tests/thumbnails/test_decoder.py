"""Pictures from a device, decoded at a distance: good ones, hostile ones, and a decoder that was taken over.

Strategy: for the last kind, Pillow is another one, to which a picture is a program. What it tries has to fail; if
it does, it answers with a picture.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from mtpfs.errors import MachineError
from mtpfs.exif import with_orientation
from mtpfs.thumbnails import decoder as decoding
from mtpfs.thumbnails import png
from mtpfs.thumbnails.decoder import Decoder, UnreadableError
from mtpfs.virtual.thumbnails import bomb
from photos import colours, corners, encoded, opened, photo

SIZES = (128, 256, 512)
CONFINED = [False, pytest.param(True, marks=pytest.mark.skipif(not shutil.which("bwrap"), reason="no bwrap"))]
UPRIGHT = ("R", "G", "B", "Y")


@pytest.fixture(scope="module", params=CONFINED, ids=["limits", "bubblewrap"])
def decoder(request: pytest.FixtureRequest) -> Iterator[Decoder]:
    with Decoder(with_bubblewrap=request.param) as found:
        yield found


@pytest.mark.parametrize(
    ("width", "height", "sizes"),
    [(16, 12, {128}), (160, 120, {128}), (256, 192, {128, 256}), (512, 300, {*SIZES})],
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_good(decoder: Decoder, width: int, height: int, sizes: set[int], kind: str) -> None:
    """A thumbnail comes back in each size that it reaches, never larger than it is."""
    found = decoder.decode(encoded(corners(width, height), kind), SIZES)
    assert (found.width, found.height) == (width, height)
    assert found.pngs.keys() == sizes
    for size, data in found.pngs.items():
        assert max(png.checked(data, size)) == min(size, width)
        assert colours(opened(data)) == UPRIGHT


_TURNED = {1: "RGBY", 2: "GRYB", 3: "YBGR", 4: "BYRG", 5: "RBGY", 6: "BRYG", 7: "YGBR", 8: "GYRB"}


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation(decoder: Decoder, orientation: int) -> None:
    """It is turned as its EXIF says, its own or one that it was given."""
    given_one = with_orientation(encoded(corners(300, 200)), orientation)
    for data in (given_one, photo(300, 200, orientation=orientation)):
        found = decoder.decode(data, SIZES)
        assert (found.width, found.height) == ((300, 200) if orientation < 5 else (200, 300))
        assert "".join(colours(opened(found.pngs[256]))) == _TURNED[orientation]


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L", "1", "I;16", "CMYK"])
def test_colours(decoder: Decoder, mode: str) -> None:
    """Every kind of colours becomes one that all readers know."""
    kind = "JPEG" if mode == "CMYK" else "PNG"
    picture = Image.new(mode, (200, 100)) if mode == "I;16" else corners(200, 100).convert(mode)
    found = decoder.decode(encoded(picture, kind), SIZES)
    assert opened(found.pngs[128]).mode == ("RGBA" if "A" in mode else "RGB")


def progressive() -> bytes:
    """Return a JPEG of few bytes with a thousand scans over many pixels: minutes of work."""
    data = encoded(Image.new("L", (4800, 4800), 77), progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * ((3 << 20) // (len(data) - last)) + b"\xff\xd9"


def noise() -> bytes:
    return random.Random(1).randbytes(100_000)


HOSTILE = {
    "nothing": b"",
    "one byte": b"\xff",
    "text": b"<html>404 Not Found</html>",
    "noise": noise(),
    "noise that begins as a JPEG": b"\xff\xd8\xff\xe0" + noise(),
    "truncated": photo()[:-3000],
    "truncated PNG": encoded(corners(200, 200), "PNG")[:-200],
    "head only": photo()[:700],
    "one pixel": encoded(Image.new("RGB", (1, 1)), "PNG"),
    "2.5 gigapixels": bomb(),
    "a bomb within the limit": bomb(4800, 4800)[:-60],
    "a line of two billion": bomb(1, 2_000_000_000),
    "65,535 each way": photo().replace(struct.pack(">HH", 480, 640), b"\xff\xff\xff\xff", 1),
    "GIF": encoded(corners(64, 64), "GIF"),
    "BMP": encoded(corners(64, 64), "BMP"),
    "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) run\n",
    "SVG": b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>",
    "many scans": progressive(),
    "too many bytes": bytes(decoding.LARGEST + 1),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile(decoder: Decoder, name: str) -> None:
    """No picture, within a few seconds; and the next one is decoded as ever."""
    started = time.monotonic()
    with pytest.raises(UnreadableError):
        decoder.decode(HOSTILE[name], SIZES)
    assert time.monotonic() - started < 10
    assert decoder.decode(photo(), SIZES).width == 640


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.randoms(use_true_random=False))
def test_broken_pictures(decoder: Decoder, chance: random.Random) -> None:
    """Bytes that are others, missing or doubled give a picture or none, and the PNGs are right in any case."""
    data = bytearray(photo(200, 150) if chance.random() < 0.5 else encoded(corners(90, 60), "PNG"))
    for _ in range(chance.randrange(1, 6)):
        position = chance.randrange(len(data))
        match chance.randrange(3):
            case 0:
                data[position] = chance.randrange(256)
            case 1:
                del data[position : position + chance.randrange(50)]
            case _:
                data[position:position] = data[position // 2 : position]
        if not data:
            data = bytearray(b"x")
    try:
        found = decoder.decode(bytes(data), SIZES)
    except UnreadableError:
        return
    for size, picture in found.pngs.items():
        png.checked(picture, size)


def test_several_threads(decoder: Decoder) -> None:
    """Each gets its own picture back, good and bad ones in any order."""
    wrong: list[str] = []

    def work(side: int) -> None:
        for number in range(5):
            if number % 2:
                with pytest.raises(UnreadableError):
                    decoder.decode(HOSTILE["truncated"], SIZES)
            elif decoder.decode(encoded(corners(side, side)), SIZES).width != side:
                wrong.append(f"{side}")

    threads = [threading.Thread(target=work, args=(100 + side,)) for side in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong


def test_a_process_that_was_killed(decoder: Decoder) -> None:
    """Whoever has killed it: the next picture has another one."""
    decoder.decode(photo(), SIZES)
    assert decoder._process is not None
    decoder._process.kill()
    decoder._process.wait()
    assert decoder.decode(photo(), SIZES).width == 640


def assert_gone(group: int) -> None:
    """Wait until no process of a group is left; the kernel needs a moment for a namespace's."""
    deadline = time.monotonic() + 20
    with contextlib.suppress(ProcessLookupError):
        while time.monotonic() < deadline:
            os.killpg(group, 0)
            time.sleep(0.02)
        pytest.fail("there is one yet")


def test_nothing_is_left() -> None:
    """After the end there is no process of it."""
    with Decoder() as found:
        found.decode(photo(), SIZES)
        assert found._process is not None
        group = found._process.pid
    assert_gone(group)


def test_it_ends_with_us(tmp_path: Path) -> None:
    """If mtpfs is killed, its decoder goes as well."""
    program = (
        "import sys, time; from mtpfs.thumbnails.decoder import Decoder\n"
        "d = Decoder(); d.decode(open(sys.argv[1], 'rb').read(), (128,)); print(d._process.pid, flush=True); time.sleep(60)"
    )
    (tmp_path / "a.jpg").write_bytes(photo())
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "a.jpg")],
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        group = int(process.stdout.readline())
        process.kill()
    assert_gone(group)


def test_without_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to install."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(MachineError, match=r"mtpfs\[thumbnails\]"):
        Decoder()


def test_bubblewrap_that_is_not_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where this machine forbids namespaces, the limits have to do."""
    (tmp_path / "bwrap").write_text(
        "#!/bin/sh\necho 'bwrap: setting up uid map: Permission denied' >&2\nexit 1\n"
    )
    (tmp_path / "bwrap").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with Decoder() as found:
        before = found.is_in_bubblewrap
        assert found.decode(photo(), SIZES).width == 640
        assert (before, found.is_in_bubblewrap) == (True, False)
    assert "Permission denied" in caplog.text
    caplog.clear()


# --- taken over

_PILLOW = r'''
import os
import struct
import zlib


def _chunk(name, content):
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


PNG = (
    b"\x89PNG\r\n\x1a\n"
    + _chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0))
    + _chunk(b"IDAT", zlib.compress(bytes(4)))
    + _chunk(b"IEND", b"")
)


def answer(png=PNG, count=1, size=128):
    """Write what a decoder answers."""
    os.write(1, struct.pack("<HHB", 1, 1, count) + struct.pack("<HI", size, len(png)) + png)


class Exif(dict):
    pass


class _Picture:
    size = (64, 64)
    width = height = 64
    info = {}

    def save(self, output, kind, **_):
        output.write(b"pass")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def draft(self, *_):
        pass

    def getbands(self):
        return ("R", "G", "B")

    def convert(self, _):
        return self

    def copy(self):
        return self

    def thumbnail(self, _):
        pass


def new(*_):
    return _Picture()


def open(data, formats):
    exec(data.read().decode(), {"answer": answer, "PNG": PNG, "os": os})
    return _Picture()
'''


@pytest.fixture(params=CONFINED, ids=["limits", "bubblewrap"])
def hostile(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Decoder]:
    library = tmp_path_factory.mktemp("library")
    (library / "PIL").mkdir()
    (library / "PIL/__init__.py").touch()
    (library / "PIL/Image.py").write_text(_PILLOW)
    (library / "PIL/ImageOps.py").write_text("exif_transpose = lambda picture: picture")
    with Decoder(with_bubblewrap=request.param) as found:
        found._library = str(library)
        yield found


def tried(decoder: Decoder, program: str) -> None:
    """Have a picture try something; it has to be refused."""
    indented = "\n".join(f"    {line}" for line in program.splitlines())
    picture = (
        f"import sys\ntry:\n{indented}\nexcept (OSError, MemoryError):\n    answer()\n    os._exit(0)\n"
        "else:\n    os._exit(3)\n"
    )
    assert decoder.decode(picture.encode(), SIZES).width == 1


def forbids_paths(decoder: Decoder) -> bool:
    """Tell whether names of files are out of reach, too: in bubblewrap, or by Landlock. Limits alone can't do that."""
    landlock = ctypes.CDLL(None).syscall(444, None, ctypes.c_size_t(0), 1)
    return decoder.is_in_bubblewrap or landlock > 0


def test_files(hostile: Decoder, tmp_path: Path) -> None:
    """It reads no file, writes none, and changes none by its name."""
    secret = tmp_path / "secret"
    secret.write_text("secret")
    secret.chmod(0o666)
    tmp_path.chmod(0o777)
    tried(hostile, f"open({str(secret)!r}).read()")
    tried(hostile, "open('/etc/passwd').read()")
    tried(hostile, f"open({str(tmp_path / 'new')!r}, 'w')")
    tried(hostile, "os.listdir('/')")
    if not forbids_paths(hostile):
        return
    tried(hostile, f"os.unlink({str(secret)!r})")
    tried(hostile, f"os.rename({str(secret)!r}, {str(tmp_path / 'other')!r})")
    tried(hostile, f"os.mkdir({str(tmp_path / 'new')!r})")
    assert secret.read_text() == "secret"
    assert [each.name for each in tmp_path.iterdir()] == ["secret"]


def test_network(hostile: Decoder) -> None:
    """It has no sockets of any kind."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        port = listening.getsockname()[1]
        tried(hostile, f"import socket; socket.create_connection(('127.0.0.1', {port}), 1)")
    tried(hostile, "import socket; socket.socket(socket.AF_UNIX)")
    tried(hostile, "os.pipe()")


def test_programs(hostile: Decoder) -> None:
    """It starts nothing, and has no children."""
    if forbids_paths(hostile):
        tried(hostile, "os.execv('/bin/true', ['true'])")
    if os.getuid() or not hostile.is_in_bubblewrap:  # root's processes aren't counted
        tried(hostile, "os.fork() or os._exit(0)")
    tried(hostile, "os.setuid(0)")


def test_memory(hostile: Decoder) -> None:
    """It gets half a gigabyte at most."""
    tried(hostile, "bytearray(600 << 20)")


def test_limits_stay(hostile: Decoder) -> None:
    """What was given up can't be taken back."""
    tried(
        hostile,
        "import resource\ntry:\n    resource.setrlimit(resource.RLIMIT_NOFILE, (9, 9))\nexcept ValueError as e:\n    raise OSError from e",
    )


@pytest.mark.parametrize(
    "program",
    [
        "while True: pass",
        "import time; time.sleep(1000)",
        "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 60))\nwhile True: pass",
        "os.abort()",
        "os.kill(os.getpid(), 9)",
        "import ctypes; ctypes.string_at(0)",
        "bytearray(10**12)",
        "os._exit(0)",
        "answer(b'no PNG'); os._exit(0)",
        "answer(count=2); os._exit(0)",
        "answer(size=333); os._exit(0)",
        "answer(); answer(); os._exit(0)",
        "answer(PNG[:-1]); os._exit(0)",
        "answer(b'x' * (10 << 20)); os._exit(0)",
        "while True: os.write(1, b'x' * 65536)",
        "os.kill(os.getppid(), 9); os._exit(0)",
        "os.kill(os.getppid(), 19); os._exit(0)",
        "os.close(1); os._exit(0)",
        "os.read(0, 1); os._exit(0)",
    ],
)
def test_a_decoder_that_misbehaves(hostile: Decoder, program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it does instead of answering: no picture, in finite time, and the next one is decoded."""
    monkeypatch.setattr(decoding, "PATIENCE", 8.0)
    started = time.monotonic()
    with pytest.raises(UnreadableError):
        hostile.decode(program.encode(), SIZES)
    assert time.monotonic() - started < 20
    assert hostile.decode(b"answer(); os._exit(0)", SIZES).width == 1


def test_it_has_no_other_descriptors(hostile: Decoder) -> None:
    """Three pipes, and nothing of ours that happened to be open."""
    with Path("/dev/null").open("rb") as kept:
        os.set_inheritable(kept.fileno(), True)
        for number in range(3, 64):
            tried(hostile, f"os.fstat({number})")
