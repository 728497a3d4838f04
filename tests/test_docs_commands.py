"""Commands on the pages of the documentation: the parser takes each of them."""

import importlib
import re
import shlex
from pathlib import Path

import pytest

from hcflow_jax.cli import figures
from hcflow_jax.cli.command import COMMANDS
from hcflow_jax.commands import Parser

ROOT = Path(__file__).parents[1]
LINE, IN_A_TABLE = re.compile(r"^ {4}hcflow .*$", re.MULTILINE), re.compile(r"`hcflow [^`]*`")
WHOLE = ("reproduce.md",)  # pages whose commands in a sentence are whole, too


def commands() -> list[tuple[str, str]]:
    """(page, command): on lines of their own, and in the tables of some pages; not those that stand for several."""
    found = []
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        text = page.read_text()
        for match in LINE.findall(text) + (IN_A_TABLE.findall(text) if page.name in WHOLE else []):
            command = match.strip().strip("`").split("  #")[0].strip()
            if len(command.split()) > 2 and not re.search(r"\.\.\.|NAME|COMMAND|--help|\\", command):
                found.append((page.name, command))
    return found


def test_there_are_commands():
    assert len(commands()) > 40 and len({page for page, _ in commands()}) >= 5


@pytest.mark.parametrize(("page", "command"), commands())
def test_the_parser_takes_the_command(page, command):
    name, *rest = shlex.split(command)[1:]
    package = "hcflow_jax.cli"
    if name == "figure":
        name, *rest = rest
        package = "hcflow_jax.cli.figures"
        assert name in figures.FIGURES
    else:
        assert name in COMMANDS
    module = importlib.import_module(f"{package}.{name.replace('-', '_')}")
    parser = Parser(f"hcflow {name}", "")
    module.add_arguments(parser)
    parser.parse_args(rest)
