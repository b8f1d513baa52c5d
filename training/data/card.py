"""The README of the finished benchmark: a dataset card as Hugging Face reads it."""

from collections.abc import Mapping
from typing import TypedDict

import yaml

from app.domain import HistorySetting, Json
from training.data.records import Part


class _DataFile(TypedDict):
    split: str
    path: str


_SETTINGS = (HistorySetting.PREFERRED_ONLY, HistorySetting.RATING_INTEGRATED, HistorySetting.CHRONOLOGICAL)
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
_PARTS = {
    Part.TRAIN: "To train on.",
    Part.TEST: "Other users than in `train`.",
    Part.UNSEEN: "Other users, and tools and groups that `train` does not have in any role. Ours, not the paper's.",
}
_WHAT = """\
Personalized tool calling: an instruction, the user's earlier interactions, ten candidate tools, and the one call that
this user would want. Several candidates can do the job; they differ in what they are like (provider, audience, region,
price), and which of them is right shows only in the history. It is PEToolBench (Xu et al., 2025, section 3.2) built
anew from a tool catalogue with the project's `petool-train`; it is not the authors' data.

The history comes in three settings: `preferred_only` (the user prefers every tool that was used), `rating_integrated`
(each interaction is liked or disliked) and `chronological` (the later a tool was used, the more it is preferred)."""
_BUILT = """\
1. Tool documents that are deprecated, repeated or hardly documented are dropped.
2. Of each tool a text tells what it does, and another what it is like apart from that.
3. Tools with the same function and the same input and output form groups.
4. Of a group a user prefers one tool, and with it the tools that are most like it in other groups. The tool that will
   be asked for is kept out of the history.
5. A history gets an instruction, parameters and a date for each tool that it shows.
6. Instructions are written for the tool asked for; they do not tell which tool of its group is meant.
7. Ten candidates: the right tool, the others of its group, tools that a retriever finds, and some by chance.
8. Users go to the parts, so that no user is in two."""
_FIELDS = """\
| field | |
|---|---|
| `id`, `user_id`, `part` | |
| `setting` | `preferred_only`, `rating_integrated` or `chronological` |
| `history` | oldest first: `instruction`, the call, `rating` (`liked`, `disliked` or null), `occurred_at` |
| `instruction` | what the user asks for now |
| `candidates` | names of tools, in the order of the prompt |
| `answer` | the right call: `tool_name` and `parameters` |
| `same_function` | the candidates that could do the job too, but that the user does not prefer |
| `asked_at` | when (ISO 8601 in JSON Lines, a timestamp in Parquet; UTC) |

The call of an interaction is `tool_call` in JSON Lines; in Parquet `tool_name` and `parameters` stand beside the
instruction. `tools.jsonl` and `tools.parquet` have the documents of all tools that are named. In Parquet, parameters,
schemas, defaults and `response_schema` are JSON texts, as their types differ from tool to tool."""
_LIMITS = """\
- Users, histories and preferences are made up by rule: a user's taste is steadier than a person's.
- Which tools have the same function is found by embeddings and input formats, not by hand.
- One call answers an instruction; there are no calls in sequence, and no results of calls.
- Dates, cities and other values in calls are plausible, not checked against any service. No tool was ever called.
- English only.
- {writer}"""
_WRITERS = {
    "template": "The texts are written by templates. They are valid, but less varied than a language model's or a "
    "person's; scores on them are not comparable to those published for PEToolBench.",
}
_OTHER_WRITER = "The texts are written by a language model ({writer}) and have its style and its faults."
_CITATION = """\
```bibtex
@misc{xu2025petoolllm,
  title = {PEToolLLM: Towards Personalized Tool Learning in Large Language Models},
  author = {Qiancheng Xu and Yongqi Li and Heming Xia and Wenjie Li},
  year = {2025},
  eprint = {2502.18980},
  archivePrefix = {arXiv},
  primaryClass = {cs.CL}
}
```"""


def dataset_card(facts: Mapping[str, Json]) -> str:
    """Markdown with YAML front matter: a config for Parquet (the default), one for JSON Lines, one for the tools.

    `facts`: `config` (its name), `seed`, `writer` ("template", or a model's name), `tools`, `categories`, `instances`
    (by part, by setting: how many), and perhaps `revision` (of git). KeyError where another one is missing. Parts
    without instances are left out.
    """
    parts = [part for part in Part if sum(facts["instances"].get(part.value, {}).values())]
    sections = {
        "": f"# {_title(facts)}\n\n{_WHAT}",
        "How it was built": f"{_BUILT}\n\n{_origin(facts)}",
        "Parts": _counts(facts, parts),
        "Fields": _FIELDS,
        "Known limits": _LIMITS.format(writer=_about_writer(facts["writer"])),
        "Citation": _CITATION,
    }
    body = "\n\n".join(f"## {heading}\n\n{text}" if heading else text for heading, text in sections.items())
    return f"---\n{_front_matter(facts, parts)}---\n\n{body}\n"


def _title(facts: Mapping[str, Json]) -> str:
    return f"PEToolBench, rebuilt ({facts['config']})"


def _front_matter(facts: Mapping[str, Json], parts: list[Part]) -> str:
    total = sum(_count(facts, part, setting) for part in parts for setting in _SETTINGS)
    values = {
        "pretty_name": _title(facts),
        "language": ["en"],
        "task_categories": ["text-generation"],
        "tags": ["tool-use", "function-calling", "personalization", "synthetic"],
        "size_categories": [next((name for below, name in _SIZES if total < below), "n>1M")],
        "configs": [
            {"config_name": "parquet", "default": True, "data_files": _files(parts, "parquet")},
            {"config_name": "jsonl", "data_files": _files(parts, "jsonl")},
            {"config_name": "tools", "data_files": "tools.parquet"},
        ],
    }
    return str(yaml.safe_dump(values, sort_keys=False, allow_unicode=True))


def _files(parts: list[Part], suffix: str) -> list[_DataFile]:
    return [{"split": part.value, "path": f"{part.value}.{suffix}"} for part in parts]


def _origin(facts: Mapping[str, Json]) -> str:
    revision = f", git revision `{facts['revision']}`" if facts.get("revision") else ""
    return (
        f"Config `{facts['config']}`, seed {facts['seed']}, texts by `{facts['writer']}`{revision}. The catalogue has "
        f"{facts['tools']:,} tools in {facts['categories']:,} categories. Where templates write, the same config "
        "and code give the same instances again."
    )


def _counts(facts: Mapping[str, Json], parts: list[Part]) -> str:
    lines = ["| part | " + " | ".join(f"`{setting.value}`" for setting in _SETTINGS) + " | all | |"]
    lines.append("|---|" + "--:|" * (len(_SETTINGS) + 1) + "---|")
    for part in parts:
        counts = [_count(facts, part, setting) for setting in _SETTINGS]
        numbers = " | ".join(f"{count:,}" for count in [*counts, sum(counts)])
        lines.append(f"| `{part.value}` | {numbers} | {_PARTS[part]} |")
    return "\n".join(lines)


def _count(facts: Mapping[str, Json], part: Part, setting: HistorySetting) -> int:
    return int(facts["instances"].get(part.value, {}).get(setting.value, 0))


def _about_writer(writer: str) -> str:
    return _WRITERS.get(writer) or _OTHER_WRITER.format(writer=writer)
