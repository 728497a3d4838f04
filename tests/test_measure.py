"""What is measured of a model by the command, for a run and while it trains; which real images a protocol takes."""

import dataclasses
import json

import jax
import jax.monitoring
import jax.numpy as jnp
import numpy as np
import pytest
import toy_family
import training_fakes as fakes
from PIL import Image

from hcflow_jax import api, checkpoint, cli
from hcflow_jax import config as schema
from hcflow_jax.data.source import Slice
from hcflow_jax.errors import InputError
from hcflow_jax.evaluation import (
    comparison,
    extractors,
    measure,
    measured_set,
    metrics,
    nearest,
    protocols,
    real_features,
    sets,
)
from hcflow_jax.evaluation.extractors import Extractor
from hcflow_jax.training import evaluate, loop

SIZE = fakes.SIZE


def network(weights, images):
    """Mean colours of the four quarters."""
    quarters = images.astype(jnp.float32).reshape(-1, 2, SIZE // 2, 2, SIZE // 2, 3).mean((2, 4))
    return weights["scale"] * quarters.reshape(len(images), -1)


EXTRACTOR = Extractor("quarters", 12, network, {"scale": np.float32(0.1)}, "none", "0123456789abcdef0123")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(extractors, "load", lambda name, weights: EXTRACTOR)


def make_config(folder, images=28, **train):
    """The toy family on a folder of pictures: the last 12 are held out."""
    fakes.config(folder)
    for i in range(28, images):
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (SIZE, SIZE, 3), np.uint8)).save(
            folder / f"{i}.png"
        )
    schema.register(toy_family.NAME, "toy_family")
    config = schema.default(family=toy_family.NAME)
    config.data.update(dict(source="folder", path=str(folder), resolution=SIZE, eval_images=12))
    config.train.update(dict(batch_size=2, num_steps=4, init_images=4, log_every=1, checkpoint_every=4, eval_every=0))
    config.train.update(train)
    config.eval.update(dict(images=5, batch_size=4, metrics="bits,fid,kid,prc"))
    config.sample.update(dict(count=4, sigma=1.0))
    return config


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        monkeypatch.setattr(extractors, "load", lambda name, weights: EXTRACTOR)
        loop.train(make_config(folder / "images", measure_every=2), folder / "run")
    return folder / "run"


def test_a_run_measures_its_ema_at_an_interval(trained):
    rows = [json.loads(line) for line in (trained / "history.jsonl").read_text().splitlines()]
    measured = [row for row in rows if row["kind"] == "measure"]
    assert [row["step"] for row in measured] == [2, 4]
    for row in measured:
        assert {"frechet_quarters", "frechet_quarters_floor", "kid", "precision", "recall"} <= set(row)
        assert row["count"] == row["count_real"] == 12 and "bits_per_dim" not in row
    assert measured[0]["frechet_quarters"] != measured[1]["frechet_quarters"]


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
    assert "protocol plain: 12 samples at sigma 1.0, seed 0; 12 reals" in said
    assert written["distances"]["protocol"]["real"]["weights_sha256"] == EXTRACTOR.sha256
    assert "fid" not in written["distances"]  # these features are not Inception's


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


@pytest.mark.parametrize(
    ("make", "argv", "message"),
    [
        (lambda p: p.mkdir(), [], "given: holds no picture"),
        (lambda p: arrays(p, arr_0=np.zeros((3, 9, 9, 3), np.uint8)), [], "have 9 pixels a side, and"),
        (lambda p: arrays(p, arr_0=np.zeros((3, 8, 8, 3), np.uint8)), ["--split", "eval"], "one array"),
        (lambda p: arrays(p, mu=np.zeros(3), sigma=np.eye(3)), [], "holds no images"),
        (
            lambda p: None,
            ["--protocol", "paper", "--metrics", "fid"],
            "holds 7 images, and the protocol 'paper' takes",
        ),
        (lambda p: None, ["--samples", "1", "--metrics", "fid"], "a distance needs at least 2"),
        (lambda p: None, ["--metrics", "beauty"], "'beauty': expected some of bits"),
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


def test_protocols_take_the_reals_they_say(tmp_path):
    config = make_config(tmp_path / "images")
    reals = sets.of_array("reals", np.random.default_rng(0).integers(0, 256, (40, SIZE, SIZE, 3), np.uint8))

    def images(protocol, seed=0):
        places = protocol.places(len(reals), seed)
        return places, np.concatenate(list(real_features.prepared(reals, places, protocol, config, seed)))

    places, plain = images(protocols.PLAIN)
    assert reals.images is not None
    np.testing.assert_array_equal(plain, reals.images)
    config.data.bits, config.data.noise_std = 3, 0.01
    paper = protocols.with_samples(protocols.PAPER, 10)
    places, noisy = images(paper)
    assert places.tolist() == list(range(10)) and paper.sigma == 0.8 and paper.split == "all"
    error = noisy.astype(int) - reals.images[:10]
    assert 5 < np.abs(error).mean() < 16 and error.min() < -20 < 20 < error.max()  # a bin of 3 bits has 32 levels
    assert np.unique(noisy).size > 200  # dequantised: not eight values
    figure7 = protocols.with_samples(protocols.FIGURE7, 30)
    places, augmented = images(figure7)
    others, _ = images(figure7, seed=1)
    assert len(set(places.tolist())) == 30 and places.tolist() != others.tolist()
    straight, mirrored = (
        np.abs(augmented.astype(int) - reals.images[places][:, :, ::step]).mean((1, 2, 3)) for step in (1, -1)
    )
    assert 5 < (mirrored < straight).sum() < 25
    assert ((np.minimum(straight, mirrored)) < 16).all()
    with pytest.raises(InputError, match="holds 40 images, and the protocol 'paper' takes 30,000 of them"):
        protocols.PAPER.count(40, "reals")
    assert protocols.PLAIN.count(40, "") == 40 and protocols.PLAIN.count(40_000, "") == 30_000


def test_real_features_are_kept_by_all_they_depend_on(tmp_path, monkeypatch, caplog):
    config, calls = make_config(tmp_path / "images"), []
    reals = sets.of_array("reals", np.random.default_rng(0).integers(0, 256, (9, SIZE, SIZE, 3), np.uint8))
    plain = comparison.extract_batches

    def counting(name, count, *given):
        calls.append(count)
        return plain(name, count, *given)

    monkeypatch.setattr(comparison, "extract_batches", counting)

    def side(protocol=protocols.PLAIN, extractor=EXTRACTOR, source=reals):
        return real_features.real_side(source, protocol, config, extractor)

    first, again = side(), side()
    assert calls == [9]
    np.testing.assert_array_equal(first.features, again.features)
    np.testing.assert_array_equal(first.statistics.sigma, again.statistics.sigma)
    (statistics,) = (tmp_path / "cache" / "hcflow_jax" / "features").glob("*.npz")
    with np.load(statistics) as file:
        assert {"mu", "sigma"} <= set(file.files) and json.loads(str(file["about"]))["count"] == 9
    side(protocols.with_samples(protocols.PAPER, 5))
    side(extractor=dataclasses.replace(EXTRACTOR, sha256="other"))
    assert reals.images is not None
    side(source=sets.of_array("reals", reals.images[::-1].copy()))
    assert calls == [9, 5, 9, 9]
    for file in statistics.parent.glob("*.npy"):
        file.write_bytes(file.read_bytes()[:200])
    side()
    assert calls[4:] == [9] and "computed again" in caplog.text

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("hcflow_jax.files.write", full)
    side(protocols.with_samples(protocols.PAPER, 6))
    assert calls[5:] == [6] and "are not kept for the next time" in caplog.text
    assert len(list(statistics.parent.iterdir())) == 12


def test_the_floor_is_between_halves_of_the_reals():
    rng = np.random.default_rng(0)
    features = rng.standard_normal((400, 4))
    side = comparison.Side("reals", features, comparison.moments(features), {})
    floor = real_features.floor(side, 100)
    assert floor is not None and floor["count"] == 100 and 0 < floor["frechet"] < 0.5
    assert (real_features.floor(side, 1000) or {})["count"] == 200
    assert real_features.floor(dataclasses.replace(side, features=features[:3]), 100) is None


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


def test_nearest_images_and_exactness_are_measured_too(trained, tmp_path, capsys):
    argv = ["evaluate", "--checkpoint", str(trained), "--metrics", "nearest,exactness", "--jacobian-dims", "200"]
    assert cli.main([*argv, "--json", str(tmp_path / "out.json"), "--sheets", str(tmp_path / "sheets")]) == 0
    said, found = capsys.readouterr().out, json.loads((tmp_path / "out.json").read_text())
    assert found["exactness"]["passed"] and "exactness: passed" in said
    assert found["nearest"]["training_images"] == 16 and found["nearest"]["generated"] == 12
    assert found["nearest"]["protocol"]["extractor"] == "quarters" and {"pixels", "features"} <= set(found["nearest"])
    with Image.open(tmp_path / "sheets" / "nearest.png") as sheet:
        assert sheet.width > 6 * SIZE and sheet.height > 24 * SIZE  # six images a row, two rows for each of 12


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
