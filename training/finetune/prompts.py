"""The training part as token ids, and the rows that SFT trains on.

They are kept on disk: a run that is resumed writes no prompt again.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset as Rows
from datasets import Features, Value, disable_progress_bars, load_from_disk
from datasets import List as ListOf

import app.answers
import app.prompting
import app.retrieval
import training.examples
from app.domain import Json
from app.errors import PromptTooLong, SetupError
from training.common.code_digests import code_digest
from training.common.seeding import shuffled_by_hash
from training.common.stages import Progress, Workspace, digest, only_here
from training.data.benchmark import OpenedBenchmark
from training.data.records import Instance, Part
from training.examples import Examples, Question
from training.finetune.batches import AnswerCollator
from training.finetune.config import FinetuneConfig
from training.finetune.models import load_tokenizer
from training.finetune.sources import Sources

_VERSION = 1
_ARROW = "data-00000-of-00001.arrow"
"""The file with the rows in the folder that `save_to_disk` writes."""
_TOKENS = ListOf(Value("int32"))
_FEATURES = Features(
    {"id": Value("string"), "prompt": _TOKENS, "answer": _TOKENS, "label": Value("int32"), "length": Value("int32")}
)
"""Columns of a row: the instance's id; the prompt's tokens; those of the right call, with the one that ends it; where
in the answer the label stands (-1 in formats without labels); the number of tokens of both together."""


@dataclass(frozen=True)
class TrainingSet:
    """What a stage trains on."""

    train: Rows
    held_out: Rows
    collator: Any
    digest: str
    """Of what decides the rows."""
    pairs: Mapping[str, Json] | None = None
    """DPO: counts of the pairs by where they come from."""

    @property
    def counts(self) -> dict[str, int]:
        return {"examples": len(self.train), "held_out": len(self.held_out), "tokens": sum(self.train["length"])}


@dataclass(frozen=True)
class WrittenExamples:
    """The examples of a run, on disk."""

    rows: Rows
    """`_FEATURES`, in no order that means anything."""
    digest: str
    """Of the rows' content, whichever code wrote them."""

    def split(self, held_out: int, seed: int) -> tuple[Rows, Rows]:
        """Return the rows to train on, and `held_out` others to evaluate during training.

        A hash of the ids decides, so that every stage holds out the same.
        """
        ids = list(self.rows["id"])
        chosen = set(self.held_out_ids(held_out, seed))
        places = range(len(ids))
        train = [place for place in places if ids[place] not in chosen]
        return self.rows.select(train), self.rows.select([place for place in places if ids[place] in chosen])

    def held_out_ids(self, count: int, seed: int) -> list[str]:
        return shuffled_by_hash(self.rows["id"], seed, "held out")[:count]


def gather_sft(
    benchmark: OpenedBenchmark, sources: Sources, config: FinetuneConfig, progress: Progress, *, main: bool
) -> TrainingSet:
    """Return prompts with their right calls (paper, section 4, first stage).

    `main` is whether this process is the main one. Raises SetupError as `write_examples` does.
    """
    written = write_examples(benchmark, sources, config, progress, lock=main)
    train, held_out = written.split(config.evaluation.instances, config.seed)
    pad = load_tokenizer(sources.base).pad_token_id
    return TrainingSet(train, held_out, AnswerCollator(pad, config.label_weight), written.digest)


def training_instances(benchmark: OpenedBenchmark, config: FinetuneConfig) -> list[Instance]:
    """Return the instances of the training part in the config's settings. Raises SetupError where there are too few."""
    of_settings = [each for each in benchmark.dataset.of(Part.TRAIN) if each.setting in config.settings]
    if config.instances is not None:
        # From all settings alike, whatever the file's order.
        by_id = {each.id: each for each in of_settings}
        of_settings = [by_id[name] for name in shuffled_by_hash(by_id, config.seed, "chosen")[: config.instances]]
    if len(of_settings) <= config.evaluation.instances:
        raise SetupError(
            f"{benchmark.directory} has {len(of_settings)} training instances of these settings, and "
            f"evaluation.instances holds {config.evaluation.instances} of them out: hold out fewer."
        )
    return of_settings


def write_examples(
    benchmark: OpenedBenchmark, sources: Sources, config: FinetuneConfig, progress: Progress, *, lock: bool = True
) -> WrittenExamples:
    """Write the examples, or read them where they are on disk already.

    `lock` keeps other processes out; False where another process of the same run has just written them. Raises
    SetupError that names an instance that does not fit the budget or the model.
    """
    instances = training_instances(benchmark, config)
    settings: dict[str, Json] = {
        "data": benchmark.data.digest,
        "instances": digest(sorted(each.id for each in instances)),
        "format": sources.format.name,
        "budget": sources.budget,
        "context": sources.context,
        "tokenizer": sources.tokenizer_digest,
        "hints": benchmark.hints_digest(sources.format),
        # A change of the code that writes prompts may make other prompts.
        "code": code_digest(app.answers, app.prompting, app.retrieval, training.examples),
    }
    directory = config.work / "prompts" / digest(settings)[:16]

    def produce(out: Path) -> Mapping[str, Json]:
        questions = benchmark.questions(progress, format=sources.format).of(instances, progress)
        rows = Rows.from_list(list(_encode(questions, sources, progress)), features=_FEATURES)
        disable_progress_bars()
        rows.save_to_disk(out / "rows", num_shards=1)
        return {"examples": len(rows)}

    with only_here(directory) if lock else nullcontext():
        stage = Workspace(directory, progress).run("examples", produce, version=_VERSION, settings=settings)
    rows = load_from_disk(stage.path("rows"))
    assert isinstance(rows, Rows)
    return WrittenExamples(rows, str(stage.manifest["outputs"][f"rows/{_ARROW}"]))


def _encode(questions: Sequence[Question], sources: Sources, progress: Progress) -> Iterator[dict[str, Any]]:
    """Yield rows of `_FEATURES`. Raises SetupError that names an instance that does not fit: nothing is cut."""
    examples = Examples(sources.tokenizer, sources.format, sources.budget)
    progress.start("Writing prompts", len(questions))
    for question in questions:
        name = question.instance.id
        try:
            prompt = examples.prompt(question)
        except PromptTooLong as error:
            raise SetupError(f"Instance {name} has no prompt: {error.detail}") from error
        answer = examples.answer(question, prompt)
        length = len(prompt.token_ids) + len(answer)
        if length > sources.context:
            raise SetupError(
                f"Instance {name} has {length} tokens with its answer, and {sources.base_name} takes "
                f"{sources.context}: lower prompt_tokens ({sources.budget})."
            )
        yield {
            "id": name,
            "prompt": list(prompt.token_ids),
            "answer": list(answer),
            "label": _label_place(question, prompt.label_ids, answer),
            "length": length,
        }
        progress.advance(1)


def _label_place(question: Question, label_ids: Sequence[int], answer: Sequence[int]) -> int:
    if not label_ids:
        return -1
    names = [candidate.tool.name for candidate in question.ordered]
    return list(answer).index(label_ids[names.index(question.instance.answer.tool_name)])
