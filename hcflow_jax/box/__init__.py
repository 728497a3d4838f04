"""The models in the box: weights that come with the package, each with a card that says what it is."""

from pathlib import Path

NAMES = ("portraits", "scenes")


def weights(name: str) -> Path:
    """The weights file of a model in the box."""
    return Path(__file__).with_name(f"{name}.safetensors")


def card(name: str) -> Path:
    """The model card of a model in the box, Markdown."""
    return weights(name).with_suffix(".md")


def find(path: str | Path) -> Path:
    """Where a checkpoint lies: a name in `NAMES` is that model's weights file, unless there is a file of the name."""
    where = Path(path).expanduser()
    return weights(str(path)) if str(path) in NAMES and not where.exists() else where
