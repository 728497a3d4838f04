"""Names that a file system takes and that programs stumble over."""

import os

ODD = [
    "~tilde",
    "br[a]ck[0:1]ets",
    "st*r?",
    "-.dots..",
    " spaces  two ",
    "line\nbreak",
    "画ü",
    os.fsdecode(b"caf\xe9"),
    "q'u\"o\\te%20#",
    "x" * 255,
]
