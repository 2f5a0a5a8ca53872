"""CIFAR-10 from a person's own files: three formats, the same images; and what is refused."""

import os
import pickle

import numpy as np
import pytest
from support import cifar10_files as files

from lrpjax.models import cifar10

PARTS = [files.images(count, seed) for seed, count in enumerate([3, 2, 2, 1, 2, 4])]


@pytest.fixture(params=["python", "binary"])
def folder(request, tmp_path):
    """A folder of batches."""
    write = {"python": files.python_batches, "binary": files.binary_batches}[request.param]
    write(tmp_path, PARTS)
    return tmp_path


def check(found, pixels, labels):
    assert (found.pixels.dtype, found.labels.dtype) == (np.uint8, np.int32)
    np.testing.assert_array_equal(found.pixels, pixels)
    np.testing.assert_array_equal(found.labels, labels)
    assert found.names == cifar10.CLASSES


def test_batches_give_their_images_in_order(folder):
    check(cifar10.load(folder, "train"), *map(np.concatenate, zip(*PARTS[:5], strict=True)))
    check(cifar10.load(folder, "test"), *PARTS[5])


def test_the_folder_that_the_unpacked_one_lies_in_will_do(tmp_path):
    for name, write in [
        ("cifar-10-batches-py", files.python_batches),
        ("cifar-10-batches-bin", files.binary_batches),
    ]:
        (tmp_path / name / name).mkdir(parents=True)
        write(tmp_path / name / name, PARTS)
        check(cifar10.load(tmp_path / name, "test"), *PARTS[5])


def test_the_names_are_the_published_ones_where_the_folder_lists_none(folder):
    for meta in folder.glob("batches.meta*"):
        meta.unlink()
    assert cifar10.load(folder, "test").names == cifar10.CLASSES


def test_an_archive_of_jpegs_gives_nearly_the_same_images(tmp_path):
    grey = np.linspace(0, 255, 32).astype(np.uint8)  # JPEG keeps a ramp well, and noise badly
    train = np.broadcast_to(grey[:, None], (2, 32, 32, 3)), np.array([3, 9])
    test = np.broadcast_to(grey[::-1, None, None], (1, 32, 32, 3)), np.array([0])
    files.jpeg_archive(tmp_path / "cifar10.npz", train, test)
    for split, (pixels, labels) in {"train": train, "test": test}.items():
        found = cifar10.load(tmp_path / "cifar10.npz", split)
        assert np.abs(found.pixels.astype(int) - pixels).max() <= 3
        check(found, found.pixels, labels)


class Command:
    """A pickle of it runs a command when it is read."""

    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return os.system, (f"touch {self.file}",)


def test_a_pickle_that_asks_for_anything_else_is_refused_and_runs_nothing(tmp_path):
    files.python_batches(tmp_path, PARTS)
    evil = pickle.dumps({"labels": [0] * 4, "data": Command(tmp_path / "ran")}, protocol=2)
    (tmp_path / "test_batch").write_bytes(evil)
    with pytest.raises(ValueError, match=r"test_batch is not read: it asks for \w+\.system;"):
        cifar10.load(tmp_path, "test")
    assert not (tmp_path / "ran").exists()
    pickle.loads(evil)  # the trap was real
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "program",
    [
        b"cbuiltins\neval\n(S'1'\ntR.",
        b"cnumpy\nfromfile\n(S'x'\ntR.",
        b"cnumpy\nload\n.",
        b"\x80\x04\x8c\x05numpy\x8c\x0bndarray.tofile\x93.",
        b"c_codecs\nencode\n.",
        b"P1\n.",  # an object outside the pickle
        b"\x82\x01.",  # an extension's code
        b"(lp0\n",  # it ends too soon
        b"",
        b"PK\x03\x04 a zip file",
    ],
)
def test_other_programs_and_damaged_pickles_are_a_clear_error(program, tmp_path):
    files.python_batches(tmp_path, PARTS)
    (tmp_path / "test_batch").write_bytes(program)
    with pytest.raises(ValueError, match="test_batch is not read: "):
        cifar10.load(tmp_path, "test")


def batch(**changes):
    data = files.planes(PARTS[5][0])
    return {"data": data, "labels": [0] * len(data)} | changes


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "no uint8 array of images of 3072"),
        ({"labels": []}, "no uint8 array of images"),
        (batch(data=np.zeros((4, 3072))), "no uint8 array of images"),
        (batch(data=np.zeros((4, 3071), np.uint8)), "no uint8 array of images"),
        (batch(labels="cats"), "no list of labels"),
        (batch(labels=[0.5] * 4), "no list of labels"),
        (batch(labels=[0] * 5), "5 labels for 4 images"),
        (batch(labels=[0, 1, 2, 10]), "labels from 0 to 10 for 10 classes"),
        (batch(labels=[0, 1, 2, -1]), "labels from -1 to 2 for 10 classes"),
    ],
)
def test_a_batch_of_something_else_is_refused(value, message, tmp_path):
    files.python_batches(tmp_path, PARTS)
    (tmp_path / "test_batch").write_bytes(files.pickled(value))
    with pytest.raises(ValueError, match=message):
        cifar10.load(tmp_path, "test")


def test_a_missing_batch_is_not_passed_over(folder):
    next(folder.glob("data_batch_3*")).unlink()
    with pytest.raises(FileNotFoundError, match="data_batch_3"):
        cifar10.load(folder, "train")


def test_a_cut_binary_batch_is_refused(tmp_path):
    files.binary_batches(tmp_path, PARTS)
    path = tmp_path / "test_batch.bin"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"12291 bytes, not records of 3073"):
        cifar10.load(tmp_path, "test")


def test_other_paths_and_parts_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="neither an archive nor test_batch"):
        cifar10.load(tmp_path, "test")
    with pytest.raises(ValueError, match="there is no part 'valid'; there are train, test"):
        cifar10.load(tmp_path, "valid")
    (tmp_path / "photo.npz").write_bytes(b"no archive")
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    for name in ("photo.npz", "other.npz"):
        with pytest.raises(ValueError, match=f"{name} is no archive of CIFAR-10's JPEGs"):
            cifar10.load(tmp_path / name, "test")
