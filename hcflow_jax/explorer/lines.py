"""Writes Python lines and commands that make the image of the explorer again."""

import shlex
from collections.abc import Mapping, Sequence

from hcflow_jax.explorer.state import Drawn, Part, Picture, State

IMAGE, LATENTS = "explorer.png", "explorer.npz"  # the names of the files that users download


def python(state: State, names: Sequence[str], checkpoint: str) -> str:
    """A Python script that makes the image and writes it to `IMAGE`.

    Args:
      state: the state of the visit.
      names: the names of the levels, coarse to fine.
      checkpoint: the argument of `api.load` for the model.

    Returns:
      The script. It must run in the folder of the uploaded pictures.
    """
    script = _Script(names)
    first = script.latents("latents", state.firsts)
    end = []
    if state.second is not None and state.weight > 0:
        second = script.latents("second", state.second)
        blend = f"model.blend(latents, second, {state.weight!r}, how={state.how!r})"
        if kept := [name for name, level in zip(names, state.levels, strict=True) if level.locked]:
            locked = ", ".join(f"{name!r}: latents[{name!r}]" for name in kept)
            end = [f"blended = {blend}", f"latents = blended.replace(**{{{locked}}})"]
        else:
            end = [f"latents = {blend}"]
        first += second
    imports = ["from hcflow_jax import api, pictures"]
    if any(not picture.bundled for picture in script.pictures):
        imports = ["from pathlib import Path", "", *imports, "from hcflow_jax.data import images"]
    if any(picture.bundled for picture in script.pictures):
        imports.append("from hcflow_jax.explorer import bundled")
    loaded = [line for picture, variable in script.pictures.items() for line in _encoded(picture, variable)]
    made = [*loaded, *first, *end, f"pictures.save_png({IMAGE!r}, model.decode(latents)[0])"]
    return "\n".join([*imports, "", f"model = api.load({checkpoint!r})", *made, ""])


def command(state: State, names: Sequence[str], checkpoint: str) -> str:
    """The `hcflow` command that makes the image: `sample` for a plain sample, else `decode` of the file `LATENTS`.

    The arguments are those of `python`.
    """
    where = shlex.quote(checkpoint)
    seeds = {part.source for part in state.firsts}
    if state.recipes == state.firsts and len(seeds) == 1 and isinstance(drawn := seeds.pop(), Drawn):
        sigma = ",".join(f"{name}={part.sigma!r}" for name, part in zip(names, state.firsts, strict=True))
        return f"hcflow sample --checkpoint {where} --count 1 --seed {drawn.seed} --sigma {sigma} --each samples"
    return f"hcflow decode {LATENTS} --checkpoint {where} --out decoded"


def _encoded(picture: Picture, variable: str) -> list[str]:
    if picture.bundled:
        return [f"{variable} = model.encode(bundled.load({picture.name!r}, model.resolution))"]
    image = f"images.load(Path({picture.name!r}), model.resolution, {picture.name!r})[None]"
    return [f"{variable} = model.encode({image})"]


class _Script:
    """Writes the lines for latents, and collects the pictures that they need."""

    def __init__(self, names: Sequence[str]):
        self._names = names
        self.pictures: dict[Picture, str] = {}  # picture -> name of the variable with its latents

    def latents(self, target: str, parts: Sequence[Part]) -> list[str]:
        """The lines that assign the latents of `parts`, one for each level, to the variable `target`."""
        by_name = dict(zip(self._names, parts, strict=True))
        drawn: dict[Drawn, dict[str, float]] = {}
        for name, part in by_name.items():
            if isinstance(part.source, Drawn):
                drawn.setdefault(part.source, {})[name] = part.sigma
            elif part.source is not None and part.source not in self.pictures:
                self.pictures[part.source] = f"picture{len(self.pictures) + 1}"
        zeros = [name for name, part in by_name.items() if part.source is None]
        alone = len({part.source for part in parts} - {None}) == 1
        variables = {source: target if alone else f"{target}_{source.seed}" for source in drawn}
        lines = [f"{variables[each]} = model.draw(1, seed={each.seed}, sigma={drawn[each]!r})" for each in drawn]
        if not (alone and drawn):
            lines.append(f"{target} = {self._joined(by_name, variables)}")
        if zeros:
            lines.append(f"{target} = model.zero({target}, {zeros!r})")
        return lines

    def _joined(self, by_name: Mapping[str, Part], drawn: Mapping[Drawn, str]) -> str:
        """The expression that joins latents from several variables. A level at zero is taken from any of them."""
        sources = {part.source: None for part in by_name.values() if part.source is not None}
        variables: dict[object, str] = {**drawn, **self.pictures}
        if not sources:
            return "model.draw(1)"
        scaled = {
            name: part.sigma for name, part in by_name.items() if isinstance(part.source, Picture) and part.sigma != 1
        }
        any_of = variables[next(iter(sources))]
        if len(sources) == 1 and not scaled:
            return any_of
        levels = []
        for name, part in by_name.items():
            factor = f"{scaled[name]!r} * " if name in scaled else ""
            levels.append(f"{name!r}: {factor}{variables[part.source] if part.source else any_of}[{name!r}]")
        return f"api.Latents({{{', '.join(levels)}}})"
