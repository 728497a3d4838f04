"""Presets: the config files that come with the package, `configs/` in the repository and `presets/` in the wheel."""

import importlib.util
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

from ml_collections import ConfigDict

from hcflow_jax import paths
from hcflow_jax.config.fields import ConfigError

_PACKAGE = Path(__file__).resolve().parents[1]


def directory() -> Path:
    """The folder of the presets: in an installed wheel it is in the package, otherwise in the repository."""
    installed = _PACKAGE / "presets"
    return installed if installed.is_dir() else _PACKAGE.parent / "configs"


def names() -> tuple[str, ...]:
    """The names of the presets, such as "demo"."""
    return tuple(sorted(path.stem for path in directory().glob("*.py") if path.stem != "__init__"))


def resolve(given: str) -> str:
    """The path of the config file that a user gave.

    Args:
      given: a path. "demo" and "configs/demo.py" mean a preset, if there is no such file. Text after a ":" does not
        change: it is the argument of the file's `get_config`.

    Raises:
      InputError: it is not a path on this machine (see `paths.local`).
    """
    paths.local(given, "--config")
    path, colon, rest = given.partition(":")
    name = Path(path).stem if path == f"configs/{Path(path).stem}.py" else path
    where = str(paths.local(path, "--config")) if path.startswith("~") else path
    if Path(where).is_file() or name not in names():
        return f"{where}{colon}{rest}"
    return f"{directory() / name}.py{colon}{rest}"


class _Unwritten(SourceFileLoader):
    """Loads a Python file without writing a `__pycache__` beside it."""

    def set_data(self, *_: Any, **__: Any) -> None:
        """Writes nothing."""


def file(given: str) -> str:
    """The path of the config file that a user gave, as `resolve`, if there is such a file.

    Raises:
      ConfigError: there is no such file; the message lists the presets.
      InputError: see `resolve`.
    """
    found = resolve(given)
    if not Path(found.partition(":")[0]).is_file():
        raise ConfigError(f"--config {given}: no such config file; the presets are {', '.join(names())}")
    return found


def load(name: str) -> ModuleType:
    """The module of a preset. Presets that build on others use it.

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
    """The config of the file or the preset that a user gave.

    Args:
      given: see `resolve`. Text after a ":" is the argument of the file's `get_config`.

    Raises:
      ConfigError: there is no such file, or it does not make a config; one line.
      InputError: see `resolve`.
    """
    path, _, argument = file(given).partition(":")
    loader = _Unwritten("hcflow_jax_given_config", path)
    spec = importlib.util.spec_from_file_location(loader.name, path, loader=loader)
    if spec is None or Path(path).suffix != ".py":
        raise ConfigError(f"--config {given}: must be a Python file, as those of configs/")
    module = importlib.util.module_from_spec(spec)
    try:
        loader.exec_module(module)
        made = module.get_config(*[argument] if argument else [])
    except Exception as error:  # the user's file can raise anything
        raise ConfigError(f"--config {given}: {type(error).__name__}: {' '.join(str(error).split())}") from error
    if not isinstance(made, ConfigDict):
        raise ConfigError(f"--config {given}: its get_config must give a ConfigDict, not {type(made).__name__}")
    return made


def variants(name: str) -> tuple[str, ...]:
    """The names with which `config` makes a preset: its own name, or "ablation:demo_b" ... if it has `ARGUMENTS`."""
    arguments = getattr(load(name), "ARGUMENTS", ())
    return tuple(f"{name}:{argument}" for argument in arguments) or (name,)


def config(name: str) -> ConfigDict:
    """The config of a preset.

    Args:
      name: the name, such as "demo"; with an argument if the preset takes one, such as "ablation:demo_b".

    Raises:
      KeyError: there is no such preset.
      ConfigError: the preset does not take the argument.
    """
    preset, _, argument = name.partition(":")
    return load(preset).get_config(*[argument] if argument else [])
