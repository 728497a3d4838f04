"""What is measured of a model by the command, for a run and while it trains."""

import dataclasses
import json

import jax
import jax.monitoring
import measured_run
import numpy as np
import pytest
import toy_family
from measured_run import EXTRACTOR, SIZE, make_config
from PIL import Image

from hcflow_jax import api, checkpoint, cli
from hcflow_jax import config as schema
from hcflow_jax.analysis import histories
from hcflow_jax.data.source import Slice
from hcflow_jax.errors import InputError
from hcflow_jax.evaluation import (
    measure,
    measured_set,
    metrics,
    nearest,
    protocols,
    sets,
)
from hcflow_jax.training import evaluate


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    measured_run.isolate(tmp_path / "cache", monkeypatch)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return measured_run.train(tmp_path_factory.mktemp("trained"))


def test_a_run_measures_its_ema_at_an_interval(trained):
    rows = [json.loads(line) for line in (trained / "history.jsonl").read_text().splitlines()]
    measured = [row for row in rows if row["kind"] == "measure"]
    assert [row["step"] for row in measured] == [2, 4]
    for row in measured:
        assert {"frechet_quarters", "frechet_quarters_floor", "kid", "precision", "recall"} <= set(row)
        assert row["count"] == row["count_real"] == 12 and "bits_per_dim" not in row
    assert measured[0]["frechet_quarters"] != measured[1]["frechet_quarters"]


def test_a_run_is_read_for_a_comparison(trained):
    run = histories.read_run(trained)
    (seed,) = run.seeds
    assert run.config.model.family == toy_family.NAME and run.batch_size == 2 and run.last_step == 4
    rows = [json.loads(line) for line in (trained / "history.jsonl").read_text().splitlines()]
    for quantity, steps in (("train/loss", [1, 2, 3, 4]), ("eval/bits_per_dim", [0, 4])):
        kind, name = quantity.split("/")
        assert seed.points[quantity].step.tolist() == steps
        assert seed.points[quantity].value.tolist() == [row[name] for row in rows if row["kind"] == kind]
    distances = {name for name in seed.points if name.startswith("measure/")}
    assert distances == {"measure/frechet_quarters of 12", "measure/kid of 12"}
    stored = checkpoint.load(trained)
    assert run.config == stored.config and run.images == stored.metadata["data"]
    assert seed.about["versions"] == stored.metadata["versions"]
    (trained / "config.json").rename(trained / "gone.json")
    assert histories.read_run(trained).config == stored.config  # as Orbax reads it
    (trained / "gone.json").rename(trained / "config.json")


def test_what_is_measured_again_is_not_compiled_again(tmp_path):
    from hcflow_jax.training.measuring import Measuring

    config = make_config(tmp_path / "images")
    params = api.Model(config, {}).image_model.create(jax.random.key(0))
    measuring, compiled = Measuring(config), []

    def listen(event: str, duration_secs: float, **_: object) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(event)

    measuring(params)
    jax.monitoring.register_event_duration_secs_listener(listen)
    second = measuring(jax.tree.map(lambda a: a + np.float32(0.1), params))
    assert compiled == [] and second.values["distances"]["count"] == 12


def test_the_mode_of_a_run_is_the_command(trained, tmp_path, capsys):
    found = evaluate.evaluate(trained)
    assert json.loads((trained / "eval.json").read_text()) == found
    assert found["step"] == 4 and found["images"] == 5
    argv = ["evaluate", "--checkpoint", str(trained), "--metrics", "bits,fid,kid,prc", "--images", "5"]
    assert cli.main([*argv, "--json", str(tmp_path / "out.json")]) == 0
    said, written = capsys.readouterr().out, json.loads((tmp_path / "out.json").read_text())
    assert written["bits"]["bits_per_dim"] == pytest.approx(found["bits_per_dim"], rel=1e-6)
    assert written["bits"]["standard_error"] == pytest.approx(found["standard_error"], rel=1e-4)
    assert written["distances"] == found["distances"]
    assert f"bits/dim                    {found['bits_per_dim']:.4f}" in said
    assert f"kid                         {found['distances']['kid']:.6f} of all images" in said
    assert "protocol plain: 12 samples at sigma 1.0, seed 0; 12 reals" in said
    protocol = written["distances"]["protocol"]
    assert protocol["real"]["weights_sha256"] == EXTRACTOR.sha256
    used = {name: value for name, value in protocol.items() if not isinstance(value, dict)}
    assert used == {"name": "plain", "reals": "all", "samples": 12}
    assert "fid" not in written["distances"]  # these features are not Inception's


def test_the_mode_of_a_run_uses_its_tuned_sigma(trained, monkeypatch):
    config, seen = api.load(trained).config.copy_and_resolve_references(), []

    def measured(model, *_, **__):
        seen.append(model.default_sigma)
        return measure.Measured()

    monkeypatch.setattr(measure, "measure", measured)
    config.eval.metrics, stored = "fid", trained / "sampling.json"
    try:
        for text, sigma in (('{"sigma": {"8": 0.5}}', 1.0), (None, 1.0), ('{"sigma": {"8": 0.5}}', 0.9)):
            stored.unlink(missing_ok=True) if text is None else stored.write_text(text)
            config.sample.sigma = sigma  # that of the checkpoint is 1
            evaluate.evaluate(trained, config)
    finally:
        stored.unlink(missing_ok=True)
    assert seen == [{"8": 0.5}, 1.0, 0.9]


def test_numbers_do_not_depend_on_the_batch(trained):
    model, batches = api.load(trained), []
    images = measured_set.open_data(model.config, None, None)
    for model.batch_size in (1, 3, 8):
        bound = metrics.bits(model, images, draws=2)
        batches.append((bound.bits_per_dim, bound.standard_error, bound.images, bound.draws))
    np.testing.assert_allclose(batches[1:], [batches[0]] * 2, rtol=1e-6)
    assert batches[0][2:] == (12, 2)


def test_data_of_ones_own(trained, tmp_path, capsys):
    model = api.load(trained)
    pictures = np.random.default_rng(5).integers(0, 256, (7, SIZE, SIZE, 3), np.uint8)
    np.savez(tmp_path / "pictures.npz", arr_0=pictures)
    (tmp_path / "folder").mkdir()
    for i, picture in enumerate(pictures):
        Image.fromarray(picture).save(tmp_path / "folder" / f"{i}.png")
    bounds = []
    for name in ("pictures.npz", "folder"):
        out = tmp_path / "out.json"
        argv = ["evaluate", "--checkpoint", str(trained), "--data", str(tmp_path / name), "--json", str(out)]
        assert cli.main(argv) == 0
        bounds.append(json.loads(out.read_text())["bits"]["bits_per_dim"])
    assert bounds[0] == bounds[1] == pytest.approx(metrics.bits(model, sets.of_array("", pictures)).bits_per_dim)
    assert len(measured_set.open_data(model.config, tmp_path / "folder", None)) == 7
    assert len(measured_set.open_data(model.config, None, "all")) == 28
    assert len(measured_set.open_data(model.config, None, "train")) == 16


def arrays(path, **named):
    with path.open("wb") as file:
        np.savez(file, **named)


@pytest.mark.situation(
    "an empty folder, images of another size, too few of them, or a file without images to measure on"
)
@pytest.mark.parametrize(
    ("make", "argv", "message"),
    [
        (lambda p: p.mkdir(), [], "given: contains no picture"),
        (lambda p: arrays(p, arr_0=np.zeros((3, 9, 9, 3), np.uint8)), [], "have 9 pixels, and"),
        (lambda p: arrays(p, arr_0=np.zeros((3, 8, 8, 3), np.uint8)), ["--split", "eval"], "one array"),
        (lambda p: arrays(p, mu=np.zeros(3), sigma=np.eye(3)), [], "contains no images"),
        (
            lambda p: None,
            ["--protocol", "paper", "--metrics", "fid"],
            "holds 7 images, and the protocol 'paper' takes",
        ),
        (lambda p: None, ["--samples", "1", "--metrics", "fid"], "a distance needs at least 2"),
        (lambda p: None, ["--metrics", "beauty"], "'beauty': expected any of bits"),
        (lambda p: None, ["--sigma", "16=0.7"], "no level '16'"),
    ],
)
def test_what_cannot_be_measured_is_one_line(trained, tmp_path, capsys, make, argv, message):
    where = tmp_path / "given"
    make(where)
    if not where.exists():
        where = tmp_path / "folder"
        where.mkdir()
        for i in range(7):
            Image.fromarray(np.full((SIZE, SIZE, 3), i, np.uint8)).save(where / f"{i}.png")
    out = tmp_path / "out.json"
    argv = ["evaluate", "--checkpoint", str(trained), "--data", str(where), "--json", str(out), *argv]
    assert cli.main(argv) == 2
    said = capsys.readouterr().err
    assert message in said and "Traceback" not in said and not out.exists()


def test_the_config_names_what_is_measured(tmp_path):
    config = make_config(tmp_path / "images")
    for change, message in (
        ({"metrics": "bits,beauty"}, "eval.metrics must be some of"),
        ({"samples": 1}, "eval.samples must be 0"),
    ):
        changed = config.copy_and_resolve_references()
        changed.eval.update(change)
        with pytest.raises(schema.ConfigError, match=message):
            measure.wanted(changed)
    config.eval.update(dict(samples=7, draws=3, protocol="figure7"))
    names, options, _ = measure.wanted(config)
    assert names == ("bits", "fid", "kid", "prc") and options.protocol.samples == 7 and options.draws == 3


def test_a_model_without_a_density_has_no_bits(trained, monkeypatch):
    monkeypatch.setattr(toy_family.Toy, "likelihood", "undefined")
    found = measure.measure(
        api.load(trained),
        measured_set.open_data(api.load(trained).config, None, None),
        ("bits",),
        extractor=lambda: EXTRACTOR,
    )
    assert found.values["bits"]["bits_per_dim"] is None and "none: a level has no noise" in found.lines[0]
    assert checkpoint.load(trained).step == 4


@pytest.mark.full
def test_nearest_images_and_exactness_are_measured_too(trained, tmp_path, capsys):
    argv = ["evaluate", "--checkpoint", str(trained), "--metrics", "nearest,exactness", "--jacobian-dims", "200"]
    assert cli.main([*argv, "--json", str(tmp_path / "out.json"), "--sheets", str(tmp_path / "sheets")]) == 0
    said, found = capsys.readouterr().out, json.loads((tmp_path / "out.json").read_text())
    assert found["exactness"]["passed"] and "exactness: passed" in said
    assert found["nearest"]["training_images"] == 16 and found["nearest"]["generated"] == 12
    assert found["nearest"]["protocol"]["extractor"] == "quarters" and {"pixels", "features"} <= set(found["nearest"])
    with Image.open(tmp_path / "sheets" / "nearest.png") as sheet:
        assert sheet.width > 6 * SIZE and sheet.height > 16 * SIZE  # six images a row, two rows for each of 8


@pytest.mark.parametrize("split", ["train", "all"])
def test_training_images_are_not_held_out_for_nearest(split, capsys):
    argv = ["evaluate", "--checkpoint", "absent", "--metrics", "bits,nearest", "--split", split]
    assert cli.main(argv) == 2
    assert f"--split {split}: `nearest` needs images that were not used in training" in capsys.readouterr().err


def test_a_missing_extractor_is_found_before_anything_is_measured(trained):
    model, said = api.load(trained), []

    def missing():
        raise InputError("the extra eval is missing")

    with pytest.raises(InputError, match="extra eval"):
        measure.measure(
            model,
            sets.of_array("", api.held_out(model.config, 4)),
            ("bits", "nearest"),
            extractor=missing,
            tell=lambda *progress: said.append(progress),
        )
    assert not said


def test_a_finished_metric_is_printed_even_if_a_later_one_fails(trained, monkeypatch, capsys):
    monkeypatch.setattr(metrics, "exactness", lambda *_: pytest.fail(capsys.readouterr().out))
    with pytest.raises(pytest.fail.Exception, match=r"bits/dim +\d"):
        cli.main(["evaluate", "--checkpoint", str(trained), "--metrics", "bits,exactness"])


def test_parts_of_a_set_have_the_nearest_images_of_the_whole(monkeypatch):
    """What two processes find in their halves, merged."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (20, SIZE, SIZE, 3), np.uint8)
    training = sets.of_array("training", images[:14])

    def found(first, last):
        return nearest.neighbours(images[14:17], images[17:], Slice(training, first, last, ""), mirrored=True).pixels

    whole, parts = found(0, 14), [found(0, 7), found(7, 14)]
    moved = [dataclasses.replace(part, places=part.places + 7 * i) for i, part in enumerate(parts)]

    def gathered(rows):
        for name in ("distances", "mirrored", "places"):
            if rows.shape == getattr(moved[0], name).shape and (rows == getattr(moved[0], name)).all():
                return np.concatenate([getattr(part, name) for part in moved])
        return np.concatenate([part.held_out[:, None] for part in parts])

    monkeypatch.setattr(metrics.shares, "gathered", gathered)
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    merged = metrics.merged(parts[0], 0)
    for name in ("places", "mirrored", "distances", "held_out"):
        np.testing.assert_array_equal(getattr(merged, name), getattr(whole, name))


def test_the_sigma_of_samples_is_the_first_that_is_said(trained):
    """Of the command line, the protocol, the model, the config."""
    model = api.load(trained)
    model.config = model.config.copy_and_resolve_references()
    model.config.sample.sigma = 0.6
    assert metrics.Options().sigma_of(model) == model.default_sigma == 0.6
    assert (model.sample(2, seed=1) == model.sample(2, seed=1, sigma=0.6)).all()
    model.sigma = {"8": 0.5}
    assert metrics.Options().sigma_of(model) == {"8": 0.5}
    assert metrics.Options(protocol=protocols.PAPER).sigma_of(model) == 0.8
    assert metrics.Options(protocol=protocols.PAPER, sigma=0.9).sigma_of(model) == 0.9
