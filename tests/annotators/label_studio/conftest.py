"""Fixtures of the tests that need a Label Studio."""

from __future__ import annotations

from real_label_studio import proxy, real, token_in_environment

__all__ = ["proxy", "real", "token_in_environment"]
