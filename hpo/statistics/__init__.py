"""Paired comparisons as pure functions on arrays, independent of studies, stores and files.

>>> from hpo.statistics import compare_paired
>>> compare_paired([0.031, 0.030, 0.033, 0.029, 0.030, 0.032], [0.029, 0.028, 0.030, 0.027, 0.029, 0.029]).p_sign_flip
0.03125

| question | function |
|---|---|
| two arms, paired by seed | `compare_paired` |
| several arms, one task | `compare_many`, `friedman`, `nemenyi` |
| how the data violate the test's assumptions | `departures` |
| two arms, several tasks | `compare_tasks`, `interval_over_tasks` |
| two arms, tables of one value per task | `signed_rank_p`, `bayesian_signed_ranks` |
| a verdict, by a rule fixed before the data | `decide` |
| the same, adding seeds until decided | `anytime_test`, `decide_anytime` |
| how many seeds | `plan`, `seeds_needed`, `detectable_effect`, `sign_flip_power` |
| seeds, test images, or both | `crossed_interval`, `noise_floor` |
| luck of the search or noise of the training | `nested_variance` |
| along the budget | `max_t_band`, `mean_ranks`, `time_to_target`, `budget_equivalence` |

`hpo calibrate statistics` measures the false-positive rates, coverage and power of these functions.
"""

from hpo.statistics.anytime import (
    AnytimeResult,
    StoppingTimes,
    anytime_test,
    confidence_sequence,
    least_anytime_pairs,
    log_sign_e_process,
    sign_e_process,
    stopping_times,
)
from hpo.statistics.bayesian_signed_ranks import BayesianSignedRanks, bayesian_signed_ranks
from hpo.statistics.bootstrap import bca_interval, bootstrap_t_interval, percentile_interval
from hpo.statistics.budget import BudgetEquivalence, budget_equivalence, expected_best
from hpo.statistics.curves import Band, TimeToTarget, max_t_band, mean_ranks, time_to_target
from hpo.statistics.decision import Verdict, VerdictKind, decide, decide_anytime, holm_adjusted, holm_levels
from hpo.statistics.departures import Departure, departures
from hpo.statistics.differences import tied_differences
from hpo.statistics.equivalence import Equivalence, equivalence_within
from hpo.statistics.friedman import Friedman, Nemenyi, critical_difference, friedman, nemenyi
from hpo.statistics.images import Crossed, NoiseFloor, crossed_interval, noise_floor
from hpo.statistics.interval import Interval
from hpo.statistics.inversion import sign_flip_interval
from hpo.statistics.nested import NestedVariance, nested_variance
from hpo.statistics.paired import PairedComparison, compare_paired
from hpo.statistics.power import Plan, Reach, detectable_effect, least_pairs, plan, reach, seeds_needed
from hpo.statistics.several_arms import ManyComparison, PairOfArms, compare_many
from hpo.statistics.signed_ranks import (
    SignedRanks,
    hodges_lehmann,
    hodges_lehmann_interval,
    signed_rank_p,
    signed_ranks,
)
from hpo.statistics.signflip import SignFlip, sign_flip, sign_flip_p, smallest_p
from hpo.statistics.signflip_power import Power, sign_flip_power, t_test_power
from hpo.statistics.tasks import TasksComparison, compare_tasks, interval_over_tasks

__all__ = [
    "AnytimeResult",
    "Band",
    "BayesianSignedRanks",
    "BudgetEquivalence",
    "Crossed",
    "Departure",
    "Equivalence",
    "Friedman",
    "Interval",
    "ManyComparison",
    "Nemenyi",
    "NestedVariance",
    "NoiseFloor",
    "PairOfArms",
    "PairedComparison",
    "Plan",
    "Power",
    "Reach",
    "SignFlip",
    "SignedRanks",
    "StoppingTimes",
    "TasksComparison",
    "TimeToTarget",
    "Verdict",
    "VerdictKind",
    "anytime_test",
    "bayesian_signed_ranks",
    "bca_interval",
    "bootstrap_t_interval",
    "budget_equivalence",
    "compare_many",
    "compare_paired",
    "compare_tasks",
    "confidence_sequence",
    "critical_difference",
    "crossed_interval",
    "decide",
    "decide_anytime",
    "departures",
    "detectable_effect",
    "equivalence_within",
    "expected_best",
    "friedman",
    "hodges_lehmann",
    "hodges_lehmann_interval",
    "holm_adjusted",
    "holm_levels",
    "interval_over_tasks",
    "least_anytime_pairs",
    "least_pairs",
    "log_sign_e_process",
    "max_t_band",
    "mean_ranks",
    "nemenyi",
    "nested_variance",
    "noise_floor",
    "percentile_interval",
    "plan",
    "reach",
    "seeds_needed",
    "sign_e_process",
    "sign_flip",
    "sign_flip_interval",
    "sign_flip_p",
    "sign_flip_power",
    "signed_rank_p",
    "signed_ranks",
    "smallest_p",
    "stopping_times",
    "t_test_power",
    "tied_differences",
    "time_to_target",
]
