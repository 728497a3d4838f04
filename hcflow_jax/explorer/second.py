"""The controls of the blend with the second image."""

from collections.abc import Callable
from typing import Any

from hcflow_jax.explorer.state import Drawn, State
from hcflow_jax.explorer.toolkit import labelled, nicegui, slider
from hcflow_jax.explorer.visit import Visit

_STEP = 0.02  # step of the slider


class Second:
    """The controls of the blend. `sync` makes them show the state of the visit."""

    def __init__(self, visit: Visit, do: Callable[[Callable[[], None]], None]):
        """Adds the controls to the page.

        Args:
          visit: the visit that the controls change.
          do: runs an operation of the visit, and shows the result.
        """
        ui = nicegui()
        self._syncing = False
        self._chosen = ui.label().classes("quiet chosen").mark("second")

        def changed(operation: Callable[[], None]) -> None:
            if not self._syncing:
                do(operation)

        with ui.element("div").classes("line"):
            ui.label("Blend: first").classes("quiet")
            self._weight = slider("Blend between the first and the second image", 1.0, _STEP).classes("grow")
            self._weight.mark("blend").on_value_change(lambda event: changed(lambda: visit.blend(event.value)))
            self._weight.on("settle", visit.settle)
            ui.label("second").classes("quiet")
            self._value = ui.label().classes("value").mark("value-blend")
        self._how: Any = ui.radio(
            {"spherical": "along the arc (spherical)", "linear": "along the line (linear)"},
            value=visit.state.how,
            on_change=lambda event: changed(lambda: visit.blend(visit.state.weight, event.value)),
        )
        labelled(self._how, "How images are blended").props("inline dense").mark("how")

    def sync(self, state: State) -> None:
        """Shows a state."""
        self._syncing = True
        try:
            if state.second is None:
                self._chosen.text = "None is chosen; choose one to blend and to copy levels"
            else:
                source: Any = state.second[0].source
                chosen = f"seed {source.seed}" if isinstance(source, Drawn) else source.name
                self._chosen.text = f"Chosen: {chosen}. Locked levels are not blended"
            self._weight.value, self._value.text = state.weight, f"{state.weight:.2f}"
            self._how.value = state.how
            for control in (self._weight, self._how):
                control.set_enabled(state.second is not None)
        finally:
            self._syncing = False
