"""Choice by the classes of objects: nearest to a target in all, or unlike those that are labelled."""

from __future__ import annotations

import numpy as np

from labelwise.errors import SelectionError
from labelwise.selection import object_kernels
from labelwise.selection.owned import check_object_labels, check_object_scores, owned, then_empty, with_objects
from labelwise.selection.picks import Doubles, Picks, Rows, count, descending

_LEAST = 1e-10  # share that a class counts with as long as there is no object of it
_DECIMALS = 12  # of a cross-entropy: images with equal counts tie, in whatever order they are added


def class_balanced(
    n: int,
    candidates: Rows,
    labelled: Rows,
    owners: Rows,
    object_labels: Rows,
    *,
    target: list[float] | None = None,
) -> Picks:
    """Pick greedily the image that brings the class shares of all labelled and picked objects nearest to a target.

    ``owners`` ``(M,)`` is the row of the image each object belongs to, ``object_labels`` ``(M,)`` its class; objects of
    class -1 do not count. ``target`` holds the wanted share of each class (any sum; default: the same for each class
    seen); nearest is the least cross-entropy -sum_c t_c log p_c, with shares p of at least 1e-10, rounded to 1e-12.
    Ties go to the lowest row. Images without objects of a known class come last.

    Facts: ``class_gap``, the Kullback-Leibler distance in nats from the shares to the target after the pick. Raises
    SelectionError if a class has no place in ``target``, or a share is negative. Lightly's balance strategy, as
    recovered from lightly-mundig 0.1.16.
    """
    n = count(n, candidates)
    labels = check_object_labels(object_labels, np.arange(len(owners)))
    told = np.flatnonzero(labels >= 0)
    known = told[owned(owners[told], labelled).objects]
    images, empty = with_objects(owners[told], candidates)
    seen = labels[np.concatenate([told[images.objects], known])]
    goal = _target(target, seen)
    have = np.bincount(labels[known], minlength=len(goal)).astype(np.int64)
    # one entry for each class of each image
    pair, amounts = np.unique(images.owner * len(goal) + labels[told[images.objects]], return_counts=True)
    begins = np.searchsorted(pair, np.arange(len(images.rows) + 1) * len(goal)).astype(np.int64)
    classes, sizes = (pair % max(len(goal), 1)).astype(np.int64), images.counts
    logs = np.log(np.maximum(np.arange(int(have.sum() + sizes.sum()) + 1), _LEAST))
    wanted = min(n, len(images.rows))
    free, picks, gaps = np.ones(len(images.rows), np.bool_), np.empty(wanted, np.int64), np.empty(wanted)
    own = -float((goal[goal > 0] * np.log(goal[goal > 0])).sum())
    for i in range(wanted):
        entropy = object_kernels.least_entropy(begins, classes, amounts, sizes, free, have, goal, logs)
        best = int(np.round(entropy, _DECIMALS).argmin())
        picks[i], gaps[i], free[best] = best, max(0.0, entropy[best] - own), False
        span = slice(begins[best], begins[best + 1])
        have[classes[span]] += amounts[span]
    return then_empty(Picks(images.rows[picks], {"class_gap": gaps}), empty, n)


def class_divergence(
    n: int, candidates: Rows, labelled: Rows, owners: Rows, object_labels: Rows, object_scores: Doubles
) -> Picks:
    """Pick the images whose classes are least like those of the labelled images.

    An image stands for the highest score of each class among its objects, the labelled images for the mean number of
    objects of each class; both go through a softmax over the classes up to the highest that is seen, and the images of
    highest Jensen-Shannon divergence are picked, ties by the lowest row. ``owners`` ``(M,)`` is the row of the image
    each object belongs to, ``object_labels`` ``(M,)`` its class, ``object_scores`` ``(M,)`` its confidence; objects of
    class -1 do not count. Images without objects of a known class come last.

    Facts: ``class_divergence``, in nats, 0 to ln 2. Raises SelectionError, naming the object, for a score that is not
    finite or negative. Yu et al. 2022, Consistency-based active learning for object detection, section 3.3.
    """
    from scipy.special import rel_entr, softmax

    n = count(n, candidates)
    labels = check_object_labels(object_labels, np.arange(len(owners)))
    told = np.flatnonzero(labels >= 0)
    known = told[owned(owners[told], labelled).objects]
    images, empty = with_objects(owners[told], candidates)
    objects = told[images.objects]
    highest = np.zeros((len(images.rows), int(labels[np.concatenate([objects, known])].max(initial=0)) + 1))
    scores = check_object_scores(object_scores, owners, objects)
    np.maximum.at(highest, (images.owner, labels[objects]), scores)
    mean = np.bincount(labels[known], minlength=highest.shape[1]) / max(1, len(labelled))
    own, usual = softmax(highest, axis=1), softmax(mean)[None]
    middle = (own + usual) / 2
    found = np.maximum((rel_entr(own, middle) + rel_entr(usual, middle)).sum(axis=1) / 2, 0)
    best = descending(found)[:n]
    return then_empty(Picks(images.rows[best], {"class_divergence": found[best]}), empty, n)


def _target(target: list[float] | None, seen: Rows) -> Doubles:
    """Shares of the classes, summing to 1."""
    classes = int(seen.max(initial=-1)) + 1
    if target is None:
        shares = (np.bincount(seen, minlength=classes) > 0).astype(np.float64)
    else:
        shares = np.asarray(target, dtype=np.float64)
        if shares.ndim != 1 or not (np.isfinite(shares) & (shares >= 0)).all() or not shares.sum() > 0:
            raise SelectionError(f"class_balanced: expected target shares of 0 or more, but found {target}")
        if len(shares) < classes:
            raise SelectionError(
                f"class_balanced: expected a target for each of {classes} classes, but found {len(shares)}"
            )
    return np.asarray(shares / max(float(shares.sum()), 1e-300))
