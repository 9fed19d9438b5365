"""An exported folder recommends like its run, and needs only its language model."""

from __future__ import annotations

import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from peft import PeftModel, get_peft_model_state_dict
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from llara_core import paths, tables
from llara_core.config import load_params
from llara_core.config.datasets import DATASET_FORMATS
from llara_core.errors import ConfigError, DataError, ModelError
from llara_core.serving import load
from llara_core.serving.export import DATA_TERMS, LLM_TERMS
from pipeline.export import main
from pipeline.recommend import main as recommend
from tests.helpers.llm import LABELS, folder_hashes
from tests.unit.serving.conftest import DATASET, REPOSITORY, SEED, TUNED, Exported, write_params


@pytest.mark.parametrize("system", ["sasrec", "zero_shot", *TUNED])
def test_a_loaded_system_recommends_like_the_run(
    system: str, exported: Exported, llm: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recommend(DATASET, system, SEED, item=["Heat", "Clue"], top=5)
    printed = capsys.readouterr().out.splitlines()
    model = load(exported(system), llm=None if system == "sasrec" else llm)
    answer = model.recommend(["Heat", "Clue"], top=5)
    assert [f"{rank:3d}  {one.score:8.3f}  {one.label}" for rank, one in enumerate(answer, start=1)] == printed
    assert [one.item for one in answer] == [str(101 + LABELS.index(one.label)) for one in answer]


def test_many_histories_are_answered_at_once_and_wrong_numbers_refused(exported: Exported) -> None:
    model = load(exported("sasrec"))
    heat, clue = LABELS.index("Heat"), LABELS.index("Clue")
    both = model.recommend_ids([[heat], [clue, heat]], top=2)
    assert [[LABELS[item] for item in one.items] for one in both] == [
        [one.label for one in model.recommend(names, top=2)] for names in (["Heat"], ["Clue", "Heat"])
    ]
    with pytest.raises(DataError, match="top is 0; it has to be at least 1"):
        model.recommend(["Heat"], top=0)
    with pytest.raises(ConfigError, match="batch_size is 0"):
        load(exported("sasrec"), batch_size=0)
    with pytest.raises(DataError, match="candidates is -1"):
        model.recommend(["Heat"], candidates=-1)


def test_the_folder_holds_the_parts_and_their_hashes(exported: Exported) -> None:
    folder = exported("llara")
    metadata = tables.read_json(folder / "metadata.json")
    adapter = {"adapter.json", "modules.safetensors", "lora/adapter_config.json", "lora/adapter_model.safetensors"}
    recommender = {"config.json", "model.safetensors", "search.json"}
    parts = {"items.parquet", "item_embeddings.parquet"}
    parts |= {f"adapter/{name}" for name in adapter} | {f"recommender/{name}" for name in recommender}
    assert set(metadata["files"]) == parts
    assert {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} == parts | {
        "metadata.json",
        "README.md",
    }
    lora = tables.read_json(folder / "adapter" / "lora" / "adapter_config.json")
    assert lora["base_model_name_or_path"] is None  # a path on one machine
    assert lora["r"] == 2
    assert metadata["files"]["items.parquet"] == tables.file_sha256(folder / "items.parquet")


def test_the_adapter_loads_with_peft_on_the_base_model(exported: Exported, llm: Path) -> None:
    base = AutoModelForCausalLM.from_pretrained(llm, dtype=torch.float32)
    ids = torch.tensor([[5, 6, 7]])
    before = base(ids).logits
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # such as of another path to the base model
        adapted = PeftModel.from_pretrained(base, exported("llara") / "adapter" / "lora").eval()
    loaded = get_peft_model_state_dict(adapted, save_embedding_layers=False)
    saved = load_file(exported("llara") / "adapter" / "lora" / "adapter_model.safetensors")
    assert len(saved) == 2 * 7 * 2  # pairs of 7 linear layers in 2 blocks
    assert set(loaded) == set(saved)
    assert all(torch.equal(loaded[name], tensor) for name, tensor in saved.items())
    ours = load(exported("llara"), llm=llm).ranker.llm
    assert ours is not None
    torch.testing.assert_close(adapted(ids).logits, ours.model.causal_lm(ids).logits)
    assert not torch.allclose(adapted(ids).logits, before)


def test_it_loads_where_there_is_no_dvc_no_git_and_no_data(exported: Exported, llm: Path, tmp_path: Path) -> None:
    """In an empty folder, without the command's packages on the path, and with nothing to be imported of dvc, git or typer."""
    code = f"""
import sys
sys.path.insert(0, {str(REPOSITORY)!r})
for name in ("dvc", "dvclive", "git", "typer", "pipeline"):
    sys.modules[name] = None  # its import fails
from llara_core.serving import load
model = load({str(exported("llara_compact"))!r}, llm={str(llm)!r})
print([one.label for one in model.recommend(["Heat"], top=2)])
"""
    environment = {"PATH": "", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    answer = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stderr
    expected = [one.label for one in load(exported("llara_compact"), llm=llm).recommend(["Heat"], top=2)]
    assert answer.stdout.strip() == str(expected)


@pytest.mark.parametrize("system", ["llara", "zero_shot"])
def test_another_language_model_is_refused(exported: Exported, llm: Path, tmp_path: Path, system: str) -> None:
    other = tmp_path / "other"
    shutil.copytree(llm, other)
    tables.write_json(other / paths.LLM_SOURCE, {**tables.read_json(llm / paths.LLM_SOURCE), "sha256": "f" * 64})
    with pytest.raises(
        ModelError, match=r"requires the language model source \(fingerprint \w{12}\), but .*other holds another one"
    ):
        load(exported(system), llm=other)
    with pytest.raises(ModelError, match="holds no language model"):
        load(exported(system), llm=tmp_path)
    with pytest.raises(ModelError, match=f"{system} requires its language model"):
        load(exported(system))
    with pytest.raises(ConfigError, match="dtype 'float31'"):
        load(exported(system), llm=llm, dtype="float31")


def test_a_damaged_or_incomplete_folder_is_refused(exported: Exported, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(exported("sasrec"), folder)
    with (folder / "recommender" / "model.safetensors").open("ab") as stream:
        stream.write(b"\0")
    with pytest.raises(DataError, match=r"model.safetensors: not the file that was exported"):
        load(folder)
    (folder / "items.parquet").unlink()
    with pytest.raises(DataError, match=r"items.parquet: missing; copy the whole folder again"):
        load(folder)
    metadata = tables.read_json(folder / "metadata.json")
    tables.write_json(folder / "metadata.json", {**metadata, "retriever": "their_own"})
    with pytest.raises(ModelError, match=r"unknown recommender 'their_own'; choose from .*, or install the code that has it"):
        load(folder)
    tables.write_json(folder / "metadata.json", {"format": 2})
    with pytest.raises(DataError, match=r"metadata.json: written by another version; export the system again"):
        load(folder)
    with pytest.raises(DataError, match=r"no exported system here .* `python -m pipeline.export`"):
        load(tmp_path)


def test_only_a_new_folder_or_an_earlier_export_is_written(run: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    with pytest.raises(ConfigError, match=r"mine: exists and is not an exported system; name a new folder"):
        main(DATASET, "sasrec", SEED, tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "years of work"
    tables.write_json(tmp_path / "mine" / "metadata.json", {"format": "of something else"})
    with pytest.raises(ConfigError, match=r"mine: exists and is not an exported system"):
        main(DATASET, "sasrec", SEED, tmp_path / "mine")
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == ["metadata.json", "thesis.tex"]
    (tmp_path / "out").mkdir()
    main(DATASET, "sasrec", SEED, tmp_path / "out")
    first = folder_hashes(tmp_path / "out")
    (tmp_path / "out" / "README.md").write_text("scribbled over")
    main(DATASET, "sasrec", SEED, tmp_path / "out")
    assert folder_hashes(tmp_path / "out") == first


def test_a_failed_export_leaves_nothing_behind(changed_run: Path, tmp_path: Path) -> None:
    paths.metrics(DATASET, "sasrec-0").joinpath("score.json").write_text("{")
    with pytest.raises(DataError, match="not valid JSON"):
        main(DATASET, "sasrec", SEED, tmp_path / "to" / "out")
    assert list((tmp_path / "to").iterdir()) == []


def test_a_baseline_stays_with_the_interactions_that_it_is_fitted_on(run: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"popularity is a baseline, .* export a recommender"):
        main(DATASET, "popularity", SEED, tmp_path / "out")
    with pytest.raises(ConfigError, match="item_knn is a baseline"):
        main(DATASET, "tallrec", SEED, tmp_path / "out", retriever="item_knn")
    assert not (tmp_path / "out").exists()


def test_the_card_states_metrics_and_terms(exported: Exported) -> None:
    card = (exported("llara") / "README.md").read_text(encoding="utf-8")
    assert card.startswith("# llara on movielens\n")
    assert "| llara | score | test | 0.250 [0.150, 0.350] | 1.000 | 95 x 10 | 0 |" in card
    assert "| sasrec | score | test | 0.500 [0.400, 0.600] | 1.000 | 95 x 10 | 0 |" in card
    assert card.count("| score | test |") == 2  # shuffled histories are an experiment, no result of the system
    assert "95% intervals" in card
    assert "MovieLens 100K (GroupLens, University of Minnesota): for research." in card
    assert "Language model `source`: not known here" in card
    assert "The recommender sasrec retrieves" in card
    assert "- tuned: objective `generative`, 24 rows, float32" in card
    assert "ablation" not in card
    unmeasured = (exported("tallrec") / "README.md").read_text(encoding="utf-8")
    assert (
        "tallrec has no metrics in the run that it was exported from. The metrics of its recommender:\n\n| System" in unmeasured
    )
    assert "| tallrec |" not in unmeasured
    assert (exported("sasrec") / "README.md").read_text(encoding="utf-8").count("| score | test |") == 1


def test_the_card_of_an_ablation_warns_of_it(changed_run: Path, tmp_path: Path) -> None:
    file = paths.adapter(DATASET, "llara-0") / "adapter.json"
    metadata = tables.read_json(file)
    tables.write_json(file, {**metadata, "ablation": {**metadata["ablation"], "item_vectors": "random"}})
    main(DATASET, "llara", SEED, tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert card.count("**ablation**") == 1
    assert "- **ablation**, not for use: `item_vectors: random`" in card


def test_the_card_names_the_adapter_that_tuning_continued_from(exported: Exported, changed_run: Path, tmp_path: Path) -> None:
    file = paths.adapter(DATASET, paths.run_name("llara", SEED)) / "adapter.json"
    start = {"system": "llara_first", "sha256": "ab" * 32}
    tables.write_json(file, {**tables.read_json(file), "start": start})
    main(DATASET, "llara", SEED, tmp_path / "out")
    line = f"- tuning continued from the adapter of `llara_first`, sha256 `{'ab' * 32}`"
    assert line in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "tuning continued" not in (exported("llara") / "README.md").read_text(encoding="utf-8")


def test_the_card_of_a_system_without_metrics_states_that(changed_run: Path, tmp_path: Path) -> None:
    shutil.rmtree(paths.REPORT)
    main(DATASET, "sasrec", SEED, tmp_path / "out")
    assert "sasrec has no metrics in the run that it was exported from.\n\n## Limits" in (
        tmp_path / "out" / "README.md"
    ).read_text(encoding="utf-8")


def test_terms_are_known_of_every_format_and_of_the_default_language_model() -> None:
    assert set(DATA_TERMS) == set(DATASET_FORMATS)
    assert load_params(REPOSITORY / "params.yaml").llm.model in LLM_TERMS


def test_an_untuned_system_is_measured_under_the_first_seed(changed_run: Path, tmp_path: Path) -> None:
    write_params(changed_run, {"run": {"seeds": [5, 0]}})
    record = tables.read_json(paths.metrics(DATASET, "llara-0") / "score.json")
    tables.write_json(paths.metrics(DATASET, "zero_shot-5") / "score.json", {**record, "system": "zero_shot", "seed": 5})
    main(DATASET, "zero_shot", 0, tmp_path / "out")
    assert "| zero_shot | score | test |" in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert load_params().run.seeds == [5, 0]
