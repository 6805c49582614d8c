"""Chromium shows the same: every picture of the table, drawn on a white page, pixel by pixel."""

from collections.abc import Iterator

import numpy as np
import pytest
from support.chromium import PROGRAM, Show, chromium
from support.pictures import CASES, Case

from thumbnet.pictures.decode import decode

pytest.importorskip("playwright", reason="Playwright is not installed: pip install playwright")
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="there is no chromium, chromium-browser or google-chrome")

COMPARED = {name: case for name, case in CASES.items() if case.browser is not None}
# What the page says that Chromium does otherwise: other pixels, a picture that is not turned, or half a picture.
OTHERWISE = ["png-exif-behind", "png-gamma", "webp-exif", "webp-exif-alpha", "jpeg-no-end"]


@pytest.fixture(scope="module")
def show() -> Iterator[Show]:
    with chromium() as (shows, _):
        yield shows


@pytest.mark.parametrize("case", COMPARED.values(), ids=COMPARED)
def test_chromium_shows_the_same(case: Case, show: Show) -> None:
    shown, decoded = show(case.data), decode(case.data)
    assert shown is not None
    assert shown.shape == decoded.shape
    assert np.abs(shown.astype(int) - decoded).max() <= (case.browser or 0)


@pytest.mark.parametrize("name", OTHERWISE)
def test_chromium_does_otherwise_where_the_page_says_so(name: str, show: Show) -> None:
    shown = show(CASES[name].data)
    assert shown is not None
    if not isinstance(CASES[name].expected, str):
        assert not np.array_equal(shown, decode(CASES[name].data))


def test_every_format_that_chromium_shows_is_compared(show: Show) -> None:
    for name, case in CASES.items():
        if name not in COMPARED and name not in OTHERWISE and not isinstance(case.expected, str):
            assert show(case.data) is None, name
