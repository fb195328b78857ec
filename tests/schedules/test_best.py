"""The best hyperparameters of a study: which they are, and where they are shown."""

import html
import re
import shlex
import subprocess
import sys
import tomllib
from dataclasses import replace

import pytest
from helpers import PBT, RANDOM, cli, document, environment, run, write_study
from hypothesis import given
from hypothesis import strategies as st

import hpo
from hpo.schedules.best import best_of

PLAIN = document(arms=(RANDOM,), replicates=1)
PLAIN["task"]["search_space"] = {
    "h0": {"type": "float", "low": -2e-5, "high": -1e-5},
    "h1": {"type": "float", "low": 0.1, "high": 0.9},
}
DERIVED = {"label": "derived", "derived_from": "pbt", "replay": "shuffled"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Two arms and a derived one, which comes first, with three seeds."""
    folder = tmp_path_factory.mktemp("best") / "run of (three) arms"
    return run(document(arms=(DERIVED, RANDOM, PBT), replicates=3), folder, report=True)


def edited(results, values):
    """Return results with other validation scores, by (arm, seed)."""
    return replace(
        results,
        replicates=tuple(
            replace(
                replicate,
                arms={
                    label: arm.model_copy(update={"validation": {"score": values[label, replicate.seed]}})
                    for label, arm in replicate.arms.items()
                },
            )
            for replicate in results.replicates
        ),
    )


def test_plain_tuning_ends_with_the_best_hyperparameters(tmp_path):
    """Fault 30: one arm, one seed: they were not in the terminal and not in report.md, and in report.html with U+2212."""
    out = tmp_path / "run"
    done = cli(write_study(tmp_path, PLAIN), "--out", out, "--executor", "serial")
    assert done.returncode == 0, done.stderr
    best = hpo.load_best(out)
    lines = done.stdout.splitlines()
    start, stop = (next(at for at, line in enumerate(lines) if line.startswith(text)) for text in ("# best", "done in"))
    assert tomllib.loads("\n".join(lines[start:stop])) == best.hparams
    assert best.hparams["h0"] < 0
    hpo.run_study(hpo.parse_study(PLAIN), out=out, executor="serial")
    markdown, page = (out / "report.md").read_text(), (out / "report.html").read_text()
    (fenced,) = re.findall(r"^```toml\n(.*?)^```$", markdown, re.MULTILINE | re.DOTALL)
    (copied,) = re.findall(r'<pre><code class="language-toml">(.*?)</code></pre>', page, re.DOTALL)
    assert tomllib.loads(fenced) == tomllib.loads(html.unescape(copied)) == best.hparams
    for text, name in ((markdown, "- Task"), (page, "<li>Task")):
        assert text.index("# best answer by validation score") < text.index(name)


def test_a_study_whose_members_all_diverge_says_that_it_has_no_answer(tmp_path):
    """Fault 30, sibling: it ended with exit code 0, a table of test values, and no word on the missing hyperparameters."""
    far = {name: {"type": "float", "low": -1e300, "high": -1e299} for name in ("h0", "h1")}
    out = tmp_path / "run"
    done = cli(write_study(tmp_path, PLAIN | {"task": PLAIN["task"] | {"search_space": far}}), "--out", out)
    assert done.returncode == 0, done.stderr
    assert "warning" in done.stderr
    assert "diverged in the first batches" in done.stderr
    assert "no best hyperparameters" in done.stdout
    assert hpo.load_best(out) is None
    hpo.run_study(hpo.load_study(tmp_path / "study.toml"), out=out, executor="serial")
    assert "seed 0, has no answer" in (out / "report.md").read_text()


def test_the_best_of_a_comparison_comes_after_the_verdict(finished):
    """Fault 30: what is to be decided comes first, then what was found."""
    for name in ("report.md", "report.html"):
        text = (finished.run_dir / name).read_text().split("</nav>")[-1]
        parts = ("Verdict", "Comparison", "# best answer by validation score", "Plan and facts", "Assumptions")
        places = [text.index(part) for part in parts]
        assert places == sorted(places)


def test_a_finished_run_directory_has_the_same_best(finished):
    """Fault 30: `result.best`, and the same from the files alone."""
    best = finished.best
    assert hpo.load_best(finished.run_dir) == best
    entry = next(found for found in finished.results["replicates"] if found["seed"] == best.seed)["arms"][best.arm]
    assert (best.value, best.test) == (entry["validation"]["score"], entry["test"])
    assert best.schedule == hpo.load_schedule(finished.run_dir, best.arm, best.seed)
    assert best.hparams == best.schedule.at(0)


def test_a_schedule_that_changes_says_how_to_get_the_whole(finished, tmp_path):
    """Fault 30: the initial values as TOML, and a command that can be pasted."""
    values = {
        (arm, seed): float(arm == "pbt" and seed == 1) for arm in ("derived", "random", "pbt") for seed in range(3)
    }
    best = best_of(edited(finished.document, values))
    assert best.changes
    text = best.to_toml(finished.run_dir)
    assert tomllib.loads(text) == best.schedule.at(0)
    (command,) = (line.removeprefix("# ") for line in text.splitlines() if "hpo replay" in line)
    program, *arguments = shlex.split(command)
    assert program == "hpo"
    subprocess.run(
        [sys.executable, "-m", "hpo", *arguments], cwd=tmp_path, env=environment(), check=True, capture_output=True
    )
    assert hpo.Schedule.load(tmp_path / "best.toml") == best.schedule


@given(st.data())
def test_the_best_validation_value_wins(finished, data):
    """Fault 30: ties go to the first arm, then to the lowest seed; test values and derived arms play no part."""
    places = [(arm, seed) for arm in ("random", "pbt") for seed in range(3)]
    scores = st.none() | st.sampled_from([0.1, 1 - 0.9, 0.2, -0.5, 0.3, 0.1 + 0.2, 1e300])
    values = {place: data.draw(scores) for place in places}
    metric = replace(finished.document.task.metrics[0], direction=data.draw(st.sampled_from(["minimize", "maximize"])))
    results = edited(finished.document, values | {("derived", seed): 1e308 for seed in range(3)})
    results = replace(results, task=replace(results.task, metrics=(metric,)))
    best = best_of(results)
    rounded = {place: round(value, 9) for place, value in values.items() if value is not None}
    if not rounded:
        assert best is None
        return
    wanted = (max if metric.direction == "maximize" else min)(rounded.values())
    expected, *tied = (place for place in places if rounded.get(place) == wanted)
    assert (best.arm, best.seed) == expected
    assert best.tied == tuple(tied)
    assert best.value == values[expected]


@given(
    st.dictionaries(
        st.text(min_size=1, max_size=5),
        st.text(max_size=9)
        | st.booleans()
        | st.integers(-(2**62), 2**62)
        | st.floats(allow_nan=False, allow_infinity=False),
        min_size=1,
        max_size=4,
    )
)
def test_whatever_the_hyperparameters_are_they_can_be_pasted(finished, hparams):
    """Fault 30: names and choices that are hostile to Markdown, HTML or a terminal are still what TOML reads back."""
    from hpo.report.render import fenced

    text = replace(finished.best, hparams=hparams, metric="\x1b[31m\nscore = 2").to_toml()
    assert tomllib.loads(text) == hparams
    assert text.replace("\n", "").isprintable()
    fence, *_, last = fenced(text, "toml").split("\n")
    assert fence == f"{last}toml"
    assert last not in text
