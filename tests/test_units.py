"""Each part on its own against the authors' network: small inputs and outputs (golden/units.npz)."""

import math
import re
from typing import Any

import bijectors
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from golden_data import assert_close, load, nhwc
from golden_data import group as entries
from ml_collections import ConfigDict

from hcflow_jax import flows, parameters
from hcflow_jax.interop import arrays, names
from hcflow_jax.models.hierarchy import noise
from hcflow_jax.models.hierarchy.level import Level
from hcflow_jax.models.hierarchy.objective import log_normal, noise_entropy
from hcflow_jax.nets import layers, resample
from hcflow_jax.nets.convolution import IMPLEMENTATIONS
from hcflow_jax.nets.coupling_nets import ConvConditioner, UNetConditioner
from hcflow_jax.nets.decoder import DecoderUNet

UNITS = load("units")
GROUPS = {re.sub(r"(/param|/res\d)?/[^/]+$", "", key) for key in UNITS}

EXCEPTIONS = {
    "instnorm/hw1": "at 1x1 the authors normalise over channels; no config comes here",
    "mask/spatial1_ind0": "no config has checkerboards of single pixels",
    "mask/spatial1_ind1": "no config has checkerboards of single pixels",
    **{f"myconv/relu_k{k}_eff{e}": "no config has ReLUs" for k in (1, 3) for e in (1, 10)},
}
USED: set[str] = set()


def unit(pattern: str) -> Any:
    """Parametrises a test over the groups that match, and notes that they are used."""
    found = sorted(g for g in GROUPS - EXCEPTIONS.keys() if re.fullmatch(pattern, g))
    assert found, pattern
    USED.update(found)
    return pytest.mark.parametrize("group", found)


def test_every_unit_is_used() -> None:
    assert set(EXCEPTIONS) == GROUPS - USED


# Layers and resampling


@unit("fir")
def test_fir(group: str) -> None:
    data = entries(UNITS, f"{group}/")
    for n in (16, 8, 6):
        x = nhwc(data[f"x{n}"])
        assert_close(resample.down(x), nhwc(data[f"decimate2_x{n}"]), f"down {n}")
        assert_close(resample.up(x), nhwc(data[f"interpolate2_x{n}"]), f"up {n}")
    patch = nhwc(data["x16"])[0, 3:7, 5:9]
    by_kernel = np.einsum("hwc,hw->c", patch, data["kernel"][0, 0])
    assert_close(resample.down(nhwc(data["x16"]))[0, 2, 3], by_kernel, "kernel")


@unit(r"bilinear/.*")
def test_bilinear(group: str) -> None:
    data = entries(UNITS, f"{group}/")
    x, y = nhwc(data["x"]), nhwc(data["y"])
    made = resample.aligned(x, y.shape[1])
    if group.endswith("align0"):
        made = resample.mean_halve(x) if x.shape[1] > y.shape[1] else resample.bilinear_double(x)
    assert_close(made, y)


@unit("avgpool2")
def test_mean_halve(group: str) -> None:
    data = entries(UNITS, f"{group}/")
    assert_close(resample.mean_halve(nhwc(data["x"])), nhwc(data["y"]))


@unit(r"instnorm/.*")
def test_instance_norm(group: str) -> None:
    data = entries(UNITS, f"{group}/")
    assert_close(layers.instance_norm(nhwc(data["x"])), nhwc(data["y"]))


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@unit(r"myconv/.*")
def test_conv(group: str, implementation: str) -> None:
    data = entries(UNITS, f"{group}/")
    parts = re.fullmatch(r"(nobias_)?(\w+)_k(\d)_eff(\d+)", group.removeprefix("myconv/"))
    assert parts
    conv = layers.Conv(
        features=7,
        kernel=int(parts[3]),
        activation=parts[2],
        multiplier=float(parts[4]),
        use_bias=not parts[1],
        execution=layers.Execution(conv=implementation),
    )
    own = {"w": data["w"].transpose(2, 3, 1, 0), "b": data["b"]}
    if parts[1]:
        del own["b"]
    assert_close(conv.apply({"params": own}, nhwc(data["x"])), nhwc(data["y"]))


@unit(r"mylinear/.*")
def test_dense(group: str) -> None:
    data = entries(UNITS, f"{group}/")
    activation, multiplier = group.removeprefix("mylinear/").split("_eff")
    dense = layers.Dense(8, activation, float(multiplier))
    assert_close(dense.apply({"params": {"w": data["w"].T, "b": data["b"]}}, data["x"]), data["y"])


# Flows


@unit(r"mask/(blocks2|lblocks4|hblocks8)_ind\d")
def test_checker_masks(group: str) -> None:
    data = entries(UNITS, f"{group}/")
    square, index = (int(n) for n in re.findall(r"\d+", group))
    hidden = np.asarray(flows.CheckerSplit(square, index).hidden((1, 16, 16, 2)))
    _is_mask(hidden, nhwc(data["in"]), nhwc(data["out"]))


@unit(r"mask/(couplingcnn_)?channels.*")
def test_channel_masks(group: str) -> None:
    data = entries(UNITS, f"{group}/")
    theirs = nhwc(data["in"])
    _is_mask(np.asarray(flows.ChannelSplit().hidden(theirs.shape)), theirs, nhwc(data["out"]))


def _is_mask(hidden: np.ndarray, theirs_in: np.ndarray, theirs_out: np.ndarray) -> None:
    np.testing.assert_array_equal(np.broadcast_to(hidden, theirs_out.shape), theirs_out)
    visible = np.broadcast_to(math.sqrt(2) * (1 - hidden), theirs_in.shape)
    np.testing.assert_allclose(visible, theirs_in, rtol=1e-6)


@unit(r"permute_M0.3_c\d")
def test_mixing(group: str) -> None:
    """Their forward makes data, ours latents."""
    data, mixing = entries(UNITS, f"{group}/"), flows.Mixing(0.3)
    params = {"kernel": data["K"]}
    for resolution in (1, 4):
        x = nhwc(data[f"res{resolution}/x"])
        z, log_det = mixing.forward(params, x)
        assert_close(z, nhwc(data[f"res{resolution}/inverse"]))
        per_pixel = np.broadcast_to(data["ildj_per_pixel"][0], 2)
        assert_close(log_det, resolution**2 * per_pixel, "log_det")
        made, log_det = mixing.inverse(params, x)
        assert_close(made, nhwc(data[f"res{resolution}/forward"]))
        assert_close(log_det, -(resolution**2) * per_pixel, "log_det")
    channels = data["K"].shape[0]
    log_det_k = mixing.prepare(params)["log_abs_det"] - channels * math.log(0.3)
    assert_close(log_det_k, data["slogdet_K"])


@unit(r"permlogdet.*")
def test_mixings_log_det(group: str) -> None:
    data = entries(UNITS, f"{group}/")
    x = jnp.zeros((1, 4, 4, 3))
    total = sum(flows.Mixing(0.3).log_det({"kernel": data[k]}, x) for k in ("K0", "K1"))
    assert_close(total, data["value"][0])


@unit(r"unitary_permute.*")
def test_orthogonal_mixing(group: str) -> None:
    data, mixing = entries(UNITS, f"{group}/"), flows.OrthogonalMixing(0.1)
    params, x = {"generator": data["_U"]}, nhwc(data["x"])
    assert_close(mixing.prepare(params)["matrix"], data["U"])
    for (made, log_det), key in (
        (mixing.forward(params, x), "inverse"),
        (mixing.inverse(params, x), "forward"),
    ):
        assert_close(made, nhwc(data[key]), key)
        np.testing.assert_array_equal(log_det, [0, 0])


@unit("actnorm")
def test_actnorm(group: str) -> None:
    data, actnorm = entries(UNITS, f"{group}/"), flows.Actnorm()
    params, x = {"bias": data["an_bias"].reshape(-1), "scale": data["an_scale"].reshape(-1)}, nhwc(data["x"])
    for (made, log_det), key, ldj in (
        (actnorm.forward(params, x), "inverse", "ildj"),
        (actnorm.inverse(params, x), "forward", "fldj"),
    ):
        assert_close(made, nhwc(data[key]), key)
        assert_close(log_det, np.broadcast_to(data[ldj][0], 3), ldj)


@unit("actnorm_init")
def test_actnorm_init(group: str) -> None:
    data = entries(UNITS, f"{group}/")
    x = jnp.asarray(nhwc(data["x"]))
    params, z = flows.Actnorm().init(jax.random.key(0), x)
    for ours, theirs in (("bias", "an_bias"), ("scale", "an_scale")):
        assert_close(params[ours], data[theirs].reshape(-1), theirs, relative=0, absolute=2e-5)
    assert_close(z, nhwc(data["y"]))
    assert_close(flows.Actnorm().log_det(params, x), np.broadcast_to(data["ildj"][0], 3), "ildj")


# Networks


def _params(module: nn.Module, theirs: dict[str, np.ndarray], name: Any, *inputs: Any) -> Any:
    """A module's parameters from theirs, all of which are used; `name(layer, leaf)` is their name of one."""
    made = jax.eval_shape(module.init, jax.random.key(0), *inputs)["params"]
    used = set()

    def one(path: Any, leaf: Any) -> np.ndarray:
        theirs_name = name(*(str(key.key) for key in path))
        used.add(theirs_name)
        return arrays._to_ours(theirs_name, theirs[theirs_name], leaf.shape)

    tree = jax.tree_util.tree_map_with_path(one, parameters.unbox(made))
    assert used == set(theirs)
    return tree


def _check_coupling(coupling: flows.Coupling, group: str, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Compares s and b, after mask and clip."""
    data = entries(UNITS, f"{group}/")
    x, cond = nhwc(data["x"]), nhwc(data["cond"]) if "cond" in data else None

    def name(*path: str) -> str:
        return names._step(kind, cond is not None, ("coupling", *path)).removeprefix("coupling.")

    network: Any = coupling.net
    params = _params(network, entries(UNITS, f"{group}/param/"), name, x, cond)
    read = jax.jit(lambda params, x, cond: bijectors.scale_and_shift(coupling, params, x, cond))
    s, b = read(params, x, cond)
    _is_mask(np.asarray(coupling.split.hidden(x.shape)), nhwc(data["mask_in"]), nhwc(data["mask_out"]))
    assert_close(s, nhwc(data["s"]), "s")
    assert_close(b, nhwc(data["b"]), "b")
    return nhwc(data["s"]), nhwc(data["b"])


@unit(r"coupling_.*")
def test_channel_coupling(group: str) -> None:
    coupling = flows.Coupling(ConvConditioner(8), flows.ChannelSplit())
    s, b = _check_coupling(coupling, group, "channel")
    if group.endswith("clipping"):
        assert (np.abs(s) == 3).mean() > 0.01 and (np.abs(b) == 5).mean() > 0.01


@unit(r"pooling_.*")
def test_checker_coupling(group: str) -> None:
    parts = re.fullmatch(r"pooling_(\w+)_res(\d+)_(\w+)_ind(\d)", group)
    assert parts
    resolution, halvings = int(parts[2]), {"single": 1, "double": 2}[parts[1]]
    growth, scales = (1.1, 2) if resolution == 64 else (1.2, halvings)
    square = {"blocks": 2, "lblocks": 4, "hblocks": 8}[parts[3]]
    net = UNetConditioner(8, growth, scales, halvings)
    s, b = _check_coupling(flows.Coupling(net, flows.CheckerSplit(square, int(parts[4]))), group, "checker")
    if parts[1] == "single":
        assert (np.abs(s) == 3).any() and (np.abs(b) == 5).any()


@unit(r"unet_.*")
def test_decoder_unet(group: str) -> None:
    parts = re.fullmatch(r"unet_res\d+_base([\d.]+)_(no)?norm(_noFIR)?", group)
    assert parts
    x, y = (nhwc(UNITS[f"{group}/{key}"]) for key in "xy")
    unet = DecoderUNet(y.shape[-1], float(parts[1]), norm=not parts[2])
    theirs = entries(UNITS, f"{group}/param/")
    params = _params(unet, theirs, lambda *path: ".".join(names._unet(list(path))), x)
    assert_close(jax.jit(unet.apply)({"params": params}, x), y)


@unit("mapping")
def test_style_network(group: str) -> None:
    network, x = layers.StyleNetwork(8), nhwc(UNITS[f"{group}/x"])

    def name(*path: str) -> str:
        (theirs,) = names.Names(ConfigDict()).theirs(("style", *path))
        return theirs.removeprefix("global_state.")

    params = _params(network, entries(UNITS, f"{group}/param/"), name, x)
    assert_close(network.apply({"params": params}, x), UNITS[f"{group}/y"])


# The loss's terms


@unit("prior")
def test_prior(group: str) -> None:
    data = entries(UNITS, f"{group}/")
    for std in (1.0, 0.8):
        assert_close(log_normal(nhwc(data["x"]), std), data[f"sigma{std}"][:, 0])


@unit("noise_std")
def test_sigma_and_entropy(group: str) -> None:
    data = entries(UNITS, f"{group}/")
    sigma = noise.sigma(jnp.asarray(nhwc(data["x"])), 4)
    assert_close(sigma, np.broadcast_to(data["std"], 4))
    level = Level("8", (4, 4, 3), flows.Injector(), None, 0.05, 0.05, 1.0, 1.0)
    assert_close(noise_entropy(level, sigma), np.broadcast_to(data["entropy_of_std_x_0.05"], 4))
