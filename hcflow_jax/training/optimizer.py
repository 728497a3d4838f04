"""Adam with a learning rate per group of modules (Table 2's "Learning rate", Section 6 of the model).

Which group a parameter belongs to is decided by its path alone, from one table of patterns that must cover
every parameter exactly once: a module that is added or renamed cannot silently learn at a wrong rate.
"""

import re
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int
from ml_collections import ConfigDict

from hcflow_jax.config import ConfigError
from hcflow_jax.training.schedule import GROUPS

Params = Any

# What inside the decoder is not one of "the decoder's convs, U-Nets and learned constant": the style's dense
# layers, what leaves a level, the base's conv, and the linear map of y_prior that conditions y_1 ("y1").
_DECODER_FLOWS = r"decoder/(?:y1|base/conv|(?:.+/)?(?:style_in|style_out|to_condition|to_skip))/"

# (group, pattern over '/'-joined paths). The patterns exclude one another; the lookahead makes the decoder's
# two do.
PATTERNS: tuple[tuple[str, str], ...] = (
    ("encoder", r"^encoder/"),
    ("decoder", rf"^(?!{_DECODER_FLOWS})decoder/"),
    ("flows", rf"^{_DECODER_FLOWS}"),
    ("flows", r"^(?:flows|style)/"),
)


def path_name(path: tuple[Any, ...]) -> str:
    """'/'-joined name of a key path, such as "decoder/8/stage_0/style_in/kernel"."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def labels(params: Params, patterns: tuple[tuple[str, str], ...] = PATTERNS) -> Params:
    """The group of every parameter.

    Args:
      params: tree of arrays or shapes.
      patterns: (group, regular expression) rows; each parameter's path must match exactly one.

    Returns:
      A tree like `params` with a group's name at every leaf.

    Raises:
      ConfigError: a path matches no row, or several; the message names it.
    """

    def label(path: tuple[Any, ...], _: Any) -> str:
        name = path_name(path)
        rows = [(group, pattern) for group, pattern in patterns if re.search(pattern, name)]
        if not rows:
            raise ConfigError(
                f"parameter {name!r} belongs to no learning-rate group: add its module to PATTERNS in "
                "hcflow_jax/training/optimizer.py"
            )
        if len(rows) > 1:
            matched = ", ".join(f"{pattern!r} ({group})" for group, pattern in rows)
            raise ConfigError(
                f"parameter {name!r} matches several learning-rate patterns, {matched}: make them exclude "
                "one another, in PATTERNS in hcflow_jax/training/optimizer.py"
            )
        return rows[0][0]

    return jax.tree_util.tree_map_with_path(label, params)


def count_by_group(params: Params) -> dict[str, int]:
    """Number of parameters in every group."""
    counts: dict[str, int] = {group: 0 for group in GROUPS}
    for label, leaf in zip(jax.tree.leaves(labels(params)), jax.tree.leaves(params), strict=True):
        counts[label] += leaf.size
    return counts


def _scale_by_rate(group: str) -> optax.GradientTransformationExtraArgs:
    """Multiplies by minus the group's rate, which comes in with every update and is no part of the state.

    So the rate follows the step number, which a skipped update advances too, and not a count of updates.
    """

    def update(
        updates: Params,
        state: optax.OptState,
        params: Params = None,
        *,
        rates: Mapping[str, Array],
        **extra: Any,
    ) -> tuple[Params, optax.OptState]:
        del params, extra
        return jax.tree.map(lambda u: -rates[group] * u, updates), state

    # optax declares `update` without the extra arguments that it hands through.
    return optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)  # pyright: ignore


def _unless_frozen(inner: optax.GradientTransformation) -> optax.GradientTransformationExtraArgs:
    """`inner`, but where `frozen` comes in true neither parameters nor its state change."""
    inner = optax.with_extra_args_support(inner)

    def update(
        updates: Params, state: optax.OptState, params: Params = None, *, frozen: Bool, **extra: Any
    ) -> tuple[Params, optax.OptState]:
        updates, new_state = inner.update(updates, state, params, **extra)
        updates = jax.tree.map(lambda u: jnp.where(frozen, 0.0, u), updates)
        return updates, jax.tree.map(lambda old, new: jnp.where(frozen, old, new), state, new_state)

    return optax.GradientTransformationExtraArgs(inner.init, update)  # pyright: ignore


def make_optimizer(config: ConfigDict) -> optax.GradientTransformationExtraArgs:
    """Clipping by global norm, then one Adam a group.

    It works on packed trees (`packing`): {group: {part: vector}}.

    Args:
      config: the whole config.

    Returns:
      A transformation whose `update` takes `rates={"encoder": ..., "decoder": ..., "flows": ...}` and `frozen`:
      whether to leave the encoder's parameters and moments alone. The norm is over what still learns, provided
      the encoder's gradients are then zero.
    """
    train = config.train

    def adam(group: str) -> optax.GradientTransformation:
        chain = optax.chain(
            optax.scale_by_adam(b1=train.adam_b1, b2=train.adam_b2, eps=train.adam_eps), _scale_by_rate(group)
        )
        return _unless_frozen(chain) if group == "encoder" else chain

    groups = optax.partition({group: adam(group) for group in GROUPS}, lambda packed: {g: g for g in packed})
    return optax.with_extra_args_support(optax.chain(optax.clip_by_global_norm(train.clip_norm), groups))


def updates_done(opt_state: optax.OptState) -> Int[Array, ""]:
    """How many updates were applied, skipped ones left out: Adam's count in a group that is never frozen."""
    counts = optax.tree.get_all_with_path(opt_state, "count")
    return next(count for path, count in counts if any(getattr(key, "key", None) == "flows" for key in path))


def ema_update(ema: Params, params: Params, decay: Float[Array, ""]) -> Params:
    """decay * ema + (1 - decay) * params; exactly `params` where the decay is 0."""
    return optax.incremental_update(params, ema, 1.0 - decay)
