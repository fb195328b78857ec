"""The server of `hpo watch`: a page, its scripts, and three addresses that return JSON. Nothing can be written.

Every address begins with a random token, so that no other user of the machine and no other page in the browser can read it. A page
of another site can be given a name that leads here (DNS rebinding); it still lacks the token, and the `Host` header gives it away.
"""

import gzip
import ipaddress
import re
import secrets
import socket
from base64 import b64encode
from collections.abc import Callable, Mapping
from hashlib import sha256
from importlib.resources import files

from plotly.offline import get_plotlyjs
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hpo.report.charts import SCRIPTS, STYLE, asset
from hpo.watch.study import Watched

HEADERS = {
    b"content-security-policy": b"default-src 'none'",
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"cache-control": b"no-store",
    b"cross-origin-resource-policy": b"same-origin",
    b"cross-origin-opener-policy": b"same-origin",
}
_TYPES = {"js": "text/javascript", "css": "text/css", "html": "text/html"}


def new_token() -> str:
    """Return a token that cannot be guessed."""
    return secrets.token_urlsafe(24)


def application(watched: Watched, token: str, host: str) -> ASGIApp:
    """Return the server's application.

    Args:
        watched: what it shows.
        token: the first part of all addresses.
        host: the address that it listens on.
    """
    own = files("hpo.watch").joinpath("assets")
    texts = {name: own.joinpath(name).read_text(encoding="utf-8") for name in ("watch.html", "watch.js", "watch.css")}
    texts |= {name: asset(name) for name in (*SCRIPTS, STYLE)}
    page = texts.pop("watch.html")
    # Large: compressed once.
    plotly = get_plotlyjs()
    packed = {"plotly.js": gzip.compress(plotly.encode(), 6)}
    policy = {"content-security-policy": _policy(plotly)}

    def show(request: Request) -> Response:
        return Response(page, media_type=_TYPES["html"], headers=policy)

    def script(request: Request) -> Response:
        name = request.path_params["name"]
        kind = _TYPES.get(name.rpartition(".")[2], "")
        if name in packed:
            return Response(packed[name], media_type=kind, headers={"content-encoding": "gzip"})
        return Response(texts[name], media_type=kind) if name in texts else _missing()

    def state(request: Request) -> Response:
        return JSONResponse(watched.state())

    def study(request: Request) -> Response:
        return JSONResponse(watched.study())

    def rows(request: Request) -> Response:
        query = request.query_params
        try:
            seed, arm, since = int(query["seed"]), query["arm"], int(query.get("since", "-1"))
        except (KeyError, ValueError):
            return PlainTextResponse("allowed: seed, a number; arm, a label; and since, a number", 400)
        return JSONResponse(watched.rows(seed, arm, since))

    endpoints: Mapping[str, Callable[[Request], Response]] = {"": show, "state": state, "study": study, "rows": rows}
    routes = [Route(f"/{{token}}/{name}", endpoint, methods=["GET"]) for name, endpoint in endpoints.items()]
    routes.append(Route("/{token}/assets/{name}", script, methods=["GET"]))
    served = Starlette(routes=routes, middleware=[Middleware(GZipMiddleware, minimum_size=10_000, compresslevel=3)])
    return Guard(served, token, hosts_of(host))


def _policy(plotly: str) -> str:
    """Return what the page may load and run: what this server has, and what plotly needs to style its charts.

    These are style attributes, and style elements: an empty one, whose rules it inserts, and the constant ones in its source. Their
    hashes are allowed, and no other inline style.
    """
    texts = ["", *re.findall(r"\.textContent='([^'\\]+)'", plotly)]
    hashes = " ".join(f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'" for text in texts)
    return (
        "default-src 'none'; script-src 'self'; connect-src 'self'; img-src 'self' data: blob:;"
        f" style-src-elem 'self' {hashes}; style-src-attr 'unsafe-inline';"
        " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


class Guard:
    """Lets through only GET requests with the token and a known `Host`, and adds the headers that protect the page.

    Args:
        served: the application behind it.
        token: the first part of all paths.
        is_ours: says whether a name in `Host`, without its port, is this server's.
    """

    def __init__(self, served: ASGIApp, token: str, is_ours: Callable[[str], bool]) -> None:
        self._served = served
        self._token = token.encode()
        self._is_ours = is_ours

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""

        async def protected(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = {name for name, _ in message["headers"]}
                added = [(name, value) for name, value in HEADERS.items() if name not in given]
                message = {**message, "headers": [*message["headers"], *added]}
            await send(message)

        if scope["type"] == "lifespan":
            await self._served(scope, receive, send)
        elif scope["type"] == "http":
            await (self._refusal(scope) or self._served)(scope, receive, protected)
        else:
            await send({"type": "websocket.close"})

    def _refusal(self, scope: Scope) -> Response | None:
        host = next((value for name, value in scope["headers"] if name == b"host"), b"").decode("latin-1")
        if not self._is_ours(_name(host)):
            return PlainTextResponse("this server is not known by that name", 421)
        given = scope["path"].removeprefix("/").partition("/")[0].encode("utf-8", "replace")
        if not secrets.compare_digest(given, self._token):
            return PlainTextResponse("open the address that `hpo watch` printed: it holds a token", 403)
        if scope["method"] != "GET":
            return PlainTextResponse("allowed: GET", 405)
        return None


def hosts_of(host: str) -> Callable[[str], bool]:
    """Return what says whether a name is one of a server that listens on `host`.

    On the loopback interface these are its own addresses and `localhost`. Elsewhere they are all addresses, which no other site can
    have, and this machine's names.
    """
    address = _address(host)
    is_local = host == "localhost" or (address is not None and address.is_loopback)
    names = {"localhost"} if is_local else {"localhost", host, socket.gethostname(), socket.getfqdn()}

    def is_ours(name: str) -> bool:
        found = _address(name)
        return name.casefold() in map(str.casefold, names) or (
            found is not None and (found.is_loopback or not is_local)
        )

    return is_ours


def _name(host: str) -> str:
    """Return a `Host` header without its port, and without the brackets of an IPv6 address."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] or host


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def _missing() -> Response:
    return PlainTextResponse("there is nothing here", 404)
