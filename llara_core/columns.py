"""Column names of every table between two stages; nothing else in the project spells them out."""

from __future__ import annotations

USER = "user_id"
ITEM = "item_id"
TIMESTAMP = "timestamp"
POSITION = "position"
RATING = "rating"
SPLIT = "split"

RAW_ITEM = "raw_id"
RAW_TITLE = "raw_title"
ATTRIBUTES = "attributes"  # of an item: a list with one text per attribute, e.g. ["Comedy, Drama", "Pixar"]
TITLE = "title"
LABEL = "label"
N_INTERACTIONS = "n_interactions"

EXAMPLE = "example_id"
HISTORY = "history"
TARGET = "target"

DRAW = "draw"
TURN = "turn"  # 0-based place of a position in the random order in which a user's positions are chosen
CANDIDATES = "candidates"

VECTOR = "vector"
TEXT_VECTOR = "text_vector"  # what the vector would be if the item had no interactions

SCORES = "scores"
IN_SAMPLE = "in_sample"  # by the recommender that trained on the user
OUT_OF_FOLD = "out_of_fold"  # by one that did not
TEXT = "text"  # what a model wrote; of an item: its title and attributes, as text encoders read them
PREDICTED = "predicted_item"
VALID = "valid"
CATALOGUE_RANK = "catalogue_rank"

HIT = "hit"
RANK = "rank"
NEW_RANK = "new_rank"  # among the candidates without training interactions
N_NEW = "n_new"  # of these
TARGET_IS_NEW = "target_is_new"
PICKED_NEW = "picked_new"  # whether the answer is a valid one without training interactions
CONTAINED_HIT = "contained_hit"  # by the paper's rule of what a valid answer is
CONTAINED_VALID = "contained_valid"

TRAIN, VALIDATION, TEST = "train", "validation", "test"
SPLITS = (TRAIN, VALIDATION, TEST)
HELD_OUT = (VALIDATION, TEST)
# What is over when a split ends. Nothing that is learnt or chosen on a split may rest on the splits after it.
UNTIL = {TRAIN: (TRAIN,), VALIDATION: (TRAIN, VALIDATION), TEST: SPLITS}
