"""The training loss's gradient cut into pieces, each on its own: every level's flow and decoder, and the networks.

Their times do not sum to a step's: the optimizer is left out, and what XLA fuses or overlaps across their borders.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hcflow_jax.models.hierarchy import Hierarchy, objective

Piece = tuple[Callable[..., Any], tuple[Any, ...]]


def pieces(model: Hierarchy, params: Any, batch: int) -> Iterator[tuple[str, Callable[[], Piece]]]:
    """Names, finest level first, each with what makes its piece: a gradient, not jitted, and its arguments.

    Args:
      model: the model.
      params: raw, or their shapes; what of a piece's arguments is no parameter is given as its shape.
      batch: images.
    """
    yield "encoder", partial(encoder, model, params, batch)
    for level in reversed(model.levels):
        yield f"flow:{level.name}", partial(flow, model, params, level.name, batch)
        if level.decoder is not None:
            yield f"decoder:{level.name}", partial(decoder, model, params, level.name, batch)
    yield "style_and_base", partial(style_and_base, model, params, batch)


def encoder(model: Hierarchy, params: Any, batch: int) -> Piece:
    """By the parameters alone: nothing asks for the images' gradient."""

    def loss(own: Any, x: Any) -> Any:
        return _square(model.features({"encoder": own}, x))

    return jax.value_and_grad(loss), (params["encoder"], _images(model, batch))


def flow(model: Hierarchy, params: Any, name: str, batch: int) -> Piece:
    """A level's part of the loss, by its flow's parameters, prepared within, and by its conditioning."""
    level = model.level(name)

    def loss(own: Any, cond: Any, y: Any) -> Any:
        z, log_det = level.flow.forward(level.flow.prepare(own), y, cond)
        return -level.weight * jnp.mean(objective.log_normal(z, level.prior_std) + log_det)

    cond = None
    if level.decoder is not None:
        module: Any = level.decoder
        given = _decoder_inputs(model, name, batch)
        cond = jax.eval_shape(lambda p, *y: module.apply({"params": p}, *y), params["decoder"][name], *given)
        cond = cond if name == "y1" else cond[0]  # beside the skip
    return jax.value_and_grad(loss, (0, 1)), (params["flows"][name], cond, _features(model, name, batch))


def decoder(model: Hierarchy, params: Any, name: str, batch: int) -> Piece:
    """By the parameters, and by what the decoder is given: the next coarser y, and above 1x1 its skip and style."""
    module: Any = model.level(name).decoder

    def loss(own: Any, *inputs: Any) -> Any:
        return _square(module.apply({"params": own}, *inputs))

    inputs = _decoder_inputs(model, name, batch)
    return jax.value_and_grad(loss, tuple(range(1 + len(inputs)))), (params["decoder"][name], *inputs)


def style_and_base(model: Hierarchy, params: Any, batch: int) -> Piece:
    """The two networks that see y of 1x1, by their parameters and by it."""

    def loss(style: Any, base: Any, top: Any) -> Any:
        return _square((model.style.apply({"params": style}, top), model.base.apply({"params": base}, top)))

    top = jax.ShapeDtypeStruct((batch, model.level("prior").dims + model.level("y1").dims), jnp.float32)
    return jax.value_and_grad(loss, (0, 1, 2)), (params["style"], params["decoder"]["base"], top)


def filled(arguments: Any) -> Any:
    """The arguments with numbers of about 1 where there are shapes."""
    rng = np.random.default_rng(0)

    def numbers(leaf: Any) -> Any:
        if isinstance(leaf, jax.ShapeDtypeStruct):
            return jnp.asarray(rng.standard_normal(leaf.shape, np.float32), leaf.dtype)
        return leaf

    return jax.tree.map(numbers, arguments)


def _images(model: Hierarchy, batch: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((batch, *model.image_shape), jnp.float32)


def _features(model: Hierarchy, name: str, batch: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((batch, *model.level(name).shape), jnp.float32)


def _decoder_inputs(model: Hierarchy, name: str, batch: int) -> tuple[Any, ...]:
    """Shapes, known without tracing the model, which takes long."""
    if name == "y1":
        return (_features(model, "prior", batch),)
    below = model.level_names[model.level_names.index(name) - 1]
    own: Any = model.level(name).decoder
    coarser: Any = model.level(below).decoder
    encoder: Any = model.encoder
    style_network: Any = model.style
    style = jax.ShapeDtypeStruct((batch, style_network.width), own.execution.dtype)
    if own.from_base:
        return jax.ShapeDtypeStruct((batch, 4, 4, encoder.top), jnp.float32), None, style
    y, skip = _features(model, below, batch), None
    if coarser.skip:
        skip = jax.ShapeDtypeStruct((*y.shape[:3], coarser.skip), own.execution.dtype)
    return y, skip, style


def _square(tree: Any) -> Any:
    return sum(jnp.sum(jnp.square(leaf.astype(jnp.float32))) for leaf in jax.tree.leaves(tree))
