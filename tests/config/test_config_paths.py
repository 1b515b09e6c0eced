"""Paths in a configuration: from a file's folder, from the working folder, and in a run that was moved."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from labelwise import catalog
from labelwise.config import differing_keys, dump, load
from labelwise.config.paths import PATH_KEYS

BASE = {"name": "one", "data": {"format": "class_folders", "path": "/data"}}


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


YAML = "name: one\ndata: {format: class_folders, path: images}\nmodel: {name: frozen, weights: w.pth}\ncache: ../c\n"


def test_paths_in_a_file_are_taken_from_its_folder_and_overrides_from_the_working_folder(tmp_path, monkeypatch):
    file = write(tmp_path / "project" / "a.yaml", YAML)
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    found = load(file)
    assert found.data.path == tmp_path / "project" / "images"
    assert found.out == tmp_path / "project" / "runs"
    assert found.cache.resolve() == tmp_path / "c"
    assert found.model.options["weights"] == str(tmp_path / "project" / "w.pth")
    other = load("../project/a.yaml", ["data.path=images", "out=runs", "model.weights=hub"])
    assert (other.data.path, other.out) == (here / "images", here / "runs")
    assert other.model.options["weights"] == "hub"
    assert load(file, ["model.weights=none"]).model.options["weights"] == "none"
    assert load(BASE).out == here / "runs"


def test_files_that_options_name_are_taken_from_the_folder_of_the_file_too(tmp_path, monkeypatch):
    folder = tmp_path / "project"
    file = write(
        folder / "a.yaml",
        "name: one\ndata: {format: csv_table, path: a.csv, root: pictures}\ncache: c\n"
        "model: {name: ultralytics, weights: yolo11n.yaml, settings: mine.toml}\n"
        "proposals: {name: predictions, path: boxes.json, options: {annotations: all.json}}\n"
        "annotator: {name: timelapse, root: survey}\n",
    )
    write(folder / "mine.toml", "epochs = 3")
    monkeypatch.chdir(tmp_path)
    found = load(file)
    assert found.data.options["root"] == str(folder / "pictures")
    assert found.model.options["settings"] == str(folder / "mine.toml")
    assert found.proposals.options["path"] == str(folder / "boxes.json")
    assert found.proposals.options["options"] == {"annotations": str(folder / "all.json")}
    assert found.annotator.options["root"] == str(folder / "survey")


@pytest.mark.parametrize("name", ["google/owlv2-base-patch16-ensemble", "PekingU/rtdetr_v2_r18vd", "yolo11n.yaml"])
def test_weights_that_are_a_name_stay_it_unless_there_is_such_a_file(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for key in ("model", "proposals"):
        file = write(tmp_path / "a.yaml", json.dumps(BASE | {key: {"name": "zero_shot", "weights": name}}))
        for source in (file, json.loads(file.read_text())):
            assert getattr(load(source, ["seed=1"]), key).options["weights"] == name
    (tmp_path / name).mkdir(parents=True)
    assert load(file).proposals.options["weights"] == str(tmp_path / name)


@pytest.mark.parametrize("place", ["nets/mine.pt", "./owlv2", "~/owlv2", "a.safetensors"])
def test_weights_that_say_where_are_a_place_even_if_nothing_lies_there(place, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    file = write(tmp_path / "a.yaml", json.dumps(BASE | {"model": {"name": "zero_shot", "weights": place}}))
    home = place.startswith("~")
    expected = tmp_path / "home" / "owlv2" if home else tmp_path / place
    assert Path(load(file).model.options["weights"]) == expected


RELATIVE_TO_THE_DATA = {"data.images", "data.labels"}


@pytest.mark.parametrize("kind", ["data", "model", "annotator"])
def test_every_option_of_the_catalogue_that_is_a_path_is_known_as_one(kind):
    for name in catalog.TABLES[kind]:
        for option, parameter in catalog.option_types(catalog.resolve(kind, name)).items():
            if "Path" in str(parameter.annotation):
                assert f"{kind}.{option}" in {*PATH_KEYS, *RELATIVE_TO_THE_DATA}, f"{name} of {kind}"


def test_a_home_folder_is_found(monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    assert load(BASE, ["data.path=~/images"]).data.path == Path("/home/somebody/images")


def test_a_runs_folder_means_its_configuration_wherever_it_lies_now(tmp_path):
    found = load({**BASE, "name": "sweep/one"}, {"out": str(tmp_path / "runs")})
    write(found.folder / "config.yaml", dump(found))
    assert load(found.folder) == found
    (tmp_path / "runs").rename(tmp_path / "moved")
    moved = load(tmp_path / "moved" / "sweep" / "one")
    assert moved.folder == tmp_path / "moved" / "sweep" / "one"
    assert differing_keys(found, moved) == []
