"""Serves the page of the explorer, until a signal ends the process."""

import contextlib
import logging
import socket
import threading
import webbrowser
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from hcflow_jax.api import Model
from hcflow_jax.errors import InputError
from hcflow_jax.explorer.page import root
from hcflow_jax.explorer.toolkit import nicegui
from hcflow_jax.explorer.visit import Visit

_LOST = 60.0  # seconds for which a tab that lost its connection keeps its visit
_CLOSING = 1  # seconds that open connections have at the end
_log = logging.getLogger(__name__)


def bind(host: str, port: int) -> socket.socket:
    """Opens a listening socket. Call it before the model is loaded, so that a port in use is reported at once.

    Args:
      host: a name or an address of this machine.
      port: the number of the port; 0 for any free port.

    Raises:
      InputError: the port is in use or not allowed, or the host does not belong to this machine. The message names
        the argument.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except (socket.gaierror, UnicodeError) as error:
        raise InputError(
            f"--host {host}: no such host; give an address of this machine, such as 127.0.0.1"
        ) from error
    taken = socket.socket(family)
    try:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(address)
        taken.listen()
    except OSError as error:
        taken.close()
        raise InputError(
            f"--port {port}: cannot be taken on {host} ({error.strerror}); name another port (0: any that is free), "
            "or --host 127.0.0.1"
        ) from error
    return taken


def address(taken: socket.socket) -> str:
    """The address of the page, for a browser."""
    given, port = taken.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(given, str(given))
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve(model: Model, checkpoint: str, taken: socket.socket, at_once: int, browser: bool) -> None:
    """Serves the page until SIGINT or SIGTERM.

    Args:
      model: the model; all tabs share it.
      checkpoint: the argument of `api.load` for the model.
      taken: the socket from `bind`.
      at_once: the number of tabs that may compute at the same time.
      browser: whether to open the page in the user's browser.

    Raises:
      MissingExtraError: NiceGUI is not installed.
    """
    ui = nicegui()
    import uvicorn  # pyright: ignore[reportMissingImports]
    from fastapi import FastAPI  # pyright: ignore[reportMissingImports]

    app = FastAPI(openapi_url=None)
    pool = ThreadPoolExecutor(at_once, thread_name_prefix="explorer")
    page = root(model, checkpoint, pool)
    ui.run_with(
        app,
        root=page,
        title="hcflow explorer",
        language="en-US",
        show_welcome_message=False,
        tailwind=False,
        reconnect_timeout=_LOST,
    )
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=_CLOSING)
    threading.Thread(target=_warm, args=[model, checkpoint], name="warm-up", daemon=True).start()
    if browser:
        threading.Timer(1.0, _open, [webbrowser.open, address(taken)]).start()
    try:
        uvicorn.Server(config).run(sockets=[taken])
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _open(opens: Callable[[str], object], where: str) -> None:
    with contextlib.suppress(Exception):  # the address is printed, so a machine without a browser is not an error
        opens(where)


def _warm(model: Model, checkpoint: str) -> None:
    """Compiles the programs, so that the user's first changes do not wait for compilation."""
    visit = Visit(model, checkpoint)
    try:
        visit.image()
        for count in reversed(range(len(model.level_names))):
            visit.first_levels(count)
        model.encode(visit.image()[None])
    except Exception as error:  # a user whose change needs the same program sees the error
        _log.warning("a program could not be made ready (%s)", error)
