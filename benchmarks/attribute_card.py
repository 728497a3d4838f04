"""The card of a network that reads drawing options, from what `benchmarks/attributes.py` measured."""

from collections.abc import Mapping, Sequence
from typing import Any

from hcflow_jax.evaluation import attributes

_ART = {
    "toon-head": 'a remix of "ToonHead" by Johan Melin (https://www.johanmelin.com), licensed CC BY 4.0 '
    "(https://creativecommons.org/licenses/by/4.0/)",
    "landscape": '"Landscape" by DiceBear (https://www.dicebear.com),\n  licensed CC0 1.0 '
    "(https://creativecommons.org/publicdomain/zero/1.0/)",
}


def text(told: Mapping[str, Any], size: int) -> str:
    """The card, Markdown.

    Args:
      told: the metadata of the weights.
      size: of the file, bytes.
    """
    style, training = told["style"], told["training"]
    train_images, eval_images = (int(s.split(" ... ")[1]) + 1 for s in (told["drawn"]["seeds"], told["measured_on"]))
    return f"""# {style}

A network that reads the options of a drawing of the style `{style}` from its pixels. Its {attributes.DIMS} features
are the extractor `{style}` of `hcflow features` and `hcflow distance`. The file has {size / 1e6:.2f} MB, float16. It
contains no picture.

- **Made by** `python -m benchmarks.attributes --style={style}` with jax {training["jax"]} on a CPU.
- **Trained on** {train_images:,} drawings at {attributes.SIZE} px, seeds `attributes-train-0` to
  `attributes-train-{train_images - 1}`, {training["epochs"]} times in batches of {training["batch"]}. No other set of
  this package has these seeds.
- **Augmentation**: half of the drawings are mirrored. Half of them are mixed with a blurred copy (3 x 3 pixels,
  share between 0 and 1). All get Gaussian noise of a standard deviation between 0 and {training["noise"]} (values are
  in [0, 1]). Samples of models are a little blurred and noisy, and are to be read too.
- **Features**: the mean over a picture and its mirror image. On the drawings trained on they have mean 0, and
  variance 1 on average over the dimensions.
- **Accuracy**: measured on {eval_images:,} fresh drawings, seeds `attributes-eval-0` to
  `attributes-eval-{eval_images - 1}`, with the weights as stored.
- **Art**: {_ART[style]},
  drawn by dicebear-styles {told["drawn"]["packages"]["dicebear-styles"]}.

## Attributes

These options are read at {attributes.LEAST_ACCURACY:.0%} or more. `none` means that the part is absent. The last
column is the value that is found least often in the drawings that have it, and how often.

{_table(told["attributes"])}

## Left out

These options are read at less than {attributes.LEAST_ACCURACY:.0%}.

{_table(told["left_out"])}
"""


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = ["| option | values | accuracy | least found |", "|---|---|---|---|"]
    for row in rows:
        found = f"`{row['worst']}` {row['recall']:.3f}"
        lines.append(f"| `{row['name']}` | {', '.join(row['values'])} | {row['accuracy']:.3f} | {found} |")
    return "\n".join(lines)
