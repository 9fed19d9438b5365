"""Column names of the tables between stages, which nothing else in the project spells out."""

from __future__ import annotations

USER = "user_id"
ITEM = "item_id"
TIMESTAMP = "timestamp"
POSITION = "position"
RATING = "rating"
SPLIT = "split"

RAW_USER = "raw_id"
RAW_ITEM = "raw_id"
RAW_TITLE = "raw_title"
ATTRIBUTES = "attributes"  # an item's attributes as a list with one text each, e.g. ["Comedy, Drama", "Pixar"]
TITLE = "title"
LABEL = "label"
N_INTERACTIONS = "n_interactions"

EXAMPLE = "example_id"
HISTORY = "history"
TARGET = "target"

DRAW = "draw"
TURN = "turn"  # 0-based rank of a position in the random order in which a user's positions are chosen
CANDIDATES = "candidates"
SET_KEYS = [EXAMPLE, DRAW]  # columns that identify a candidate set

VECTOR = "vector"
TEXT_VECTOR = "text_vector"  # the vector for an item without interactions

SCORES = "scores"
IN_SAMPLE = "in_sample"  # scores of the recommender that was trained on the user
OUT_OF_FOLD = "out_of_fold"  # scores of a recommender that was not
TEXT = "text"  # a model's written answer; in items, title and attributes as text encoders read them
PREDICTED = "predicted_item"
VALID = "valid"
CATALOGUE_RANK = "catalogue_rank"

HIT = "hit"
RANK = "rank"
NEW_RANK = "new_rank"  # rank among the candidates without training interactions
N_NEW = "n_new"  # number of candidates without training interactions
TARGET_IS_NEW = "target_is_new"
PICKED_NEW = "picked_new"  # whether the answer is valid and an item without training interactions
CONTAINED_HIT = "contained_hit"  # hit by the paper's rule for valid answers
CONTAINED_VALID = "contained_valid"

TRAIN, VALIDATION, TEST = "train", "validation", "test"
SPLITS = (TRAIN, VALIDATION, TEST)
HELD_OUT = (VALIDATION, TEST)
# Splits whose interactions are known at the end of a split. Nothing learnt or chosen on a split may use those after it.
UNTIL = {TRAIN: (TRAIN,), VALIDATION: (TRAIN, VALIDATION), TEST: SPLITS}
