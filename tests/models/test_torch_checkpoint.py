"""Checkpoints made by hand, with a stand-in for torch and the real pickler; good ones and bad."""

import hashlib
import io
import os
import pickle
import sys
import types
import zipfile
from collections import OrderedDict

import jax.numpy as jnp
import numpy as np
import pytest

from lrpjax import models

CheckpointError = models.CheckpointError

STORAGES = {
    "DoubleStorage": np.float64,
    "FloatStorage": np.float32,
    "HalfStorage": np.float16,
    "BFloat16Storage": jnp.bfloat16,
    "LongStorage": np.int64,
    "IntStorage": np.int32,
    "ShortStorage": np.int16,
    "CharStorage": np.int8,
    "ByteStorage": np.uint8,
    "BoolStorage": np.bool_,
}


class Storage:
    """A flat array that the pickler names instead of saving."""

    def __init__(self, flat, kind="FloatStorage", key=None):
        self.flat = np.asarray(flat, STORAGES[kind])
        self.kind = kind
        self.key = key or str(id(self))


class Tensor:
    """What torch pickles a tensor as: a storage and a way to look at it."""

    def __init__(self, storage, shape, strides, offset=0, wrap=False):
        self.arguments = (storage, offset, shape, strides, False, OrderedDict())
        self.wrap = wrap

    def __reduce__(self):
        utils = sys.modules["torch._utils"]
        if self.wrap:
            plain = Tensor(*(self.arguments[i] for i in (0, 2, 3, 1)))
            return utils._rebuild_parameter, (plain, True, OrderedDict())
        return utils._rebuild_tensor_v2, self.arguments


class Call:
    """Asks the unpickler to call something."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


def tensor(array, kind="FloatStorage", **options):
    array = np.asarray(array, STORAGES[kind])
    strides = tuple(s // array.itemsize for s in np.zeros_like(array, order="C").strides)
    return Tensor(Storage(array.ravel(), kind), array.shape, strides, **options)


@pytest.fixture(autouse=True)
def torch(monkeypatch):
    """Modules with the names the pickler writes; the reader must never look them up."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    for kind in (*STORAGES, "QInt8Storage"):
        setattr(torch, kind, type(kind, (), {"__module__": "torch"}))
    for name in ("_rebuild_tensor_v2", "_rebuild_parameter"):
        function = types.FunctionType((lambda *_: None).__code__, {}, name)
        function.__module__, function.__qualname__ = "torch._utils", name
        setattr(utils, name, function)
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)
    return torch


def pickled(state, view=()):
    """The pickle of ``state``, and its storages in the order the pickler met them."""
    storages, stream = {}, io.BytesIO()

    class Pickler(pickle.Pickler):
        def persistent_id(self, thing):
            if not isinstance(thing, Storage):
                return None
            storages[thing.key] = thing
            kind = getattr(sys.modules["torch"], thing.kind)
            return ("storage", kind, thing.key, "cpu", thing.flat.size, *view)

    Pickler(stream, protocol=2).dump(state)
    return stream.getvalue(), storages


def legacy(state, *, magic=0x1950A86A20F9469CFC6C, little=True, view=(None,)):
    system = {"protocol_version": 1001, "little_endian": little, "type_sizes": {"int": 4}}
    body, storages = pickled(state, view)
    parts = [pickle.dumps(head, 2) for head in (magic, 1001, system)]
    parts += [body, pickle.dumps(list(storages), 2)]
    for storage in storages.values():
        parts += [storage.flat.size.to_bytes(8, "little"), storage.flat.tobytes()]
    return b"".join(parts)


def zipped(state, *, compression=zipfile.ZIP_STORED, order=b"little", root="archive"):
    stream, (body, storages) = io.BytesIO(), pickled(state)
    with zipfile.ZipFile(stream, "w", compression) as archive:
        archive.writestr(f"{root}/data.pkl", body)
        archive.writestr(f"{root}/byteorder", order)
        for storage in storages.values():
            archive.writestr(f"{root}/data/{storage.key}", storage.flat.tobytes())
        archive.writestr(f"{root}/version", b"3\n")
    return stream.getvalue()


@pytest.fixture
def read(tmp_path):
    def read(content, **options):
        path = tmp_path / "weights.pth"
        path.write_bytes(content)
        return models.torch_checkpoint.read_state_dict(path, **options)

    return read


layouts = pytest.mark.parametrize("layout", [legacy, zipped])


@layouts
@pytest.mark.parametrize("kind", STORAGES)
def test_every_dtype_comes_back(read, layout, kind):
    array = np.array([[0, 1, 2], [3, 100, 1]]).astype(STORAGES[kind])
    (found,) = read(layout({"layer.weight": tensor(array, kind)})).values()
    assert found.dtype == STORAGES[kind]
    np.testing.assert_array_equal(found, array)


@layouts
def test_views_scalars_empties_and_parameters_come_back(read, layout):
    shared = Storage(np.arange(12.0))
    state = OrderedDict(
        rows=Tensor(shared, (3, 4), (4, 1)),
        columns=Tensor(shared, (4, 3), (1, 4)),
        part=Tensor(shared, (2, 2), (4, 1), offset=5),
        scalar=tensor(7.0),
        empty=tensor(np.zeros((0, 3))),
        parameter=tensor([1.0, 2.0], wrap=True),
    )
    state._metadata = OrderedDict(version=1)  # as torch has it; sets an attribute
    found = read(layout(state))
    rows = np.arange(12.0).reshape(3, 4)
    expected = dict(rows=rows, columns=rows.T, part=rows[1:, 1:3], scalar=7.0)
    expected |= dict(empty=np.zeros((0, 3)), parameter=[1.0, 2.0])
    assert list(found) == list(state)
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].shape == np.shape(array)
    found["rows"][:] = 0
    assert found["columns"].any()  # each array is its own


@layouts
@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (os.system, ("touch {}",)),
        (os.mkdir, ("{}",)),
        (eval, ("__import__('os').mkdir('{}')",)),
        (open, ("{}", "w")),
        (getattr, (os, "mkdir")),
        (np.dtype, ("f4",)),
    ],
)
def test_a_pickle_that_calls_anything_is_refused_and_nothing_runs(
    read, layout, function, arguments, tmp_path
):
    marker = tmp_path / "ran"
    arguments = [a.format(marker) if isinstance(a, str) else a.__name__ for a in arguments]
    call = Call(function, *arguments)
    for content in (layout({"w": call}), layout({"w": tensor([1.0]), "v": call}), layout(call)):
        with pytest.raises(CheckpointError, match=r"asks for \w+\.\w+"):
            read(content)
    with pytest.raises(CheckpointError, match="asks for"):
        read(pickle.dumps(call))
    assert not marker.exists()


@pytest.mark.parametrize("name", ["_rebuild_tensor_v2", "_rebuild_parameter"])
def test_setting_attributes_reaches_nothing_outside_the_file(read, name):
    def functions():
        module = models.torch_checkpoint
        found = [*vars(module).values(), *vars(module._StateDictUnpickler).values()]
        return {f: f.__defaults__ for f in found if isinstance(f, types.FunctionType)}

    # GLOBAL, then BUILD with a slot state, which sets the defaults of the function found.
    poison = f"\x80\x02ctorch._utils\n{name}\nN}}U\x0c__defaults__)s\x86b.".encode("latin1")
    head = b"".join(
        pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})
    )
    before = functions()
    with pytest.raises(CheckpointError, match="holds a function"):
        read(head + poison)
    assert functions() == before


STORAGE = Storage(np.arange(6.0), key="s")
BAD_STATES = {
    "past the end": ({"w": Tensor(STORAGE, (7,), (1,))}, "outside its storage"),
    "past the end by stride": ({"w": Tensor(STORAGE, (2, 2), (5, 1))}, "outside its storage"),
    "past the end by offset": ({"w": Tensor(STORAGE, (3,), (1,), 4)}, "outside its storage"),
    "before the start": ({"w": Tensor(STORAGE, (2,), (1,), -1)}, "offset or stride of -1"),
    "negative stride": ({"w": Tensor(STORAGE, (2,), (-1,), 3)}, "offset or stride of -1"),
    "blown up": ({"w": Tensor(STORAGE, (10**12,), (0,))}, "outside its storage"),
    "fractional": ({"w": Tensor(STORAGE, (2.0,), (1,))}, r"stride of 2\.0"),
    "ranks differ": ({"w": Tensor(STORAGE, (2, 3), (1,))}, "with strides"),
    "no storage": ({"w": Tensor("s", (2,), (1,))}, "without a storage"),
    "a number": ({"epoch": 3}, "'epoch' is a int"),
    "nested": ({"model": {"w": tensor([1.0])}}, "'model' is a dict"),
    "numbered": ({0: tensor([1.0])}, "entry 0"),
    "a list": ([tensor([1.0])], "holds a list"),
    "two dtypes": (
        {
            "w": Tensor(Storage([1, 2], key="t"), (2,), (1,)),
            "v": Tensor(Storage([1, 2], "LongStorage", key="t"), (2,), (1,)),
        },
        "missing or cut short",
    ),
}


@layouts
@pytest.mark.parametrize("case", BAD_STATES)
def test_what_is_no_flat_dictionary_of_tensors_is_refused(read, layout, case):
    state, message = BAD_STATES[case]
    with pytest.raises(CheckpointError, match=message):
        read(layout(state))


def test_a_storage_of_an_unknown_kind_is_refused(read, monkeypatch):
    monkeypatch.setitem(STORAGES, "QInt8Storage", np.int8)
    with pytest.raises(CheckpointError, match=r"torch\.QInt8Storage"):
        read(legacy({"w": tensor([1], "QInt8Storage")}))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"magic": 42}, "magic number"),
        ({"little": False}, "big-endian"),
        ({"view": (("v", 0, 1),)}, "unknown kind"),
    ],
)
def test_a_legacy_file_of_another_sort_is_refused(read, options, message):
    with pytest.raises(CheckpointError, match=message):
        read(legacy({"w": tensor([1.0, 2.0])}, **options))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"compression": zipfile.ZIP_DEFLATED}, "is compressed"),
        ({"order": b"big"}, "big-endian"),
        ({"root": "archive/data.pkl"}, None),
    ],
)
def test_a_zip_of_another_sort_is_refused(read, options, message):
    content = zipped({"w": tensor([1.0, 2.0])}, **options)
    if message is None:  # an odd root is no fault
        assert read(content)["w"].tolist() == [1.0, 2.0]
        return
    with pytest.raises(CheckpointError, match=message):
        read(content)


def test_a_zip_without_a_pickle_is_refused(read):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("archive/version", b"3\n")
    with pytest.raises(CheckpointError, match=r"0 files named data\.pkl"):
        read(stream.getvalue())


@layouts
def test_a_file_cut_off_anywhere_is_refused(read, layout):
    content = layout({"w": tensor([1.0, 2.0]), "steps": tensor(3, "LongStorage")})
    for length in range(len(content)):
        with pytest.raises(CheckpointError):
            read(content[:length])


def test_what_follows_the_last_storage_is_refused(read):
    with pytest.raises(CheckpointError, match="goes on after"):
        read(legacy({"w": tensor([1.0])}) + b"\0")


@layouts
def test_the_hash_is_checked_before_anything_is_read(read, layout):
    content = layout({"w": tensor([1.0])})
    digest = hashlib.sha256(content).hexdigest()
    for start in (digest, digest[:8], digest[:8].upper()):
        assert "w" in read(content, sha256=start)
    for wrong in ("0" * 64, "", digest + "0"):
        with pytest.raises(CheckpointError, match=digest):
            read(content, sha256=wrong)
    with pytest.raises(CheckpointError, match="SHA-256"):
        read(pickle.dumps(Call(os.getcwd)), sha256=digest)
