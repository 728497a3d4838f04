"""A model in the browser: its images level by level, sliders for each level, blends of two images.

    hcflow explore
    hcflow explore --checkpoint runs/mine --port 8081 --no-browser

It needs the extra `explore` (pip install 'hcflow_jax[explore]') and no network. It answers this machine alone unless
--host says otherwise. Ctrl-C stops it.
"""

import argparse
import sys

from hcflow_jax.cli import arguments

_LOCAL = ("127.0.0.1", "::1", "localhost")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the subcommand takes."""
    arguments.add_model(parser)
    host = "address to answer on; 0.0.0.0 answers other machines, without a password; default %(default)s"
    parser.add_argument("--host", default="127.0.0.1", help=host)
    port = arguments.whole(0, "a port", below=2**16)
    parser.add_argument("--port", type=port, default=8080, help="0 for any that is free; default %(default)s")
    at_once = "tabs that compute at the same time, the others wait; default %(default)s"
    parser.add_argument("--at-once", type=arguments.count, default=2, help=at_once)
    parser.add_argument("--no-browser", action="store_true", help="does not open the page, only prints its address")


def run(values: argparse.Namespace) -> int:
    """Does it; returns the exit status."""
    from hcflow_jax.cli import use
    from hcflow_jax.explorer import serving, toolkit

    toolkit.nicegui()
    with serving.bind(values.host, values.port) as taken:
        if values.host not in _LOCAL:
            print(
                f"note: --host {values.host}: the explorer has no password; whoever reaches this port can use it",
                file=sys.stderr,
            )
        model = use.load(values)
        print(f"{serving.address(taken)} (Ctrl-C stops it)", flush=True)
        serving.serve(model, use.checkpoint_name(values.checkpoint), taken, values.at_once, not values.no_browser)
    return 0
