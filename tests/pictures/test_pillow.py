"""pillow: what Pillow opened becomes what its file becomes."""

import io

import numpy as np
import pytest
from PIL import Image
from support.models import content, encode
from support.pictures import ALPHA, CASES, GREY, NOISE, RGB, RGBA, on_white

from thumbnet.errors import ImageError
from thumbnet.model.classifier import Classifier
from thumbnet.pictures.decode import decode
from thumbnet.pictures.pillow import from_pillow

# Pillow drops a transparent grey or colour of these, shows another picture of an animation, or cannot open them.
OTHERWISE = {
    "png-grey-2-key", "png-16-key", "png-16-grey-key", "png-animated-apart", "png-animated-part", "gif-part",
    "gif-part-87", "bmp-order", "bmp-opaque-5", "tiff-10-grey", "tiff-12", "tiff-12-grey", "tiff-12-grey-inverted",
    "tiff-14",
}  # fmt: skip
FILES = {
    name: case.data for name, case in CASES.items() if not isinstance(case.expected, str) and name not in OTHERWISE
}


@pytest.mark.parametrize("name", FILES)
def test_opened_picture_becomes_what_its_file_becomes(name: str) -> None:
    opened, expected = from_pillow(Image.open(io.BytesIO(FILES[name]))), decode(FILES[name])
    assert opened.dtype == np.uint8
    assert opened.shape == expected.shape
    assert opened.flags.c_contiguous
    assert np.abs(opened - expected.astype(int)).max() <= 2  # of 16 bits in TIFF and PPM a level, in CMYK two


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV", "LAB"])
def test_every_mode_is_read(mode: str) -> None:
    picture = Image.fromarray(RGBA if "A" in mode or "a" in mode else RGB)
    if mode == "LAB":
        assert from_pillow(Image.new("LAB", (2, 3))).shape == (3, 2, 3)
        return
    expected = RGB if mode in ("RGB", "RGBX", "CMYK") else np.asarray(picture.convert(mode).convert("RGB"))
    if picture.mode == "RGBA":
        expected = on_white(np.asarray(picture.convert(mode).convert("RGBA"))[..., :3], ALPHA)
    assert np.abs(from_pillow(picture.convert(mode)) - expected.astype(int)).max() <= 1


@pytest.mark.parametrize("mode", ["I", "F"])
def test_mode_whose_white_is_unknown_is_named(mode: str) -> None:
    with pytest.raises(ImageError, match=f"of 8 or 16 bits, got the mode {mode}. Convert it to RGB"):
        from_pillow(Image.fromarray(GREY).convert(mode))


def test_sixteen_bits_keep_their_upper_eight() -> None:
    picture = Image.fromarray(NOISE[..., 0].copy())
    assert picture.mode == "I;16"
    assert np.array_equal(from_pillow(picture), NOISE[..., [0, 0, 0]] >> 8)


@pytest.mark.parametrize("name", ["jpeg", "png", "gif"])
def test_cut_off_file_is_told(name: str) -> None:
    picture = Image.open(io.BytesIO(CASES[name].data[:-30]))
    with pytest.raises(ImageError, match=r"this PIL picture cannot be read: .*\. Save it again"):
        from_pillow(picture)


def test_limit_of_pixels_is_asked_before_the_file_is_read() -> None:
    picture = Image.open(io.BytesIO(CASES["jpeg"].data))
    height, width = RGB.shape[:2]
    with pytest.raises(ImageError, match=f"larger than .*: {width} × {height}"):
        Classifier(content()).square(picture, max_pixels=height * width - 1)
    assert picture.tile  # what is left to read
    assert Classifier(content(), views=True).squares(picture, max_pixels=height * width).shape[0] == 2
    assert not picture.tile


def test_classifier_sees_what_it_sees_of_the_file() -> None:
    classifier, data = Classifier(content()), encode(RGBA)
    assert np.array_equal(classifier.square(Image.open(io.BytesIO(data))), classifier.square(data))
