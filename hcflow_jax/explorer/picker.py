"""The controls that choose an image: a bundled picture, an uploaded picture, or a seed."""

import random
from collections.abc import Awaitable, Callable
from typing import Any

from hcflow_jax.explorer import bundled
from hcflow_jax.explorer.state import Drawn, Source
from hcflow_jax.explorer.toolkit import image, labelled, nicegui, show
from hcflow_jax.explorer.visit import MOST_BYTES


class Picker:
    """Buttons for pictures, an upload and a seed.

    Attributes:
      seed: the input field of the seed.
    """

    def __init__(
        self,
        whose: str,
        names: tuple[str, ...],
        resolution: int,
        chosen: Callable[[Source], None],
        picture: Callable[[str], Awaitable[None]],
        uploaded: Callable[[bytes, str], Awaitable[None]],
        say: Callable[[str], None],
    ):
        """Adds the elements to the page.

        Args:
          whose: "first" or "second"; for labels and for tests.
          names: the names of the bundled pictures.
          resolution: the resolution of the model, pixels.
          chosen: is called with a seed that the user chose.
          picture: is called with the name of a bundled picture that the user chose.
          uploaded: is called with the bytes and the name of an uploaded file.
          say: shows a message to the user.
        """
        ui = nicegui()
        with ui.element("div").classes("thumbs").props(f'role=group aria-label="Pictures for the {whose} image"'):
            for name in names:
                button = labelled(ui.element("button"), f"Picture {name} as the {whose} image").classes("thumb")
                button.props("type=button").mark(f"{whose}-{name}")
                button.on("click", lambda name=name: picture(name))
                with button:
                    show(image(""), bundled.path(name, resolution).read_bytes())

        async def receive(event: Any) -> None:
            upload.reset()
            if event.file.size() > MOST_BYTES:
                too_large()
            else:
                await uploaded(await event.file.read(), event.file.name)

        def too_large() -> None:
            say(f"The file was not taken: give one picture of at most {MOST_BYTES >> 20} MB")

        with ui.element("div").classes("line"):
            upload = ui.upload(on_upload=receive, on_rejected=too_large, max_file_size=MOST_BYTES, auto_upload=True)
            upload.classes("unseen").mark(f"{whose}-upload").props('aria-hidden=true tabindex=-1 accept="image/*"')
            pick = ui.button("Upload a picture", icon="upload").props("outline no-caps").classes("pick")
            pick.on("click", js_handler=f"() => getElement({upload.id}).$refs.qRef.pickFiles()")
            labelled(pick, f"Upload a picture as the {whose} image")
            self.seed = ui.number("Seed", value=0, min=0, max=2**32 - 1, precision=0, format="%.0f")
            self.seed.classes("seed").props("dense outlined").mark(f"{whose}-seed")
            labelled(self.seed, f"Seed of the {whose} image")

            def draw() -> None:
                if self.seed.value is None:
                    say("Give a seed: a whole number from 0 on")
                else:
                    chosen(Drawn(int(self.seed.value)))

            def draw_another() -> None:
                self.seed.value = random.randrange(10_000)
                draw()

            labelled(ui.button("Draw", on_click=draw).props("no-caps"), f"Draw the {whose} image from the seed").mark(
                f"{whose}-draw"
            )
            another = ui.button(icon="casino", on_click=draw_another).props("outline").mark(f"{whose}-another")
            labelled(another, f"Draw the {whose} image from another seed").tooltip("Another seed")
