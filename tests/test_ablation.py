"""The ablations of Section 3.2: what each changes, and that all are as large as the base."""

import functools
import math
from typing import Any

import jax
import pytest
from ml_collections import ConfigDict

from hcflow_jax import config as schema
from hcflow_jax import models
from hcflow_jax.config import ConfigError, presets
from hcflow_jax.models.hierarchy.build import level_rows

PRESET = presets.load("ablation")
BASES = {"celebahq": "celebahq_a", "demo": "demo"}


def variant(base: str, letter: str) -> ConfigDict:
    return presets.config(f"ablation:{base}_{letter}")


@functools.cache
def count(name: str) -> int:
    """What learns; only shapes are made."""
    shapes = models.build(presets.config(f"ablation:{name}")).shapes()
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))


def widths(config: ConfigDict) -> Any:
    """The model's fields that do not change what parameters there are, left out."""
    model = config.model.to_dict()
    for part in (*model["levels"].values(), model["top"]["prior"], model["top"]["y1"]):
        del part["flow_noise"], part["decoder_noise"]
    del model["stop_gradient"], model["loss"]
    return model


def test_there_are_eight_for_each_base() -> None:
    expected = {f"ablation:{base}_{letter}" for base in BASES for letter in "abcdefgh"}
    assert set(presets.variants("ablation")) == expected and presets.variants("demo") == ("demo",)
    assert presets.config("ablation") == presets.config("demo")


@pytest.mark.parametrize("base", BASES)
def test_a_is_the_base_and_all_but_the_model_stay(base: str) -> None:
    config = presets.config(BASES[base])
    assert variant(base, "a") == config
    for letter in "bcdefgh":
        other = variant(base, letter)
        assert other.is_locked and other != config
        for group in ("data", "train", "eval", "sample", "execution", "seed"):
            assert other[group] == config[group]


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("letter", "bcgh")
def test_four_have_the_parameters_of_the_base(base: str, letter: str) -> None:
    config = variant(base, letter)
    assert widths(config) == widths(variant(base, "a"))
    models.build(config)


@pytest.mark.slow
@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("letter", "def")
def test_the_others_have_as_many_within_3_percent(base: str, letter: str) -> None:
    """The header gives their numbers, too."""
    own, wanted = count(f"{base}_{letter}"), count(f"{base}_a")
    assert own != wanted and abs(own - wanted) <= 0.03 * wanted
    (row,) = (line for line in (PRESET.__doc__ or "").splitlines() if line.startswith(f"{base}_ "))
    assert row.split()[1:][" def".index(letter)] == f"{own:,}" and row.split()[1] == f"{wanted:,}"


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize(("letter", "alpha"), [("b", 0.0), ("c", 0.4)])
def test_noise_is_the_same_everywhere_but_at_the_finest_level(base: str, letter: str, alpha: float) -> None:
    model: Any = models.build(variant(base, letter))
    assert model.likelihood == ("bound" if alpha else "undefined")
    *noisy, finest = model.levels
    assert {(level.flow_noise, level.decoder_noise) for level in noisy} == {(alpha, alpha)}
    assert (finest.flow_noise, finest.decoder_noise) == (0, 0)


@pytest.mark.parametrize("base", BASES)
def test_the_structures(base: str) -> None:
    rows = {letter: level_rows(variant(base, letter)) for letter in "adef"}
    for resolution, row in rows["a"].items():
        plain = rows["d"][resolution]
        assert set(plain.steps) == {"channel"} and len(plain.steps) == len(row.steps) and not plain.end_unets
        long = rows["f"][resolution]
        assert long.steps[::2] == long.steps[1::2] == row.steps and long.hidden < row.hidden
    assert list(rows["e"]) == ([32, 16, 8] if base == "demo" else [256, 128, 64, 32, 16, 8])
    top, longer = variant(base, "a").model.top, variant(base, "f").model.top
    assert (longer.prior.steps, longer.y1.steps) == (2 * top.prior.steps, 2 * top.y1.steps)


@pytest.mark.parametrize("base", BASES)
def test_the_losses(base: str) -> None:
    found = {letter: variant(base, letter).model for letter in "agh"}
    assert {n: (m.stop_gradient, m.loss) for n, m in found.items()} == {
        "a": (True, "weighted"),
        "g": (False, "weighted"),
        "h": (False, "bound"),
    }
    assert (schema.default().model.stop_gradient, schema.default().model.loss) == (True, "weighted")


def test_another_letter_is_refused() -> None:
    with pytest.raises(ConfigError, match="ablation.py:demo_i: what follows the colon must be one of celebahq_a, "):
        presets.config("ablation:demo_i")
