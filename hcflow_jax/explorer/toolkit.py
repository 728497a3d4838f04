"""Access to NiceGUI, which the extra `explore` installs. It is imported only when a page is made."""

import base64
import functools
from typing import Any

from hcflow_jax.errors import MissingExtraError


def nicegui() -> Any:
    """The module `nicegui.ui`.

    Raises:
      MissingExtraError: NiceGUI is not installed.
    """
    try:
        from nicegui import ui  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise MissingExtraError(
            f"the explorer needs the package of {error.name}: pip install 'hcflow_jax[explore]'"
        ) from error
    return ui


def heading(text: str, level: int = 2) -> None:
    """Adds a heading that screen readers list. The text is inserted as HTML, so it must be a constant."""
    nicegui().html(text, tag=f"h{level}", sanitize=False)


def image(alt: str) -> Any:
    """Adds a picture element, for `show`. Its pixels stay sharp when it is enlarged."""
    element = nicegui().element("img").classes("pixels")
    element.props["alt"] = alt
    return element


def show(element: Any, png: bytes) -> None:
    """Shows a PNG in an element of `image`."""
    element.props["src"] = f"data:image/png;base64,{base64.b64encode(png).decode()}"


def labelled(element: Any, label: str) -> Any:
    """Sets the name of an element for screen readers; returns the element."""
    element.props["aria-label"] = label
    return element


@functools.cache
def _range() -> Any:
    """The class of the slider: the browser's own range input, as an element of NiceGUI."""
    nicegui()
    from nicegui.elements.mixins.disableable_element import DisableableElement  # pyright: ignore[reportMissingImports]
    from nicegui.elements.mixins.value_element import ValueElement  # pyright: ignore[reportMissingImports]

    class Range(ValueElement, DisableableElement, component="range.js"):  # pyright: ignore
        LOOPBACK = False  # otherwise the server's late answer moves the slider back while it is dragged

    return Range


def slider(label: str, most: float, step: float) -> Any:
    """Adds a slider from 0 to `most`. It follows the pointer at once, even if the connection is slow.

    Its event "settle" comes after the last value of a drag.
    """
    # The slider of Quasar is not used: it gives its role and its name to an element that never has the focus.
    element = labelled(_range()(value=0), label)
    element.props.update({"min": 0, "max": most, "step": step})
    return element


def copyable(title: str) -> Any:
    """Adds a label for lines of code, with a title and a button that copies them; returns the label."""
    ui = nicegui()
    with ui.element("div").classes("line"):
        ui.label(title).classes("quiet")
        button = labelled(ui.button("Copy", icon="content_copy").props("flat dense no-caps"), f"Copy: {title}")
    code = ui.label().classes("code")
    # Without https, browsers give no clipboard to pages of other machines. There the button selects the lines.
    copy = "navigator.clipboard ? navigator.clipboard.writeText(e.innerText) : getSelection().selectAllChildren(e)"
    button.on("click", js_handler=f"() => {{ const e = getHtmlElement({code.id}); {copy} }}")
    return code
