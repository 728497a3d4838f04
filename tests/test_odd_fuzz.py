"""Pictures damaged at random: each is read or named, in little time and memory. See `odd_fuzz`."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import odd_fuzz
import odd_pictures as odd
import pytest

from hcflow_jax.data import images

TESTS = Path(__file__).parent
COUNT = 300  # damaged copies of each picture


def _quiet(what: str, name: str) -> None:
    """Says nothing."""


@pytest.mark.situation("a picture with bytes changed, cut off or doubled at random")
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("name", odd_fuzz.PICTURES)
def test_damage_at_random(name, monkeypatch):
    monkeypatch.setattr(images, "MAX_PIXELS", 1 << 20)
    assert 0 < odd_fuzz.run(0, name, COUNT) < COUNT


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_each_byte_of_exif(kind):
    """Behind the entry of the orientation no byte matters; in it and before it each may cost the turn alone."""
    whole = images.load(odd.with_exif(kind, odd_fuzz.EXIF), 8, "it", _quiet)
    for place in range(len(odd_fuzz.EXIF)):
        for value in (0, 2, 5, 7, 12, 255):
            data = bytearray(odd_fuzz.EXIF)
            data[place] = value
            found = images.load(odd.with_exif(kind, bytes(data)), 8, "it", _quiet)
            if place >= 22:
                np.testing.assert_array_equal(found, whole)


@pytest.mark.all
@pytest.mark.parametrize("seed", range(1, 4))
def test_much_damage_in_bounded_memory_and_silence(seed):
    command = [sys.executable, str(TESTS / "odd_fuzz.py"), str(seed), "20000"]
    run = subprocess.run(command, cwd=TESTS.parent, capture_output=True, text=True, timeout=1800, check=False)
    assert run.returncode == 0 and run.stderr == "", run.stderr
    assert len(run.stdout.splitlines()) == len(odd_fuzz.PICTURES) + 1
    assert int(run.stdout.split()[-1]) < 400e6
