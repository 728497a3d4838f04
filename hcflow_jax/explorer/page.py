"""The page of the explorer: the controls and images of one visit."""

import asyncio
import html
import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import Any

from hcflow_jax.api import Bits, Model
from hcflow_jax.errors import HcflowError
from hcflow_jax.explorer import lines
from hcflow_jax.explorer.gallery import Gallery
from hcflow_jax.explorer.latest import Latest, Step
from hcflow_jax.explorer.level_row import LevelRow
from hcflow_jax.explorer.picker import Picker
from hcflow_jax.explorer.second import Second
from hcflow_jax.explorer.stage import Stage
from hcflow_jax.explorer.state import Picture, Source, State
from hcflow_jax.explorer.toolkit import copyable, heading, nicegui
from hcflow_jax.explorer.visit import Visit, as_png

_LEVELS = (
    "sigma scales a level's latent: at 1 a picture is as it was encoded and a draw has the prior's spread, at 0 both "
    "are the prior's mean. A locked level keeps its latent whatever is done."
)
_ART = (
    "The pictures of people are remixes of ToonHead by Johan Melin, licensed CC BY 4.0; those of landscapes are "
    "Landscape by DiceBear, CC0 1.0."
)
_log = logging.getLogger(__name__)


def root(model: Model, checkpoint: str, pool: Executor) -> Callable[[], None]:
    """Makes a function that builds the page for a tab of the browser.

    Each tab has a visit of its own. All tabs share the model.

    Args:
      model: the model.
      checkpoint: the argument of `api.load` for the model.
      pool: the threads in which all tabs compute.
    """
    gallery = Gallery(model)
    return lambda: Page(Visit(model, checkpoint), gallery, pool).build()


class Page:
    """A page and its visit."""

    def __init__(self, visit: Visit, gallery: Gallery, pool: Executor):
        """Keeps the arguments. `build` adds the elements."""
        self._visit, self._gallery, self._pool = visit, gallery, pool
        self._ui = nicegui()
        self._latest = Latest(pool, self._steps, self._failed)
        self._names = visit.model.level_names

    def build(self) -> None:
        """Adds all elements to NiceGUI's current page, and asks for the first image."""
        ui, visit = self._ui, self._visit
        self._client = ui.context.client
        ui.colors(primary="#1f5fa8")
        ui.add_css(Path(__file__).with_name("style.css").read_text(encoding="utf-8"))
        with ui.element("main").classes("explorer"):
            with ui.element("div").classes("top"):
                heading("hcflow explorer", 1)
                ui.label(f"{visit.checkpoint}, {visit.model.resolution} pixels").classes("quiet")
            with ui.element("div").classes("columns"):
                actions = (
                    ("undo", "undo", "Undo", lambda: self._do(visit.undo)),
                    ("redo", "redo", "Redo", lambda: self._do(visit.redo)),
                    ("png", "download", "PNG", lambda: self._download(visit.png, lines.IMAGE)),
                    ("npz", "download", "Latents", lambda: self._download(visit.npz, lines.LATENTS)),
                )
                self._stage = Stage(self._names, actions)
                with ui.element("div").classes("controls"):
                    self._build_controls()
            ui.label(_ART).classes("quiet")
        self._sync()
        self._latest.ask()

    def _build_controls(self) -> None:
        ui, visit = self._ui, self._visit
        with self._card("Image"):
            self._pick("first", lambda source: self._do(lambda: visit.take(source)))
            self._bits = ui.html("", sanitize=False).mark("bits")
        with self._card("Levels, coarse to fine"):
            ui.label(_LEVELS).classes("quiet help")
            self._rows = [LevelRow(visit, name, self._do) for name in self._names]
        with self._card("Second image"):
            self._pick("second", lambda source: self._do(lambda: visit.choose_second(source)))
            self._second = Second(visit, self._do)
        with self._card("The same image without the explorer"):
            self._python = copyable("Python lines").mark("python")
            self._command = copyable("Command (hcflow decode reads the downloaded latents)").mark("command")

    def _card(self, title: str) -> Any:
        card = self._ui.element("section").classes("card")
        card.props["aria-label"] = title
        with card:
            heading(title)
        return card

    def _pick(self, whose: str, chosen: Callable[[Source], None]) -> None:
        turns = 0

        def choose(source: Source) -> None:
            nonlocal turns
            turns += 1
            chosen(source)

        async def load(read: Callable[[], Picture]) -> None:
            nonlocal turns
            turns += 1
            turn = turns
            picture = await self._read(read)
            if picture is not None and turn == turns:  # otherwise the user chose another picture in the meantime
                choose(picture)
                if whose == "first":
                    self._show_bits(picture, await self._computed(lambda: self._bits_of(picture)))

        async def picture(name: str) -> None:
            await load(lambda: self._gallery.picture(name))

        async def uploaded(data: bytes, name: str) -> None:
            await load(lambda: self._visit.read(data, name))

        resolution = self._visit.model.resolution
        Picker(whose, self._gallery.names, resolution, choose, picture, uploaded, self._say)

    # The operations of the controls.

    def _do(self, operation: Callable[[], None]) -> None:
        """Runs an operation of the visit, and shows the result or the error."""
        try:
            operation()
        except HcflowError as error:
            self._say(str(error))
        self._sync()
        self._latest.ask()

    async def _read(self, read: Callable[[], Picture]) -> Picture | None:
        """Reads and encodes a picture in the pool. Shows the picture's notes, such as cropping."""
        self._stage.say("Reading and encoding the picture")
        picture = await self._computed(read)
        if picture is not None and picture.notes:
            self._say(f"{picture.name}: {'; '.join(picture.notes)}")
        return picture

    def _bits_of(self, picture: Picture) -> Bits | str:
        try:
            return self._visit.bits(picture)
        except HcflowError as error:
            return str(error)

    def _show_bits(self, picture: Picture, bits: Bits | str | None) -> None:
        name = html.escape(picture.name)
        if not isinstance(bits, dict):
            self._bits.content = f"<p class=quiet>No bits per dimension: {html.escape(str(bits))}</p>"
            return
        columns = [("total", bits["total"][0]), *((f"level {each}", bits[each][0]) for each in self._names)]
        head = "".join(f"<th scope=col>{html.escape(column)}</th>" for column, _ in columns)
        row = "".join(f"<td>{value:.3f}</td>" for _, value in columns)
        self._bits.content = (
            f"<table><caption class=quiet>Bits per dimension of {name}: the total is the levels' sum and the "
            f"{self._visit.model.config.data.bits} bits of the pixel values</caption>"
            f"<tr>{head}</tr><tr>{row}</tr></table>"
        )

    async def _download(self, make: Callable[[State], bytes], name: str) -> None:
        content = await self._computed(partial(make, self._visit.state))
        if content is not None:
            self._ui.download(content, name)

    async def _computed(self, function: Callable[[], Any]) -> Any:
        """The result of a function that runs in the pool. If it fails, shows a message and returns None."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, function)
        except Exception as error:
            self._failed(error)
            return None

    # The display.

    def _sync(self) -> None:
        """Makes the controls show the state of the visit."""
        visit, state = self._visit, self._visit.state
        for row, level in zip(self._rows, state.levels, strict=True):
            row.sync(level, state.second is not None)
        self._second.sync(state)
        self._stage.buttons["undo"].set_enabled(visit.can_undo)
        self._stage.buttons["redo"].set_enabled(visit.can_redo)

    def _steps(self) -> Iterator[Step]:
        """The steps for `Latest`: first the image of the current state, then what each level adds."""
        visit, state = self._visit, self._visit.state
        self._stage.say("Decoding")

        def image() -> tuple[bytes, float]:
            start = time.monotonic()
            return as_png(visit.image(state)), time.monotonic() - start

        seconds = 0.0

        def show(made: tuple[bytes, float]) -> None:
            nonlocal seconds
            seconds = made[1]
            self._stage.show(made[0])

        yield image, show
        for count in range(len(self._names)):
            decode = lambda count=count: as_png(visit.first_levels(count, state))  # noqa: E731
            yield decode, partial(self._stage.show_first_levels, count)
        self._python.text = visit.python(state)
        self._command.text = visit.command(state)
        self._stage.say(f"Up to date; the image took {1000 * seconds:.0f} ms")

    def _failed(self, error: Exception) -> None:
        if isinstance(error, HcflowError):
            self._say(str(error))
        else:
            _log.error("the explorer failed", exc_info=error)
            self._say("This failed, through a fault of the explorer; the terminal shows where")
        self._stage.say("The last change could not be shown")

    def _say(self, message: str) -> None:
        with self._client:
            self._ui.notify(message, position="top", multi_line=True, close_button="Close", timeout=8000)
