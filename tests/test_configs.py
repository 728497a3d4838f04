"""The configs: what each builds, the paper's numbers, and that a wrong one is refused in one line."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import pytest
from ml_collections import ConfigDict

from hcflow_jax import config as schema
from hcflow_jax import models
from hcflow_jax.config import ConfigError
from hcflow_jax.models.execution import PRESETS
from hcflow_jax.models.glow import Glow
from hcflow_jax.models.hierarchy import Hierarchy, build
from hcflow_jax.models.hierarchy.rate_groups import RATE_GROUPS
from hcflow_jax.training.groups import count_by_group

FILES = sorted(
    path.stem for path in (Path(__file__).resolve().parents[1] / "configs").glob("*.py") if path.stem != "__init__"
)


def load(name: str) -> ConfigDict:
    return importlib.import_module(f"configs.{name}").get_config()


def test_all_configs_are_found() -> None:
    assert {"celebahq_a", "demo", "lsun_church_a"} <= set(FILES)


@pytest.mark.parametrize("name", FILES)
def test_every_config_builds(name: str) -> None:
    config = load(name)
    assert config.is_locked
    model = models.build(config)
    assert isinstance(model, Glow if name.startswith("glow") else Hierarchy)
    assert model.image_shape == (config.data.resolution, config.data.resolution, 3)
    assert model.likelihood == ("exact" if isinstance(model, Glow) else "bound")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("celebahq_a", dict(encoder=10_425_236, decoder=37_942_210, flows=28_751_266)),
        ("lsun_church_a", dict(encoder=9_179_284, decoder=35_581_890, flows=28_751_266)),
        ("cifar10", dict(encoder=6_022_024, decoder=8_041_022, flows=28_850_800)),
        ("imagenet32", dict(encoder=7_747_592, decoder=20_542_654, flows=36_721_592)),
        ("imagenet64", dict(encoder=8_203_788, decoder=33_702_694, flows=45_137_132)),
    ],
)
def test_parameter_counts(name: str, counts: dict[str, int]) -> None:
    """Section 6 of the model: what learns, by learning-rate group; only shapes are made."""
    made = count_by_group(build.build(load(name)).shapes(), RATE_GROUPS)
    assert made == counts
    total = sum(made.values())
    papers = {"celebahq_a": 77_118_712, "lsun_church_a": 73_512_440}
    assert total == papers.get(name, total)
    module = importlib.import_module(f"configs.{name}")
    assert f"{total:,} learnable parameters" in (module.__doc__ or "")


def test_latent_sizes() -> None:
    model = build.build(load("celebahq_a"))
    sizes = {level.name: level.dims for level in model.levels}
    assert sizes == {"prior": 4, "y1": 508, "8": 512, "32": 8_192, "128": 65_536, "256": 196_608}
    assert model.latent_size == 271_360


def test_configuration_a_is_the_papers() -> None:
    model = build.build(load("celebahq_a"))
    weights = {level.name: level.weight for level in model.levels}
    assert weights["256"] == 1 / (256 * 256 * 3) and weights["8"] == weights["y1"] == weights["prior"] == 1 / 512
    assert weights["128"] == 10 / (128 * 128 * 4) and weights["32"] == 10 / (32 * 32 * 8)
    flow = {level.name: level.flow_noise for level in model.levels}
    assert flow == {"prior": 0.05, "y1": 0.05, "8": 0.05, "32": 0.05, "128": 0.4, "256": 0.0}
    decoder = {level.name: level.decoder_noise for level in model.levels}
    assert decoder == {"prior": 0.075, "y1": 0.075, "8": 0.05, "32": 0.05, "128": 0.4, "256": 0.0}
    assert model.statistics_group == 4
    assert build.build(load("lsun_church_a")).statistics_group == 8


def test_demo_has_every_part_of_configuration_a() -> None:
    """So that what the demo shows is what configuration A runs."""

    def parts(config: ConfigDict) -> dict[str, Any]:
        rows = build.level_rows(config)
        resolutions = list(rows)
        return dict(
            ratios={fine // coarse for fine, coarse in zip(resolutions, resolutions[1:], strict=False)} & {4},
            splits={split for row in rows.values() for split in row.steps},
            end_unets=any(row.end_unets for row in rows.values()),
            at_8=(rows[8].style, rows[8].norm, set(rows[8].steps), rows[8].skip > 0),
            noisy=all(rows[r].flow_noise > 0 and rows[r].decoder_noise > 0 for r in resolutions[1:]),
            masked=config.model.top.base_masked == (0, config.model.top.dims),
            styled=config.model.top.style_masked == (0, config.model.top.prior.dims),
            orthogonal=config.model.top.orthogonal,
            conditional=config.model.top.y1.condition > 0,
            several_scales=max(row.unet_scales for row in rows.values() if "checker2" in row.steps) > 1,
        )

    assert parts(load("demo")) == parts(load("celebahq_a"))
    count = sum(count_by_group(build.build(load("demo")).shapes(), RATE_GROUPS).values())
    assert abs(count - 1.49e6) < 0.01e6


PAPER = {"encoder": 5e-4, "decoder": 2e-3, "flows": 5e-3}  # Table 2
LSUN = {"encoder": 3e-4, "decoder": 1e-3, "flows": 3e-3}


@pytest.mark.parametrize(
    ("name", "rates"),
    [
        ("celebahq_a", PAPER),
        ("celebahq_a_5bit", PAPER),
        ("ffhq_a", PAPER),
        ("lsun_church_a", LSUN),
        ("lsun_bedroom_a", LSUN),
        ("portraits", PAPER),
        ("scenes", PAPER),
        ("cifar10", PAPER),
        ("imagenet32", PAPER),
        ("imagenet64", PAPER),
        ("demo", {group: 3 * rate for group, rate in PAPER.items()}),
    ],
)
def test_only_the_demo_departs_from_the_papers_rates(name, rates):
    assert load(name).train.learning_rate.to_dict() == pytest.approx(rates)


# Wrong configs


def _set(path: str, value: Any) -> Callable[[ConfigDict], None]:
    def change(config: ConfigDict) -> None:
        *holders, last = path.split(".")
        holder = config
        for name in holders:
            holder = holder[name]
        holder[last] = value

    return change


def _retyped(path: str, value: Any) -> Callable[[ConfigDict], None]:
    """As `_set`, for a value of another type."""

    def change(config: ConfigDict) -> None:
        with config.ignore_type():
            _set(path, value)(config)

    return change


def _levels(**rows: str) -> Callable[[ConfigDict], None]:
    """Levels of the demo, under other names: r64="r32" is the demo's row of 32 pixels at 64."""

    def change(config: ConfigDict) -> None:
        config.model.levels = ConfigDict({name: config.model.levels[row] for name, row in rows.items()})

    return change


def _resized(resolution: int, **rows: str) -> Callable[[ConfigDict], None]:
    def change(config: ConfigDict) -> None:
        _levels(**rows)(config)
        config.data.resolution = resolution

    return change


def _no_noise_but_a_bound(config: ConfigDict) -> None:
    config.model.levels.r8.flow_noise, config.model.loss = 0.0, "bound"


WRONG = {
    "ratio": (_resized(64, r64="r32", r8="r8"), "model.levels", "2 or 4"),
    "lowest": (_resized(32, r32="r32", r16="r8"), "model.levels", "8 pixels"),
    "no number": (_set("train.clip_norm", None), "train.clip_norm", "above 0"),
    "no pair": (_retyped("model.top.style_masked", (5,)), "model.top.style_masked", "a range [a, b) within"),
    "no numbers": (_retyped("model.top.base_masked", ("",)), "model.top.base_masked", "a range [a, b) within"),
    "no group": (_retyped("train.learning_rate", 0.1), "train.learning_rate", "a group of fields"),
    "no levels": (_levels(), "model.levels", "have a level"),
    "level's name": (_levels(r32="r32", coarse="r8"), "model.levels", "r<resolution>"),
    "squares": (_set("model.levels.r8.steps", ("checker8",)), "model.levels.r8.steps", "divide 8 pixels"),
    "scales": (_set("model.levels.r32.unet_scales", 5), "model.levels.r32.unet_scales", "2 pixels of 32"),
    "split": (_set("model.levels.r8.steps", ("stripes",)), "model.levels.r8.steps", "checker2"),
    "no steps": (_set("model.levels.r8.steps", ()), "model.levels.r8.steps", "one step"),
    "one channel": (_set("model.levels.r8.channels", 1), "model.levels.r8.channels", "at least 2"),
    "image channels": (_set("model.levels.r32.channels", 4), "model.levels.r32.channels", "be 3"),
    "odd width": (_set("model.levels.r32.hidden", 25), "model.levels.r32.hidden", "even"),
    "odd top width": (_set("model.top.y1.hidden", 63), "model.top.y1.hidden", "even"),
    "no width": (_set("model.levels.r32.decoder", 0), "model.levels.r32.decoder", "above 0"),
    "negative noise": (_set("model.levels.r8.flow_noise", -0.1), "model.levels.r8.flow_noise", "0 or more"),
    "no spread": (_set("model.levels.r8.prior_std", 0.0), "model.levels.r8.prior_std", "above 0"),
    "prior dims": (_set("model.top.prior.dims", 63), "model.top.prior.dims", "be 2 to 62"),
    "mask": (_set("model.top.base_masked", (0, 65)), "model.top.base_masked", "within 64"),
    "resolution": (_set("data.resolution", 64), "data.resolution", "finest level, 32"),
    "bits": (_set("data.bits", 9), "data.bits", "1 to 8"),
    "moment": (_set("train.adam_b1", 1.0), "train.adam_b1", "in [0, 1)"),
    "epsilon": (_set("train.adam_eps", 0.0), "train.adam_eps", "above 0"),
    "group": (_set("model.statistics_group", 1), "model.statistics_group", "2 or more"),
    "loss": (_set("model.loss", "elbo"), "model.loss", "weighted, bound"),
    "a bound without noise": (_no_noise_but_a_bound, "model.loss", "if model.levels.r8.flow_noise is 0"),
    "batch": (_set("train.batch_size", 18), "train.batch_size", "model.statistics_group=4"),
    "init images": (_set("train.init_images", 30), "train.init_images", "model.statistics_group=4"),
    "eval batch": (_set("eval.batch_size", 2), "eval.batch_size", "model.statistics_group=4"),
    "dtype": (_set("execution.dtype", "float16"), "execution.dtype", "bfloat16"),
    "loop": (_set("execution.loop", "while"), "execution.loop", "unroll"),
    "preset": (_set("execution.preset", "npu"), "execution.preset", "tpu"),
    "conv": (_set("execution.conv", "winograd"), "execution.conv", "shifted"),
    "backward": (_set("execution.backward", "checkpoint"), "execution.backward", "store, recompute, reversible"),
    "rate": (_set("train.learning_rate.flows", float("nan")), "train.learning_rate.flows", "0 or more"),
    "decay": (_set("train.decay.encoder", 1.1), "train.decay.encoder", "(0, 1]"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_config_is_refused(name: str) -> None:
    change, field, must = WRONG[name]
    config = load("demo")
    models.build(config)
    change(config)
    with pytest.raises(ConfigError) as error:
        models.build(config)
    message = str(error.value)
    assert message.startswith(f"{field} must ") and must in message and "\n" not in message


def test_a_misspelt_field_of_a_level_is_refused() -> None:
    with pytest.raises(ConfigError, match="'end_unet'.*end_unets"):
        schema.level(channels=3, steps=("channel",), hidden=4, condition=4, encoder=4, decoder=4, end_unet=True)


@pytest.mark.parametrize("path", ["train.batchsize", "model.levels.r8.channel", "model.tops", "execution.x"])
def test_a_misspelt_field_is_refused_where_it_is_written(path: str) -> None:
    with pytest.raises((AttributeError, KeyError), match=path.split(".")[-1]):
        _set(path, 1)(load("demo"))


def test_a_value_of_another_type_is_refused_where_it_is_written() -> None:
    with pytest.raises(TypeError):
        load("demo").train.batch_size = "16"


def test_execution_follows_the_backend_unless_said() -> None:
    execution = schema.default().execution
    assert build.resolve_execution(execution) == build.PRESETS[jax.default_backend()]
    execution.preset, execution.loop = "tpu", "unroll"
    chosen = build.resolve_execution(execution)
    assert chosen == {**build.PRESETS["tpu"], "loop": "unroll"}


def test_the_encoder_may_have_a_precision_of_its_own() -> None:
    config = load("demo")
    config.execution.dtype = "bfloat16"
    assert build.build(config).encoder.execution.dtype == "bfloat16"
    config.execution.encoder_dtype = "float32"
    model = build.build(config)
    assert (model.encoder.execution.dtype, model.style.execution.dtype) == ("float32", "bfloat16")


def test_each_backend_computes_in_the_way_that_was_found_best():
    found = {backend: (preset["conv"], preset["update"]) for backend, preset in PRESETS.items()}
    assert found == {"cpu": ("shifted", "vectors"), "gpu": ("paired", "vectors"), "tpu": ("xla", "tensors")}
