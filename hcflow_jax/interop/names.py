"""The authors' state_dict names for the parameters of our tree.

Their block i is our level R_i, finest first. A level whose next coarser level is 4 times smaller has two components;
component 0 is the finer. Our decoder stages are counted from the coarser. Their flow steps are counted from the
latent side, ours (stacked) from the data side.
"""

import dataclasses
import re

from ml_collections import ConfigDict

from hcflow_jax.models.hierarchy.build import level_rows

# Their parameters without effect: masks and resampling kernels, which are not learned, and biases multiplied by 0.
WITHOUT_EFFECT = (
    r".*\.mask_(in|out)|(.*\.)?_mask_for_(style|base)|.*interp_K.*",
    r".*\.conv_d_pred_[23]\.b",
)
FULLY_MASKED = r"endblock_split_conv\.w"  # without effect only if the base mask hides all of y_top

_LEAVES = {"scale": "an_scale", "bias": "an_bias", "kernel": "K", "generator": "_U"}
_ENCODER = {
    "conv_in": "conv_e1",
    "conv_out": "conv_e2",
    "target": "conv_e3",
    "hand_over": "conv_e3",
    "features": "conv_e3_b",
}
_STAGE = {
    "conv_in": "conv_d1",
    "residual_0": "conv_d2",
    "residual_1": "conv_d3",
    "residual_2": "conv_d4",
    "style_in": "A_1_s",
    "style_out": "A_2_s",
}
_HEADS = {  # these belong to the finer component of a level
    "start_shift": "conv_d5_a",
    "start_unet": "conv_d5_un",
    "start_scale_hidden": "conv_d5_b",
    "start_scale": "conv_d5_bb",
    "end_shift": "conv_d5_c",
    "end_unet": "conv_d5_c_un",
    "end_scale_hidden": "conv_d5_d",
    "end_scale": "conv_d5_dd",
}
_PREDICT = {  # these belong to the coarser component of a level
    "predict_unet": "conv_d_pred_0",
    "predict_0": "conv_d_pred_1",
    "predict_1": "conv_d_pred_2",
    "predict_2": "conv_d_pred_3",
}
_CHANNEL_NET = {
    "cond": "cond_preproc_a",
    "hidden_0": "conv_1",
    "hidden_1": "conv_2",
    "hidden_2": "conv_3",
    "scale": "conv_out_scale",
    "shift_hidden": "conv_out_bias",
    "shift": "conv_out_bias_b",
}
_CHECKER_NET = {
    "cond": "conv_cond_connect_pre",
    "join": "conv_cond_connect_un",
    "hidden_0": "conv_1",
    "hidden_1": "conv_2",
    "hidden_2": "conv_3",
    "bottom": "bottom",
    "scale_hidden": "conv_scale_out",
    "scale": "conv_scale_out_b",
    "shift_hidden": "conv_bias_out",
    "shift": "conv_bias_out_b",
}


@dataclasses.dataclass(frozen=True)
class Names:
    """The authors' names for the parameters of a model.

    Attributes:
      config: the config of the model.
    """

    config: ConfigDict

    def theirs(self, path: tuple[str, ...]) -> tuple[str, ...]:
        """Their name for one of our parameters; for a stacked parameter their names, in our order of steps.

        Args:
          path: the keys from the root of our tree to the leaf.
        """
        section, *rest = path
        if section == "flows":
            return self._flow(*rest)
        return (".".join(getattr(self, f"_{section}")(*rest)),)

    def without_effect(self, name: str) -> bool:
        """Whether one of their parameters has no effect in this model."""
        a, b = self.config.model.top.base_masked
        dead = WITHOUT_EFFECT + ((FULLY_MASKED,) if a <= 0 and b >= self.config.model.top.dims else ())
        return any(re.fullmatch(pattern, name) for pattern in dead)

    @property
    def _resolutions(self) -> list[int]:
        return list(level_rows(self.config))

    def _encoder(self, stage: str, layer: str, leaf: str) -> tuple[str, ...]:
        start = int(stage.removeprefix("from_"))
        if start <= 4:
            return ("endblock_autoencoder.components", str(int(start == 2)), _ENCODER[layer], leaf)
        level = min(r for r in self._resolutions if r >= start)
        component = 0 if start == level else 1
        return (self._component(level, component), _ENCODER[layer], leaf)

    def _style(self, layer: str, leaf: str) -> tuple[str, ...]:
        i = int(layer.removeprefix("layer_"))
        return ("global_state", "fc1" if i == 0 else f"fc_rest.{i - 1}", leaf)

    def _decoder(self, level: str, *rest: str) -> tuple[str, ...]:
        if level == "y1":
            return ("endblock_unified.cond_encoders.0", *rest)
        if level == "base":
            constant = ("endblock_autoencoder.components.0.conv_d_const",)
            return constant if rest == ("constant",) else ("endblock_split_conv", rest[1])
        resolution, (module, *inner) = int(level), rest
        block = self._resolutions.index(resolution)
        if module == "to_condition":
            return (f"blocks.{block}.learned_upscaler_cond", *inner)
        if module == "to_skip":
            return (f"blocks.{block}.skip_to_next", *inner)
        last = self._stages(resolution) - 1
        if module in _HEADS:
            return (self._component(resolution, 0), _HEADS[module], *_unet(inner))
        if module in _PREDICT:
            return (self._component(resolution, last), _PREDICT[module], *_unet(inner))
        component = last - int(module.removeprefix("stage_"))
        return (self._component(resolution, component), _STAGE[inner[0]], inner[-1])

    def _flow(self, level: str, *rest: str) -> tuple[str, ...]:
        if level in ("prior", "y1"):
            prefix = "endblock_uncond" if level == "prior" else "conditionals.0"
            count = self.config.model.top[level].steps
            steps = [f"endblock_unified.{prefix}.steps.{count - 1 - i}" for i in range(count)]
            return tuple(f"{s}.{_step('channel', level != 'prior', rest)}" for s in steps)
        resolution, (run, *inner) = int(level), rest
        splits = level_rows(self.config)[resolution].steps
        kinds = ["channel" if split == "channel" else "checker" for split in splits]
        run_of, runs = [], 0
        for i, kind in enumerate(kinds):
            runs += i > 0 and kind != kinds[i - 1]
            run_of.append(f"{kind}_{runs}")
        block = self._resolutions.index(resolution)
        step = _step(run.split("_")[0], True, tuple(inner))
        return tuple(
            f"blocks.{block}.blocks.steps.{len(splits) - 1 - i}.{step}"
            for i, name in enumerate(run_of)
            if name == run
        )

    def _stages(self, resolution: int) -> int:
        coarser = [r for r in self._resolutions if r < resolution]
        return 1 if resolution // (max(coarser) if coarser else 4) == 2 else 2

    def _component(self, resolution: int, component: int) -> str:
        return f"blocks.{self._resolutions.index(resolution)}.learned_upscaler.components.{component}"


def _step(kind: str, conditional: bool, rest: tuple[str, ...]) -> str:
    """Their name of a parameter of a step, within the step."""
    part, *inner = rest
    if part == "actnorm":
        return f"actnorm.{_LEAVES[inner[0]]}"
    if part == "mixing":
        return f"invconv.{_LEAVES[inner[0]]}"
    layer, leaf = inner
    if kind == "checker":
        return ".".join(("coupling", _CHECKER_NET.get(layer) or _scale(layer), leaf))
    join = "conv_cond_connect" if conditional else "conv_0"
    return ".".join(("coupling", _CHANNEL_NET.get(layer, join), leaf))


def _scale(layer: str) -> str:
    """Their name of a layer in a U-Net: down_0_a -> down.0, down_0_b -> down_b.0."""
    way, i, which = layer.split("_")
    return f"{way}{'' if which == 'a' else '_' + which}.{i}"


def _unet(inner: list[str]) -> list[str]:
    """Their names of a layer in a decoder's U-Net. Other layers keep their names."""
    return [_scale(inner[0]), *inner[1:]] if re.fullmatch(r"(up|down)_\d+_[ab]", inner[0]) else inner
