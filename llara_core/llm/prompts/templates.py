"""Wordings of the prompts: plain text with fields."""

from __future__ import annotations

# {noun} and {verb} are the dataset's words ("movie", "watched"); {history} and {candidates} are comma-separated items.
# The paper samples the wording of every prompt from several (section 5.1.2). The question follows the item lists, so that
# no long list separates it from the answer.
RANKING_TEMPLATES = (
    "This user has {verb} {history} in the past. Predict the next {noun} for this user. The candidates are {candidates}. "
    "Choose exactly one {noun} from the candidates. The answer is",
    "Here is what a user has {verb}, oldest first: {history}. One of the following comes next: {candidates}. "
    "Name that {noun}. The answer is",
    "Given the {noun} history {history}, which of these will the user pick next: {candidates}? "
    "Reply with the name of one candidate. The answer is",
    "A user {verb} {history}. From the candidates {candidates}, recommend the one {noun} that follows. The answer is",
)

# The instruction precedes the wording for models that were not tuned on prompts and answers: the base LLM and chat models.
# Only a candidate's exact name is a valid answer, and untuned models must be told so.
INSTRUCTION = "Answer with the name of exactly one of the candidates, written exactly as it is listed, and with nothing else."

# The next_item objective shows the history alone; predictions are read at each item, so nothing follows the list.
HISTORY_TEMPLATES = (
    "This user has {verb} {history}",
    "Here is what a user has {verb}, oldest first: {history}",
    "The {noun} history of a user: {history}",
    "A user {verb} {history}",
)
