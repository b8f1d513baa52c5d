"""A trained adapter as a directory that the service takes: peft's layout, plots, card and manifest."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import safe_open

from app.domain import Json
from app.model_files.manifest import Manifest, TrainingData, file_digests, write_manifest
from training.common.stages import put_in_place, told
from training.finetune.config import FinetuneConfig
from training.finetune.plots import History, series, write_plots
from training.finetune.sources import Sources

KEPT = ("adapter_config.json", "adapter_model.safetensors")


@dataclass(frozen=True)
class Outcome:
    """What there is to say of a run."""

    config: FinetuneConfig
    sources: Sources
    data: TrainingData
    fingerprint: str
    examples: Mapping[str, int]
    """How many were trained on and held out, and their tokens."""
    pairs: Mapping[str, Json] | None
    """DPO: where the pairs come from."""
    history: History
    revision: str

    @property
    def scores(self) -> dict[str, Json]:
        """Last values, by their name in the log; of training and of the held-out instances."""
        scores: dict[str, Json] = {}
        for name in ("loss", "mean_token_accuracy", "rewards/accuracies", "rewards/margins"):
            for key in (name, f"eval_{name}"):
                if points := series(self.history, key):
                    scores[key] = round(points[-1][1], 6)
        return {"steps": max((int(row["step"]) for row in self.history), default=0), **self.examples, **scores}


def publish(outcome: Outcome, saved: Path, out: Path) -> Manifest:
    """Makes `out` of what the trainer saved; an adapter that stood there gives way to it, whole.

    SetupError where the disk does not take it.
    """
    partial = out.parent / f".{out.name}.partial"
    with told(partial):
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        for name in KEPT:
            shutil.copy2(saved / name, partial / name)
        _check_whole(partial)
        _tidy_config(partial / KEPT[0], outcome.config.base)
        plots = write_plots(outcome.history, partial)
        manifest = manifest_of(outcome, partial)
        (partial / "README.md").write_text(card(manifest, outcome, plots), "utf-8")
        write_manifest(partial, manifest)
        put_in_place(partial, out)
    return manifest


def manifest_of(outcome: Outcome, directory: Path) -> Manifest:
    config, sources = outcome.config, outcome.sources
    return Manifest(
        kind="adapter",
        name=config.name,
        stage=config.stage,
        base=sources.base_weights,
        prompt_format=sources.format.name,
        prompt_tokens=sources.budget,
        data=outcome.data,
        config={
            "run": config.model_dump(mode="json", exclude={"work", "out"}),
            "fingerprint": outcome.fingerprint,
            **({"pairs": dict(outcome.pairs)} if outcome.pairs is not None else {}),
        },
        revision=outcome.revision,
        scores=outcome.scores,
        files=file_digests(directory),
    )


def _check_whole(directory: Path) -> None:
    """RuntimeError where peft saved less than it trained, which wrappers around layers can make it do quietly."""
    values = json.loads((directory / KEPT[0]).read_text("utf-8"))
    with safe_open(directory / KEPT[1], framework="np") as file:
        names = list(file.keys())
    modules = {name.split(".")[-3] for name in names}
    if modules != set(values["target_modules"]) or any("_wrapped" in name for name in names):
        raise RuntimeError(f"peft saved matrices of {sorted(modules)}, and trained {sorted(values['target_modules'])}.")


def _tidy_config(path: Path, base: str) -> None:
    """The base under the name that the config has, not the folder of one machine's cache; sets in a fixed order."""
    values: dict[str, Any] = json.loads(path.read_text("utf-8"))
    values["base_model_name_or_path"] = base
    values["target_modules"] = sorted(values["target_modules"])
    path.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", "utf-8")


def card(manifest: Manifest, outcome: Outcome, plots: Sequence[str]) -> str:
    assert manifest.base is not None
    config, scores = outcome.config, manifest.scores
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
        *(f"| {name.replace('_', ' ')} | {_shown(value)} |" for name, value in scores.items()),
    ]
    if outcome.pairs is not None:
        lines += ["", "Pairs:", "", "```", json.dumps(dict(outcome.pairs), indent=1), "```"]
    lines += ["", *(f"![{plot.removesuffix('.png')}]({plot})" for plot in plots)]
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


def _shown(value: Json) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}" if isinstance(value, float) else str(value)
