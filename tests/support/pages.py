"""What the tests of the page, served or exported, do with it."""

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import FilePayload, Locator, Page, expect

from support.models import png

expect.set_options(timeout=30_000)  # a busy machine takes its time


def choose(page: Page, *files: tuple[str, bytes]) -> None:
    """Give it pictures: their names and their bytes."""
    page.locator("#files").set_input_files([FilePayload(name=name, mimeType="", buffer=data) for name, data in files])


def cards(page: Page) -> Locator:
    """One for each picture."""
    return page.locator("article")


def violations(page: Page) -> None:
    """Fail where axe finds any."""
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def fill(page: Page) -> None:
    """A card of every kind: an answer, an unsure one, an error under a long name. Nothing is cut off at the side."""
    choose(page, ("red.png", png("red")), ("grey.png", png("grey")), ("x" * 80, b"no picture"))
    expect(cards(page).locator("ol:visible")).to_have_count(2)
    expect(cards(page).locator(".error:visible")).to_have_count(1)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
