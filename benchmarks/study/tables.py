"""The study's tables, in Markdown, from what is known of its runs."""

import json
import statistics
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from benchmarks.study import recipes, runs
from benchmarks.study.plan import BETTER, COMPARED, RUNS, Run
from configs.study import SETS, STEPS, TWINS
from hcflow_jax.files import write

Result = dict[str, Any]
DEAR = "efficientnet-lite0"
NOTHING = "No run is finished yet."
REALS = "reals.json"
PAGE = runs.ROOT / "docs" / "study.md"
PICTURES = {
    "study_glow.png": "Frechet distance during training, A and Glow",
    "study_ablations.png": "Frechet distance during training, the ablations",
    "study_samples_portraits.png": "Samples of A and Glow at the same seed, portraits",
    "study_samples_landscapes.png": "Samples of A and Glow at the same seed, landscapes",
    "study_variation_portraits.png": "The pixels that each level decides, portraits",
    "study_variation_landscapes.png": "The pixels that each level decides, landscapes",
    "study_zeroing.png": "Levels at zero: A, B, D and E",
    "study_better.png": "Frechet distance during training, A and Glow with the paper's recipes and better ones",
    "study_samples_portraits_better.png": "Samples of A and Glow with better recipes at the same seed, portraits",
    "study_samples_landscapes_better.png": "Samples of A and Glow with better recipes at the same seed, landscapes",
}


def finished() -> dict[Run, Result]:
    """The runs that are measured, or have diverged, with what is known of them."""
    known = {run: runs.result(run) for run in RUNS}
    return {run: found for run, found in known.items() if runs.is_finished(run, found)}


def _diverged(found: Result) -> bool:
    return bool(found.get("training", {}).get("diverged"))


def spread(values: Iterable[float | None], digits: int = 2) -> str:
    """The mean of the seeds, with the least and the greatest: "4.90 (4.88 to 4.93)"; one value stands alone."""
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    mean, least, greatest = (_text(value, digits) for value in (statistics.fmean(known), min(known), max(known)))
    return mean if len(known) == 1 else f"{mean} ({least} to {greatest})"


def _text(value: float, digits: int) -> str:
    return f"{round(value, digits) + 0.0:.{digits}f}"  # + 0.0: never "-0.000"


def held_out(found: Result) -> float | None:
    """Bits/dim on the held-out images at the end; None where the likelihood is undefined."""
    rows = [row for row in found["training"]["history"] if row["kind"] == "eval"]
    return rows[-1].get("bits_per_dim")


def _distance(extractor: str, name: str) -> Callable[[Result], float | None]:
    return lambda found: found["distances"][extractor].get(name)


def _columns(images: str) -> dict[str, tuple[Callable[[Result], float | None], int]]:
    """Title -> (value of a run, digits)."""
    own = SETS[images]
    return {
        "bits/dim": (held_out, 3),
        "Frechet, attributes": (_distance(own, f"frechet_{own}"), 2),
        "Frechet, EfficientNet": (_distance(DEAR, f"frechet_{DEAR}"), 1),
        "KID": (_distance(DEAR, "kid"), 3),
        "precision": (_distance(DEAR, "precision"), 3),
        "recall": (_distance(DEAR, "recall"), 3),
        "attribute distance": (lambda found: found["distances"][own]["attributes"]["mean"], 3),
    }


def table(images: str, models: Iterable[str], tuned: bool = False, noises: Iterable[float] = (0.0, 0.005)) -> str:
    """A table of the models on a set; a row for each model of which a run is finished, and for the real images.

    Args:
      images: the set.
      models: in the order of the rows.
      tuned: whether a row with tuned temperatures follows, where there are some.
      noises: standard deviations of the noise on the real images, a row for each.
    """
    columns, done = _columns(images), finished()
    lines = [
        f"| model | seeds | steps | parameters | {' | '.join(columns)} |",
        f"|---|---|---|---|{'---|' * len(columns)}",
    ]
    for model in models:
        planned = [run for run in RUNS if run.config == f"{images}_{model}"]
        found = [done[run] for run in planned if run in done]
        if not found:
            continue
        whole = [each for each in found if not _diverged(each)]
        cells = [spread((value(each) for each in whole), digits) for value, digits in columns.values()]
        seeds = f"{len(found)} of {len(planned)}" if len(found) < len(planned) else str(len(planned))
        lost = f", {len(found) - len(whole)} diverged" if len(whole) < len(found) else ""
        size = f"{whole[0]['parameters']:,}" if whole else "-"
        lines.append(f"| {model} | {seeds}{lost} | {STEPS[model]:,} | {size} | {' | '.join(cells)} |")
        again = [{**each, **each["tuned"]} for each in whole if "tuned" in each]
        if tuned and again:
            cells = [spread((value(each) for each in again), digits) for value, digits in columns.values()]
            lines.append(f"| {model}, tuned | {len(again)} | {STEPS[model]:,} | {size} | {' | '.join(cells)} |")
    if len(lines) > 2:
        lines += _real_rows(images, noises)
    return _joined(lines)


def _joined(lines: list[str]) -> str:
    """A table's lines; the first two are its head."""
    return "\n".join(lines) if len(lines) > 2 else NOTHING


def _real_rows(images: str, noises: Iterable[float]) -> Iterator[str]:
    """What a perfect model would have (`reals`), a row for each noise."""
    found, columns = reals().get(images, {}), list(_columns(images).values())[1:]  # bits/dim is of a model
    for noise in noises:
        if str(noise) in found:
            measured = {"distances": found[str(noise)]}
            cells = [spread([value(measured)], digits) for value, digits in columns]
            title = f"real images with noise {noise}" if noise else "real images"
            yield f"| {title} | - | - | - | - | {' | '.join(cells)} |"


def reals() -> dict[str, Result]:
    """What is known of the real images' halves by set; see `reals.measure`."""
    file = runs.RESULTS / REALS
    return json.loads(file.read_text()) if file.exists() else {}


def keep_reals(images: str, found: Result) -> None:
    """Keeps what `reals.measure` found of a set."""
    text = json.dumps({**reals(), images: found}, indent=1) + "\n"
    write(runs.RESULTS / REALS, lambda file: file.write(text.encode()))


def recipe_trials() -> str:
    """The table of the search for better recipes."""
    lines = ["| trial | A, steps | A, bits/dim | Glow, steps | Glow, bits/dim |", "|---" * 5 + "|"]
    for name in recipes.TRIALS:
        trials = [recipes.trial(model, name) for model in recipes.MODELS]
        found = [runs.result(trial).get("training") for trial in trials]
        ends = ["-" if each is None else _end(each) for each in found]
        if set(ends) != {"-"}:
            steps = [f"{trial.resolved().train.num_steps:,}" for trial in trials]
            lines.append(f"| {name} | {steps[0]} | {ends[0]} | {steps[1]} | {ends[1]} |")
    return _joined(lines)


def _end(training: Result) -> str:
    value = None if training["diverged"] else held_out({"training": training})
    return "diverged" if training["diverged"] else "-" if value is None else f"{value:.3f}"


def claims() -> str:
    """The table of what is measured besides distances."""
    columns = ["set", "model", "seeds", "lattice 2, 4, 8", "reals", "largest / smallest level"]
    columns += ["evenness", "ends", "spherical midpoints", "linear midpoints"]
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for images in SETS:
        for model in (*COMPARED, *BETTER):
            every = finished().items()
            found = [f["claims"] for run, f in every if run.config == f"{images}_{model}" and "claims" in f]
            if found:
                lines.append(f"| {images} | {model} | {len(found)} | {' | '.join(_claims(found))} |")
    return _joined(lines)


def _claims(found: list[Result]) -> Iterator[str]:
    for side in ("samples", "reals"):
        lattices = [each["spectrum"][side]["lattice"] for each in found]
        yield ", ".join(spread(each[f"period_{period}"]["value"] for each in lattices) for period in (2, 4, 8))
    yield spread((each["variation"]["ratio_largest_to_smallest"]["value"] for each in found), 1)
    yield spread(each["variation"]["evenness"]["value"] for each in found)
    for how, name in (("spherical", "ends"), ("spherical", "midpoints"), ("linear", "midpoints")):
        yield spread(each["midpoints"][how][name] for each in found)


def costs() -> str:
    """The table of what a step costs, against A's."""
    found = json.loads((runs.RESULTS / "costs.json").read_text())
    columns = ["model", "time of a step / A's", "steps in the time of A's", "time of a sample / A's"]
    lines = [
        f"| {' | '.join(columns)} |",
        "|---" * len(columns) + "|",
        f"| {_with_twins('a')} | 1 | {STEPS['a']:,} | 1 |",
    ]
    for model, timed in found["step"].items():
        sampled = found.get("sample", {}).get(model)
        lines.append(f"| {_with_twins(model)} | {_ratio(timed)} | {STEPS[model]:,} | {_ratio(sampled)} |")
    return "\n".join(lines)


def _with_twins(model: str) -> str:
    return ", ".join((model, *(twin for twin, plain in TWINS.items() if plain == model)))


def _ratio(timed: Result | None) -> str:
    """The median of the ratios, with the least and the greatest."""
    return f"{timed['ratio']:.2f} ({timed['least']:.2f} to {timed['greatest']:.2f})" if timed else "-"


def fill(text: str, made: dict[str, str]) -> str:
    """A page with its tables made anew: each stands between `<!-- NAME -->` and `<!-- end -->`.

    Raises:
      SystemExit: naming a table for which the page has no place.
    """
    for name, content in made.items():
        before, start, rest = text.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition("<!-- end -->")
        if not start or not end:
            raise SystemExit(f"docs/study.md has no place for {name}")
        text = f"{before}{start}\n{content}\n\n{end}{after}"
    return text


def state() -> str:
    """How much of the plan is done."""
    done = len(finished())
    return "All runs are finished." if done == len(RUNS) else f"**{done} of {len(RUNS)} runs are finished so far.**"


def picture(name: str, text: str) -> str:
    """A picture, if it was drawn."""
    return f"![{text}](pictures/{name})" if (PAGE.parent / "pictures" / name).exists() else ""


def all_tables() -> Iterator[tuple[str, str]]:
    """Name and content of each table, and of each picture."""
    for name, text in PICTURES.items():
        yield name, picture(name, text)
    yield "state", state()
    yield "costs", costs()
    for images in SETS:
        yield images, table(images, COMPARED)
        yield f"{images}_better", table(images, (*COMPARED, *BETTER))
    yield "ablations", table("portraits", "abcdefgh")
    yield "claims", claims()
    yield "recipes", recipe_trials()
    yield "beyond", table("portraits", ("a", "noise"), tuned=True, noises=(0.0, 0.005, 0.025))
