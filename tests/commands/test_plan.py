"""`hpo plan`: what a comparison needs, from a pilot or a given effect."""

import json
import math
import re
import statistics
import subprocess
import sys
from dataclasses import replace

import helpers
import pytest
import tomli_w

from hpo.plan import __main__ as plan
from hpo.plan.design import Design, Effect, Spread, effects_of, spreads_of
from hpo.results.document import DecisionRule
from hpo.results.file import read_results
from hpo.statistics import seeds_needed

RULE = DecisionRule("random", "score", "maximize", 0.05, None, None, "fixed")
DESIGN = Design("small", RULE, ("pbt",), 8)


@pytest.fixture(scope="module")
def pilot(tmp_path_factory):
    """Return a finished run of six replicates."""
    return helpers.run(helpers.document(replicates=6), tmp_path_factory.mktemp("pilot") / "run").run_dir


def planned(capsys, *arguments):
    code = plan.main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def study(tmp_path, **changes):
    document = helpers.document({"name": "toy", "training_noise": 0.01, "evaluation_noise": 0.05}, replicates=8)
    document["comparison"] |= changes
    path = tmp_path / "study.toml"
    path.write_bytes(tomli_w.dumps(document).encode())
    return path


def test_the_spread_of_a_finished_pilot(pilot):
    (found,) = helpers.results(pilot)["comparisons"]
    (spread,) = spreads_of(read_results(pilot)).values()
    assert spread.n == 6
    assert spread.sd == pytest.approx(statistics.stdev(found["differences"]), rel=1e-12)


def test_the_mean_of_a_pilot_is_not_planned_with(capsys, tmp_path, pilot):
    """Fault 19: seeds "for the observed effect" are noise, of a pilot too: it says how much differences vary."""
    helpers.run(helpers.document(replicates=6), tmp_path / "run", seeds=[0, 1, 2])
    for source, pairs in ((tmp_path / "run", 3), (pilot, 6)):
        code, out, _ = planned(capsys, source, "--no-timing")
        assert code == 0
        assert f"{pairs} pairs, standard deviation" in out
        assert "--difference" in out
        assert [line.split()[1] for line in out.splitlines()[-4:]] == ["for"] * 4  # examples
        mean = abs(math.fsum(helpers.results(source)["comparisons"][0]["differences"]) / pairs)
        assert f"{mean:.4g}" not in out


def test_the_cautious_deviation_is_the_upper_limit_of_browne():
    # chi2.ppf(.2, 9) = 5.3801 (any table): 9 / 5.3801 = 1.67284.
    assert Spread(10, 1.0).cautious_sd == pytest.approx(math.sqrt(9 / 5.380053), rel=1e-6)
    assert Spread(1_000, 1.0).cautious_sd == pytest.approx(1.0, abs=0.03)


def test_effects_are_what_was_asked_for():
    spreads = {"pbt": Spread(10, 0.5)}
    assert effects_of(DESIGN, spreads, -1.2, None) == [Effect("any", "as given", 1.2)]
    (given,) = effects_of(DESIGN, spreads, None, -0.1)
    assert (given.arm, given.what, given.d_z) == ("pbt", "as given", pytest.approx(0.2))
    assert given.cautious < given.d_z


def test_the_effect_of_a_pilot_is_the_rope():
    design = Design("small", replace(RULE, rope=0.1), ("pbt",), 8)
    (found,) = effects_of(design, {"pbt": Spread(10, 0.5)}, None, None)
    assert (found.arm, found.what, found.d_z) == ("pbt", "the ROPE", pytest.approx(0.2))
    assert [effect.what for effect in effects_of(design, {}, None, None)] == ["for example"] * 4
    assert [effect.what for effect in effects_of(DESIGN, {"pbt": Spread(10, 0.5)}, None, None)] == ["for example"] * 4


def test_a_study_file_and_an_effect(capsys, tmp_path):
    code, out, _ = planned(capsys, study(tmp_path), "--d-z", 0.8, "--power", 0.8, "--no-timing")
    assert code == 0
    assert "small: 8 seeds, 1 comparison with random on test score, alpha = 0.05" in out
    assert "p: 0.00781; fewer than 6 seeds " in out
    # The t-test would detect 1.157 (R: power.t.test(n = 8, power = .8, type = "paired")), the sign-flip test a little less.
    assert "|d_z| = 1.19" in out
    assert out.split()[-1] == str(seeds_needed(0.8)) == "15"
    assert "takes" not in out


def test_a_pilot_says_what_a_difference_needs(capsys, tmp_path, pilot):
    (spread,) = spreads_of(read_results(pilot)).values()
    code, out, _ = planned(
        capsys, study(tmp_path), "--pilot", pilot, "--difference", spread.sd, "--power", 0.9, "--no-timing"
    )
    assert code == 0
    row = out.splitlines()[-1].split()
    assert row[-2:] == [str(seeds_needed(1.0, power=0.9)), str(seeds_needed(spread.sd / spread.cautious_sd, power=0.9))]


def test_the_time_is_there(capsys, tmp_path, pilot):
    for source in (study(tmp_path), pilot):
        code, out, _ = planned(capsys, source, "--workers", 1)
        assert code == 0
        assert re.search(r"One replicate takes (under 1|\d+) s here; \d take (under 1|\d+) s\.", out)
        assert "time for them" in out


def test_seeds_that_are_added_later_are_warned_of(capsys, pilot):
    _, out, _ = planned(capsys, pilot, "--no-timing")
    assert "p exploratory" in out


def test_an_anytime_study_has_stopping_times(capsys, tmp_path):
    document = helpers.document()
    del document["study"]["replicates"]
    document["comparison"] |= {"stopping": "anytime", "max_replicates": 30}
    path = tmp_path / "study.toml"
    path.write_bytes(tomli_w.dumps(document).encode())
    code, out, _ = planned(capsys, path, "--d-z", 1, "--no-timing")
    assert code == 0
    assert "at most 30 seeds" in out
    share, half, mean = out.split()[-3:]
    # statistics.md: 96% power at d_z = 1 by 30 seeds.
    assert abs(int(share.rstrip("%")) - 96) <= 2
    assert 10 < int(half) < float(mean) < 18


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.toml"], "there is no such file"),
        (["{study}", "--power", "1"], "--power 1: allowed: numbers strictly between 0 and 1"),
        (["{study}", "--d-z", "0"], "--d-z 0: allowed: a finite number other than 0"),
        (["{study}", "--difference", "nan"], "--difference nan"),
        (["{study}", "--difference", "0.1"], "--difference: "),
        (["{study}", "--workers", "0"], "--workers 0"),
        (["{pilot}", "--pilot", "{pilot}"], "allowed: only with a study file"),
        (["{study}", "--pilot", "{study}"], "results.json"),
        (["{folder}"], "results.json"),
    ],
)
def test_bad_input_is_named(capsys, tmp_path, pilot, arguments, message):
    places = {"study": study(tmp_path), "pilot": pilot, "folder": tmp_path}
    code, out, err = planned(capsys, *(argument.format(**places) for argument in arguments))
    assert code == 2
    assert out == ""
    assert message in err


def test_a_study_that_compares_nothing_is_refused(capsys, tmp_path):
    document = helpers.document(arms=(helpers.RANDOM,))
    path = tmp_path / "one.toml"
    path.write_bytes(tomli_w.dumps(document).encode())
    assert "no [comparison]" in planned(capsys, path)[2]
    helpers.run(document, tmp_path / "run")
    assert "no [comparison]" in planned(capsys, tmp_path / "run")[2]


def test_a_pilot_of_other_arms_is_refused(capsys, tmp_path, pilot):
    document = helpers.document(arms=(helpers.RANDOM, {**helpers.PBT, "label": "other"}))
    path = tmp_path / "study.toml"
    path.write_bytes(tomli_w.dumps(document).encode())
    assert "none of other" in planned(capsys, path, "--pilot", pilot)[2]


def test_a_pilot_of_another_schema_is_refused(capsys, tmp_path, pilot):
    results = helpers.results(pilot) | {"schema_version": 1}
    (tmp_path / "results.json").write_text(json.dumps(results))
    assert "schema_version = 1" in planned(capsys, study(tmp_path), "--pilot", tmp_path)[2]


def test_help_loads_neither_torch_nor_optuna():
    code = "import sys\nfrom hpo.plan.__main__ import parser\nparser().format_help()\n"
    code += "print({'torch', 'optuna', 'scipy'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
