"""`hcflow plan`: what it prints, writes, draws and refuses. The results are made by hand; nothing is compiled."""

import json
import re
import sys
from pathlib import Path

import least_config
import numpy as np
import plan_results
import pytest
from PIL import Image

from hcflow_jax.cli import command
from hcflow_jax.planning import compiler, kept, picture

CONFIG = str(Path(least_config.__file__))
RESULTS = [plan_results.made(), plan_results.several("h200:8", 8)]


@pytest.fixture
def plan(tmp_path, monkeypatch, capsys):
    """Runs the command in a folder of its own, without compilers, where two results are kept."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(kept, "_PACKAGE", tmp_path / "kept")
    (tmp_path / "kept").mkdir()
    kept.write(tmp_path / "kept" / "least.json", least_config.get_config(), RESULTS)
    monkeypatch.setattr(compiler.importlib.util, "find_spec", lambda module: None)

    def run(*arguments, config=CONFIG):
        given = ["plan", "--config", config, "--batch-per-device", "8", *map(str, arguments)]
        status = command.main(given)
        said = capsys.readouterr()
        return status, said.out.splitlines(), said.err.splitlines()

    return run


def cells(line):
    return re.sub(r"\s{2,}", "|", line)


def test_the_table_has_a_row_for_each_target(plan):
    status, out, err = plan("--target", "h200", "h200:8", "h200:2x8", "--images", 3_600_000)
    assert (status, err) == (0, [])
    head = ["target", "devices", "per device", "batch", "fits", "ms/image", "step ms", "sending", "images/s", "hours"]
    assert cells(out[0]) == "|".join([*head, "device-hours"])
    assert cells(out[1]) == "h200|1|8|8|yes|2.500|20.0|none|400|2.5|2.5"
    # 450 MB at 450 GB/s and 2 x 7/8 of them; 400 GB/s and 2 x 15/16 between two hosts.
    assert cells(out[2]) == "h200:8|8|8|64|yes|2.500|21.8|1.8 ms, 8 %|2,943|0.34|2.7"
    assert cells(out[3]) == "h200:2x8|16|8|128|yes|2.500|22.1|2.1 ms, 10 %|5,789|0.17|2.8"
    at = out.index("memory of a device, GB")
    assert out[at + 1].split() == ["target", "per", "device", "state", "images", "activations", "free", "of"]
    assert out[at + 2].split() == ["h200", "8", "0.00", "0.00", "0.00", "129.72", "141.00"]
    said = " ".join(line.removeprefix("- ").strip() for line in out[at + 5 :])
    assert "The hours are for 3,600,000 images. " in said and "computed, not measured" in said
    assert "kernel roofline" in said and "XLA's estimate of the cycles" not in said
    assert "h200:2x8: compiled for h200:8; the program of a device is the same" in said
    assert "The config trains with a batch of 16. With 8, 64, 128, its learning rates have to change" in said
    assert said.count("compiled with jax 0.10.2 on 2026-11-29 by: a command") == 1
    assert all(len(line) <= 118 for line in out)


def test_the_run_of_the_config_is_the_default(plan):
    _, out, _ = plan("--target", "h200", "--set", "train.num_steps=1000", "config.train.batch_size=8")
    assert any("The hours are for 8,000 images (the length of the config's run)." in line for line in out)
    assert not any("learning rates have to change" in line for line in out)


def test_an_option_that_is_given_again_adds_to_the_first(plan):
    _, out, _ = plan("--target", "h200", "--target", "h200:8", "--batch-per-device", "4")
    assert [line.split()[:3:2] for line in out[1:5]] == [
        ["h200", "8"],
        ["h200", "4"],
        ["h200:8", "8"],
        ["h200:8", "4"],
    ]


def test_prices_by_chip_and_for_all(plan):
    prices = []
    for given in (["2"], ["h200=2"], ["9", "h200=2"]):
        _, out, _ = plan("--target", "h200", "--images", 3_600_000, "--price", *given)
        assert out[0].endswith("price")
        prices.append(out[1].split()[-1])
    assert prices == ["5.00"] * 3


def test_a_target_without_a_result_says_what_to_do(plan):
    status, out, err = plan("--target", "h200", "v5e:16x16", "--json", "a/plan.json", "--price", "1")
    assert (status, err) == (0, [])
    assert out[2].split() == ["v5e:16x16", "256", "8", "2,048", "no", "result", *["-"] * 7]
    said = " ".join(line.removeprefix("- ").strip() for line in out)
    assert (
        "v5e:16x16, 8 images a device: no result is kept (there are: h200 at 8, h200:8 at 8), and compiling" in said
    )
    assert "compiling for v5e needs its compiler: pip install 'jax[tpu]==" in said
    (missing,) = json.loads(Path("a/plan.json").read_text())["missing"]
    assert missing["target"] == "v5e:16x16" and "jax[tpu]" in missing["why"]


def test_a_step_that_does_not_fit(plan, tmp_path):
    large = {"arguments": 1_000, "temporaries": 200_000_000_000, "outputs": 0}
    kept.write(tmp_path / "kept" / "least.json", least_config.get_config(), [plan_results.made(memory_bytes=large)])
    _, out, _ = plan("--target", "h200")
    assert out[1].split()[4] == "NO" and out[5].split()[-2] == "-70.28"
    assert any("h200 with 8 images does not fit: take fewer images a device" in line for line in out)


def test_the_json_has_every_number(plan):
    status, out, _ = plan("--target", "h200", "h200x8", "h200:8", "--json", "plan.json")
    assert status == 0 and out[-1] == "plan.json: all numbers and where they are from"
    found = json.loads(Path("plan.json").read_text())
    assert [row["target"] for row in found["rows"]] == ["h200", "h200:8"] and found["missing"] == []
    assert found["rows"][1]["step_ms"]["sending"] == pytest.approx(1.75)
    assert found["rows"][0]["compiled"] == json.loads(json.dumps(vars(plan_results.MADE)))


def test_a_missing_result_is_compiled_and_kept(plan, monkeypatch):
    asked = []

    def run(config, target, batch, tell):
        asked.append((target.name, batch, config.execution.preset, config.train.batch_size))
        tell("compiling")
        return plan_results.made(target=target.name, devices=target.size, ms_per_image=1.0)

    monkeypatch.setattr(compiler, "run", run)
    monkeypatch.setattr(compiler, "missing", lambda target: "")
    for again in range(2):
        status, out, err = plan("--target", "v5e:2x2", "h200")
        assert status == 0 and out[1].split()[5] == "1.000" and out[2].split()[5] == "2.500"
        if not again:
            assert len(err) == 2 and "took 29 minutes of processor time and 18 GB" in err[0] and err[1] == "compiling"
    assert asked == [("v5e:2x2", 8, "tpu", 32)]
    _, out, _ = plan("--target", "h200", "--compile")
    assert out[1].split()[5] == "1.000" and len(asked) == 2
    _, out, _ = plan("--target", "h200", "--precision", "float32")
    assert len(asked) == 3


def test_a_compiler_that_fails_leaves_the_other_rows(plan, monkeypatch):
    def run(*_):
        raise compiler.CompileError("the compiler ended")

    monkeypatch.setattr(compiler, "run", run)
    status, out, _ = plan("--target", "h100", "h200")
    assert status == 0 and "no result" in out[1] and any("h100, 8 images a device: the compiler en" in o for o in out)
    status, out, err = plan("--target", "h100")
    assert (status, out, err) == (2, [], ["error: h100, 8 images a device: the compiler ended"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--target h300", "--target: 'h300' is not known; it must be one of h200"),
        ("--target v5e:2x2", "compiling for v5e needs its compiler: pip install 'jax[tpu]=="),
        (
            "--target h200 --set model.levels.r16.hidden=16",
            "no result is kept (there are: none for this config), and",
        ),
        ("--target h200 --price v5e=2", "--price v5e: no --target has this chip; the targets have h200"),
        ("--target h200 --price x=2", "--price x: no such chip"),
        ("--target h200 --price 0", "'0': expected a number above 0"),
        ("--target h200 --price 3 --price 4", "--price: all targets has two prices; give one"),
        ("--target h200 --price h200=3 h200=4", "--price: h200 has two prices; give one"),
        (
            "--target h200:1000x8 --images 50000",
            "a step of the largest target has 64,000 images, and the run has only 50,000",
        ),
        ("--target h200 --set train=2", "--set train: is a group of fields; set one of them, as train.NAME=VALUE"),
        ("--target h200 --price =2", "'=2': expected a price, or CHIP=PRICE"),
        ("--target h200 --images 0", "expected a count"),
        ("--target h200 --batch-per-device 6", "--batch-per-device 6: must be a multiple of 4"),
        ("--target h200 --set train.num_steps=9999999999", "train.num_steps must be a whole number from 1 to 2,147,"),
        ("--target h200 --set train.size=3", "--set train.size: the config has no such field"),
        ("--target h200 --set train.accumulate", "expected FIELD=VALUE"),
        ("--target h200 --set train.clip_norm=-1", "train.clip_norm must be above 0"),
        ("--target h200 --out a.jpg", "--out a.jpg: must end in .png"),
        ("--target h200 --json a.txt", "--json a.txt: must end in .json"),
        ("--batch-per-device 8", "the following arguments are required: --target"),
    ],
)
def test_mistakes_give_one_line(plan, arguments, message):
    before = sorted(Path().iterdir())
    status, out, err = plan(*arguments.split())
    assert (status, out) == (2, []) and len(err) == 1 and message in err[0], err
    assert sorted(Path().iterdir()) == before


def test_a_config_that_does_not_exist_is_named(plan):
    status, _, err = plan("--target", "h200", config="absent.py")
    assert status == 2 and len(err) == 1 and "absent.py: no such config file" in err[0]


def test_the_picture_has_bars_as_long_as_the_numbers(plan, monkeypatch):
    drawn = []
    show = picture._bars
    monkeypatch.setattr(
        picture, "_bars", lambda axes, parts, *rest: (show(axes, parts, *rest), drawn.append((axes, parts)))
    )
    status, out, _ = plan("--target", "h200", "h200:8", "--images", 3_600_000, "--out", "plan.png")
    assert status == 0 and out[-1] == "picture: plan.png"
    with Image.open("plan.png") as image:
        assert (
            image.size[0] == 14 * 120 and len(np.unique(np.asarray(image.convert("RGB")).reshape(-1, 3), axis=0)) > 9
        )
    (memory, _), (step, times), (hours, run) = drawn
    assert times["sending"] == pytest.approx([0, 1.75]) and times["computing"] == pytest.approx([20, 20])
    assert [patch.get_width() for patch in step.patches] == pytest.approx([20, 20, 0, 1.75])
    assert [patch.get_x() for patch in step.patches] == pytest.approx([0, 0, 20, 20])
    assert [patch.get_width() for patch in hours.patches] == pytest.approx([2.5, 3_600_000 / (64 / 0.02175) / 3600])
    assert [text.get_text() for text in memory.get_yticklabels()] == ["h200, 8 a device", "h200:8, 8 a device"]


def test_without_matplotlib_the_table_and_the_json_are_there(plan, monkeypatch):
    for module in [name for name in sys.modules if name.startswith("matplotlib")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    status, out, err = plan("--target", "h200", "--out", "plan.png", "--json", "plan.json")
    assert status == 2 and len(err) == 1 and "hcflow_jax[pictures]" in err[0]
    assert out[1].startswith("h200 ") and Path("plan.json").exists() and not Path("plan.png").exists()
