import pytest

from llara_core.answers.predictions import PredictionMetadata
from llara_core.config import Params
from llara_core.evaluation.comparison import ComparedSystem
from llara_core.evaluation.results import RunResults, SystemResults
from llara_core.evaluation.systems import System
from llara_core.report import paper


def result(kind: str, key: str, recommender: str | None = None, mode: str = "generate") -> ComparedSystem:
    facts = PredictionMetadata(
        dataset="movielens", system=key, mode=mode, objective="generative", seed=0, candidates_hash="0" * 64
    )
    results = SystemResults(System(kind, key, key, recommender, (f"{key}-0",)), (RunResults(facts, None),))
    return ComparedSystem(results, True, None, {}, {})


def with_system(params: Params, key: str, section: str, **values: object) -> Params:
    system = params.system(key)
    changed = system.model_copy(update={section: getattr(system, section).model_copy(update=values)})
    return params.model_copy(update={"systems": {**params.systems, key: changed}})


@pytest.mark.parametrize(
    ("ours", "name"),
    [
        (result("recommender", "morec", mode="score"), "MoRec"),
        (result("recommender", "sasrec", mode="score"), "SASRec"),
        (result("untuned", "zero_shot"), "Llama2, zero-shot"),
        (result("chat", "local"), "GPT-4, zero-shot"),
        (result("tuned", "tallrec"), "TALLRec"),
        (result("tuned", "llara", "caser"), "LLaRA (Caser)"),
        (result("tuned", "llara", "sasrec", mode="score"), None),
        (result("tuned", "llara_direct", "sasrec"), None),
        (result("tuned", "llara_index", "sasrec"), None),
        (result("tuned", "llara_random_vectors", "sasrec"), None),
        (result("tuned", "llara_next_item", "sasrec", mode="score"), None),
        (result("baseline", "popularity", mode="score"), None),
        (result("fused", "llara", "sasrec", mode="fused"), None),
        (result("tuned", "llara_guided", "sasrec"), None),
        (result("tuned", "guided_listwise", "sasrec"), None),
    ],
)
def test_a_system_is_recognised_by_what_it_is(world, ours: ComparedSystem, name: str | None) -> None:
    assert paper.name_in_table_2(ours, world.params) == name


def test_the_name_of_a_system_does_not_count(world) -> None:
    direct = result("tuned", "llara_direct", "sasrec")
    params = with_system(world.params, "llara_direct", "curriculum", schedule="linear")
    assert paper.name_in_table_2(direct, params) == "LLaRA (SASRec)"
    assert paper.name_in_table_2(direct, with_system(params, "llara_direct", "tune", mixture=0.5)) is None


@pytest.mark.parametrize(
    ("section", "values"),
    [
        ("prompt", {"slot": "before"}),
        ("prompt", {"recommender_scores": True}),
        ("tune", {"ranking_weight": 1.0}),
        ("tune", {"mixture": 0.5}),
        ("tune", {"warm_start_rows": 8}),
        ("ablation", {"llm_weights": "random"}),
        ("ablation", {"item_vectors": "random"}),
    ],
)
def test_a_system_with_something_of_ours_is_not_the_papers(world, section: str, values: dict[str, object]) -> None:
    params = with_system(world.params, "llara", section, **values)
    llara = result("tuned", "llara", "sasrec")
    assert paper.name_in_table_2(llara, world.params) == "LLaRA (SASRec)"
    assert paper.name_in_table_2(llara, params) is None
    assert paper.curriculum_hit_ratio(llara, params, "movielens") is None


def test_tallrec_with_a_ranking_loss_is_not_the_papers(world) -> None:
    params = with_system(world.params, "tallrec", "tune", ranking_weight=1.0)
    assert paper.name_in_table_2(result("tuned", "tallrec"), params) is None


def test_every_row_of_table_2_finds_its_counterpart(world) -> None:
    rows = paper.table_2(world.params, "movielens")
    assert len(rows) == 10
    (tallrec,) = [row for row in rows if row.system == "TALLRec"]
    ours = [result("tuned", "tallrec"), result("tuned", "llara", "sasrec")]
    assert (tallrec.hit_ratio, tallrec.valid_ratio) == (0.3895, 0.9263)
    assert [each.name for each in ours if paper.name_in_table_2(each, world.params) == tallrec.system] == ["tallrec"]


def test_table_3_goes_by_the_schedule_and_only_on_sasrec(world) -> None:
    hit_ratios = {
        key: paper.curriculum_hit_ratio(result("tuned", key, "sasrec"), world.params, "movielens")
        for key in ("llara_direct", "llara_two_stage", "llara", "llara_sqrt", "llara_behavior", "llara_random_vectors")
    }
    assert hit_ratios == {
        "llara_direct": 0.4211,
        "llara_two_stage": 0.4316,
        "llara": 0.4421,
        "llara_sqrt": None,
        "llara_behavior": None,
        "llara_random_vectors": None,
    }
    assert paper.curriculum_hit_ratio(result("tuned", "llara", "caser"), world.params, "movielens") is None


def test_another_length_of_the_first_stage_is_not_table_3s(world) -> None:
    two_stage = result("tuned", "llara_two_stage", "sasrec")
    params = with_system(world.params, "llara_two_stage", "curriculum", two_stage_text_share=0.5)
    assert paper.curriculum_hit_ratio(two_stage, params, "movielens") is None


def test_tallrec_reads_titles_alone_beside_whatever_recommender(world) -> None:
    tallrec = result("tuned", "tallrec", "sasrec")
    assert paper.name_in_table_2(tallrec, world.params) == "TALLRec"
    assert paper.name_in_table_2(tallrec, with_system(world.params, "tallrec", "prompt", representation="text")) is None


def test_a_dataset_has_rows_only_by_the_rules_of_the_paper(world) -> None:
    def n_rows(params: Params, **values: object) -> int:
        steam = params.dataset("steam").model_copy(update=values)
        return len(paper.table_2(params.model_copy(update={"datasets": {"steam": steam}}), "steam"))

    params = world.params
    assert n_rows(params) == 10
    assert n_rows(params, min_user_interactions=5) == 0
    periods = params.dataset("steam").split.model_copy(update={"strategy": "global_time"})
    assert n_rows(params, split=periods) == 0
    ten = params.candidates.model_copy(update={"n_candidates": 10})
    assert n_rows(params.model_copy(update={"candidates": ten})) == 0
