"""The work of a run at intervals: what would end it is found before the first step, and old sheets do not count."""

import types

import numpy as np
import pytest
import training_fakes as fakes

from hcflow_jax import checkpoint
from hcflow_jax.errors import InputError
from hcflow_jax.evaluation import extractors
from hcflow_jax.training import looks, loop, samples, sharding
from hcflow_jax.training.metrics import Clock, Reporter
from hcflow_jax.training.programs import Programs
from hcflow_jax.training.termination import Termination

SHEET = np.zeros((8, 8, 3), np.uint8)


def config_of(folder, **train):
    config = fakes.config(folder / "images", eval_every=0, watch_every=0, **train)
    config.eval.metrics = "bits,fid"
    return config


def looks_of(config, folder):
    """The looks of a run in a folder. Nothing is compiled."""
    model, clock = fakes.Model(), Clock()
    compiling = model, sharding.make_mesh(config, 4), Programs(clock), clock
    return looks.Looks(config, folder, *compiling, Termination(), None, lambda tree: tree)  # pyright: ignore


def test_missing_weights_of_the_extractor_are_found_before_the_first_step(tmp_path):
    config = config_of(tmp_path)
    config.eval.weights, config.eval.extractor = str(tmp_path / "no.pt"), "inception"
    looks_of(config, tmp_path)  # it does not measure
    config.train.measure_every = 1000
    with pytest.raises(InputError, match=r"no\.pt"):
        looks_of(config, tmp_path)
    config.eval.metrics = "bits,exactness"
    looks_of(config, tmp_path)  # these need no extractor


def test_a_look_that_fails_ends_the_run_saved(tmp_path, monkeypatch, capsys):
    fakes.install(monkeypatch.setattr)
    monkeypatch.setattr(extractors, "load", lambda name, weights: None)

    def fail(*_):
        raise InputError("eval.samples: too many")

    monkeypatch.setattr(looks.measuring.Measuring, "__call__", fail)
    with pytest.raises(InputError, match="too many"):
        loop.train(config_of(tmp_path, measure_every=2, checkpoint_every=1000), tmp_path / "run")
    assert checkpoint.load(tmp_path / "run").step == 2
    assert capsys.readouterr().out.splitlines()[-1] == "saved step 2; the same command resumes there"


@pytest.fixture
def drawn(monkeypatch):
    """The names of the sheets that are drawn."""
    names: list[str] = []

    def sheet(self, params, path):
        names.append(path.name)
        return SHEET

    monkeypatch.setattr(samples.Sampler, "sheet", sheet)
    monkeypatch.setattr(looks.HeldOut, "prepare", lambda self, params: params)
    return names


def test_a_sheet_counts_only_at_the_step_where_the_run_resumes(tmp_path, drawn):
    look = looks_of(config_of(tmp_path, sample_every=1, num_steps=9), tmp_path)
    (tmp_path / "samples").mkdir()
    for step in (2, 3):  # from a process that was killed after step 3 and has saved step 2
        samples.sheet_path(tmp_path, step).write_bytes(b"old")
    report = Reporter(tmp_path, 2, num_steps=9, batch_size=4, clock=Clock())
    for step in (2, 3, 4):
        look(step, types.SimpleNamespace(ema={}), report)  # pyright: ignore[reportArgumentType]
    report.close()
    assert drawn == ["step_000003.png", "step_000004.png"]


def test_a_sheet_that_cannot_be_written_is_said(tmp_path, drawn, monkeypatch, capsys):
    look = looks_of(config_of(tmp_path, sample_every=1, num_steps=9), tmp_path)
    report = Reporter(tmp_path, 0, num_steps=9, batch_size=4, clock=Clock())

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(samples.Sampler, "sheet", full)
    look(1, types.SimpleNamespace(ema={}), report)  # pyright: ignore[reportArgumentType]
    report.close()
    said = f"{samples.sheet_path(tmp_path, 1)} cannot be written (No space left on device): the run continues"
    assert capsys.readouterr().err == f"error: {said}\n"


def test_several_processes_save_before_they_measure(tmp_path, monkeypatch):
    """No signal can interrupt the measurement of several processes."""
    fakes.install(monkeypatch.setattr)
    monkeypatch.setattr(extractors, "load", lambda name, weights: None)
    done: list[object] = []
    save = loop._Run.save
    monkeypatch.setattr(loop._Run, "save", lambda run, step: done.append(step) or save(run, step))
    monkeypatch.setattr(looks.Looks, "_measure", lambda self, step, *_: done.append(f"measured {step}"))
    several = types.ModuleType("jax")
    several.__dict__.update(loop.jax.__dict__, process_count=lambda: 2)
    monkeypatch.setattr(loop, "jax", several)
    config = config_of(tmp_path, measure_every=2, checkpoint_every=1000, num_steps=3)
    loop.train(config, tmp_path / "run")
    assert done == [2, "measured 2", 3, "measured 3"]
