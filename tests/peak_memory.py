"""The most memory that a process had: `python peak_memory.py FILE MODULE ...` runs a module and writes it to a file.

Not getrusage: a process starts with its parent's peak there, and its children's is the largest of all of them.
"""

import runpy
import sys
from pathlib import Path


def peak() -> int:
    """Bytes that were resident at once in this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


if __name__ == "__main__":
    file, module, *arguments = sys.argv[1:]
    sys.argv = [module, *arguments]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:
        Path(file).write_text(str(peak()))
