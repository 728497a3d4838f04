"""Glow's configs: their sizes, which their headers state, and that a wrong one is refused in one line."""

import functools
import importlib
from typing import Any

import jax
import pytest
from glow_cases import least
from ml_collections import ConfigDict

from hcflow_jax import models
from hcflow_jax.config import ConfigError, presets


def load(name: str) -> ConfigDict:
    """The config of "NAME" or "NAME:ARGUMENT"."""
    file, _, argument = name.partition(":")
    return importlib.import_module(f"configs.{file}").get_config(*filter(None, [argument]))


@functools.cache
def size(name: str) -> int:
    """How many parameters learn; only shapes are made."""
    return sum(leaf.size for leaf in jax.tree.leaves(models.build(load(name)).shapes()))


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("glow_table5_church", 29_818_800),
        ("glow_equal_church", 74_104_752),
        ("glow_openai_celebahq", 169_791_204),
        ("glow_cifar10", 44_520_660),
        ("glow_small:demo", 1_476_144),
        ("glow_small:portraits", 2_179_440),
        ("glow_small:portraits64", 3_831_504),
    ],
)
def test_sizes(name: str, count: int) -> None:
    assert size(name) == count
    header = importlib.import_module(f"configs.{name.partition(':')[0]}").__doc__ or ""
    assert f"{count:,}" in header


CHURCH = 73_512_440  # of lsun_church_a, which test_configs counts


@pytest.mark.full
def test_equal_size_is_within_three_per_cent() -> None:
    assert size("glow_equal_church") == pytest.approx(CHURCH, rel=0.03)
    assert size("glow_small:demo") == pytest.approx(size("demo"), rel=0.03)
    assert size("glow_small:portraits") == pytest.approx(size("portraits"), rel=0.03)
    assert size("glow_small:portraits64") == pytest.approx(size("portraits64"), rel=0.03)


def test_table_5() -> None:
    for name in ("glow_table5_church", "glow_table5_bedroom"):
        config = load(name)
        model, train = config.model.to_dict(), config.train
        assert (model["levels"], model["steps"], model["hidden"]) == (5, 24, 256)
        assert (model["coupling"], model["variant"]) == ("additive", "pytorch")
        assert (train.optimizer, train.learning_rate.all, train.batch_size) == ("adamax", 5e-3, 16)
        assert (train.clip_norm, train.freeze_epoch) == (50, 0)
        assert (config.data.resolution, config.data.bits) == (128, 8)


def test_the_published_models_see_no_noise() -> None:
    for name in ("glow_openai_celebahq", "glow_cifar10"):
        config = load(name)
        assert config.data.noise_std == 0 and config.model.variant == "openai"


@pytest.mark.parametrize("like", ["demo", "portraits", "portraits64"])
def test_small_glow_sees_what_its_counterpart_sees(like: str) -> None:
    own, other = load(f"glow_small:{like}"), presets.config(like)
    assert own.data == other.data and own.eval == other.eval
    for name in ("num_steps", "batch_size", "images_per_epoch", "warmup_steps", "final_decay", "ema_decay"):
        assert own.train[name] == other.train[name]
    assert own.train.optimizer == "adamax"


def test_an_unknown_counterpart_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"glow_small\.py:scenes: .* must be one of demo, portraits, portraits64$"):
        load("glow_small:scenes")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("data.resolution", 10, "data.resolution must be a multiple of 2^model.levels = 4, not 10"),
        ("data.resolution", 0, "data.resolution must be a multiple of 2^model.levels = 4, not 0"),
        ("model.levels", 0, "model.levels must be a whole number above 0, not 0"),
        ("model.levels", 4, "data.resolution must be a multiple of 2^model.levels = 16, not 8"),
        ("model.steps", 0, "model.steps must be a whole number above 0, not 0"),
        ("model.hidden", -1, "model.hidden must be a whole number above 0, not -1"),
        ("model.coupling", "exp", "model.coupling must be one of additive, affine, not 'exp'"),
        ("model.mixing", "qr", "model.mixing must be one of full, lu, not 'qr'"),
        ("model.variant", "jax", "model.variant must be one of pytorch, openai, not 'jax'"),
    ],
)
def test_a_wrong_config_is_refused(path: str, value: Any, message: str) -> None:
    config = least()
    config.update_from_flattened_dict({path: value})
    with pytest.raises(ConfigError) as error:
        models.build(config)
    assert str(error.value) == message
