"""Recommendations for real users, and systems that travel."""

from llara_core.serving.audience import Reached
from llara_core.serving.model import Model, Recommendation, load
from llara_core.serving.new_items import NewItem

__all__ = ["Model", "NewItem", "Reached", "Recommendation", "load"]
