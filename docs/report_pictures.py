"""Make docs/report-desktop.jpg and docs/report-phone.jpg: the tops of the bundled model's report, in Chromium."""

import shutil
import tempfile
from pathlib import Path
from typing import Literal, TypeAlias

from playwright.sync_api import sync_playwright

from thumbnet.evaluation.judge import judge
from thumbnet.evaluation.page import write

DOCS = Path(__file__).parent
Scheme: TypeAlias = Literal["light", "dark"]
SHAPES: dict[str, tuple[int, int, Scheme]] = {"desktop": (1000, 1250, "light"), "phone": (390, 1250, "dark")}  # pixels


def main() -> None:
    """Evaluate `cifar10-best` on CIFAR-10, which takes a minute, and take the pictures."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        path = write(Path(folder), judge("cifar10-best", "cifar10"))
        program = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        for name, (width, height, scheme) in SHAPES.items():
            page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
            page.goto(path.as_uri())
            page.screenshot(path=DOCS / f"report-{name}.jpg", quality=80)
        browser.close()


if __name__ == "__main__":
    main()
