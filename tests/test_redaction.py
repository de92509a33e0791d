"""What `--redact` hides: names and serial numbers, wherever they turn up, and nothing else."""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path

import pytest

from mtpfs import redaction


@pytest.fixture(autouse=True)
def off_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Redaction can't be ended: it is a wish of the person who started the program."""
    monkeypatch.setattr(redaction, "_secrets", None)


@pytest.fixture
def on() -> None:
    redaction.start()


def formatted(message: str, *arguments: object) -> str:
    record = logging.LogRecord("mtpfs", logging.INFO, "file.py", 1, message, arguments, None)
    return redaction.Formatter("%(message)s").format(record)


def test_off() -> None:
    """Without `--redact` all is shown, and nothing is remembered for later."""
    redaction.hide_name("letter.pdf")
    assert redaction.redact("/letter.pdf") == "/letter.pdf"
    redaction.start()
    assert redaction.redact("/letter.pdf") == "/letter.pdf"


@pytest.mark.usefixtures("on")
@pytest.mark.parametrize(
    "name",
    [
        "letter.pdf",
        "a letter to Bob.pdf",
        "Bob",
        "Übergröße ñ",
        "日本の写真.jpg",
        "it's.txt",
        '"\\x".md',
        ".bashrc",
    ],
)
@pytest.mark.parametrize("text", ["/phone/{}: no", "{}", "{!r} is one", "['{}', 3]", "/{}/and/more"])
def test_forms(name: str, text: str) -> None:
    """A name is hidden as a component of a path, in quotes, escaped or not, and alone; always by one hash."""
    redaction.hide_name(name)
    shown = redaction.redact(name)
    assert shown.startswith("name-")
    assert name not in shown
    hidden = redaction.redact(text.format(name))
    assert hidden.replace('"', "'") == text.format(shown)
    assert name not in hidden


@pytest.mark.usefixtures("on")
def test_bytes() -> None:
    """A name that the kernel gave is the one that the device has; what isn't UTF-8 is hidden too."""
    redaction.hide_name("Café.jpg".encode())
    redaction.hide_name(b"bad\xff.jpg")
    assert redaction.redact("Café.jpg") in redaction.redact(f"{'Café.jpg'.encode()!r} is gone")
    for form in ("bad�.jpg", repr(b"bad\xff.jpg"), "bad\udcff.jpg"):
        assert "bad" not in redaction.redact(f"/{form}")


@pytest.mark.usefixtures("on")
def test_words() -> None:
    """A folder called like a word of the log doesn't replace that word; where it is a name, it is hidden."""
    for name in ("a", "the", "device", "1"):
        redaction.hide_name(name)
    assert formatted("the device has 1 object, a folder") == "the device has 1 object, a folder"
    text = formatted("%s: the device says: %s", "/the/a/device/1", "a refusal of the device")
    path, said, why = text.split(": ")
    assert said == "the device says"
    assert why == "a refusal of the device"
    assert [part[:5] for part in path.split("/")] == ["", "name-", "name-", "name-", "name-"]
    assert formatted("%s is gone", "device").startswith("name-")
    assert formatted("%r is gone", "device").startswith("'name-")


@pytest.mark.usefixtures("on")
def test_longest_first() -> None:
    """A name that begins another one, or is a word of it, leaves nothing of that."""
    for name in ("my", "my diary", "my diary.txt", "diary.txt"):
        redaction.hide_name(name)
    assert redaction.redact("/my diary.txt") == f"/{redaction.redact('my diary.txt')}"
    assert redaction.redact("xmy diary.txty") == "xmy diary.txty"  # another name, which isn't known


@pytest.mark.usefixtures("on")
def test_what_stays() -> None:
    """A common extension and the kind of a temporary object stay; an extension may be half of a name."""
    for name in ("Song.MP3", "invoice.miller", ".mtpfs-new-4f2a91-1c8-Song.MP3"):
        redaction.hide_name(name)
    song = redaction.redact("Song.MP3")
    assert song.endswith(".MP3")
    assert "miller" not in redaction.redact("invoice.miller")
    assert redaction.redact("/.mtpfs-new-4f2a91-1c8-Song.MP3") == f"/.mtpfs-new-4f2a91-1c8-{song}"


@pytest.mark.usefixtures("on")
def test_serials() -> None:
    """A serial number is hidden inside words too, unless it is so short that it could be anything."""
    redaction.hide_serial("28291FDH2003WX")
    redaction.hide_serial("1")
    shown = redaction.redact("28291FDH2003WX")
    assert shown.startswith("serial-")
    assert redaction.redact("/mnt/Pixel-7-28291FDH2003WX: x") == f"/mnt/Pixel-7-{shown}: x"
    assert redaction.redact("serial:28291FDH2003WX fits 1 devices") == f"serial:{shown} fits 1 devices"
    assert redaction.redact("serial:1 fits 11 devices") == f"serial:{redaction.redact('1')} fits 11 devices"


@pytest.mark.usefixtures("on")
def test_traceback() -> None:
    """Tracebacks are redacted, and so are other loggers' lines without arguments."""
    redaction.hide_name("Bob's letter.pdf")
    try:
        Path("/nowhere/Bob's letter.pdf").read_bytes()
    except FileNotFoundError:
        record = logging.LogRecord("x", logging.ERROR, "f", 1, "no Bob's letter.pdf", (), sys.exc_info())
    text = redaction.Formatter("%(message)s").format(record)
    assert "FileNotFoundError" in text
    assert "letter" not in text
    assert record.exc_text is None  # what other handlers format


@pytest.mark.usefixtures("on")
def test_values() -> None:
    """What commands print as JSON keeps its shape."""
    redaction.hide_serial("S123456")
    found = redaction.redacted({"serial": "S123456", "list": [{"n": 3, "t": "at S123456"}], "none": None})
    shown = redaction.redact("S123456")
    assert found == {"serial": shown, "list": [{"n": 3, "t": f"at {shown}"}], "none": None}


def test_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The hash is the same in two runs on one machine, another one on another, and never one that others can guess."""

    def hashed(machine: Path) -> str:
        monkeypatch.setattr(redaction, "MACHINE_ID", machine)
        monkeypatch.setattr(redaction, "_secrets", None)
        redaction.start()
        redaction.hide_name("letter.pdf")
        return redaction.redact("letter.pdf")

    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("1\n")
    two.write_text("2\n")
    assert hashed(one) == hashed(one) != hashed(two)
    assert hashed(tmp_path / "none") != hashed(tmp_path / "none")


@pytest.mark.usefixtures("on")
def test_many_names() -> None:
    """Ten thousand names make a line cost a fraction of a millisecond or so."""
    for number in range(10_000):
        redaction.hide_name(f"holiday {'x' * (number % 80)} {number}.jpg")
    line = "/phone/DCIM/holiday xxx 83.jpg: InvalidObjectHandle, and some more words about it"
    started = time.process_time()
    for _ in range(100):
        assert "holiday" not in redaction.redact(line)
    assert time.process_time() - started < 1
