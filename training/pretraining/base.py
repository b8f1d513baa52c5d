"""The base model's directory: tokenizer, weights, card, manifest."""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from app.answers.reading import write_answer
from app.domain import Json, Tool
from app.model_files.manifest import Manifest, file_digests, write_manifest
from app.prompting.formats import format_named
from app.prompting.text import json_text
from app.prompting.tokenizer import PromptTokenizer
from training.common.plots import draw_lines, save_png, themed
from training.common.revision import revision
from training.common.stages import MANIFEST as STAGE_MANIFEST
from training.common.stages import Progress, Workspace, digest, only_here, put_in_place, told
from training.data.benchmark import OpenedBenchmark
from training.data.records import Part
from training.pretraining.config import SmallConfig
from training.pretraining.pretrain import Pretrainer, Writer
from training.pretraining.tokenizer import BEGIN, END, PAD, save_tokenizer, train_tokenizer
from training.pretraining.uses import Use, uses_of

_VERSION = 1
_LOG = "training.json"
_LENGTH = ("examples", "decay")
_SCORES = ("examples", "tokens", "loss", "label_accuracy", "parameter_accuracy")


@dataclass(frozen=True)
class Material:
    """What the base is made from: the training part's histories. Its right calls are left to the adapters."""

    tools: Mapping[str, Tool]
    uses: Sequence[Use]

    @classmethod
    def of(cls, benchmark: OpenedBenchmark) -> "Material":
        train = benchmark.dataset.of(Part.TRAIN)
        uses = uses_of(train, answers=False)
        named = {name for instance in train for name in instance.candidates} | {use.call.tool_name for use in uses}
        return cls({name: benchmark.dataset.tools[name] for name in sorted(named)}, uses)

    def texts(self) -> Iterator[str]:
        """What the tokenizer is trained on: documents, instructions, calls, as prompts and answers hold them."""
        style = format_named("terse-1").answer
        for tool in self.tools.values():
            document = {each.name: f"{each.schema.get('type', '')}; {each.description}" for each in tool.parameters}
            yield json_text({"tool_name": tool.name, "required": document})
        for use in self.uses:
            answer = write_answer(self.tools[use.call.tool_name], use.call.parameters, "A", style)
            yield f"{json_text(use.instruction)}\n{answer}"


def make_base(
    config: SmallConfig,
    benchmark: OpenedBenchmark,
    out: Path,
    work: Path,
    progress: Progress,
    tell: Callable[[str], None],
) -> Path:
    """Trains it in `work`, or goes on there after a stop, and puts it in `out`. What is finished is kept."""
    material = Material.of(benchmark)
    settings: dict[str, Json] = {"config": config.model_dump(mode="json"), "data": benchmark.data.digest}

    def produce(folder: Path) -> Mapping[str, Json]:
        checkpoints = work / f"pretraining-{digest(_begun_with(settings))[:12]}"
        return _made(config, material, benchmark, folder, checkpoints, progress, tell)

    with only_here(work):
        stage = Workspace(work, progress).run("base", produce, version=_VERSION, settings=settings)
    publish(stage.directory, out)
    return out


def _begun_with(settings: Mapping[str, Json]) -> Json:
    """What a checkpoint depends on: not how long training is to go on."""
    pretraining = {name: value for name, value in settings["config"]["pretraining"].items() if name not in _LENGTH}
    return {**settings, "config": {**settings["config"], "pretraining": pretraining}}


def _made(
    config: SmallConfig,
    material: Material,
    benchmark: OpenedBenchmark,
    folder: Path,
    checkpoints: Path,
    progress: Progress,
    tell: Callable[[str], None],
) -> dict[str, Json]:
    progress.start("Training the tokenizer", None)
    shape = config.architecture
    tokenizer = train_tokenizer(material.texts(), shape.vocabulary)
    save_tokenizer(tokenizer, folder, shape.context)
    special = {"bos_token": BEGIN, "eos_token": END, "pad_token": PAD}
    vocabulary = tokenizer.get_vocab()
    ids = {role: vocabulary[text] for role, text in special.items()}
    writer = Writer(config, PromptTokenizer.load(folder), dict(material.tools), material.uses)
    trainer = Pretrainer(config, writer, len(vocabulary), ids["pad_token"], checkpoints)
    log = trainer.train(progress, tell)
    trainer.network.save(folder, ids)
    (folder / _LOG).write_text(json.dumps(log, indent=1) + "\n", "utf-8")
    _write_chart(log, folder / "training.png")
    parameters = sum(each.numel() for each in trainer.network.parameters())
    scores: dict[str, Json] = {"parameters": parameters, **{key: log[-1][key] for key in _SCORES}}
    manifest = Manifest(
        kind="model",
        name=config.name,
        stage="base",
        base=None,
        prompt_format=config.prompt_format,
        prompt_tokens=config.prompt_tokens,
        data=benchmark.data,
        config=config.model_dump(mode="json"),
        revision=revision(),
        scores=scores,
        files=file_digests(folder),
    )
    (folder / "README.md").write_text(_card(manifest), "utf-8")
    write_manifest(folder, manifest)
    return scores


def _write_chart(log: Sequence[Mapping[str, Json]], path: Path) -> None:
    """Loss, and how often choice and parameters are right, by tokens read."""

    def points(key: str, scale: float = 1.0) -> list[tuple[float, float]]:
        return [(row["tokens"] / 1e6, scale * row[key]) for row in log]

    right = {"the choice": points("label_accuracy", 100), "all parameters": points("parameter_accuracy", 100)}
    with themed():
        figure = Figure(figsize=(9, 3.4))
        axes = figure.subplots(1, 2)
        x_label = "million tokens read"
        draw_lines(axes[0], {"loss": points("loss")}, title="loss on answers, nats", xlabel=x_label, ylim=(0, None))
        draw_lines(axes[1], right, title="right on uses never read, percent", xlabel=x_label, ylim=(0, 104))
        save_png(figure, path)


def publish(made: Path, out: Path) -> None:
    """A copy of a finished stage's files in `out`, whole or not at all."""
    partial = out.parent / f".{out.name}.partial"
    with told(out):
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(made, partial, ignore=shutil.ignore_patterns(STAGE_MANIFEST))
        put_in_place(partial, out)


def _card(manifest: Manifest) -> str:
    scores = manifest.scores
    return "\n".join(
        [
            f"# {manifest.name}",
            "",
            f"A Llama of {scores['parameters'] / 1e6:.1f} million parameters that calls tools, trained from nothing by "
            f"`petool-train reproduce` on the histories of the benchmark `{manifest.data.config}` (seed "
            f"{manifest.data.seed}, data SHA-256 `{manifest.data.digest[:16]}…`), git revision "
            f"`{manifest.revision[:12] or 'unknown'}`. It knows no user: adapters of it do.",
            "",
            f"Ask it in the prompt format `{manifest.prompt_format}` with at most {manifest.prompt_tokens:,} tokens: "
            "it understands nothing else. Transformers and vLLM load the directory as it is.",
            "",
            f"{scores['examples']:,} uses of tools read, {scores['tokens']:,} tokens. On uses that it never read: the "
            f"right tool of 1 to 10 in {100 * scores['label_accuracy']:.1f}%, all parameters of the right tool in "
            f"{100 * scores['parameter_accuracy']:.1f}% (by the likeliest token at each place of the right answer).",
            "",
            "![Training](training.png)",
            "",
        ]
    )
