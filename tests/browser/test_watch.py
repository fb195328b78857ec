"""`hpo watch` in a browser, while a real study is killed and resumed."""

import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager

import plots
import pytest
from helpers import PBT, RANDOM, document, environment, rows, run, start, until, write_study

import hpo

ARMS = (RANDOM | {"label": "random (a+b)"}, PBT)
STUDY = document({"name": "paced", "folder": ""}, arms=ARMS, replicates=2, name="watched")
SLOTS, INTERVALS = 4, 5
DOTS = 4
LINEAGE = "#lineage .hpo-plot"


@contextmanager
def watching(run_dir, open_page, **options):
    """Serve the page of a run directory, open it, and close it before the server ends: it would report that as an error."""
    command = [sys.executable, "-m", "hpo.watch", str(run_dir), "--port", "0", "--no-browser"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment())
    page = None
    try:
        page = open_page(re.search(r"http://\S+", process.stdout.readline())[0], **options)
        yield page
    finally:
        if page is not None:
            page.close()
        process.terminate()
        assert process.wait(20) == 0


def shows(page, selector, words):
    """Wait until an element shows some words."""
    page.wait_for_function("([s, w]) => document.querySelector(s).textContent.includes(w)", arg=[selector, words])


def pace(folder, segments):
    """Let the study go on until it has so many segments more."""
    with (folder / "pace").open("a") as file:
        file.write("." * segments)


def test_a_study_that_is_killed_and_resumed(open_page, tmp_path):
    study = write_study(tmp_path, STUDY | {"task": STUDY["task"] | {"folder": str(tmp_path)}})
    out = tmp_path / "run"
    pace(tmp_path, 10)
    process = start(study, "--out", out, "--workers", "2")
    assert until(lambda: (out / "segments.csv").exists() and rows(out) >= 10, process)
    with watching(out, open_page) as page:
        shows(page, "#status", "running")
        shows(page, "#workers", "trains")
        page.wait_for_selector(f"{LINEAGE} .scatterlayer")
        page.get_by_label("follow the newest").uncheck()
        page.locator("#seed").select_option("0")
        page.locator("#arm").select_option("random (a+b)")
        before = plots.dots(page, LINEAGE)
        assert 0 < before < SLOTS * INTERVALS

        pace(tmp_path, 4)  # a segment is there within two seconds of its end
        known = rows(out)
        assert until(lambda: rows(out) > known, process)
        page.wait_for_function(
            f"n => document.querySelectorAll('{LINEAGE} .scatterlayer .points path').length > n",
            arg=before,
            timeout=2000,
        )

        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        shows(page, "#status", "killed")
        shows(page, "#idle", "No worker")

        pace(tmp_path, 10_000)
        process = start(study, "--out", out, "--workers", "2")
        assert process.wait(120) == 0, process.stderr.read()
        shows(page, "#status", "done")
        shows(page, "#log", "session 2 started")
        page.wait_for_function(
            f"n => document.querySelectorAll('{LINEAGE} .scatterlayer .points path').length === n",
            arg=SLOTS * INTERVALS,
        )
        assert page.locator("#arms tbody tr").count() == 2
        assert "2/2" in page.locator("#arms tbody tr").first.inner_text()


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    out = tmp_path_factory.mktemp("done")
    return run(document(arms=(RANDOM, PBT), replicates=2), out)


def test_a_finished_study_can_be_read(done, open_page):
    """Members are counted, a point is hovered and read, a lineage followed to its root; all against segments.csv."""
    frame = done.frame().rename(columns={"metric:score": "score"})
    with watching(done.run_dir, open_page) as page:
        shows(page, "#status", "done")
        page.get_by_role("button", name="show seed 1, pbt: ").click()
        page.wait_for_function(
            "() => document.querySelector('#arm').value + document.querySelector('#seed').value === 'pbt1'"
        )
        mine = frame[(frame["seed"] == 1) & (frame["arm"] == "pbt")].reset_index(drop=True)
        page.wait_for_function(
            "([s, n]) => document.querySelectorAll(s).length === n",
            arg=[f"{LINEAGE} .scatterlayer .points path", len(mine)],
        )
        lines = plots.hover(page, LINEAGE, DOTS, 7)
        row = mine.iloc[7]
        assert lines[0].startswith(f"member {row['member']}, interval {row['interval']} ")
        assert f"score {row['score']:.4g}"[:9].replace("-", "−") in lines[1]
        assert lines[-2:] == [f"h0 {row['h0']:.4g}", f"h1 {row['h1']:.4g}"]

        last = mine[mine["interval"] == INTERVALS - 1].index[0]
        plots.click(page, LINEAGE, DOTS, int(last))
        path = page.evaluate(
            "() => [...document.querySelectorAll('.hpo-path tbody tr')].map(r => Number(r.cells[2].textContent))"
        )
        at, expected = mine.iloc[last], []
        while at is not None:
            expected.insert(0, int(at["member"]))
            parent = mine[(mine["member"] == at["parent_member"]) & (mine["interval"] == at["interval"] - 1)]
            at = None if parent.empty else parent.iloc[0]
        assert path == expected
        assert len(path) == INTERVALS


@pytest.mark.parametrize(("width", "dark"), [(390, False), (390, True), (1280, True)])
def test_the_page_fits_and_can_be_used_with_the_keyboard(done, open_page, width, dark):
    with watching(done.run_dir, open_page, width=width, dark=dark) as page:
        page.wait_for_selector(f"{LINEAGE} .scatterlayer")
        assert page.evaluate("() => document.documentElement.scrollWidth") <= width
        light = page.evaluate("() => getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert light != dark
        page.focus("#seed")
        page.keyboard.press("ArrowDown")
        page.wait_for_function("() => !document.querySelector('#follow').checked")
        page.focus(LINEAGE)
        said = page.inner_text(".hpo-said")
        page.keyboard.press("ArrowLeft")
        assert page.inner_text(".hpo-said") != said


HOSTILE = "<img src=x onerror=alert(1)>&amp;"


def test_markup_from_files_stays_text(done, open_page, tmp_path):
    """Labels cannot hold markup; names of hyperparameters and metrics, warnings and errors can."""

    class Warns(hpo.Observer):
        def segment(self, segment):
            raise ValueError(HOSTILE)

    with pytest.warns(RuntimeWarning):
        result = hpo.tune(
            lambda hparams: {HOSTILE: hparams[HOSTILE], "text": 1.0},
            {HOSTILE: hpo.Float(0.1, 1.0), "<b>kind</b>": hpo.Categorical([HOSTILE, "b"])},
            metric=HOSTILE,
            trials=12,
            out=tmp_path / "run",
            report=False,
            observer=Warns(),
        )
    with watching(result.run_dir, open_page) as page:
        page.wait_for_selector("#members .scatterlayer")
        shows(page, "#warnings", HOSTILE)
        assert page.locator("img, b").count() == 0
        assert any(HOSTILE in line for line in plots.hover(page, "#members.hpo-plot", 0, 3))
        assert page.locator("img, b").count() == 0


def test_another_study_in_the_same_place_replaces_the_page(open_page, tmp_path):
    out = tmp_path / "run"
    run(document(replicates=1), out)
    with watching(out, open_page) as page:
        shows(page, "#name", "small")
        page.locator("#arm").select_option("random")
        out.rename(tmp_path / "old")
        run(document(name="another", arms=(PBT,), replicates=1), out)
        shows(page, "#name", "another")
        page.wait_for_selector(f"{LINEAGE} .scatterlayer")
        assert page.locator("#arms tbody tr").count() == 1
