"""What ``-S`` changes is said, and refused where it is wrong, before DVC sees it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from llara_core.errors import ConfigError
from pipeline.settings import changes

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    shutil.copy(REPOSITORY / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    return Path("params.yaml").read_bytes()


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("run.datasets=movielens", r"run\.datasets: is 'movielens', which is no list; write \[movielens\]"),
        (
            "run.datasets=[movielen]",
            r"run\.datasets names \['movielen'\], but `datasets` defines only \['amazon_games', 'lastfm', 'movielens', ",
        ),
        (
            "curriculum.schedul=linear",
            r"-S curriculum\.schedul=linear: params\.yaml has no key 'curriculum\.schedul'; did you mean"
            r" curriculum\.schedule\?$",
        ),
        ("systems.tallrecc.tune.objective=generative", r"did you mean systems\.tallrec\.tune\.objective\?$"),
        (
            "systems.llara_guided.lora.rank=8",
            r"no key 'systems\.llara_guided\.lora\.rank'; to add it: -S '\+systems\.llara_guided\.lora\.rank=8'$",
        ),
        ("systems.llara_compact.tune.ranking_weight=1.0", r"systems\.llara_compact: tune\.ranking_weight needs a slot"),
        ("qwerty=3", r"no key 'qwerty'; its sections are run, download, "),
        ("run.datasets=[movielens", r"-S run\.datasets=\[movielens: .*; write it as key=value or 'key=\[value,value\]'"),
        ("run.seeds", r"-S run\.seeds: .*; write it as key=value or"),
        ("tune.epochs=0", r"tune\.epochs: Input should be greater than or equal to 1, got 0"),
    ],
)
def test_a_wrong_setting_is_refused_before_dvc_sees_it(setting: str, message: str, before: bytes) -> None:
    with pytest.raises(ConfigError, match=f"(?s){message}") as caught:
        changes([setting])
    assert str(caught.value).startswith(("params.yaml: ", "-S "))
    assert Path("params.yaml").read_bytes() == before


def test_what_changes_is_said_and_whom_it_reaches(before: bytes) -> None:
    assert changes([]) == []
    assert changes(
        ["run.datasets=[lastfm,movielens]", "inference.max_positions.catalogue=null", "curriculum.schedule=linear"]
    ) == [
        "run.datasets: [movielens] -> [lastfm, movielens]",
        "curriculum.schedule: linear, as before; reaches llara; llara_guided sets its own; zero_shot, tallrec and "
        "llara_compact make no use of it",
        "inference.max_positions.catalogue: 10 -> null",
    ]
    assert changes(["+systems.mine={extends: llara}"]) == ["systems.mine.extends: null -> llara"]
    assert changes(["run.systems=[]", "tune.epochs=1"])[1:] == ["tune.epochs: 5 -> 1"]  # there is nothing to reach
    assert Path("params.yaml").read_bytes() == before
