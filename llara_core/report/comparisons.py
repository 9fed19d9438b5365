"""Compared results of one data set, from which all sections of its report are built."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from llara_core import columns as c
from llara_core import paths, tables
from llara_core.config import Params
from llara_core.evaluation.comparison import ComparedSystem, Pairs, all_pairs, compare, primary_rows
from llara_core.evaluation.fusion import is_recommender_alone
from llara_core.evaluation.means import user_means
from llara_core.evaluation.results import SystemResults, read_results
from llara_core.evaluation.systems import System, systems_of
from llara_core.report import wording
from llara_core.report.beside import reproduction_summary
from llara_core.report.protocol import budgets, prompts, prompts_of_the_paper, tuned_on


@dataclass(frozen=True)
class Comparisons:
    """Measured and compared systems of one data set."""

    dataset: str  # key in ``params.yaml``
    params: Params  # parameters of the run
    systems: list[System]  # systems of the run
    rows: list[ComparedSystem]  # one row per system and mode
    zero_weight_fusions: list[SystemResults]  # fusions with LLM weight 0, which equal their recommenders and have no row
    shuffled: list[SystemResults]  # results with shuffled histories
    # one row per system and mode on the questions at further positions, combined with no other result
    at_positions: list[ComparedSystem]
    pairs: Pairs  # differences between any two systems, by their names
    tuned_on: Mapping[str, str]  # tuning budget of each tuned LLM system, by its key in the run
    budgets: list[str]  # sentences about these budgets and the paper's
    # number of tuning prompts of each system that is shown candidates, as a share of the paper's
    budget_shares: Mapping[str, float]
    reproduction: str  # comparison of the run with the published runs; may be empty

    @property
    def primary_rows(self) -> list[ComparedSystem]:
        """One row per system, in its primary mode."""
        return primary_rows(self.rows)

    @property
    def primary_rows_at_positions(self) -> list[ComparedSystem]:
        """One row per system at further positions, in its primary mode."""
        return primary_rows(self.at_positions)

    @property
    def level(self) -> float:
        """Significance level of the tests."""
        return wording.level(self.params.evaluation)

    @property
    def candidates_hash(self) -> str:
        """Hash of the held-out candidate sets, which all systems answer."""
        return self.rows[0].results.runs[0].metadata.candidates_hash

    @property
    def schedule(self) -> str:
        """Global curriculum schedule and the LLM systems that it applies to; empty where there are none."""
        if not self.params.run.systems:
            return ""
        key = "curriculum.schedule"
        return f"{key}: {self.params.curriculum.schedule}; {self.params.reach(key)}."

    @property
    def hardware(self) -> list[str]:
        """Machines that computed predictions, sorted."""
        results = [*(row.results for row in (*self.rows, *self.at_positions)), *self.zero_weight_fusions, *self.shuffled]
        return sorted({run.metadata.hardware for each in results for run in each.runs if run.metadata.hardware})


def compare_systems(dataset: str, params: Params) -> Comparisons:
    """Reads and compares the results of all systems of the run.

    Raises:
        DataError: results are missing, incomplete, or belong to different candidate sets.
    """
    systems = systems_of(params)
    results = read_results(dataset, systems)
    zero_weight_fusions = [each for each in results if is_recommender_alone(each)]
    rows = compare([each for each in results if not (each.is_shuffled or is_recommender_alone(each))], params.evaluation)
    further = [each for each in read_results(dataset, systems, "positions") if not is_recommender_alone(each)]
    history_lens = _training_history_lens(dataset)
    tuned = tuned_on(params, systems, history_lens)
    of_paper = prompts_of_the_paper(history_lens)
    return Comparisons(
        dataset=dataset,
        params=params,
        systems=systems,
        rows=rows,
        zero_weight_fusions=zero_weight_fusions,
        shuffled=[each for each in results if each.is_shuffled],
        at_positions=compare(further, params.evaluation, user_means),
        pairs=all_pairs(primary_rows(rows), params.evaluation),
        tuned_on=tuned,
        budgets=budgets(tuned, history_lens),
        budget_shares={key: n / of_paper if of_paper else 1.0 for key, n in prompts(params, systems, history_lens).items()},
        reproduction=reproduction_summary(dataset, params, primary_rows(rows)),
    )


def _training_history_lens(dataset: str) -> npt.NDArray[np.int64]:
    examples = tables.read_table(paths.examples(dataset), tables.EXAMPLES)
    lens: npt.NDArray[np.int64] = examples.loc[examples[c.SPLIT] == c.TRAIN, c.HISTORY].map(len).to_numpy(dtype=np.int64)
    return lens
