"""Who may ask the server of `hpo watch` for what; see docs/explanation/security.md."""

import re
import signal
import socket
import subprocess
import sys

import pytest
from helpers import PBT, RANDOM, document, environment, run
from starlette.testclient import TestClient

from hpo.watch.server import application, hosts_of, new_token
from hpo.watch.study import Watched

TOKEN = "t" * 32
HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    out = tmp_path_factory.mktemp("done")
    run(document(arms=(RANDOM, PBT), replicates=1), out)
    return out


@pytest.fixture(scope="module")
def client(done):
    return TestClient(application(Watched(done), TOKEN, "127.0.0.1"), base_url="http://127.0.0.1:8800")


ADDRESSES = ("", "state", "study", "rows?seed=0&arm=pbt", "assets/plotly.js", "assets/watch.js", "assets/charts.js")


@pytest.mark.parametrize("address", ADDRESSES)
def test_every_address_answers_with_the_token_and_protects_the_page(client, address):
    answer = client.get(f"/{TOKEN}/{address}")
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert ("script-src 'self';" in policy) == (address == "")
    assert "script-src 'unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize("token", ["", "t" * 31, "t" * 33, "T" * 32, "%74" * 31, "\u0442" * 32, "..", "t" * 10_000])
def test_nothing_without_the_token(client, address, token):
    answer = client.get(f"/{token}/{address}")
    assert answer.status_code == 403
    assert TOKEN not in answer.text


OTHERS = ["evil.example", "evil.example:8800", "127.0.0.1.evil.example", "localhost.evil.example", "192.168.0.1", ""]


@pytest.mark.parametrize("host", OTHERS)
def test_another_host_name_is_refused_even_with_the_token(client, host):
    """DNS rebinding: a page of another site that has given itself this address."""
    assert client.get(f"/{TOKEN}/state", headers={"host": host}).status_code == 421


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:9000", "localhost:1234", "LOCALHOST", "[::1]:8800"])
def test_this_machines_own_names_are_allowed_on_any_port(client, host):
    """`ssh -L 9000:localhost:8800` gives another port."""
    assert client.get(f"/{TOKEN}/state", headers={"host": host}).status_code == 200


def test_a_server_for_others_knows_addresses_and_its_own_names():
    is_ours = hosts_of("0.0.0.0")
    assert all(map(is_ours, ["10.1.2.3", "127.0.0.1", "localhost", socket.gethostname(), "fe80::1"]))
    assert not is_ours("evil.example")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "TRACE", "PROPFIND"])
def test_nothing_can_be_written(client, method):
    for address in ADDRESSES:
        assert client.request(method, f"/{TOKEN}/{address}").status_code == 405


ELSEWHERE = ["../../etc/passwd", "..%2f..%2fetc%2fpasswd", "/etc/passwd", "results.json", "\0", "a" * 10_000, HOSTILE]


@pytest.mark.parametrize("value", [*ELSEWHERE, "9" * 5000])
def test_parameters_lead_nowhere(client, value):
    for query in ({"seed": value, "arm": "pbt"}, {"seed": "0", "arm": "pbt", "since": value}):
        answer = client.get(f"/{TOKEN}/rows", params=query)
        assert answer.status_code == 400
        assert value not in answer.text
    assert client.get(f"/{TOKEN}/rows", params={"seed": "0", "arm": value}).json() is None
    for path in (f"/{TOKEN}/assets/{value}", f"/{TOKEN}/{value}", f"/{TOKEN}/assets/..%2f..%2f{value}"):
        answer = client.get(path.replace("\0", "%00"))
        assert answer.status_code in (403, 404)  # the client resolves `..` itself, and so leaves the token out
        assert "root:" not in answer.text


def test_the_command_refuses_what_is_no_path(done):
    process = watch(done, "--port", "0")
    port = int(re.search(r":(\d+)/", process.stdout.readline())[1])
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"OPTIONS * HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        answer = connection.makefile("rb").read()
    process.terminate()
    process.communicate(timeout=20)
    assert answer.startswith(b"HTTP/1.1 403 ")


def test_answers_are_data_and_never_markup(client):
    for address in ("state", "study", "rows?seed=0&arm=pbt"):
        assert client.get(f"/{TOKEN}/{address}").headers["content-type"] == "application/json"
    assert client.get(f"/{TOKEN}/rows?seed={HOSTILE}&arm=x").headers["content-type"].startswith("text/plain")


def test_tokens_differ_and_are_long():
    tokens = {new_token() for _ in range(100)}
    assert len(tokens) == 100
    assert min(map(len, tokens)) >= 32


# --- the command ---------------------------------------------------------------------------------------------------------


def watch(*arguments):
    command = [sys.executable, "-m", "hpo.watch", *map(str, arguments), "--no-browser"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment())


def test_the_command_says_where_and_ends_with_ctrl_c(done):
    process = watch(done, "--port", "0")
    address = re.search(r"http://127\.0\.0\.1:\d+/[\w-]{32}/", process.stdout.readline())
    assert address
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0
    assert process.stderr.read() == ""


def test_a_server_for_others_warns(done):
    process = watch(done, "--port", "0", "--host", "0.0.0.0")
    assert process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert process.stderr.read().startswith("warning: ")


def test_what_cannot_be_watched_is_refused(done, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (tmp_path / "linked").mkdir()
        (tmp_path / "linked/results.json").symlink_to(done / "results.json")
        for words, arguments in {
            f"--port {port}": (done, "--port", port),
            "--host": (done, "--host", "203.0.113.1"),
            "not a run directory": (tmp_path,),
            "no such directory": (tmp_path / "none",),
            "is a link": (tmp_path / "linked",),
        }.items():
            process = watch(*arguments)
            _, error = process.communicate(timeout=60)
            assert process.returncode == 2, error
            assert words in error
            assert "Traceback" not in error
