"""What tiny recommenders learn with pinned kernels: ``python -m tests.golden.make_recommenders`` prints it for this machine.

``recommenders.json`` holds it, with the processors on which it was confirmed; add yours where its values are the same.
``confirmed_emulated`` names the processor that ``valgrind --tool=none python -m tests.golden.make_recommenders`` presents,
which takes some 20 times as long. Other values on one of these mean that the same parameters and seed now give other numbers:
say so under "changes numbers" in the changelog. ``default_sasrec`` there is the sha256 of
``data/recommenders/movielens/sasrec-0/checkpoint/model.safetensors`` after the default run, which no test makes.
"""

from __future__ import annotations

from llara_core.runtime import compute

compute.use_threads(1)
compute.pin_kernels()  # before torch is loaded

import hashlib  # noqa: E402
import json  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402

from llara_core.recommenders import models, training  # noqa: E402

GOLDEN = Path(__file__).with_name("recommenders.json")

N_ITEMS, N_USERS, MAX_HISTORY_LEN = 200, 40, 10
OWN = {
    "gru4rec": {"hidden_dim": 64, "n_layers": 1},
    "caser": {"window": 10, "n_horizontal_filters": 4, "n_vertical_filters": 2},
    "sasrec": {"n_layers": 2, "n_heads": 1},
}
OPTIONS = training.TrainingOptions(learning_rate=1e-3, batch_size=256, loss="cross_entropy", max_epochs=2, patience=2)


def values() -> dict[str, Any]:
    """Returns by recommender the sha256 of its trained weights with its scores, and the mean size of its embeddings."""
    rng = np.random.default_rng(0)
    sequences = [rng.permutation(N_ITEMS)[:30] for _ in range(N_USERS)]
    histories = [items[:MAX_HISTORY_LEN] for items in sequences]
    targets = np.array([items[MAX_HISTORY_LEN] for items in sequences])
    validation = training.ValidationSet(histories, targets, histories, n_candidates=20)
    by_name = {}
    for name, own in OWN.items():
        arguments = {"n_items": N_ITEMS, "embedding_dim": 64, "max_history_len": MAX_HISTORY_LEN, "dropout": 0.2} | own

        def build(name: str = name, arguments: dict[str, Any] = arguments) -> Any:
            return models.build(name, arguments)

        (result,) = training.search_l2(build, sequences, validation, [1e-4], OPTIONS, 0, "golden", name)
        tensors = [tensor.numpy() for _, tensor in sorted(result.model.state_dict().items())]
        digest = hashlib.sha256(b"".join(array.tobytes() for array in [*tensors, result.model.score_catalogue(histories)]))
        mean_size = float(np.abs(result.model.item_embeddings()).astype(np.float64).mean())
        by_name[name] = {"sha256": digest.hexdigest(), "mean_size": round(mean_size, 5)}
    return by_name


if __name__ == "__main__":
    print(json.dumps({"values": values(), "processor": compute.describe_processor(), "kernels": compute.describe()}, indent=1))
