"""Two processes measure a run together, and get what one alone gets."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from test_training_processes import _free_port

RUN = """
import pathlib, sys
import jax
import numpy as np
import measured_run
from hcflow_jax import config as schema
from hcflow_jax.evaluation import extractors, jacobians, shares
from hcflow_jax.training import distributed, evaluate, loop
folder, port, process = pathlib.Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
extractors.load = lambda name, weights: measured_run.EXTRACTOR
computed, log_det = [], jacobians._log_det
jacobians._log_det = lambda *given: computed.append(given) or log_det(*given)
if process >= 0:
    distributed.start(f"localhost:{port}", 2, process)
schema.register("toy", "toy_family")
config = measured_run.make_config(folder / f"images{process}", eval_every=0)
config.data.eval_images = 11
config.eval.metrics = "bits,fid,kid,prc,nearest,exactness"
config.eval.batch_size, config.eval.images, config.eval.draws = 4, 11, 2
if process < 0:
    loop.train(config, folder / "run")
found = evaluate.evaluate(folder / "run", config)
assert process < 0 or jax.process_count() == 2
sent = np.array([[0.1, process], [2.0**-60, 1 / 3]])  # 32 bits do not hold them
assert process < 0 or (shares.gathered(sent)[2 * process :][:2] == sent).all()
assert len(computed) == (1 if process >= 0 else 2)  # Jacobians
"""


def _start(folder: Path, port: int, process: int) -> subprocess.Popen[bytes]:
    here = Path(__file__).parent
    command = [sys.executable, "-c", RUN, str(folder), str(port), str(process)]
    cache = {"XDG_CACHE_HOME": str(folder / f"cache{process}")}
    return subprocess.Popen(command, env={**os.environ, **cache, "PYTHONPATH": f"{here}:{here.parent}"})


def _numbers(value: object, prefix: str = "") -> dict[str, float]:
    if isinstance(value, dict):
        return {name: n for key, part in value.items() for name, n in _numbers(part, f"{prefix}/{key}").items()}
    if isinstance(value, list):
        return _numbers(dict(enumerate(value)), prefix)
    return {prefix: float(value)} if isinstance(value, int | float) else {}


@pytest.mark.full
def test_two_processes_measure_what_one_does(tmp_path):
    """Of 11 images one process has 6 and the other 5."""
    assert _start(tmp_path, 0, -1).wait(300) == 0
    alone = json.loads((tmp_path / "run" / "eval.json").read_text())
    port = _free_port()
    processes = [_start(tmp_path, port, i) for i in (0, 1)]
    try:
        assert [process.wait(300) for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()
    together = json.loads((tmp_path / "run" / "eval.json").read_text())
    for each in (alone, together):
        del each["seconds"]
        assert each["distances"]["count"] == each["images"] == each["nearest"]["generated"] == 11
    one, other = _numbers(alone), _numbers(together)
    assert one.keys() == other.keys() and len(one) > 60
    assert alone["exactness"]["passed"] and alone["exactness"]["held_out"]["images"] == 11
    np.testing.assert_allclose(list(one.values()), [other[n] for n in one], rtol=1e-5, atol=1e-6)
    assert (tmp_path / "run" / "nearest.png").is_file()
