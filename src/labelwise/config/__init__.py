"""The configuration of a run: one typed tree, and its reading."""

from labelwise.config.budget import Budget
from labelwise.config.differences import FREE_KEYS, differing_keys
from labelwise.config.node import Named, Node
from labelwise.config.reading import changed, config_path, dump, load, notes, parse_override
from labelwise.config.strategy import StrategyConfig, strategy_text
from labelwise.config.tree import Config, Data

__all__ = [
    "FREE_KEYS",
    "Budget",
    "Config",
    "Data",
    "Named",
    "Node",
    "StrategyConfig",
    "changed",
    "config_path",
    "differing_keys",
    "dump",
    "load",
    "notes",
    "parse_override",
    "strategy_text",
]
