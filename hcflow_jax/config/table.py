"""docs/config.md: the table of every field, made from the declarations."""

from typing import Any

from hcflow_jax.config import fields, registry, schema
from hcflow_jax.config.fields import REQUIRED, Field

_HEAD = """# Every field of a config

Made by `python -m hcflow_jax.config > docs/config.md` from the declarations: `hcflow_jax/config/groups.py`, and the
module of each family of models. Any field can be set on the command line: `--config.train.num_steps=1000`.

*Resume*: "yes" if the field may change when a run resumes, because it does not affect what is learned. A run that
resumes with another value of any other field is refused, unless `--allow_config_change` is given.
"""


def markdown() -> str:
    """The whole file: the fields that all families have, then those of each family."""
    general = schema.tree(registry.DEFAULT)
    own = ("model", "train.learning_rate", "train.decay")
    parts = [_HEAD]
    for group, title in (
        ("seed", "General"),
        ("data", "`data`: the images"),
        ("train", "`train`: how a run learns"),
        ("eval", "`eval`: the held-out bound"),
        ("sample", "`sample`: the sheets of samples"),
        ("execution", "`execution`: how the same function is computed"),
    ):
        rows = [(path, f) for path, f in fields.leaves(general) if path.split(".")[0] == group and not _in(path, own)]
        parts.append(_section(title, rows))
    parts.append(
        "`auto` takes the choice of the backend's preset.\n"
        "A family has `train.learning_rate.GROUP` and `train.decay.GROUP` for each of its rate groups.\n"
    )
    for family in registry.names():
        tree = schema.tree(family)
        changed = registry.load(family).DEFAULTS
        rows = [(path, f) for path, f in fields.leaves(tree) if _in(path, own) or path in changed]
        parts.append(_section(f"Family `{family}`", rows))
    return "\n".join(parts)


def _in(path: str, groups: tuple[str, ...]) -> bool:
    return any(path == group or path.startswith(f"{group}.") for group in groups)


def _section(title: str, rows: list[tuple[str, Field]]) -> str:
    lines = [f"## {title}\n", "| field | default | meaning | allowed | resume |", "|---|---|---|---|---|"]
    for path, field in rows:
        allowed = field.rule.must.removeprefix("be ") if field.rule else ""
        default = f"{_value(field.default)} {field.unit}".strip()
        cells = (f"`{path}`", default, field.help, allowed, "yes" if field.resume else "")
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _value(value: Any) -> str:
    if value is REQUIRED:
        return "has to be given"
    if isinstance(value, str):
        return f'"{value}"'
    return f"{value:_}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
