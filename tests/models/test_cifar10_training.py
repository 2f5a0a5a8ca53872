"""Training CIFAR-10's networks on a few synthetic images: what is drawn, learnt and resumed."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from support import cifar10_files as files

from lrpjax import models
from lrpjax.models.cifar10 import CLASSES, Images, recipes, train, training, weights
from lrpjax.models.cifar10.network import max_pool

WORDS = ("--epochs", "3", "--batch", "8", "--seed", "5", "--peak-rate", "3e-3", "--shift", "1")


def colours(count, seed):
    """Noisy pictures whose colour is their class: red, green or blue."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count)
    pixels = rng.integers(0, 80, (count, 32, 32, 3), np.uint8)
    pixels[np.arange(count), :, :, labels] += 140
    return pixels, labels


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder of binary batches: 48 images, with nine left over from whole batches, and 20."""
    folder = tmp_path_factory.mktemp("data")
    files.binary_batches(folder, [colours(n, n) for n in (9, 10, 11, 12, 15, 20)])
    return folder


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    """The folder that a run without interruption has written to."""
    out = tmp_path_factory.mktemp("finished")
    train.main(["--data", str(data), "--out", str(out), *WORDS])
    return out


def test_the_network_learns_and_its_accuracy_is_written_down(data, finished):
    report = json.loads((finished / "seed5.json").read_text())
    losses = [epoch["loss"] for epoch in report["history"]]
    assert (len(losses), report["images"], report["test_images"]) == (3, 57, 20)
    assert losses[-1] < losses[0] / 2
    # Without training's help: by the classifier that a person loads.
    loaded = models.load("cifar10_lrn", weights=finished / "seed5.safetensors")
    test = models.cifar10.load(data, "test")
    hits = loaded.predict(test.pixels).argmax(-1) == test.labels
    assert report["test_accuracy"] == hits.mean() > 0.8
    assert loaded.labels == CLASSES


def test_an_interrupted_run_goes_on_to_the_same_bits(data, finished, tmp_path, monkeypatch, capsys):
    def interrupt(trainer, epoch):
        def batches(drawn):
            for number, batch in enumerate(drawn):
                if (epoch, number) == (1, 2):
                    raise KeyboardInterrupt
                yield batch

        return batches

    words = ["--data", str(data), "--out", str(tmp_path), *WORDS]
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(train, "_progress", interrupt)
        train.main(words)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["seed5.checkpoint.safetensors"]
    assert "epoch 1:" in capsys.readouterr().out

    train.main(words)
    out, err = capsys.readouterr()
    assert "epoch 1:" not in out and "epoch 3:" in out
    assert "epoch 2/3: 100%" in err
    for name in ("seed5.safetensors", "seed5.json"):
        assert (tmp_path / name).read_bytes() == (finished / name).read_bytes()

    for words_of_another_run, message in [
        ([*words, "--alpha", "0.5"], "is of a run with other settings"),
        (words, "is no checkpoint of a training"),
    ]:
        with pytest.raises(SystemExit):
            train.main(words_of_another_run)
        assert message in capsys.readouterr().err
        (tmp_path / "seed5.checkpoint.safetensors").write_bytes(b"cut short")


def test_the_vision_transformer_is_trained_by_the_same_command(data, tmp_path, capsys):
    words = ["--architecture", "vit", "--data", str(data), "--out", str(tmp_path), *WORDS]
    train.main(words)
    report = json.loads((tmp_path / "vit_seed5.json").read_text())
    losses = [epoch["loss"] for epoch in report["history"]]
    assert losses[-1] < 0.8 * losses[0]
    loaded = models.load("cifar10_vit", weights=tmp_path / "vit_seed5.safetensors")
    test = models.cifar10.load(data, "test")
    hits = loaded.predict(test.pixels).argmax(-1) == test.labels
    assert report["test_accuracy"] == hits.mean() > 0.5
    with pytest.raises(SystemExit):
        train.main([*words, "--alpha", "0.5"])
    assert "unrecognized arguments: --alpha 0.5" in capsys.readouterr().err


def test_a_checkpoint_is_no_pickle_and_holds_the_optimisers_state(finished):
    arrays = load_file(finished / "seed5.checkpoint.safetensors")
    kernels = [name for name in arrays if "conv2" in name and "kernel" in name]
    assert len(kernels) == 3  # the weights, and Adam's two moments
    trained = load_file(finished / "seed5.safetensors")["conv2.weight"]
    (stored,) = (arrays[name] for name in kernels if name.startswith("['params']"))
    np.testing.assert_array_equal(np.moveaxis(stored, (-1, -2), (0, 1)), trained)


def trainer(**changes):
    pixels, labels = files.images(20)
    settings = recipes.LRN(**{"batch": 8, "seed": 3} | changes)
    return training.Trainer(settings, Images(pixels, labels.astype(np.int32), CLASSES))


def moved(picture, down, right, flipped):
    """A picture moved over its own reflection."""
    around = np.pad(picture, ((4, 4), (4, 4), (0, 0)), mode="reflect")
    seen = around[4 + down : 36 + down, 4 + right : 36 + right]
    return seen[:, ::-1] if flipped else seen


def test_images_are_shuffled_flipped_and_moved():
    pixels, labels = files.images(20)
    moves = [
        (image, (down, right, flipped))
        for image in range(20)
        for down in (-1, 0, 1)
        for right in (-1, 0, 1)
        for flipped in (False, True)
    ]
    known = {moved(pixels[image], *move).tobytes(): (image, move) for image, move in moves}
    drawn = [batch for epoch in range(6) for batch in trainer(shift=1).batches(epoch)]
    found = [known[picture.tobytes()] for batch, _ in drawn for picture in batch]
    chosen = [image for image, _ in found]
    np.testing.assert_array_equal(np.concatenate([b for _, b in drawn]), labels[chosen])
    assert len({move for _, move in found}) == 18
    for start in range(0, 96, 16):  # Two batches of eight in an epoch, and no image twice
        assert len(set(chosen[start : start + 16])) == 16
    assert chosen[:16] != chosen[16:32]


def test_what_is_drawn_depends_on_the_seed_and_the_epoch_alone():
    def drawn(epoch, **changes):
        return np.concatenate([pixels for pixels, _ in trainer(**changes).batches(epoch)])

    np.testing.assert_array_equal(drawn(4), drawn(4))
    assert (drawn(4) != drawn(5)).any()
    assert (drawn(4) != drawn(4, seed=2)).any()


@pytest.mark.parametrize("length", [32, 15])
def test_the_quick_pool_is_the_networks_pool_with_its_gradient(length):
    # All values differ, so that nothing is shared among ties.
    x = np.random.default_rng(0).permutation(2 * length * length * 3).astype(np.float32)
    x = x.reshape(2, length, length, 3)
    (quick, pull_quick), (plain, pull_plain) = (
        jax.vjp(pool, x) for pool in (recipes.strided_max_pool, max_pool)
    )
    np.testing.assert_array_equal(quick, plain)
    cotangent = np.random.default_rng(1).normal(size=plain.shape).astype(np.float32)
    np.testing.assert_allclose(pull_quick(cotangent)[0], pull_plain(cotangent)[0], atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "at least one epoch"),
        ({"batch": 0}, "a batch one image"),
        ({"batch": 21}, "20 images do not fill a batch of 21"),
        ({"seed": -1}, "seed is -1"),
        ({"shift": 5}, "shift is 5; it should be from 0 to 4"),
        ({"alpha": -1.0}, "alpha is -1.0"),
    ],
)
def test_impossible_settings_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        trainer(**changes)


def test_weights_of_any_strength_are_read(finished, tmp_path):
    path = finished / "seed5.safetensors"
    for alpha in (1.0, 0.5):
        model = weights.read(path, alpha=alpha)
        assert (model.norm1.alpha, model.norm2.alpha) == (alpha, alpha)
        bias = load_file(path)["conv3.bias"]
        np.testing.assert_array_equal(model.conv3.bias[...], bias)
    save_file({"fc.bias": np.zeros(10, np.float32)}, tmp_path / "other.safetensors")
    with pytest.raises(models.CheckpointError, match="not weights of cifar10_lrn: missing"):
        weights.read(Path(tmp_path / "other.safetensors"))
