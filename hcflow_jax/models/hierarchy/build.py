"""Makes a hierarchy from a config."""

import dataclasses
import itertools
from typing import Any

import jax.numpy as jnp
from ml_collections import ConfigDict

from hcflow_jax import flows
from hcflow_jax.models.execution import PRESETS, resolve_execution
from hcflow_jax.models.execution import parts as execution_parts
from hcflow_jax.models.hierarchy.level import Level
from hcflow_jax.models.hierarchy.model import Hierarchy
from hcflow_jax.nets.coupling_nets import ConvConditioner, UNetConditioner
from hcflow_jax.nets.decoder import Base, LevelDecoder
from hcflow_jax.nets.encoder import Encoder
from hcflow_jax.nets.layers import Dense, Execution, StyleNetwork

__all__ = ["PRESETS", "build", "level_rows", "resolve_execution"]


def build(config: ConfigDict) -> Hierarchy:
    """Makes the model of a config, without checks. Use `hcflow_jax.models.build`, which checks the config first."""
    execution, repeat = execution_parts(config.execution)
    encoder_dtype = config.execution.encoder_dtype
    encoder_dtype = execution.dtype if encoder_dtype == "auto" else encoder_dtype
    model = config.model
    rows = level_rows(config)
    top = model.top
    return Hierarchy(
        encoder=Encoder(
            resolutions=tuple(rows),
            channels=tuple(row.channels for row in rows.values()),
            widths=tuple(row.encoder for row in rows.values()),
            top=top.dims,
            multiplier=model.encoder_multiplier,
            execution=dataclasses.replace(execution, dtype=jnp.dtype(encoder_dtype)),
        ),
        style=StyleNetwork(top.style_width, top.style_layers, top.style_multiplier, execution),
        base=Base(tuple(top.base_masked), execution),
        levels=(
            *_top_levels(top, repeat, execution),
            *(_level(config, r, repeat, execution) for r in reversed(list(rows))),
        ),
        style_masked=tuple(top.style_masked),
        statistics_group=model.statistics_group,
        bits=config.data.bits,
        stop_gradient=model.stop_gradient,
        loss=model.loss,
    )


def level_rows(config: ConfigDict) -> dict[int, ConfigDict]:
    """The groups `config.model.levels.r*` by resolution, finest first."""
    rows = {int(name.removeprefix("r")): row for name, row in config.model.levels.items()}
    return dict(sorted(rows.items(), reverse=True))


def _level(config: ConfigDict, resolution: int, repeat: Any, execution: Execution) -> Level:
    rows = level_rows(config)
    row, finest = rows[resolution], resolution == max(rows)
    mixing = _mixing(row.orthogonal, row.mixing_multiplier)
    runs, position = {}, 0
    for kind, run in itertools.groupby(row.steps, lambda split: split == "channel"):
        steps = []
        for split in run:
            position += 1
            steps.append(_step(row, split, len(row.steps) - position, mixing, execution))
        runs[f"{'channel' if kind else 'checker'}_{len(runs)}"] = flows.Conditioned("steps", repeat(tuple(steps)))
    return Level(
        name=str(resolution),
        shape=(resolution, resolution, row.channels),
        flow=flows.chain(
            start=flows.Conditioned("start", flows.Injector()),
            **runs,
            end=flows.Conditioned("end", flows.Injector()),
        ),
        decoder=LevelDecoder(
            resolution=resolution,
            channels=row.channels,
            width=row.decoder,
            condition=row.condition,
            skip=0 if finest else row.skip,
            from_base=resolution == min(rows),
            end_unets=row.end_unets,
            style=row.style,
            norm=row.norm,
            multiplier=config.model.decoder_multiplier,
            execution=execution,
        ),
        flow_noise=0.0 if finest else row.flow_noise,
        decoder_noise=0.0 if finest else row.decoder_noise,
        weight=row.weight / (resolution**2 * row.channels),
        prior_std=row.prior_std,
    )


def _step(row: ConfigDict, split: str, index: int, mixing: flows.Bijector, execution: Execution) -> flows.Bijector:
    """One step, in `forward` order: actnorm, coupling, mixing. `index` counts steps from the latent side."""
    if split == "channel":
        coupling = flows.Coupling(ConvConditioner(row.hidden, execution), flows.ChannelSplit())
    else:
        net = UNetConditioner(row.hidden, row.unet_growth, row.unet_scales, row.unet_halvings, execution)
        square = int(split.removeprefix("checker"))
        coupling = flows.Coupling(net, flows.CheckerSplit(square, index))
    return flows.chain(actnorm=flows.Actnorm(), coupling=coupling, mixing=mixing)


def _top_levels(top: ConfigDict, repeat: Any, execution: Execution) -> tuple[Level, Level]:
    mixing = _mixing(top.orthogonal, top.mixing_multiplier)

    def flow(part: ConfigDict) -> flows.Bijector:
        coupling = flows.Coupling(ConvConditioner(part.hidden, execution), flows.ChannelSplit())
        step = flows.chain(actnorm=flows.Actnorm(data_dependent=False), coupling=coupling, mixing=mixing)
        return repeat((step,) * part.steps)

    def level(name: str, part: ConfigDict, dims: int, decoder: Any) -> Level:
        return Level(name, (dims,), flow(part), decoder, part.flow_noise, part.decoder_noise, part.weight, 1.0)

    to_condition = Dense(top.y1.condition, "linear", execution=execution)
    return (
        level("prior", top.prior, top.prior.dims, None),
        level("y1", top.y1, top.dims - top.prior.dims, to_condition),
    )


def _mixing(orthogonal: bool, multiplier: float) -> flows.Bijector:
    return flows.OrthogonalMixing(multiplier) if orthogonal else flows.Mixing(multiplier)
