"""The display: the image, the buttons next to it, and the strip that shows what each level adds."""

from collections.abc import Callable, Sequence
from typing import Any

from hcflow_jax.explorer.toolkit import heading, image, labelled, nicegui, show


class Stage:
    """The image and the strip of images with more and more levels.

    Attributes:
      buttons: name of the action -> button.
    """

    def __init__(self, names: Sequence[str], actions: Sequence[tuple[str, str, str, Callable[[], Any]]]):
        """Adds the elements to the page.

        Args:
          names: the names of the levels, coarse to fine.
          actions: for each button, (name, icon, label, function that a click calls).
        """
        ui = nicegui()
        self.buttons: dict[str, Any] = {}
        with ui.element("div").classes("left"):
            with ui.element("section").classes("card stage").props('aria-label="Image"'):
                self._image = image("The image that the model decodes").classes("main").mark("image")
                with ui.element("div").classes("beside"):
                    self._status = ui.label("Starting: the model's programs are compiled").classes("quiet")
                    self._status.props("role=status aria-live=polite").mark("status")
                    with ui.element("div").classes("line"):
                        for name, icon, label, click in actions:
                            self._add_button(name, icon, label, click)
            with ui.element("section").classes("card").props('aria-label="What each level adds"'):
                heading("What each level adds")
                with ui.element("div").classes("strip"):
                    self._strip = [self._added(names[:count]) for count in range(len(names) + 1)]

    def _add_button(self, name: str, icon: str, label: str, click: Callable[[], Any]) -> None:
        short = name in ("undo", "redo")
        button = nicegui().button("" if short else label, icon=icon, on_click=click).props("outline no-caps dense")
        self.buttons[name] = labelled(button, label).mark(name)
        if short:
            button.tooltip(label)

    def _added(self, kept: Sequence[str]) -> Any:
        """Adds a picture to the strip. It shows the image with the levels `kept`, and the others at zero."""
        ui = nicegui()
        with ui.element("figure"):
            alt = f"Levels kept: {', '.join(kept) or 'none'}; the others are at zero"
            picture = image(alt).mark(f"strip-{len(kept)}")
            ui.label(f"+ {kept[-1]}" if kept else "all zero").classes("caption")
        return picture

    def show(self, png: bytes) -> None:
        """Shows the image."""
        show(self._image, png)
        show(self._strip[-1], png)

    def show_first_levels(self, count: int, png: bytes) -> None:
        """Shows the image of the `count` coarsest levels."""
        show(self._strip[count], png)

    def say(self, text: str) -> None:
        """Shows what is being done. Screen readers read it out."""
        self._status.text = text
