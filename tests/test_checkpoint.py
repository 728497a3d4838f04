"""Saving and restoring: bit for bit, past damaged steps, with errors that name the file."""

import hashlib
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hcflow_jax import checkpoint
from hcflow_jax import config as schema
from hcflow_jax.checkpoint import CheckpointError, Checkpoints, files


def config():
    result = schema.default()
    row = schema.level(channels=3, steps=("channel", "checker2"), hidden=4, condition=4, encoder=4, decoder=4)
    result.model.levels = schema.levels({8: row})
    return result


def state(step):
    rng = np.random.default_rng(step)
    params = {
        "encoder": {"w": rng.normal(size=(40, 50)).astype(np.float32)},
        "flows": {"b": np.zeros(3, "f")},
    }
    return {"step": jnp.int32(step), "params": params, "ema": jax.tree.map(lambda p: p + 1, params)}


def saved(workdir, *steps, keep=3):
    checkpoints = Checkpoints(workdir, keep)
    for step in steps:
        checkpoints.save(step, jax.tree.map(jnp.asarray, state(step)), config())
    checkpoints.close()


def assert_same(left, right):
    assert jax.tree.structure(left) == jax.tree.structure(right)
    for a, b in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True):
        np.testing.assert_array_equal(a, b)


def truncate(directory):
    file = max((f for f in directory.rglob("*") if f.is_file()), key=lambda f: f.stat().st_size)
    file.write_bytes(file.read_bytes()[:-10])
    return file


def test_what_is_saved_comes_back_bit_for_bit(tmp_path):
    saved(tmp_path, 3, 5)
    checkpoints = Checkpoints(tmp_path, 3)
    found = checkpoints.restore_latest(state(0))
    checkpoints.close()
    assert found is not None and found.step == 5
    assert_same(found.arrays, state(5))
    assert found.metadata["step"] == 5
    assert found.metadata["next_index"] == 5 * 16
    assert found.metadata["versions"]["jax"] == jax.__version__


def test_the_config_comes_back_locked_with_its_tuples(tmp_path):
    saved(tmp_path, 1)
    found = checkpoint.load(tmp_path).config
    assert checkpoint.config_to_plain(found) == checkpoint.config_to_plain(config())
    assert found.model.levels.r8.steps == ("channel", "checker2")
    assert found.is_locked


def test_load_takes_a_workdir_or_a_step_and_reads_what_is_asked(tmp_path):
    saved(tmp_path, 3, 5)
    newest = checkpoint.load(tmp_path)
    assert newest.step == 5
    assert_same(newest.arrays, {"ema": state(5)["ema"]})
    older = checkpoint.load(tmp_path / "checkpoints" / "3", ("params",))
    assert older.step == 3
    assert_same(older.arrays, {"params": state(3)["params"]})


def test_only_the_newest_are_kept(tmp_path):
    saved(tmp_path, 1, 2, 3, 4, keep=2)
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == ["3", "4"]


def test_a_donated_state_is_saved_as_it_was(tmp_path):
    advance = jax.jit(lambda tree: jax.tree.map(lambda leaf: leaf + 1, tree), donate_argnums=0)
    checkpoints = Checkpoints(tmp_path, 3)
    arrays = {"ema": {"w": jnp.zeros((300, 1_000))}}
    for step in range(4):
        checkpoints.save(step, arrays, config())
        for _ in range(5):
            arrays = advance(arrays)
    checkpoints.close()
    found = checkpoint.load(tmp_path)
    np.testing.assert_array_equal(found.arrays["ema"]["w"], 5 * found.step)


def test_a_truncated_step_is_named_and_passed_over(tmp_path, caplog):
    saved(tmp_path, 3, 5)
    file = truncate(tmp_path / "checkpoints" / "5")
    with pytest.raises(CheckpointError, match=f"{file.name} has .* bytes: copy the step again"):
        checkpoint.load(tmp_path / "checkpoints" / "5")

    assert checkpoint.load(tmp_path).step == 3
    assert "checkpoint 5 cannot be used" in caplog.text and str(file) in caplog.text

    checkpoints = Checkpoints(tmp_path, 3)
    found = checkpoints.restore_latest(state(0))
    assert found is not None and found.step == 3
    assert (tmp_path / "unreadable" / "5").is_dir()
    checkpoints.save(5, state(5), config())  # its number is free again
    checkpoints.close()
    assert checkpoint.load(tmp_path).step == 5


def flip(directory):
    """Flips a bit in the middle of the largest file."""
    file = max((f for f in directory.rglob("*") if f.is_file()), key=lambda f: f.stat().st_size)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    return file


def delete(directory):
    file = directory / "state" / "manifest.ocdbt"
    file.unlink()
    return file


@pytest.mark.parametrize(
    ("damage", "said"),
    [(truncate, "has .* bytes"), (flip, "is damaged"), (delete, "is missing")],
    ids=["cut", "flipped", "deleted"],
)
def test_damage_is_named_before_anything_is_read(tmp_path, damage, said, caplog):
    saved(tmp_path, 3, 5)
    file = damage(tmp_path / "checkpoints" / "5")
    with pytest.raises(CheckpointError, match=f"^{file} {said}.*: copy the step again, or use another$"):
        checkpoint.load(tmp_path / "checkpoints" / "5")
    assert checkpoint.load(tmp_path).step == 3
    assert str(file) in caplog.text


def test_every_file_is_sealed(tmp_path):
    saved(tmp_path, 3)
    directory = tmp_path / "checkpoints" / "3"
    sealed = json.loads((directory / files.SEAL).read_text())
    there = {str(f.relative_to(directory)) for f in directory.rglob("*") if f.is_file()}
    assert sealed.keys() == there - {files.SEAL}
    for name, described in sealed.items():
        content = (directory / name).read_bytes()
        assert described == {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def test_a_step_that_was_not_sealed_is_when_it_is_resumed(tmp_path):
    saved(tmp_path, 3)
    seal = tmp_path / "checkpoints" / "3" / files.SEAL
    before = seal.read_text()
    seal.unlink()
    checkpoints = Checkpoints(tmp_path, 3)
    checkpoints.restore_latest(state(0))
    checkpoints.close()
    assert seal.read_text() == before


def test_an_older_checkpoint_is_compared_by_its_sizes(tmp_path):
    saved(tmp_path, 3)
    directory = tmp_path / "checkpoints" / "3"
    sealed = json.loads((directory / files.SEAL).read_text())
    (directory / "sizes.json").write_text(json.dumps({name: entry["bytes"] for name, entry in sealed.items()}))
    (directory / files.SEAL).unlink()
    assert checkpoint.load(directory).step == 3
    file = truncate(directory)
    with pytest.raises(CheckpointError, match=f"{file} has"):
        checkpoint.load(directory)


def test_nothing_readable_is_an_error(tmp_path):
    saved(tmp_path, 3)
    truncate(tmp_path / "checkpoints" / "3")
    with pytest.raises(CheckpointError, match="none of its 1 steps can be read"):
        checkpoint.load(tmp_path)


def test_damage_without_a_seal_is_named_too(tmp_path):
    saved(tmp_path, 3)
    (tmp_path / "checkpoints" / "3" / "config" / "metadata").write_text("{")
    (tmp_path / "checkpoints" / "3" / "seal.json").unlink()
    with pytest.raises(CheckpointError, match="checkpoints/3 cannot be read"):
        checkpoint.load(tmp_path / "checkpoints" / "3")


@pytest.mark.parametrize("name", ["state", "config"])
def test_a_missing_part_is_named(tmp_path, name):
    saved(tmp_path, 3)
    directory = tmp_path / "checkpoints" / "3" / name
    directory.rename(tmp_path / "gone")
    with pytest.raises(CheckpointError, match=f"{directory} is missing"):
        checkpoint.load(tmp_path / "checkpoints" / "3")


def test_another_models_checkpoint_is_refused_not_skipped(tmp_path):
    saved(tmp_path, 3, 5)
    template = state(0)
    template["params"]["flows"]["b"] = np.zeros(4, "f")
    checkpoints = Checkpoints(tmp_path, 3)
    with pytest.raises(
        CheckpointError, match=r"5 belongs to another model: params/flows/b is \(3,\) there and \(4,\)"
    ):
        checkpoints.restore_latest(template)
    checkpoints.close()


def test_missing_places_say_what_to_give(tmp_path):
    with pytest.raises(CheckpointError, match="no such directory; give a workdir"):
        checkpoint.load(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match="no checkpoints/ in it"):
        checkpoint.load(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(CheckpointError, match="it has no checkpoint yet"):
        checkpoint.load(tmp_path)


def test_a_new_run_has_nothing_to_restore(tmp_path):
    checkpoints = Checkpoints(tmp_path, 3)
    assert checkpoints.restore_latest(state(0)) is None
    checkpoints.close()


def test_a_stored_config_takes_the_execution_of_today():
    plain = checkpoint.config_to_plain(schema.default())
    del plain["execution"]["resample"]
    plain["execution"].update(checkpoint=True, dtype="bfloat16")
    read = checkpoint.config_from_plain(plain).execution
    assert read.resample == "auto" and read.dtype == "bfloat16" and "checkpoint" not in read
