"""What the commands share: which errors become one line, and the status."""

import pytest

from hcflow_jax.commands import Parser, UsageError, run_main
from hcflow_jax.errors import InputError, MissingExtraError


def raising(error: BaseException):
    def function(argv):
        raise error

    return function


@pytest.mark.parametrize(
    "error",
    [
        UsageError("two\nlines"),
        InputError("two\nlines"),
        MissingExtraError("two\nlines"),
        OSError("two\nlines"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_the_user_can_put_right_is_one_line(error, capsys):
    assert run_main(raising(error), []) == 2
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "error: two lines\n")


@pytest.mark.parametrize("error", [ValueError("x"), TypeError("x"), ImportError("x"), KeyError("x")], ids=repr)
def test_a_fault_of_ours_shows_its_traceback(error, capsys):
    with pytest.raises(type(error)):
        run_main(raising(error), [])
    assert capsys.readouterr().err == ""


def test_an_interrupt(capsys):
    assert run_main(raising(KeyboardInterrupt()), [], stopped="it goes on") == 130
    assert capsys.readouterr().err == "it goes on\n"


def test_the_processs_own_arguments(monkeypatch):
    given = []
    monkeypatch.setattr("sys.argv", ["command", "--a", "b"])
    assert run_main(lambda argv: given.append(argv) or 7) == 7 and given == [["--a", "b"]]


def test_options_have_whole_names_and_errors_are_raised():
    parser = Parser("command", "  about\n    it")
    parser.add_argument("--number", type=int)
    assert parser.parse_args(["--number", "3"]).number == 3
    assert "  about\n    it" in parser.format_help()
    with pytest.raises(UsageError, match=r"unrecognized arguments: --num 3 \(command --help lists"):
        parser.parse_args(["--num", "3"])
