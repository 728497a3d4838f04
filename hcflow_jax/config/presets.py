"""The config files that come with the package: `configs/` of the repository, which the wheel holds as `presets/`."""

import importlib.util
from pathlib import Path
from types import ModuleType

from ml_collections import ConfigDict

from hcflow_jax import paths

_PACKAGE = Path(__file__).resolve().parents[1]


def directory() -> Path:
    """Where the files are: in an installed wheel beside this package's own, else in the repository."""
    installed = _PACKAGE / "presets"
    return installed if installed.is_dir() else _PACKAGE.parent / "configs"


def names() -> tuple[str, ...]:
    """The names of the presets, such as "demo"."""
    return tuple(sorted(path.stem for path in directory().glob("*.py") if path.stem != "__init__"))


def resolve(given: str) -> str:
    """The path of a config file that a user named.

    Args:
      given: a path; or "demo" or "configs/demo.py" for a preset, where there is no such file. What follows a ":" is
        left as it is (ml_collections hands it to `get_config`).

    Raises:
      InputError: it is no path of this machine (see `paths.local`).
    """
    paths.local(given, "--config")
    path, colon, rest = given.partition(":")
    name = Path(path).stem if path == f"configs/{Path(path).stem}.py" else path
    where = str(paths.local(path, "--config")) if path.startswith("~") else path
    if Path(where).is_file() or name not in names():
        return f"{where}{colon}{rest}"
    return f"{directory() / name}.py{colon}{rest}"


def load(name: str) -> ModuleType:
    """The module of a preset, for one that builds on another.

    Raises:
      KeyError: there is no such preset.
    """
    if name not in names():
        raise KeyError(f"no preset {name!r}; there are {', '.join(names())}")
    spec = importlib.util.spec_from_file_location(f"hcflow_jax_preset_{name}", directory() / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def variants(name: str) -> tuple[str, ...]:
    """What `config` takes for a preset: "ablation:demo_b" and so on for one that has `ARGUMENTS`, else its name."""
    arguments = getattr(load(name), "ARGUMENTS", ())
    return tuple(f"{name}:{argument}" for argument in arguments) or (name,)


def config(name: str) -> ConfigDict:
    """The config of a preset.

    Args:
      name: such as "demo", or "ablation:demo_b" for a preset that takes an argument.

    Raises:
      KeyError: there is no such preset.
      ConfigError: the preset does not take the argument.
    """
    preset, _, argument = name.partition(":")
    return load(preset).get_config(*[argument] if argument else [])
