"""What a sync asks the phone for: a second one no more than a listing does."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from unittest.mock import patch

import pytest

from cli.files import STORAGE, local_file
from mtpfs.cli.main import main
from mtpfs.protocol.codes import Operation
from mtpfs.virtual import transport
from mtpfs.virtual.faults import Fault, FaultScript
from mtpfs.virtual.transport import VirtualTransport, open_virtual
from phones import WRITABLE_PERSONALITIES, name

FILES, DIRECTORIES = 30, 3


class Recorder(FaultScript):
    """Counts which commands come."""

    def __init__(self) -> None:
        super().__init__()
        self.commands: Counter[str] = Counter()

    def take(self, operation: int) -> Fault | None:
        self.commands[Operation(operation).name] += 1
        return super().take(operation)


def commands(source: str, *words: str | Path) -> Counter[str]:
    """Run a command of mtpfs; return what it has asked the phone for."""
    recorder = Recorder()

    def opened(argument: str) -> VirtualTransport:
        return open_virtual(argument, faults=recorder)

    with patch.object(transport, "open_virtual", opened):
        assert main([*map(str, words), "--source", source]) == 0
    return recorder.commands


@pytest.mark.parametrize("words", [*WRITABLE_PERSONALITIES, "arrival-dates", "dates=none"], ids=name)
def test_second_sync(tmp_path: Path, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It asks for what `ls -lR` asks for, and nothing else; the first one besides for two transactions a file."""
    for index in range(FILES):
        local_file(tmp_path / f"Music/{index % DIRECTORIES}/{index}.mp3", b"x" * index)
    (tmp_path / "phone").mkdir()
    source = f"virtual:{tmp_path}/phone?{words}&ghost=0"
    first = commands(source, "sync", tmp_path / "Music", "phone:")
    assert first["SendObject"] == FILES
    assert first["SendObjectInfo"] == FILES + DIRECTORIES + 1
    listing = commands(source, "ls", "-lR", f"{STORAGE}/Music")
    for again in (
        ("sync", tmp_path / "Music", "phone:"),
        ("sync", f"{tmp_path}/Music/", f"phone:{STORAGE}/Music", "--delete", "--exclude", "*.png"),
    ):
        assert commands(source, *again) == listing
    commands(source, "sync", f"phone:{STORAGE}/Music", tmp_path / "got")
    assert commands(source, "sync", f"phone:{STORAGE}/Music/", tmp_path / "got/Music") == listing
    if words != "as=android8":  # which tells dates one by one
        assert sum(listing.values()) < FILES or words in {"as=umtp", "as=tizen"}, listing  # which list so
    capsys.readouterr()
