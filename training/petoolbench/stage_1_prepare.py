"""Stage 1: which documents are good enough to be tools of the benchmark (paper, section 3.2.1)."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.catalogue.parse import Import, parse
from app.catalogue.reader import SourceDocument, Unreadable, read_documents
from app.domain import Json, Tool
from app.errors import SetupError
from app.json_data.tools import tool_to_json
from app.retrieval.texts import split_name
from training.common.stages import Progress, write_rows
from training.petoolbench.config import PrepareConfig

TOOLS = "tools.jsonl"
DROPPED = "dropped.jsonl"
_BATCH = 512
_DEPRECATED = re.compile(r"\b(?:deprecated|obsolete|discontinued|no longer (?:available|supported|maintained))\b", re.I)
_WORD = re.compile(r"[^\W\d_]{2,}")
_FLAG = ("deprecated", "is_deprecated")


@dataclass(frozen=True)
class Dropped:
    location: str
    name: str
    reason: str
    """unreadable, not_importable, deprecated, too_little_documentation, repeated_name, repeated_description or
    category_name."""
    detail: str


def prepare(source: Path, config: PrepareConfig, directory: Path, progress: Progress) -> Mapping[str, Json]:
    """Tools of a file or folder in any import format. Raises SetupError where not two tools are left."""
    try:
        there = source.exists()
    except OSError:
        there = False
    if not there:
        raise SetupError(f"There is no file or folder {source} to take tools from.")
    kept: list[Tool] = []
    dropped: list[Dropped] = []
    documents = 0
    check = _Check(config)
    progress.start("Reading tool documents", None)
    for location, found in _tools(source):
        documents += 1
        progress.advance(1)
        if isinstance(found, Tool):
            fault = check.fault(found, deprecated=False)
        elif isinstance(found, _Deprecated):
            fault = check.fault(found.tool, deprecated=True)
            found = found.tool
        else:
            dropped.append(found)
            continue
        if fault is None:
            kept.append(found)
        else:
            dropped.append(Dropped(location, found.name, *fault))
    if len(kept) < 2:
        raise SetupError(f"{source} holds {len(kept)} usable tools of {documents} documents; a benchmark needs groups.")
    # By name: the order of the files decides no more than which of two that repeat each other stays.
    kept.sort(key=lambda tool: tool.name)
    write_rows(directory / TOOLS, map(tool_to_json, kept))
    write_rows(directory / DROPPED, (vars(each) for each in dropped))
    return {
        "documents": documents,
        "tools": len(kept),
        "categories": len({tool.category for tool in kept}),
        "dropped": dict(sorted(Counter(each.reason for each in dropped).items())),
        "examples": {each.reason: f"{each.name}: {each.detail}" for each in reversed(dropped)},
    }


@dataclass(frozen=True)
class _Deprecated:
    tool: Tool


def _tools(source: Path) -> Iterator[tuple[str, Tool | _Deprecated | Dropped]]:
    """Every document's tools, or why it is none, in the order of the files."""
    whole = Import()
    for batch in _batches(read_documents(source)):
        for item in batch:
            if isinstance(item, Unreadable):
                yield item.location, Dropped(item.location, "", "unreadable", item.reason)
        readable = [item for item in batch if isinstance(item, SourceDocument)]
        yield from _parsed([(item.location, _without_flagged(item.raw)) for item in readable], whole, _live)
        # Apart from the others: one that is deprecated must not cost the live one of its name.
        flagged = [(item.location, raw) for item in readable for raw in [_only_flagged(item.raw)] if raw is not None]
        yield from _parsed(flagged, Import(), _Deprecated)


def _parsed(
    documents: Sequence[tuple[str, Json]], whole: Import, of: Callable[[Tool], Tool | _Deprecated]
) -> Iterator[tuple[str, Tool | _Deprecated | Dropped]]:
    """`documents` are (location, raw); those that are None are passed over."""
    given = [(location, raw) for location, raw in documents if raw is not None]
    places = whole.places = [location for location, _ in given]
    parsed = parse(None, [raw for _, raw in given], whole)
    for rejection in parsed.rejections:
        reason = "repeated_name" if rejection.reason.startswith("same name as") else "not_importable"
        yield places[rejection.index], Dropped(places[rejection.index], rejection.name, reason, rejection.reason)
    for index, name in parsed.duplicates:
        yield places[index], Dropped(places[index], name, "repeated_name", "repeats an earlier document")
    for index, tool in parsed.tools:
        yield places[index], of(tool)


def _live(tool: Tool) -> Tool:
    return tool


def _batches(
    documents: Iterable[SourceDocument | Unreadable],
) -> Iterator[Sequence[SourceDocument | Unreadable]]:
    batch: list[SourceDocument | Unreadable] = []
    for document in documents:
        batch.append(document)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _is_flagged(raw: Json) -> bool:
    return isinstance(raw, Mapping) and any(raw.get(key) in (True, "true", "True", 1) for key in _FLAG)


def _without_flagged(raw: Json) -> Json:
    """The document without what is marked as deprecated; None where nothing else is in it."""
    if _is_flagged(raw):
        return None
    apis = raw.get("api_list") if isinstance(raw, Mapping) else None
    if not isinstance(apis, list) or not any(map(_is_flagged, apis)):
        return raw
    left = [api for api in apis if not _is_flagged(api)]
    return {**raw, "api_list": left} if left else None


def _only_flagged(raw: Json) -> Json:
    """What is marked as deprecated of it; None where nothing is."""
    if _is_flagged(raw):
        return raw
    apis = raw.get("api_list") if isinstance(raw, Mapping) else None
    flagged = [api for api in apis if _is_flagged(api)] if isinstance(apis, list) else []
    return {**raw, "api_list": flagged} if flagged else None


class _Check:
    """Remembers what came before: of two with one description the first stays."""

    def __init__(self, config: PrepareConfig) -> None:
        self._config = config
        self._names: dict[str, str] = {}
        self._descriptions: dict[str, str] = {}

    def fault(self, tool: Tool, *, deprecated: bool) -> tuple[str, str] | None:
        """Why the tool is not taken, as (reason, detail)."""
        if deprecated or _DEPRECATED.search(f"{tool.api} {tool.description[:300]}"):
            return "deprecated", "its document says so"
        if _plain(tool.api) == _plain(tool.category) or (
            tool.provider and _plain(tool.provider) == _plain(tool.category)
        ):
            return "category_name", "its name is that of the category"
        words = _own_words(tool)
        if len(words) < self._config.min_words:
            return "too_little_documentation", f"{len(words)} words of its own"
        name = _plain(tool.name)
        if name in self._names:
            return "repeated_name", f"as {self._names[name]}"
        said = _plain(tool.description)
        if said and said in self._descriptions:
            return "repeated_description", f"as {self._descriptions[said]}"
        self._names[name] = self._descriptions[said] = tool.name
        return None


def _plain(text: str) -> str:
    return " ".join(split_name(text).casefold().split())


def _own_words(tool: Tool) -> set[str]:
    """Words that say something which category and provider do not."""
    known = set(_WORD.findall(_plain(f"{tool.category} {tool.provider}")))
    return {word for word in _WORD.findall(_plain(f"{tool.api} {tool.description}")) if word not in known}
