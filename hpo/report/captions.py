"""What the figures of the whole study show, in a sentence or two each."""

from __future__ import annotations

from hpo.results.document import Results


def captions(results: Results) -> dict[str, str]:
    """By the name of the figure."""
    tested = not results.in_progress and not results.anytime
    differences = "Every difference to the baseline, one dot per seed. The diamond is their mean."
    if tested:
        differences += (
            " In black, the interval of the sign-flip test at the level in the table, over seeds on this test set."
        )
        if any(c.images for c in results.comparisons):
            differences += " In orange, that over seeds and test examples."
        differences += " Arrows: no end."
    seeds = ": means over seeds, thin lines are seeds" if len(results.replicates) > 1 else ""
    incumbent = f"The validation metric of the best model so far against the budget{seeds}."
    if tested and any(c.incumbent and c.incumbent.budgets for c in results.comparisons):
        incumbent += (
            " Below, the mean difference to the baseline with a band that holds for all budgets and arms at once. The search "
            "chooses by this metric, and the band decides nothing about the test set."
        )
        if any(c.incumbent and (c.incumbent.better_from or c.incumbent.worse_from) for c in results.comparisons):
            incumbent += (
                " The dashed line goes by the step-down test, which may decide where the band, a single step, still"
                " holds 0."
            )
    return {
        "pairs": "The test metric of every arm"
        + ("; each line joins the arms of one seed." if len(results.arms) > 1 else ", one dot per seed."),
        "differences": differences,
        "incumbent": incumbent,
        "anytime": (
            "Above, the evidence after each seed, and what decides. Below, the mean so far and the confidence sequence, "
            "valid at every number of seeds at once."
        ),
    }
