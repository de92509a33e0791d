"""What is public: the list, the page about it, its examples, and that nothing is loaded before it is used."""

from __future__ import annotations

import ast
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import trio

import mtpfs
from library.world import STORAGE
from mtpfs import library

PAGE = (Path(__file__).parents[2] / "docs/library.md").read_text()
EXAMPLES = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
CLASSES = (mtpfs.Phone, mtpfs.File, mtpfs.Storage, mtpfs.Entry, mtpfs.Event, mtpfs.DeviceOnBus)


def public(thing: type) -> set[str]:
    """Return the public names of a class."""
    fields = set(getattr(thing, "__dataclass_fields__", ()))
    return {name for name in fields | set(vars(thing)) if not name.startswith("_")}


def test_the_list_is_what_there_is() -> None:
    """Each name of the list is there, and documented in bold as a thing of its own; nothing else is."""
    for name in mtpfs.__all__:
        assert getattr(mtpfs, name) is not None
    titles = set(re.findall(r"\*\*`(?:await )?(?:phone\.)?(\w+)", PAGE))
    methods = public(mtpfs.Phone)
    assert titles - methods == set(mtpfs.__all__)
    assert set(library.__all__) | {"sync"} == set(mtpfs.__all__)
    assert set(mtpfs.__all__) <= set(dir(mtpfs))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        mtpfs.nonsense  # type: ignore[attr-defined] # noqa: B018


@pytest.mark.parametrize("thing", CLASSES, ids=lambda thing: thing.__name__)
def test_every_name_is_documented(thing: type) -> None:
    """The page has every public name of every class."""
    for name in public(thing):
        assert re.search(rf"`(?:[^`\n]*\W)?{name}\b", PAGE), name
    for kind in mtpfs.EventKind:
        assert f"`{kind.name}`" in PAGE


@pytest.mark.parametrize("function", [mtpfs.connect, *vars(mtpfs.Phone).values()])
def test_signatures_are_documented(function: object) -> None:
    """Where the page shows parameters, they are the real ones, with their defaults."""
    if not inspect.isfunction(function) or function.__name__.startswith("_"):
        return
    shown = re.search(rf"`[^`\n]*\b{function.__name__}\(([^`\n]*)\)`", PAGE)
    assert shown is not None
    parameters = [
        parameter.name
        if parameter.default is inspect.Parameter.empty
        else f'{parameter.name}="{parameter.default}"'
        if isinstance(parameter.default, str)
        else f"{parameter.name}={parameter.default}"
        for parameter in inspect.signature(function).parameters.values()
        if parameter.name != "self"
    ]
    assert shown[1] == ", ".join(parameters)


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
async def test_examples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: int
) -> None:
    """Every example of the page runs, on a virtual phone, and those that print do."""
    (tmp_path / "phone/DCIM").mkdir(parents=True)
    (tmp_path / "phone/DCIM/a.jpg").write_bytes(b"jpeg")
    monkeypatch.chdir(tmp_path)
    source = f"virtual:{tmp_path}/phone?ghost=0"
    example = EXAMPLES[number].replace('connect("any")', f"connect({source!r})")
    example = example.replace('source="any"', f"source={source!r}")
    is_whole = source in example
    code = compile(example, "docs/library.md", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    names: dict[str, object] = {"mtpfs": mtpfs, "trio": trio}
    if is_whole:
        await trio.to_thread.run_sync(eval, code, names)
    else:
        async with mtpfs.connect(source) as phone:
            await eval(code, {**names, "phone": phone})
    if "print(" in example and not {"devices()", "events()"} & set(re.findall(r"\w+\(\)", example)):
        assert capsys.readouterr().out


def modules_after(code: str) -> set[str]:
    """Return what is loaded when a fresh interpreter has run `code`."""
    result = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules, file=sys.stderr)"],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    return set(result.stderr.split())


def test_nothing_is_loaded_before_it_is_used() -> None:
    """`import mtpfs` loads nothing but the list; no command and no mount loads the library."""
    alone = modules_after("import mtpfs")
    assert {name for name in alone if name.split(".")[0] in {"mtpfs", "trio"}} == {"mtpfs"}
    helped = modules_after("from mtpfs.cli.main import main\ntry: main(['--help'])\nexcept SystemExit: pass")
    assert not {name for name in helped if name.split(".")[0] in {"trio", "pyfuse3", "usb"}}
    for loaded in (helped, modules_after("import mtpfs.mount")):
        assert not {name for name in loaded if name.startswith(("mtpfs.library", "mtpfs.sync"))}
    assert "pyfuse3" not in modules_after("import mtpfs; mtpfs.connect; mtpfs.sync")


def test_paths_are_absolute() -> None:
    """The page's storage is the virtual phone's, so that its examples can be tried."""
    assert STORAGE in PAGE
