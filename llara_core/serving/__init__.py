"""Recommendations for real users, and export of systems."""

import logging

# As in pipeline/stage.py: peft, imported below, loads bitsandbytes, whose warning of a missing kernel concerns nobody here.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)

from llara_core.serving.model import Model, Recommendation, load  # noqa: E402
from llara_core.serving.new_items import NewItem  # noqa: E402
from llara_core.serving.ranking import AudienceMember  # noqa: E402

__all__ = ["AudienceMember", "Model", "NewItem", "Recommendation", "load"]
