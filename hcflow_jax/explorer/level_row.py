"""The controls of one level: sigma, seed, zero, lock, copy."""

import random
from collections.abc import Callable
from typing import Any

from hcflow_jax.explorer.state import Drawn, Level
from hcflow_jax.explorer.toolkit import labelled, nicegui, slider
from hcflow_jax.explorer.visit import MOST_SIGMA, Visit

_STEP = 0.05  # step of the slider


class LevelRow:
    """The row of one level. `sync` makes it show the state of the visit."""

    def __init__(self, visit: Visit, name: str, do: Callable[[Callable[[], None]], None]):
        """Adds the row to the page.

        Args:
          visit: the visit that the controls change.
          name: the name of the level.
          do: runs an operation of the visit, and shows the result.
        """
        ui = nicegui()
        self._visit, self._name, self._do = visit, name, do
        shape = " × ".join(map(str, visit.model.latent_shapes[name]))
        with ui.element("div").classes("level").props(f'role=group aria-label="Level {name}"'):
            with ui.element("div").classes("line"):
                ui.label(f"Level {name}").classes("name")
                ui.label(f"{shape} values").classes("quiet")
                self._source = ui.label().classes("source").mark(f"source-{name}")
            with ui.element("div").classes("line"):
                ui.label("sigma").classes("quiet")
                self._sigma = slider(f"Sigma of level {name}", MOST_SIGMA, _STEP).classes("grow")
                self._sigma.mark(f"sigma-{name}").on_value_change(lambda event: self._drag(event.value))
                self._sigma.on("settle", visit.settle)
                self._value = ui.label().classes("value").mark(f"value-{name}")
            with ui.element("div").classes("line"):
                self._seed = ui.number("Seed", min=0, max=2**32 - 1, precision=0, format="%.0f").classes("seed")
                labelled(self._seed, f"Seed of level {name}").props("dense outlined").mark(f"seed-{name}")
                self._seed.on_value_change(lambda event: self._seeded(event.value)).on("blur", visit.settle)
                self._another = ui.button(icon="casino", on_click=self._draw_another).props("outline")
                labelled(self._another, f"Draw level {name} from another seed").tooltip("Another seed")
                self._another.mark(f"another-{name}")
                self._zero = ui.switch("Zero", on_change=lambda event: self._switch(visit.zero, event.value))
                labelled(self._zero, f"Put level {name} to zero").mark(f"zero-{name}")
                self._lock = ui.switch("Lock", on_change=lambda event: self._switch(visit.lock, event.value))
                labelled(self._lock, f"Lock level {name}").mark(f"lock-{name}")
                self._copy = ui.button("Copy from second", on_click=lambda: do(lambda: visit.copy(name)))
                labelled(self._copy, f"Copy from second: level {name}").props("outline no-caps dense")
                self._copy.mark(f"copy-{name}")
        self._syncing = False

    def sync(self, level: Level, second: bool) -> None:
        """Shows the state of the level.

        Args:
          level: the state.
          second: whether there is a second image.
        """
        self._syncing = True  # the values come from the visit, so their change events must not change the visit again
        try:
            source, sigma = level.part.source, level.part.sigma
            drawn = isinstance(source, Drawn)
            self._source.text = f"seed {source.seed}" if drawn else getattr(source, "name", "")
            self._sigma.value = sigma
            self._value.text = "zero" if level.zero else f"{sigma:.2f}"
            self._seed.value = source.seed if drawn else None
            self._zero.value, self._lock.value = level.zero, level.locked
            controls: list[Any] = [self._sigma, self._seed, self._another, self._zero]
            for control in controls:
                control.set_enabled(not level.locked)
            self._copy.set_enabled(second and not level.locked)
        finally:
            self._syncing = False

    def _drag(self, value: float | None) -> None:
        if value is not None and not self._syncing:
            self._do(lambda: self._visit.sigma(self._name, value))

    def _seeded(self, value: float | None) -> None:
        if value is not None and value == int(value) and not self._syncing:
            self._do(lambda: self._visit.seed(self._name, int(value)))

    def _switch(self, operation: Callable[[str, bool], None], on: bool) -> None:
        if not self._syncing:
            self._do(lambda: operation(self._name, on))

    def _draw_another(self) -> None:
        self._visit.settle()
        self._do(lambda: self._visit.seed(self._name, random.randrange(10_000)))
