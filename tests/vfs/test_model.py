"""Random operations on the filesystem and on a dictionary must come to the same."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from mtpfs.errors import FsError
from vfs.world import World, world

NAMES = st.sampled_from([b"a", b"b", b"c.txt", "ä\N{CHEESE WEDGE}".encode()])
DATA = st.binary(max_size=2000)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), NAMES, DATA),
        st.tuples(st.just("write"), NAMES, st.integers(0, 3000), DATA),
        st.tuples(st.just("truncate"), NAMES, st.integers(0, 4000)),
        st.tuples(st.just("rename"), NAMES, NAMES),
        st.tuples(st.just("unlink"), NAMES),
        st.tuples(st.just("relist")),
    ),
    max_size=25,
)


async def apply(w: World, model: dict[bytes, bytes], step: tuple[object, ...]) -> None:
    """Do one step on both."""
    match step:
        case ("put", bytes(name), bytes(data)):
            await w.put(name, data)
            model[name] = data
        case ("write", bytes(name), int(offset), bytes(data)) if name in model:
            opened = await w.open(name)
            if data:
                await w.fs.write(opened, offset, data)
                old = model[name].ljust(offset, b"\0")
                model[name] = old[:offset] + data + old[offset + len(data) :]
            await w.close(opened)
        case ("truncate", bytes(name), int(size)) if name in model:
            await w.fs.truncate(await w.fs.lookup(w.root, name), size)
            model[name] = model[name][:size].ljust(size, b"\0")
        case ("rename", bytes(old_name), bytes(new_name)) if old_name in model:
            await w.fs.rename(w.root, old_name, w.root, new_name)
            model[new_name] = model.pop(old_name)
        case ("unlink", bytes(name)) if name in model:
            await w.fs.unlink(w.root, name)
            del model[name]
        case ("relist",):
            await w.fs.tree.ensure_listed(w.root, fresh=True)
        case (_, bytes(name), *_) if name not in model:
            with pytest.raises(FsError):
                await w.fs.lookup(w.root, name)


@pytest.mark.parametrize("words", ["", "no-edit", "no-partial&no-edit", "no-move&no-proplist"])
@settings(max_examples=25, deadline=None)
@given(steps=STEPS)
def test_same_as_a_dictionary(words: str, steps: list[tuple[object, ...]]) -> None:
    """After every step the phone holds what the model holds, and reads as it."""

    async def run(phone: Path) -> None:
        model: dict[bytes, bytes] = {}
        async with world(phone, f"{words}&no-events".strip("&")) as w:
            for step in steps:
                await apply(w, model, step)
                assert {path.name.encode(): path.read_bytes() for path in phone.iterdir()} == model
                assert sorted(await w.names()) == sorted(model)
            for name, data in model.items():
                node = await w.fs.lookup(w.root, name)
                assert node.size == len(data)
                assert await w.get(node) == data

    directory = Path(tempfile.mkdtemp())
    try:
        trio.run(run, directory)
    finally:
        shutil.rmtree(directory)
