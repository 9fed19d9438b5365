"""Everything that the sections of one data set's report are made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from llara_core import columns as c
from llara_core import paths, tables
from llara_core.config import Params
from llara_core.evaluation.comparison import ComparedSystem, Pairs, all_pairs, compare, headlines
from llara_core.evaluation.fusion import is_recommender_alone
from llara_core.evaluation.positions import compare_positions, read_position_results
from llara_core.evaluation.results import SystemResults, read_results
from llara_core.evaluation.systems import System, systems_of
from llara_core.report import wording
from llara_core.report.beside import beside_published
from llara_core.report.protocol import budgets, prompts, prompts_of_the_paper, tuned_on


@dataclass(frozen=True)
class Comparisons:
    """The systems of one data set, measured and compared.

    Attributes:
        dataset: key in ``params.yaml``.
        params: of the run.
        systems: of the axes.
        rows: one per system and mode.
        idle: fusions that chose weight 0, so are their recommenders under another name, and have no row.
        shuffled: results with shuffled histories.
        at_positions: one per system and mode at further positions, which nothing else is combined with.
        pairs: differences between any two systems, by their names.
        tuned_on: what each tuned LLM system was tuned on, by its key on the axes.
        budgets: the same in sentences, with the paper's.
        budget_shares: prompts of each such system that is shown candidates, as a share of the paper's.
        beside: what the run says of itself beside the published runs; may be empty.
    """

    dataset: str
    params: Params
    systems: list[System]
    rows: list[ComparedSystem]
    idle: list[SystemResults]
    shuffled: list[SystemResults]
    at_positions: list[ComparedSystem]
    pairs: Pairs
    tuned_on: Mapping[str, str]
    budgets: list[str]
    budget_shares: Mapping[str, float]
    beside: str

    @property
    def headlines(self) -> list[ComparedSystem]:
        """One row per system."""
        return headlines(self.rows)

    @property
    def level(self) -> float:
        """Of the tests."""
        return wording.level(self.params.evaluation)

    @property
    def candidates_hash(self) -> str:
        """Of the held-out candidate sets, which all systems answer."""
        return self.rows[0].results.runs[0].metadata.candidates_hash

    @property
    def schedule(self) -> str:
        """The global schedule of the curriculum, and the LLM systems that it reaches; empty where there are none."""
        if not self.params.run.systems:
            return ""
        key = "curriculum.schedule"
        return f"{key}: {self.params.curriculum.schedule}; {self.params.reach(key)}."

    @property
    def hardware(self) -> list[str]:
        """Every machine that computed predictions."""
        results = [*(row.results for row in (*self.rows, *self.at_positions)), *self.idle, *self.shuffled]
        return sorted({run.metadata.hardware for each in results for run in each.runs if run.metadata.hardware})


def compare_systems(dataset: str, params: Params) -> Comparisons:
    """Read the results of all systems of the axes and compare them.

    Raises:
        DataError: results are missing, incomplete, or belong to different candidate sets.
    """
    systems = systems_of(params)
    results = read_results(dataset, systems)
    idle = [each for each in results if is_recommender_alone(each)]
    rows = compare([each for each in results if not (each.is_shuffled or is_recommender_alone(each))], params.evaluation)
    further = [each for each in read_position_results(dataset, systems) if not is_recommender_alone(each)]
    history_lens = _training_history_lens(dataset)
    tuned = tuned_on(params, systems, history_lens)
    of_paper = prompts_of_the_paper(history_lens)
    return Comparisons(
        dataset=dataset,
        params=params,
        systems=systems,
        rows=rows,
        idle=idle,
        shuffled=[each for each in results if each.is_shuffled],
        at_positions=compare_positions(further, params.evaluation),
        pairs=all_pairs(headlines(rows), params.evaluation),
        tuned_on=tuned,
        budgets=budgets(tuned, history_lens),
        budget_shares={key: n / of_paper if of_paper else 1.0 for key, n in prompts(params, systems, history_lens).items()},
        beside=beside_published(dataset, params, headlines(rows)),
    )


def _training_history_lens(dataset: str) -> npt.NDArray[np.int64]:
    examples = tables.read_table(paths.prepared(dataset) / "examples.parquet", tables.EXAMPLES)
    lens: npt.NDArray[np.int64] = examples.loc[examples[c.SPLIT] == c.TRAIN, c.HISTORY].map(len).to_numpy(dtype=np.int64)
    return lens
