"""Supervised fine-tuning: the right call after the prompt (paper, section 4, first stage)."""

from training.common.stages import Progress
from training.data.benchmark import OpenedBenchmark
from training.finetune.batches import AnswerCollator
from training.finetune.config import FinetuneConfig
from training.finetune.models import load_tokenizer
from training.finetune.prompts import write_examples
from training.finetune.run import Material
from training.finetune.sources import Sources


def gather_sft(
    benchmark: OpenedBenchmark, sources: Sources, config: FinetuneConfig, progress: Progress, main: bool
) -> Material:
    written = write_examples(benchmark, sources, config, progress, alone=main)
    train, held_out = written.split(config.evaluation.instances, config.seed)
    pad = load_tokenizer(sources.base).pad_token_id
    return Material(train, held_out, AnswerCollator(pad, config.label_weight), written.digest)
