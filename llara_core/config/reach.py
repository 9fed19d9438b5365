"""Reach of global values: which LLM systems use a value of the sections that all of them share."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from llara_core.config.objectives import OBJECTIVES, trained_objectives
from llara_core.config.systems import WITH_SLOTS, SystemConfig

SHARED = ("prompt", "lora", "curriculum", "tune", "ablation")


def _trains_rows(config: SystemConfig, *, with_candidates: bool) -> bool:
    trained = trained_objectives(config.tune.objective, mixed=config.tune.mixes)
    return any(objective.shows_candidates == with_candidates for objective in trained)


def _shows_candidate_titles(config: SystemConfig) -> bool:
    return config.prompt.representation in ("hybrid", "text", "title") and _trains_rows(config, with_candidates=True)


def _tunes_preferences(config: SystemConfig) -> bool:
    return OBJECTIVES[config.tune.objective].needs_start


# Conditions under which a system uses a value. Other values are used by every tuned system, those of `prompt` also by untuned
# ones.
_USED_IF: dict[str, Callable[[SystemConfig], bool]] = {
    "prompt.slot": lambda config: config.prompt.representation in WITH_SLOTS,
    "prompt.text_dim": lambda config: config.prompt.representation == "compact",
    "prompt.item_text": lambda config: config.prompt.representation == "compact" or _shows_candidate_titles(config),
    "prompt.templates": lambda config: config.tuned,
    "curriculum.schedule": lambda config: config.has_curriculum,
    "curriculum.two_stage_text_share": lambda config: config.has_curriculum and config.curriculum.schedule == "two_stage",
    "tune.min_history_len": lambda config: _trains_rows(config, with_candidates=True),
    "tune.chunk_len": lambda config: _trains_rows(config, with_candidates=False),
    "tune.projector_l2": lambda config: config.shows_behavior,
    "tune.projector_init": lambda config: config.shows_behavior,
    "tune.new_share": lambda config: config.prompt.representation == "compact",
    "tune.feature_dropout": lambda config: config.prompt.representation == "compact",
    "tune.preference_loss": _tunes_preferences,
    "tune.preference_beta": _tunes_preferences,
    "tune.preference_negatives": _tunes_preferences,
    "ablation.item_vectors": lambda config: config.shows_behavior,
    "ablation.recommender_scores": lambda config: config.prompt.recommender_scores,
}


@dataclass(frozen=True)
class Reach:
    """Systems that use a global value, systems with a value of their own, and systems that need no value."""

    reached: tuple[str, ...]
    own: tuple[str, ...]
    unused: tuple[str, ...]

    def __str__(self) -> str:
        """Returns a text such as ``reaches llara; llara_guided sets its own; tallrec makes no use of it``."""
        parts = [f"reaches {', '.join(self.reached) or 'no LLM system of the run'}"]
        if self.own:
            parts.append(f"{_listed(self.own)} {'sets its' if len(self.own) == 1 else 'set their'} own")
        if self.unused:
            parts.append(f"{_listed(self.unused)} {'makes' if len(self.unused) == 1 else 'make'} no use of it")
        return "; ".join(parts)


def reach(
    key: str, systems: Mapping[str, SystemConfig], own_keys: Mapping[str, Collection[str]], names: Sequence[str]
) -> Reach:
    """Returns which systems use a global value.

    Args:
        key: dotted key in one of the sections :data:`SHARED`.
        systems: configurations by name.
        own_keys: keys that each system, or one that it extends, sets.
        names: systems to classify.
    """
    unused = [name for name in names if not _uses(key, systems[name])]
    own = [name for name in names if name not in unused and key in own_keys[name]]
    reached = [name for name in names if name not in (*unused, *own)]
    return Reach(tuple(reached), tuple(own), tuple(unused))


def _uses(key: str, config: SystemConfig) -> bool:
    return (config.tuned or key.startswith("prompt.")) and (key not in _USED_IF or _USED_IF[key](config))


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
