"""The models in the box: weights that come with the package, each with a card that says what it is."""

from pathlib import Path

NAMES = ("portraits",)


def path(name: str) -> Path:
    """The weights file of a model in the box; its card lies beside it, ending in .md."""
    return Path(__file__).with_name(f"{name}.safetensors")


def card(name: str) -> Path:
    """The model card of a model in the box, Markdown."""
    return path(name).with_suffix(".md")
