"""Says what a training run would cost on GPUs and TPUs that are not here: memory, time, hours, price.

    hcflow plan --config celebahq_a --target h200 h200:8 h200:8x8
    hcflow plan --config celebahq_a --target h200:8 --batch-per-device 16 --price h200=3.5 --out plan.png
    hcflow plan --config my_config.py --set model.levels.r32.hidden=64 --target h200 --images 2000000

The package has results for celebahq_a on H200s and on v5e slices, so these need no compiling. For others, the command
compiles the training step for the target, in minutes. This needs the target's compiler (pip install 'jax[cuda12]' or
'jax[tpu]') but not the target itself. The times are computed, and real runs take longer. docs/plan.md says what the
numbers mean.
"""

import argparse
import json
import sys

from hcflow_jax.cli import arguments
from hcflow_jax.commands import UsageError, as_path, model_name

_BATCH = 16  # images of a device, if no number is given


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the subcommand."""
    config = "a config file or the name of a preset, such as celebahq_a; :ARG is an argument of its get_config"
    parser.add_argument("--config", metavar="FILE[:ARG]", type=model_name, required=True, help=config)
    change = "change fields of the config, such as train.accumulate=2"
    parser.add_argument(
        "--set", metavar="FIELD=VALUE", nargs="+", type=_pair, default=[], action="extend", help=change
    )
    target = "devices: h200, h200:8, h200:2x8 (two hosts of eight), h100, v5e:16x16, v6e:16x16, v5p:4x4x4, v4:2x2x1"
    parser.add_argument("--target", metavar="NAME", nargs="+", required=True, action="extend", help=target)
    batch = f"images of a device in a step; several make several rows; default {_BATCH}"
    parser.add_argument(
        "--batch-per-device", metavar="N", nargs="+", type=arguments.count, action="extend", help=batch
    )
    dtype = "dtype of the networks; default: execution.dtype of the config, where auto is bfloat16"
    parser.add_argument("--precision", choices=arguments.DTYPES, help=dtype)
    images = "number of images of the run; default: train.num_steps times train.batch_size of the config"
    parser.add_argument("--images", metavar="N", type=arguments.count, help=images)
    price = "price of a device for an hour: 3.5 for all targets, or h200=3.5 v5e=1.2"
    parser.add_argument(
        "--price", metavar="[CHIP=]PRICE", nargs="+", type=_price, default=[], action="extend", help=price
    )
    again = "compile again what has a result already"
    parser.add_argument("--compile", action="store_true", help=again)
    parser.add_argument("--json", metavar="FILE.json", type=as_path, help="write all numbers and where they are from")
    parser.add_argument(
        "--out", metavar="PICTURE.png", type=as_path, help="make a picture of memory, times and hours"
    )


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"{text!r}: expected FIELD=VALUE, such as train.accumulate=2")
    return name.removeprefix("config."), value


def _price(text: str) -> tuple[str, float]:
    chip, equals, number = text.rpartition("=")
    if equals and not chip:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a price, or CHIP=PRICE such as h200=3.5")
    return chip, arguments.positive(number)


def run(values: argparse.Namespace) -> int:
    """Runs the subcommand; returns the exit status."""
    from hcflow_jax.errors import InputError
    from hcflow_jax.planning.targets import CHIPS, Target

    out = arguments.check_out("--json", values.json, (".json",)) if values.json else None
    picture = arguments.check_out("--out", values.out, (".png",)) if values.out else None
    try:
        targets = [Target(given) for given in values.target]
    except InputError as error:
        raise UsageError(f"--target: {error}") from error
    prices = dict(values.price)
    if len(prices) < len(values.price):
        twice = next(chip for chip, _ in values.price if [c for c, _ in values.price].count(chip) > 1)
        raise UsageError(f"--price: {twice or 'all targets'} has two prices; give one")
    batches = list(dict.fromkeys(values.batch_per_device or [_BATCH]))
    for chip in prices:
        if chip and chip not in {target.chip for target in targets}:
            known = "no such chip" if chip not in CHIPS else "no --target has this chip"
            raise UsageError(f"--price {chip}: {known}; the targets have {', '.join(t.chip for t in targets)}")

    from hcflow_jax import files, streams
    from hcflow_jax.config import check, presets
    from hcflow_jax.planning import changes, costs, results, table

    config = changes.apply(presets.read(values.config), values.set)
    check(config)
    images = values.images or config.train.num_steps * config.train.batch_size
    step = max(batches) * max(target.size for target in targets)
    if step > images:
        raise UsageError(
            f"a step of the largest target has {step:,} images, and the run has only {images:,}: --images"
        )
    rows: list[table.Row] = []
    for target in {target.name: target for target in targets}.values():
        for batch in batches:
            found = results.of(
                config,
                target,
                batch,
                precision=values.precision,
                again=values.compile,
                tell=lambda line: streams.say(line, sys.stderr),
            )
            if isinstance(found, str):
                rows.append((target, batch, found))
            else:
                rows.append(costs.Cost(target, found, images, prices.get(target.chip, prices.get(""))))
    known = [row for row in rows if isinstance(row, costs.Cost)]
    if not known:
        target, batch, why = next(row for row in rows if not isinstance(row, costs.Cost))
        raise UsageError(f"{target.name}, {batch} images a device: {why}")
    for line in table.lines(config, rows):
        print(line)
    if out:
        missing = [
            {"target": row[0].name, "batch_per_device": row[1], "why": row[2]}
            for row in rows
            if not isinstance(row, costs.Cost)
        ]
        whole = {"config": values.config, "rows": [costs.plain(row) for row in known], "missing": missing}
        text = json.dumps(whole, indent=1, allow_nan=False) + "\n"
        files.write(out, lambda file: file.write(text.encode()))
        print(f"{out}: all numbers and where they are from")
    if picture:
        from hcflow_jax.planning import picture as pictures

        pictures.draw(picture, known, f"{values.config}: modelled costs")
        print(f"picture: {picture}")
    return 0
