"""Glow models of others, brought in and given back: every number, or one line that says why not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import glow_cases as cases
import jax
import numpy as np
import pytest
from golden_data import assert_close, group, load
from safetensors.numpy import load_file, save_file

from hcflow_jax import api, checkpoint, flows, models
from hcflow_jax.interop import export_torch, glow, glow_names, import_torch, torch_zip
from hcflow_jax.interop.state_dict import read

TOP_WEIGHT, PRIOR_H = "learn_top_fn.conv.weight", "prior_h"


def state(case: str) -> dict[str, np.ndarray]:
    """The case's state_dict, with what a real one also holds."""
    flat = dict(group(load(f"glow/{case}/forward"), "param/"))
    width = len(flat["learn_top_fn.conv.bias"])
    side = cases.config(case).data.resolution // 2 ** cases.config(case).model.levels
    weight = np.random.default_rng(0).normal(size=(width, width, 3, 3)).astype(np.float32)
    return {**flat, TOP_WEIGHT: weight, PRIOR_H: np.zeros((1, width, side, side), np.float32)}


def drawn(config: Any) -> Any:
    """Parameters of a config's model, away from where they start."""
    rng = np.random.default_rng(1)
    params = models.build(config).create(jax.random.key(0))

    def moved(path: Any, leaf: np.ndarray) -> np.ndarray:
        fixed = path[-1].key in ("order", "sign")
        return leaf if fixed else leaf + rng.normal(size=leaf.shape, scale=0.1).astype(np.float32)

    return jax.tree_util.tree_map_with_path(moved, params)


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Imports arrays from a file of that name; gives the status, and what was said on stdout and stderr."""

    def run(name: str, flat: Any, *more: str, resolution: int = 16) -> tuple[int, str, str]:
        file = tmp_path / name
        if name.endswith(".npz"):
            np.savez(file, **flat)
        elif name.endswith(".pt"):
            torch_zip.write(file, flat)
        else:
            save_file({key: np.ascontiguousarray(array) for key, array in flat.items()}, file)
        arguments = [str(file), "--family", "glow", "--resolution", str(resolution), *more]
        status = import_torch.main([*arguments, "--out", str(tmp_path / "out")])
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


@pytest.mark.parametrize(("case", "name"), [("additive", "state.pt"), ("affine", "state.safetensors")])
def test_a_state_dict_is_the_model(case: str, name: str, command: Any, tmp_path: Path) -> None:
    flat = state(case)
    status, out, err = command(name, flat)
    assert (status, err) == (0, "")
    found = checkpoint.load(tmp_path / "out")
    assert found.config.model == cases.config(case).model
    assert found.config.data.noise_std == 0 and found.config.data.resolution == 16
    jax.tree.map(np.testing.assert_array_equal, found.arrays["ema"], cases.params(case))
    count = sum(array.size for name, array in flat.items() if name not in (TOP_WEIGHT, PRIOR_H))
    assert f"{count:,} parameters" in out

    file = tmp_path / "back.safetensors"
    assert export_torch.main([str(tmp_path / "out"), "--out", str(file)]) == 0
    back = load_file(file)
    assert back.keys() == flat.keys()
    for key, array in flat.items():
        expected = np.zeros_like(array) if key == TOP_WEIGHT else array
        np.testing.assert_array_equal(back[key], expected, key)


def test_an_imported_model_is_used_like_a_run(command: Any, tmp_path: Path) -> None:
    assert command("state.pt", state("additive"))[0] == 0
    model = api.load(tmp_path / "out")
    latents = model.encode(cases.x("additive") + 0.5)
    for level, eps in cases.latents("additive", "", "_eps").items():
        assert_close(latents[level], eps, level)


def test_a_pt_file_is_written_back(tmp_path: Path) -> None:
    checkpoint.save_weights(tmp_path / "run", cases.params("additive"), cases.config("additive"))
    assert export_torch.main([str(tmp_path / "run"), "--out", str(tmp_path / "back.pt")]) == 0
    back = read(tmp_path / "back.pt")
    for name, array in group(load("glow/additive/forward"), "param/").items():
        np.testing.assert_array_equal(back[name], array, name)


STRUCTURES = [
    dict(levels=1, steps=1, hidden=5, coupling="affine"),
    dict(levels=2, steps=3, hidden=7, coupling="additive", mixing="lu"),
    dict(levels=3, steps=2, hidden=4, coupling="affine", mixing="lu"),
    dict(levels=3, steps=1, hidden=6, coupling="additive", variant="openai"),
    dict(levels=2, steps=2, hidden=3, coupling="affine", variant="openai"),
]


@pytest.mark.parametrize(
    "structure",
    [STRUCTURES[0], STRUCTURES[1], *(pytest.param(each, marks=pytest.mark.full) for each in STRUCTURES[2:])],
    ids=lambda s: "-".join(map(str, s.values())),
)
def test_the_structure_follows_from_names_and_shapes(structure: dict[str, Any]) -> None:
    config = cases.least(16, **structure)
    params = drawn(config)
    flat = glow_names.to_flat(params, config)
    tree, found = glow.convert(flat, 16)
    assert found.model == config.model
    jax.tree.map(np.testing.assert_array_equal, tree, params)


def test_lu_tensors_are_those_of_their_formula() -> None:
    """W = P (L * mask + I) (U * mask^T + diag(sign exp(log_s))), whatever lies outside the masks."""
    rng = np.random.default_rng(2)
    config = cases.least(8, levels=1, steps=1, mixing="lu")
    flat = glow_names.to_flat(drawn(config), config)
    c, name = 12, "flow.layers.1.invconv."
    flat |= {name + part: rng.normal(size=(c, c)).astype(np.float32) for part in ("lower", "upper")}
    flat |= {name + "p": np.eye(c, dtype=np.float32)[rng.permutation(c)]}
    flat |= {name + "sign_s": rng.choice([-1, 1], c).astype(np.float32)}
    mask = np.tril(np.ones((c, c)), -1)
    lower = flat[name + "lower"] * mask + np.eye(c)
    upper = flat[name + "upper"] * mask.T + np.diag(flat[name + "sign_s"] * np.exp(flat[name + "log_s"]))
    tree, found = glow.convert(flat, 8)
    ready = models.build(found).prepare(tree)["flows"]["4"]["steps"]["mixing"]
    np.testing.assert_allclose(ready["matrix"][0], flat[name + "p"] @ lower @ upper, rtol=1e-4, atol=1e-4)
    back = glow.state_dict_of(tree, found)
    np.testing.assert_array_equal(back[name + "p"], flat[name + "p"])


def test_openais_variables_are_the_model(command: Any, tmp_path: Path) -> None:
    """With the suffix of TensorFlow's names, and an optimizer's state that is passed over."""
    config = cases.least(16, levels=2, steps=1, variant="openai")
    params = drawn(config)
    flat = {f"{name}:0": array for name, array in glow_names.to_flat(params, config).items()}
    assert flat["model/prior/p/W:0"].shape == (3, 3, 2 * 24 + 1, 2 * 24)
    status, _, err = command("variables.npz", {**flat, "Variable_3": np.zeros(4, np.float32)})
    assert (status, err) == (0, "")
    found = checkpoint.load(tmp_path / "out")
    assert found.config.model == config.model
    jax.tree.map(np.testing.assert_array_equal, found.arrays["ema"], params)
    # Theirs multiplies channels from the right.
    w = flat["model/1/0/invconv/W:0"]
    x: Any = np.random.default_rng(3).normal(size=(1, 4, 4, len(w))).astype(np.float32)
    mixing = jax.tree.map(lambda leaf: leaf[0], params["flows"]["4"]["steps"]["mixing"])
    np.testing.assert_allclose(flows.Mixing(1.0).forward(mixing, x)[0], x @ w, rtol=1e-4, atol=1e-4)


def test_averages_stand_in_for_variables_that_are_not_there() -> None:
    config = cases.least(8, levels=1, steps=1, variant="openai")
    params = drawn(config)
    flat = {f"{name}/ExponentialMovingAverage": a for name, a in glow_names.to_flat(params, config).items()}
    jax.tree.map(np.testing.assert_array_equal, glow.convert(flat, 8)[0], params)


def test_a_prior_that_was_not_learned_is_standard() -> None:
    flat = {name: array for name, array in state("additive").items() if not name.startswith("learn_top_fn")}
    tree, config = glow.convert(flat, 16)
    assert not np.any(tree["flows"]["4"]["top"]["logs"]) and config.model == cases.config("additive").model


def changed(**changes: Any) -> dict[str, np.ndarray]:
    """The additive case with some entries replaced, or left out where None is given."""
    return {name: array for name, array in (state("additive") | changes).items() if array is not None}


STEP = "flow.layers.2.block.0.conv.weight"
REFUSED = {
    "conditional": (
        {"project_ycond.linear.weight": np.zeros((4, 2))},
        16,
        "project_ycond.linear.weight: the model is",
    ),
    "missing": ({STEP: None}, 16, f"it has no {STEP!r}"),
    "unknown": ({"flow.layers.99.x": np.zeros(2)}, 16, "1 unknown entries, the first 'flow.layers.99.x'"),
    "shape": ({STEP: np.zeros((12, 5, 3, 3))}, 16, f"{STEP} has shape (12, 5, 3, 3)"),
    "not finite": ({STEP: np.full((12, 6, 3, 3), np.nan)}, 16, f"{STEP} has a value that is not finite"),
    "a step": ({"flow.layers.8.actnorm.bias": None}, 16, "5 steps in 2 levels"),
    "permutation": ({"flow.layers.1.invconv.weight": None}, 16, "flow.layers.1.invconv is missing"),
    "another kind": ({"flow.layers.1.block.2.conv.weight": None}, 16, "flow.layers.1.block.2.conv.weight"),
    "prior": ({PRIOR_H: np.ones((1, 48, 4, 4))}, 16, "prior_h is not zero"),
    "resolution": ({}, 32, "prior_h has shape (1, 48, 4, 4); 2 levels at --resolution 32 want (1, 48, 8, 8)"),
    "odd resolution": ({}, 18, "--resolution must be a multiple of 4, for 2 levels, not 18"),
    "no resolution": ({}, 0, "--resolution must be a multiple of 4, for 2 levels, not 0"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_such_model_is_refused(name: str, command: Any, tmp_path: Path) -> None:
    changes, resolution, message = REFUSED[name]
    changes = {key: a if a is None else a.astype(np.float32) for key, a in changes.items()}
    status, out, err = command("state.safetensors", changed(**changes), resolution=resolution)
    assert status == 2 and out == "" and err.count("\n") == 1
    assert err.startswith(f"error: {tmp_path / 'state.safetensors'}: ") and message in err
    assert not (tmp_path / "out").exists()


def test_lu_tensors_that_are_none_are_refused() -> None:
    config = cases.least(8, levels=1, steps=1, mixing="lu")
    flat = glow_names.to_flat(drawn(config), config)
    p, sign = "flow.layers.1.invconv.p", "flow.layers.1.invconv.sign_s"
    with pytest.raises(glow.InputError, match=f"{p}: it is not a permutation matrix"):
        glow.convert({**flat, p: np.ones((12, 12), np.float32)}, 8)
    with pytest.raises(glow.InputError, match=f"{sign}: it has a sign"):
        glow.convert({**flat, sign: np.full(12, 0.5, np.float32)}, 8)


def test_a_damaged_npz_is_refused(command: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "cut.npz"
    np.savez(file, a=np.zeros(1000))
    for content in (file.read_bytes()[:-30], b"", b"no zip"):
        file.write_bytes(content)
        arguments = [str(file), "--family", "glow", "--resolution", "16", "--out", str(tmp_path / "out")]
        assert import_torch.main(arguments) == 2
        assert f"{file}: it is not a complete .npz" in capsys.readouterr().err
    pickled = tmp_path / "pickled.npz"
    np.savez(pickled, a=np.array([{}], dtype=object))
    with pytest.raises(glow.InputError, match="not a complete .npz"):
        glow.read(pickled)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--family", "glow"], "--resolution is needed with --family glow"),
        (["--resolution", "16"], "--resolution is only for --family glow"),
    ],
)
def test_resolution_and_family_go_together(arguments: Any, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert import_torch.main(["model.bin", "--out", "out", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_config_says_where_the_images_are(command: Any, tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    lines = ["from hcflow_jax import config", "def get_config():", "    c = config.default('glow')"]
    lines += ["    c.data.resolution, c.data.bits, c.data.source = 16, 5, 'folder'", "    return c"]
    file.write_text("\n".join(lines))
    assert command("state.pt", state("additive"), "--config", str(file))[0] == 0
    found = checkpoint.load(tmp_path / "out").config
    assert (found.data.bits, found.data.source, found.model.steps) == (5, "folder", 3)


def test_a_config_of_another_model_is_refused() -> None:
    other = cases.least(32)
    with pytest.raises(glow.ConfigError, match="data.resolution must be --resolution, 16, not 32"):
        glow.convert(state("additive"), 16, other)
    with pytest.raises(glow.ConfigError, match="model.family must be 'glow', not 'hierarchy'"):
        glow.convert(state("additive"), 16, glow.schema.default())


def test_openais_variant_cannot_be_exported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = cases.least(8, variant="openai")
    checkpoint.save_weights(tmp_path / "run", drawn(config), config)
    assert export_torch.main([str(tmp_path / "run"), "--out", str(tmp_path / "x.pt")]) == 2
    assert "only models of variant 'pytorch' can be exported" in capsys.readouterr().err
    assert not (tmp_path / "x.pt").exists()
