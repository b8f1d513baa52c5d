"""A trained adapter as a directory that the service takes: peft's layout, learning curves, card and manifest."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from safetensors import safe_open

from app.domain import Json
from app.model_files.manifest import Manifest, TrainingData, file_digests, write_manifest
from training.common.plots import draw_lines, save_png, themed
from training.common.stages import put_in_place, told
from training.finetune.config import FinetuneConfig
from training.finetune.sources import Sources

ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
"""Peft's: config, and weights."""
_CURVES = {
    "loss": ("loss.png", "loss, nats"),
    "rewards/accuracies": ("reward-accuracy.png", "reward accuracy"),
    "rewards/margins": ("reward-margins.png", "reward margin, nats"),
}
"""Files and labels of the curves that are drawn, by the name in the log."""


@dataclass(frozen=True)
class FinishedTraining:
    """What manifest and card say about a run that has just ended."""

    config: FinetuneConfig
    sources: Sources
    data: TrainingData
    fingerprint: str
    examples: Mapping[str, int]
    """How many examples were trained on and held out, and the tokens of the former."""
    pairs: Mapping[str, Json] | None
    """DPO: counts of the pairs by where they come from."""
    log: Sequence[Mapping[str, Any]]
    """transformers' `TrainerState.log_history`."""
    revision: str

    @property
    def scores(self) -> dict[str, Json]:
        """The last logged values, by their names in the log, of training and of the held-out instances."""
        scores: dict[str, Json] = {}
        for name in ("loss", "mean_token_accuracy", "rewards/accuracies", "rewards/margins"):
            for key in (name, f"eval_{name}"):
                if points := _logged(self.log, key):
                    scores[key] = round(points[-1][1], 6)
        return {"steps": max((int(row["step"]) for row in self.log), default=0), **self.examples, **scores}


def publish_adapter(finished: FinishedTraining, saved: Path, out: Path) -> Manifest:
    """Make the directory `out` from what the trainer saved; it replaces an older adapter there at once.

    Raises SetupError where the disk does not take it.
    """
    partial = out.parent / f".{out.name}.partial"
    with told(partial):
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        for name in ADAPTER_FILES:
            shutil.copy2(saved / name, partial / name)
        _check_matrices(partial)
        _tidy_config(partial / ADAPTER_FILES[0], finished.config.base)
        charts = _write_curves(finished.log, partial)
        manifest = _build_manifest(finished, partial)
        (partial / "README.md").write_text(_card(manifest, finished, charts), "utf-8")
        write_manifest(partial, manifest)
        put_in_place(partial, out)
    return manifest


def _build_manifest(finished: FinishedTraining, directory: Path) -> Manifest:
    config, sources = finished.config, finished.sources
    return Manifest(
        kind="adapter",
        name=config.name,
        stage=config.stage,
        base=sources.base_weights,
        prompt_format=sources.format.name,
        prompt_tokens=sources.budget,
        data=finished.data,
        config={
            "run": config.model_dump(mode="json", exclude={"work", "out"}),
            "fingerprint": finished.fingerprint,
            **({"pairs": dict(finished.pairs)} if finished.pairs is not None else {}),
        },
        revision=finished.revision,
        scores=finished.scores,
        files=file_digests(directory),
    )


def _check_matrices(directory: Path) -> None:
    """Raises RuntimeError where peft saved less than it trained: wrappers around layers can make it do so silently."""
    values = json.loads((directory / ADAPTER_FILES[0]).read_text("utf-8"))
    with safe_open(directory / ADAPTER_FILES[1], framework="np") as file:
        names = list(file.keys())
    modules = {name.split(".")[-3] for name in names}
    if modules != set(values["target_modules"]) or any("_wrapped" in name for name in names):
        raise RuntimeError(f"peft saved matrices of {sorted(modules)}, but trained {sorted(values['target_modules'])}.")


def _tidy_config(path: Path, base: str) -> None:
    """Name the base as the config does, not by the folder of one machine's cache, and put sets into a fixed order."""
    values: dict[str, Any] = json.loads(path.read_text("utf-8"))
    values["base_model_name_or_path"] = base
    values["target_modules"] = sorted(values["target_modules"])
    path.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", "utf-8")


def _card(manifest: Manifest, finished: FinishedTraining, charts: Sequence[str]) -> str:
    assert manifest.base is not None
    config, scores = finished.config, manifest.scores
    what = {"sft": "supervised fine-tuning", "dpo": "direct preference optimization"}[manifest.stage]
    lines = [
        f"# {manifest.name}",
        "",
        f"A LoRA adapter of `{manifest.base.name}` (weights SHA-256 `{manifest.base.digest[:16]}…`), trained by {what} "
        f"on the benchmark `{manifest.data.config}` (seed {manifest.data.seed}, data SHA-256 "
        f"`{manifest.data.digest[:16]}…`), git revision `{manifest.revision[:12] or 'unknown'}`. `petool.json` says "
        "the same for programs, with the hashes of the files.",
        "",
        f"Ask it in the prompt format `{manifest.prompt_format}` with at most {manifest.prompt_tokens:,} tokens, as it "
        "was trained; it was trained to write the answer of that format and nothing else.",
        "",
        "| | |",
        "|---|---|",
        *(f"| {name} | {value} |" for name, value in _facts(config).items()),
        *(f"| {name.replace('_', ' ')} | {_format(value)} |" for name, value in scores.items()),
    ]
    if finished.pairs is not None:
        lines += ["", "Pairs:", "", "```", json.dumps(dict(finished.pairs), indent=1), "```"]
    lines += ["", *(f"![{chart.removesuffix('.png')}]({chart})" for chart in charts)]
    return "\n".join(lines) + "\n"


def _facts(config: FinetuneConfig) -> dict[str, str]:
    facts = {
        "learning rate": f"{config.lr:g}, {config.schedule}, warm-up {config.warmup:g}",
        "batch": str(config.batch),
        "epochs": f"{config.epochs:g}" if config.max_steps is None else f"{config.max_steps} steps",
        "seed": str(config.seed),
        "numbers": f"{config.dtype} weights"
        + (", nf4" if config.quantization == "nf4" else "")
        + (", bfloat16 products" if config.autocast else ""),
        "settings": ", ".join(each.value for each in config.settings),
    }
    if config.stage == "dpo":
        return {**facts, "beta": f"{config.beta:g}", "started from": str(config.adapter)}
    lora = config.lora
    facts["LoRA"] = f"r {lora.r}, alpha {lora.alpha}, dropout {lora.dropout:g}, {', '.join(lora.target_modules)}"
    return {**facts, "weight of the label's loss": f"{config.label_weight:g}"}


def _format(value: Json) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}" if isinstance(value, float) else str(value)


def _logged(log: Sequence[Mapping[str, Any]], name: str) -> list[tuple[int, float]]:
    """Return (step, value) of everything that was logged under the name."""
    return [(int(row["step"]), float(row[name])) for row in log if name in row]


def _write_curves(log: Sequence[Mapping[str, Any]], directory: Path) -> list[str]:
    """Draw the curves of what was logged, and return the names of the files."""
    written = []
    for name, (file, label) in _CURVES.items():
        curves = {"training": _logged(log, name), "held out": _logged(log, f"eval_{name}")}
        curves = {title: points for title, points in curves.items() if points}
        if curves:
            with themed():
                figure = Figure(figsize=(7, 3.5))
                draw_lines(figure.subplots(), curves, xlabel="step", ylabel=label)
                save_png(figure, directory / file)
            written.append(file)
    return written
