"""Makes the figure of README.md and docs/how_to/watch.md: the page of `hpo watch` in the middle of a study. It takes seconds.

    python docs/figures/watch.py

It needs Chromium and playwright, as the tests of pages do.
"""

import io
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from picture import small
from PIL import Image
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parents[2]
STUDY = ROOT / "studies/digits_quick.toml"
DONE = "() => document.querySelectorAll('#replicates tbody tr').length >= 3"


def page_of(address: str) -> bytes:
    """Return a picture of the page, once the third replicate runs."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 1130})
        page.goto(address)
        page.wait_for_function(DONE, timeout=300_000)
        page.get_by_role("button", name="show seed 0, pbt").click()
        page.wait_for_function("() => document.querySelector('#seed').value === '0'")
        page.evaluate("() => scrollTo(0, 0)")
        page.wait_for_timeout(1000)
        picture = page.screenshot()
        browser.close()
        return picture


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "digits_quick"
        run = subprocess.Popen([sys.executable, "-m", "hpo.run", STUDY, "--out", out, "--no-report", "--quiet"])
        while not (out / "results.json").exists():
            assert run.poll() is None
        command = [sys.executable, "-m", "hpo.watch", str(out), "--port", "0", "--no-browser"]
        watch = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            picture = page_of(re.search(r"http://\S+", watch.stdout.readline())[0])
        finally:
            watch.terminate()
            run.terminate()
            run.wait()
    small(Image.open(io.BytesIO(picture)), "watch")


if __name__ == "__main__":
    main()
