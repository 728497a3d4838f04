"""FIDs of ours and of PyTorch's packages on the same images with the same weights, and features/s, as JSON.

    pip install pytorch-fid torch-fidelity clean-fid 'scipy<1.18'
    python -m benchmarks.compare_fid --images=200 --resolutions=32,64 --out=fid.json
    python -m benchmarks.compare_fid --weights=pt_inception-2015-12-05-6726825d.pth

Each package resizes in its own way, so ours is computed by its protocol: tf1 for torch-fidelity, pytorch-fid,
clean-fid. clean-fid's own file of the network is not needed: its reading, resizing and distance go around
pytorch-fid's network. Without --weights all take the same random ones. The images are illustrated portraits of two
disjoint sets of seeds. SciPy 1.18 has no `sqrtm` as pytorch-fid and clean-fid call it.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from importlib import import_module, metadata
from pathlib import Path
from typing import Any
from unittest import mock

import jax
import numpy as np

from hcflow_jax import files
from hcflow_jax.data import render
from hcflow_jax.evaluation import comparison, extractors, frechet, inception_weights, moments, sets
from hcflow_jax.interop import torch_zip
from hcflow_jax.pictures import save_png

PACKAGES = ("pytorch-fid", "torch-fidelity", "clean-fid", "torch", "scipy", "jax", "numpy", "pillow")
Features = Callable[[np.ndarray], np.ndarray]  # uint8 (b, R, R, 3) -> (b, 2048)


class PytorchFid:
    """The package pytorch-fid with weights from a file."""

    protocol = extractors.PYTORCH_FID

    def __init__(self, weights: Path, **options: bool) -> None:
        self.torch, self.package = import_module("torch"), import_module("pytorch_fid.fid_score")
        inception = import_module("pytorch_fid.inception")
        content = self.torch.load(weights)
        with mock.patch.object(inception, "load_state_dict_from_url", lambda *_, **__: content):
            self.network = inception.InceptionV3([3], **options).eval()

    def features(self, images: np.ndarray) -> np.ndarray:
        """Of a batch."""
        x = self.torch.from_numpy(images.transpose(0, 3, 1, 2).astype(np.float32) / 255)
        with self.torch.no_grad():
            return self.network(x)[0][:, :, 0, 0].numpy()

    def of_folder(self, folder: Path) -> np.ndarray:
        """Features of a folder, by the package's own reading."""
        return self.package.get_activations(sorted(folder.iterdir()), self.network, num_workers=0)

    def fid(self, parts: list[np.ndarray], folders: tuple[Path, Path]) -> float:
        """By the package's own moments and distance."""
        mean_and_covariance = ((part.mean(0), np.cov(part, rowvar=False)) for part in parts)
        (mu, sigma), (other_mu, other_sigma) = mean_and_covariance
        return float(self.package.calculate_frechet_distance(mu, sigma, other_mu, other_sigma))


class CleanFid(PytorchFid):
    """clean-fid's reading, resizing and distance around pytorch-fid's network, which then resizes nothing."""

    protocol = extractors.CLEAN_FID

    def __init__(self, weights: Path) -> None:
        super().__init__(weights, resize_input=False, normalize_input=False)
        self.clean = import_module("cleanfid.fid")
        self.resize = import_module("cleanfid.resize").build_resizer("clean")

    def of_resized(self, x: Any) -> Any:
        """Of images of 299 pixels, (b, 3, 299, 299), values of 0 to 255."""
        with self.torch.no_grad():
            return self.network((x - 128) / 128)[0][:, :, 0, 0]

    def features(self, images: np.ndarray) -> np.ndarray:
        """Of a batch."""
        resized = np.stack([self.resize(image) for image in images]).transpose(0, 3, 1, 2)
        return self.of_resized(self.torch.from_numpy(resized)).numpy()

    def of_folder(self, folder: Path) -> np.ndarray:
        """Features of a folder, by the package's own reading."""
        options = dict(model=self.of_resized, num_workers=0, batch_size=50, device="cpu", verbose=False)
        return self.clean.get_folder_features(str(folder), **options)

    def fid(self, parts: list[np.ndarray], folders: tuple[Path, Path]) -> float:
        """By the package's own moments and distance."""
        return float(self.clean.fid_from_feats(*parts))


class TorchFidelity:
    """The package torch-fidelity with weights from a file."""

    protocol = extractors.TF1

    def __init__(self, weights: Path) -> None:
        self.torch, self.package, self.weights = import_module("torch"), import_module("torch_fidelity"), str(weights)
        made = import_module("torch_fidelity.feature_extractor_inceptionv3").FeatureExtractorInceptionV3
        self.network = made("inception-v3-compat", ["2048"], feature_extractor_weights_path=self.weights).eval()

    def features(self, images: np.ndarray) -> np.ndarray:
        """Of a batch."""
        with self.torch.no_grad():
            return self.network(self.torch.from_numpy(images.transpose(0, 3, 1, 2).copy()))[0].numpy()

    def of_folder(self, folder: Path) -> np.ndarray:
        """Features of a folder."""
        return np.concatenate([self.features(batch) for batch in sets.of_folder(folder).batches(50)])

    def fid(self, parts: list[np.ndarray], folders: tuple[Path, Path]) -> float:
        """The whole of the package, from the folders. `save_cpu_ram`: no forked processes beside JAX's threads."""
        options = dict(fid=True, cuda=False, cache=False, save_cpu_ram=True, verbose=False, batch_size=50)
        found = self.package.calculate_metrics(
            input1=str(folders[0]), input2=str(folders[1]), feature_extractor_weights_path=self.weights, **options
        )
        return found["frechet_inception_distance"]


PEERS: dict[str, Any] = {"pytorch-fid": PytorchFid, "torch-fidelity": TorchFidelity, "clean-fid": CleanFid}


def compare(peer: Any, weights: Path, folders: tuple[Path, Path]) -> dict[str, Any]:
    """FIDs of both, and how far their features and distances are apart."""
    extractor = extractors.load(extractors.INCEPTION, weights, peer.protocol)
    ours = [comparison.extract(sets.of_folder(folder), extractor) for folder in folders]
    theirs = [peer.of_folder(folder) for folder in folders]
    apart = [np.abs(a - b).max() / np.abs(b).max() for a, b in zip(ours, theirs, strict=True)]
    fids = [frechet.frechet(*(moments.statistics([part]) for part in pair)) for pair in (ours, theirs)]
    return {
        "protocol": peer.protocol,
        "ours": fids[0],
        "theirs": peer.fid(theirs, folders),
        "our_distance_of_their_features": fids[1],
        "features_apart": float(max(apart)),  # of the largest value
    }


def speeds(sides: dict[str, Features], images: np.ndarray, rounds: int) -> dict[str, Any]:
    """Features a second of each side, which take turns; the ratios are of the seconds of one round."""
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for features in sides.values():
        features(images)
    for i in range(rounds):
        for name in list(sides) if i % 2 == 0 else list(sides)[::-1]:
            began = time.perf_counter()
            sides[name](images)
            taken[name].append(time.perf_counter() - began)
    found: dict[str, Any] = {name: {"per_second": len(images) / statistics.median(t)} for name, t in taken.items()}
    for name, seconds in taken.items():
        ratios = [ours / theirs for ours, theirs in zip(taken["ours (tf1)"], seconds, strict=True)]
        found[name]["seconds_of_ours_over_its"] = {
            "median": statistics.median(ratios),
            "least": min(ratios),
            "greatest": max(ratios),
        }
    return found


def _compiled(extractor: extractors.Extractor) -> Features:
    network, weights = jax.jit(extractor.network), jax.device_put(dict(extractor.weights))
    return lambda images: np.asarray(network(weights, images))


def _random_weights(path: Path) -> None:
    """Weights that keep the size of activations, from a seed."""
    rng = np.random.default_rng(0)
    flat = {}
    for name, shape in inception_weights.shapes().items():
        normal = rng.standard_normal(shape)
        spread = {"running_var": 1 + 0.2 * np.abs(normal), "bn.weight": 1 + 0.1 * normal}
        kernel = normal * np.sqrt(2 / np.prod(shape[1:])) if len(shape) > 1 else 0.1 * normal
        flat[name] = next((made for end, made in spread.items() if name.endswith(end)), kernel).astype(np.float32)
    torch_zip.write(path, flat)


def _draw(folder: Path, prefix: str, count: int, resolution: int) -> Path:
    seeds = [f"{prefix}-{i}" for i in range(count)]
    for i, image in enumerate(render.portraits("toon-head", seeds, resolution)):
        save_png(folder / f"{i:05d}.png", image)
    return folder


def main(argv: list[str] | None = None) -> None:
    """Prints the JSON, and writes it where --out says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=200, help="of each set")
    parser.add_argument("--resolutions", default="32,64")
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--rounds", type=int, default=5, help="of the clock; 0: FIDs only")
    parser.add_argument("--batch", type=int, default=25, help="images that the clock sees at once")
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args(argv)
    result: dict[str, Any] = {
        "date": date.today().isoformat(),
        "command": " ".join(["python -m benchmarks.compare_fid", *(sys.argv[1:] if argv is None else argv)]),
        "machine": platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in PACKAGES},
        "weights": chosen.weights.name if chosen.weights else "random, by a seed",
        "images": chosen.images,
        "fid": {},
    }
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        weights = chosen.weights or root / "weights.pth"
        if chosen.weights is None:
            _random_weights(weights)
        peers = {name: PEERS[name](weights) for name in chosen.peers.split(",")}
        if chosen.rounds:
            result |= {"batch": chosen.batch, "pixels": 64, "speed": _speed(peers, weights, chosen)}
        for size in (int(text) for text in chosen.resolutions.split(",")):
            folders = (
                _draw(root / f"a{size}", "a", chosen.images, size),
                _draw(root / f"b{size}", "b", chosen.images, size),
            )
            found = result["fid"][str(size)] = {}
            for name, peer in peers.items():
                found[name] = compare(peer, weights, folders)
                text = json.dumps(result, indent=2)
                if chosen.out:  # so far: all of it takes a while
                    files.write(chosen.out, lambda file, text=text: file.write(f"{text}\n".encode()))
    print(json.dumps(result, indent=2))


def _speed(peers: dict[str, Any], weights: Path, chosen: argparse.Namespace) -> dict[str, Any]:
    images = np.stack(list(render.portraits("toon-head", [str(i) for i in range(chosen.batch)], 64)))
    ours = {f"ours ({p})": extractors.load(extractors.INCEPTION, weights, p) for p in extractors.PROTOCOLS}
    ours["ours (efficientnet-lite0)"] = extractors.load(extractors.EFFICIENTNET)
    sides = {name: _compiled(extractor) for name, extractor in ours.items()}
    return speeds(sides | {name: peer.features for name, peer in peers.items()}, images, chosen.rounds)


if __name__ == "__main__":
    main()
