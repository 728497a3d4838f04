"""Mistakes on the command line of `hcflow_jax.main`: one line that names the flag and says what it must be."""

import re
from collections.abc import Sequence

from hcflow_jax.errors import HcflowError

# Texts of absl and ml_collections, and what the flag must be instead.
_MUST = (
    (r"invalid literal for int\(\)", "must be a whole number"),
    (r"could not convert string to float", "must be a number"),
    (r"Non-boolean argument", "must be true or false"),
    (r"as a ConfigDict", "is a group of fields; set one of them, as {flag}.NAME=VALUE"),
    (r"get_config\(\) takes 0 positional arguments", "takes no argument after the colon"),
)


def one_line(error: BaseException, argv: Sequence[str]) -> str:
    """One line that says what is wrong with the flags or the config file.

    Args:
      error: what reading them raised.
      argv: the command line.
    """
    if isinstance(error, HcflowError):
        return " ".join(str(error).split())
    text = str(error.args[0] if isinstance(error, KeyError) and error.args else error)
    text = text.replace("\\n", "\n").replace("\\'", "'")
    if meant := re.search(r'Did you mean "(\w+)" instead of "(\w+)"', text):
        right, wrong = meant.groups()
        given = [arg.split("=")[0] for arg in argv if re.search(rf"\.{wrong}\b", arg)]
        where = given[0] if given else "the config file"
        return f"{where}: no field {wrong!r} in the config; did you mean {right!r}?"
    if early := re.match(r"Found (\S+) in argv before a value for --config", text):
        return f"{early[1]}: stands before --config=FILE; put it after that"
    if flag := re.match(r"flag ((--[\w.]+)=?.*?): ", text):
        for pattern, must in _MUST:
            if re.search(pattern, text):
                own = _given(argv, flag[2]) or flag[1]
                return f"{own}: {must.format(flag=flag[2])}"
    if "Traceback" in text:  # the config file raised an error; the last line says what went wrong
        where = text.split(":", 1)[0] if text.startswith("flag ") else "the config file"
        return f"{where}: {text.strip().splitlines()[-1]}"
    if isinstance(error, SyntaxError):
        return f"{error.filename}, line {error.lineno}: is not Python ({error.msg})"
    return " ".join(text.split())[:300]


def _given(argv: Sequence[str], flag: str) -> str | None:
    """The flag with its value, as it was written."""
    return next((argument for argument in argv if argument.startswith(f"{flag}=")), None)
