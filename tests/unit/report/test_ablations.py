from llara_core.config import ComparisonConfig, Params
from llara_core.evaluation import results
from llara_core.evaluation.comparison import compare, headlines
from llara_core.evaluation.systems import read_answers
from llara_core.report.ablations import Ablation, ablations


def tables_of(world, config: ComparisonConfig, **axes: object) -> list[Ablation]:
    params: Params = world.on_axes(baselines=[], **axes)
    params = params.model_copy(update={"report": params.report.model_copy(update={"ablations": {"one": config}})})
    answers = read_answers(results.read_ground("movielens"), params)
    return ablations(headlines(compare(answers, params.evaluation)), params)


def put_llm(world, name: str, place: int) -> None:
    world.put(f"{name}-0", world.target_is(place), mode="generate", draws=1, objective="generative")
    if name.count("-"):
        world.put(f"fused-{name}-0", world.target_is(1), mode="fused", draws=1, note="LLM weight 0.30")


def test_rows_are_the_systems_on_the_axes_with_their_differences_to_the_reference(world) -> None:
    world.put("sasrec-0", world.target_is(1))
    for name, place in (("llara-sasrec", 1), ("llara_direct-sasrec", 2), ("tallrec", 3)):
        put_llm(world, name, place)
    config = ComparisonConfig(title="A title", reference="llara", systems=["llara_direct", "llara_sqrt", "tallrec"])
    (table,) = tables_of(world, config, systems=["llara", "llara_direct"], text_systems=["tallrec"])
    assert (table.title, table.recommender) == ("A title", "sasrec")
    assert [(row.name, row.is_reference) for row in table.rows] == [
        ("llara-sasrec", True),
        ("llara_direct-sasrec", False),
        ("tallrec", False),
    ]
    assert [row.difference and row.difference.mean for row in table.rows] == [None, -1.0, -1.0]
    assert [(row.difference.n_runs, row.difference.p_value) for row in table.rows[1:]] == [(1, None)] * 2
    assert [(row.is_best, row.lead) for row in table.rows] == [(True, 0.0), (False, -1.0), (False, -1.0)]


def test_there_is_a_table_per_recommender_where_its_items_are_read(world) -> None:
    for recommender in ("sasrec", "caser"):
        world.put(f"{recommender}-0", recommender, world.target_is(1))
        for name in ("llara", "llara_direct"):
            put_llm(world, f"{name}-{recommender}", 1)
    axes = {"recommenders": ["sasrec", "caser"], "llm_recommenders": ["sasrec", "caser"]}
    config = ComparisonConfig(title="Curriculum", reference="llara", systems=["llara_direct"])
    found = tables_of(world, config, systems=["llara", "llara_direct"], **axes)
    assert [table.recommender for table in found] == ["sasrec", "caser"]


def test_a_table_of_text_systems_stands_once(world) -> None:
    put_llm(world, "tallrec", 1)
    put_llm(world, "next_item_text", 1)
    config = ComparisonConfig(title="Text", reference="tallrec", systems=["next_item_text"])
    axes = {"recommenders": [], "systems": [], "text_systems": ["tallrec", "next_item_text"]}
    for llm_recommenders in ([], ["sasrec", "caser"]):
        (table,) = tables_of(world, config, llm_recommenders=llm_recommenders, **axes)
        assert table.recommender is None


def test_without_the_reference_or_with_one_system_there_is_no_table(world) -> None:
    world.put("sasrec-0", world.target_is(1))
    put_llm(world, "llara-sasrec", 1)
    put_llm(world, "tallrec", 1)
    for reference, systems in (("llara", ["llara_sqrt"]), ("llara_sqrt", ["llara", "tallrec"])):
        config = ComparisonConfig(title="None", reference=reference, systems=systems)
        assert tables_of(world, config, text_systems=["tallrec"]) == []
