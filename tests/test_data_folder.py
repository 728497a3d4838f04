"""A folder of any pictures: conversions, order, and errors that name the file."""

import shutil

import numpy as np
import pytest
from PIL import Image

from hcflow_jax.config import ConfigError, default
from hcflow_jax.data import DataError, images, open_encoded, open_source
from hcflow_jax.data.folder import Folder


def _config(path, resolution: int = 4, eval_images: int = 0):
    config = default()
    config.data.update(source="folder", path=str(path), resolution=resolution, eval_images=eval_images)
    return config


def _save(path, value, mode: str = "RGB", size=(4, 4), **kwargs) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value).save(path, **kwargs)


def _colour(path, resolution: int = 4) -> list[int]:
    image = images.load(path, resolution, str(path))
    assert image.shape == (resolution, resolution, 3) and image.dtype == np.uint8
    return image[1, 1].tolist()


@pytest.mark.parametrize(
    ("name", "mode", "value", "expected"),
    [
        ("rgb.png", "RGB", (10, 20, 30), [10, 20, 30]),
        ("grey.png", "L", 77, [77, 77, 77]),
        ("bilevel.png", "1", 1, [255, 255, 255]),
        ("grey_alpha.png", "LA", (0, 51), [204, 204, 204]),
        ("alpha.png", "RGBA", (255, 0, 0, 0), [255, 255, 255]),
        ("half.png", "RGBA", (0, 0, 0, 51), [204, 204, 204]),
        ("deep.png", "I;16", 25700, [100, 100, 100]),
        ("deepest.png", "I;16", 65535, [255, 255, 255]),
        ("print.jpg", "CMYK", (0, 0, 0, 255), [0, 0, 0]),
        ("colour.webp", "RGB", (250, 250, 250), [250, 250, 250]),
    ],
)
def test_modes(tmp_path, name, mode, value, expected):
    if mode == "I;16":
        Image.fromarray(np.full((4, 4), value, np.uint16)).save(tmp_path / name)
    else:
        _save(tmp_path / name, value, mode)
    assert np.abs(np.subtract(_colour(tmp_path / name), expected)).max() <= 1


def test_palette_with_a_transparent_entry(tmp_path):
    image = Image.new("P", (4, 4), 1)
    image.putpalette([0, 0, 0, 200, 100, 50])
    image.save(tmp_path / "opaque.png")
    assert _colour(tmp_path / "opaque.png") == [200, 100, 50]
    image.save(tmp_path / "clear.png", transparency=1)
    assert _colour(tmp_path / "clear.png") == [255, 255, 255]


@pytest.mark.parametrize("wide", [True, False])
def test_square_is_cut_from_the_centre(tmp_path, wide):
    picture = np.zeros((8, 16, 3), np.uint8)
    picture[:, 4:12] = 255
    Image.fromarray(picture if wide else picture.transpose(1, 0, 2)).save(tmp_path / "a.png")
    assert (images.load(tmp_path / "a.png", 8, "a") == 255).all()


def test_resized_to_the_resolution(tmp_path):
    ramp = np.repeat(np.arange(0, 256, 4, dtype=np.uint8)[:, None, None], 64, 1).repeat(3, 2)
    Image.fromarray(ramp).save(tmp_path / "a.png")
    image = images.load(tmp_path / "a.png", 16, "a")
    np.testing.assert_allclose(image[2:-2, 0, 0], ramp.reshape(16, 4, 64, 3).mean(1)[2:-2, 0, 0], atol=1)
    assert images.load(tmp_path / "a.png", 100, "a").shape == (100, 100, 3)


def test_turned_as_exif_says(tmp_path):
    picture = np.zeros((8, 8, 3), np.uint8)
    picture[:4] = 255
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    Image.fromarray(picture).save(tmp_path / "a.png", exif=exif)
    assert images.load(tmp_path / "a.png", 8, "a")[0].max() == 0


def test_order_and_split(tmp_path):
    for i, name in enumerate(["b/1.PNG", "a/2.png", "c.jpeg", "a/10.png"]):
        _save(tmp_path / name, (i, i, i))
    _save(tmp_path / ".hidden/x.png", 0)
    _save(tmp_path / "a/._2.png", 0)
    (tmp_path / "a/notes.txt").write_text("no picture")
    train, held_out = (open_source(_config(tmp_path, eval_images=1), split) for split in ("train", "eval"))
    assert [int(train[i][0, 0, 0]) for i in range(len(train))] == [3, 1, 0]  # a/10, a/2, b/1
    assert len(held_out) == 1 and int(held_out[0][0, 0, 0]) == 2
    with pytest.raises(IndexError):
        train[3]


@pytest.mark.parametrize("eval_images", [2, 3, -1])
def test_split_leaves_a_training_image(tmp_path, eval_images):
    for name in ("a.png", "b.png"):
        _save(tmp_path / name, 0)
    with pytest.raises(ConfigError, match=rf"data\.eval_images is {eval_images}"):
        open_source(_config(tmp_path, eval_images=eval_images), "train")


def test_nothing_held_out_to_evaluate(tmp_path):
    _save(tmp_path / "a.png", 0)
    assert len(open_source(_config(tmp_path), "train")) == 1
    with pytest.raises(ConfigError, match=r"data\.eval_images is 0"):
        open_source(_config(tmp_path), "eval")


@pytest.mark.parametrize("damage", ["truncated", "not a picture"])
@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
def test_damaged_file_is_named(tmp_path, damage, suffix):
    path = tmp_path / f"bad.{suffix}"
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    Image.fromarray(noise).save(path)
    whole = path.read_bytes()
    content = {"truncated": whole[: len(whole) // 2], "not a picture": b"hello" * 50}[damage]
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"{path}: cannot be read as a picture") as error:
        open_source(_config(tmp_path), "train")[0]
    assert "\n" not in str(error.value)


def test_missing_and_empty_folders_are_named(tmp_path):
    with pytest.raises(DataError, match=r"none: no such folder; data\.path"):
        open_source(_config(tmp_path / "none"), "train")
    with pytest.raises(DataError, match=f"{tmp_path}: contains no picture"):
        open_source(_config(tmp_path), "train")
    with pytest.raises(ConfigError, match=r"data\.path is empty"):
        open_source(_config(""), "train")


def test_unknown_source_names_the_field(tmp_path):
    config = _config(tmp_path)
    config.data.source = "web"
    with pytest.raises(ConfigError, match=r"data\.source is 'web': expected portraits, prepared, folder, zip,"):
        open_source(config, "train")


def test_eval_path_and_eval_fraction(tmp_path):
    for part, count in (("train", 4), ("val", 2)):
        for i in range(count):
            _save(tmp_path / part / f"{i}.png", (10 * i, 0, 0))
    config = _config(tmp_path / "train")
    config.data.eval_path = str(tmp_path / "val")
    assert [len(open_source(config, split)) for split in ("train", "eval")] == [4, 2]
    config.data.update(eval_path="", eval_fraction=0.25, eval_images=3)
    train, held_out = (open_source(config, split) for split in ("train", "eval"))
    assert [int(train[i][0, 0, 0]) for i in range(len(train))] == [0, 10, 20]
    assert [int(held_out[i][0, 0, 0]) for i in range(len(held_out))] == [30]
    assert train.identity != held_out.identity
    for fraction in (-0.1, 1.0, 0.9):  # 0.9 of 4 leaves none to train on
        config.data.eval_fraction = fraction
        with pytest.raises(ConfigError, match=rf"data\.eval_fraction is {fraction}"):
            open_source(config, "train")


@pytest.mark.parametrize("inner", ["", "train", "train/val"])
def test_parts_share_no_folder(tmp_path, inner):
    _save(tmp_path / "train/val/a.png", 0)
    config = _config(tmp_path / "train")
    config.data.eval_path = str(tmp_path / inner)
    with pytest.raises(ConfigError, match=r"data\.eval_path is "):
        open_source(config, "train")


def test_identity_is_of_names_and_resolution_only(tmp_path):
    for place in ("here", "there"):
        _save(tmp_path / place / "a.png", 0)
    here, there, larger = (
        open_source(_config(tmp_path / place, resolution), "train").identity
        for place, resolution in (("here", 4), ("there", 4), ("here", 8))
    )
    assert here == there != larger


def test_folder_that_disappears(tmp_path):
    for name in ("a/1.png", "b/2.png"):
        _save(tmp_path / "set" / name, 0)
    source = open_source(_config(tmp_path / "set"), "train")
    names = Folder(tmp_path / "set").names()
    assert next(names) == "a/1.png"
    shutil.rmtree(tmp_path / "set")
    with pytest.raises(DataError, match=r"set/b/2\.png: cannot be read \(No such file") as error:
        source[1]
    assert "\n" not in str(error.value)
    with pytest.raises(DataError, match=r"set/b: cannot be listed \(No such file"):
        next(names)


def test_link_back_up_is_named(tmp_path):
    _save(tmp_path / "a/x.png", 0)
    (tmp_path / "a/up").symlink_to(tmp_path)
    with pytest.raises(DataError, match=r"a/up: a link to a folder above it"):
        open_source(_config(tmp_path), "train")


def test_encoded_is_rebuilt_from_its_description(tmp_path):
    _save(tmp_path / "x.png", (1, 2, 3))
    again = open_encoded(**open_encoded("folder", str(tmp_path)).describe())
    assert list(again.names()) == ["x.png"] and again.read("x.png") == (tmp_path / "x.png").read_bytes()
    with pytest.raises(ConfigError, match=r"'web' is not a kind of set; expected folder, zip, lsun or tfds"):
        open_encoded("web", str(tmp_path))
