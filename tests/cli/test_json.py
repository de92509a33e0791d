"""`--json` of the file commands: each line is what docs/mtpfs-files.schema.json says, and the man page names all of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from cli.files import STORAGE, Commands, local_file, reached
from mtpfs.cli.main import FILE_COMMANDS

TOP = Path(__file__).parents[2]
SCHEMA: dict[str, Any] = json.loads((TOP / "docs/mtpfs-files.schema.json").read_text())
VALIDATOR = Draft202012Validator(SCHEMA)


@pytest.fixture(params=["cable", "mount"])
def commands(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Commands]:
    """A phone with some files, over the cable and behind a mount."""
    for name, data in (("DCIM/a.jpg", b"aaa"), ("DCIM/b.jpg", b"bb"), ("DCIM/D/c", b"c")):
        local_file(tmp_path / "phone" / name, data)
    local_file(tmp_path / "here/f", b"f")
    local_file(tmp_path / "here/T/D/g", b"g")
    local_file(tmp_path / "here/T/E/h", b"h")
    cable = Commands(tmp_path / "phone", tmp_path / "here", f"virtual:{tmp_path}/phone?ghost=0")
    with reached(request.param, cable, tmp_path / "mnt"):
        yield cable


def test_the_schema_itself() -> None:
    """It is one, it knows each command, and it refuses what is something else."""
    Draft202012Validator.check_schema(SCHEMA)
    assert {*SCHEMA["properties"], "cat"} == {*FILE_COMMANDS, "import"}
    good = {"source": "a", "target": "b", "size": 1, "status": "done"}
    assert VALIDATOR.is_valid({"get": good})
    for change in ({"size": -1}, {"status": "failed"}, {"error": "x"}, {"status": "perhaps"}, {"more": 1}):
        assert not VALIDATOR.is_valid({"get": good | change}), change
    assert not VALIDATOR.is_valid({"sync": good})
    assert VALIDATOR.is_valid({"sync": good | {"action": "copy"}})


def test_man_page() -> None:
    """It names each key."""
    text = (TOP / "man/mtpfs-files.1").read_text()
    part = text[text.index(".Ss JSON") : text.index(".Sh ENVIRONMENT")]
    named = set(re.findall(r"\b[a-z]+\b", "\n".join(re.findall(r"^\.Va (.*)$", part, re.MULTILINE))))

    def keys(schema: Any) -> Iterator[str]:
        if isinstance(schema, dict):
            yield from schema.get("properties", {})
            for each in schema.values():
                yield from keys(each)
        elif isinstance(schema, list):
            for each in schema:
                yield from keys(each)

    commands = {*FILE_COMMANDS, "import"}
    described = SCHEMA | {"properties": {k: v for k, v in SCHEMA["properties"].items() if k != "import"}}
    assert set(keys(described)) - commands == named - commands


def test_every_line(commands: Commands) -> None:
    """Of each command, done, skipped, planned and failed, there are lines, and all are what the schema says."""
    seen = set()
    for status, *words in (
        (0, "ls", "-R", "DCIM"),
        (0, "ls"),
        (0, "tree", "DCIM"),
        (0, "stat", "DCIM/a.jpg", "DCIM"),
        (0, "df"),
        (0, "get", "DCIM/*.jpg", "."),
        (0, "get", "DCIM/*.jpg", "."),
        (1, "get", "DCIM/a.jpg", "f/x"),
        (0, "put", "f", "DCIM"),
        (0, "put", "f", "DCIM"),
        (1, "put", "f", "DCIM/.Trash-1/x"),
        (0, "mkdir", "-p", "A/B"),
        (0, "cp", "DCIM/f", "A/"),
        (0, "mv", "A/f", "A/g"),
        (0, "rm", "-r", "A"),
        (0, "sync", "-n", "--delete", "T/", "phone:DCIM"),
        (0, "sync", "--delete", "T/", "phone:DCIM"),
        (0, "sync", "T/", "phone:DCIM"),
        (1, "sync", "T", f"phone:{STORAGE}/DCIM/D/g"),
        (1, "sync", "T", "phone:/nowhere"),
        (1, "sync", "nothing", "phone:"),
    ):
        result = commands.run(*words, "--json", status=status)
        lines = [json.loads(line) for line in result.stdout.splitlines()]
        assert lines or status, words
        for line in lines:
            VALIDATOR.validate({words[0]: line})
            seen.add((words[0], line.get("action"), line.get("status")))
    assert seen >= {
        *((command, None, None) for command in ("ls", "tree", "stat", "df")),
        *((command, None, "done") for command in ("rm", "mkdir", "mv", "cp")),
        *((command, None, status) for command in ("get", "put") for status in ("done", "skipped")),
        *(("sync", action, "planned") for action in ("copy", "mkdir", "remove", "summary")),
        *(("sync", action, "done") for action in ("copy", "mkdir", "remove", "summary")),
        *(("sync", action, "failed") for action in ("mkdir", "summary")),
        ("get", None, "failed"),
        ("put", None, "failed"),
    }, seen
