"""The configuration of a run: one typed tree, and its reading."""

from labelwise.config.reading import FREE_KEYS, changed, config_path, differing_keys, dump, load, notes, parse_override
from labelwise.config.tree import Budget, Config, Data, Named, Node, StrategyConfig, strategy_text

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
