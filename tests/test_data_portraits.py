"""Portraits: the same seed gives the same pixels, and the cache looks after itself."""

import json
import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hcflow_jax.config import ConfigError, default
from hcflow_jax.data import DataError, open_source, portraits, render, workers


def _config(path: Path, train: int = 4, evaluation: int = 3, resolution: int = 16):
    config = default()
    config.data.update(path=str(path), train_images=train, eval_images=evaluation, resolution=resolution)
    return config


def _all(source) -> np.ndarray:
    return np.stack([source[i] for i in range(len(source))])


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("portraits")


def test_same_seed_same_bytes(tmp_path, cache):
    first, again = (_all(open_source(_config(path), "train")) for path in (cache, tmp_path))
    assert first.shape == (4, 16, 16, 3) and first.dtype == np.uint8
    np.testing.assert_array_equal(first, again)


def test_a_longer_set_begins_with_the_shorter(cache):
    short, long = (_all(open_source(_config(cache, n), "train")) for n in (4, 6))
    np.testing.assert_array_equal(short, long[:4])


def test_train_and_held_out_are_disjoint(cache):
    train, held_out = (_all(open_source(_config(cache), split)) for split in ("train", "eval"))
    assert len(train) == 4 and len(held_out) == 3
    assert len({image.tobytes() for image in [*train, *held_out]}) == 7


@pytest.mark.parametrize("resolution", [1, 24, 64, 100])
def test_any_size(resolution):
    (image,) = render.portraits("open-peeps", ["train-0"], resolution)
    assert image.shape == (resolution, resolution, 3)


def test_sizes_show_the_same_picture():
    (large,) = render.portraits("toon-head", ["train-3"], 64)
    (small,) = render.portraits("toon-head", ["train-3"], 16)
    assert np.abs(large.reshape(16, 4, 16, 4, 3).mean((1, 3)) - small).mean() < 3


def test_background_is_a_gradient():
    corners = render.gradient("train-0", 32)[[0, 0, -1, -1], [0, -1, 0, -1]]
    assert np.ptp(corners, axis=0).max() > 0.03
    assert corners.min() >= 0 and corners.max() <= 1


def test_damaged_cache_is_drawn_again(tmp_path, caplog):
    config = _config(tmp_path)
    before = _all(open_source(config, "train"))
    (shard,) = tmp_path.rglob("*.array_record")
    content = bytearray(shard.read_bytes())
    content[100] ^= 255
    shard.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        np.testing.assert_array_equal(_all(open_source(config, "train")), before)
    assert shard.name in caplog.text


def test_drawn_again_only_if_the_recipe_differs(tmp_path, monkeypatch):
    config = _config(tmp_path, train=1)
    open_source(config, "train")
    monkeypatch.setattr(render, "draw_shard", lambda *_: pytest.fail("drew again"))
    open_source(config, "train")
    monkeypatch.undo()
    (manifest,) = tmp_path.rglob("manifest.json")
    monkeypatch.setattr(render, "RECIPE", render.RECIPE + 1)
    open_source(config, "train")
    assert json.loads(manifest.read_text())["source"]["recipe"] == render.RECIPE


def test_several_processes_draw_what_one_draws(tmp_path, monkeypatch, cache):
    monkeypatch.setattr(portraits, "_SHARD_IMAGES", 2)
    monkeypatch.setattr(workers, "cores", lambda: 2)
    parallel = _all(open_source(_config(tmp_path, 6), "train"))
    monkeypatch.undo()
    np.testing.assert_array_equal(parallel, _all(open_source(_config(cache, 6), "train")))


def test_two_processes_fill_one_cache(tmp_path, cache):
    code = (
        "import sys; from hcflow_jax.config import default; from hcflow_jax.data import open_source\n"
        "config = default()\n"
        f"config.data.update(path={str(tmp_path)!r}, train_images=4, resolution=16)\n"
        "source = open_source(config, 'train')\n"
        "assert 'jax' not in sys.modules, 'drawing must not wait for jax'\n"
        "print(sum(int(source[i].astype(int).sum()) for i in range(4)))\n"
    )
    root = str(Path(__file__).parents[1])
    runs = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=root) for _ in range(2)]
    sums = {int(run.communicate()[0]) for run in runs}
    assert sums == {int(_all(open_source(_config(cache), "train")).astype(int).sum())}
    assert not list(tmp_path.glob("*.partial")) and not list(tmp_path.glob(".*.partial"))


def test_failing_process_is_one_error_and_leaves_nothing(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(portraits, "_SHARD_IMAGES", 1)
    monkeypatch.setattr(workers, "cores", lambda: 2)
    monkeypatch.setattr(workers, "_WORKER", "raise SystemExit('no memory')")
    with pytest.raises(DataError, match="drawing toon-head-16px-train-2: a process failed with exit status 1"):
        open_source(_config(tmp_path, 2), "train")
    assert "no memory" in capfd.readouterr().err
    assert not list(tmp_path.glob("toon*")) and not list(tmp_path.glob(".*.partial"))


def test_cache_root_honours_xdg(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert portraits.cache_root("") == tmp_path / "hcflow_jax" / "portraits"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert portraits.cache_root("") == Path.home() / ".cache" / "hcflow_jax" / "portraits"
    assert portraits.cache_root("/data") == Path("/data")


def test_unknown_style_names_field_and_styles(tmp_path):
    config = _config(tmp_path)
    config.data.style = "toonhead"
    with pytest.raises(ConfigError, match=r"data\.style is 'toonhead'.*toon-head"):
        open_source(config, "train")


def test_missing_package_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    with pytest.raises(ConfigError, match=r"pip install 'hcflow_jax\[demo\]'"):
        open_source(_config(tmp_path), "train")


def test_unwritable_cache_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"set data\.path"):
        open_source(_config(tmp_path / "file"), "train")


@pytest.mark.parametrize("field", ["train_images", "eval_images"])
def test_empty_set_names_the_field(tmp_path, field):
    config = _config(tmp_path)
    config.data[field] = 0
    with pytest.raises(ConfigError, match=f"data.{field} is 0"):
        open_source(config, "train" if field == "train_images" else "eval")
