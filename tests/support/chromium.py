"""What Chromium shows of a picture file, on a white page. For test_browser.py and benchmarks/decoders.py."""

import base64
import contextlib
import shutil
from collections.abc import Callable, Iterator
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Show: TypeAlias = Callable[[bytes], NDArray[np.uint8] | None]  # (H, W, 3); nothing where nothing is shown

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRAW = """async (picture) => {
  const image = new Image();
  image.src = 'data:image/*;base64,' + picture;
  try { await image.decode(); } catch { return null; }
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
  const context = canvas.getContext('2d');
  context.fillStyle = 'white';
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(image, 0, 0);
  const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
  return [canvas.width, canvas.height, btoa(Array.from(pixels, (byte) => String.fromCharCode(byte)).join(''))];
}"""


@contextlib.contextmanager
def chromium() -> Iterator[tuple[Show, str]]:
    """A function that shows pictures, and the version that shows them."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # No sandbox: a container's root has none. sRGB: the colours of a canvas do not depend on the screen.
        arguments = ["--no-sandbox", "--force-color-profile=srgb"]
        browser = playwright.chromium.launch(executable_path=PROGRAM, args=arguments)
        page = browser.new_page()

        def show(data: bytes) -> NDArray[np.uint8] | None:
            if (answer := page.evaluate(DRAW, base64.b64encode(data).decode())) is None:
                return None
            width, height, pixels = answer
            return np.frombuffer(base64.b64decode(pixels), np.uint8).reshape(height, width, 4)[..., :3]

        yield show, browser.version
        browser.close()
