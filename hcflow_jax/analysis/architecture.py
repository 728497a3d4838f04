"""Draws a model's architecture: an overview, a flow, and a level's networks (the paper's Figures 2, 3 and 12).

A drawing needs only a config: no parameters are made, and nothing is compiled. The model's family describes its parts
(`models.outline`), and this module adds the colours.
"""

from pathlib import Path

from ml_collections import ConfigDict

from hcflow_jax.errors import InputError
from hcflow_jax.graphs import Graph
from hcflow_jax.models.outline import Outline, outline
from hcflow_jax.pictures.diagrams import Style, diagram

OVERVIEW, FLOW, NETWORKS = VIEWS = ("overview", "flow", "networks")

# The colours of Okabe and Ito: people with any kind of colour vision can tell them apart.
_ORANGE, _SKY, _GREEN = "#E69F00", "#56B4E9", "#009E73"
_BLUE, _VERMILION, _PURPLE, _BLACK = "#0072B2", "#D55E00", "#CC79A7", "#000000"
STYLES = {
    # boxes
    "data": Style(_BLACK, "image, features", strength=0.05),
    "encoder": Style(_ORANGE, "encoder"),
    "decoder": Style(_GREEN, "decoder"),
    "style": Style(_VERMILION, "style and base"),
    "latent": Style(_PURPLE, "latent"),
    "coupling": Style(_SKY, "coupling"),
    "layer": Style(_BLUE, "layer"),
    "unet": Style(_SKY, "U-Net"),
    "resample": Style("#999999", "no parameters", strength=0.05),
    # boxes and arrows
    "flow": Style(_BLUE, "flow"),
    # arrows
    "encode": Style(_ORANGE),
    "condition": Style(_GREEN, "condition"),
    "skip": Style(_GREEN, "skip", dashed=True),
    "network": Style("#555555"),
}


def graph(described: Outline, view: str = OVERVIEW, level: str | None = None) -> Graph:
    """The graph of one view of a model.

    Args:
      described: from `models.outline.outline`.
      view: "overview", or "flow" or "networks" of one level.
      level: the name of that level; None: the finest. The overview takes no level.

    Raises:
      InputError: the view or the level does not exist, a level is given for the overview, or the family does not
        describe this view.
    """
    if view not in VIEWS:
        raise InputError(f"no view {view!r}; there are {', '.join(VIEWS)}")
    if view == OVERVIEW:
        if level is not None:
            raise InputError(
                "the overview shows all levels: leave the level out, or ask for the flow or the networks"
            )
        return described.overview()
    name = described.model.level_names[-1] if level is None else level
    return described.flow(name) if view == FLOW else described.networks(name)


def draw(path: str | Path, config: ConfigDict, view: str = OVERVIEW, level: str | None = None) -> None:
    """Draws a view of a config's model.

    Args:
      path: the file to write; its ending, .png or .pdf, decides the format.
      config: the config of the model.
      view, level: as in `graph`.

    Raises:
      ConfigError: no model can be built from this config.
      InputError: as in `graph`, or the file has another ending.
      MissingExtraError: matplotlib is not installed.
    """
    save(path, graph(outline(config), view, level))


def save(path: str | Path, drawn: Graph) -> None:
    """Draws a graph from `graph` into a .png or .pdf file. The errors are those of `draw`."""
    diagram(path, drawn, STYLES)
