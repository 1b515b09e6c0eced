"""Write the generated regions of the documentation anew, from the configuration, the catalogue and the sources.

    python docs/generate.py            rewrite the pages
    python docs/generate.py --check    name the stale pages, exit 1

A region lies between ``<!-- generated:NAME -->`` and ``<!-- /generated:NAME -->``.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import sys
import types
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
import typer.main
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from labelwise import catalog, cli, config, presets, strategies
from labelwise.selection import compose

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent

# What the options of a name mean; a missing or a surplus one is an error.
MEANINGS: dict[str, dict[str, str]] = {
    "data class_folders": {
        "group": "`folder` (the parent folder), or a regular expression with one group, searched in the image's path; "
        "with times also `location` or `sequence` ([camera traps](camera_traps.md))",
        "location": "what tells where a camera stood: `folder`, a number (1: the first folder of the path), or a "
        "regular expression with one group; it becomes the group unless `group` says otherwise",
        "sequence_minutes": "a longer pause between two images of a location begins another sequence",
    },
    "data csv_table": {
        "root": "folder that the paths in the table are relative to; default: the table's folder",
        "group": "as for `class_folders`; used where the table's column `group` is absent or empty",
        "location": "as for `class_folders`",
        "sequence_minutes": "as for `class_folders`",
    },
    "data images_folder": {
        "classes": "names that an annotator may choose from, kept in this order",
        "group": "as for `class_folders`",
        "location": "as for `class_folders`",
        "sequence_minutes": "as for `class_folders`",
    },
    "data megadetector": {
        "images": "the pictures' folder, relative to that of the JSON; default: the JSON's",
        "threshold": "least confidence of a detection; default: what the file recommends, else 0.2",
        "crops": "`best`: one sample an image, its surest animal; `all`: one for each animal, ids `file#1`, `file#2`; "
        "`none`: whole images",
        "margin": "share of the box's width and height that is added on each side",
        "square": "make crops square with more of the picture, so that nothing is distorted",
        "people": "also show images with a person or vehicle",
        "people_threshold": "confidence from which a person or vehicle hides an image; default: half the threshold",
        "empty": "images where nothing reaches the threshold: `ask` about them whole, `label` them empty unasked, or "
        "`leave_out`",
        "others": "pictures that the JSON does not name: `leave_out`, or take them `whole`",
        "labels": "what is known: a CSV with path and class, or Timelapse's .ddb or CSV; relative to the JSON's folder",
        "classes": "names that an annotator may choose from; `empty` is added",
        "location": "what tells where a camera stood: `folder` (without the folders that cameras make, such as "
        "`DCIM/100RECNX`), a number (1: the first folder of the path), a name of the metadata, or a regular expression "
        "with one group",
        "sequence_minutes": "as for `class_folders`; sequences that the data name stay as they are",
        "group": "what stays on one side of the test split: `location`, `sequence`, or as for `class_folders`",
    },
    "data coco_camera_traps": {
        "images": "as for `megadetector`",
        "crops": "as for `megadetector`, of the boxes in the file: `best` is the largest",
        "margin": "as for `megadetector`",
        "square": "as for `megadetector`",
        "sequence_labels": "take the class also from annotations that are about a whole sequence",
        "location": "as for `megadetector`, where the file does not say it",
        "sequence_minutes": "as for `megadetector`",
        "group": "as for `megadetector`",
    },
    "data camtrap_dp": {
        "images": "folder that file paths are relative to, itself relative to the package; default: the package",
        "crops": "as for `coco_camera_traps`",
        "margin": "as for `megadetector`",
        "square": "as for `megadetector`",
        "machine": "take what a machine classified as the truth",
        "event_labels": "take the class of an event for the media between its start and end",
        "location": "as for `megadetector`; default: what deployments.csv says",
        "sequence_minutes": "as for `megadetector`",
        "group": "as for `megadetector`",
    },
    "data timelapse": {
        "images": "the pictures' folder, relative to that of the table; default: the table's",
        "column": "data label (or label) of the column that holds the class; default: the only list of choices, or a "
        "column called Species",
        "classes": "names of further classes",
        "day_first": "how 03/04/2024 is meant, where no date of the table tells",
        "location": "as for `megadetector`; the name of a column works too",
        "sequence_minutes": "as for `megadetector`",
        "group": "as for `megadetector`",
    },
    "data coco": {
        "images": "the pictures' folder, relative to that of the JSON; default: looked for near it",
        "splits": "what each split is for: a mapping of its name to `pool`, `test` or `unused`; default: train is the "
        "pool, test the test, val the test where there is no other, else unused",
        "group": "as for `class_folders`",
        "others": "pictures that nothing annotates: `unlabelled` (in the pool), or `leave_out`",
    },
    "data voc": {
        "images": "folder of the pictures, below `path`",
        "annotations": "folder of the XML files, below `path`",
        "sets": "folder with a list of names for each split (`train.txt`), below `path`",
        "classes": "names of the classes in order; default: those in `classes.txt`, else all that occur",
        "one_based": "corners count pixels from 1 and include the last, as in the original VOC data",
        "splits": "what each split is for: a mapping of its name to `pool`, `test` or `unused`; default: train is the "
        "pool, test the test, val the test where there is no other, else unused",
        "group": "as for `class_folders`",
        "others": "pictures that nothing annotates: `unlabelled` (in the pool), or `leave_out`",
    },
    "data yolo": {
        "classes": "names of the classes in order; default: `names` of the data.yaml, or `classes.txt`",
        "absent": "a picture without label file: `unlabelled`, or `empty`: known to hold no box",
        "splits": "what each split is for: a mapping of its name to `pool`, `test` or `unused`; default: train is the "
        "pool, test the test, val the test where there is no other, else unused",
        "group": "as for `class_folders`",
        "others": "pictures that nothing annotates: `unlabelled` (in the pool), or `leave_out`",
    },
    "data cvat_xml": {
        "images": "the pictures' folder, relative to that of the XML; default: looked for near it",
        "classes": "names of the classes in order; default: the labels in the file",
        "splits": "what each split is for: a mapping of its name to `pool`, `test` or `unused`; default: train is the "
        "pool, test the test, val the test where there is no other, else unused",
        "group": "as for `class_folders`",
        "others": "pictures that nothing annotates: `unlabelled` (in the pool), or `leave_out`",
    },
    "data fiftyone": {
        "dataset": "the dataset's name, where it cannot be a path; default: the last part of `path`",
        "field": "field of the labels: a Classification, Detections or Segmentation",
        "view": "a saved view of the dataset; default: all of it",
        "classes": "names of the classes in order; default: those that the dataset declares, else all that occur",
        "splits": "what the tags (or values of `split_field`) are for: a mapping to `pool`, `test` or `unused`; "
        "default: train, val and test are understood",
        "split_field": "field that names the split of a sample; default: its tags",
        "group": "as for `class_folders`",
        "group_field": "field whose values are the groups; default: the groups of a grouped dataset",
        "others": "images without labels: `unlabelled` (in the pool), or `leave_out`",
        "converted": "folder of masks as class indices; default: the user's cache folder",
        "write_back": "begins the names of the fields and tags that each round writes into the dataset; null: none",
    },
    "data mmseg": {
        "cfg_options": "merged into the configuration, by dotted keys",
        "group": "as for `class_folders`",
        "converted": "folder of masks whose values had to be changed; default: the user's cache folder",
        "part": "of several training datasets `all`, the first (`source`) or the others (`target`)",
    },
    "data digits": {
        "kind": "`digits`, or `scenes`: cluttered pictures of one digit, in bursts and with rare classes",
    },
    "model frozen": {
        "backbone": "any name of timm; without a network `pixels` (the grey picture) or `edges` (its edges in a grid)",
        "weights": "`hub` (downloaded once), a `.safetensors` or `.pth` file, or `none` (untrained)",
        "network": "further arguments of `timm.create_model`",
        "size": "side of the input in pixels; default: the network's own (16 for `pixels`, 32 for `edges`)",
        "resize": "`squash` ignores the aspect, `crop` scales the short side and cuts the centre",
        "interpolation": "how pictures are resized; default: the network's own",
        "mean": "mean of each channel on the scale 0 to 1; default: the network's own",
        "std": "deviation of each channel on the scale 0 to 1; default: the network's own",
        "head": "a head by name, or `{name: ..., option: value}`",
        "passes": "number of MC-dropout passes where samples are needed",
        "dropout": "share of the head's inputs dropped in each pass",
    },
    "model metric": {
        "backbone": "any name of timm; with `trained: projection` also `pixels` or `edges`",
        "weights": "as for `frozen`",
        "network": "as for `frozen`",
        "size": "as for `frozen`",
        "resize": "as for `frozen`",
        "interpolation": "as for `frozen`",
        "mean": "as for `frozen`",
        "std": "as for `frozen`",
        "head": "as for `frozen`",
        "passes": "as for `frozen`",
        "dropout": "as for `frozen`",
        "trained": "`network` trains all layers; `projection` keeps the backbone and works on its features, in seconds",
        "dim": "how many numbers an embedding has",
        "loss": "`triplet`, `contrastive`, `softmax`, or of pytorch-metric-learning `arcface`, `circle`, `cosface`, "
        "`lifted_structure`, `multi_similarity`, `n_pairs`, `ntxent`, `proxy_anchor`, `proxy_nca`, `soft_triple`, "
        "`supcon`, also as `{name: ..., option: value}`",
        "margin": "distance that triplets and pairs are pushed apart to",
        "mining": "which negatives: `random`, `hardest` or `semi_hard` for triplets; `random`, `hard_pair` or `all` "
        "for pairs",
        "scale": "each number of the embedding, over the pool, when the network is trained: `minmax` to 0..1, "
        "`standard` to mean 0 and deviation 1, `none`",
        "epochs": "of the first training",
        "lr": "learning rate of the first training (Adam)",
        "weight_decay": "of the first training",
        "loader": "batches of the first training: `single` (all images in turn) or `balanced` (classes x images)",
        "finetune_every": "new labels after which the network is trained further; the head is fitted in every round",
        "finetune_epochs": "of each later training",
        "finetune_lr": "learning rate of later trainings",
        "finetune_weight_decay": "of later trainings",
        "finetune_loader": "batches of later trainings",
        "train_batch": "images in a plain batch",
        "classes_per_batch": "classes in a balanced batch, as far as there are so many",
        "images_per_class": "images of each; a class with fewer shows some twice",
        "augment": "random flips, shifts and brightness",
        "freeze_norm": "whether batch normalisation keeps its statistics; default: with pretrained weights",
    },
    "data image_masks": {
        "images": "folder of the pictures, below `path`",
        "masks": "folder of the masks, with the same names",
        "classes": "names of the mask values from 0 on, or a file with one a line",
        "image_suffix": "end of a picture's name that its mask does not have; default: its extension",
        "mask_suffix": "what a mask has instead",
        "splits": "what the first folders below `images` are for: `pool`, `test` or `unused`; folders named train, val "
        "and test are understood",
        "group": "as for `class_folders`",
    },
    "model fpn": {
        "backbone": "any name of timm that gives levels of features",
        "weights": "as for `frozen`",
        "network": "further arguments of `timm.create_model`",
        "size": "(width, height) that pictures are scaled to for the network; default: their own",
        "mean": "as for `frozen`",
        "std": "as for `frozen`",
        "channels": "width of the pyramid",
        "start": "`scratch`: from `weights`; `previous`: from the last round; `continue`: one long training with "
        "queries in the middle",
        "epochs": "epochs of a round, or a list with one number a round",
        "iterations": "training steps of a round instead, or a list",
        "train_batch": "images in one training step",
        "lr": "highest learning rate of the backbone (AdamW, one cycle)",
        "head_lr": "highest learning rate of the pyramid",
        "weight_decay": "AdamW's weight decay",
        "warmup": "share of the training in which the learning rate rises",
        "class_weights": "`enet`: rare classes weigh more; `none`",
        "dropout": "channels of the pyramid that are dropped, in training and in the MC-dropout passes",
        "passes": "number of MC-dropout passes where samples are needed",
        "sampling": "what samples are: `dropout` passes, `flips` (the picture and its mirror image), or `both`",
        "augment": "random flips and brightness",
        "freeze_norm": "keep the statistics of the backbone's batch normalisation",
        "consistency": "with a `source`: weight of RIPU's local consistency, on its borders between classes",
        "negative": "with a `source`: weight of RIPU's negative learning, on the pool's images",
        "negative_below": "probabilities under this are pushed to 0 by it",
    },
    "model detector": {
        "architecture": "the network of torchvision that is built on the backbone",
        "backbone": "any name of timm that gives levels of features",
        "weights": "as for `frozen`",
        "network": "further arguments of `timm.create_model`",
        "size": "pixels that the longer side of a picture is scaled to for the network",
        "mean": "as for `frozen`",
        "std": "as for `frozen`",
        "channels": "width of the feature pyramid; for `fcos` and `retinanet` a multiple of 32",
        "finest": "stride of the pyramid's finest level; 4 for very small objects",
        "start": "`scratch`: from `weights`; `previous`: from the last round",
        "iterations": "training steps of a round, or a list with one number a round",
        "epochs": "epochs of a round instead, or a list",
        "train_batch": "images in one training step",
        "lr": "highest learning rate of the backbone (AdamW, one cycle)",
        "head_lr": "highest learning rate of the rest",
        "weight_decay": "AdamW's weight decay",
        "warmup": "share of the training in which the learning rate rises",
        "flips": "random flips of the pictures in training; `both`: also upside down",
        "brightness": "by how much the brightness changes at random in training",
        "validation": "share of the labelled images set apart; ten times in a training their mAP is taken, and the "
        "best network stays",
        "patience": "checks without gain that end a training",
        "freeze_norm": "keep the statistics of the backbone's batch normalisation",
        "threshold": "least confidence of a box that scores see; what people see is `shown`",
        "overlap": "intersection over union at which the surer of two boxes of one class stays",
        "most": "boxes kept of an image, the surest",
    },
    "model smp": {
        "architecture": "one of the library's: Unet, UnetPlusPlus, FPN, DeepLabV3Plus, UPerNet, Segformer, ...",
        "backbone": "one of the library's encoders, or any name of timm that gives levels of features",
        "weights": "of the encoder: `hub`, a file, or `none`",
        "network": "further arguments of the architecture, such as `decoder_channels`",
        "size": "as for `fpn`",
        "mean": "as for `fpn`",
        "std": "as for `fpn`",
        "start": "as for `fpn`",
        "epochs": "as for `fpn`",
        "iterations": "as for `fpn`",
        "train_batch": "as for `fpn`",
        "lr": "as for `fpn`",
        "head_lr": "as for `fpn`",
        "weight_decay": "as for `fpn`",
        "warmup": "as for `fpn`",
        "class_weights": "as for `fpn`",
        "dropout": "as for `fpn`",
        "passes": "as for `fpn`",
        "sampling": "as for `fpn`",
        "augment": "as for `fpn`",
        "freeze_norm": "as for `fpn`",
        "consistency": "as for `fpn`",
        "negative": "as for `fpn`",
        "negative_below": "as for `fpn`",
    },
    "score ripu": {
        "radius": "of the window, in pixels: 1 is 3 x 3",
        "from_logits": "the maps hold logits",
    },
    "score ripu_pixel": {
        "radius": "of the window, in pixels: 32 is 65 x 65",
        "from_logits": "the maps hold logits",
    },
    "model mmseg": {
        "config": "the mmengine configuration (.py)",
        "cfg_options": "merged into it, by dotted keys",
        "start": "`scratch`: from `load_from` or the weights; `previous`: from the last round; `continue`: its "
        "optimiser and schedule too",
        "length": "epochs or iterations of a round, or a list with one a round; default: as `train_cfg` says",
        "passes": "number of MC-dropout passes where samples are needed",
        "consistency": "as for `fpn`",
        "negative": "as for `fpn`",
        "negative_below": "as for `fpn`",
        "keep_points": "scaling a picture down loses no labelled pixel",
        "processes": "processes that train together, one for each GPU or sharing the processor; batches are of each",
        "flip": "predictions are the mean of a picture's and its mirror image's",
        "warmup": "epochs that a MultiTaskSegmentor learns to reconstruct the pool before round 0, without labels",
        "reconstructions": "folder for pictures of what it reconstructs",
        "validate_every": "iterations between two looks at the losses on the validation images",
    },
    "score mps_ripu": {
        "radius": "of RIPU's window, in pixels",
        "weight": "how much RIPU counts beside the reconstruction",
    },
    "model zero_shot": {
        "weights": "name of the hub, or a folder: OWLv2, OWL-ViT or Grounding DINO",
        "prompts": "the words that stand for a class, one or several: `{car: [car, van], person: a person}`; an empty "
        "list leaves the class out; default: its name",
        "template": "what a class's name is put into where it has no prompt; default: `a photo of a {}`, for Grounding "
        "DINO `{}`",
        "threshold": "least confidence of a box that scores see; `shown` is that of what people see",
        "overlap": "of boxes of one class that overlap by more than this (intersection over union) the surest stays",
        "most": "boxes of an image that are kept, the surest",
        "batch_size": "images that go through the network at once",
    },
    "model transformers": {
        "weights": "name of the hub, or a folder: RT-DETR, D-FINE, DETR, Deformable DETR, YOLOS and their kin",
        "size": "side that pictures are scaled to, the shorter one where the network takes any shape; default: its own",
        "start": "`scratch`: from `weights`; `previous`: from the last round",
        "epochs": "at most so many epochs a round",
        "train_batch": "images in one training step",
        "lr": "highest learning rate (AdamW, one cycle)",
        "backbone_lr": "that of the backbone",
        "weight_decay": "AdamW's weight decay",
        "warmup": "share of the training in which the learning rate rises",
        "patience": "epochs without a lower validation loss that end the training",
        "validation": "share of the labelled images set apart for early stopping",
        "flips": "random flips of the pictures",
        "brightness": "by how much it is changed at random",
        "freeze_norm": "keep the statistics of batch normalisation",
        "threshold": "as for `zero_shot`",
        "overlap": "as for `zero_shot`; 1: all stay, as these networks are made",
        "most": "as for `zero_shot`",
        "batch_size": "as for `zero_shot`",
    },
    "model ultralytics": {
        "weights": "a `.pt` file, or a `.yaml` of ultralytics by name or path (an untrained network)",
        "settings": "of its training (`epochs`, `imgsz`, `batch`, `lr0`, ...): a mapping, or a `.yaml`, `.toml` or "
        "`.json` file, whose part `train` counts where it has one",
        "size": "longer side of pictures in pixels; default: `imgsz` of the settings",
        "start": "`scratch`: from `weights`; `previous`: from the last round",
        "validation": "share of the labelled images set apart to choose the best epoch and to stop early",
        "threshold": "as for `zero_shot`",
        "overlap": "as for `zero_shot`",
        "most": "as for `zero_shot`",
        "batch_size": "as for `zero_shot`",
    },
    "model predictions": {
        "path": "file or folder of predictions, see [predictions](predictions.md)",
        "format": "`coco`, `yolo`, `probs_table`, ...; `auto` looks",
        "classes": "the model's classes in the order of its outputs, or by number; default: those in the file, else "
        "the run's",
        "options": "further options of the format",
        "absent": "an image without an entry: `missing` is an error, `empty`: nothing was found there, `auto`: as the "
        "format says",
        "unchanged": "the same predictions as in the round before: `use` them, or `stop` until there are new ones",
    },
    "score consistency": {
        "base": "the steadiness at which a label helps most: 2 is wholly steady, 0 vanished",
    },
    "model finetune": {
        "backbone": "any name of timm",
        "weights": "as for `frozen`",
        "network": "further arguments of `timm.create_model`",
        "size": "side of the input in pixels; default: the network's own",
        "resize": "as for `frozen`",
        "mean": "as for `frozen`",
        "std": "as for `frozen`",
        "start": "`scratch`: from `weights`; `previous`: from the last round; `continue`: its optimiser too",
        "epochs": "most epochs in a round",
        "train_batch": "images in one training step",
        "lr": "highest learning rate of the network (AdamW)",
        "head_lr": "highest learning rate of its classifier, which begins undecided",
        "weight_decay": "AdamW's weight decay",
        "warmup": "share of the training in which the learning rate rises",
        "patience": "epochs without a lower validation loss before training stops",
        "validation": "share of the labelled images set apart for early stopping and calibration",
        "dropout": "dropout before the classifier, in training and in the MC-dropout passes",
        "passes": "number of MC-dropout passes where samples are needed",
        "augment": "random flips, shifts and brightness",
        "freeze_norm": "keep the statistics of batch normalisation; default: yes, unless `weights` is `none`",
    },
    "head logistic": {
        "C": "inverse strength of the L2 penalty; more for few features, less for many",
        "max_iter": "most iterations",
        "tol": "tolerance at which it stops",
        "class_weight": "`balanced` weighs classes by their inverse frequency",
    },
    "head mlp": {
        "hidden": "sizes of the hidden layers",
        "alpha": "strength of the L2 penalty",
        "max_iter": "most epochs",
        "class_weight": "as for `logistic`",
    },
    "head knn": {
        "k": "number of neighbours",
        "softness": "votes are weighted by exp(similarity / softness)",
        "class_weight": "as for `logistic`: what a vote counts",
    },
    "annotator oracle": {
        "noise": "share of wrong answers",
        "skip": "share of skipped queries",
    },
    "annotator files": {
        "format": "in which boxes are asked: `coco`, `voc`, `yolo`, `cvat_xml` or `csv`; answers may come in another",
        "images": "pictures beside boxes and masks: `link`, `copy` or `leave` them where they are",
        "blank": "an image that the answers name with nothing in it: stays `open`, or that is the `answer`",
        "new_classes": "a name that the run does not know becomes a class, instead of an error",
    },
    "annotator cvat": {
        "url": "address of the server; default: CVAT_URL",
        "organisation": "short name of the organisation; default: the user's own workspace",
        "project": "name of the project, or its number as `#12`; default: the run's name",
        "task_size": "images a task; default: all of a round",
        "job_size": "images a job",
        "images": "`upload`, or named where the server finds them: on its `share`, or in the `cloud`",
        "folder": "the dataset's root on the share, or in the cloud storage",
        "cloud": "number of the cloud storage",
        "quality": "of the pictures that CVAT shows, in percent",
        "shape": "what labels are for: `rectangle`, `polygon`, `mask` or `any`; default: tags (classify), rectangles "
        "(detect), any (segment)",
        "proposals": "draw the model's proposals",
        "assignee": "user who gets the jobs",
        "stage": "an image is answered when its job is completed at this stage or a later one: `annotation`, "
        "`validation` or `acceptance`",
        "blank": "a frame with nothing in it: there is nothing (`answer`, detection only), or it stays `open`",
        "new_classes": "a label that is no class of the run becomes one, instead of leaving the image open",
        "poll": "seconds between two looks, where a run waits",
        "timeout": "seconds that one request may take",
        "patience": "seconds of pauses in which a call is tried again",
    },
    "annotator label_studio": {
        "url": "address of the server; default: LABEL_STUDIO_URL",
        "images": "how pictures get there: `upload`, `local` (it serves their folder) or `url`",
        "document_root": "with `local`: the folder that Label Studio serves (its LOCAL_FILES_DOCUMENT_ROOT)",
        "images_url": "with `url`: what stands before an image's id",
        "overlap": "annotations that a task needs",
        "counts": "which of several annotations is the answer: the `latest`, or the `first`; one set as ground truth "
        "comes before both",
        "new_classes": "a label that is no class of the run becomes one, instead of leaving the task open",
        "background": "class of what is left unpainted in masks; default: it is void",
        "title": "of the project; default: the run's name",
        "proposals": "show the model's proposals: people see no other class before they choose one",
        "poll": "seconds between two looks, where a run waits",
        "timeout": "seconds that one request may take",
        "patience": "seconds of pauses in which a call is tried again",
    },
    "annotator web": {
        "annotators": "people that answer a query of the overlap",
        "overlap": "share of the queries that go to so many `annotators`, to see how far they agree",
        "port": "port of the page while the run is at work; 0: any free one; default: the first free one from 8470 on",
        "open": "open the page in a browser, where there is a desktop",
        "poll": "seconds between two looks at what is answered",
    },
    "annotator timelapse": {
        "species": "data label of the column that is filled; a Choice, or a Note",
        "selected": "data label of the Flag that marks what is asked",
        "root": "folder that Timelapse opens; default: that of the images, or the nearest above it with a data file",
        "template": "where a template is written if there is none: `hand_off` (the round's folder), or `root`",
        "skip": "species that mean nobody can tell, in any letter case; a class of the run of that name is a class",
        "several": "an image with several species stays `open`, or is skipped (`skip`)",
        "new_classes": "a species that the run does not know becomes a class (true), or only those that are listed",
        "recognitions": "write the model's proposals as recognitions, for Timelapse to show",
    },
    "engine local": {
        "workers": "processes; 0 works in this one",
    },
    "predictions coco": {
        "annotations": "JSON with `images` and `categories`; needed where `image_id` is a number",
        "absent": "an image without an entry has no detection (`empty`), no prediction (`missing`), or what "
        "`annotations` say (`auto`)",
        "first": "`category_id` of the first of the listed `classes`",
        "root": "beginning of the names in the file that is cut off",
        "independent": "class vectors come from a sigmoid head: they need not sum to 1",
        "vectors": "a box without class vector is scored on [1 - s, s] (`binary`), or its label gets s and the other "
        "classes share the rest (`spread`)",
    },
    "predictions yolo": {
        "names": "YAML with `names`, or a text with a name a line; default: `data.yaml` beside or above the labels",
        "absent": "an image without a file has no detection (`empty`), or no prediction",
        "root": "as for `coco`",
        "vectors": "as for `coco`",
    },
    "predictions probs_table": {
        "logits": "the numbers are logits: softmax comes first (sigmoid, if `independent`)",
        "independent": "each class stands alone (sigmoid): rows need not sum to 1",
        "root": "as for `coco`",
    },
    "predictions maps": {
        "logits": "as for `probs_table`",
        "independent": "as for `probs_table`",
        "channels": "where the class axis of the arrays is",
        "root": "as for `coco`",
    },
    "predictions lightly": {
        "absent": "as for `yolo`",
        "root": "as for `coco`",
        "independent": "as for `coco`",
        "vectors": "as for `coco`",
    },
    "score object_frequency": {
        "penalty": "what each further object of a class counts, 0 to 1",
    },
    "score missed_objects": {
        "low": "a box below this confidence says nothing",
        "shown": "a box from this confidence on counts as found",
        "iou": "overlap from which one box explains another",
    },
    "reduce top": {
        "share": "share of the boxes or pixels, rounded up",
        "k": "their number, instead of a share",
    },
    "engine ray": {
        "address": "`host:port` of a cluster, `auto` for the one this machine belongs to, or empty to start one here",
        "workers": "most workers; 0: as many as the cluster has room for",
        "cpus": "cores of each worker",
        "gpus": "GPUs of each worker; a share such as 0.5 lets two workers use one",
        "retries": "how often a batch is done again when its worker dies",
    },
    "select stochastic": {
        "kind": "what the chances grow with: the score (`power`), its exponential (`softmax`), the rank (`softrank`)",
        "beta": "how strongly; 0 draws uniformly",
    },
    "select k_center": {
        "least_distance": "ends before a pick that would be nearer than this",
    },
    "select combined": {
        "parts": "each `{by: ..., strength: 1, ...}`; see [combining](#combining)",
        "least_distance": "ends before a pick that would be nearer than this; needs a part by diversity",
    },
    "select most_similar": {
        "like": "classes (indices) whose labelled images are asked for; default: all labelled images",
        "queries": "row numbers that are asked for instead; for arrays only",
    },
    "select most_typical": {
        "neighbours": "nearest images that typicality is measured on",
    },
    "select deduplicate": {
        "distance": "images nearer than this (Euclidean) are near-duplicates",
    },
    "select robust_k_center": {
        "outliers": "share of the candidates that need not be covered",
        "limit": "of more candidates than this, that many stand for the others",
    },
    "select mixture": {
        "parts": "each `{select: name or mapping, weight: 1}`; see [mixing](#mixing)",
    },
    "select bandit": {
        "parts": "each `{select: name or mapping}`; default: five mixtures of `top` and `random`",
        "gamma": "how fast it learns and how much it still tries, above 0 to 1",
    },
    "select coral": {
        "diversity": "strength of the distances; 0 leaves them out",
        "weight": "strength of the scores; 0 leaves them out",
        "least_distance": "ends before a pick that would be nearer than this",
    },
    "select typiclust": {
        "max_clusters": "most clusters",
        "min_size": "smaller clusters come last",
        "neighbours": "nearest images that typicality is measured on",
    },
    "select herding": {
        "need": "how strongly classes with few labels weigh more; 0: not at all",
        "radius": "width of the similarity, as a share of the median squared distance between labelled images",
        "neighbours": "nearest images that one image can cover",
        "dims": "principal axes that distances are measured on",
        "limit": "of more candidates than this a random sample is used",
    },
    "select probcover": {
        "delta": "radius of the balls, 0 to 2; default: the largest at which enough of them are pure",
        "purity": "share of the balls that hold one k-means cluster only, where `delta` is not given",
        "clusters": "k-means clusters that stand for the classes; set it to the number of classes",
        "limit": "of more candidates than this a random sample is used",
    },
    "select max_herding": {
        "width": "width of the similarity, as a distance (0 to 2)",
        "neighbours": "nearest images that one image can cover",
        "dims": "principal axes that distances are measured on",
        "limit": "of more candidates than this a random sample is used",
    },
    "select facility_location": {
        "neighbours": "nearest images that one image can serve",
        "limit": "of more candidates than this a random sample is used",
        "chance": "above 0 only some candidates are looked at for each pick; how much is given away on average",
    },
    "select cluster_margin": {
        "factor": "this many times n best-scored candidates are shared out",
        "clusters": "k-means clusters; default: as many as picks",
    },
    "select graph_density": {
        "neighbours": "nearest images that an image is joined to",
    },
    "select hierarchical": {
        "beta": "how much surer than its rivals a class must be, from 1; higher splits the tree sooner",
        "limit": "of more candidates than this a random sample is used",
    },
    "score difficulty_entropy": {
        "difficulty": "of each class, 0 (easy) to 1; default: 1 for all",
        "strength": "how much more the most difficult class weighs than the easiest",
        "alpha": "how soon a weight rises with the difficulty; smaller is sooner",
    },
    "select object_k_center": {
        "over": "what stands for an image: its farthest object (`max`) or the mean over its objects (`mean`)",
    },
    "select object_coverage": {
        "neighbours": "nearest objects of its class that an object can serve",
        "limit": "of images with more objects than this in all a random sample is used",
    },
    "select ppal": {
        "threshold": "objects with a score not above this are left out",
        "updates": "most times the centres are moved to the medoids; 0 leaves them where farthest first put them",
        "limit": "of more candidates than this a random sample is used",
    },
    "select class_balanced": {
        "target": "wanted share of each class; default: the same for each class seen",
    },
    "select two_round_k_center": {
        "partitions": "parts that are selected from by themselves first",
        "factor": "how many times n each part gives, from 1; more comes nearer to one round, and costs more",
    },
    "select two_round_facility_location": {
        "partitions": "random parts that are selected from by themselves first",
        "clients": "images drawn from the pool that stand for it",
    },
    "select margin_cluster_mean": {
        "width": "images are inside the margin where log p1 - log p2 is below this",
    },
}

BOUNDS = {
    annotated_types.Ge: "from",
    annotated_types.Gt: "above",
    annotated_types.Lt: "below",
    annotated_types.Le: "to",
}

Table = list[list[str]]


def main() -> None:
    """Rewrite all pages, or with --check say which are stale."""
    stale = [page for page in sorted(regions()) if fresh(page) != (DOCS / page).read_text(encoding="utf-8")]
    if "--check" in sys.argv[1:]:
        sys.exit(f"stale: {', '.join(stale)}; run 'make docs'" if stale else 0)
    for page in stale:
        (DOCS / page).write_text(fresh(page), encoding="utf-8")
        print(f"wrote docs/{page}")


def fresh(page: str) -> str:
    """A page with its regions written anew. Raises ValueError for a region that is not there exactly once."""
    text = (DOCS / page).read_text(encoding="utf-8")
    for name, body in regions()[page].items():
        begin, end = f"<!-- generated:{name} -->", f"<!-- /generated:{name} -->"
        if text.count(begin) != 1 or text.count(end) != 1:
            raise ValueError(f"docs/{page}: expected one region {begin} ... {end}")
        before, rest = text.split(begin)
        text = f"{before}{begin}\n{body.strip()}\n{end}{rest.split(end)[1]}"
    return text


def regions() -> dict[str, dict[str, str]]:
    """The text of every region, by page and name."""
    return {
        "configuration.md": {"keys": _keys(), "options": _all_options()},
        "strategies.md": {
            "presets": _presets(),
            "scores": _functions("score", compose.SCORE_VOCABULARY),
            "reduces": _functions("reduce", {}),
            "selects": _functions("select", compose.VOCABULARY),
            "words": _words(),
        },
        "cli.md": {"verbs": _verbs()},
        "predictions.md": {"formats": _formats()},
        "plugins.md": {name: _example(name) for name in ("own_strategy.py", "own_model.py", "own_annotator.py")},
        "architecture.md": {"files": _files()},
    }


# --- configuration ------------------------------------------------------------------------------------


def keys() -> list[str]:
    """Every key of the configuration, dotted, without the options of names."""
    return [row[0].strip("`") for _, rows in _branches() for row in rows]


def _branches() -> list[tuple[str, Table]]:
    top: Table = []
    below: list[tuple[str, Table]] = []
    for name, field in config.Config.model_fields.items():
        kind = _plain(field.annotation)
        if isinstance(kind, type) and issubclass(kind, config.Node):
            if name == "cold_start":
                top.append([f"`{name}`", "name, or the keys of `strategy`", _default(field), field.description or ""])
                continue
            rows = [_row(f"{name}.{key}", f) for key, f in kind.model_fields.items()]
            about = field.description or (inspect.getdoc(kind) or "").split("\n")[0]
            if name == "strategy":
                top.append([f"`{name}`", "name, or the keys below", _default(field), about])
                about = "Without `strategy.name` the keys make a recipe of their own."
            below.append((f"**`{name}`**: {_markdown(about)}", rows))
        else:
            top.append(_row(name, field))
    return [("**The top of the file**", top), *below]


def _keys() -> str:
    return "\n\n".join(
        f"{about}\n\n{_table(['key', 'type', 'default', 'meaning'], rows)}" for about, rows in _branches()
    )


def _row(key: str, field: FieldInfo) -> list[str]:
    return [f"`{key}`", _type(field.annotation, field.metadata), _default(field), field.description or ""]


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.default
    return f"`{value.name}`" if hasattr(value, "name") else _shown(value)


def _shown(value: Any) -> str:
    if value is inspect.Parameter.empty:
        return "required"
    if value is None or (value in ((), {}) and not isinstance(value, bool)):
        return ""
    if value.__class__.__name__ == "_HAS_DEFAULT_FACTORY_CLASS":
        return ""
    if isinstance(value, tuple) and dataclasses.is_dataclass(value[0]):
        return f"`[{', '.join(_compact(item) for item in value)}]`"
    text = {True: "true", False: "false"}.get(value) if isinstance(value, bool) else None
    return f"`{text or (list(value) if isinstance(value, tuple) else value)}`"


def _compact(item: Any) -> str:
    """A mapping of options as one would write it, without what is at its default."""
    if dataclasses.is_dataclass(item):
        item = {f.name: getattr(item, f.name) for f in dataclasses.fields(item) if getattr(item, f.name) != f.default}
    if isinstance(item, Mapping):
        return "{" + ", ".join(f"{name}: {_compact(value)}" for name, value in item.items()) + "}"
    return f"[{', '.join(_compact(value) for value in item)}]" if isinstance(item, list | tuple) else str(item)


def _plain(annotation: Any) -> Any:
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def _type(annotation: Any, metadata: Iterable[Any] = ()) -> str:
    """A type in words: "whole number from 1", "number from 0, below 1", "`skip` or `error`"."""
    metadata = list(metadata)
    if get_origin(annotation) is Annotated:
        annotation, *more = get_args(annotation)
        metadata += [m for item in more for m in (item.metadata if isinstance(item, FieldInfo) else [item])]
    called = [getattr(getattr(m, "func", None), "__name__", "") for m in metadata]
    if "_amount" in called:
        return "number of images, or share such as `2%`"
    if "_amounts" in called:
        return "number or share, or a list of them"
    if "_weights" in called:
        return "mapping, or `difficulty`"
    if "_spec" in called:
        return "name, or mapping with `name` and options"
    if get_origin(annotation) in (Union, types.UnionType):
        parts = [_type(a, metadata) for a in get_args(annotation) if a is not type(None)]
        return " or ".join(dict.fromkeys(parts))
    if get_origin(annotation) is Literal:
        return " or ".join(f"`{a}`" for a in get_args(annotation))
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "name, or mapping with `name` and options"
    return f"{_noun(annotation)}{_bounds(metadata)}"


def _noun(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is tuple:
        one = _type(arguments[0])
        return f"list of {_plural(one)}" if arguments[-1] is ... else f"list of {len(arguments)} {_plural(one)}"
    if origin is dict:
        return "mapping"
    if origin is not None and arguments:
        return f"list of {_plural(_type(arguments[0]))}"
    if dataclasses.is_dataclass(annotation):
        return "mapping"
    words = {int: "whole number", float: "number", str: "text", bool: "true or false", Path: "path"}
    return words[annotation]


def _plural(noun: str) -> str:
    return re.sub(r"\b(number|text|mapping)\b", r"\1s", noun)


def _bounds(metadata: Iterable[Any]) -> str:
    words = []
    for item in metadata:
        if isinstance(item, annotated_types.Interval):
            words.append(_bounds(item))
        for kind, word in BOUNDS.items():
            if isinstance(item, kind):
                words.append(f"{word} {getattr(item, kind.__name__.lower())}")
    return f" {', '.join(words)}".rstrip().replace(", to", " to")


def options(kind: str, name: str) -> dict[str, inspect.Parameter]:
    """The options that the configuration may give to a name of the catalogue."""
    found = catalog.option_types(catalog.resolve(kind, name))
    given = compose.VOCABULARY if kind in ("score", "select", "rule") else ()
    return {option: p for option, p in found.items() if option not in given}


def _option_table(kind: str, name: str) -> str:
    found, meanings = options(kind, name), MEANINGS.get(f"{kind} {name}", {})
    if odd := sorted(found.keys() ^ meanings.keys()):
        raise ValueError(f"docs/generate.py: MEANINGS of {kind} {name} and its options differ: {', '.join(odd)}")
    rows = [[f"`{option}`", _type(p.annotation), _shown(p.default), meanings[option]] for option, p in found.items()]
    return _table(["option", "type", "default", "meaning"], rows) if rows else "No options."


def _all_options() -> str:
    parts = []
    titles = {
        "data": "`data.format`",
        "model": "`model`",
        "head": "`model.head`",
        "annotator": "`annotator`",
        "engine": "`engine`",
    }
    for kind, title in titles.items():
        for name in catalog.TABLES[kind]:
            about = _markdown((inspect.getdoc(catalog.resolve(kind, name)) or "").split("\n\n")[0])
            parts.append(f"### {title}: `{name}`\n\n{_first(about)}\n\n{_option_table(kind, name)}")
    return "\n\n".join(parts)


def _formats() -> str:
    parts = []
    for name in catalog.TABLES["predictions"]:
        about = _markdown(inspect.getdoc(catalog.resolve("predictions", name)) or "")
        parts.append(f"### `{name}`\n\n{about}\n\n{_option_table('predictions', name)}")
    return "\n\n".join(parts)


# --- strategies ---------------------------------------------------------------------------------------


def _presets() -> str:
    rows = []
    for name, recipe in presets.PRESETS.items():
        ready = strategies.assemble(recipe)
        rows.append(
            [f"`{name}`", recipe.summary, ", ".join(sorted(ready.needs)) or "nothing", _recipe(recipe), recipe.paper]
        )
    return _table(["preset", "chooses", "needs of the model", "recipe", "paper"], rows)


def _recipe(recipe: strategies.Recipe) -> str:
    parts = [f"score {_spec(recipe.score)}"] if recipe.score else []
    parts.append(f"select {_spec(recipe.select)}")
    parts += [f"reduce {_spec(recipe.reduce)}"] if recipe.reduce else []
    parts += [f"empty `{recipe.empty}`"] if recipe.reduce else []
    parts += [f"unit `{recipe.unit}`"] if recipe.unit else []
    for rule in (
        "rescale",
        "shortlist",
        "balance",
        "per_group",
        "per",
        "near_duplicates",
        "threshold",
        "share",
        "apart",
    ):
        value = getattr(recipe, rule)
        parts += [f"{rule} {_shown(value)}"] if value else []
    return ", ".join(parts)


def _spec(spec: strategies.Spec) -> str:
    name, given = catalog.split_spec(spec)
    return f"`{name}`" + (f" ({', '.join(f'{k} {_compact(v)}' for k, v in given.items())})" if given else "")


def _functions(kind: str, vocabulary: Mapping[str, str]) -> str:
    parts = []
    for name in catalog.TABLES[kind]:
        function = catalog.resolve(kind, name)
        about = _markdown(inspect.getdoc(function) or "")
        asked = compose.needs(function, vocabulary) if vocabulary else frozenset()
        asks = [word for word in vocabulary if word in asked and word not in ("n", "candidates", "rng")]
        told = f"\n\nAsks for: {', '.join(asks) or 'nothing'}." if vocabulary else ""
        table = f"\n\n{_option_table(kind, name)}" if options(kind, name) else ""
        parts.append(f"### `{name}`\n\n{about}{told}{table}")
    return "\n\n".join(parts)


def _words() -> str:
    rows = [[f"`{word}`", meaning] for word, meaning in compose.VOCABULARY.items()]
    scores = [
        [f"`{word}`", f"{meaning} (scores only)"]
        for word, meaning in compose.SCORE_VOCABULARY.items()
        if word not in compose.VOCABULARY
    ]
    return _table(["parameter", "what it holds"], rows + scores)


# --- command line, examples, sources ------------------------------------------------------------------


def verbs() -> dict[str, Any]:
    """The verbs of the command line by name."""
    group: Any = typer.main.get_command(cli.app)
    return dict(group.commands)


def _verbs() -> str:
    parts = []
    for name, command in verbs().items():
        make: Any = command.context_class
        context = make(
            command,
            info_name=f"labelwise {name}",
            terminal_width=110,
            max_content_width=110,
            help_option_names=["-h", "--help"],
        )
        parts.append(f"### {name}\n\n```text\n{command.get_help(context).strip()}\n```")
    return "\n\n".join(parts)


def _example(name: str) -> str:
    return f"```python\n{(ROOT / 'examples' / name).read_text(encoding='utf-8').strip()}\n```"


def _files() -> str:
    package = ROOT / "src" / "labelwise"
    lines = []
    for path in sorted(package.rglob("*.py"), key=lambda p: (len(p.relative_to(package).parts) > 1, p)):
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        lines.append([f"`{path.relative_to(package).as_posix()}`", _markdown(text.split("\n")[0])])
    return _table(["file", "what it is for"], lines)


def _first(text: str) -> str:
    return re.split(r"(?<=[.]) (?=[A-Z`])", text.replace("\n", " "))[0]


def _markdown(text: str) -> str:
    text = " ".join(line.strip() for line in text.strip().split("\n") if line.strip())
    return text.replace("``", "`").replace("|", "\\|")


def _table(head: list[str], rows: Table) -> str:
    escaped = [[cell.replace("\n", " ").replace(" | ", " \\| ") for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *escaped])


if __name__ == "__main__":
    main()
