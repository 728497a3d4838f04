"""Planning: targets by name, the arithmetic of a run's cost, and changes of a config."""

import json
import re
from pathlib import Path

import least_config
import plan_results
import pytest

from hcflow_jax.config import ConfigError
from hcflow_jax.errors import InputError
from hcflow_jax.planning import changes, compiled, costs, roofline
from hcflow_jax.planning.targets import CHIPS, Target

H200 = Target("h200")


@pytest.mark.parametrize(
    ("given", "name", "size", "preset", "gigabytes_per_second"),
    [
        ("h200", "h200", 1, "gpu", 450),
        ("h200x8", "h200:8", 8, "gpu", 450),
        ("h200:8", "h200:8", 8, "gpu", 450),
        ("h200:16", "h200:2x8", 16, "gpu", 400),
        ("h200x2x8", "h200:2x8", 16, "gpu", 400),
        ("h100:3x4", "h100:3x4", 12, "gpu", 200),
        ("h100:5x1", "h100:5x1", 5, "gpu", 50),
        ("v5e:16x16", "v5e:16x16", 256, "tpu", 200),
        ("h200:1x64", "h200:1x64", 64, "gpu", 450),
        ("v4:2x2x2", "v4:2x2x2", 8, "tpu", 300),
    ],
)
def test_targets_by_name(given, name, size, preset, gigabytes_per_second):
    target = Target(given)
    assert (target.name, target.size, target.preset) == (name, size, preset)
    assert target.rate == 1e9 * gigabytes_per_second
    again = Target(target.name)
    assert (again.size, again.rate, again.name) == (size, target.rate, name)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("h300", "'h300' is not known; it must be one of h200, h100, v4, v5e, v5p, v6e, such as"),
        ("v9x:2x2", "is not known"),
        ("", "is not known"),
        ("v5e", "v5e needs a topology"),
        ("v5e:8", "v5e needs a topology"),
        ("h2008", "h200 needs a number of devices"),
        ("h200:two", "h200 needs a number of devices"),
        ("h200:0", "has no devices"),
        ("v4:0x4x1", "has no devices"),
        ("v5e:3x5", "v5e needs a topology: 1x1, 2x2, 2x4,"),
        ("v6e:64x64", "v6e needs a topology: 1x1, 2x2, 2x4,"),
        ("v4:2x2", "v4 needs a topology of three numbers, such as v4:2x2x1"),
        ("h200:12", "hosts have 8 GPUs; write HOSTSxGPUS"),
    ],
)
def test_an_unknown_target_is_named(given, message):
    with pytest.raises(InputError, match=re.escape(message)):
        Target(given)


def test_the_description_of_each_gpu_is_in_the_package():
    folder = Path(compiled.__file__).parent / "devices"
    assert sorted(path.stem for path in folder.glob("*.txtpb")) == sorted(roofline.GPUS) == ["h100", "h200"]


def test_the_cost_on_one_device():
    cost = costs.Cost(H200, plan_results.MADE, images=3_600_000, price=2.0)
    assert cost.memory == {"state": 400, "images": 600, "activations": 9_000}
    assert sum(cost.memory.values()) == cost.total == 10_000
    assert cost.usable == pytest.approx(0.92 * 141e9) and cost.fits
    assert cost.computing == pytest.approx(0.020) and cost.sending == 0 and cost.step == cost.computing
    assert cost.images_per_second == pytest.approx(400)
    assert cost.hours == pytest.approx(2.5) and cost.device_hours == pytest.approx(2.5)
    assert cost.total_price == pytest.approx(5.0)
    assert costs.Cost(H200, plan_results.MADE, images=1).total_price is None


def test_the_cost_on_eight_devices():
    cost = costs.Cost(Target("h200:8"), plan_results.several("h200:8", 8), images=3_600_000, price=2.0)
    assert cost.sent == 2 * 7 / 8 * 450e6
    assert cost.sending == pytest.approx(2 * 7 / 8 * 450e6 / 450e9)
    assert cost.step == pytest.approx(0.020 + 0.00175)
    assert cost.batch == 64 and cost.images_per_second == pytest.approx(64 / 0.02175)
    assert cost.device_hours == pytest.approx(8 * cost.hours)
    assert cost.hours == pytest.approx(3_600_000 * 0.02175 / 64 / 3600)
    assert cost.total_price == pytest.approx(2 * cost.device_hours)


def test_a_step_that_is_too_large_does_not_fit():
    usable = int(0.92 * CHIPS["h200"].memory)
    for more, fits in ((0, True), (1, False)):
        memory = {"arguments": 1_000, "temporaries": usable - 1_000 + more, "outputs": 0}
        assert costs.Cost(H200, plan_results.made(memory_bytes=memory), images=1).fits is fits


def test_a_cost_is_json_and_tells_where_it_is_from():
    cost = costs.Cost(Target("h200:2x8"), plan_results.several("h200:8", 8), images=1_000)
    plain = json.loads(json.dumps(costs.plain(cost), allow_nan=False))
    assert plain["step_ms"]["step"] == pytest.approx(plain["step_ms"]["computing"] + plain["step_ms"]["sending"])
    assert plain["target"] == "h200:2x8" and plain["compiled"]["target"] == "h200:8"
    assert plain["compiled"]["command"] == "a command" and plain["link_bytes_per_second"] == 400e9
    assert plain["memory_bytes"]["free"] == plain["memory_bytes"]["usable"] - 10_000


def test_fields_are_changed_by_text():
    config = least_config.get_config()
    given = [("model.levels.r16.hidden", "16"), ("train.clip_norm", "3"), ("data.flip", "false"), ("data.name", "5")]
    made = changes.apply(config, given)
    assert made.model.levels.r16.hidden == 16 and made.train.clip_norm == 3.0
    assert made.data.flip is False and made.data.name == "5"
    assert config.model.levels.r16.hidden == 8
    for path in ("train.size", "seed.x", "a.b.c"):
        with pytest.raises(ConfigError, match=f"--set {path}: the config has no such field"):
            changes.apply(config, [(path, "1")])
    with pytest.raises(ConfigError, match="--set train.num_steps=many: must be a whole number"):
        changes.apply(config, [("train.num_steps", "many")])
