"""Presets: recipes by name, each with its paper."""

from __future__ import annotations

from labelwise import catalog
from labelwise.errors import ConfigError
from labelwise.strategies import Recipe


def preset(name: str) -> Recipe:
    """The preset of this name. Raises ConfigError with the nearest names if there is none."""
    if name not in PRESETS:
        raise ConfigError(f"unknown strategy {name!r}: {catalog.suggest(name, PRESETS)}")
    return PRESETS[name]


PRESETS: dict[str, Recipe] = {
    "random": Recipe(
        select="random",
        paper="the baseline",
        summary="Images drawn uniformly.",
    ),
    "least_confidence": Recipe(
        score="least_confidence",
        paper="Lewis & Gale 1994, A sequential algorithm for training text classifiers",
        summary="The lowest probability of the best class.",
    ),
    "margin": Recipe(
        score="margin",
        paper="Scheffer, Decomain & Wrobel 2001, Active hidden Markov models for information extraction",
        summary="The smallest gap between the two best classes.",
    ),
    "entropy": Recipe(
        score="entropy",
        paper="Settles 2009, Active learning literature survey",
        summary="The highest entropy of the class probabilities.",
    ),
    "bald": Recipe(
        score="bald",
        paper="Houlsby et al. 2011, Bayesian active learning; Gal et al. 2017, Deep Bayesian active learning",
        summary="The strongest disagreement between stochastic passes.",
    ),
    "k_center": Recipe(
        select="k_center",
        paper="Sener & Savarese 2018, Active learning for convolutional neural networks: a core-set approach",
        summary="The farthest from everything labelled, one after the other.",
    ),
    "coral": Recipe(
        score="margin",
        select="coral",
        paper="Lightly's CORAL, as recovered from lightly-mundig 0.1.16",
        summary="Far from everything labelled and a small gap, weighed by two growing sums.",
    ),
    "balanced_coral": Recipe(
        score="margin",
        select={"name": "combined", "parts": [{"by": "diversity"}, {"by": "score"}, {"by": "balance"}]},
        paper="Lightly's combination of strategies, as recovered from lightly-mundig 0.1.16",
        summary="As coral, and the predicted classes of all labels are brought near to equal shares.",
    ),
    "typical_diverse": Recipe(
        select={"name": "combined", "parts": [{"by": "diversity"}, {"by": "typicality"}]},
        paper="Lightly's combination of strategies, as recovered from lightly-mundig 0.1.16",
        summary="Far from everything labelled, but not odd; needs no model.",
    ),
    "robust_k_center": Recipe(
        select="robust_k_center",
        paper="Charikar, Khuller, Mount & Narasimhan 2001, Algorithms for facility location problems with outliers",
        summary="Close to everything but the oddest two per cent; needs no model.",
    ),
    "typiclust": Recipe(
        select="typiclust",
        paper="Hacohen, Dekel & Weinshall 2022, Active learning on a budget",
        summary="The most typical image of each cluster without labels; needs no model.",
    ),
    "centroids": Recipe(
        select="centroids",
        paper="Gupte et al. 2024, Revisiting active learning in the era of vision foundation models",
        summary="The image nearest each k-means centre; needs no model.",
    ),
    "badge": Recipe(
        select="badge",
        paper="Ash et al. 2020, Deep batch active learning by diverse, uncertain gradient lower bounds",
        summary="Uncertain images whose gradients differ.",
    ),
    "herding": Recipe(
        score="margin",
        select={"name": "herding", "need": 0.0},
        paper="Bae, Sutherland & Oliveira 2025, Uncertainty herding: one active learning method for all label budgets",
        summary="What covers most of the uncertainty that labels do not cover yet.",
    ),
    "balanced_herding": Recipe(
        score="margin",
        select="herding",
        paper="Bae, Sutherland & Oliveira 2025, Uncertainty herding; classes after Bengar et al. 2022",
        summary="As herding, and classes with few labels weigh more. The default.",
    ),
    "pixelpick": Recipe(
        score="margin",
        unit="pixel",
        select="random",
        share=0.05,
        paper="Shin, Xie & Albanie 2021, All you need are a few pixels",
        summary="Drawn by chance among the twentieth of an image's pixels with the smallest gaps.",
    ),
    "ripu_pixel": Recipe(
        score={"name": "ripu_pixel", "radius": 32},
        unit="pixel",
        select="top",
        apart=32,
        paper="Xie et al. 2022, Towards fewer annotations (RIPU)",
        summary="The most uncertain pixels among many classes, none near another one of its image.",
    ),
    "ripu_region": Recipe(
        score={"name": "ripu", "radius": 1},
        unit="region",
        select="top",
        paper="Xie et al. 2022, Towards fewer annotations (RIPU)",
        summary="The windows where many classes meet and the model is uncertain, none over another.",
    ),
    "spread_regions": Recipe(
        score={"name": "ripu", "radius": 1},
        unit="region",
        select="coral",
        shortlist=10.0,
        evenly=False,
        paper="after Yang et al. 2017, Suggestive annotation; Wu et al. 2021, ReDAL; by Lightly's CORAL",
        summary="Windows both uncertain and far from every labelled one in what the network sees, over the whole pool.",
    ),
    "balanced_margin": Recipe(
        score="margin",
        balance=True,
        paper="after Bengar et al. 2022, Class-balanced active learning for image classification; Scheffer et al. 2001",
        summary="The smallest gaps within each predicted class, classes with few labels first.",
    ),
    "balanced_entropy": Recipe(
        score="entropy",
        balance=True,
        paper="after Bengar et al. 2022, Class-balanced active learning for image classification; Settles 2009",
        summary="The highest entropies within each predicted class, classes with few labels first.",
    ),
    "power_margin": Recipe(
        score="margin",
        select={"name": "stochastic", "kind": "power", "beta": 1.0},
        paper="Kirsch et al. 2023, Stochastic batch acquisition: a simple baseline for deep active learning",
        summary="Drawn by chance, small gaps more often; avoids near-equal picks.",
    ),
    "margin_random": Recipe(
        score="margin",
        select="mixture",
        paper="Google's active-learning playground, mixtures of margin and uniform",
        summary="Half of the images by the smallest gap, half at random.",
    ),
    "bandit": Recipe(
        score="margin",
        select="bandit",
        paper="Auer et al. 2002, The nonstochastic multiarmed bandit problem; Google's active-learning playground",
        summary="A mixture of margin and random, drawn by how often it surprised the model in earlier rounds.",
    ),
    "galaxy": Recipe(
        select="galaxy",
        paper="Zhang, Katz-Samuels & Nowak 2022, GALAXY: graph-based active learning at the extreme",
        summary="At the border of each class alike, however rare it is, by halving between labels that differ.",
    ),
    "rare_and_new": Recipe(
        select={
            "name": "mixture",
            "parts": [{"select": "galaxy", "weight": 0.8}, {"select": "novel", "weight": 0.2}],
        },
        near_duplicates=0.02,
        paper="Zhang, Katz-Samuels & Nowak 2022 (GALAXY), with a share for discovery",
        summary="For long tails: four fifths at the borders of all classes alike, a fifth unlike anything labelled.",
    ),
    "margin_spread": Recipe(
        score="margin",
        select="centroids",
        shortlist=10.0,
        paper="Zhdanov 2019, Diverse mini-batch active learning; compare Citovsky et al. 2021 (Cluster-Margin)",
        summary="Of ten times as many small gaps, the images nearest k-means centres.",
    ),
    "probcover": Recipe(
        select="probcover",
        paper="Yehuda, Dekel, Hacohen & Weinshall 2022, Active learning through a covering lens",
        summary="The image with most images around it that no label covers yet; needs no model.",
    ),
    "max_herding": Recipe(
        select="max_herding",
        paper="Bae, Noh & Sutherland 2024, Generalized coverage for more robust low-budget active learning",
        summary="What brings the whole pool nearest to a label; needs no model.",
    ),
    "facility_location": Recipe(
        select="facility_location",
        paper="Wei, Iyer & Bilmes 2015, Submodularity in data subset selection and active learning",
        summary="What makes every image similar to a labelled one; needs no model.",
    ),
    "cluster_margin": Recipe(
        score="margin",
        select="cluster_margin",
        paper="Citovsky et al. 2021, Batch active learning at scale",
        summary="Of ten times as many small gaps, one of each cluster in turn, small clusters first.",
    ),
    "graph_density": Recipe(
        select="graph_density",
        paper="Ebert, Fritz & Schiele 2012, RALF: a reinforced active learning formulation",
        summary="The densest places of the neighbour graph, each once; needs no model.",
    ),
    "informative_diverse": Recipe(
        score="margin",
        select="informative_diverse",
        paper="Google's active-learning playground, informative_and_diverse",
        summary="The smallest gaps, as many of each cluster as it has of the pool.",
    ),
    "margin_cluster_mean": Recipe(
        select="margin_cluster_mean",
        paper="Xu et al. 2003, Representative sampling for text classification using support vector machines",
        summary="Of the images inside the model's margin, those nearest k-means centres.",
    ),
    "hierarchical": Recipe(
        select="hierarchical",
        paper="Dasgupta & Hsu 2008, Hierarchical sampling for active learning",
        summary="Drawn from a tree of clusters, more often where labels within a cluster differ.",
    ),
    "box_least_confidence": Recipe(
        score="least_confidence",
        reduce="max",
        empty="quota",
        paper="Lightly's uncertainty_least_confidence for detection; after Lewis & Gale 1994",
        summary="Detection: the box whose best class is least sure.",
    ),
    "box_margin": Recipe(
        score="margin",
        reduce="max",
        empty="quota",
        paper="Brust, Käding & Denzler 2019, Active learning for deep object detection; Lightly's uncertainty_margin",
        summary="Detection: the box with the smallest gap between its two best classes.",
    ),
    "box_entropy": Recipe(
        score="entropy",
        reduce="max",
        empty="quota",
        paper="Lightly's uncertainty_entropy for detection; after Settles 2009",
        summary="Detection: the box with the highest entropy.",
    ),
    "box_entropy_sum": Recipe(
        score="entropy",
        reduce="sum",
        empty="quota",
        paper="Yang, Huang & Crowley 2024, Plug and play active learning for object detection, first stage",
        class_weights="difficulty",
        summary="Detection: the most entropy in all boxes together, those of classes that are hard weigh more.",
    ),
    "box_consistency": Recipe(
        score="consistency",
        reduce="max",
        empty="quota",
        paper="Yu et al. 2022, Consistency-based active learning for object detection (CALD), its first stage, "
        "with the mirrored picture alone",
        summary="Detection: the box that the model sees least steadily in the mirrored picture.",
    ),
    "cald": Recipe(
        score="consistency",
        reduce="max",
        empty="quota",
        select="class_divergence",
        shortlist=1.2,
        paper="Yu et al. 2022, Consistency-based active learning for object detection (CALD), "
        "with the mirrored picture alone",
        summary="Of a few more images with unsteady boxes, those whose classes differ from what is labelled.",
    ),
    "objectness_least_confidence": Recipe(
        score="objectness_least_confidence",
        reduce="mean",
        empty="quota",
        paper="Lightly's objectness_least_confidence",
        summary="Detection: boxes of low confidence on average.",
    ),
    "object_frequency": Recipe(
        score="object_frequency",
        reduce="sum",
        rescale=(0.9, 1.0),
        empty="lowest",
        paper="Lightly's object_frequency",
        summary="Detection: many objects of many classes; an image without any comes last.",
    ),
    "keypoint_uncertainty": Recipe(
        score="keypoint_uncertainty",
        reduce="mean",
        empty="quota",
        paper="Lightly's mean_uncertainty for keypoints",
        summary="Keypoints of low confidence on average.",
    ),
    "missed_objects": Recipe(
        score="missed_objects",
        reduce="sum",
        empty="quota",
        paper="the doubt about what a detector does not show; compare Haussmann et al. 2020, Scalable active learning",
        summary="Detection: the most faint boxes that no shown box explains.",
    ),
    "object_k_center": Recipe(
        select="object_k_center",
        paper="Sener & Savarese 2018, a core-set approach, over objects; compare Popp et al. 2024 (OFDS)",
        summary="Images with an object far from every labelled object, one after the other.",
    ),
    "object_coverage": Recipe(
        select="object_coverage",
        paper="Lee et al. 2024, Coreset selection for object detection; weights as in Bae et al. 2025",
        summary="Images whose objects bring the pool's objects nearest to a labelled one of their class.",
    ),
    "box_balanced": Recipe(
        score="difficulty_entropy",
        reduce="mean",
        class_weights="difficulty",
        empty="quota",
        select="class_balanced",
        shortlist=3.0,
        paper="Yang, Huang & Crowley 2024 (PPAL), its score; class balance as Lightly's, from lightly-mundig 0.1.16",
        summary="Of three times as many images with doubtful objects, those that bring all classes nearest to equal "
        "shares. The default for detection.",
    ),
    "ppal": Recipe(
        score="difficulty_entropy",
        reduce="sum",
        class_weights="difficulty",
        empty="quota",
        select="ppal",
        shortlist=4.0,
        paper="Yang, Huang & Crowley 2024, Plug and play active learning for object detection",
        summary="Of four times as many images with uncertain objects, those that differ by their objects.",
    ),
    "class_balanced": Recipe(
        select="class_balanced",
        paper="Lightly's balance strategy, as recovered from lightly-mundig 0.1.16",
        summary="Images whose objects bring all classes nearest to equal numbers.",
    ),
}
