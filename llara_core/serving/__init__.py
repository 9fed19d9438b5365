"""Recommendations for real users, and export of systems."""

from llara_core.serving.audience import AudienceMember
from llara_core.serving.model import Model, Recommendation, load
from llara_core.serving.new_items import NewItem

__all__ = ["AudienceMember", "Model", "NewItem", "Recommendation", "load"]
