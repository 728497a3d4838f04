"""Latents of some images, odd indices and levels; images of odd kinds. Nothing is compiled here."""

# pyright: reportArgumentType=false

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from api_model import images, model

from hcflow_jax import api
from hcflow_jax.api import images as pixels
from hcflow_jax.errors import ImageIndexError, InputError, LevelNameError

SHAPES = {"prior": (4,), "y1": (12,), "8": (8, 8, 4), "16": (16, 16, 3)}


def latents(count: int = 3, **changed: Any) -> api.Latents:
    rng = np.random.default_rng(0)
    made = {name: rng.standard_normal((count, *shape)).astype(np.float32) for name, shape in SHAPES.items()}
    return api.Latents({**made, **changed})


def same(z: Any, expected: Any) -> None:
    jax.tree.map(np.testing.assert_array_equal, dict(z.items()), dict(expected.items()))


@pytest.mark.situation(
    "`latents[i]` of existing images: negative, a number, list, mask or slice of NumPy, JAX or Python"
)
@pytest.mark.parametrize(
    ("which", "rows"),
    [
        *((0, [0]), (-1, [2]), (np.uint64(2), [2]), (np.array(1), [1]), (jnp.array(1), [1]), ([2, 0, -1], [2, 0, 2])),
        *(([True, False, True], [0, 2]), (np.array([False] * 3), []), (jnp.array([0, 2]), [0, 2]), ([], [])),
        *((slice(5, 9), []), (slice(None, None, -1), [2, 1, 0]), (range(2), [0, 1])),
    ],
)
def test_some_images(which, rows):
    z = latents()
    same(z[which], {name: z[name][np.array(rows, int)] for name in SHAPES})
    lists = api.Latents({name: z[name].tolist() for name in SHAPES})
    assert len(lists[which]) == len(rows)


@pytest.mark.situation("`latents[i]` of an image that does not exist, or of something that is not an index")
@pytest.mark.parametrize("which", [3, -4, 2**70, [0, 3], np.int64(-4), jnp.array([7])])
def test_an_image_that_is_not_there(which):
    with pytest.raises(ImageIndexError, match=r"latents\[.*there are 3 images, 0 to 2") as raised:
        latents()[which]
    assert isinstance(raised.value, InputError) and isinstance(raised.value, IndexError)


NO_INDEX: Any = [True, np.True_, None, ..., (0, 1), 1.0, [1.0], b"8", ["8"], [[0], [1, 2]], [[0]], [True], object()]


@pytest.mark.situation("`latents[i]` of an image that does not exist, or of something that is not an index")
@pytest.mark.parametrize("which", [*NO_INDEX, slice(None, None, 0), slice(0.5, 2)])
def test_no_index(which):
    with pytest.raises(InputError, match=r"latents\["):
        latents()[which]


@pytest.mark.situation("latents of a level that does not exist, or that are not arrays of the same images")
def test_levels_that_are_not_there():
    with pytest.raises(LevelNameError, match="^no level '4'; there are prior, y1, 8, 16$") as raised:
        latents()["4"]
    assert isinstance(raised.value, KeyError) and isinstance(raised.value, InputError)
    assert 8 not in latents() and [] not in latents() and "8" in latents()
    for wrong, message in (
        (lambda: api.Latents(3), "by_level is int"),
        (lambda: api.Latents({8: np.zeros(3)}), "names a level 8"),
        (lambda: len(api.Latents({"8": 3.0})), "level 8 are a single number"),
        (lambda: latents(y1=1.0)[:1], "level y1 are not an array of 3 images"),
        (lambda: latents(y1=[[1], [1, 2], [3]])[:1], "level y1 are not an array of 3 images"),
        (lambda: latents(y1=np.zeros((2, 12)))[[2]], "level y1 are not an array of 3 images"),
        (lambda: api.concatenate([]), "parts must be a list of Latents"),
        (lambda: api.concatenate([latents(), api.Latents({"8": np.zeros(1)})]), "parts have levels"),
        (lambda: api.concatenate([latents(), latents(y1=np.zeros((3, 11)))]), "parts cannot be joined"),
    ):
        with pytest.raises(InputError, match=message):
            wrong()
    assert len(api.Latents({})) == 0 and len(api.concatenate(iter(latents()))) == 3


def _images() -> dict[str, Any]:
    x = images(2)
    floats, fixed = (x / 255).astype(np.float32), images(2)
    fixed.setflags(write=False)
    return {
        **dict(bytes=x, list=list(x), jax=jnp.asarray(x), fixed=fixed, strided=np.repeat(x, 2, 0)[::2]),
        **dict(
            fortran=np.asfortranarray(x), masked=np.ma.array(x), mirrored=np.ascontiguousarray(x[:, ::-1])[:, ::-1]
        ),
        **dict(single=floats, double=floats.astype(float), big=floats.astype(">f4"), nested=floats.tolist()),
    }


@pytest.mark.situation("images as lists, JAX arrays, float64, read-only, not contiguous, or a single one")
@pytest.mark.parametrize("kind", _images())
def test_images_of_other_kinds(kind):
    given = pixels.check(_images()[kind], 16)
    as_bytes = given if given.dtype == np.uint8 else np.round(given * 255).astype(np.uint8)
    np.testing.assert_array_equal(as_bytes, images(2))
    assert given.dtype in (np.uint8, np.float32)
    assert pixels.check(_images()[kind][0], 16).shape == (1, 16, 16, 3)


BAD_IMAGES: dict[str, tuple[Any, str]] = {
    "floats of 0 to 255": (images(1).astype(np.float32), "divide by 255"),
    "nan": (np.full((1, 16, 16, 3), np.nan), "nan"),
    "inf": (np.full((1, 16, 16, 3), np.inf), "inf"),
    "too large for float32": (np.full((1, 16, 16, 3), 1e300), "inf"),
    "booleans": (images(1) > 3, "images are bool"),
    "integers": (images(1).tolist(), "images are int64"),
    "objects": (images(1).astype(object), "images are object"),
    "a record": (np.zeros((1, 16, 16, 3), [("a", "f4")]), "images are "),
    "channels first": (images(1).transpose(0, 3, 1, 2), "channels last"),
    "grey": (images(1)[..., :1], r"images have shape \(1, 16, 16, 1\)"),
    "five axes": (images(1)[None], "images have shape"),
    "ragged": ([images(1)[0], images(1)[0, :8]], "images cannot be converted to an array"),
    "empty": (images(0), "there is no image"),
    "text": ("a.png", r"images have shape \(\)"),
    "None": (None, r"images have shape \(\)"),
}


@pytest.mark.situation("images of another shape, dtype or range, ragged lists, an empty batch")
@pytest.mark.parametrize("case", BAD_IMAGES)
def test_images_that_will_not_do(case):
    given, message = BAD_IMAGES[case]
    each = given if hasattr(given, "shape") or not isinstance(given, list) else [given]
    for call in (
        *(model().encode, model().bits_per_dim, model().measure_statistics if given is not None else model().encode),
        *(lambda x: list(model().encode_batches(each)), lambda x: list(model().reconstruct_batches(each))),
    ):
        with pytest.raises(InputError, match=message):
            call(given)
