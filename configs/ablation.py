"""Section 3.2's ablations: `--config=configs/ablation.py:celebahq_b`, or `:demo_b`, with the letters a to h.

`celebahq_` starts from configuration A (celebahq_a.py, 256 px), `demo_` from demo.py (32 px).

a  The base.
b  No noise: every alpha and alpha' is 0. The levels are then deterministic, so that bits/dim is undefined: compare it
   by Frechet distance.
c  More noise: alpha and alpha' are 0.4 at every noisy level, the top included. The paper gives no value; 0.4 is the
   one that Table 3 has at 128 px.
d  No U-Nets in the flows: checkerboard steps become channel steps, and `end_unets` is off. The U-Nets of the decoder
   stay, since they are not part of the flows.
e  Flows at 64 and 16 pixels too (at 32 px: at 16). A new level has the row of the next finer one, but noise 0.05 and,
   at 16 pixels of `demo_`, 4 channels.
f  Flows twice as long: every step twice, also at the top.
g  No stop-gradient: the encoder learns through the flows' inputs too. The paper argues against it and shows no run.
h  g with the bound itself as the loss: the entropies pass gradients, and all levels count in bits/dim of the image,
   without the weights w_R.

Everything else is the base's: images, length, batch and rates. So that capacity is equal within 3 %, the widths of d,
e and f differ from the base's (`WIDTHS`; the paper does not give its own). In d the coupling networks of the levels
that lose their U-Nets are wider. In e the decoders are narrower, and in `demo_` the coupling networks too. In f all
coupling networks are narrower. Learnable parameters; b, c, g and h have as many as a:

              a            d            e            f
celebahq_     77,118,712   76,551,232   77,345,654   77,626,142
demo_          1,487,269    1,489,880    1,482,914    1,485,708

docs/study.md compares `demo_a` to `demo_h` after short training. None of `celebahq_` was trained here.
"""

from ml_collections import ConfigDict

from hcflow_jax import config as schema
from hcflow_jax.config import ConfigError, presets

BASES = {"celebahq": "celebahq_a", "demo": "demo"}
ARGUMENTS = tuple(f"{base}_{letter}" for base in BASES for letter in "abcdefgh")

WIDTHS = {
    "celebahq_d": {"levels.r256.hidden": 48, "levels.r128.hidden": 96, "levels.r32.hidden": 192},
    "celebahq_e": {
        "levels.r128.decoder": 192,
        "levels.r64.decoder": 192,
        "levels.r32.decoder": 384,
        "levels.r16.decoder": 384,
    },
    "celebahq_f": {
        "levels.r256.hidden": 18,
        "levels.r128.hidden": 36,
        "levels.r32.hidden": 72,
        "levels.r8.hidden": 72,
        "top.prior.hidden": 36,
        "top.y1.hidden": 288,
    },
    "demo_d": {"levels.r32.hidden": 40},
    "demo_e": {
        "levels.r32.hidden": 16,
        "levels.r32.decoder": 36,
        "levels.r16.hidden": 16,
        "levels.r16.decoder": 36,
    },
    "demo_f": {
        "levels.r32.hidden": 16,
        "levels.r8.hidden": 40,
        "top.prior.hidden": 10,
        "top.y1.hidden": 40,
    },
}


def get_config(name: str = "demo_a") -> ConfigDict:
    """An ablation, one of `ARGUMENTS`."""
    if name not in ARGUMENTS:
        raise ConfigError(f"ablation.py:{name}: what follows the colon must be one of {', '.join(ARGUMENTS)}")
    base, _, letter = name.partition("_")
    config = presets.config(BASES[base])
    model = config.model
    if letter in "bc":
        _set_noise(config, 0.4 if letter == "c" else 0.0)
    elif letter == "d":
        for row in model.levels.values():
            row.steps, row.end_unets = ("channel",) * len(row.steps), False
    elif letter == "e":
        model.levels = _with_levels_between(model.levels)
    elif letter == "f":
        for row in model.levels.values():
            row.steps = tuple(split for split in row.steps for _ in range(2))
        for part in (model.top.prior, model.top.y1):
            part.steps *= 2
    elif letter in "gh":
        model.stop_gradient = False
        model.loss = "bound" if letter == "h" else "weighted"
    config.update_from_flattened_dict({f"model.{path}": width for path, width in WIDTHS.get(name, {}).items()})
    return config


def _set_noise(config: ConfigDict, alpha: float) -> None:
    """The noise of every level but the finest, the top included."""
    levels, top = config.model.levels, config.model.top
    coarser = [row for name, row in levels.items() if name != f"r{config.data.resolution}"]
    for part in (*coarser, top.prior, top.y1):
        part.flow_noise = part.decoder_noise = alpha


def _with_levels_between(levels: ConfigDict) -> ConfigDict:
    """Levels at every halving: where the resolution fell by 4, a level between."""
    rows = {int(name[1:]): row for name, row in levels.items()}
    for fine in sorted(rows):
        if fine // 2 not in rows and fine > 8:
            new = rows[fine].copy_and_resolve_references()
            new.flow_noise = new.decoder_noise = 0.05
            new.channels = max(new.channels, 4)
            new.skip = new.skip or 8
            rows[fine // 2] = new
    return schema.levels(dict(sorted(rows.items(), reverse=True)))
