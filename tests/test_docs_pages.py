"""The pages of the documentation: the programs on them run, and what they name exists. The site is another test."""

import contextlib
import importlib
import importlib.util
import io
import re
import sys
import tarfile
from pathlib import Path
from typing import Any

import bijectors
import jax
import numpy as np
import pytest
import test_bijectors
import training_fakes as fakes
import two_part_model
from PIL import Image

from hcflow_jax import api, models
from hcflow_jax.config import check as check_config
from hcflow_jax.config import registry

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(path.name for path in (ROOT / "docs").glob("*.md"))
NAME = re.compile(r"(?<!`)`(hcflow_jax(?:\.\w+)+)`(?!`)")


def blocks(page: str) -> list[str]:
    """The Python programs of a page."""
    return re.findall(r"```python\n(.*?)```", (ROOT / "docs" / page).read_text(), re.S)


def run(page: str, count: int | None = None) -> tuple[dict[str, Any], str]:
    """Runs the first programs of a page as one; returns its names, and what it printed."""
    names: dict[str, Any] = {}
    with contextlib.redirect_stdout(io.StringIO()) as said:
        for i, source in enumerate(blocks(page)[:count]):
            exec(compile(source, f"docs/{page}, program {i}", "exec"), names)
    return names, said.getvalue()


@pytest.mark.parametrize("page", [page for page in PAGES if page != "index.md"])
def test_a_page_is_in_the_index(page: str) -> None:
    index = (ROOT / "docs" / "index.md").read_text()
    assert f"\n{page.removesuffix('.md')}\n" in index, f"docs/index.md: no toctree has {page}"


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_names_exists(page: str) -> None:
    for name in sorted(set(NAME.findall((ROOT / "docs" / page).read_text()))):
        assert _exists(name), f"docs/{page}: there is no {name}"


def test_the_api_reference_is_of_modules_that_exist() -> None:
    pages = {page.name: page.read_text() for page in (ROOT / "docs" / "api").glob("*.md")}
    listed = {name: re.findall(r"automodule:: (\S+)", text) for name, text in pages.items()}
    assert all(listed.values())
    for page, modules in listed.items():
        for module in modules:
            assert importlib.util.find_spec(module), f"docs/api/{page}: there is no module {module}"


def _exists(name: str) -> bool:
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for part in parts[end:]:
            fields = getattr(found, "__dataclass_fields__", {})
            if not hasattr(found, part) and part not in fields:
                return False
            found = getattr(found, part, None)
        return True
    return False


def test_the_worked_number_of_flows_is_right() -> None:
    names, _ = run("flows.md", 1)
    np.testing.assert_allclose(names["z"], [[2, 2]], rtol=1e-6)
    np.testing.assert_allclose(names["same_x"], [[3, 4]], rtol=1e-6)
    np.testing.assert_allclose([names["log_det"][0], -names["minus_log_det"][0]], [-0.6931] * 2, atol=5e-5)
    np.testing.assert_allclose(names["log_prob"], [-6.5310], atol=5e-5)
    page = (ROOT / "docs" / "flows.md").read_text()
    assert "-5.8379 - 0.6931 = -6.5310" in page
    assert f"{-4 - np.log(2 * np.pi):.4f}" == "-5.8379" and f"{names['log_prob'][0] / np.log(2):.4f}" == "-9.4223"


@pytest.mark.parametrize(
    "check", ["round_trip", "log_dets_cancel", "log_det_is_the_jacobians", "prepared_is_raw", "gradients"]
)
def test_the_bijector_on_the_page_passes_the_checks_of_all(check: str, monkeypatch: pytest.MonkeyPatch) -> None:
    page = blocks("flows.md")
    own = next(i for i, source in enumerate(page) if "class Sinh" in source)
    names: dict[str, Any] = {}
    exec(page[0] + page[own].partition("\n\n\nx = ")[0], names)
    monkeypatch.setitem(bijectors.CASES, "page", bijectors.Case(names["Sinh"](), (4, 4, 3)))
    getattr(test_bijectors, f"test_{check}")("page")


def test_the_config_of_configs_is_one() -> None:
    config = run("config.md")[0]["get_config"]()
    assert config.data.path == "/data/faces" and config.train.batch_size == 64 and config.data.resolution == 256
    check_config(config)


def test_a_level_is_added_as_its_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_levels.py").write_text(blocks("howto_level.md")[0])
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_levels", raising=False)
    names, said = {}, io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(blocks("howto_level.md")[1], names)
    stated = [line.partition("  # ")[2] for line in blocks("howto_level.md")[1].splitlines() if "print" in line]
    assert said.getvalue().splitlines() == [line.rpartition(" = ")[2] for line in stated]
    decoder = names["model"].level("32").decoder
    assert names["model"].level("16").decoder.skip == 8 and decoder.end_unets


def test_a_data_set_is_added_as_its_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "arrays").mkdir()
    made = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)
    np.save("arrays/a.npy", made[:3])
    np.save("arrays/b.npy", made[3:])
    with tarfile.open("pictures.tar", "w") as archive:
        for i, image in enumerate(made):
            buffer = io.BytesIO()
            Image.fromarray(image).save(buffer, "png")
            entry = tarfile.TarInfo(f"in/{i}.png")
            entry.size = buffer.tell()
            archive.addfile(entry, io.BytesIO(buffer.getvalue()))
    names, said = run("howto_dataset.md")
    assert said == "3 2 (16, 16, 3) uint8\n"
    prepared = names["shards"].ShardSource(tmp_path / "sets" / "mine")
    np.testing.assert_array_equal([prepared[i] for i in range(len(prepared))], made)
    read = [*(names["training"][i] for i in range(3)), *(names["evaluation"][i] for i in range(2))]
    np.testing.assert_array_equal(read, made)
    for part in (names["training"], names["evaluation"]):
        part.source.encoded._archive.close()
    with pytest.raises(names["DataError"], match="absent.tar: cannot be read"):
        names["Tar"](Path("absent.tar"))


@pytest.mark.full
def test_a_family_is_added_as_its_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hcflow_jax import config as schema
    from hcflow_jax.training import loop

    family, config_file, use = blocks("howto_family.md")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(registry, "_modules", dict(registry._modules))
    Path("my_family.py").write_text(family)
    names: dict[str, Any] = {}
    exec(config_file, names)
    config = names["get_config"]()
    assert (config.model.steps, config.train.learning_rate.all, config.data.noise_std) == (4, 1e-3, 0.0)
    fakes.config(tmp_path / "images")
    config.data.update(dict(source="folder", path=str(tmp_path / "images"), resolution=fakes.SIZE, eval_images=4))
    config.model.update(dict(steps=1, hidden=4))  # less to compile
    config.train.update(dict(batch_size=2, num_steps=20, init_images=4, watch_every=0))
    config.eval.update(dict(images=3, batch_size=3))
    config.sample.count = 4
    try:
        result = loop.train(config, tmp_path / "runs" / "pixels")
        assert result["end"]["bits_per_dim"] < result["start"]["bits_per_dim"]
        exec(use, names)
        assert names["images"].shape == (4, fakes.SIZE, fakes.SIZE, 3)
        np.testing.assert_array_equal(names["model"].decode(names["latents"]), names["images"])
        x = 0.1 * jax.random.normal(jax.random.key(0), (1, fakes.SIZE, fakes.SIZE, 3))
        model, params = names["model"].image_model, names["model"].params
        step = 2e-3 * jax.random.normal(jax.random.key(1), x.shape)
        along = (model.objective(params, x + step, None).loss - model.objective(params, x - step, None).loss) / 2
        slope = -(model.finest_score(params, x, {}) * step).sum() / (x.size * np.log(2))
        np.testing.assert_allclose(along[0], slope, rtol=0.05)
        config.model.hidden = 3
        with pytest.raises(schema.ConfigError, match="model.hidden must be even, not 3"):
            models.build(config)
    finally:
        sys.modules.pop("my_family", None)


def test_the_first_sample_of_install_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "build", lambda config: two_part_model.TwoParts())
    plain = api.Model(two_part_model.config(), two_part_model.params())
    monkeypatch.setattr(api, "load", lambda: plain)
    monkeypatch.chdir(tmp_path)
    names, _ = run("install.md")
    assert Path("faces.png").exists() and len(names["others"]) == 8
