from pathlib import Path

import numpy as np
import pytest

from llara_core.config import SplitConfig, load_params
from llara_core.evaluation.systems import systems_of
from llara_core.report.protocol import budgets, protocol, tuned_on
from tests.helpers.datasets import dataset_config


def test_budgets_describe_each_system_and_the_paper(world) -> None:
    systems = systems_of(world.on_axes(systems=["tallrec", "llara", "llara_next_item"]))
    lens = np.repeat([1, 2, 3, 10], [50, 50, 50, 850])
    descriptions = tuned_on(world.params, systems, lens)
    ours, papers = budgets(descriptions, lens)
    assert descriptions == {"tallrec": "256 prompts", "llara": "256 prompts", "llara_next_item": "up to 512 chunks"}
    assert ours.endswith("chunks of training sequences: tallrec, llara: 256 prompts; llara_next_item: up to 512 chunks.")
    assert "for 5 epochs" in papers
    assert f": {5 * (50 + 850):,} prompts" in papers
    assert budgets({}, lens) == []


@pytest.mark.parametrize(
    ("key", "values", "n_examples", "text"),
    [
        ("llara", {}, 10, "50 prompts"),  # 5 epochs of 10 are less than 256
        ("llara", {"max_examples": None}, 1000, "5,000 prompts"),
        ("llara", {"max_examples": None, "min_history_len": 3}, 1000, f"{5 * 800:,} prompts"),  # a fifth has two items
        ("llara_next_item", {"max_examples": 4096}, 10, "up to 4,096 chunks"),
        ("llara_next_item", {"max_examples": None}, 10, "all chunks of 5 epochs"),
        ("llara_guided_sdpo", {}, 1000, "256 prompts after those of llara_guided"),
        ("llara_next_item", {"warm_start_rows": 2000}, 10, "up to 512 chunks after 2,000 rows of the other objective"),
        ("llara", {"mixture": 0.25}, 1000, "256 prompts mixed with 25% of the other objective"),
        (
            "llara",
            {"warm_start_rows": 64, "mixture": 0.25},
            1000,
            "256 prompts after 64 rows of, and mixed with 25% of, the other objective",
        ),
    ],
)
def test_a_budget_counts_available_prompts_and_other_training(
    world, key: str, values: dict[str, object], n_examples: int, text: str
) -> None:
    params = world.on_axes(systems=[key])
    system = params.system(key)
    changed = system.model_copy(update={"tune": system.tune.model_copy(update=values)})
    params = params.model_copy(update={"systems": {**params.systems, key: changed}})
    lens = np.repeat([2, 3], [n_examples // 5, n_examples - n_examples // 5])
    assert tuned_on(params, systems_of(params), lens) == {key: text}


@pytest.mark.parametrize(
    ("dataset", "selection"),
    [
        ("movielens", "On movielens, interactions rated 3 or higher are kept; users"),
        (
            "movielens_cold",
            "; a random 20% of the items lose their training interactions, and so are new to all models; a history",
        ),
        (
            "lastfm",
            "of items with at least 4 interactions and of users with at least 4 interactions are kept, in the order of the",
        ),
        (
            "steam",
            "users with at least 20 interactions and of a random 33% of the users and 33% of the items are kept; users",
        ),
    ],
)
def test_the_protocol_states_which_rows_count_in_five_points(dataset: str, selection: str) -> None:
    sentences = protocol(load_params(Path(__file__).parents[3] / "params.yaml"), dataset)
    assert selection in sentences[0]
    assert len(sentences) == 5


@pytest.mark.parametrize(
    ("split", "rule", "leak"),
    [
        (
            {"strategy": "user_chronological", "train": 0.8, "validation": 0.1},
            "are divided 80% / 10% / 10%",
            "can leak over time",
        ),
        (
            {"strategy": "global_time", "train": 0.7, "validation": 0.1},
            "at two points in time, 70% / 10% / 20%",
            "leaks nothing over",
        ),
        (
            {"strategy": "date", "train_until": "1998-01-01", "validation_until": "1998-02-01"},
            "are cut at 1998-01-01 and at 1998-02-01",
            "leaks nothing over time",
        ),
        ({"strategy": "leave_one_out"}, "the one before it the validation target", "say nothing about new users"),
    ],
)
def test_the_protocol_states_how_it_splits_and_what_that_can_leak(split: dict[str, object], rule: str, leak: str) -> None:
    params = load_params(Path(__file__).parents[3] / "params.yaml")
    section = params.dataset("movielens").model_copy(update={"split": SplitConfig.model_validate(split)})
    first = protocol(params.model_copy(update={"datasets": {"movielens": section}}), "movielens")[0]
    assert rule in first
    assert leak in first


def test_the_protocol_states_what_an_own_log_leaves_out_and_that_its_order_is_no_time() -> None:
    params = load_params(Path(__file__).parents[3] / "params.yaml")
    columns = {"user": "u", "item": "i", "time": None, "rating": None, "item_id": "i", "title": "t"}
    changes = {"columns": columns, "time_format": None, "keep": {"event": ["buy", "rent"]}, "repeats": "last"}
    shop = params.model_copy(update={"datasets": {"shop": dataset_config("log", **changes)}})
    assert protocol(shop, "shop")[0].startswith(
        "On shop, interactions whose event is buy or rent and that are a user's last with the item are kept, in the order of "
        "the file (not of time); users"
    )
