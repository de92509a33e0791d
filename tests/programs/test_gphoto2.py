"""gphoto2 on the camera in the network that mtpfs is tested with: it is one that others accept, too."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from equipment.network import CameraServer, camera_of
from mount.conftest import MTPFS, run
from programs.conftest import contents, make_tree, program

if shutil.which("gphoto2") is None:
    pytest.skip("no gphoto2", allow_module_level=True)


@pytest.fixture(params=["as=camera", "as=android14"])
def camera(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[CameraServer]:
    """A camera with a tree of pictures, by their names: others gphoto2 doesn't fetch from cameras."""
    for path in make_tree(tmp_path / "camera/DCIM").rglob("*.dat"):
        path.rename(path.with_suffix(".jpg"))
    with CameraServer(camera_of(f"{tmp_path}/camera?{request.param}")) as server:
        yield server


def gphoto2(camera: CameraServer, *words: str, cwd: Path | None = None) -> str:
    port = f"ptpip:127.0.0.1:{camera.port}:{camera.port}"  # the second one is for events; else it takes 15740
    return program("gphoto2", "--camera", "PTP/IP Camera", "--port", port, *words, cwd=cwd).stdout


def test_listed_and_fetched(camera: CameraServer, tmp_path: Path) -> None:
    """gphoto2 finds all files and fetches their bytes; then mtpfs does, and finds the same."""
    expected = contents(tmp_path / "camera/DCIM")
    listed = gphoto2(camera, "--list-files")
    assert listed.count(" bytes.jpg") == len(expected)
    assert camera.camera.active is None
    for folder in ("", "/photos", "/photos/summer 2024"):
        place = tmp_path / f"got{folder}"
        place.mkdir(parents=True, exist_ok=True)
        folder_words = ("--folder", f"/store_00010001/DCIM{folder}", "--no-recurse")
        gphoto2(camera, *folder_words, "--get-all-files", cwd=place)
    found = contents(tmp_path / "got")
    assert found == expected
    program(*MTPFS, "get", "--source", camera.source, "-r", "DCIM", tmp_path)
    assert contents(tmp_path / "DCIM") == expected


def test_fetched_from_a_mount(camera: CameraServer, tmp_path: Path) -> None:
    """The same camera, right after gphoto2 had it, mounted."""
    gphoto2(camera, "--summary")
    (tmp_path / "mnt").mkdir()
    run(*MTPFS, camera.source, tmp_path / "mnt", "-o", "ro")
    try:
        (storage,) = (tmp_path / "mnt").iterdir()
        assert contents(storage / "DCIM") == contents(tmp_path / "camera/DCIM")
    finally:
        program(*MTPFS, "umount", tmp_path / "mnt")


def test_sent(tmp_path: Path) -> None:
    """gphoto2 sends a file to a device that takes some."""
    (tmp_path / "phone").mkdir()
    (tmp_path / "new.dat").write_bytes(bytes(range(256)) * 1000)
    with CameraServer(camera_of(f"{tmp_path}/phone?as=android14")) as server:
        gphoto2(server, "--folder", "/store_00010001", "--upload-file", str(tmp_path / "new.dat"))
    assert (tmp_path / "phone/new.dat").read_bytes() == (tmp_path / "new.dat").read_bytes()
