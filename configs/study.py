"""A run of the study (docs/study.md): `--config=configs/study.py:portraits_a --config.seed=1`.

The name after the colon is a set of images and a model. The sets are illustrations of 32 px: `portraits` stand for
CelebA-HQ, and `landscapes` for LSUN. The models:

a to h       the ablations of Section 3.2, as ablation.py:demo_a to demo_h
glow         Glow with as many parameters, as glow_small.py:demo
noise        a, but trained with noise of std 0.025 on the images instead of 0.005; its samples are denoised
a_better     a with the best learning rates, schedule and optimizer of short runs (`BETTER`)
glow_better  glow likewise

All models are trained on the same images in batches of 8, with the same noise (except `noise`), warm-up, averaging
and final decay (except `glow_better`). The learning rates are the paper's (except `a_better` and `glow_better`):
Table 2 for a to h, Table 5 for Glow. All models train for the same time, about 20 minutes on two cores, so their
numbers of steps differ (`STEPS`).

Four times in a run, 2,000 samples at sigma 0.8 are compared with the held-out images, with the features of the set's
attribute classifier.
"""

from typing import Any

from ml_collections import ConfigDict

from hcflow_jax.config import ConfigError, presets

SETS = {"portraits": "toon-head", "landscapes": "landscape"}
MODELS = (*"abcdefgh", "glow", "noise", "a_better", "glow_better")
ARGUMENTS = tuple(f"{images}_{model}" for images in SETS for model in MODELS)
TWINS = {"noise": "a", "glow_better": "glow"}  # the step takes as long: only noise, rates or schedule differ
RIVALS = tuple(model for model in MODELS if model != "a" and model not in TWINS)
STEPS: dict[str, int] = {
    "a": 3_600,
    "b": 3_540,
    "c": 3_580,
    "d": 3_880,
    "e": 3_940,
    "f": 3_060,
    "g": 3_580,
    "h": 3_400,
    "glow": 7_900,
    "noise": 3_600,
    "a_better": 2_876,
    "glow_better": 7_900,
}

# The paper's optimizer and learning rates for its model (Table 2). Those of Glow: Table 5, and OpenAI's optimizer.
OPTIMIZERS = {"hierarchy": "adam", "glow": "adamax"}
RATES = {"hierarchy": {"encoder": 5e-4, "decoder": 2e-3, "flows": 5e-3}, "glow": {"all": 5e-3}}

# The best trial of each model (benchmarks/study/recipes.py): the factor on all rates, and the fields that differ.
BETTER: dict[str, tuple[float, dict[str, Any]]] = {
    "a": (3.0, {"train.optimizer": "muon"}),
    "glow": (3.0, {"train.final_decay": 0.6}),
}


def recipe(family: str, factor: float, fields: dict[str, Any]) -> dict[str, Any]:
    """A recipe, as fields of the config: the paper's learning rates of a family times a factor, and other fields."""
    return {f"train.learning_rate.{group}": factor * rate for group, rate in RATES[family].items()} | fields


def get_config(name: str = "portraits_a") -> ConfigDict:
    """The config of a run of the study, one of `ARGUMENTS`."""
    if name not in ARGUMENTS:
        raise ConfigError(f"study.py:{name}: what follows the colon must be one of {', '.join(ARGUMENTS)}")
    images, _, model = name.partition("_")
    plain = model.removesuffix("_better")
    base = {"glow": "glow_small:demo", "noise": "demo"}.get(plain, f"ablation:demo_{plain}")
    config = presets.config(base)
    if model == "noise":
        config.data.noise_std, config.eval.denoise = 0.025, True

    config.data.style = SETS[images]
    config.data.train_images, config.data.eval_images = 20_000, 10_000

    train, steps = config.train, STEPS[model]
    train.learning_rate.update(RATES[config.model.family])
    train.optimizer = OPTIMIZERS[config.model.family]
    train.num_steps = steps
    train.images_per_epoch, train.decay_after = (
        3_000,
        1_000,
    )  # no decay by epochs: the rates fall only in the last part of a run
    train.freeze_epoch = 0
    train.final_decay = 0.35
    train.ema_decay = 0.99
    train.log_every = 20
    train.eval_every = train.measure_every = steps // 4
    train.sample_every = 0
    train.checkpoint_every = 200
    if model != plain:
        config.update_from_flattened_dict(recipe(config.model.family, *BETTER[plain]))

    evaluation = config.eval
    evaluation.images, evaluation.batch_size = 1_024, 64
    evaluation.metrics = "bits,fid,kid,prc"
    evaluation.extractor = SETS[images]
    evaluation.samples = 2_000
    config.sample.sigma = 0.8
    return config
