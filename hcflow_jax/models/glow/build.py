"""Makes a Glow model from a config."""

from ml_collections import ConfigDict

from hcflow_jax import flows
from hcflow_jax.models import execution
from hcflow_jax.models.glow import family
from hcflow_jax.models.glow.model import Glow
from hcflow_jax.models.glow.nets import LOG_FACTOR, CouplingNetwork, SplitPrior, TopPrior


def build(config: ConfigDict) -> Glow:
    """Makes the model of a config, without checks. Use `hcflow_jax.models.build`, which checks the config first."""
    model, resolution = config.model, config.data.resolution
    networks, repeat = execution.parts(config.execution)
    openai = model.variant == family.OPENAI
    affine = model.coupling == family.AFFINE
    norm_factor = LOG_FACTOR if openai else 1.0
    coupling = flows.Coupling(
        CouplingNetwork(model.hidden, affine, norm_factor, openai, networks),
        flows.ChannelSplit(),
        scale="sigmoid" if affine else "additive",
        gain=1.0,
    )
    step = flows.chain(
        actnorm=flows.Actnorm(biased_std=True, multiplier=norm_factor),
        mixing=flows.LUMixing() if model.mixing == family.LU else flows.Mixing(1.0),
        coupling=coupling,
    )
    levels = []
    for i in range(1, model.levels + 1):
        last = i == model.levels
        end = (
            {"top": flows.Prior(TopPrior(openai))} if last else {"out": flows.FactorOut(SplitPrior(openai, networks))}
        )
        levels.append((str(resolution // 2**i), flows.chain(steps=repeat(step, model.steps), **end)))
    return Glow(resolution, tuple(reversed(levels)), config.data.bits, norm_factor)
