"""Makes docs/config.md: how to write a config, and the tables of all fields, from their declarations."""

from typing import Any

from hcflow_jax.config import fields, registry, schema
from hcflow_jax.config.fields import REQUIRED, Field

_HEAD = """# Configs

A config says everything about a run: the model, the images, training, evaluation, and how it is computed. It is a
Python file with a function `get_config`. The files in `configs/` are examples.

## Write a config

Start from another config and change what differs. Save this as `mine.py`:

```python
from hcflow_jax.config import presets


def get_config():
    config = presets.config("ffhq_a")  # configs/ffhq_a.py; hcflow_jax.config.default() has the defaults below
    config.data.path = "/data/faces"
    config.train.batch_size = 64
    config.train.learning_rate.flows = 3e-3
    return config
```

Then train with it:

    python -m hcflow_jax.main --config=mine.py --workdir=runs/mine

- You can set any field on the command line, too: `--config.train.num_steps=1000`. This has precedence over the file.
- A field that does not exist is refused, and so is a value that is not allowed. The error names the field, before
  anything compiles.
- The config of a run is stored in its workdir, as `config.json`, and with every checkpoint.
- [Add a level](howto_level.md) shows how to change the levels of a model.

## Read the tables

The tables below list every field.

- *default*: the value unless a config sets it, with its unit.
- *allowed*: the values that are allowed. If the cell is empty, only *meaning* may limit the value.
- *resume*: "yes" if you may change the field when you resume a run. If you change any other field, the run does not
  resume, unless you give `--allow_config_change`. `train.optimizer` can never change. Most fields with "yes" do not
  affect what is learned. But `train.num_steps` changes when the final decay begins, and `execution` changes rounding.

This page is generated. Change the fields in `hcflow_jax/config/groups.py` or in the module of a family, then run
`python -m hcflow_jax.config > docs/config.md`.
"""


def markdown() -> str:
    """The text of the page: the fields that all families have, and then the fields of each family."""
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
        "`auto` takes the choice of the backend's preset.\n\n"
        "The tables of the families follow. A family has its own `model` fields, and `train.learning_rate.GROUP`\n"
        "and `train.decay.GROUP` for each of its rate groups. Its table also lists the fields above for which it\n"
        "has another default. Single letters in the column *meaning* (c, h, e, ...) are those of the paper's\n"
        "Tables 2 and 3. `y_R` are the features of the level with R x R pixels ([the model](model.md)).\n"
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
