"""Cameras in the network: `list --network`, and the commands that take one, on real sockets."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.files import Commands, local_file
from equipment.network import CameraServer, camera_of
from mtpfs.cli import network
from mtpfs.cli.main import main
from mtpfs.cli.network import MOST, Camera, find_cameras, parse
from mtpfs.errors import MachineError, SetupError
from mtpfs.protocol.ptpip import FailReason
from mtpfs.transport.source import parse_source

RESOLVED = rb"""+;eth0;IPv4;Canon\032EOS\032R6;_ptp._tcp;local
=;eth0;IPv6;Canon\032EOS\032R6;_ptp._tcp;local;canon.local;fe80::2;15740;"sid.canon.com=1"
=;eth0;IPv4;Canon\032EOS\032R6;_ptp._tcp;local;canon.local;192.168.1.20;15740;"sid.canon.com=1" "a;b"
=;wlan0;IPv4;Canon\032EOS\032R6;_ptp._tcp;local;canon.local;192.168.7.20;15740;
=;wlan0;IPv6;Z\0405;_ptp._tcp;local;z5.local;fe80::3;15741;
"""


def test_what_avahi_says() -> None:
    """A service with several addresses is one camera; a link-local address gets its interface."""
    assert parse(RESOLVED) == [
        Camera("Canon EOS R6", parse_source("ip:192.168.1.20")),
        Camera("Z(5", parse_source("ip:[fe80::3%wlan0]:15741")),
    ]


@pytest.mark.parametrize(
    "line",
    [
        b"=;eth0;IPv4;x;_ptp._tcp;local;h;not an address;15740;",
        b"=;eth0;IPv4;x;_ptp._tcp;local;h;1.2.3.4;0;",
        b"=;eth0;IPv4;x;_ptp._tcp;local;h;1.2.3.4;65536;",
        b"=;eth0;IPv4;x;_ptp._tcp;local;h;1.2.3.4;-1;",
        b"=;eth0;IPv4;x;_ptp._tcp;local;h;1.2.3.4;\xd9\xa1;",
        b"=;eth0;IPv4;x;_http._tcp;local;h;1.2.3.4;15740;",
        b"=;e th0;IPv6;x;_ptp._tcp;local;h;fe80::1;15740;",
        b"=;eth0;IPv6;x;_ptp._tcp;local;h;fe80::1%;rm -rf;15740;",
        b"=;eth0;IPv4;x;_ptp._tcp",
        b"\xff\xfe;;;;;;;;;;;",
    ],
)
def test_lines_that_are_none(line: bytes) -> None:
    assert parse(line) == []


@given(st.binary(max_size=300) | st.lists(st.binary(max_size=20), max_size=12).map(b";".join))
def test_any_bytes(output: bytes) -> None:
    """Whatever is announced: what comes out is a source that can be given back."""
    for camera in parse(b"=" + output):
        assert parse_source(camera.source.text) == camera.source


@given(
    st.binary(min_size=1, max_size=60).filter(
        lambda name: not set(name) & set(b";\\\n\r\v\f\x1c\x1d\x1e\x85")
    )
)
def test_any_name(name: bytes) -> None:
    (camera,) = parse(b"=;eth0;IPv4;" + name + b";_ptp._tcp;local;h;1.2.3.4;15740;")
    assert camera.name == name.decode(errors="replace")


def test_a_flood() -> None:
    lines = [b"=;eth0;IPv4;%d;_ptp._tcp;local;h;1.2.3.4;%d;" % (n, n + 1) for n in range(5000)]
    assert len(parse(b"\n".join(lines))) == MOST


def fake(tmp_path: Path, script: str) -> None:
    program = tmp_path / "avahi-browse"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that is all of PATH, but for what a shell needs."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    for name in ("sh", "cat", "sleep"):
        found = shutil.which(name, path="/bin:/usr/bin")
        assert found is not None
        (tmp_path / "bin" / name).symlink_to(found)
    return tmp_path / "bin"


def test_listed(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The table, and the same as JSON."""
    (path / "said").write_bytes(RESOLVED + rb"=;eth0;IPv4;\027[31mred;_ptp._tcp;local;h;10.0.0.1;15740;")
    fake(path, f'[ "$*" = "-ptr _ptp._tcp" ] && cat {path}/said')
    assert main(["list", "--network"]) == 0
    assert [line.split("  ")[0] for line in capsys.readouterr().out.splitlines()] == [
        "NAME",
        r"\x1b[31mred",
        "Canon EOS R6",
        "Z(5",
    ]
    assert main(["list", "--network", "--json"]) == 0
    cameras = json.loads(capsys.readouterr().out)["cameras"]
    assert [camera["source"] for camera in cameras] == [
        "ip:10.0.0.1",
        "ip:192.168.1.20",
        "ip:[fe80::3%wlan0]:15741",
    ]
    assert cameras[1] == {
        "source": "ip:192.168.1.20",
        "host": "192.168.1.20",
        "port": 15740,
        "name": "Canon EOS R6",
        "mounted_at": "",
    }


def test_none(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fake(path, "true")
    assert main(["list", "--network"]) == 0
    assert "No camera announces PTP/IP" in capsys.readouterr().out


def test_without_avahi(path: Path) -> None:
    with pytest.raises(MachineError, match="apt install avahi-utils"):
        find_cameras()


def test_without_the_daemon(path: Path) -> None:
    fake(path, "echo 'Failed to create client object: Daemon not running' >&2; exit 1")
    with pytest.raises(SetupError, match=r"Daemon not running\. Does avahi-daemon run\?"):
        find_cameras()


def test_avahi_hangs(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(words: list[str], **how: object) -> NoReturn:
        raise subprocess.TimeoutExpired(words, network.PATIENCE)

    monkeypatch.setattr("mtpfs.cli.network.subprocess.run", run)
    with pytest.raises(SetupError, match="didn't end within 15 s"):
        find_cameras()


# --- commands ---


@pytest.fixture
def server(tmp_path: Path) -> Iterator[CameraServer]:
    """A camera with two pictures, at a port of 127.0.0.1."""
    for name in ("a.jpg", "b.jpg"):
        local_file(tmp_path / "camera/DCIM/100CANON" / name, name.encode() * 5000)
    (tmp_path / "here").mkdir()
    with CameraServer(camera_of(f"{tmp_path}/camera?as=camera")) as server:
        yield server


@pytest.fixture
def commands(server: CameraServer, tmp_path: Path) -> Commands:
    return Commands(tmp_path / "camera", tmp_path / "here", server.source)


def test_commands(commands: Commands) -> None:
    """Files are listed, fetched and deleted."""
    assert commands.lines("ls", "DCIM/100CANON") == ["a.jpg", "b.jpg"]
    commands.run("get", "DCIM/100CANON/*.jpg", ".")
    assert (commands.here / "a.jpg").read_bytes() == b"a.jpg" * 5000
    commands.run("put", "a.jpg", "DCIM/new.jpg", status=1)
    commands.run("rm", "DCIM/100CANON/b.jpg")
    assert os.listdir(commands.phone / "DCIM/100CANON") == ["a.jpg"]


def test_info(commands: Commands) -> None:
    found = json.loads(commands.run("info", "--json").stdout)
    assert found["model"] == "Camera"
    assert found["usb_serial"] == ""


def test_doctor(commands: Commands, server: CameraServer) -> None:
    """It says that the camera answers; and what is the matter when it doesn't."""
    assert f"{server.source} answers; its storages: Internal shared storage" in commands.run("doctor").stdout
    server.camera.refuses = FailReason.REJECTED
    assert "has to be paired first" in commands.run("doctor", status=1).stdout
    server.unplug()
    assert "refuses connections" in commands.run("doctor", status=1).stdout


@pytest.mark.parametrize("word", ["ls", "info", "doctor"])
def test_busy(commands: Commands, server: CameraServer, word: str) -> None:
    """Another program has it."""
    server.camera.refuses = FailReason.BUSY
    result = commands.run(word, status=1)
    assert "takes only one program at a time" in result.stdout + result.stderr


def test_the_same_number_each_time(commands: Commands, server: CameraServer) -> None:
    commands.run("ls")
    commands.run("ls")
    assert len({initiator.guid for initiator in server.camera.initiators}) == 1


@pytest.mark.parametrize(
    "source", ["ip:", "ip:a b", "ip:x:0", "ip:x:65536", "ip:[x]", "ip:[::1", "ip:::1", "ip:-x"]
)
def test_no_sources(source: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", source]) == 1
    assert "no such source" in capsys.readouterr().err
