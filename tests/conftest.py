"""What holds for all tests: no model hub, and one tokenizer thread, as forks of a parallel tokenizer warn."""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
