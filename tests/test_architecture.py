"""Architectures: counts that add up to the model's, every level, masks, and diagrams in which nothing overlaps."""

import functools
import math
from typing import Any

import jax
import least_config
import numpy as np
import pytest
import toy_family
from diagram_checks import faults

from hcflow_jax import config as schema
from hcflow_jax import flows
from hcflow_jax.analysis import architecture
from hcflow_jax.cli import command
from hcflow_jax.config import ConfigError, presets, registry
from hcflow_jax.errors import InputError
from hcflow_jax.models.flow_graph import masks
from hcflow_jax.models.outline import Outline, counted

CHEAP = ("least", "glow_small:demo")
COUNTS = {"demo": 1_487_269, "ablation:demo_e": 1_482_914, "celebahq_a": 77_118_712, "glow_small:demo": 1_476_144}
SHOWN = ("demo", "portraits", "celebahq_a", "ablation:demo_e")
ALL = tuple(name for preset in presets.names() for name in presets.variants(preset))
REST = tuple(name for name in ALL if name not in (*CHEAP, *SHOWN))


@functools.cache
def described(name: str) -> Outline:
    if name != "least":
        return architecture.outline(presets.config(name))
    config = least_config.get_config()
    config.model.levels.r16.steps = ("channel", "checker2", "checker4", "checker4")  # three are stacked, two alike
    return architecture.outline(config)


def check_counts(name: str, outline: Outline) -> None:
    """Every view's boxes have all parameters of what it shows."""
    shapes: Any = outline.shapes
    rows, whole = outline.rows(), sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))
    assert whole == COUNTS.get(name, whole)
    assert outline.overview().parameters == whole
    assert sum(int(row["parameters"]) for row in rows) == whole
    seen = 0
    for level in outline.model.level_names:
        assert outline.flow(level).parameters == counted(shapes["flows"][level])
        in_level = [row for row in rows if str(row["part"]).startswith(("encoder/", "decoder/"))]
        owner = "" if level in ("prior", "y1") else level
        own = sum(
            int(row["parameters"])
            for row in in_level
            if (str(row["part"]).startswith("encoder/") and row["level"] == owner)
            or (str(row["part"]).startswith("decoder/") and row["level"] == level)
        )
        if "encoder" in shapes:
            assert outline.networks(level).parameters == own
        seen += counted(shapes["flows"][level])
    assert seen == counted(shapes["flows"])


@pytest.mark.parametrize("name", CHEAP)
def test_counts_add_up(name):
    check_counts(name, described(name))


@pytest.mark.parametrize(
    "name",
    [
        *(pytest.param(name, marks=pytest.mark.full) for name in SHOWN),
        *(pytest.param(name, marks=pytest.mark.all) for name in REST),
    ],
)
def test_counts_of_all_configs_add_up_and_nothing_overlaps(name):
    outline = architecture.outline(presets.config(name))
    check_counts(name, outline)
    levels = outline.model.level_names
    views = [outline.overview(), *(view(level) for level in levels for view in (outline.flow, outline.networks))]
    assert {fault for graph in views for fault in faults(graph, architecture.STYLES)} == set()


@pytest.mark.parametrize("name", CHEAP)
def test_nothing_overlaps(name):
    outline = described(name)
    level = outline.model.level_names[-1]
    for view, which in (("overview", None), ("flow", level), ("networks", outline.model.level_names[0])):
        assert faults(architecture.graph(outline, view, which), architecture.STYLES) == []


@pytest.mark.parametrize("name", CHEAP)
def test_every_level_is_shown(name):
    outline = described(name)
    boxes = {node.name: node for node in outline.overview().nodes}
    for level, shape in outline.model.latent_shapes.items():
        said = " ".join(boxes[f"z_{level}"].lines)
        assert f"{math.prod(shape):,} dimensions" in said
        assert boxes[f"flow {level}"].parameters == counted(outline.shapes["flows"][level])


@pytest.mark.parametrize("count", [1, pytest.param(8, marks=pytest.mark.full)])
def test_one_to_eight_levels(count):
    config = least_config.get_config()
    row = config.model.levels.r16.copy_and_resolve_references()
    row.update(dict(skip=4, flow_noise=0.05, decoder_noise=0.05, channels=4, steps=("channel",)))
    coarse = config.model.levels.r8.copy_and_resolve_references()
    rows = {8 * 2**i: row.copy_and_resolve_references() for i in range(count)}
    rows[8] = coarse
    finest = max(rows)
    rows[finest].update(dict(channels=3, skip=0))
    config.model.levels = schema.levels(rows)
    config.data.resolution = finest
    outline = architecture.outline(config)
    assert len(outline.model.level_names) == count + 2
    graph = outline.overview()
    assert faults(graph, architecture.STYLES) == [] and graph.parameters == counted(outline.shapes)


def test_masks_are_those_of_the_splits():
    for square in (2, 4):
        split = flows.CheckerSplit(square, 1)
        (mask,) = masks([split], (16, 16, 3))
        whole = np.asarray(split.hidden((1, 16, 16, 3)))[..., 0]
        np.testing.assert_array_equal(np.kron(mask, np.ones((square, square))), whole)
    (mask,) = masks([flows.ChannelSplit()] * 2, (4, 4, 5))
    np.testing.assert_array_equal(mask[0], flows.ChannelSplit().hidden((1, 5)))


def test_a_family_without_an_outline_has_an_overview(monkeypatch):
    monkeypatch.setitem(registry._modules, toy_family.NAME, toy_family.__name__)
    outline = architecture.outline(schema.default(toy_family.NAME))
    assert type(outline) is Outline and outline.overview().parameters == counted(outline.shapes)
    assert faults(outline.overview(), architecture.STYLES) == []
    with pytest.raises(InputError, match="does not describe its flows"):
        outline.flow(outline.model.level_names[0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--view flow --level 7", "no level '7'; there are prior, y1, 8, 32"),
        ("--view networks --level 7", "no level '7'; there are prior, y1, 8, 32"),
        ("--level 8", "the overview shows all levels"),
        ("--view inside", "invalid choice: 'inside'"),
        ("--out a.svg", "must end in .png or .pdf"),
        ("--checkpoint portraits", "--checkpoint: not with --config"),
    ],
)
def test_refused_in_one_line(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert command.main(["figure", "architecture", "--config=demo", *arguments.split()]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and message in lines[0] and not list(tmp_path.iterdir())


def test_the_command_writes_a_picture_and_rows(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    config = "--config=configs/glow_small.py:demo"
    assert command.main(["figure", "architecture", config, "--out", "a.pdf", "--csv", "a.csv"]) == 0
    rows = (tmp_path / "a.csv").read_text().splitlines()
    assert rows[0] == "part,level,shapes,parameters" and "1,476,144 parameters" in capsys.readouterr().out
    assert sum(int(row.rsplit(",", 1)[1]) for row in rows[1:]) == 1_476_144
    assert (tmp_path / "a.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no such config file"),
        ("def get_config(): raise ValueError('bad\\nthing')", "ValueError: bad thing"),
        ("x = 1", "AttributeError"),
        ("def get_config(): return 3", "must give a ConfigDict, not int"),
    ],
)
def test_config_files_that_are_wrong(text, message, tmp_path):
    path = tmp_path / "mine.py"
    if text:
        path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        presets.read(str(path))
