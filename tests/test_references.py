"""Files of features, statistics and images that others wrote, and ours."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from hcflow_jax.errors import InputError
from hcflow_jax.evaluation import references
from hcflow_jax.evaluation.moments import Statistics

MU = np.arange(4.0)
SIGMA = np.asfortranarray(np.eye(4) + np.arange(4) / 10)
IMAGES = np.zeros((3, 8, 8, 3), np.uint8)


def _same(found: Statistics | None) -> bool:
    return found is not None and np.array_equal(found.mu, MU) and np.array_equal(found.sigma, SIGMA)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_statistics_of_others(dtype: str, tmp_path: Path) -> None:
    """pytorch-fid, TTUR, clean-fid and EDM keep two arrays, ADM more; the arrays' names tell."""
    exact = {"mu": MU.astype(dtype), "sigma": np.eye(4, dtype=dtype)}
    np.savez(tmp_path / "plain.data", **exact)
    (tmp_path / "plain.data.npz").rename(tmp_path / "plain.data")
    np.savez(tmp_path / "adm.npz", **exact, mu_s=MU, sigma_s=SIGMA, arr_0=IMAGES)
    for name in ("plain.data", "adm.npz"):
        found = references.read(tmp_path / name)
        assert found.statistics is not None and not found.about
        assert found.statistics.mu.dtype == np.float64 and found.statistics.count is None


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("wrapped", [True, False])
def test_edm2s_pickle(protocol: int, wrapped: bool, tmp_path: Path) -> None:
    part = {"mu": MU, "sigma": SIGMA}
    value = {"fid": part, "fd_dinov2": {"mu": MU + 1, "sigma": SIGMA}} if wrapped else part
    (tmp_path / "s.pkl").write_bytes(pickle.dumps(value, protocol))
    assert _same(references.read(tmp_path / "s.pkl").statistics)


def test_ours_say_what_they_are(tmp_path: Path) -> None:
    references.write_statistics(tmp_path / "s.npz", Statistics(MU, SIGMA, 50), {"protocol": "tf1"})
    found = references.read(tmp_path / "s.npz")
    assert _same(found.statistics) and found.statistics is not None and found.statistics.count == 50
    assert found.about == {"protocol": "tf1", "count": 50}
    with np.load(tmp_path / "s.npz", allow_pickle=False) as others:  # what another evaluator takes
        assert {"mu", "sigma"} <= set(others.files)


def test_features_and_images(tmp_path: Path) -> None:
    features = np.ones((5, 4), np.float32)
    np.save(tmp_path / "f.npy", features)
    np.savez(tmp_path / "f.npz", features)
    np.savez(tmp_path / "i.npz", IMAGES)
    for name in ("f.npy", "f.npz"):
        found = references.read(tmp_path / name).features
        assert found is not None and np.array_equal(found, features)
    images = references.read(tmp_path / "i.npz").images
    assert images is not None and images.shape == IMAGES.shape


@pytest.mark.parametrize(
    "about",
    ["by hand", "[1, 2]", "3", "null", np.array([{}], object)],
    ids=["text", "list", "number", "null", "object"],
)
def test_a_description_of_others_is_left_out(about, tmp_path: Path) -> None:
    np.savez(tmp_path / "s.npz", mu=MU, sigma=SIGMA, about=about)
    found = references.read(tmp_path / "s.npz")
    assert _same(found.statistics) and found.about == {}
    np.savez(tmp_path / "s.npz", mu=MU, sigma=SIGMA, about='{"count": "many"}')
    found = references.read(tmp_path / "s.npz")
    assert found.statistics is not None and found.statistics.count is None


@pytest.mark.parametrize(
    ("save", "step"),
    [
        (lambda file: np.savez_compressed(file, mu=MU, sigma=SIGMA, about='{"count": 3}'), 3),
        (lambda file: np.save(file, np.ones((2, 2))), 1),
    ],
    ids=["npz", "npy"],
)
def test_no_changed_byte_gives_another_error(save, step: int, tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    with path.open("wb") as file:
        save(file)
    whole, refused = path.read_bytes(), 0
    for i in range(0, len(whole), step):
        path.write_bytes(whole[:i] + bytes([whole[i] ^ 0xFF]) + whole[i + 1 :])
        try:
            references.read(path)
        except InputError as error:
            refused += "x.npz: " in str(error)
    assert refused > len(whole) / (4 * step)


class Canary:
    """An object whose pickle runs a shell."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self):
        return os.system, (f"touch '{self.file}'",)


def test_nothing_in_a_pickle_runs(tmp_path: Path) -> None:
    (tmp_path / "s.pkl").write_bytes(pickle.dumps({"fid": {"mu": Canary(tmp_path / "ran"), "sigma": SIGMA}}))
    with pytest.raises(InputError, match=r"s\.pkl: names 'posix.system'.* nothing was run"):
        references.read(tmp_path / "s.pkl")
    np.savez(tmp_path / "o.npz", mu=np.array([Canary(tmp_path / "ran")], object), sigma=SIGMA)
    with pytest.raises(InputError, match=r"o\.npz: is damaged"):
        references.read(tmp_path / "o.npz")
    assert not (tmp_path / "ran").exists()


def _npz(**arrays: np.ndarray):
    return lambda path: np.savez(path, **arrays)  # pyright: ignore[reportArgumentType]


def _bytes(content: bytes):
    return lambda path: path.write_bytes(content)


@pytest.mark.parametrize(
    "write, said",
    [
        (_npz(mu=MU), "only one of mu and sigma"),
        (_npz(other=MU), "holds other; expected mu and sigma, or arr_0"),
        (_npz(mu=MU, sigma=np.eye(3)), "expected floats"),
        (_npz(mu=MU, sigma=np.full((4, 4), np.nan)), "not finite"),
        (_npz(mu=MU.astype(int), sigma=SIGMA), "expected floats"),
        (_npz(arr_0=IMAGES.astype(np.float32)), "expected images"),
        (_npz(arr_0=IMAGES[:0]), "no image"),
        (_npz(arr_0=np.zeros((4, 8, 9, 3), np.uint8)), "expected images"),
        (_npz(arr_0=np.ones((1, 4))), "at least 2"),
        (_npz(arr_0=np.full((4, 4), np.inf)), "not finite"),
        (_bytes(b"PK\x03\x04 cut"), "is damaged"),
        (_bytes(b""), "neither features"),
        (_bytes(b"GIF89a..."), "neither features"),
        (_bytes(pickle.dumps({"fid": 3})), "holds no mu and sigma"),
        (_bytes(pickle.dumps({"fid": {"mu": 3, "sigma": 4}})), "not an array"),
        (_bytes(pickle.dumps({"fid": {"mu": MU, "sigma": SIGMA}})[:-40]), "is damaged"),
        (_bytes(b"\x80\x02r\xff\xff\xff\x7f."), "is damaged"),
        (_bytes(b"\x80\x02}r\xff\xff\xff\x7f."), "that does not exist"),
    ],
)
def test_files_that_cannot_be_used(write, said: str, tmp_path: Path) -> None:
    write(tmp_path / "x.npz")
    with pytest.raises(InputError, match=rf"x\.npz: .*{said}"):
        references.read(tmp_path / "x.npz")
    with pytest.raises(InputError, match="gone: cannot be read"):
        references.read(tmp_path / "gone")
