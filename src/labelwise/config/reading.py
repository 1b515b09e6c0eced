"""Reading a configuration from YAML, a run's folder or a dictionary, with overrides; and writing one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from labelwise.catalog import suggest
from labelwise.config.paths import resolve_paths, stay_in
from labelwise.config.tree import Config
from labelwise.errors import ConfigError

CFG_OPTIONS = "model.cfg_options."  # before the keys of mmengine's own configuration


def load(source: str | Path | Mapping[str, Any], overrides: Iterable[str] | Mapping[str, Any] = ()) -> Config:
    """Read a configuration from a YAML file, a run's folder or a dictionary, and apply overrides.

    ``overrides`` are ``"a.b=value"`` texts (values in YAML) or a dictionary with dotted keys. Relative paths in a file
    are taken from the file's folder, elsewhere from the working folder. Raises ConfigError with one line for every way
    this can fail.
    """
    if is_mmengine(source):
        tree, overrides, _ = _read_mmengine(source, overrides)
        origin = str(source)
    elif isinstance(source, Mapping):
        tree, origin = _copy(source), "the configuration"
        resolve_paths(tree, Path.cwd())
    else:
        path = config_path(Path(source))
        tree, origin = _read_yaml(path), str(path)
        resolve_paths(tree, path.resolve().parent)
        if Path(source).is_dir():
            stay_in(tree, path.resolve().parent)
    changes = overrides if isinstance(overrides, Mapping) else dict(parse_override(text) for text in overrides)
    for key, value in changes.items():
        _set(tree, key, value)
        resolve_paths(tree, Path.cwd())
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        where = f"{origin}, with the changes given" if changes else origin
        raise ConfigError(f"{where}: {_one_line(error)}") from None


def notes(source: str | Path | Mapping[str, Any], overrides: Iterable[str] | Mapping[str, Any] = ()) -> list[str]:
    """What a configuration of mmengine means otherwise here, one line each; nothing for others."""
    return _read_mmengine(source, overrides)[2] if is_mmengine(source) else []


def is_mmengine(source: str | Path | Mapping[str, Any]) -> bool:
    """True for a configuration of mmengine: a .py file."""
    return not isinstance(source, Mapping) and Path(source).suffix == ".py"


def _read_mmengine(
    source: Any, overrides: Iterable[str] | Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """The tree a configuration of mmengine means, the changes that are labelwise's own, and notes.

    All other changes, and those below ``model.cfg_options``, are mmengine's.
    """
    from labelwise.config.mmsegmentation import MODEL_KEYS, translated

    changes = dict(overrides) if isinstance(overrides, Mapping) else dict(_with_tuples(text) for text in overrides)
    own: dict[str, Any] = {}
    theirs: dict[str, Any] = {}
    for key, value in changes.items():
        first, _, rest = key.partition(".")
        if key.startswith(CFG_OPTIONS):
            theirs[key.removeprefix(CFG_OPTIONS)] = value
        elif first in Config.model_fields and (first != "model" or rest in MODEL_KEYS):
            own[key] = value
        else:
            theirs[key] = value
    tree, found = translated(Path(source), theirs)
    return tree, own, found


def _with_tuples(text: str) -> tuple[str, Any]:
    """As ``parse_override``, but a list with tuples in it, which YAML does not know, stays a text for mmengine."""
    key, value = parse_override(text)
    written = text.partition("=")[2].strip()
    return key, written if isinstance(value, list) and "(" in written else value


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
        raise ConfigError(
            f"{path}: expected a .yaml file or an mmengine configuration (.py), found {path.suffix or 'no suffix'!r}"
        )
    return path


def dump(config: Config) -> str:
    """The whole configuration as YAML, defaults included, keys without a value left out."""
    return yaml.safe_dump(
        config.model_dump(mode="json", exclude_none=True), sort_keys=False, allow_unicode=True, width=120
    )


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


def parse_override(text: str) -> tuple[str, Any]:
    """``"a.b=value"`` as the key and its value, read as YAML. Raises ConfigError if it is nothing of the kind."""
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise ConfigError(f"expected key=value, found {text!r}")
    try:
        return key.strip(), yaml.safe_load(value)
    except yaml.YAMLError:
        raise ConfigError(f"the value of {key.removeprefix(CFG_OPTIONS)!r} is not valid YAML: {value!r}") from None


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


def _copy(tree: Mapping[str, Any]) -> dict[str, Any]:
    return {k: _copy(v) if isinstance(v, Mapping) else v for k, v in tree.items()}


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
