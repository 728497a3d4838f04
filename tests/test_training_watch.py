"""What is watched: the numbers against NumPy's, the rows they leave, and traces of chosen steps."""

import json
import types

import jax
import jax.numpy as jnp
import least_config
import numpy as np
import pytest
import training_fakes as fakes

from hcflow_jax import layout, models
from hcflow_jax.config import ConfigError
from hcflow_jax.evaluation.flow_scales import flow_scales
from hcflow_jax.training import looks, loop, trace, watch


def prepared(matrices):
    return {
        "matrix": jnp.asarray(matrices, jnp.float32),
        "inverse": jnp.asarray(np.linalg.inv(matrices), jnp.float32),
    }


def test_scales_and_conditions_are_numpys():
    rng = np.random.default_rng(0)
    stacked, single = rng.normal(size=(3, 24, 24)), rng.normal(size=(24, 24))
    orthogonal = np.linalg.qr(rng.normal(size=(24, 24)))[0]
    flows = {
        "8": {
            "channel_0": {
                "actnorm": {"scale": jnp.asarray([[-2.0, 0.5], [1.0, 0.0]]), "bias": jnp.full((2, 2), 9.0)},
                "coupling": {"scale": {"w": jnp.full((4, 4), 7.0)}},  # a network's, not an actnorm's
                "mixing": prepared(stacked),
            },
            "end": {"mixing": prepared(single)},
        },
        "y1": {"mixing": prepared(orthogonal)},
        "prior": {},
    }
    found = jax.jit(flow_scales)(flows)
    assert found.keys() == {"scale_min/8", "scale_max/8", "condition/8", "condition/y1"}
    assert float(found["scale_min/8"]) == pytest.approx(np.exp(-2))
    assert float(found["scale_max/8"]) == pytest.approx(np.e)
    assert float(found["condition/8"]) == pytest.approx(max(np.linalg.cond([*stacked, single])), rel=0.03)
    assert float(found["condition/y1"]) == pytest.approx(1, rel=1e-4)


def test_a_nearly_singular_matrix_shows():
    u, v = (np.linalg.qr(np.random.default_rng(seed).normal(size=(64, 64)))[0] for seed in (1, 2))
    matrix = u @ np.diag(np.geomspace(1, 1e-5, 64)) @ v
    found = flow_scales({"8": {"mixing": prepared(matrix)}})
    assert float(found["condition/8"]) == pytest.approx(1e5, rel=0.03)


def test_every_level_of_a_model_is_seen():
    model = models.build(least_config.get_config())
    found = jax.eval_shape(lambda params: flow_scales(model.flow_params(model.prepare(params))), model.shapes())
    kinds = ("scale_min", "scale_max", "condition")
    assert found.keys() == {f"{kind}/{level}" for kind in kinds for level in model.level_names}
    assert {leaf.shape for leaf in found.values()} == {()}


def test_memory_is_the_fullest_devices(monkeypatch):
    assert watch.peak_memory() is None  # CPUs do not say
    stats: list[dict[str, int] | None] = [{"peak_bytes_in_use": 3}, {"peak_bytes_in_use": 7}, None]
    devices = [types.SimpleNamespace(memory_stats=lambda s=s: s) for s in stats]
    monkeypatch.setattr(jax, "local_devices", lambda: devices)
    assert watch.peak_memory() == 7


def rows(directory, kind):
    lines = (directory / layout.HISTORY).read_text().splitlines()
    return [row for row in map(json.loads, lines) if row["kind"] == kind]


def test_a_run_looks_at_its_flows_at_intervals_and_at_its_end(tmp_path, monkeypatch, capsys):
    fakes.install(monkeypatch.setattr)
    # The step's number, as it were: how far the mean of the flows has moved.
    monkeypatch.setattr(looks, "flow_scales", lambda by_level: {"condition/8": jnp.sum(by_level["8"]["b"])})
    config = fakes.config(tmp_path / "images", watch_every=2, num_steps=3, checkpoint_every=2)
    loop.train(config, tmp_path / "run")
    first, last = rows(tmp_path / "run", "watch")
    assert (first["step"], last["step"]) == (2, 3)
    assert first["condition/8"] != last["condition/8"]
    assert capsys.readouterr().out.count("compiling the look at the flows ...") == 1
    events = b"".join(file.read_bytes() for file in (tmp_path / "run" / layout.TENSORBOARD).iterdir())
    assert b"watch/condition/8" in events
    config.train.num_steps = 4
    loop.train(config, tmp_path / "run")
    assert [row["step"] for row in rows(tmp_path / "run", "watch")] == [2, 3, 4]


def test_a_run_may_not_look(tmp_path, monkeypatch, capsys):
    fakes.install(monkeypatch.setattr)
    monkeypatch.setattr(looks, "flow_scales", lambda by_level: {"condition/8": jnp.ones(())})
    loop.train(fakes.config(tmp_path / "images", watch_every=0, num_steps=2), tmp_path / "run")
    assert not rows(tmp_path / "run", "watch")
    assert "look at the flows" not in capsys.readouterr().out


def test_chosen_steps_are_traced(tmp_path, monkeypatch, capsys):
    fakes.install(monkeypatch.setattr)
    config = fakes.config(tmp_path / "images", num_steps=4)
    traces, seen, call = [], [], loop.Programs.__call__

    class Kept(trace.Trace):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            traces.append(self)

    def dispatched(self, name, jitted, *args, once=False):
        if name == "the training step":
            seen.append(traces[0]._running)
        return call(self, name, jitted, *args, once=once)

    monkeypatch.setattr(loop, "Trace", Kept)
    monkeypatch.setattr(loop.Programs, "__call__", dispatched)
    loop.train(config, tmp_path / "run", profile=(2, 3))
    assert seen == [False, True, True, False]
    (written,) = (tmp_path / "run" / layout.PROFILE).rglob("*.xplane.pb")
    assert b"train" in written.read_bytes()
    assert capsys.readouterr().out.splitlines().count(f"profile: {tmp_path / 'run' / 'profile'}") == 1


def test_a_trace_that_the_run_cuts_short_is_written(tmp_path):
    cut = trace.Trace((1, 9), tmp_path, start=0, num_steps=9)
    with cut.step(1):
        pass
    cut.after(1, {})
    cut.stop()
    cut.stop()  # nothing more
    assert list((tmp_path / layout.PROFILE).rglob("*.xplane.pb"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("4", "expected FIRST:LAST"),
        ("0:2", "expected FIRST:LAST"),
        ("4:3", "expected FIRST:LAST"),
        ("9:11", "the run ends at step 10, train.num_steps"),
        ("4:6", "the run continues from step 4; name steps after it"),
    ],
)
def test_steps_that_cannot_be_traced_are_refused(tmp_path, text, message):
    with pytest.raises(ConfigError, match=f"--profile={text}: {message}"):
        trace.Trace(trace.parse_steps(text), tmp_path, start=4, num_steps=10)
