"""The ablations of Section 3.2: `--config=configs/ablation.py:celebahq_b`, or `:demo_b`, with the letters a to h.

`celebahq_` starts from configuration A (celebahq_a.py, 256 px), `demo_` from demo.py (32 px).

a  The base, unchanged.
b  No noise: every alpha and alpha' is 0. The levels are then deterministic, so bits/dim is undefined. Compare this
   ablation by Frechet distance.
c  More noise: alpha and alpha' are 0.4 at every noisy level, including the top. The paper gives no value; 0.4 is the
   value of Table 3 at 128 px.
d  No U-Nets in the flows: checkerboard steps become channel steps, and `end_unets` is off. The U-Nets of the decoder
   stay, because they are not part of the flows.
e  More levels: flows also at 64 and 16 pixels (`demo_`: at 16). A new level has the fields of the next finer level,
   but noise 0.05 and, at 16 pixels of `demo_`, 4 channels.
f  Longer flows: every step twice, also at the top.
g  No stop-gradient: the encoder also learns through the inputs of the flows. The paper argues against it and shows no
   run.
h  As g, with the bound as the loss: the entropies pass gradients, and all levels count in bits/dim of the image,
   without the weights w_R.

All other fields are those of the base: images, length, batch and rates. d, e and f have other widths than the base
(`WIDTHS`; the paper does not give its widths), so that the number of parameters is equal within 3 %. In d the
coupling networks of levels that lose their U-Nets are wider. In e the decoders are narrower, and in `demo_` also the
coupling networks. In f all coupling networks are narrower. The numbers of learnable parameters (b, c, g and h have as
many as a):

              a            d            e            f
celebahq_     77,118,712   76,551,232   77,345,654   77,626,142
demo_          1,487,269    1,489,880    1,482,914    1,485,708

docs/study.md compares `demo_a` to `demo_h` after short training. The `celebahq_` ablations were not trained here.
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
    """The config of an ablation, one of `ARGUMENTS`."""
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
    """Sets alpha and alpha' of every level except the finest, including the top."""
    levels, top = config.model.levels, config.model.top
    coarser = [row for name, row in levels.items() if name != f"r{config.data.resolution}"]
    for part in (*coarser, top.prior, top.y1):
        part.flow_noise = part.decoder_noise = alpha


def _with_levels_between(levels: ConfigDict) -> ConfigDict:
    """Levels at every halving of the resolution: adds a level between any two that differ by a factor of 4."""
    rows = {int(name[1:]): row for name, row in levels.items()}
    for fine in sorted(rows):
        if fine // 2 not in rows and fine > 8:
            new = rows[fine].copy_and_resolve_references()
            new.flow_noise = new.decoder_noise = 0.05
            new.channels = max(new.channels, 4)
            new.skip = new.skip or 8
            rows[fine // 2] = new
    return schema.levels(dict(sorted(rows.items(), reverse=True)))
