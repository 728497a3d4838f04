"""Traced programs are read again by whoever comes next, and by nobody whom they do not fit."""

import logging
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hcflow_jax import tracing
from hcflow_jax.tracing import traced_once


@pytest.fixture
def kept(tmp_path: Path):
    before = jax.config.values["jax_compilation_cache_dir"]
    jax.config.update("jax_compilation_cache_dir", str(tmp_path))
    yield tmp_path / "traced"
    jax.config.update("jax_compilation_cache_dir", before)


class Counted:
    """A function that counts how often it is traced."""

    def __init__(self):
        self.times = 0

    def __call__(self, tree, x):
        self.times += 1
        return {"y": (tree["a"] * x, [x.sum()])}


ARGS = {"a": np.arange(3, dtype=np.float32)}, np.array([1, 2, 3], np.float32)


def test_the_next_process_traces_nothing(kept):
    first, second = Counted(), Counted()
    expected = first(*jax.tree.map(jnp.asarray, ARGS))
    for counted in (first, second):
        call = traced_once(counted, "f")
        for _ in range(2):
            assert jax.tree.all(jax.tree.map(np.array_equal, call(*ARGS), expected))
    assert (first.times, second.times) == (2, 0)  # once above, once traced


def test_a_program_is_known_by_its_shapes_what_it_is_about_settings_and_source(kept, monkeypatch):
    def times(about="f", args=ARGS):
        counted = Counted()
        traced_once(counted, about)(*args)
        return counted.times

    assert times() == 1 and times() == 0
    assert times(about="g") == 1
    assert times(args=jax.tree.map(lambda a: a[:2], ARGS)) == 1
    assert times(args=jax.tree.map(lambda a: a.astype(np.float16), ARGS)) == 1
    with monkeypatch.context() as other:
        other.setattr(tracing, "_versions", lambda: ("another source",))
        assert times() == 1
    before = jax.config.values["jax_default_matmul_precision"]
    jax.config.update("jax_default_matmul_precision", "highest")
    try:
        assert times() == 1
    finally:
        jax.config.update("jax_default_matmul_precision", before)
    assert times() == 0


def test_the_source_is_all_of_the_package(tmp_path, monkeypatch):
    tracing._versions.cache_clear()
    before = tracing._versions()
    (tmp_path / "room").mkdir()
    (tmp_path / "tracing.py").write_text("")
    monkeypatch.setattr(tracing, "__file__", str(tmp_path / "tracing.py"))
    found = [before]
    for text in ("a = 1", "a = 2"):
        (tmp_path / "room" / "module.py").write_text(text)
        tracing._versions.cache_clear()
        found.append(tracing._versions())
    tracing._versions.cache_clear()
    assert len(set(found)) == 3


@pytest.mark.parametrize("damage", ["cut short", "flipped", "empty"])
def test_a_damaged_file_is_traced_again(kept, caplog, damage):
    traced_once(Counted(), "f")(*ARGS)
    (file,) = kept.iterdir()
    content = bytearray(file.read_bytes())
    if damage == "flipped":
        content[len(content) // 2] ^= 1
    file.write_bytes({"cut short": bytes(content[:-9]), "empty": b"", "flipped": bytes(content)}[damage])
    again, after = Counted(), Counted()
    with caplog.at_level(logging.WARNING):
        traced_once(again, "f")(*ARGS)
    assert again.times == 1 and f"{file} cannot be read" in caplog.text
    traced_once(after, "f")(*ARGS)
    assert after.times == 0  # it was written anew


def test_a_directory_that_cannot_be_written_costs_a_warning(kept, caplog):
    kept.write_text("in the way")
    with caplog.at_level(logging.WARNING):
        y = traced_once(Counted(), "f")(*ARGS)
    assert "cannot be written" in caplog.text and float(y["y"][1][0]) == 6


def test_without_a_cache_nothing_is_written(kept):
    jax.config.update("jax_compilation_cache_dir", None)
    assert float(traced_once(Counted(), "f")(*ARGS)["y"][1][0]) == 6
    assert not kept.exists()
