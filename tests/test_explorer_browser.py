"""The explorer in headless Chromium, with every other host blocked: clicks, drags, uploads, two widths."""

import base64
import io
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import explorer_fakes as fakes
import numpy as np
import pytest
from PIL import Image
from test_explorer_visit import png

from hcflow_jax.explorer.visit import MOST_BYTES

pytestmark = pytest.mark.full

ROOT = Path(__file__).resolve().parents[1]
WIDTHS = {1280: 900, 390: 844}  # and heights, pixels
SECONDS = 60  # that anything may take on a busy machine
FINEST = fakes.LEVELS[-1]

# The command, with a model that takes longer for an image than a slider for its next value.
COMMAND = """
import sys, time
import explorer_fakes
from hcflow_jax import api
from hcflow_jax.cli import main

class Slow(explorer_fakes.Model):
    def decode(self, *arguments, **options):
        time.sleep(0.1)
        return super().decode(*arguments, **options)

api.load = lambda *_, **__: Slow()
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Any]]:
    """The command at work: its address, and its process."""
    script = tmp_path_factory.mktemp("explorer") / "explore.py"
    script.write_text(COMMAND)
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    command = [sys.executable, str(script), "explore", "--port", "0", "--no-browser"]
    pipes: Any = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": paths}, **pipes)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line.startswith("http://127.0.0.1:"), line + process.communicate()[1]
        yield line.split()[0], process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """The system's Chromium; without one these tests fail."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    assert found, "no browser: install chromium (on Debian: apt install chromium)"
    from playwright.sync_api import sync_playwright  # pyright: ignore[reportMissingImports]

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


class Tab:
    """The page in a window of some width; notes what it asks of other hosts, and its errors."""

    def __init__(self, browser: Any, address: str, width: int) -> None:
        self.width, self.outside, self.errors = width, [], []
        self._context = browser.new_context(viewport={"width": width, "height": WIDTHS[width]})
        self._context.route(lambda url: not url.startswith((address, "data:", "blob:")), self._block)
        self.page = self._context.new_page()
        self.page.set_default_timeout(1000 * SECONDS)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda said: self.errors.append(said.text) if said.type == "error" else None)
        self.page.goto(address)
        self.page.get_by_text("Up to date").wait_for()

    def _block(self, route: Any) -> None:
        self.outside.append(route.request.url)
        route.abort()

    def has(self, part: str) -> None:
        """Waits until the Python lines, which are shown last, have this part."""
        self.page.locator(".code").first.filter(has_text=part).wait_for()

    def slider(self, name: str) -> Any:
        return self.page.get_by_role("slider", name=name)

    def value(self, name: str) -> float:
        return float(self.slider(name).input_value())

    def drag(self, name: str, *stops: float) -> None:
        """Drags a slider's handle through some places, parts of its length, as fast as it goes."""
        slider = self.slider(name)
        slider.scroll_into_view_if_needed()
        box = slider.bounding_box()
        y = box["y"] + box["height"] / 2
        self.page.mouse.move(box["x"] + box["width"] * stops[0], y)
        self.page.mouse.down()
        for stop in stops[1:]:
            self.page.mouse.move(box["x"] + box["width"] * stop, y, steps=15)
        self.page.mouse.up()

    def shown(self) -> np.ndarray:
        source = self.page.locator("img.main").get_attribute("src")
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(source.partition("base64,")[2]))))

    def downloaded(self) -> np.ndarray:
        """The PNG, which is decoded anew from all latents."""
        with self.page.expect_download() as download:
            self.page.get_by_role("button", name="PNG").click()
        return np.asarray(Image.open(download.value.path()))

    def shows(self, image: np.ndarray) -> None:
        """Waits until the page shows this image."""
        deadline = time.monotonic() + SECONDS
        while (self.shown() != image).any() and time.monotonic() < deadline:
            self.page.wait_for_timeout(50)
        np.testing.assert_array_equal(self.shown(), image)

    def shows_what_it_says(self) -> None:
        """Checks that the image becomes that of the controls. The download comes after their last values."""
        self.shows(self.downloaded())

    def focused(self) -> str:
        """The name of the control that has the keyboard's focus."""
        return self.page.evaluate("document.activeElement.ariaLabel ?? document.activeElement.tagName")

    def lines(self) -> str:
        return self.page.locator(".code").first.inner_text()

    def upload(self, name: str, data: bytes) -> None:
        file = {"name": name, "mimeType": "image/png", "buffer": data}
        self.page.locator("input[type=file]").first.set_input_files(files=[file])

    def close(self) -> None:
        assert not self.outside and not self.errors
        self._context.close()


@pytest.fixture(params=WIDTHS)
def tab(request: pytest.FixtureRequest, chromium: Any, server: tuple[str, Any]) -> Iterator[Tab]:
    opened = Tab(chromium, server[0], request.param)
    yield opened
    opened.close()


def test_a_visit(tab: Tab, tmp_path: Path):
    page = tab.page
    tab.shows_what_it_says()

    page.get_by_role("button", name="Picture portrait-1 as the first image").click()
    page.get_by_text("Bits per dimension of portrait-1").wait_for()
    tab.has("bundled.load('portrait-1'")
    before = tab.shown()

    name = f"Sigma of level {FINEST}"
    tab.drag(name, 0.66, 0.05, 0.95, 0.2)
    assert 0.25 <= tab.value(name) <= 0.35
    tab.has(f"{tab.value(name)!r} * picture1['{FINEST}']")
    assert (tab.shown() != before).mean() > 0.1
    tab.shows_what_it_says()
    page.get_by_role("button", name="Undo").click()  # the drag was one step
    tab.shows(before)
    assert tab.value(name) == 1

    page.get_by_role("switch", name=f"Lock level {FINEST}").click()
    page.get_by_role("button", name="Draw the first image from the seed").click()
    tab.has("model.draw(1, seed=0")
    assert f"'{FINEST}': picture1['{FINEST}']" in tab.lines()
    assert tab.slider(name).is_disabled()
    tab.shows_what_it_says()

    page.get_by_role("button", name="Picture scene-2 as the second image").click()
    page.get_by_text("Chosen: scene-2").wait_for()
    tab.drag("Blend between the first and the second image", 0.01, 0.9, 0.1, 0.5)
    assert 0.4 <= tab.value("Blend between the first and the second image") <= 0.6
    tab.shows_what_it_says()

    page.screenshot(path=tmp_path / f"{tab.width}.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= tab.width
    with Image.open(tmp_path / f"{tab.width}.png") as screenshot:
        assert screenshot.width == tab.width and len(np.unique(np.asarray(screenshot.convert("L")))) > 100
    assert page.locator("img.main").evaluate("e => getComputedStyle(e).imageRendering") == "pixelated"
    assert page.evaluate("[...document.images].every(e => e.complete && e.naturalWidth > 0)")


def test_a_drag_quicker_than_its_values_are_sent_is_one_step(tab: Tab):
    before, name = tab.shown(), f"Sigma of level {FINEST}"
    value = tab.value(name)
    tab.slider(name).evaluate("""e => {
        for (const value of [0.1, 0.2, 1.2, 0.4]) { e.value = value; e.dispatchEvent(new Event("input")); }
        e.dispatchEvent(new Event("change"));
    }""")
    tab.has(f"'{FINEST}': 0.4")
    assert tab.value(name) == 0.4
    tab.shows_what_it_says()
    tab.page.get_by_role("button", name="Undo").click()
    tab.shows(before)
    assert tab.value(name) == value


def test_uploads(tab: Tab, tmp_path: Path):
    before = tab.shown()
    tab.upload("text.png", b"no picture")
    tab.page.get_by_text("text.png: cannot be read as a picture").wait_for()
    large = tmp_path / "large.png"
    large.write_bytes(bytes(MOST_BYTES + 1))
    tab.page.locator("input[type=file]").first.set_input_files(large)
    tab.page.get_by_text("The file was not taken: give one picture of at most 20 MB").wait_for()
    np.testing.assert_array_equal(tab.shown(), before)
    tab.upload("wide.png", png(12, 8))
    tab.page.get_by_text("wide.png: cropped to the square at its centre").wait_for()
    tab.has("images.load(Path('wide.png')")
    tab.shows_what_it_says()


def test_the_keyboard_reaches_and_moves_everything(tab: Tab):
    page, names = tab.page, []
    for _ in range(80):
        page.keyboard.press("Tab")
        names.append(tab.focused())
    wanted = ["PNG", "Latents", "Picture portrait-0 as the first image", "Draw the first image from the seed"]
    wanted += [f"{what} level {FINEST}" for what in ("Sigma of", "Seed of", "Lock")]
    wanted += [f"Put level {FINEST} to zero", "Upload a picture as the second image", "Copy: Python lines"]
    for name in wanted:
        assert name in names
    name = f"Sigma of level {FINEST}"
    value = tab.value(name)
    tab.slider(name).press("ArrowRight")
    tab.has(f"'{FINEST}': 0.75")
    assert tab.value(name) == pytest.approx(value + 0.05)
    tab.shows_what_it_says()


def test_ctrl_c_ends_it(server: tuple[str, Any]):  # the last test of the file
    process = server[1]
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=SECONDS)
    assert (process.returncode, out, errors) == (130, "", "stopped\n")
