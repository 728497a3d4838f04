"""A second family of models, in a file of its own: one flow over the pixels, whose likelihood is exact."""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from hcflow_jax import flows, parameters
from hcflow_jax.config.fields import COUNT, Field, need
from hcflow_jax.config.registry import Rate
from hcflow_jax.errors import InputError
from hcflow_jax.models import ImageModel, Objective
from hcflow_jax.models.base import level_error

NAME = "toy"
FIELDS = {
    "steps": Field(2, "steps of the flow", rule=COUNT),
    "hidden": Field(4, "width of the coupling networks", rule=COUNT),
}
RATES = {"all": Rate(1e-2)}
DEFAULTS = {"train.optimizer": "adamax", "data.noise_std": 0.0}


def check(config: ConfigDict) -> None:
    need("model.hidden", config.model.hidden % 2 == 0, "be even", config.model.hidden)


def build(config: ConfigDict) -> ImageModel:
    from hcflow_jax.nets.coupling_nets import ConvConditioner

    step = flows.chain(
        actnorm=flows.Actnorm(),
        coupling=flows.Coupling(ConvConditioner(config.model.hidden), flows.ChannelSplit()),
        mixing=flows.Mixing(),
    )
    return Toy(config.data.resolution, flows.Repeat((step,) * config.model.steps), config.data.bits)


@dataclasses.dataclass(frozen=True)
class Toy(ImageModel):
    resolution: int
    flow: flows.Bijector
    bits: int

    likelihood = "exact"

    @property
    def image_shape(self):
        return (self.resolution, self.resolution, 3)

    @property
    def level_names(self):
        return (str(self.resolution),)

    @property
    def latent_shapes(self):
        return {self.level_names[0]: self.image_shape}

    @property
    def scaled_levels(self):
        return self.level_names

    def _create(self, key: Any) -> Any:
        return {"flow": self.flow.create(key, jnp.zeros((1, *self.image_shape)))}

    def create(self, key: Any) -> Any:
        return parameters.draw_all(key, jax.eval_shape(self._create, key))

    def shapes(self) -> Any:
        return parameters.unbox(jax.eval_shape(self._create, jax.random.key(0)))

    def calibrate(self, params: Any, x: Any, keys: Any) -> Any:
        return {"flow": self.flow.calibrate(params["flow"], x)[0]}

    def prepare(self, params: Any) -> Any:
        return {"flow": self.flow.prepare(params["flow"])}

    def flow_params(self, prepared: Any) -> Any:
        return {self.level_names[0]: prepared["flow"]}

    def _log_density(self, params: Any, x: Any) -> Any:
        z, log_det = self.flow.forward(params["flow"], x)
        dims = math.prod(self.image_shape)
        return log_det - 0.5 * (jnp.sum(jnp.square(z), (1, 2, 3)) + dims * math.log(2 * math.pi))

    def objective(self, params: Any, x: Any, keys: Any, statistics: Any = None) -> Objective:
        share = -self._log_density(params, x) / (math.prod(self.image_shape) * math.log(2))
        bits = share + self.bits
        return Objective(bits, bits, {self.level_names[0]: share})

    def encode(self, params: Any, x: Any) -> Any:
        z, log_det = self.flow.forward(params["flow"], x)
        return {self.level_names[0]: z}, {self.level_names[0]: log_det}

    def decode_coarse(self, params: Any, z: Any, level: str) -> Any:
        return {}

    def decode_from(self, params: Any, state: Any, z: Any, level: str) -> Any:
        return self.flow.inverse(params["flow"], z[level])[0]

    def draw(self, key: Any, count: int, sigma: Any = 1.0) -> Any:
        (name,) = self.level_names
        sigmas = sigma if isinstance(sigma, dict) else {name: sigma}
        for given in sigmas:
            if given != name:
                raise InputError(f"sigma: {level_error(given, self.level_names)}")
        return {name: sigmas.get(name, 1.0) * jax.random.normal(key, (count, *self.image_shape))}

    def finest_score(self, params: Any, x: Any, state: Any) -> Any:
        return jax.grad(lambda x: jnp.sum(self._log_density(params, x)))(x)
