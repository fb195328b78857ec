"""A browser for tests of pages: Debian's Chromium, headless."""

import shutil

import pytest
from playwright.sync_api import sync_playwright

ALLOWED = ("file:", "data:", "blob:", "http://127.0.0.1:")


@pytest.fixture(scope="session")
def chromium():
    """A headless browser; none is a failure, not a skip: `.ci/run` installs it."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert found, "install chromium: apt-get install chromium"
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium):
    """Return a function that opens an address and returns the page.

    When the test ends, no page may have written an error to the console, raised one, or asked for anything that is not on this
    machine.
    """
    contexts, problems = [], []

    def noted(request):
        if not request.url.startswith(ALLOWED):
            problems.append(f"request: {request.url}")

    def open_(address, *, width=1280, height=900, dark=False):
        context = chromium.new_context(
            viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light"
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("request", noted)
        page.on("pageerror", lambda error: problems.append(f"error: {error}"))
        page.on("console", lambda said: problems.append(f"console: {said.text}") if said.type == "error" else None)
        page.goto(address)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert problems == []
