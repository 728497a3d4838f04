"""Makes the picture of docs/explorer.md: the explorer with a bundled portrait, in headless Chromium.

    python -m benchmarks.explorer_picture docs/pictures/explorer.png

It needs the extra `browser`, and Chromium in the system.
"""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

WIDTH, HEIGHT = 1280, 900  # of the window, pixels
SECONDS = 600  # that anything may take: the programs may have to be compiled


def picture(address: str, path: Path) -> None:
    """Draws the finest level of a picture anew, chooses a second picture, and saves the window as a PNG."""
    from playwright.sync_api import sync_playwright  # pyright: ignore[reportMissingImports]

    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if not chromium:
        raise SystemExit("no browser: install chromium (on Debian: apt install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page: Any = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.set_default_timeout(1000 * SECONDS)
        page.goto(address)
        page.get_by_text("Up to date").wait_for()
        page.get_by_role("button", name="Picture portrait-1 as the first image").click()
        page.get_by_text("Bits per dimension of portrait-1").wait_for()
        page.get_by_role("button", name="Picture portrait-0 as the second image").click()
        page.get_by_text("Chosen: portrait-0").wait_for()
        page.locator(".code").first.filter(has_text="bundled.load('portrait-1'").wait_for()
        page.get_by_text("Up to date").wait_for()
        page.evaluate("scrollTo(0, 0)")
        page.mouse.move(0, 0)
        page.wait_for_timeout(1000)  # until the buttons' animations end
        page.screenshot(path=path)
        browser.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path, help="of the PNG")
    values = parser.parse_args()
    command = [sys.executable, "-m", "hcflow_jax", "explore", "--port", "0", "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            picture(process.stdout.readline().split()[0], values.path)
        finally:
            process.kill()


if __name__ == "__main__":
    main()
