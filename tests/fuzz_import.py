"""Reads many damaged files, each within bounds: a process of `test_import_large.py`; prints what came of them.

python tests/fuzz_import.py COUNT SEED FOLDER
"""

import json
import random
import resource
import signal
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import peak_memory
import torch_model
import torch_plain

from hcflow_jax import models
from hcflow_jax.errors import HcflowError
from hcflow_jax.interop import arrays, import_torch, release

SECONDS = 20  # a file may take, on a busy machine
ANYWHERE = 0.2  # share of the files that are changed anywhere
STRUCTURE = ("module", "source", "magic", "protocol", "system", "object", "keys", "count", "settings")
_INTERESTING = (0, 1, 0x7F, 0x80, 0xFF, *b'()]}c0Q.RbuseatX\x81\x85\x86\x87\x89Kr\x8a0123456789"{[,-')


def damaged(content: bytes, places: dict[str, tuple[int, int]], rng: random.Random) -> tuple[str, bytes]:
    """The name of the piece that was changed, and the file with one to four changes in it."""
    piece, (start, end) = "anywhere", (0, len(content))
    if rng.random() >= ANYWHERE:
        piece = rng.choice(STRUCTURE)
        start, end = places[rng.choice([n for n in places if n.split("/")[0].removeprefix("network_") == piece])]
    made = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        at = rng.randrange(start, end)
        way = rng.random()
        if way < 0.5:
            made[at] = rng.choice(_INTERESTING)
        elif way < 0.7:
            made[at] ^= 1 << rng.randrange(8)
        elif way < 0.8:
            made[at : at + 1] = bytes(rng.choices(_INTERESTING, k=rng.randrange(1, 9)))
        elif way < 0.9:
            del made[at : at + rng.randrange(1, 9)]
        else:
            other = rng.randrange(start, end)
            made[at : at + 8] = made[other : other + 8]
    return piece, bytes(made)


def check(content: bytes, file: Path) -> str:
    """Imports a file; returns what came of it. Whatever is imported is what the file has."""
    file.write_bytes(content)
    try:
        found = release.read(file)
        config = import_torch.config_of(found, None)
        tree = import_torch.to_params(found, config)
    except HcflowError as error:
        text = str(error)
        assert text and "\n" not in text and len(text) < 2_000, text
        return "refused"
    plain = torch_plain.read(content)
    assert set(plain) == set(found.flat)
    back = arrays.to_torch(tree, config)
    for name, array in plain.items():
        np.testing.assert_array_equal(found.flat[name], array, name)
        if name in back:
            np.testing.assert_array_equal(back[name], array, name)
    return "imported"


def main(count: int, seed: int, folder: Path) -> None:
    """Damages and reads `count` files."""
    resource.setrlimit(resource.RLIMIT_AS, (8 * 2**30, 8 * 2**30))
    build, known = models.build, {}

    def once(config: Any) -> SimpleNamespace:
        key = config.model.to_json()
        if key not in known:
            shapes = build(config).shapes()
            known[key] = SimpleNamespace(shapes=lambda: shapes)
        return known[key]

    arrays.models = SimpleNamespace(build=once)  # pyright: ignore
    file = torch_model.file()
    content, places = file.content(), file.places()
    assert check(content, folder / "whole.bin") == "imported"
    rng = random.Random(seed)
    results: Counter[str] = Counter()
    for _ in range(count):
        piece, made = damaged(content, places, rng)
        signal.alarm(SECONDS)
        results[f"{piece} {check(made, folder / 'damaged.bin')}"] += 1
    signal.alarm(0)
    peak = peak_memory.peak()
    print(json.dumps({"results": results, "peak": peak, "models": len(known)}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
