"""How `hcflow explore` starts, and why it does not: one line, before a model is loaded."""

import socket
import sys

import pytest

from hcflow_jax import api
from hcflow_jax.cli import command
from hcflow_jax.errors import InputError, MissingExtraError
from hcflow_jax.explorer import serving, toolkit


@pytest.fixture
def started(monkeypatch, capsys):
    """Runs the command without NiceGUI and without serving: status, what was served, stdout, lines of stderr."""
    served = []
    monkeypatch.setattr(toolkit, "nicegui", lambda: None)
    monkeypatch.setattr(api, "load", lambda path=None, dtype="float32": f"model of {path}")
    monkeypatch.setattr(serving, "serve", lambda *arguments: served.append(arguments))

    def run(*arguments: object):
        status = command.main(["explore", *map(str, arguments)])
        out = capsys.readouterr()
        return status, served, out.out, out.err.splitlines()

    return run


def test_it_prints_the_address_and_answers_this_machine_alone(started):
    status, served, out, errors = started("--port", 0, "--no-browser")
    ((model, checkpoint, taken, at_once, browser),) = served
    assert (status, errors) == (0, [])
    assert (model, checkpoint, at_once, browser) == ("model of None", api.BOXED[0], 2, False)
    assert out.startswith("http://127.0.0.1:") and not out.startswith("http://127.0.0.1:0")
    assert taken.fileno() == -1  # it is given back in the end


def test_other_machines_are_warned_of(started):
    status, _, out, errors = started("--port", 0, "--host", "0.0.0.0")
    assert status == 0 and out.startswith("http://127.0.0.1:")
    assert errors == ["note: --host 0.0.0.0: the explorer has no password; whoever reaches this port can use it"]


def test_a_port_in_use_is_one_line(started):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        status, served, _, errors = started("--port", port)
    assert (status, served) == (2, [])
    (line,) = errors
    assert line.startswith(f"error: --port {port}: cannot be taken on 127.0.0.1 (") and "name another port" in line


def test_a_host_that_is_none_of_this_machine_is_one_line(started):
    assert started("--host", "no such host")[3] == [
        "error: --host no such host: no such host; give an address of this machine, such as 127.0.0.1"
    ]
    with pytest.raises(InputError, match=r"--port 0: cannot be taken on 192\.0\.2\.1 .* or --host 127\.0\.0\.1"):
        serving.bind("192.0.2.1", 0)


@pytest.mark.parametrize("port", ["-1", "65536", "web"])
def test_a_port_is_a_number(started, port):
    status, _, _, errors = started("--port", port)
    assert status == 2 and "expected a port, a whole number from 0 to 65535" in errors[0]


def test_without_the_extra_one_line_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "nicegui", None)
    assert command.main(["explore", "--port", "0"]) == 2
    assert capsys.readouterr().err == (
        "error: the explorer needs the package of nicegui: pip install 'hcflow_jax[explore]'\n"
    )
    with pytest.raises(MissingExtraError):
        toolkit.nicegui()
