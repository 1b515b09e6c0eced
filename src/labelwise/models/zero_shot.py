"""Zero-shot detection with transformers: OWLv2, OWL-ViT and Grounding DINO find what is named, without any training."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, PositiveInt

from labelwise.catalog import suggest
from labelwise.embedding.backbone import device
from labelwise.errors import ConfigError, ModelError
from labelwise.models import Place, Plan, Progress, Want
from labelwise.models.found import corners, record
from labelwise.models.hub import (
    load_network,
    load_pretrained,
    parts,
    prepared,
    quiet_transformers,
    require,
    same_shapes,
)
from labelwise.records import Labelled, Prediction, Sample, Task

Confidence = Annotated[float, Field(ge=0, le=1)]
FAMILIES = {"owlv2": "owl", "owlvit": "owl", "grounding-dino": "dino", "mm-grounding-dino": "dino"}
_TEMPLATES = {"owl": "a photo of a {}", "dino": "{}"}


@dataclass
class ZeroShot:
    """A detector that is told in words what to look for; labels teach it nothing.

    ``weights`` is a name of the hub or a folder. ``prompts`` maps classes to the words that stand for them, one or
    several (the best counts); an empty list leaves a class out; a class that is not named there is asked for by its
    name, put into ``template``. Boxes below ``threshold`` are left out; of boxes of one class that overlap by more
    than ``overlap`` the surest stays, and the ``most`` surest of an image. ``batch_size`` images go through at once.
    """

    weights: str = "google/owlv2-base-patch16-ensemble"
    prompts: dict[str, str | list[str]] | None = None
    template: str | None = None
    threshold: Confidence = 0.05
    overlap: Confidence = 0.5
    most: PositiveInt = 100
    batch_size: PositiveInt = 8

    tasks = frozenset[Task]({"detect"})
    provides = frozenset({"probs", "boxes", "objects", "embeddings"})
    needs_labels = False
    validation = 0.0
    start = "scratch"

    def __post_init__(self) -> None:
        if self.template is not None and self.template.count("{}") != 1:
            raise ConfigError(
                f"model.template: expected a text with one {{}} where the class stands, but found {self.template!r}"
            )
        require()
        self._place: Place | None = None
        self._loaded: tuple[Any, Any] | None = None
        self._words: dict[tuple[str, ...], tuple[list[str], list[int], Any]] = {}

    def __getstate__(self) -> dict[str, Any]:
        # Networks are loaded anew in each process.
        return {**self.__dict__, "_loaded": None, "_words": {}}

    def prepare(self, pool: Sequence[Sample], others: Sequence[Sample], *, place: Place, progress: Progress) -> None:
        """Remember where to work, and meet missing weights before the first round."""
        self._place = place
        self._load()

    def fit(
        self,
        train: Sequence[Labelled],
        val: Sequence[Labelled],
        *,
        out: Path,
        start: Path | None,
        plan: Plan,
        seed: int,
        progress: Progress,
    ) -> Path:
        """Write down the classes and what is asked for each; nothing is learnt, so that no label is needed."""
        _, processor = self._load()
        words, _ = asked(plan.classes, self.prompts, self._template)
        with quiet_transformers():
            self._tokens(processor.tokenizer, words)  # meets a prompt that is too long
        out.mkdir(parents=True, exist_ok=True)
        about = {"classes": plan.classes, "weights": self.weights, "prompts": words}
        (out / "about.json").write_text(json.dumps(about, ensure_ascii=False, indent=1), encoding="utf-8")
        return out

    def predict(self, checkpoint: Path | None, samples: Sequence[Sample], *, want: Want) -> Iterator[Prediction]:
        """Boxes with a probability for each class by itself; without a checkpoint only vectors of whole images."""
        import torch

        network, processor = self._load()
        classes: list[str] = (
            json.loads((checkpoint / "about.json").read_text(encoding="utf-8"))["classes"] if checkpoint else []
        )
        threads = self._place.threads if self._place else 1
        square = network.config.model_type == "owlv2"
        for part in parts(samples, 4 * self.batch_size):
            pictures = list(prepared(part, processor.image_processor, square=square, threads=threads))
            found: dict[int, Prediction] = {}
            for places in same_shapes(pictures, self.batch_size):
                pixels = torch.stack([torch.from_numpy(pictures[i][0]) for i in places]).to(device())
                with torch.inference_mode():
                    outputs = self._outputs(network, processor, pixels, classes)
                    for row, i in enumerate(places):
                        found[i] = self._record(part[i], pictures[i][1], outputs, row, classes, want)
            yield from (found[i] for i in range(len(part)))

    def _outputs(self, network: Any, processor: Any, pixels: Any, classes: Sequence[str]) -> dict[str, Any]:
        """What the network says of a batch: scores of the prompts ``(B, N, Q)``, boxes in shares, and vectors."""
        import torch

        words, _, text = self._text(processor, classes)
        if self._family == "owl":
            repeated = {k: v.repeat(len(pixels), 1) for k, v in text.items()}
            out = network(pixel_values=pixels, **repeated)
            image = out.image_embeds.flatten(1, 2).mean(dim=1)
            return {
                "scores": out.logits.float().sigmoid(),
                "boxes": out.pred_boxes.float(),
                "objects": out.class_embeds,
                "image": image,
            }
        inputs = {k: v.repeat(len(pixels), 1) for k, v in text["inputs"].items()}
        out = network(pixel_values=pixels, **inputs)
        tokens = out.logits.float().sigmoid()
        # A prompt is as sure as the surest of its tokens, as in transformers' own post-processing.
        scores = torch.stack([tokens[..., first:end].amax(dim=-1) for first, end in text["spans"]], dim=-1)
        assert scores.shape[-1] == len(words)
        return {
            "scores": scores,
            "boxes": out.pred_boxes.float(),
            "objects": out.last_hidden_state,
            "image": out.encoder_last_hidden_state_vision.mean(dim=1),
        }

    def _record(
        self,
        sample: Sample,
        size: tuple[int, int],
        outputs: Mapping[str, Any],
        row: int,
        classes: Sequence[str],
        want: Want,
    ) -> Prediction:
        if not classes:
            return Prediction(sample.id, embedding=outputs["image"][row].float().cpu().numpy())
        side = max(size)
        scale = (side, side) if self._load()[0].config.model_type == "owlv2" else size
        _, owners, _ = self._words[tuple(classes)]
        return record(
            sample.id,
            size,
            corners(outputs["boxes"][row], *scale),
            best_of_prompts(outputs["scores"][row], owners, len(classes)),
            want=want,
            independent=True,
            objects=outputs["objects"][row],
            image=outputs["image"][row],
            threshold=self.threshold,
            overlap=self.overlap,
            most=self.most,
        )

    def _text(self, processor: Any, classes: Sequence[str]) -> tuple[list[str], list[int], Any]:
        """The prompts, the class of each, and what of them enters the network."""
        key = tuple(classes)
        if key not in self._words:
            words, owners = asked(classes, self.prompts, self._template) if classes else (["object"], [0])
            with quiet_transformers():
                text = self._tokens(processor.tokenizer, words)
            self._words[key] = words, owners, text
        return self._words[key]

    def _tokens(self, tokenizer: Any, words: list[str]) -> Any:
        if self._family == "owl":
            length = self._load()[0].config.text_config.max_position_embeddings
            long = [w for w in words if len(tokenizer(w)["input_ids"]) > length]
            if long:
                raise ModelError(
                    f"model.prompts: expected at most {length} tokens, found more in {long[0]!r}; shorten it"
                )
            made = tokenizer(words, padding="max_length", max_length=length, truncation=True, return_tensors="pt")
            return {name: made[name].to(device()) for name in ("input_ids", "attention_mask")}
        spans = _spans(tokenizer, words, self._limit())
        made = tokenizer(_sentence(words), return_tensors="pt", return_token_type_ids=True)
        return {"inputs": {k: v.to(device()) for k, v in made.items()}, "spans": spans}

    @property
    def _family(self) -> str:
        return FAMILIES[self._load()[0].config.model_type]

    @property
    def _template(self) -> str:
        return self.template if self.template is not None else _TEMPLATES[self._family]

    def _limit(self) -> int:
        return int(getattr(self._load()[0].config, "max_text_len", 256))

    def _load(self) -> tuple[Any, Any]:
        if self._loaded is None:
            kind = load_pretrained("AutoConfig", self.weights).model_type
            if kind not in FAMILIES:
                raise ModelError(
                    f"model.weights: expected a zero-shot detector ({', '.join(FAMILIES)}), found {kind!r} in "
                    f"{self.weights!r}; a detector that learns from labels is model=transformers"
                )
            processor = load_pretrained("AutoProcessor", self.weights)
            network = load_network("AutoModelForZeroShotObjectDetection", self.weights)
            self._loaded = network.to(device()).eval(), processor
        return self._loaded


def asked(
    classes: Sequence[str], prompts: Mapping[str, str | list[str]] | None, template: str
) -> tuple[list[str], list[int]]:
    """All prompts, and the index of the class of each; classes without prompts are put into the ``template``.

    Raises ConfigError for prompts of an unknown class, an empty prompt, one that stands for two classes, or none.
    """
    for name in prompts or {}:
        if name not in classes:
            raise ConfigError(f"model.prompts: unknown class {name!r}: {suggest(name, classes)}")
    words: list[str] = []
    owners: list[int] = []
    for index, name in enumerate(classes):
        given = (prompts or {}).get(name, template.format(name.replace("_", " ")))
        for prompt in [given] if isinstance(given, str) else given:
            if not prompt.strip():
                raise ConfigError(f"model.prompts.{name}: expected words, found an empty text; take it out")
            if prompt in words:
                other = classes[owners[words.index(prompt)]]
                raise ConfigError(f"model.prompts: {prompt!r} stands for {other!r} and for {name!r}; give each its own")
            words.append(prompt)
            owners.append(index)
    if not words:
        raise ConfigError("model.prompts: expected a prompt for at least one class, found none; take the keys out")
    return words, owners


def best_of_prompts(scores: Any, owners: Sequence[int], classes: int) -> Any:
    """The best of each class's prompts: ``(N, Q)`` to ``(N, C)``, 0 for a class without any."""
    import torch

    index = torch.tensor(owners, device=scores.device).expand(len(scores), -1)
    zeros = torch.zeros(len(scores), classes, dtype=scores.dtype, device=scores.device)
    return zeros.scatter_reduce(1, index, scores, "amax", include_self=True)


def _sentence(words: Sequence[str]) -> str:
    """The prompts as Grounding DINO takes them: lower case, each closed by a full stop."""
    return " ".join(f"{_plain(word)}." for word in words)


def _plain(word: str) -> str:
    # A full stop would end the prompt.
    return " ".join(word.lower().replace(".", " ").split())


def _spans(tokenizer: Any, words: Sequence[str], limit: int) -> list[tuple[int, int]]:
    """Where each prompt's tokens begin and end in the sentence. Raises ModelError if they are more than ``limit``."""
    made = tokenizer(_sentence(words), return_offsets_mapping=True)
    if len(made["input_ids"]) > limit:
        raise ModelError(
            f"model.prompts: expected at most {limit} tokens, found {len(made['input_ids'])} in {len(words)} prompts; "
            "shorten them, or ask for fewer classes"
        )
    spans = []
    begin = 0
    for word in words:
        end = begin + len(_plain(word))
        inside = [i for i, (a, b) in enumerate(made["offset_mapping"]) if b > a and a >= begin and b <= end]
        if not inside:
            raise ModelError(f"model.prompts: the tokenizer finds nothing in {word!r}; give other words")
        spans.append((inside[0], inside[-1] + 1))
        begin = end + 2
    return spans
