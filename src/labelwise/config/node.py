"""What the tree of a configuration is made of: branches whose keys are known, and names with options."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict


class Node(BaseModel):
    """A branch of the tree: unknown keys are errors, values do not change after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Named(BaseModel):
    """A name of the catalogue (or an import path) and the options of what it names."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str

    @property
    def options(self) -> dict[str, Any]:
        """All keys beside the name."""
        return dict(self.model_extra or {})


def as_mapping(value: Any) -> Any:
    """A bare name as a mapping that holds it; anything else as it is."""
    return {"name": value} if isinstance(value, str) else value


Part = Annotated[Named, BeforeValidator(as_mapping)]
