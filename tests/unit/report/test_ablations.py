import pytest

from llara_core.config import ComparisonConfig, Params
from llara_core.report import ablations
from llara_core.report.ablations import Ablation
from llara_core.report.comparisons import Comparisons


def with_table(params: Params, reference: str, *systems: str) -> Params:
    config = ComparisonConfig(title="A title", reference=reference, systems=list(systems))
    return params.model_copy(update={"report": params.report.model_copy(update={"ablations": {"one": config}})})


def ablations_of(world, params: Params) -> list[Ablation]:
    return ablations.ablations(world.compared(params))


def put_llm(world, name: str, place: int) -> None:
    world.put(f"{name}-0", world.target_is(place), mode="generate", draws=1, objective="generative")


def test_rows_are_the_systems_of_the_run_with_their_differences_to_the_reference(world) -> None:
    world.put("sasrec-0", world.target_is(1))
    for name, place in (("llara", 1), ("llara_direct", 2), ("tallrec", 3)):
        put_llm(world, name, place)
    params = world.on_axes(baselines=[], systems=["tallrec", "llara", "llara_direct"])
    (table,) = ablations_of(world, with_table(params, "llara", "llara_direct", "llara_sqrt", "tallrec"))
    assert table.heading == "A title, on sasrec"
    assert [(row.name, row.is_reference) for row in table.rows] == [
        ("llara", True),
        ("llara_direct", False),
        ("tallrec", False),
    ]
    assert [row.difference and row.difference.mean for row in table.rows] == [None, -1.0, -1.0]
    assert [(row.difference.n_runs, row.difference.p_value) for row in table.rows[1:]] == [(1, None)] * 2
    assert [(row.is_best, row.lead) for row in table.rows] == [(True, 0.0), (False, -1.0), (False, -1.0)]


def test_systems_on_different_recommenders_are_told_apart_in_their_rows(world) -> None:
    for recommender in ("sasrec", "caser"):
        world.put(f"{recommender}-0", world.target_is(1))
    for name in ("llara", "llara_direct"):
        put_llm(world, name, 1)
    params = world.on_axes(baselines=[], recommenders=["sasrec", "caser"], systems=["llara", "llara_direct"])
    on_caser = params.system("llara_direct").model_copy(update={"recommender": "caser"})
    params = params.model_copy(update={"systems": {**params.systems, "llara_direct": on_caser}})
    params = with_table(params, "llara", "llara_direct")
    section = ablations.section(world.compared(params))
    (part,) = section.parts
    assert part.heading == "A title"
    assert [line["System"] for line in part.tables[0].lines] == ["llara (on sasrec)", "llara_direct (on caser)"]


def test_systems_without_a_recommender_have_none_in_the_heading(world) -> None:
    put_llm(world, "tallrec", 1)
    put_llm(world, "next_item_text", 1)
    params = world.on_axes(baselines=[], recommenders=[], systems=["tallrec", "next_item_text"])
    (table,) = ablations_of(world, with_table(params, "tallrec", "next_item_text"))
    assert table.heading == "A title"


def test_without_the_reference_or_with_one_system_there_is_no_table(world) -> None:
    world.put("sasrec-0", world.target_is(1))
    put_llm(world, "llara", 1)
    put_llm(world, "tallrec", 1)
    params = world.on_axes(baselines=[], systems=["tallrec", "llara"])
    for reference, systems in (("llara", ["llara_sqrt"]), ("llara_sqrt", ["llara", "tallrec"])):
        params = with_table(params, reference, *systems)
        section = ablations.section(world.compared(params))
        assert (section.parts, section.notes) == ([], ["Ablations whose systems are not part of this run: A title."])


def test_the_budgets_are_shown_where_they_differ(world, monkeypatch: pytest.MonkeyPatch) -> None:
    world.put("sasrec-0", world.target_is(1))
    put_llm(world, "llara", 1)
    put_llm(world, "tallrec", 1)
    params = with_table(world.on_axes(baselines=[], systems=["tallrec", "llara"]), "llara", "tallrec")
    comparisons = world.compared(params)
    (table,) = ablations.ablations(comparisons)

    def headings(**budgets: str) -> list[str]:
        monkeypatch.setattr(Comparisons, "tuned_on", budgets)
        return [column.heading for column in ablations.columns_of(table, comparisons)]

    assert headings(llara="256 prompts", tallrec="256 prompts")[:3] == ["System", "Answers by", "Validation HR@1"]
    assert headings(llara="256 prompts", tallrec="64 prompts")[:3] == ["System", "Answers by", "Tuned on"]
