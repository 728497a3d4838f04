"""The config files that come with the package: `configs/` of the repository, which the wheel holds as `presets/`."""

import importlib.util
from pathlib import Path
from types import ModuleType

from ml_collections import ConfigDict

from hcflow_jax import paths
from hcflow_jax.config.fields import ConfigError

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


def read(given: str) -> ConfigDict:
    """The config of a file or a preset that a user named.

    Args:
      given: see `resolve`; what follows a ":" is handed to the file's `get_config`.

    Raises:
      ConfigError: there is no such file, or it does not make a config; one line.
      InputError: see `resolve`.
    """
    path, _, argument = resolve(given).partition(":")
    if not Path(path).is_file():
        raise ConfigError(f"--config {given}: no such config file; the presets are {', '.join(names())}")
    spec = importlib.util.spec_from_file_location("hcflow_jax_given_config", path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"--config {given}: must be a Python file, as those of configs/")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        made = module.get_config(*[argument] if argument else [])
    except Exception as error:  # whatever a file of the user's raises
        raise ConfigError(f"--config {given}: {type(error).__name__}: {' '.join(str(error).split())}") from error
    if not isinstance(made, ConfigDict):
        raise ConfigError(f"--config {given}: its get_config must give a ConfigDict, not {type(made).__name__}")
    return made


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
