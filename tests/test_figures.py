"""`hcflow figure NAME`, and the modules of `analysis` behind it: with a model of plain arithmetic."""

import csv
import importlib
import re
import sys
import zlib
from pathlib import Path
from typing import Any

import jax
import measured_run
import numpy as np
import pytest
import two_part_model
from PIL import Image

from hcflow_jax import api, data, models, pictures
from hcflow_jax.analysis import curves, histories, interpolation, mix, neighbours, variation, walk
from hcflow_jax.cli import command, figures
from hcflow_jax.evaluation import extractors

SIZE = two_part_model.SIZE
SHOWN = 96 // SIZE  # pixels of a sheet for a pixel of an image


class Cubed(two_part_model.TwoParts):
    """Its space "y_top" has the cubes of the red level."""

    spaces = ("z", "y_top")

    def to_space(self, params: Any, z: Any, space: str) -> Any:
        return {"red": z["red"] ** 3}

    def from_space(self, params: Any, y: Any, space: str) -> Any:
        return {"red": jax.numpy.cbrt(y["red"])}


class Drawn(list):
    """Images as a data source."""

    name = identity = "drawn"


@pytest.fixture(scope="module")
def model():
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(models, "build", lambda config: Cubed())
        made = api.Model(two_part_model.config(), two_part_model.params())
    made.batch_size = 8
    return made


@pytest.fixture
def figure(tmp_path, monkeypatch, capsys, model):
    """Runs the command in a folder of its own; gives its status, and the lines of both streams together."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(api, "load", lambda *_, **__: model)
    images = two_part_model.images(40)
    sources = {"eval": Drawn(images[:20]), "train": Drawn(images[20:])}
    monkeypatch.setattr(data, "open_source", lambda config, split: sources[split])
    monkeypatch.setattr(neighbours, "open_source", lambda config, split: sources[split])
    monkeypatch.setattr(extractors, "load", lambda name, weights: measured_run.EXTRACTOR)
    cache = jax.config.jax_compilation_cache_dir  # pyright: ignore

    def run(*arguments: Any) -> tuple[int, str]:
        status = command.main(["figure", *map(str, arguments)])
        said = capsys.readouterr()
        return status, said.out + said.err

    yield run
    jax.config.update("jax_compilation_cache_dir", cache)


def shows(sheet: np.ndarray, image: np.ndarray) -> bool:
    """Whether a sheet has an image, each of its pixels as a square of whole pixels."""
    large = image.repeat(SHOWN, 0).repeat(SHOWN, 1)
    starts = np.argwhere((sheet == large[0, 0]).all(-1)).tolist()
    return any(
        (sheet[y : y + len(large), x : x + len(large)] == large).all()
        for y, x in starts
        if y + len(large) <= len(sheet) and x + len(large) <= sheet.shape[1]
    )


def read(path: str) -> np.ndarray:
    with Image.open(path) as picture:
        return np.array(picture.convert("RGB"))


def frames_of(path: str) -> int:
    with Image.open(path) as picture:
        return getattr(picture, "n_frames", 1)


def rows_of(path: str) -> list[dict[str, str]]:
    return list(csv.DictReader(Path(path).read_text().splitlines()))


def test_every_figure_has_its_file_and_says_what_it_shows(capsys):
    assert command.main(["figure", "--help"]) == 0
    listed = capsys.readouterr().out
    for name, summary in figures.FIGURES.items():
        module = importlib.import_module(f"hcflow_jax.cli.figures.{name}")
        assert callable(module.add_arguments) and callable(module.run) and name in listed and summary[:20] in listed
        assert command.main(["figure", name, "--help"]) == 0
        assert f"hcflow figure {name}" in capsys.readouterr().out
    assert command.main(["figure", "--seed", "3"]) == 2
    assert command.main(["figure", "sample"]) == 2


def test_samples_of_chosen_seeds_and_of_the_first_ones(figure, model):
    status, said = figure("samples", "--seeds", "4,9", "--sigma", "0.5", "--out", "made/chosen.png")
    assert status == 0 and said.endswith(f"made/chosen.png: 2 images of {api.BOXED[0]}\n")
    assert shows(read("made/chosen.png"), model.sample(1, seed=9, sigma=0.5)[0])
    both = ("--checkpoint", "a", "b", "--names", "ours", "Glow")
    assert figure("samples", *both, "--sigma", "0.5", "rest=0.2", "--count", 3, "--columns", 2)[0] == 0
    sheet = read("samples.png")
    for sigma in (0.5, {"rest": 0.2}):
        assert all(shows(sheet, image) for image in model.sample(3, sigma=sigma))


def test_variation_with_its_numbers_and_its_video(figure, model):
    arguments = ("--count", 2, "--resamplings", 4, "--csv", "v.csv", "--video", "v.gif", "--top", 80)
    status, said = figure("variation", *arguments)
    assert status == 0 and frames_of("v.gif") == 4
    latents = model.encode(two_part_model.images(40)[:2])
    found = variation.variation(model, latents, 4)
    assert [float(row["mean_pixel_std"]) for row in rows_of("v.csv")] == pytest.approx(
        [row["mean_pixel_std"] for row in found.rows()], rel=1e-4
    )
    assert {row["model"] for row in rows_of("v.csv")} == {api.BOXED[0]} and "largest / smallest" in said
    assert shows(read("variation.png"), two_part_model.images(40)[0])


def test_variation_without_matplotlib_is_refused_before_any_work(figure, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr(api, "load", lambda *_, **__: pytest.fail("a model was loaded"))
    status, said = figure("variation", "--csv", "v.csv")
    assert status == 2 and "matplotlib: pip install 'hcflow_jax[pictures]'" in said and not list(tmp_path.iterdir())


def test_zeroing_of_files(figure, model):
    image = two_part_model.images(50)[-1]
    pictures.save_png("mine.png", image)
    status, said = figure("zeroing", "mine.png", "held-out:3", "--csv", "z.csv")
    assert status == 0 and "2 images" in said
    sheet = read("zeroing.png")
    zeroed = model.decode(model.zero(model.encode(image[None]), "rest"))[0]
    assert shows(sheet, image) and shows(sheet, zeroed) and shows(sheet, two_part_model.images(40)[3])
    assert [row["row"] for row in rows_of("z.csv")] == ["z_rest = 0", "all = 0"]


def test_rows_and_grids_have_their_ends_at_their_ends(figure, model):
    ends = ("held-out:0", "held-out:1", "seed:3", "seed:8")
    images = [*two_part_model.images(40)[:2], *(model.sample(1, seed=seed)[0] for seed in (3, 8))]
    for extra in ((), ("--grid",), ("--space", "z", "y_top", "--how", "linear")):
        assert figure("interpolate", *ends, "--steps", 3, *extra)[0] == 0
        assert all(shows(read("interpolation.png"), image) for image in images)
    assert figure("interpolate", *ends, "--steps", 4, "--out", "way.gif")[0] == 0
    assert frames_of("way.gif") == 6
    a, b = model.draw(2, seed=1), model.draw(2, seed=2)
    for space in ("z", "y_top"):
        found = interpolation.rows(model, a, b, 5, "spherical", space)
        for i in range(2):
            expected = model.interpolate(a[i], b[i], 5, how="spherical", space=space)
            assert np.abs(found[i].astype(int) - expected).max() <= 1
    corners = interpolation.grid(model, model.draw(4, seed=1), 3, "linear")
    z = model.draw(4, seed=1)
    middle = api.Latents({name: z[name].mean(0, keepdims=True) for name in z.names})
    assert np.abs(corners[1, 1].astype(int) - model.decode(middle)[0]).max() <= 1
    decoded = model.decode(z).astype(int)
    found = np.stack([corners[0, 0], corners[0, 2], corners[2, 0], corners[2, 2]])
    assert np.abs(found - decoded).max() <= 1  # upper left, upper right, lower left, lower right


def test_a_walk_is_closed_and_keeps_what_does_not_walk(figure, model):
    way = walk.latents(model, 3, 4, seed=2, levels="rest")
    drawn = model.draw(3, seed=2)
    assert len(way) == 12 and (way["red"] == way["red"][:1]).all()
    np.testing.assert_allclose(way["rest"][::4], drawn["rest"], atol=1e-6)
    lengths = np.linalg.norm(way["rest"].reshape(12, -1), axis=1)
    assert lengths.min() > 0.95 * np.linalg.norm(drawn["rest"].reshape(3, -1), axis=1).min()  # a line's middle: 0.7
    steps = np.linalg.norm(np.diff(np.concatenate([way["rest"], way["rest"][:1]]), axis=0).reshape(12, -1), axis=1)
    assert steps.max() < 1.5 * steps.min()  # the way back to the start is as even
    start = model.encode(two_part_model.images(1))
    np.testing.assert_array_equal(walk.latents(model, 3, 4, start=start)[0]["red"], start["red"])
    assert figure("walk", "--stops", 2, "--steps", 3, "--start", "held-out:0", "--out", "walk.gif")[0] == 0
    assert frames_of("walk.gif") == 6
    assert figure("walk", "--stops", 2, "--steps", 3, "--start", "held-out:0", "--levels", "rest")[0] == 0
    assert read("walk.png").shape == (96, 6 * 98 - 2, 3) and shows(read("walk.png"), two_part_model.images(40)[0])


def test_a_mixed_image_has_coarse_levels_of_its_column_and_fine_ones_of_its_row(figure, model):
    images = two_part_model.images(40)
    coarse, fine = model.encode(images[:3]), model.encode(images[5:7])
    mixed = mix.mix(model, coarse, fine, "rest")
    for row in range(2):
        for column in range(3):
            expected = model.decode(fine[row].replace(red=coarse[column]["red"]))[0]
            assert np.abs(mixed[row, column].astype(int) - expected).max() <= 1
    assert figure("mix", "--coarse", "held-out:0", "held-out:1", "--fine", "held-out:5", "--level", "rest")[0] == 0
    sheet = read("mix.png")
    assert all(shows(sheet, image) for image in (images[0], images[1], images[5], mixed[0, 0], mixed[0, 1]))


def test_curves_of_runs_and_references(figure, tmp_path, monkeypatch):
    assert figure("curves", "demo", "--quantity", "held-out bits/dim", "--csv", "c.csv")[0] == 0
    rows, run = rows_of("c.csv"), histories.reference("demo")
    points = run.seeds[0].points["eval/bits_per_dim"]
    assert len(rows) == sum(len(seed.points["eval/bits_per_dim"]) for seed in run.seeds)
    assert [float(row["held-out bits/dim"]) for row in rows[: len(points)]] == points.value.tolist()
    by_step, by_time = curves.panels({"demo": run}, "eval/bits_per_dim")
    (series,) = by_step.series
    assert series.low is not None and by_time.x_label == "training time [minutes]"
    status, said = figure("curves", "demo", "--quantity", "fid")
    assert status == 2 and said.startswith("error: quantity 'fid'") and "training bits/dim" in said
    assert figure("curves", "demo", "absent")[0] == 2
    monkeypatch.setattr(curves, "quantities", lambda runs: ["measure/fid of 200", "measure/fid of 2000"])
    assert curves.find([run], "measure/fid of 200") == "measure/fid of 200"  # though it is a part of the other
    assert curves.find([run], None) == "measure/fid of 200" and curves.find([run], "2000") == "measure/fid of 2000"
    with pytest.raises(ValueError, match="expected one of those"):
        curves.find([run], "fid")
    assert figure("curves", "demo", "--names", "a", "b")[0] == 2


def test_neighbours_are_found_in_the_training_set(figure, model, monkeypatch):
    training = two_part_model.images(40)[20:]
    monkeypatch.setattr(model, "sample", lambda count, **_: training[[7, 3, 5]][:count])
    arguments = ("--count", 2, "--compared", 3, "--neighbours", 2, "--csv", "n.csv", "--extractor", "toon-head")
    status, said = figure("neighbours", *arguments)
    assert status == 0 and "memorised" in said
    rows = rows_of("n.csv")
    assert [row["training_image"] for row in rows if row["rank"] == "1" and row["by"] == "pixels"] == ["7", "3", "5"]
    assert {row["by"] for row in rows} == {"pixels", "features"} and float(rows[0]["distance"]) == 0
    assert shows(read("neighbours.png"), training[7]) and not shows(read("neighbours.png"), training[5])


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["samples", "--out", "a.jpg"], "--out a.jpg: must end in .png or .pdf"),
        (["samples", "--sigma", "1", "2"], "--sigma: 2 values for 1 models"),
        (["samples", "--sigma", "blue=1"], "--sigma: no level 'blue'"),
        (["samples", "--checkpoint", "a", "b", "--names", "x", "x"], "two are called 'x'"),
        (["samples", "--checkpoint", "a", "b", "--names", "x"], "1 names for 2"),
        (["variation", "held-out:99"], "held-out:99: there are 20 held-out images"),
        (["variation", "seed:1", "--count", "2"], "--count 2: images are named"),
        (["variation", "--top", "0"], "--top: '0': expected a number above 0"),
        (["variation", "--csv", "a.txt"], "--csv a.txt: must end in .csv"),
        (["variation", "--video", "a.png"], "--video a.png: must end in .mp4 or .gif"),
        (["zeroing", "absent.png"], "absent.png"),
        (["interpolate", "seed:1", "seed:2", "seed:3"], "3 images: give pairs"),
        (["interpolate", "seed:1", "seed:2", "--grid"], "--grid: 2 images; give its four corners"),
        (["interpolate", "seed:1", "seed:2", "--space", "z", "y_top", "--out", "a.gif"], "a video shows rows of one"),
        (["interpolate", "seed:-1", "seed:2"], "expected a seed"),
        (["walk", "--levels", "blue"], "--levels: no level 'blue'"),
        (["walk", "--stops", "1"], "--stops: '1'"),
        (["mix", "--level", "red"], "--level red: it is the coarsest level"),
        (["mix", "--level", "blue"], "--level: no level 'blue'"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(figure, tmp_path, arguments, said):
    status, message = figure(*arguments)
    assert status == 2 and said in message and message.startswith("error: ") and message.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_pdf_has_every_pixel_as_it_is(tmp_path):
    sheet = np.random.default_rng(0).integers(0, 256, (30, 50, 3)).astype(np.uint8)
    pictures.save(tmp_path / "a.pdf", sheet)
    content = (tmp_path / "a.pdf").read_bytes()
    assert b"/MediaBox [ 0 0 50 30 ]" in content
    streams = re.findall(rb"/Subtype /Image.*?stream\r?\n(.*?)\r?\nendstream", content, re.DOTALL)
    (stream,) = streams
    values = np.frombuffer(zlib.decompress(stream), np.uint8)
    if values.size == 30 * (50 * 3 + 1):  # PNG's predictors
        Image.fromarray(sheet).save(tmp_path / "a.png")
        header, idat = (tmp_path / "a.png").read_bytes()[:33], stream
        body = len(idat).to_bytes(4, "big") + b"IDAT" + idat
        (tmp_path / "b.png").write_bytes(
            header + body + zlib.crc32(body[4:]).to_bytes(4, "big") + b"\0\0\0\0IEND\xaeB`\x82"
        )
        values = read(str(tmp_path / "b.png"))
    np.testing.assert_array_equal(values.reshape(sheet.shape), sheet)
    pictures.save(tmp_path / "b.pdf", sheet)
    assert (tmp_path / "b.pdf").read_bytes() == content  # no date
    pictures.panels(tmp_path / "c.pdf", [[pictures.Panel([pictures.Series("s", [0, 1], [1, 2])], "x", "y")]])
    assert (tmp_path / "c.pdf").read_bytes().startswith(b"%PDF")
    for bad in (sheet.astype(float), sheet[0]):
        with pytest.raises(ValueError, match="expected uint8"):
            pictures.save_pdf(tmp_path / "d.pdf", bad)
    with pytest.raises(ValueError, match=r"must end in \.png or \.pdf"):
        pictures.save(tmp_path / "d.jpg", sheet)
