"""The training part as token ids, kept on disk: a run that is resumed writes no prompt again."""

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
from training.finetune.config import FinetuneConfig
from training.finetune.sources import Sources

_VERSION = 1
_ARROW = "data-00000-of-00001.arrow"
"""The rows, in what `save_to_disk` writes."""
_TOKENS = ListOf(Value("int32"))
FEATURES = Features(
    {"id": Value("string"), "prompt": _TOKENS, "answer": _TOKENS, "label": Value("int32"), "length": Value("int32")}
)
"""Of a row: the instance's id; the prompt; the right call with the token that ends it; where in the answer the label
stands (-1 in formats without); tokens of both together."""


@dataclass(frozen=True)
class Written:
    """The examples of a run."""

    rows: Rows
    """`FEATURES`, in no order that means anything."""
    digest: str
    """Of what is in the rows, whichever code wrote them."""

    def split(self, held_out: int, seed: int) -> tuple[Rows, Rows]:
        """To train on, and `held_out` for evaluation in training: by a hash of the ids, so the same in every stage."""
        ids = list(self.rows["id"])
        chosen = set(self.held_out_ids(held_out, seed))
        places = range(len(ids))
        train = [place for place in places if ids[place] not in chosen]
        return self.rows.select(train), self.rows.select([place for place in places if ids[place] in chosen])

    def held_out_ids(self, count: int, seed: int) -> list[str]:
        return shuffled_by_hash(self.rows["id"], seed, "held out")[:count]


def instances_of(benchmark: OpenedBenchmark, config: FinetuneConfig) -> list[Instance]:
    """Of the training part, those of the config's settings; SetupError where there are too few."""
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
    benchmark: OpenedBenchmark, sources: Sources, config: FinetuneConfig, progress: Progress, *, alone: bool = True
) -> Written:
    """Reads them where they are on disk. SetupError names an instance that fits neither budget nor model.

    `alone`: False where another process has just written them.
    """
    instances = instances_of(benchmark, config)
    settings: dict[str, Json] = {
        "data": benchmark.data.digest,
        "instances": digest(sorted(each.id for each in instances)),
        "format": sources.format.name,
        "budget": sources.budget,
        "context": sources.context,
        "tokenizer": sources.tokenizer_digest,
        "hints": benchmark.hints_digest(sources.format),
        # What decides what a prompt says: a change makes other prompts.
        "code": code_digest(app.answers, app.prompting, app.retrieval, training.examples),
    }
    directory = config.work / "prompts" / digest(settings)[:16]

    def produce(out: Path) -> Mapping[str, Json]:
        questions = benchmark.questions(progress, format=sources.format).of(instances, progress)
        rows = Rows.from_list(list(encoded(questions, sources, progress)), features=FEATURES)
        disable_progress_bars()
        rows.save_to_disk(out / "rows", num_shards=1)
        return {"examples": len(rows)}

    with only_here(directory) if alone else nullcontext():
        stage = Workspace(directory, progress).run("examples", produce, version=_VERSION, settings=settings)
    rows = load_from_disk(stage.path("rows"))
    assert isinstance(rows, Rows)
    return Written(rows, str(stage.manifest["outputs"][f"rows/{_ARROW}"]))


def encoded(questions: Sequence[Question], sources: Sources, progress: Progress) -> Iterator[dict[str, Any]]:
    """Rows of `FEATURES`. SetupError names the instance that does not fit: nothing is cut."""
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
