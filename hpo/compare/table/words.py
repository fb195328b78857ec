"""The names by which columns, metrics and missing values are known."""

from __future__ import annotations

import re
import unicodedata

from hpo.compare.data import Direction, Role


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: Headers of the columns that say which arm, task and seed a value belongs to: without spaces, in the singular.
ROLES: dict[Role, frozenset[str]] = {
    "arm": _words(
        "arm method algorithm algo optimizer optimiser model classifier regressor estimator learner approach strategy"
        " technique sampler searcher tuner solver scheduler system agent policy variant searchmethod searchalgorithm"
    ),
    "task": _words(
        "task dataset data problem benchmark function environment env instance domain game corpus testproblem testfunction"
    ),
    "seed": _words("seed run replicate replication fold cvfold rep repeat repetition randomseed randomstate"),
}

#: Headers that say nothing of what their column holds.
NEUTRAL = frozenset({"", "name", "id", "index", "label", "row", "no", "nr"})

#: Words of a metric's name that say which values are better.
METRICS: dict[Direction, frozenset[str]] = {
    "minimize": _words(
        "error errors err loss losses logloss rmse mse mae mape smape msle rmsle nrmse nmse nll perplexity ppl wer cer fid"
        " regret cost time runtime duration latency brier misclassification deviance ece bpc bpb rank risk"
    ),
    "maximize": _words(
        "accuracy acc auc auroc auprc roc f1 fscore fmeasure precision recall sensitivity specificity score reward return r2"
        " bleu rouge meteor map ndcg mrr iou miou dice kappa mcc psnr ssim elbo likelihood success wins fitness hypervolume"
        " throughput correlation utility gain profit correct hits"
    ),
}

#: Words beside them that change neither.
_QUALIFIERS = _words(
    "mean average avg median final last best test testing val valid validation dev train training eval evaluation holdout cv"
    " rate percent percentage pct squared square absolute abs root log cross entropy relative normalized normalised top macro"
    " micro weighted balanced count classification prediction generalization generalisation word character"
    " s sec secs seconds ms min minutes h hours of the in on at"
)

#: What stands for a value that is not there, in lower case.
MISSING = frozenset({"", "na", "n/a", "n.a.", "#n/a", "nan", "null", "none", "missing", "?", "-", "--", "–", "—", "−"})

#: Labels of what sums up others, which is no task, arm or seed of its own.
SUMMARIES = frozenset(
    {
        "average",
        "avg",
        "avg.",
        "mean",
        "rank",
        "average rank",
        "avg rank",
        "avg. rank",
        "mean rank",
        "std",
        "std.",
        "stdev",
    }
    | {"standard deviation", "overall", "win/tie/loss", "wins/ties/losses", "w/t/l", "w/d/l", "total"}
)

_PANDAS_INDEX = re.compile(r"unnamed: ?[0-9.]+")
_OF_A_NAME = re.compile(r"(names?|ids?|number|index|idx|no|nr)$")
_TOP = re.compile(r"top[ _-]?[0-9]+")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")


def role_of(header: str) -> Role | None:
    """Return what a column of this name means; None if the name is not known.

    >>> role_of("Data set"), role_of("run_id"), role_of("accuracy")
    ('task', 'seed', None)
    """
    compact = re.sub(r"[\W_]", "", _plain(header))
    spellings = {compact, _OF_A_NAME.sub("", compact)}
    spellings |= {name.removesuffix("s") for name in spellings}
    return next((role for role, names in ROLES.items() if names & spellings), None)


def is_neutral(header: str) -> bool:
    """Whether the name of a column says nothing of what it holds."""
    name = _plain(header)
    return name in NEUTRAL or _PANDAS_INDEX.fullmatch(name) is not None


def direction_of(metric: str) -> Direction | None:
    """Return which values are better by the metric's name; None if it does not say, or not all of it is known.

    >>> direction_of("test_error (%)"), direction_of("roc_auc"), direction_of("neg_log_loss"), direction_of("1 - error")
    ('minimize', 'maximize', None, None)
    """
    words = re.findall(r"[^\W_]+|^[^\w]", _TOP.sub("top", _plain(_CAMEL.sub(" ", metric))))
    said: list[Direction] = [direction for direction, names in METRICS.items() if names.intersection(words)]
    known = _QUALIFIERS.union(*METRICS.values()).issuperset(words)
    return said[0] if known and len(said) == 1 else None


def _plain(text: str) -> str:
    return unicodedata.normalize("NFKC", text).strip().casefold()
