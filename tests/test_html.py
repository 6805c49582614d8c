"""html: numbers and pictures in a page."""

import base64
import re

import cv2
import numpy as np
import pytest

from thumbnet.html import element, picture


@pytest.mark.parametrize(("number", "text"), [(1.234, "1.23"), (1.5, "1.5"), (2.0, "2"), (7, "7"), (-0.25, "-0.25")])
def test_numbers_have_two_digits_at_most(number: float, text: str) -> None:
    assert element("a", x=number) == f'<a x="{text}"></a>'


@pytest.mark.parametrize(
    ("longest", "size", "kind"), [(100, (100, 50), "png"), (99, (99, 50), "jpeg"), (60, (60, 30), "jpeg")]
)
def test_only_what_is_larger_is_shrunk(longest: int, size: tuple[int, int], kind: str) -> None:
    width, height = size
    html = picture(np.full((50, 100, 3), (200, 100, 0), np.uint8), "an alt", longest)
    assert f'alt="an alt" width="{width}" height="{height}"' in html
    found = re.search(f'data:image/{kind};base64,([^"]*)', html)
    assert found is not None
    shown = cv2.imdecode(np.frombuffer(base64.b64decode(found[1]), np.uint8), cv2.IMREAD_COLOR_RGB)
    assert shown is not None
    assert shown.shape == (height, width, 3)
    np.testing.assert_allclose(shown[0, 0], (200, 100, 0), atol=4)
