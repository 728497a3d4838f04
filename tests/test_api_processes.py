"""A model in other processes and threads, with real programs."""

import subprocess
import sys
from pathlib import Path

import pytest
from api_model import save

TESTS = Path(__file__).resolve().parent

PROGRAM = """
import multiprocessing, os, sys, threading
sys.path.insert(0, {tests!r})

from hcflow_jax import api


def sample(model):
    return model.sample(1, seed=3)


def forked(queue, model):
    answers = []
    for call in (lambda: sample(model), lambda: api.load({path!r}), lambda: model.encode(IMAGE)):
        try:
            answers.append(str(call()))
        except ValueError as error:
            answers.append(str(error))
    queue.put(answers)


if __name__ == "__main__":
    model = api.load({path!r})
    IMAGE = sample(model)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert (pool.apply(sample, [model]) == IMAGE).all()
    found = []
    threads = [threading.Thread(target=lambda: found.append(model.encode(IMAGE)["8"])) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4 and all((each == found[0]).all() for each in found)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=forked, args=[queue, model])
    child.start()
    answers = queue.get(timeout=60)
    child.join()
    assert len(answers) == 3 and all("multiprocessing's 'spawn'" in each for each in answers), answers
"""


@pytest.mark.full
@pytest.mark.situation("a model in a forked process")
@pytest.mark.situation("a model that several threads use")
@pytest.mark.situation("a model or latents, pickled or copied")
def test_a_model_goes_to_processes_that_are_spawned_and_not_forked(tmp_path):
    path = save(tmp_path / "model.safetensors")
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.format(tests=str(TESTS), path=str(path)))
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
