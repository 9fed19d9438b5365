"""Compared results of one data set, from which all sections of its report are built."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from llara_core import columns as c
from llara_core import paths, tables
from llara_core.config import Params
from llara_core.evaluation.comparison import ComparedResults, Pairs, all_pairs
from llara_core.evaluation.results import read_results, training_counts
from llara_core.evaluation.systems import System, systems_of
from llara_core.report import protocol
from llara_core.report.reproduction import reproduction_summary


@dataclass(frozen=True)
class Comparisons(ComparedResults):
    """Compared systems of the run on one data set."""

    params: Params  # parameters of the run

    @property
    def systems(self) -> list[System]:
        """Systems of the run."""
        return systems_of(self.params)

    @cached_property
    def pairs(self) -> Pairs:
        """Differences between any two systems, by their names."""
        return all_pairs(self.primary_rows, self.config)

    @cached_property
    def tuned_on(self) -> dict[str, str]:
        """Tuning budget of each tuned LLM system, by its key in the run."""
        return protocol.tuned_on(self.params, self.systems, self._history_lens)

    @property
    def budgets(self) -> list[str]:
        """Sentences about the tuning budgets and the paper's."""
        return protocol.budgets(self.tuned_on, self._history_lens)

    @cached_property
    def budget_shares(self) -> dict[str, float]:
        """Number of tuning prompts of each system that is shown candidates, as a share of the paper's, by its key."""
        return protocol.budget_shares(self.params, self.systems, self._history_lens)

    @cached_property
    def training_counts(self) -> npt.NDArray[np.int64]:
        """Training interactions of each item, ``(n_items,)``."""
        return training_counts(self.dataset)

    @cached_property
    def reproduction(self) -> str:
        """Comparison of the run with the published runs; may be empty."""
        return reproduction_summary(self.dataset, self.params, self.primary_rows)

    @property
    def candidates_hash(self) -> str:
        """Hash of the held-out candidate sets, which all systems answer."""
        return self.last[0].runs[0].metadata.candidates_hash

    @property
    def schedule(self) -> str:
        """Global curriculum schedule and the LLM systems that it applies to; empty where there are none."""
        if not self.params.run.systems:
            return ""
        key = "curriculum.schedule"
        return f"{key}: {self.params.curriculum.schedule}; {self.params.reach(key)}."

    @cached_property
    def _history_lens(self) -> npt.NDArray[np.int64]:
        """Length of the history of each training example."""
        examples = tables.read_table(paths.examples(self.dataset), tables.EXAMPLES)
        lens: npt.NDArray[np.int64] = examples.loc[examples[c.SPLIT] == c.TRAIN, c.HISTORY].map(len).to_numpy(dtype=np.int64)
        return lens


def compare_systems(dataset: str, params: Params) -> Comparisons:
    """Reads the results of all systems of the run.

    Raises:
        DataError: results are missing, incomplete, or belong to different candidate sets.
    """
    last, at_positions = (read_results(dataset, systems_of(params), scope) for scope in ("last", "positions"))
    return Comparisons(dataset, params.evaluation, last, at_positions, params)
