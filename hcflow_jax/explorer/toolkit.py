"""NiceGUI, which the extra `explore` brings: imported when a page is made, so that all else works without it."""

import base64
import functools
from typing import Any

from hcflow_jax.errors import MissingExtraError


def nicegui() -> Any:
    """NiceGUI's `ui`.

    Raises:
      MissingExtraError: it is not installed.
    """
    try:
        from nicegui import ui  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise MissingExtraError(
            f"the explorer needs the package of {error.name}: pip install 'hcflow_jax[explore]'"
        ) from error
    return ui


def heading(text: str, level: int = 2) -> None:
    """A heading of constant text, as screen readers list them."""
    nicegui().html(text, tag=f"h{level}", sanitize=False)


def image(alt: str) -> Any:
    """An element for `show`: a picture whose pixels stay sharp when it is enlarged."""
    element = nicegui().element("img").classes("pixels")
    element.props["alt"] = alt
    return element


def show(element: Any, png: bytes) -> None:
    """Shows a PNG in an element of `image`."""
    element.props["src"] = f"data:image/png;base64,{base64.b64encode(png).decode()}"


def labelled(element: Any, label: str) -> Any:
    """Gives an element the name that screen readers say; returns it."""
    element.props["aria-label"] = label
    return element


@functools.cache
def _range() -> Any:
    nicegui()
    from nicegui.elements.mixins.disableable_element import DisableableElement  # pyright: ignore[reportMissingImports]
    from nicegui.elements.mixins.value_element import ValueElement  # pyright: ignore[reportMissingImports]

    class Range(ValueElement, DisableableElement, component="range.js"):  # pyright: ignore
        LOOPBACK = False  # the server's answer comes late: it would move the slider back while it is dragged

    return Range


def slider(label: str, most: float, step: float) -> Any:
    """A slider from 0 that follows the pointer at once, whatever the connection."""
    # Quasar's slider gives its role and name to an element that never has the focus.
    element = labelled(_range()(value=0, throttle=0.05), label)
    element.props.update({"min": 0, "max": most, "step": step})
    return element


def copyable(title: str) -> Any:
    """A label for lines of code, under a title with a button that copies them."""
    ui = nicegui()
    with ui.element("div").classes("line"):
        ui.label(title).classes("quiet")
        button = labelled(ui.button("Copy", icon="content_copy").props("flat dense no-caps"), f"Copy: {title}")
    code = ui.label().classes("code")
    # Browsers give pages from other machines no clipboard without https: there the lines are selected.
    copy = "navigator.clipboard ? navigator.clipboard.writeText(e.innerText) : getSelection().selectAllChildren(e)"
    button.on("click", js_handler=f"() => {{ const e = getHtmlElement({code.id}); {copy} }}")
    return code
