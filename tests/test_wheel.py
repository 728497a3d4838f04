"""The built wheel, installed in an environment of its own, trains a preset and uses a bundled model elsewhere."""

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from hcflow_jax.evaluation import attributes

pytestmark = pytest.mark.all

ROOT = Path(__file__).resolve().parents[1]
SMALL = {
    "data.source": "folder",
    "data.path": "images",
    "data.eval_images": 4,
    "train.num_steps": 2,
    "train.batch_size": 4,
    "train.init_images": 4,
    "eval.images": 4,
    "eval.batch_size": 4,
    "sample.count": 1,
    "model.levels.r32.steps": "('channel',)",
    "model.levels.r32.end_unets": False,
    "model.levels.r8.steps": "('channel',)",
    "model.top.prior.steps": 1,
    "model.top.y1.steps": 1,
}


def ran(*command: str | Path, cwd: Path, status: int = 0) -> str:
    """What a command prints; without the variable that would lead it back to the repository."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, timeout=900, env=environment
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout if status == 0 else done.stderr


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a new environment that has the wheel, and finds the packages it needs in this one's."""
    folder = tmp_path_factory.mktemp("wheel")
    ran(sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", folder, ROOT, cwd=folder)
    venv.create(folder / "env", with_pip=True)
    own = folder / "env" / "bin" / "python"
    ran(own, "-m", "pip", "install", "--no-deps", *folder.glob("*.whl"), cwd=folder)
    site = ran(own, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip()
    # A directory that a .pth names comes after the environment's own packages, and its .pth files are not read: an
    # editable installation of the repository stays out.
    (Path(site) / "needed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return own


def test_the_package_is_the_wheels(python: Path, tmp_path: Path) -> None:
    told = ran(python, "-c", "import hcflow_jax, jax; print(hcflow_jax.__file__); print(jax.__file__)", cwd=tmp_path)
    ours, jaxs = told.split()
    assert Path(ours).is_relative_to(python.parents[1]) and not Path(jaxs).is_relative_to(python.parents[1])


def test_every_preset_comes_along(python: Path, tmp_path: Path) -> None:
    code = (
        "from hcflow_jax import models\nfrom hcflow_jax.config import presets\n"
        "for name in presets.names():\n    models.build(presets.config(name))\n    print(name)\n"
    )
    files = {path.stem for path in (ROOT / "configs").glob("*.py")} - {"__init__"}
    assert set(ran(python, "-c", code, cwd=tmp_path).split()) == files


def test_a_preset_trains_outside_the_repository(python: Path, tmp_path: Path) -> None:
    draw = (
        "import numpy as np\nfrom PIL import Image\nrng = np.random.default_rng(0)\n"
        "for i in range(12):\n"
        "    Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(f'images/{i}.png')\n"
    )
    (tmp_path / "images").mkdir()
    ran(python, "-c", draw, cwd=tmp_path)
    fields = (f"--config.{name}={value}" for name, value in SMALL.items())
    told = ran(python, "-m", "hcflow_jax.main", "--config=demo", "--workdir=run", *fields, cwd=tmp_path)
    assert "step 2/2" in told and (tmp_path / "run" / "result.json").exists()


def test_a_preset_has_its_path_in_the_repository_too(python: Path, tmp_path: Path) -> None:
    arguments = ("--config=configs/demo.py", "--workdir=run", "--config.data.source=nowhere")
    told = ran(python, "-m", "hcflow_jax.main", *arguments, cwd=tmp_path, status=2)
    assert "data.source is 'nowhere'" in told


def test_the_bundled_model_samples_outside_the_repository(python: Path, tmp_path: Path) -> None:
    ran(python.parent / "hcflow", "sample", "--count", "2", "--out", "faces.png", cwd=tmp_path)
    assert (tmp_path / "faces.png").stat().st_size > 0


def test_the_weights_that_read_drawing_options_come_along(python: Path, tmp_path: Path) -> None:
    code = (
        "from hcflow_jax.evaluation import attributes\nfor name in attributes.NAMES:\n"
        "    print(name, attributes.read(name).sha256, attributes.file(name).with_suffix('.md').is_file())\n"
    )
    expected = [f"{name} {attributes.read(name).sha256} True" for name in attributes.NAMES]
    assert ran(python, "-c", code, cwd=tmp_path).splitlines() == expected


def test_the_references_come_along(python: Path, tmp_path: Path) -> None:
    code = (
        "from hcflow_jax.analysis import histories\nfor name in histories.names():\n"
        "    histories.reference(name)\n    print(name)\n"
    )
    files = {path.stem for path in (ROOT / "hcflow_jax" / "references").glob("*.json")}
    assert set(ran(python, "-c", code, cwd=tmp_path).split()) == files and "demo" in files
