"""A desktop without a screen, and a phone in its user's home: `make desktop-test`, which installs the file managers.

Each test has an X server, a session bus, a window manager and a home of its own. A file manager is driven by its
keys, as its user would; where they don't reach it (Nautilus under Xvfb; pasting in Dolphin), the program of its
library does the work while its window is open: gio, kioclient5. Nothing waits for a time: keys that mark and copy are
pressed until the clipboard has the file, and what a test asks for is looked for on the phone's disk. Screenshots are
kept in build/desktop.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest

from mount.conftest import MTPFS, PATIENCE, run, wait_until
from mtpfs.cli.mounts import is_mounted

PICTURES = Path(__file__).parents[2] / "build/desktop"
SIZE = "1280x800"
STORAGE = "Internal shared storage"
COLOUR = b"\xfe\x00\xfe"
"""What a picture of pure magenta becomes as JPEG, about."""
DATE = 1_500_000_000


@dataclass(frozen=True)
class Manager:
    """A file manager, and the keys that differ."""

    name: str
    command: tuple[str, ...]
    new_folder: str = "ctrl+shift+n"
    asks_for_name: bool = True
    """Whether it asks for a new folder's name in a window; else it is edited in place."""
    deletes_instead: tuple[str, ...] = ("Return",)
    """The keys for yes to each question before what can't be put into a trash is deleted; none if it doesn't ask."""
    uses_gio: bool = True
    takes_keys: bool = True
    """Whether it can be driven by keys; else its library's own program does the work."""
    copies_by: tuple[str, ...] = ()
    """A program of its library that copies, where its keys for that aren't heeded."""


MANAGERS = (
    Manager("thunar", ("thunar",), deletes_instead=("alt+y",)),
    Manager(
        "nautilus",
        ("nautilus", "--new-window"),
        asks_for_name=False,
        takes_keys=False,
        copies_by=("gio", "copy"),
    ),
    Manager("caja", ("caja", "--no-desktop", "--browser"), asks_for_name=False),
    Manager("pcmanfm", ("pcmanfm", "--new-win"), deletes_instead=("Return", "Return")),
    Manager(
        "dolphin",
        ("dolphin", "--new-window"),
        new_folder="F10",
        deletes_instead=(),
        uses_gio=False,
        copies_by=("kioclient5", "--noninteractive", "copy"),
    ),
)


class Desktop:
    """A session with one file manager, and a phone that is mounted in the home."""

    def __init__(self, manager: Manager, base: Path, test: str) -> None:
        self.manager = manager
        self.home = base / "home"
        self.phone = base / "phone"
        self.mountpoint = self.home
        self._test = test
        self._stack = ExitStack()
        self._runtime = base / "run"
        self.environment: dict[str, str] = {}

    @property
    def root(self) -> Path:
        """The phone's storage on the mount."""
        return self.mountpoint / STORAGE

    def start(self) -> None:
        """Start the session, and mount the phone."""
        for directory in (self.home / "Outside", self.phone / "Inside", self._runtime):
            directory.mkdir(parents=True)
        self._runtime.chmod(0o700)
        display = self._started_display()
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "TMPDIR": os.environ.get("TMPDIR", "/tmp"),
            "XDG_RUNTIME_DIR": str(self._runtime),
            "DISPLAY": display,
            "LANG": "C.UTF-8",
            "NO_AT_BRIDGE": "1",
            "GDK_BACKEND": "x11",
            "GSK_RENDERER": "cairo",
            "QT_QPA_PLATFORM": "xcb",
            "LIBGL_ALWAYS_SOFTWARE": "1",
        }
        source = f"virtual:{self.phone}"
        with subprocess.Popen(
            [*MTPFS, source, "--in", str(self.home / "Phones")], stdout=subprocess.PIPE, text=True
        ) as mounting:
            self.mountpoint = Path(mounting.communicate(timeout=PATIENCE)[0].strip())
        self._stack.callback(self._unmount)
        self.environment["DBUS_SESSION_BUS_ADDRESS"] = self._started_bus()
        self._process("openbox")
        check = ("xprop", "-root", "_NET_SUPPORTING_WM_CHECK")
        wait_until(lambda: b"window id #" in self._output(*check), "a window manager")

    def stop(self) -> None:
        """End everything that was started."""
        self._stack.close()

    def _unmount(self) -> None:
        if is_mounted(str(self.mountpoint)):
            run("fusermount3", "-u", "-z", self.mountpoint)
        wait_until(lambda: not self.mountpoint.exists(), "the end of the mount")

    def _started_display(self) -> str:
        read, write = os.pipe()
        server = subprocess.Popen(
            ["Xvfb", "-displayfd", str(write), "-screen", "0", f"{SIZE}x24", "-nolisten", "tcp", "-noreset"],
            pass_fds=[write],
            stderr=subprocess.DEVNULL,
        )
        self._stack.callback(_end, server)
        os.close(write)
        with os.fdopen(read) as numbers:
            return f":{numbers.readline().strip()}"

    def _started_bus(self) -> str:
        bus = subprocess.Popen(
            ["dbus-daemon", "--session", "--nofork", "--print-address"],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._stack.callback(_end, bus)
        assert bus.stdout is not None
        with bus.stdout as addresses:
            return addresses.readline().strip()

    def _process(self, *words: str | Path) -> None:
        # Its own words go into the home: toolkits complain of much that a bare session lacks.
        with (self.home / ".log").open("a") as log:
            process = subprocess.Popen(
                [str(word) for word in words], env=self.environment, cwd=self.home, stdout=log, stderr=log
            )
        self._stack.callback(_end, process)

    def _output(self, *words: str | Path) -> bytes:
        return subprocess.run(
            [str(word) for word in words],
            env=self.environment,
            capture_output=True,
            check=False,
            timeout=PATIENCE,
        ).stdout

    def program(self, *words: str | Path) -> str:
        """Run a program of the session to its end, and return what it says; where it fails, that is its errors."""
        result = subprocess.run(
            [str(word) for word in words],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
        return f"failed: {result.stderr}" if result.returncode else result.stdout

    # --- windows and keys

    def window(self, directory: Path) -> str:
        """Open a directory in the file manager, and return its window."""
        self._process(*self.manager.command, directory)
        found: list[str] = []

        def there() -> bool:
            found[:] = self.program(
                "xdotool", "search", "--onlyvisible", "--name", f"^{directory.name}"
            ).split()
            return bool(found) and found[0].isdigit()

        wait_until(there, f"a window that shows {directory.name}")
        self.activate(found[0])
        return found[0]

    def activate(self, window: str) -> None:
        """Have a window get the keys."""
        self.program("xdotool", "windowactivate", "--sync", window)
        wait_until(lambda: self.program("xdotool", "getactivewindow").strip() == window, "the window's turn")

    def press(self, *keys: str) -> None:
        """Press keys, one after the other."""
        self.program("xdotool", "key", "--delay", "50", *keys)

    def type(self, text: str) -> None:
        """Type a text, and Return."""
        self.program("xdotool", "type", "--delay", "30", text)
        self.press("Return")

    def mark(self, path: Path) -> str:
        """Open the directory of its only file, mark that, and copy it to the clipboard; return the window."""
        window = self.window(path.parent)
        wanted = quote(str(path)).encode()

        def copied() -> bool:
            self.activate(window)
            self.press("ctrl+a", "ctrl+c")
            kinds = (b"x-special/gnome-copied-files", b"text/uri-list")
            return any(
                wanted in self._output("xclip", "-o", "-selection", "clipboard", "-t", kind.decode())
                for kind in kinds
            )

        self.until(copied, f"{path.name} in the clipboard")
        return window

    def copy(self, path: Path, directory: Path) -> None:
        """Copy a directory's only file into another directory, by the clipboard."""
        if self.manager.copies_by:
            self.window(directory)
            said = self.program(*self.manager.copies_by, path, directory / path.name)
            assert "failed" not in said, said
            return
        self.mark(path)
        self._paste(self.window(directory), directory / path.name)

    def _paste(self, window: str, path: Path) -> None:
        """Press the key for pasting until a file appears: it is in vain until the directory is listed."""

        def paste() -> None:
            self.activate(window)
            self.press("ctrl+v")

        self.insist(paste, path.exists, f"the arrival of {path.name}")

    def insist(self, act: Callable[[], None], condition: Callable[[], bool], what: str) -> None:
        """Press keys again where they had no effect: a window that is still being filled doesn't heed them."""

        def heeded() -> bool:
            act()
            try:
                wait_until(condition, what, patience=2)
            except AssertionError:
                return False
            return True

        self.until(heeded, what)

    def dialog(self, what: str, *windows: str) -> str:
        """Wait until another window than these has the keys: a question; return it."""
        active = ""

        def other() -> bool:
            nonlocal active
            active = self.program("xdotool", "getactivewindow").strip()
            return active.isdigit() and active not in windows

        self.until(other, what)
        return active

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for what a test asks for; a picture tells what was there instead."""
        try:
            wait_until(condition, what)
        except AssertionError:
            self.picture("failed")
            raise

    # --- pictures

    def picture(self, what: str) -> None:
        """Keep what is on the screen."""
        PICTURES.mkdir(parents=True, exist_ok=True)
        self.program("import", "-window", "root", PICTURES / f"{self.manager.name}-{self._test}-{what}.png")

    def coloured(self) -> int:
        """Return how many dots of the screen have the pictures' colour."""
        dots = self._output("import", "-window", "root", "-depth", "8", "rgb:-")
        near = zip(dots[::3], dots[1::3], dots[2::3], strict=True)
        return sum(1 for red, green, blue in near if red > 240 and green < 16 and blue > 240)


def _end(process: subprocess.Popen[str] | subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@pytest.fixture(params=MANAGERS, ids=[manager.name for manager in MANAGERS])
def desktop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Desktop]:
    """A session with each of the file managers."""
    name = request.node.originalname.removeprefix("test_")
    desktop = Desktop(request.param, tmp_path, name)
    try:
        desktop.start()
        yield desktop
    finally:
        desktop.stop()
