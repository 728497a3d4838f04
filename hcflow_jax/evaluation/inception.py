"""FID's Inception network: the 2015 Inception-v3 graph, with TensorFlow 1's resizing, as a function of its weights.

`inception_weights` reads the file of weights that is commonly used for FID. The graph differs from later versions of
Inception-v3 in three points: average pools do not count the padding, the last block uses a maximum pool, and images
are resized without a half-pixel shift and without antialiasing.
"""

from collections.abc import Mapping
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, UInt8

SIZE = 299  # side of the network's input, pixels
DIMS = 2048  # length of the features that FID compares
EPSILON = 1e-3  # of the batch norms
TAPS = ("64", "192", "768", "2048", "logits_unbiased", "logits")

Weights = Mapping[str, Array]  # from `arrange`


def features(weights: Weights, images: UInt8[Array, "b R R 3"]) -> Float[Array, "b 2048"]:
    """The pooled features that FID compares, of images that are resized as in TensorFlow 1.

    Args:
      weights: from `arrange`.
      images: 8-bit values.
    """
    return taps(weights, as_tensorflow(images))["2048"]


def features_of_pytorch_fid(weights: Weights, images: UInt8[Array, "b R R 3"]) -> Float[Array, "b 2048"]:
    """The features as pytorch-fid computes them: its resizing is bilinear, with a half-pixel shift.

    Args:
      weights: from `arrange`.
      images: 8-bit values.
    """
    x = images.astype(jnp.float32) / 255
    x = jax.image.resize(x, (x.shape[0], SIZE, SIZE, 3), "bilinear", antialias=False)
    return taps(weights, 2 * x - 1)["2048"]


def features_of_clean_fid(weights: Weights, images: UInt8[Array, "b R R 3"]) -> Float[Array, "b 2048"]:
    """The features as clean-fid 0.1.35 computes them: it resizes with Pillow's bicubic filter and does not round.

    The filter is that of Keys (a = -0.5), and it is widened if images become smaller. Near sharp edges its values can
    lie outside [0, 255]; they are clipped.

    Args:
      weights: from `arrange`.
      images: 8-bit values.
    """
    resized = jnp.clip(bicubic(images.astype(jnp.float32)), 0, 255)
    return taps(weights, (resized - 128) / 128)["2048"]


def bicubic(x: Float[Array, "b R R 3"], size: int = SIZE) -> Float[Array, "b s s 3"]:
    """Pillow's bicubic resizing of float images.

    Args:
      x: images of any values.
      size: s, the new side in pixels.
    """
    return jax.image.resize(x, (x.shape[0], size, size, 3), "cubic", antialias=True)


def as_tensorflow(images: UInt8[Array, "b R R 3"]) -> Float[Array, "b 299 299 3"]:
    """The network's input for 8-bit images, as TensorFlow's graph computes it: about [-1, 1]."""
    return (resize(images.astype(jnp.float32)) - 128) / 128


def taps(weights: Weights, x: Float[Array, "b 299 299 3"]) -> dict[str, Float[Array, "b d"]]:
    """The pooled features at four depths, and the logits of 1,008 classes with and without their bias.

    Args:
      weights: from `arrange`.
      x: the network's input, between -1 and 1.

    Returns:
      {"64": (b, 64), "192": (b, 192), "768": (b, 768), "2048": (b, 2048), "logits_unbiased", "logits": (b, 1008)}.
    """
    unit = partial(_unit, weights)
    found = {}
    x = unit("Conv2d_1a_3x3", x, stride=2, padding="VALID")
    x = unit("Conv2d_2a_3x3", x, padding="VALID")
    x = unit("Conv2d_2b_3x3", x)
    x = _max_pool(x, stride=2)
    found["64"] = x.mean((1, 2))
    x = unit("Conv2d_3b_1x1", x, padding="VALID")
    x = unit("Conv2d_4a_3x3", x, padding="VALID")
    x = _max_pool(x, stride=2)
    found["192"] = x.mean((1, 2))
    for name in ("Mixed_5b", "Mixed_5c", "Mixed_5d"):
        x = _block_a(partial(_in, unit, name), x)
    x = _block_b(partial(_in, unit, "Mixed_6a"), x)
    for name in ("Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"):
        x = _block_c(partial(_in, unit, name), x)
    found["768"] = x.mean((1, 2))
    x = _block_d(partial(_in, unit, "Mixed_7a"), x)
    x = _block_e(partial(_in, unit, "Mixed_7b"), x, _average_pool)
    x = _block_e(partial(_in, unit, "Mixed_7c"), x, _max_pool)
    found["2048"] = x.mean((1, 2))
    found["logits_unbiased"] = jnp.matmul(found["2048"], weights["fc.weight"], precision=lax.Precision.HIGHEST)
    found["logits"] = found["logits_unbiased"] + weights["fc.bias"]
    return found


def resize(x: Float[Array, "b R R 3"], size: int = SIZE) -> Float[Array, "b s s 3"]:
    """TensorFlow 1's bilinear resizing: target position t reads source position t R / s, clamped at the edge.

    Args:
      x: images of any values.
      size: s, the new side in pixels.
    """
    for axis in (1, 2):
        old = x.shape[axis]
        if old == size:
            continue
        position = np.arange(size) * np.float32(old / size)
        low = np.minimum(np.floor(position).astype(np.int32), old - 1)
        high = np.minimum(low + 1, old - 1)
        weight = jnp.asarray((position - low).astype(np.float32)).reshape((-1,) + (1,) * (3 - axis))
        below, above = jnp.take(x, low, axis), jnp.take(x, high, axis)
        x = below + (above - below) * weight
    return x


def arrange(flat: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Arranges the weights of the file for the network: kernels with the channels last, batch norms folded in.

    Args:
      flat: name -> array, as in the file: `X.conv.weight` (out, in, kh, kw), `X.bn.{weight, bias, running_mean,
        running_var}` (out,), `fc.weight` (1008, 2048), `fc.bias` (1008,).

    Returns:
      `X.kernel` (kh, kw, in, out), which contains the scale of the batch norm, `X.shift` (out,), `fc.weight`
      (2048, 1008) and `fc.bias` (1008,), float32.
    """
    made = {"fc.weight": np.asarray(flat["fc.weight"], np.float32).T, "fc.bias": np.asarray(flat["fc.bias"])}
    for name in (key.removesuffix(".conv.weight") for key in flat if key.endswith(".conv.weight")):
        norm = {part: np.asarray(flat[f"{name}.bn.{part}"], np.float64) for part in NORM}
        scale = norm["weight"] / np.sqrt(norm["running_var"] + EPSILON)
        kernel = np.asarray(flat[f"{name}.conv.weight"], np.float64).transpose(2, 3, 1, 0) * scale
        made[f"{name}.kernel"] = kernel.astype(np.float32)
        made[f"{name}.shift"] = (norm["bias"] - norm["running_mean"] * scale).astype(np.float32)
    return made


NORM = ("weight", "bias", "running_mean", "running_var")


def _unit(weights: Weights, name: str, x: Array, *, stride: int = 1, padding: str = "SAME") -> Array:
    """Convolution, batch norm, ReLU."""
    kernel = weights[f"{name}.kernel"]
    x = lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        padding,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=lax.Precision.HIGHEST,
    )
    return jax.nn.relu(x + weights[f"{name}.shift"])


def _in(unit, block: str, name: str, x: Array, **options) -> Array:
    return unit(f"{block}.{name}", x, **options)


def _max_pool(x: Array, stride: int = 1) -> Array:
    """A 3 x 3 maximum pool. With stride 2 it has no padding."""
    padding = "SAME" if stride == 1 else "VALID"
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 3, 3, 1), (1, stride, stride, 1), padding)


def _average_pool(x: Array) -> Array:
    """A 3 x 3 average pool with stride 1, which does not count the padding."""

    def sums(x: Array) -> Array:
        return lax.reduce_window(x, 0.0, lax.add, (1, 3, 3, 1), (1, 1, 1, 1), "SAME")

    return sums(x) / sums(jnp.ones((1, *x.shape[1:3], 1)))


def _chain(unit, x: Array, *names: str, **last) -> Array:
    """Applies units one after another. The options are those of the last unit."""
    for name in names[:-1]:
        x = unit(name, x)
    return unit(names[-1], x, **last)


def _numbered(prefix: str, count: int) -> list[str]:
    return [f"{prefix}_{i}" for i in range(1, count + 1)]


def _joined(*parts: Array) -> Array:
    return jnp.concatenate(parts, -1)


def _block_a(unit, x: Array) -> Array:
    return _joined(
        unit("branch1x1", x),
        _chain(unit, x, *_numbered("branch5x5", 2)),
        _chain(unit, x, *_numbered("branch3x3dbl", 3)),
        unit("branch_pool", _average_pool(x)),
    )


def _block_b(unit, x: Array) -> Array:
    halved = dict(stride=2, padding="VALID")
    return _joined(
        unit("branch3x3", x, **halved),
        _chain(unit, x, *_numbered("branch3x3dbl", 3), **halved),
        _max_pool(x, stride=2),
    )


def _block_c(unit, x: Array) -> Array:
    return _joined(
        unit("branch1x1", x),
        _chain(unit, x, *_numbered("branch7x7", 3)),
        _chain(unit, x, *_numbered("branch7x7dbl", 5)),
        unit("branch_pool", _average_pool(x)),
    )


def _block_d(unit, x: Array) -> Array:
    halved = dict(stride=2, padding="VALID")
    return _joined(
        _chain(unit, x, *_numbered("branch3x3", 2), **halved),
        _chain(unit, x, *_numbered("branch7x7x3", 4), **halved),
        _max_pool(x, stride=2),
    )


def _block_e(unit, x: Array, pool) -> Array:
    three = unit("branch3x3_1", x)
    twice = _chain(unit, x, *_numbered("branch3x3dbl", 2))
    return _joined(
        unit("branch1x1", x),
        unit("branch3x3_2a", three),
        unit("branch3x3_2b", three),
        unit("branch3x3dbl_3a", twice),
        unit("branch3x3dbl_3b", twice),
        unit("branch_pool", pool(x)),
    )
