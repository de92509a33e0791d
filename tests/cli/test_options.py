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

from mtpfs.cli.options import OPTIONS, foreign_options, help_text, parse_options, split_options
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
    ("word", "words"),
    [
        ("nonsense", "unknown option: nonsense"),
        ("nonsense=1", "unknown option: nonsense"),
        ("uid", "option uid needs a value: uid=USER"),
        ("uid=nobody-has-this", "option uid=nobody-has-this: there is no user with that name"),
        ("uid=4294967295", "option uid=4294967295: the largest number is 4294967294"),
        ("uid=-1", "option uid=-1: there is no user with that name"),
        ("gid=nobody-has-this", "option gid=nobody-has-this: there is no group with that name"),
        ("gid=" + "9" * 5000, "the largest number is 4294967294"),
        ("umask=9", "option umask=9: an octal number such as 022 is needed"),
        ("ro=1", "option ro takes no value"),
        ("timeout=0", "option timeout=0: a number of seconds is needed, more than 0 and at most 3600"),
        ("ttl=1e400", "option ttl=1e400: a number of seconds is needed"),
        ("timeout=x", "option timeout=x: a number of seconds is needed"),
        ("readahead=4G", "option readahead=4G: a number of bytes is needed, or one with K or M, such as 4M"),
        ("readahead=17M", "option readahead=17M: at most 16M are possible"),
        ("fsname=", "option fsname=: it must not be empty"),
    ],
)
def test_mistakes_are_named(word: str, words: str) -> None:
    """An unknown option or value is named, in one line."""
    with pytest.raises(SetupError, match=re.escape(words)) as caught:
        parse_options([word])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "word",
    [
        *("big_writes", "use_ino", "readdir_ino", "hard_remove", "kernel_cache", "auto_cache", "direct_io"),
        *("large_read", "intr", "max_read=131072", "max_write=131072", "max_readahead=131072"),
        *("attr_timeout=1", "entry_timeout=1", "ac_attr_timeout=1", "negative_timeout=1"),
    ],
)
def test_words_of_other_filesystems_are_dropped(word: str) -> None:
    """What lines of other FUSE filesystems have is taken without effect, and can be told."""
    assert parse_options([f"{word},ro"]) == parse_options(["ro"])
    assert foreign_options(["ro,noauto", f"{word},uid=0"]) == [word]


def test_dropped_words_are_told(tmp_path: Path) -> None:
    """One line says which words of other filesystems had no effect; the mount goes on to the next mistake."""
    words = ["virtual:/none", str(tmp_path), "-o", "big_writes,max_read=4096"]
    result = subprocess.run(
        [sys.executable, "-m", "mtpfs", *words], check=False, capture_output=True, text=True, timeout=60
    )
    assert result.stderr.splitlines()[0] == (
        "mtpfs: options for other filesystems, without effect here: big_writes, max_read=4096"
    )
    assert "/none" in result.stderr.splitlines()[1]


def test_remount_is_seen_first() -> None:
    """mount(8) hands over all options of the mount, some of which nobody may give, and `remount` somewhere."""
    for words in ("remount,rw", "rw,nosuid,user_id=0,group_id=0,remount"):
        with pytest.raises(SetupError, match="a mount keeps its options"):
            parse_options([words], sloppy=True)


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
