"""segments.csv as it is put together from the rows of replicates."""

import io

from helpers import document

import hpo
from hpo.core.segments import Result, Segment
from hpo.engine.results import ArmRecord
from hpo.engine.search import SearchRecord
from hpo.engine.segments_table import SegmentsTable


def record(seed, metrics, diverged=False):
    root = Result("a", Segment(0, None, 0, {"h0": 0.1, "h1": 1.0}), metrics, 0.0)
    child = Result("b", Segment(1, "a", 1, {"h0": 0.5, "h1": 1e-05}), {} if diverged else metrics, 0.0, diverged)
    return ArmRecord(seed, "random", SearchRecord({"a": root, "b": child}, "b", 2), (), 1, 0)


def written(table, seeds):
    file = io.BytesIO()
    table.write(file, seeds)
    return file.getvalue().decode().splitlines()


def test_replicates_stand_in_the_order_asked_for_under_the_metrics_of_them_all(tmp_path):
    table = SegmentsTable(hpo.parse_study(document()), tmp_path)
    table.add(1, [record(1, {"score": 0.25, "theta0": 2.0})])
    table.add(0, [record(0, {"theta0": 3.0, "extra": 4}, diverged=True)])
    leading = "seed,arm,member,interval,parent_member,on_best_lineage,diverged,hparam:h0,hparam:h1"
    assert written(table, [0, 1]) == [
        f"{leading},metric:theta0,metric:extra,metric:score",
        "0,random,0,0,,1,0,0.1,1.0,3.0,4,",
        "0,random,1,1,0,1,1,0.5,1e-05,,,",
        "1,random,0,0,,1,0,0.1,1.0,2.0,,0.25",
        "1,random,1,1,0,1,0,0.5,1e-05,2.0,,0.25",
    ]
    assert written(table, [1]) == [
        f"{leading},metric:score,metric:theta0",
        "1,random,0,0,,1,0,0.1,1.0,0.25,2.0",
        "1,random,1,1,0,1,0,0.5,1e-05,0.25,2.0",
    ]
    assert written(table, []) == [leading]
    assert list(tmp_path.iterdir()) == []  # nothing is left of it, whatever is killed
    table.close()
