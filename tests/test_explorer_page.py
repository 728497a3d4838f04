"""The explorer's page by NiceGUI's simulated user: what each control does, and what is said when something fails."""

import asyncio
import base64
import io
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import explorer_fakes as fakes
import numpy as np
import pytest
from test_explorer_visit import bomb, png

from hcflow_jax.explorer import Drawn, page
from hcflow_jax.explorer.visit import MOST_BYTES, Visit, as_png

SECONDS = 60  # that anything may take on a busy machine

pytestmark = [pytest.mark.full, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


class Tab:
    """A page that is open, and a visit of the same model to compare it with."""

    def __init__(self, user: Any, model: fakes.Model) -> None:
        self.user, self.model = user, model
        self.expected = Visit(model, "portraits")  # pyright: ignore[reportArgumentType]

    def element(self, marker: str) -> Any:
        (element,) = self.user.find(marker=marker).elements
        return element

    def click(self, marker: str) -> None:
        self.user.find(marker=marker).click()

    def set(self, marker: str, value: Any) -> None:
        """What the browser sends when a control's value changes."""
        self.user.find(marker=marker).trigger("update:modelValue", value)

    def shown(self, marker: str = "image") -> bytes:
        return base64.b64decode(self.element(marker).props["src"].partition("base64,")[2])

    async def shows(self, marker: str, part: str) -> None:
        """Waits until an element has a text with this part."""

        def text() -> str:
            element = self.element(marker)
            return getattr(element, "text", None) or getattr(element, "content", "")

        deadline = time.monotonic() + SECONDS
        while part not in text():
            assert time.monotonic() < deadline, f"{marker} shows {text()!r} instead of {part!r}"
            await asyncio.sleep(0.02)

    async def says(self, message: str) -> None:
        """Waits until a message is shown."""
        await self.user.should_see(message, retries=10 * SECONDS)

    async def agrees(self) -> None:
        """Waits until the page shows the expected visit's lines, then checks the image and what each level adds."""
        await self.shows("python", self.expected.python())  # the lines are shown last
        await self.shows("status", "Up to date")
        assert self.shown() == as_png(self.expected.image())
        for count in range(4):
            assert self.shown(f"strip-{count}") == as_png(self.expected.first_levels(count))
        assert self.element("python").text == self.expected.python()
        assert self.element("command").text == self.expected.command()

    async def upload(self, whose: str, data: bytes, name: str) -> None:
        from nicegui.elements.upload_files import SmallFileUpload  # pyright: ignore[reportMissingImports]

        await self.element(f"{whose}-upload").handle_uploads([SmallFileUpload(name, "image/png", data)])


def visited(script: Callable[[Tab], Any]) -> None:
    """Runs a script in an open tab."""

    async def main() -> None:
        from nicegui import Client  # pyright: ignore[reportMissingImports]
        from nicegui.testing.user_simulation import user_simulation  # pyright: ignore[reportMissingImports]

        model: Any = fakes.Model()
        with ThreadPoolExecutor(2) as pool:
            async with user_simulation(page.root(model, "portraits", pool)) as user:
                await user.open("/")
                tab = Tab(user, model)
                await tab.shows("status", "Up to date")
                try:
                    await script(tab)
                finally:  # in Python 3.11 a cancelled wait may go on as if nothing had been; so these loops are ended
                    for client in Client.instances.values():
                        client.outbox.stop()

    asyncio.run(main())


def test_every_control_changes_the_image_and_is_undone():
    async def script(tab: Tab) -> None:
        await tab.agrees()
        tab.set("first-seed", 3)
        tab.click("first-draw")
        tab.expected.take(Drawn(3))
        await tab.agrees()
        tab.set("sigma-8", 0.35)
        tab.expected.sigma("8", 0.35)
        await tab.agrees()
        assert tab.element("value-8").text == "0.35"
        tab.set("seed-4", 11)
        tab.expected.seed("4", 11)
        await tab.agrees()
        assert tab.element("source-4").text == "seed 11"
        tab.click("lock-4")
        tab.expected.lock("4")
        tab.click("zero-y1")
        tab.expected.zero("y1")
        await tab.agrees()
        assert not tab.element("sigma-4").enabled and tab.element("value-y1").text == "zero"
        assert not tab.element("copy-8").enabled and not tab.element("blend").enabled
        tab.set("second-seed", 5)
        tab.click("second-draw")
        tab.expected.choose_second(Drawn(5))
        await tab.shows("second", "Chosen: seed 5")
        tab.click("copy-8")
        tab.expected.copy("8")
        tab.set("blend", 0.5)
        tab.expected.blend(0.5)
        await tab.agrees()
        for _ in range(20):
            tab.click("undo")
            tab.expected.undo()
        await tab.agrees()
        assert not tab.element("undo").enabled and tab.element("value-8").text == "0.70"
        for _ in range(20):
            tab.click("redo")
            tab.expected.redo()
        await tab.agrees()
        assert tab.element("source-8").text == "seed 5" and tab.element("blend").value == 0.5

    visited(script)


def test_a_picture_is_shown_with_its_bits():
    async def script(tab: Tab) -> None:
        tab.click("first-scene-1")
        await tab.shows("source-8", "scene-1")
        await tab.shows("bits", "Bits per dimension of scene-1")
        assert "<td>12.000</td>" in tab.element("bits").content
        tab.model.statistics = {}
        await tab.upload("first", png(), "a.png")
        await tab.shows("bits", "takes statistics")
        tab.click("second-another")
        await tab.shows("second", "Chosen: seed ")

    visited(script)


def test_an_upload_is_taken_and_its_files_are_downloaded():
    async def script(tab: Tab) -> None:
        data = png(12, 8)
        await tab.upload("first", data, "wide <b>.png")
        tab.expected.take(tab.expected.read(data, "wide <b>.png"))
        await tab.agrees()
        await tab.says("cropped to the square at its centre")
        await tab.shows("bits", "wide &lt;b&gt;.png")
        tab.click("png")
        assert (await tab.user.download.next()).content == tab.expected.png()
        tab.click("npz")
        with np.load(io.BytesIO((await tab.user.download.next()).content)) as file:
            assert set(file) == {*fakes.LEVELS, "images", "checkpoint"}

    visited(script)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"no picture", "a.png: cannot be read as a picture"),
        (bomb(), "a.png: too large"),
        (bytes(MOST_BYTES + 1), "give one picture of at most 20 MB"),
    ],
    ids=("text", "bomb", "large"),
)
def test_an_upload_that_cannot_be_used_gets_a_message(data, message):
    async def script(tab: Tab) -> None:
        before = tab.shown()
        await tab.upload("first", data, "a.png")
        await tab.says(message)
        assert tab.shown() == before
        tab.click("zero-8")
        tab.expected.zero("8")
        await tab.agrees()

    visited(script)


def test_a_fault_is_said_and_the_page_goes_on(caplog):
    async def script(tab: Tab) -> None:
        decode, tab.model.decode = tab.model.decode, None  # pyright: ignore[reportAttributeAccessIssue]
        tab.click("zero-y1")
        await tab.says("through a fault of the explorer")
        tab.model.decode = decode
        tab.click("zero-4")
        for name in ("y1", "4"):
            tab.expected.zero(name)
        await tab.agrees()

    visited(script)
    assert "the explorer failed" in caplog.text


def test_every_control_has_a_name():
    async def script(tab: Tab) -> None:
        names: dict[str, str] = {}
        for element in tab.user.client.elements.values():
            kind = element.tag
            if kind in ("nicegui-range", "q-btn", "q-toggle", "q-input", "nicegui-input", "q-option-group", "button"):
                name = element.props.get("aria-label", "")
                assert name or element.props.get("label"), f"{kind} {element.id}"
                assert not name or name not in names, f"{kind} and {names[name]} are both named {name}"
                names[name] = kind
            if kind == "img":
                assert "alt" in element.props
        assert len(names) > 30 and "nicegui-range" in names.values()

    visited(script)


def test_tabs_do_not_know_each_other():
    async def script(tab: Tab) -> None:
        before = tab.shown()
        first = tab.user.client
        await tab.user.open("/")
        await tab.shows("status", "Up to date")
        tab.click("zero-4")
        tab.expected.zero("4")
        await tab.agrees()
        tab.user.client = first
        assert tab.shown() == before

    visited(script)
