"""Several processes as one: found or refused in one line, agreed on when to end; and a batch in several runs."""

import os
import re
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import training_fakes as fakes

from hcflow_jax import data, devices
from hcflow_jax.config import ConfigError
from hcflow_jax.training import distributed, evaluate, loop, sharding
from hcflow_jax.training import state as states
from hcflow_jax.training import step as steps
from hcflow_jax.training.optimizer import Optimizer
from hcflow_jax.training.schedule import schedule
from hcflow_jax.training.termination import Interrupted, Termination

NO_TPU = {"TPU_SKIP_MDS_QUERY": "1"}
SLURM = {"SLURM_NTASKS": "4", "SLURM_STEP_NODELIST": "node[1-4]", **NO_TPU}


@pytest.mark.parametrize(
    ("environment", "found"),
    [
        (NO_TPU, None),
        (SLURM, "SLURM"),
        ({**SLURM, "SLURM_NTASKS": "1"}, None),
        ({"SLURM_NTASKS": "4", **NO_TPU}, None),  # the batch script itself, outside of srun
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1", "JOB_COMPLETION_INDEX": "0", **NO_TPU}, "Kubernetes"),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1", **NO_TPU}, None),
        ({}, "a TPU pod"),
        ({"JAX_PLATFORMS": "tpu,cpu"}, "a TPU pod"),
        ({"JAX_PLATFORMS": "cpu"}, None),
    ],
)
def test_a_cluster_is_found_where_it_is(environment, found, monkeypatch):
    monkeypatch.setattr(distributed, "find_spec", lambda name: name == "libtpu")
    assert distributed.cluster(environment) == found


@pytest.mark.parametrize(
    ("environment", "devices"),
    [
        ({"SLURM_STEP_TASKS_PER_NODE": "1(x4)"}, []),
        ({"SLURM_STEP_TASKS_PER_NODE": "8(x2)", "CUDA_VISIBLE_DEVICES": "0,1,2,3,4,5,6,7"}, None),
        ({"SLURM_STEP_TASKS_PER_NODE": "8(x2)", "CUDA_VISIBLE_DEVICES": "0"}, []),
        ({"SLURM_STEP_TASKS_PER_NODE": "8(x2)"}, None),
    ],
)
def test_the_devices_of_a_task(environment, devices):
    assert distributed._own_devices(environment) == devices


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((None, 2, None), "--coordinator_address and --process_id missing"),
        (("here", 2, 0), "--coordinator_address=here: expected HOST:PORT"),
        (("here:80", 0, 0), "--num_processes=0: expected at least 1"),
        (("here:80", 2, 2), "--process_id=2: expected 0 to 1"),
        (("here:80", 2, 1, 0), "--heartbeat_seconds=0: expected at least 1"),
    ],
)
def test_flags_that_cannot_be(flags, message):
    with pytest.raises(ConfigError, match=message) as error:
        distributed.start(*flags)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("found", "hint"), [(None, "--coordinator_address=here:80"), ("SLURM", "SLURM was found")])
def test_others_that_are_not_reached(monkeypatch, found, hint):
    def initialize(**how):
        assert how["initialization_timeout"] > distributed.CONNECT_SECONDS  # `waiting` ends the process before
        raise RuntimeError("DEADLINE_EXCEEDED:\n no answer")

    monkeypatch.setattr(jax.distributed, "initialize", initialize)
    monkeypatch.setattr(distributed, "cluster", lambda: found)
    with pytest.raises(ConfigError, match=rf"{hint}.*not reached.*waited for .* \(DEADLINE_EXCEEDED: no answer\)"):
        distributed.start(None if found else "here:80", None if found else 2, None if found else 0)
    assert not jax.config.jax_enable_preemption_service  # pyright: ignore
    jax.config.update("jax_enable_preemption_service", True)


def test_a_process_that_is_gone_is_told_from_other_errors(monkeypatch):
    broken = jax.errors.JaxRuntimeError("UNKNOWN: Gloo all-reduce failed:\n Connection closed by peer")
    assert distributed.lost(broken) is None  # of one process
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    said = distributed.lost(broken)
    assert said is not None and "is gone" in said and "(UNKNOWN: Gloo all-reduce failed: Connection" in said
    assert distributed.lost(jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")) is None


def test_a_laptop_is_left_alone(monkeypatch):
    monkeypatch.setattr(distributed, "cluster", lambda: None)
    monkeypatch.setattr(jax.distributed, "initialize", lambda **how: pytest.fail("initialised"))
    distributed.start(None, None, None)


@pytest.mark.situation("the processes of a run have different flags or different images")
def test_processes_with_other_flags_or_images_are_refused_by_all(monkeypatch, tmp_path):
    config = fakes.config(tmp_path / "images")
    images, held_out = data.open_source(config, "train"), data.open_source(config, "eval")
    distributed.check_same(config, images, held_out)  # one process asks nobody
    monkeypatch.setattr(jax, "process_count", lambda: 2)

    def check(config, images=images):
        distributed.check_same(config, images, held_out)

    first = []
    monkeypatch.setattr(devices, "exchange", lambda value: first.append(value) or [value, value])
    check(config)
    monkeypatch.setattr(devices, "exchange", lambda value: [first[0], value])
    elsewhere = config.copy_and_resolve_references()
    elsewhere.data.path = elsewhere.eval.weights = "/elsewhere"
    check(elsewhere)

    changed = config.copy_and_resolve_references()
    changed.train.batch_size, changed.train.init_from = 8, "portraits"
    (tmp_path / "images" / "00.png").unlink()
    with pytest.raises(ConfigError) as error:
        check(changed, data.open_source(config, "train"))
    digest = r" images with digest [0-9a-f]{16} in process "
    assert re.fullmatch(
        r"the processes of the run differ: train\.batch_size: 4 in process 0, 8 in process 1; "
        r"train\.init_from: not given in process 0, given in process 1; "
        rf"the training images \(data\.path\): 24{digest}0, 23{digest}1; give all .* the same flags and images",
        str(error.value),
    )


def test_a_run_compares_its_processes_before_any_work(monkeypatch, tmp_path):
    fakes.install(monkeypatch.setattr)

    def refuse(config, images, held_out):
        raise ConfigError(f"{config.train.num_steps} steps, {len(images)} and {len(held_out)} images")

    monkeypatch.setattr(distributed, "check_same", refuse)
    with pytest.raises(ConfigError, match="^6 steps, 24 and 4 images$"):
        loop.train(fakes.config(tmp_path / "images"), tmp_path / "run")
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_many_processes_are_named_in_few_words():
    assert devices.unequal([8, 8, 8]) is None
    assert devices.unequal([8, 16, 16]) == "8 in process 0, 16 in processes 1, 2"
    assert devices.unequal([None] + [1] * 20) == "None in process 0, 1 in processes 1, 2, 3, 4 and 16 more"


def test_votes_are_known_with_the_next_call(tmp_path):
    votes = distributed.Votes(sharding.make_mesh(fakes.config(tmp_path), 4))
    assert [votes(wish) for wish in (False, True, False, False)] == [False, False, True, False]


def test_a_wish_to_end_waits_for_the_vote():
    outcomes = iter([False, True, False])
    termination = Termination(lambda wish: next(outcomes) and wish)
    with termination.noticed():
        os.kill(os.getpid(), signal.SIGTERM)
    termination.check()
    assert not termination.requested
    items = termination.interrupts("abc")
    assert next(items) == "a" and not termination.requested
    with pytest.raises(Interrupted):
        next(items)
    termination.vote()
    assert termination.requested  # once agreed on it stays so


def test_a_signal_that_came_while_all_had_to_go_on_ends_them_then(capsys):
    termination = Termination(lambda wish: 0)  # the votes before
    evaluate._end_if_asked(termination)
    with termination.noticed():
        os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(SystemExit) as exit_:
        evaluate._end_if_asked(termination)
    assert exit_.value.code == 143
    assert capsys.readouterr().out == "SIGTERM: stopped after the evaluation; its results are written\n"


def test_the_mean_over_runs_is_that_of_the_whole():
    batch = jnp.asarray(np.random.default_rng(0).normal(size=(12, 3)), jnp.float32)

    def compute(first, run):
        places = first + jnp.arange(run.shape[0])
        return {"mean": jnp.mean(run, 0), "weighted": jnp.mean(run * places[:, None])}

    whole = compute(0, batch)
    for runs in (1, 3, 12):
        found = steps.mean_over_runs(compute, batch, runs)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), found, whole)


def test_accumulation_changes_nothing_but_rounding(monkeypatch, tmp_path):
    fakes.install(monkeypatch.setattr)
    found = {}
    images = jnp.asarray(np.random.default_rng(0).integers(0, 256, (16, 8, 8, 3), dtype=np.uint8))
    for count in (1, 4):
        config = fakes.config(tmp_path / "images", batch_size=16, accumulate=count)
        model, mesh = fakes.Model(), sharding.make_mesh(config, 4)
        optimizer = Optimizer.of(model, config)
        plan = schedule(config, 24)
        step = steps.make_train_step(model, optimizer, config, plan, mesh)
        numbers = steps.numbers_of(config, plan, mesh)
        state, metrics = step(states.create(model.create(jax.random.key(0)), optimizer), images, numbers)
        found[count] = {"params": state.params, "metrics": metrics}
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), found[1], found[4])


def test_micro_batches_that_are_no_whole_groups_are_refused(tmp_path):
    config = fakes.config(tmp_path / "images", batch_size=24)
    for count, nearest in ((4, 3), (5, 6), (7, 6)):
        config.train.accumulate = count
        with pytest.raises(ConfigError, match=rf"train\.accumulate={count} must divide 6: .* does is {nearest}$"):
            sharding.make_mesh(config, 4)
    config.train.accumulate = 3
    assert sharding.make_mesh(config, 4).size == 1
