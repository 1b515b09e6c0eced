"""The configuration of a run: one typed tree, read from YAML, a run's folder or a dictionary, and ``key=value``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from labelwise.catalog import suggest
from labelwise.errors import ConfigError
from labelwise.records import Task

# Values under these keys are paths: relative ones are taken from the folder of the file that holds them.
PATH_KEYS = ("data.path", "model.weights", "out", "cache")
# What may change between two calls of `run` without changing any pick.
FREE_KEYS = frozenset(
    {"engine", "budget.rounds", "budget.total", "annotator.new_classes", "cache", "name", "out", "threads"}
)


def _as_mapping(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


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


Part = Annotated[Named, BeforeValidator(_as_mapping)]


def _amount(value: Any) -> Any:
    number = isinstance(value, int) and not isinstance(value, bool) and value > 0
    percent = (
        isinstance(value, str)
        and re.fullmatch(r"\d+(\.\d+)?\s*%", value.strip())
        and 0 < float(value.strip(" %")) <= 100
    )
    if not (number or percent):
        raise ValueError("must be a number of images above 0, or a share of the pool such as '2.5%'")
    return value.replace(" ", "") if isinstance(value, str) else value


def _amounts(value: Any) -> Any:
    if isinstance(value, list) and not value:
        raise ValueError("must hold at least one amount where it is a list")
    return [_amount(v) for v in value] if isinstance(value, list) else _amount(value)


def _spec(value: Any) -> Any:
    if value is not None and not isinstance(value, str) and not (isinstance(value, Mapping) and "name" in value):
        raise ValueError("must be a name, or a mapping with 'name' and options")
    return value


Amount = Annotated[int | str, BeforeValidator(_amount)]
Amounts = Annotated[int | str | list[int | str], BeforeValidator(_amounts)]
Spec = Annotated[str | dict[str, Any] | None, BeforeValidator(_spec)]


class Data(Node):
    """Which images, and which are kept for testing. Further keys are options of the reader, such as ``group``."""

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)

    format: str = Field(description="class_folders, csv_table, images_folder, or a reader of your own")
    path: Path = Field(description="folder or file of the dataset")
    test: float = Field(
        default=0.2,
        ge=0,
        lt=1,
        description="share of the images with a known class kept for testing, fixed before round 0",
    )
    split_seed: int = Field(
        default=0, ge=0, description="random number seed of the test split, apart from `seed` so that runs share it"
    )
    on_bad_image: Literal["skip", "error"] = Field(
        default="skip", description="an unreadable image: leave it out and list it, or stop"
    )
    on_duplicate: Literal["skip", "keep"] = Field(
        default="skip", description="a copy with the same bytes: leave it out and list it, or keep it"
    )

    @property
    def options(self) -> dict[str, Any]:
        """The reader's own options."""
        return dict(self.model_extra or {})


class Budget(Node):
    """How many images are labelled, and when."""

    initial: Amount = Field(default=50, description="images in round 0")
    per_round: Amounts = Field(default=50, description="images in each later round, or a list with one amount a round")
    rounds: int | None = Field(
        default=None,
        ge=1,
        description="number of rounds, round 0 included; default 10, or what a list or a total gives",
    )
    total: Amount | None = Field(default=None, description="stop at this many labelled images")

    def cumulative(self, pool: int) -> list[int]:
        """Labelled images wanted at the end of each round for a pool of that many images: rising, at most ``pool``.

        Shares are added up before they are rounded; a round that would get none gets one image.
        """
        listed = self.per_round if isinstance(self.per_round, list) else None
        rounds = self.rounds or (len(listed) + 1 if listed is not None else None if self.total is not None else 10)
        limit = min(pool, max(1, round(_images(self.total, pool))) if self.total is not None else pool)
        goals: list[int] = []
        wanted = _images(self.initial, pool)
        while rounds is None or len(goals) < rounds:
            last = goals[-1] if goals else 0
            if goals and last >= limit:
                break
            goals.append(min(limit, max(round(wanted), last + 1)))
            step = listed[min(len(goals), len(listed)) - 1] if listed else self.per_round
            assert not isinstance(step, list)
            wanted += _images(step, pool)
        return goals


def _images(amount: Amount, pool: int) -> float:
    return float(amount.rstrip("%")) / 100 * pool if isinstance(amount, str) else float(amount)


class StrategyConfig(Node):
    """A preset by name, changed by the other keys; or a recipe of its own without a name."""

    name: str | None = Field(default=None, description="preset to begin with")
    score: Spec = Field(default=None, description="how much one element wants a label")
    unit: Literal["image"] | None = Field(default=None, description="what is asked: whole images")
    reduce: str | None = Field(
        default=None, description="how the scores inside a unit become one (images of a classification need none)"
    )
    select: Spec = Field(default=None, description="which candidates to take")
    shortlist: float | None = Field(
        default=None, ge=1, description="only the best-scored n x this many candidates reach the selection"
    )
    balance: bool | None = Field(
        default=None, description="share the budget over predicted classes, the least labelled first"
    )
    per_group: int | None = Field(default=None, ge=1, description="at most this many images of a group in one round")
    near_duplicates: float | None = Field(
        default=None, ge=0, le=2, description="no two picks closer than this cosine distance"
    )


StrategyPart = Annotated[StrategyConfig, BeforeValidator(_as_mapping)]


class Config(Node):
    """The configuration of a run."""

    name: str = Field(description="name of the run: its folder under `out`")
    task: Task = Field(default="classify", description="classify")
    data: Data
    model: Part = Field(default=Named(name="frozen"), description="what learns from the labels")
    strategy: StrategyPart = Field(
        default=StrategyConfig(name="balanced_herding"), description="how images are chosen from round 1 on"
    )
    cold_start: StrategyPart = Field(
        default=StrategyConfig(name="typiclust"), description="how round 0 is chosen, before there is a model"
    )
    budget: Budget = Budget()
    audit: int = Field(
        default=0, ge=0, description="images drawn at random and labelled in round 0 only to estimate the quality"
    )
    annotator: Part = Field(default=Named(name="oracle"), description="who answers the queries")
    engine: Part = Field(default=Named(name="local"), description="where batches run")
    seed: int = Field(default=0, ge=0, description="random number seed of the run")
    out: Path = Field(default=Path("runs"), description="folder of the runs")
    cache: Path | None = Field(
        default=None, description="folder of the embedding table; default: the user's cache folder"
    )
    threads: int | None = Field(default=None, ge=1, description="threads that read images; default: one per core")

    @model_validator(mode="after")
    def _name_is_a_folder(self) -> Config:
        if not re.fullmatch(r"\w[\w .=+@-]*(/\w[\w .=+@-]*)*", self.name):
            raise ValueError(
                f"name: expected letters, digits, '_', '-', '.' or spaces, since it names a folder (or "
                f"'folder/folder'), but found {self.name!r}"
            )
        return self

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.out / self.name


def load(source: str | Path | Mapping[str, Any], overrides: Iterable[str] | Mapping[str, Any] = ()) -> Config:
    """Read a configuration from a YAML file, a run's folder or a dictionary, and apply overrides.

    ``overrides`` are ``"a.b=value"`` texts (values in YAML) or a dictionary with dotted keys. Relative paths in a file
    are taken from the file's folder, elsewhere from the working folder. Raises ConfigError with one line for every way
    this can fail.
    """
    if isinstance(source, Mapping):
        tree, origin = _copy(source), "the configuration"
        _resolve_paths(tree, Path.cwd())
    else:
        path = config_path(Path(source))
        tree, origin = _read_yaml(path), str(path)
        _resolve_paths(tree, path.resolve().parent)
        if Path(source).is_dir():
            _stay(tree, path.resolve().parent)
    changes = overrides if isinstance(overrides, Mapping) else dict(_parse_override(text) for text in overrides)
    for key, value in changes.items():
        _set(tree, key, value)
        _resolve_paths(tree, Path.cwd())
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        where = f"{origin}, with the changes given" if changes else origin
        raise ConfigError(f"{where}: {_one_line(error)}") from None


def changed(config: Config, changes: Mapping[str, Any]) -> Config:
    """A configuration with other values under dotted keys. Raises ConfigError if one cannot be used."""
    tree = config.model_dump(mode="json", exclude_none=True)
    for key, value in changes.items():
        _set(tree, key, value)
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(f"the configuration: {_one_line(error)}") from None


def config_path(path: Path) -> Path:
    """The configuration file that ``path`` means: itself, or ``config.yaml`` inside a run's folder."""
    if path.is_dir():
        if not (path / "config.yaml").is_file():
            raise ConfigError(
                f"{path} is a folder without config.yaml: give a YAML file or a run's folder; 'labelwise init "
                f"{path}' writes one for a folder of images"
            )
        return path / "config.yaml"
    if not path.is_file():
        raise ConfigError(
            f"no file {str(path)!r}: expected a configuration (YAML) or a run's folder; 'labelwise init FOLDER' "
            "writes one"
        )
    if path.suffix.lower() not in (".yaml", ".yml"):
        raise ConfigError(f"{path}: expected a .yaml file, found {path.suffix or 'no suffix'!r}")
    return path


def dump(config: Config) -> str:
    """The whole configuration as YAML, defaults included, keys without a value left out."""
    return yaml.safe_dump(
        config.model_dump(mode="json", exclude_none=True), sort_keys=False, allow_unicode=True, width=120
    )


def strategy_text(strategy: StrategyConfig) -> str:
    """A strategy in a few words: its name and what was changed of it."""
    changes = strategy.model_dump(exclude_none=True)
    name = str(changes.pop("name", "recipe"))
    return f"{name} ({', '.join(f'{k}={v}' for k, v in changes.items())})" if changes else name


def differing_keys(old: Config, new: Config) -> list[str]:
    """Dotted keys whose values differ and matter for the picks, each with both values."""
    before, after = (_flatten(c.model_dump(mode="json")) for c in (old, new))
    changed = sorted(k for k in before.keys() | after.keys() if before.get(k) != after.get(k))
    relevant = [k for k in changed if not any(k == free or k.startswith(free + ".") for free in FREE_KEYS)]
    return [f"{k}: {before.get(k)!r} -> {after.get(k)!r}" for k in relevant]


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    if not isinstance(tree, dict):
        found = "an empty file" if tree is None else f"a {type(tree).__name__}"
        raise ConfigError(f"{path}: expected keys such as 'data:' and 'strategy:', found {found}")
    if odd := [k for k in _keys(tree) if not isinstance(k, str)]:
        raise ConfigError(f"{path}: expected keys that are words, found {odd[0]!r}; put quotes around it")
    return tree


def _parse_override(text: str) -> tuple[str, Any]:
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise ConfigError(f"expected key=value, found {text!r}")
    try:
        return key.strip(), yaml.safe_load(value)
    except yaml.YAMLError:
        raise ConfigError(f"the value of {key!r} is not valid YAML: {value!r}") from None


def _set(tree: dict[str, Any], key: str, value: Any) -> None:
    *branches, leaf = key.split(".")
    for depth, branch in enumerate(branches):
        child = tree.get(branch, None if depth else _default_name(branch))
        tree[branch] = dict(child) if isinstance(child, Mapping) else {"name": child} if isinstance(child, str) else {}
        tree = tree[branch]
    tree[leaf] = value


def _default_name(branch: str) -> Any:
    """What a branch that is not in the tree names, so that ``engine.workers=2`` changes the default engine."""
    field = Config.model_fields.get(branch)
    return getattr(field.default, "name", None) if field else None


def _keys(tree: Mapping[Any, Any]) -> Iterable[Any]:
    for key, value in tree.items():
        yield key
        if isinstance(value, Mapping):
            yield from _keys(value)


def _stay(tree: dict[str, Any], folder: Path) -> None:
    """A run's folder knows where it lies: it may have been moved or renamed since its configuration was written."""
    own = Path(str(tree.get("name", ""))).parts
    if own and folder.parts[-len(own) :] == own:
        tree["out"] = str(folder.parents[len(own) - 1])
    elif (folder / "run.db").is_file():
        tree["out"], tree["name"] = str(folder.parent), folder.name


def _copy(tree: Mapping[str, Any]) -> dict[str, Any]:
    return {k: _copy(v) if isinstance(v, Mapping) else v for k, v in tree.items()}


def _resolve_paths(tree: dict[str, Any], base: Path) -> None:
    for key in PATH_KEYS:
        branch, _, leaf = key.rpartition(".")
        parent = tree.get(branch) if branch else tree
        value = parent.get(leaf) if isinstance(parent, dict) else None
        if isinstance(parent, dict) and isinstance(value, str | Path) and str(value) not in ("", "hub", "none"):
            parent[leaf] = str(base / Path(value).expanduser())
    tree.setdefault("out", str(base / "runs"))
    _resolve_plugins(tree, base)


def _resolve_plugins(tree: dict[str, Any], base: Path) -> None:
    """Plug-ins named by a relative file, such as ``./mine.py:score``, are found from any working folder."""
    for key, value in tree.items():
        if isinstance(value, dict):
            _resolve_plugins(value, base)
        elif isinstance(value, str) and re.fullmatch(r"\.{1,2}/.+\.py:\w+", value):
            tree[key] = str(base / value)


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat.update(_flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value})
    return flat


def _one_line(error: ValidationError) -> str:
    lines = []
    for item in error.errors():
        path = [str(p) for p in item["loc"]]
        key = ".".join(path)
        if item["type"] == "extra_forbidden":
            lines.append(f"unknown key {key!r}: {suggest(path[-1], _fields(path[:-1]))}")
        elif item["type"] == "missing":
            lines.append(f"the key {key!r} is missing")
        elif item["type"] == "value_error":
            lines.append(
                f"{key + ': ' if key else ''}{item['msg'].removeprefix('Value error, ')}"
                + (f", but found {item['input']!r}" if key else "")
            )
        elif item["type"] == "model_type":
            lines.append(f"{key}: expected keys below it, but found {item['input']!r}")
        else:
            lines.append(f"{key}: {item['msg'].lower()}, but found {item['input']!r}")
    return "; ".join(dict.fromkeys(lines))


def _fields(path: list[str]) -> Iterable[str]:
    node: type[BaseModel] = Config
    for name in path:
        field = node.model_fields.get(name)
        annotation = field.annotation if field else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return ()
        node = annotation
    return node.model_fields
