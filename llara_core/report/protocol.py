"""Descriptions of the evaluation protocol and the tuning budgets, generated from the parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from llara_core.config import OBJECTIVES, DatasetConfig, Params, SplitConfig, SystemConfig
from llara_core.data.candidates import exclusion
from llara_core.data.splitting import LEAKS
from llara_core.evaluation import significance
from llara_core.evaluation.paired import MIN_RUNS
from llara_core.evaluation.systems import System
from llara_core.report.wording import listed

PAPER_EPOCHS = 5  # paper, section 5.1.2
PAPER_MIN_HISTORY_LEN = 3  # minimum in the authors' loader


def protocol(params: Params, dataset: str) -> list[str]:
    """Describes in five points how the systems of ``dataset`` were compared."""
    config, sets, statistics = params.dataset(dataset), params.candidates, params.evaluation
    negatives = {
        "all_interactions": "items with which the user has no kept interaction until the end of the split",
        "last_interactions": "items outside the example's history",
    }[exclusion(config, sets)]
    chosen = ["Epochs", "hyper-parameters", "fusion weights"]
    if params.run.baselines or params.run.recommenders:
        chosen.append("the reference")
    return [
        f"{_rows(dataset, config)}; a history holds up to {config.max_history_len} items. "
        f"{LEAKS['released' if config.is_presplit else config.split.strategy]}",
        f"Each held-out example comes with {sets.draws.validation} (validation) and {sets.draws.test} (test) candidate sets of "
        f"{sets.n_candidates} items: the target and {negatives}. They are drawn once with seed {sets.seed}, so that every "
        "system answers the same sets; a slow system may answer only the first few.",
        "A system is compared in one mode: by the text that it writes or, if it writes none, by its highest-scored "
        "candidate. A hit is a valid answer that is the target; an invalid answer is a miss. Candidates with equal scores "
        "rank in the shuffled order in which they were drawn.",
        f"Intervals cover {statistics.confidence:.0%}. Differences are computed per user on the candidate sets that both "
        "systems answer. Untrained systems are compared over users, with a bootstrap interval "
        f"({statistics.bootstrap_samples:,} resamples) and a sign-flip test (all patterns where at most "
        f"{significance.MAX_ENUMERATED} users differ, otherwise {statistics.permutation_samples:,} random ones). With fewer "
        f"than {MIN_RUNS} runs of a trained system, the interval holds for these particular runs and nothing is tested; with "
        "more, interval and test cover users and training runs. Holm's correction covers the tests of a table.",
        f"{', '.join(chosen[:-1])} and {chosen[-1]} are chosen on validation; test results are only reported.",
    ]


def tuned_on(params: Params, systems: Sequence[System], history_lens: npt.NDArray[np.integer]) -> dict[str, str]:
    """Describes the tuning budget of each tuned LLM system, by its key in the run.

    Args:
        history_lens: number of items in the history of each training example.
    """
    return {system.key: _budget(params.system(system.key), history_lens) for system in systems if system.kind == "tuned"}


def budget_shares(params: Params, systems: Sequence[System], history_lens: npt.NDArray[np.integer]) -> dict[str, float]:
    """Returns the tuning prompts of each LLM system that is shown candidates as a share of the paper's number, by its key."""
    tuned = {system.key: params.system(system.key) for system in systems if system.kind == "tuned"}
    of_paper = _prompts_of_the_paper(history_lens)
    return {
        key: _n_prompts(config, history_lens) / of_paper if of_paper else 1.0
        for key, config in tuned.items()
        if OBJECTIVES[config.tune.objective].shows_candidates
    }


def _prompts_of_the_paper(history_lens: npt.NDArray[np.integer]) -> int:
    return PAPER_EPOCHS * int((history_lens >= PAPER_MIN_HISTORY_LEN).sum())


def budgets(tuned_on: Mapping[str, str], history_lens: npt.NDArray[np.integer]) -> list[str]:
    """Describes the tuning budgets and the paper's budget in two sentences; empty if nothing was tuned.

    Args:
        tuned_on: descriptions from :func:`tuned_on`.
        history_lens: number of items in the history of each training example.
    """
    by_budget: dict[str, list[str]] = {}
    for key, budget in tuned_on.items():
        by_budget.setdefault(budget, []).append(key)
    if not by_budget:
        return []
    ours = "; ".join(f"{', '.join(keys)}: {budget}" for budget, keys in by_budget.items())
    return [
        f"Tuning budget of each language model here, in prompts or in chunks of training sequences: {ours}.",
        f"The paper tunes for {PAPER_EPOCHS} epochs on all training examples, of which its code keeps those with a history of "
        f"at least {PAPER_MIN_HISTORY_LEN} items: {_prompts_of_the_paper(history_lens):,} prompts on this data set.",
    ]


def _n_prompts(system: SystemConfig, history_lens: npt.NDArray[np.integer]) -> int:
    available = system.tune.epochs * int((history_lens >= system.tune.min_history_len).sum())
    return available if system.tune.max_examples is None else min(available, system.tune.max_examples)


def _budget(system: SystemConfig, history_lens: npt.NDArray[np.integer]) -> str:
    tune = system.tune
    objective = OBJECTIVES[tune.objective]
    if objective.shows_candidates:
        own = f"{_n_prompts(system, history_lens):,} {objective.unit}"
    elif tune.max_examples is None:
        own = f"all {objective.unit} of {tune.epochs} {'epoch' if tune.epochs == 1 else 'epochs'}"
    else:
        own = f"up to {tune.max_examples:,} {objective.unit}"
    if system.start is not None:
        return f"{own} after those of {system.start}"
    shares = [f"after {tune.warm_start_rows:,} rows of"] if tune.warm_start_rows else []
    shares += [f"mixed with {100 * tune.mixture:g}% of"] if tune.mixture else []
    if not shares:
        return own
    return f"{own} {', and '.join(shares)}{',' if len(shares) > 1 else ''} the other objective"


def _rows(dataset: str, config: DatasetConfig) -> str:
    """Describes which interactions are kept, in what order, and how they are split."""
    if config.is_presplit:
        return f"On {dataset}, the rows and the split are those of the released frames"
    clauses = [f"whose {column} is {' or '.join(values)}" for column, values in config.kept_values.items()]
    if config.lowest_rating is not None:
        clauses.append(f"rated {config.lowest_rating:g} or higher")
    if config.kept_repeat is not None:
        clauses.append(f"that are a user's {config.kept_repeat} with the item")
    for name, minimum in (("items", config.min_item_interactions), ("users", config.min_user_interactions)):
        if minimum > 1:
            clauses.append(f"of {name} with at least {minimum} interactions")
    if config.is_k_core:
        clauses.append("as a k-core")
    if config.sample is not None and (config.sample.users < 1 or config.sample.items < 1):
        clauses.append(f"of a random {config.sample.users:.0%} of the users and {config.sample.items:.0%} of the items")
    kept = f"interactions {listed(clauses)}" if clauses else "all interactions"
    order = "" if config.is_ordered_by_time else ", in the order of the file (not of time)"
    of_a_period = "nothing in training is later than anything held out, and the target is a user's last interaction in a "
    of_a_period += "held-out period"
    split = {
        "user_chronological": f"users, sorted by their first interaction, are divided {_split_shares(config.split)} into "
        "training, validation and test, and the last item of each held-out user is the target",
        "global_time": f"all interactions are cut at two points in time, {_split_shares(config.split)}, so that {of_a_period}",
        "date": f"all interactions are cut at {config.split.train_until} and at {config.split.validation_until}, so that "
        f"{of_a_period}",
        "leave_one_out": "a user's last interaction is the test target, the one before it the validation target, and the "
        "others are for training",
        "files": "the files say what is for training, validation and test, and the target is a user's last interaction in a "
        "held-out part",
    }[config.split.strategy]
    if (cold := config.split.cold_items) is not None:
        split += f"; a random {cold.share:.0%} of the items lose their training interactions, and so are new to all models"
    if (share := config.split.train_users) < 1:
        split += f"; a random {share:.0%} of the training users are kept"
    return f"On {dataset}, {kept} are kept{order}; {split}"


def _split_shares(split: SplitConfig) -> str:
    train, validation = split.shares
    return f"{train:.0%} / {validation:.0%} / {1 - train - validation:.0%}"
