"""-o options, help and man page: one table, told the same everywhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtpfs.cli.options import OPTIONS, help_text, parse_options, split_options
from mtpfs.errors import SetupError
from mtpfs.settings import Settings

TOP = Path(__file__).parents[2]


def test_words_of_mount_are_dropped() -> None:
    """What mount(8), fstab and systemd keep for themselves has no effect."""
    words = (
        "rw,noexec,nosuid,nodev,user=me,nofail,_netdev,noauto,x-systemd.automount,X-foo=1,comment=z,defaults"
    )
    settings = parse_options([words])
    assert settings.fuse_options == {"noexec", "nosuid", "nodev"}
    assert not settings.read_only


def test_later_option_wins() -> None:
    """Of two that contradict each other the later one counts, over several -o."""
    assert parse_options(["ro", "rw"]).read_only is False
    assert parse_options(["rw,ro"]).fuse_options == {"ro"}
    assert parse_options(["uid=1", "uid=2"]).uid == 2
    assert parse_options(["exec,noexec"]).fuse_options == {"noexec"}


def test_values() -> None:
    """Names, numbers and octal masks arrive as what they are."""
    settings = parse_options(["uid=root,gid=0,umask=027,timeout=2.5", r"fsname=Zoë\, phone"])
    assert (settings.uid, settings.gid, settings.fmask, settings.dmask) == (0, 0, 0o27, 0o27)
    assert settings.timeout == 2.5
    assert settings.fsname == "Zoë, phone"


def test_others_are_let_in_with_permissions() -> None:
    """allow_other never comes without default_permissions."""
    assert parse_options(["allow_other"]).fuse_options == {"allow_other", "default_permissions"}


@pytest.mark.parametrize(
    "word",
    [
        "nonsense",
        "nonsense=1",
        "max_read=4096",
        "uid",
        "uid=nobody-has-this",
        "umask=9",
        "ro=1",
        "timeout=0",
        "timeout=x",
        "fsname=",
    ],
)
def test_mistakes_are_named(word: str) -> None:
    """An unknown option or value is named, in one line."""
    with pytest.raises(SetupError, match=word.split("=", maxsplit=1)[0]) as caught:
        parse_options([word])
    assert "\n" not in str(caught.value)


def test_sloppy_ignores_unknown_options() -> None:
    """-s drops what nobody knows, and only that."""
    assert parse_options(["nonsense,ro"], sloppy=True).read_only
    with pytest.raises(SetupError):
        parse_options(["uid=x-y-z"], sloppy=True)


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=60))
def test_anything_is_settings_or_an_error(text: str) -> None:
    """Whatever stands behind -o gives settings or a SetupError."""
    try:
        settings = parse_options([text])
    except SetupError:
        return
    assert isinstance(settings, Settings)


@given(st.lists(st.text(alphabet="ab,\\=x", min_size=1, max_size=8), max_size=5))
def test_escaping_is_undone(words: list[str]) -> None:
    """Commas and backslashes that are escaped come back as they were."""
    escaped = ",".join(word.replace("\\", "\\\\").replace(",", "\\,") for word in words)
    assert split_options(escaped) == words


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_options_are_documented(option: object) -> None:
    """Every option stands in --help and in the man page."""
    name = option.name  # type: ignore[attr-defined]
    assert re.search(rf"^  {name}\b", help_text(), re.MULTILINE)
    page = (TOP / "man/mtpfs.1").read_text()
    assert re.search(rf"^\.It .*\b{name}\b", page, re.MULTILINE)


def test_help_loads_nothing_heavy() -> None:
    """Help and mistakes are answered without trio, pyfuse3 or pyusb."""
    code = (
        "import sys; from mtpfs.cli.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "main(['nonsense:1', '/tmp'])\n"
        "sys.exit(len({'trio', 'pyfuse3', 'usb'} & set(sys.modules)))"
    )
    environment = {**os.environ, "PYTHONPATH": str(TOP / "src")}
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=30, env=environment)


def test_fstab_example_is_understood() -> None:
    """Every line of fstab.example has six fields and options that the helper takes."""
    lines = [line for line in (TOP / "fstab.example").read_text().splitlines() if line and line[0] != "#"]
    assert lines
    for line in lines:
        _, _, kind, options, _, _ = line.split()
        assert kind == "mtpfs"
        parse_options([options])
