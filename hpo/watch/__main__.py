"""``hpo watch RUN_DIR``: follow a study in the browser."""

import argparse
import os
import socket
import sys
import tempfile
import webbrowser
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from hpo.cli import exit_code

PORT = 8800
"""Used if it is free and none is given."""


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    out = argparse.ArgumentParser(
        prog="hpo watch",
        description="Show a study in the browser while it runs, or when it is done. Only reads the run directory.",
        epilog="Exit codes: 0 stopped with Ctrl-C; 2 not a run directory, or the port is taken.",
    )
    out.add_argument("run_dir", type=Path, metavar="RUN_DIR", help="a run directory, such as runs/mnist_quick")
    out.add_argument(
        "--port", type=_port, metavar="N", help=f"the port to listen on (default: {PORT}, or any free one)"
    )
    out.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="the address to listen on; 0.0.0.0 lets other machines connect (default: 127.0.0.1, this machine only)",
    )
    out.add_argument("--no-browser", action="store_true", help="do not open the page, only print its address")
    return out


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve the page until the command is interrupted; return 0, or 2 when it cannot start."""
    return exit_code(lambda: _main(arguments))


def _main(arguments: Sequence[str] | None) -> None:
    options = parser().parse_args(arguments)
    with suppress(KeyboardInterrupt):
        _serve(options)


def _serve(options: argparse.Namespace) -> None:
    """Serve the page until the process is interrupted."""
    os.nice(19)  # the study comes first
    # Imported here to keep --help fast.
    import uvicorn

    from hpo.watch.server import application, hosts_of, new_token
    from hpo.watch.study import Watched

    watched, token = Watched(options.run_dir), new_token()
    with _listening(options.host, options.port) as listener:
        shown, port = _shown(options.host), listener.getsockname()[1]
        address = f"http://{shown}:{port}/{token}/"
        if not hosts_of("127.0.0.1")(options.host):
            print(
                f"warning: other machines can connect to port {port}; the connection is not encrypted, and whoever has the"
                " address with its token can read the study",
                file=sys.stderr,
            )
        print(f"{options.run_dir}: {address}\nStop with Ctrl-C.", flush=True)
        config = uvicorn.Config(
            application(watched, token, options.host),
            log_level="warning",
            access_log=False,  # it would hold the token
            server_header=False,
            proxy_headers=False,
            ws="none",
            lifespan="off",
            timeout_graceful_shutdown=1,
        )
        with _opened(address, wanted=not options.no_browser):
            uvicorn.Server(config).run(sockets=[listener])


@contextmanager
def _listening(host: str, port: int | None) -> Iterator[socket.socket]:
    """Listen on a port; by default on `PORT`, or any free one.

    Raises:
        InputError: the port is taken, or the address is not this machine's.
    """
    from hpo.core.errors import InputError

    for wanted in [PORT, 0] if port is None else [port]:
        try:
            family = socket.getaddrinfo(host, wanted, type=socket.SOCK_STREAM)[0][0]
            listener = socket.create_server((host, wanted), family=family)
        except OSError as error:
            failure = error
            continue
        with listener:
            yield listener
        return
    option = f"--host {host}" if isinstance(failure, socket.gaierror) or port is None else f"--port {port}"
    raise InputError(f"{option}: cannot listen there: {failure.strerror or failure}; pass another --port or --host")


def _shown(host: str) -> str:
    """Return the host of the address that is printed."""
    if host in ("0.0.0.0", "::", ""):
        return socket.gethostname()
    return f"[{host}]" if ":" in host else host


@contextmanager
def _opened(address: str, *, wanted: bool) -> Iterator[None]:
    """Open an address in the browser of a desktop, through a private file: other users can see what a command is called with."""
    has_desktop = sys.platform == "darwin" or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
    if not (wanted and has_desktop):
        yield
        return
    with tempfile.NamedTemporaryFile("w", prefix="hpo-watch-", suffix=".html") as file:
        file.write(f'<!DOCTYPE html><meta http-equiv="refresh" content="0; url={address}">')
        file.flush()
        webbrowser.open(Path(file.name).as_uri())
        yield


def _port(text: str) -> int:
    try:
        port = int(text)
    except ValueError:
        port = -1
    if not 0 <= port < 2**16:
        raise argparse.ArgumentTypeError(f"{text}: must be a port from 1 to 65535, or 0 for any free one")
    return port


if __name__ == "__main__":
    sys.exit(main())
