"""Changes by ``-S`` are listed, and invalid ones are refused before DVC reads them."""

from __future__ import annotations

from pathlib import Path

import pytest

from llara_core.errors import ConfigError
from pipeline.settings import overlay_params, values, with_settings
from tests.helpers.params import copy_params

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    copy_params(tmp_path)
    monkeypatch.chdir(tmp_path)
    return both()


def changes(settings: list[str]) -> list[str]:
    return overlay_params(settings)[1]


def both() -> bytes:
    return Path("params.yaml").read_bytes() + Path("systems.yaml").read_bytes()


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("run.datasets=movielens", r"run\.datasets: is 'movielens', which is not a list; write \[movielens\]"),
        (
            "run.datasets=[movielen]",
            r"run\.datasets names \['movielen'\], which `datasets` does not define; did you mean movielens\?",
        ),
        (
            "curriculum.schedul=linear",
            r"-S curriculum\.schedul=linear: params\.yaml has no key 'curriculum\.schedul'; did you mean"
            r" curriculum\.schedule\?$",
        ),
        (
            "systems.yaml:systems.tallrecc.tune.objective=generative",
            r"systems\.yaml has no key '.*'; did you mean systems\.yaml:systems\.tallrec\.tune\.objective\?$",
        ),
        (
            "systems.yaml:systems.llara_guided.lora.rank=8",
            r"no key 'systems\.llara_guided\.lora\.rank'; to add it: -S 'systems\.yaml:\+systems\.llara_guided\.lora\.rank=8'$",
        ),
        (
            "systems.yaml:+systems.llara_compact.tune.ranking_weight=1.0",
            r"^systems\.yaml: 1 problem\(s\)\n  systems\.llara_compact: tune\.ranking_weight needs a slot",
        ),
        (
            "systems.llara.recommender=caser",
            r"-S systems\.llara\.recommender=caser: `systems` belongs in systems\.yaml; write -S "
            r"systems\.yaml:systems\.llara\.recommender=caser$",
        ),
        ("+systems.mine={extends: llara}", r"; write -S 'systems\.yaml:\+systems\.mine=\{extends: llara\}'$"),
        ("systems.yaml:tune.epochs=1", r"`tune` belongs in params\.yaml; write -S tune\.epochs=1$"),
        ("dvc.yaml:stages=1", r"dvc\.yaml has no parameters; they are in params\.yaml and systems\.yaml$"),
        ("qwerty=3", r"no key 'qwerty'; the sections are run, download, "),
        ("datasets=[]", r"-S datasets=\[\]: Error merging override datasets=\[\]; write it as key=value"),  # the key exists
        ("run.datasets=[movielens", r"-S run\.datasets=\[movielens: .*; write it as key=value or 'key=\[value,value\]'"),
        ("run.seeds", r"-S run\.seeds: .*; write it as key=value or"),
        ("tune.epochs=0", r"tune\.epochs: Input should be greater than or equal to 1, got 0"),
    ],
)
def test_an_invalid_setting_is_refused_before_dvc_reads_it(setting: str, message: str, before: bytes) -> None:
    with pytest.raises(ConfigError, match=f"(?s){message}") as caught:
        changes([setting])
    assert str(caught.value).startswith(("params.yaml: ", "systems.yaml: ", "-S "))
    assert both() == before


@pytest.mark.parametrize(
    ("setting", "key", "value"),
    [
        ("systems.yaml:+systems.llara_guided.lora.rank=8", "systems.llara_guided.lora.rank", 8),
        ("systems.yaml:+systems.mine={extends: llara}", "systems.mine.extends", "llara"),
    ],
)
def test_an_addition_can_be_given_again(setting: str, key: str, value: object, tmp_path: Path) -> None:
    """An interrupted run leaves it in the file."""
    (tmp_path / "changed").mkdir()
    for _ in range(2):
        with_settings(tmp_path / "changed", [setting])
        (tmp_path / "changed" / "systems.yaml").replace("systems.yaml")
        assert values(tmp_path)[key] == value
    assert all(line.endswith(", as before") for line in changes([setting]))


def test_changes_are_listed_with_the_systems_that_they_reach(before: bytes) -> None:
    assert changes([]) == []
    assert changes(
        ["run.datasets=[lastfm,movielens]", "inference.max_positions.catalogue=null", "curriculum.schedule=linear"]
    ) == [
        "run.datasets: [movielens] -> [lastfm, movielens]",
        "curriculum.schedule: linear, as before; reaches llara; llara_guided sets its own; llara_compact makes no use of it",
        "inference.max_positions.catalogue: 10 -> null",
    ]
    assert changes(["systems.yaml:+systems.mine={extends: llara}"]) == ["systems.mine.extends: null -> llara"]
    assert changes(["systems.yaml:systems.llara.recommender=caser"]) == ["systems.llara.recommender: sasrec -> caser"]
    assert changes(["run.systems=[]", "tune.epochs=1"])[1:] == ["tune.epochs: 5 -> 1"]  # no system to reach
    assert both() == before
