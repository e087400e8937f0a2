"""Queries as tools: typed arguments in, numbers with their errors and one spoken line out."""

from tools import confidence, inversion, listing, safety, sampling, statistics
from tools.registry import TOOLS, Context, Tool, ToolResult, run

__all__ = [
    "TOOLS",
    "Context",
    "Tool",
    "ToolResult",
    "confidence",
    "inversion",
    "listing",
    "run",
    "safety",
    "sampling",
    "statistics",
]
