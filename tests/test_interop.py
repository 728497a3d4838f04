"""The authors' parameters and settings, in and out: nothing is lost, and what does not fit is named."""

import copy
import types
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest
from golden_data import group, load, settings
from ml_collections import ConfigDict

from hcflow_jax import models
from hcflow_jax.config import ConfigError
from hcflow_jax.interop import arrays
from hcflow_jax.interop import settings as release
from hcflow_jax.interop.names import Names
from hcflow_jax.models.hierarchy import build

FLAT = group(load("tiny_a/params"), "param/")
DEAD_BIASES = {
    f"blocks.{block}.learned_upscaler.components.{component}.conv_d_pred_{i}.b"
    for block, component in ((0, 0), (1, 1))
    for i in (2, 3)
}


class _Shapes:
    """In a model's place: its shapes, traced once for all tests."""

    def __init__(self, config: ConfigDict) -> None:
        self._shapes = models.build(config).shapes()

    def shapes(self) -> Any:
        return self._shapes


@pytest.fixture(scope="module")
def config() -> ConfigDict:
    return release.to_config(settings())


@pytest.fixture(scope="module")
def shapes(config: ConfigDict) -> _Shapes:
    return _Shapes(config)


@pytest.fixture
def from_torch(config: ConfigDict, shapes: _Shapes, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """arrays.from_torch for tiny_a."""
    monkeypatch.setattr(arrays, "models", types.SimpleNamespace(build=lambda _: shapes))
    return lambda flat: arrays.from_torch(flat, config)


def _with(**changes: Any) -> dict[str, np.ndarray]:
    return {**FLAT, **changes}


def _without(name: str) -> dict[str, np.ndarray]:
    return {key: value for key, value in FLAT.items() if key != name}


# Parameters


def test_there_and_back(from_torch: Callable[..., Any], config: ConfigDict) -> None:
    tree = from_torch(FLAT)
    back = arrays.to_torch(tree, config)
    assert set(FLAT) - set(back) == DEAD_BIASES and not set(back) - set(FLAT)
    for name, value in back.items():
        assert value.dtype == np.float32
        np.testing.assert_array_equal(value, FLAT[name], name)
    assert all(Names(config).without_effect(name) for name in DEAD_BIASES)
    assert not any(Names(config).without_effect(name) for name in back)


@pytest.mark.parametrize(
    "name",
    [
        "global_state.fc1.w",
        "blocks.1.blocks.steps.3.coupling.up_b.0.b",
        "endblock_unified.endblock_uncond.steps.2.invconv._U",
        "endblock_split_conv.w",
    ],
)
def test_a_missing_name_is_named(name: str, from_torch: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match="has no") as error:
        from_torch(_without(name))
    assert name in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["blocks.0.blocks.steps.4.actnorm.an_bias", "blocks.3.skip_to_next.w", "more"])
def test_an_unknown_name_is_named(name: str, from_torch: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match="1 unknown") as error:
        from_torch(_with(**{name: np.zeros(3, np.float32)}))
    assert repr(name) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("global_state.fc1.w", (24, 33)),
        ("blocks.0.blocks.steps.2.actnorm.an_scale", (1, 4, 1, 1)),
        ("blocks.2.blocks.steps.0.coupling.conv_1.w", (12, 6, 1, 1)),
        ("endblock_autoencoder.components.0.conv_d_const", (1, 32, 8, 8)),
        ("endblock_autoencoder.components.0.conv_d_const", ()),
        ("endblock_autoencoder.components.0.conv_d_const", (32, 4)),
        ("blocks.0.blocks.steps.0.invconv.K", (4, 4)),
    ],
)
def test_a_wrong_shape_is_named(name: str, shape: tuple[int, ...], from_torch: Callable[..., Any]) -> None:
    assert FLAT[name].shape != shape
    with pytest.raises(ValueError, match="shape") as error:
        from_torch(_with(**{name: np.zeros(shape, np.float32)}))
    assert name in str(error.value) and str(shape) in str(error.value) and "\n" not in str(error.value)


def test_masks_and_kernels_may_be_there(from_torch: Callable[..., Any]) -> None:
    extra = (
        "blocks.0.blocks.steps.0.coupling.mask_in",
        "blocks.0.blocks.steps.0.coupling.mask_out",
        "endblock_unified.conditionals.0.steps.1.coupling.mask_in",
        "_mask_for_base",
        "_mask_for_style",
        "blocks.0.learned_upscaler.components.0.interp_K_up",
        "interp_K",
    )
    tree = from_torch(_with(**{name: np.ones((1, 2)) for name in extra}))
    jax.tree.map(np.testing.assert_array_equal, tree, from_torch(FLAT))


def _second() -> dict[str, Any]:
    """Another structure: no 4x level, three runs of steps, a unitary level, all of the base masked."""
    made = copy.deepcopy(settings())
    made["GENERAL"]["RESIZE_DATA_TO"] = 32
    made["MODEL_PARAMETERS"].update(
        RESOLUTIONS=[32, 16, 8],
        CHANNELS=[3, 5, 6],
        ENCODER_CHANNELS=[6, 7, 8],
        DECODER_CHANNELS=[9, 10, 11],
        RNVP_CHANNELS=[4, 6, 8],
        NUM_LAYERS=[4, 6, 2],
        FLOW_SPLIT_TYPES=["lblocks-blocks", "channels-blocks-channels", "channels"],
        POOLING_TYPE=["blocks_only_reduced", "blocks_only_reduced_double", "blocks_only_reduced"],
        UNET_N_DOWNSCALES=[2, 1, 1],
        USE_UNITARY_PERMUTE=[False, True, False],
    )
    made["MODEL_PARAMETERS"]["ENDBLOCK_SETTINGS"]["MASK_FOR_BASE_IND"] = [0, 32]
    return made


def test_another_structure(monkeypatch: pytest.MonkeyPatch) -> None:
    config = release.to_config(_second())
    shapes = _Shapes(config)
    monkeypatch.setattr(arrays, "models", types.SimpleNamespace(build=lambda _: shapes))
    rng = np.random.default_rng(0)
    tree = jax.tree.map(lambda s: rng.normal(size=s.shape).astype(np.float32), shapes.shapes())
    runs = {name for name in tree["flows"]["16"] if name not in ("start", "end")}
    assert runs == {"channel_0", "checker_1", "channel_2"}

    names = Names(config)
    theirs: list[str] = []
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        made = names.theirs(tuple(str(key.key) for key in path))
        assert len(made) == (leaf.shape[0] if str(path[0].key) == "flows" else 1)
        theirs += made
    assert len(set(theirs)) == len(theirs)
    assert "blocks.1.blocks.steps.5.invconv._U" in theirs and "endblock_split_conv.b" in theirs

    dead = "endblock_split_conv.w"
    assert dead not in theirs and names.without_effect(dead)
    flat = arrays.to_torch(tree, config)
    assert set(flat) == set(theirs)
    back = arrays.from_torch({**flat, dead: np.ones((32, 32, 1, 1))}, config)
    jax.tree.map(np.testing.assert_array_equal, back, tree)


# Settings


def test_settings_that_are_read() -> None:
    config = release.to_config(settings())
    rows = build.level_rows(config)
    assert list(rows) == [64, 32, 8] and config.data.resolution == 64
    assert rows[64].steps == ("channel",) * 2 + ("checker2",) * 2
    assert rows[32].steps == ("channel",) * 2 + ("checker2",) * 2 + ("checker4",) * 2 + ("checker8",) * 2
    assert [row.unet_halvings for row in rows.values()] == [2, 1, 1]
    assert [row.end_unets for row in rows.values()] == [False, True, False]
    assert [row.style for row in rows.values()] == [row.norm for row in rows.values()] == [False, False, True]
    assert [row.skip for row in rows.values()] == [0, 2, 5]
    assert [row.flow_noise for row in rows.values()] == [0.0, 0.4, 0.05]
    assert [row.prior_std for row in rows.values()] == [1.0, 0.9, 1.1]
    top = config.model.top
    assert (top.dims, top.style_width, top.base_masked, top.style_masked) == (32, 24, (0, 20), (0, 4))
    assert (top.prior.flow_noise, top.y1.flow_noise) == (0.05, 0.08)
    np.testing.assert_allclose((top.prior.decoder_noise, top.y1.decoder_noise), (0.075, 0.12))
    assert (top.prior.weight, top.y1.weight) == (1 / 4, 1 / 28)
    assert config.train.batch_size == 16 and config.model.statistics_group == 4


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("MODEL_PARAMETERS", "POOLING_TYPE", 0), "fourier"),
        (("MODEL_PARAMETERS", "FLOW_SPLIT_TYPES", 0), "stripes-channels"),
        (("MODEL_PARAMETERS", "NUM_LAYERS", 1), 7),
        (("MODEL_PARAMETERS", "ENCODER_DECODER_KERNELS", 2), 5),
        (("MODEL_PARAMETERS", "RNVP_KERNEL_SIZES", 0), 1),
        (("MODEL_PARAMETERS", "ENDBLOCK_SETTINGS", "ENDRES"), 4),
        (("MODEL_PARAMETERS", "ENDBLOCK_SETTINGS", "AUTOENCODER_CHANNELS"), 48),
        (("MODEL_PARAMETERS", "ENDBLOCK_SETTINGS", "GLOBAL_STATE_HIDDEN_CHANNELS"), 48),
    ],
    ids=lambda value: str(value[-1] if isinstance(value[-1], str) else value[-2]) if isinstance(value, tuple) else "",
)
def test_unsupported_settings_are_named(path: tuple[Any, ...], value: Any) -> None:
    made = copy.deepcopy(settings())
    holder: Any = made
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = value
    with pytest.raises(ConfigError) as error:
        release.to_config(made)
    setting = next(key for key in reversed(path) if isinstance(key, str))
    assert setting in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["RESOLUTIONS", "SKIPS_CHANNELS", "ENDBLOCK_SETTINGS"])
def test_a_missing_setting_is_named(name: str) -> None:
    made = copy.deepcopy(settings())
    del made["MODEL_PARAMETERS"][name]
    with pytest.raises(ConfigError, match=name):
        release.to_config(made)
