"""A tool's parameters, filled from an instruction without a model."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime

from app.domain import Json, Parameter, Tool
from app.extraction.mentioned import listed, member_candidates, switch_candidate, takes_list
from app.extraction.mentions import cued_spans
from app.extraction.profile import Profile, profile_of
from app.extraction.reading import read_spans
from app.extraction.scoring import OPTIONAL_THRESHOLD, REQUIRED_THRESHOLD, score, span_role
from app.extraction.spans import Span
from app.extraction.text import Text, name_words, stem
from app.extraction.topic import sentence_relevance, topic_span
from app.extraction.values import fitting, value_of

_PARTS_OF_A_DATE = frozenset(("year", "month", "day"))
_SOURCES = {
    "proper": "name",
    "capitals": "name",
    "word": "cue",
    "clause": "cue",
    "latitude": "coordinate",
    "longitude": "coordinate",
}


@dataclass(frozen=True)
class Extraction:
    parameters: dict[str, Json]
    """Every value is valid under its parameter's schema."""
    missing: tuple[str, ...]
    """Required parameters for which neither the instruction nor the document has a value."""
    sources: dict[str, str]
    """How each value was found: quoted, number, date, name, cue, member, switch, topic, default, or a kind of span."""


@dataclass(slots=True)
class _Wanted:
    parameter: Parameter
    profile: Profile
    threshold: float
    """Score that a value needs."""


@dataclass(slots=True)
class _Offer:
    score: float
    wanted: _Wanted
    span: Span
    value: Json


@dataclass(slots=True)
class _Filled:
    values: dict[str, Json] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    spans: list[tuple[Span, str]] = field(default_factory=list)

    def free(self, span: Span, kind: str) -> bool:
        """A piece of text serves one parameter; only a date may give its year, month and day to three."""
        for used, by in self.spans:
            if used.overlaps(span) and not (kind in _PARTS_OF_A_DATE and by in _PARTS_OF_A_DATE and kind != by):
                return False
        return True

    def put(self, offer: _Offer) -> None:
        name = offer.wanted.parameter.name
        self.values[name] = offer.value
        self.sources[name] = _SOURCES.get(offer.span.kind, offer.span.kind)
        self.spans.append((offer.span, offer.wanted.profile.kind))


def extract_parameters(instruction: str, tool: Tool, *, now: datetime) -> Extraction:
    """Fills the tool's parameters from the instruction; relative dates are read at `now`.

    Optional parameters get a value only where the instruction states one; required ones fall back on the document's
    default. Deterministic, linear in the instruction, and without errors for any input.
    """
    filled = _Filled()
    if tool.parameters and instruction.strip():
        wanted = [_Wanted(each, profile_of(each), _threshold(each, tool)) for each in tool.parameters]
        _fill(Text(instruction), wanted, filled, tool, now)
    missing = []
    for parameter in tool.parameters:
        if parameter.required and parameter.name not in filled.values:
            default = fitting(parameter, parameter.default)
            if default is None:
                missing.append(parameter.name)
            else:
                filled.values[parameter.name] = default
                filled.sources[parameter.name] = "default"
    order = [parameter.name for parameter in tool.parameters if parameter.name in filled.values]
    return Extraction(
        {name: filled.values[name] for name in order}, tuple(missing), {name: filled.sources[name] for name in order}
    )


def _threshold(parameter: Parameter, tool: Tool) -> float:
    """Where a document requires nothing, its optional parameters are what the call is about."""
    if parameter.required or len(tool.parameters) == 1:
        return REQUIRED_THRESHOLD
    required = any(each.required for each in tool.parameters)
    return OPTIONAL_THRESHOLD if required else REQUIRED_THRESHOLD + 6.0


def _fill(text: Text, wanted: list[_Wanted], filled: _Filled, tool: Tool, now: datetime) -> None:
    tool_stems = _tool_stems(tool)
    relevance = sentence_relevance(text, tool_stems)
    spans = read_spans(text, now)
    offers = [
        *_span_offers(text, wanted, spans, tool_stems, relevance),
        *_mentioned_offers(text, wanted, spans, relevance),
    ]
    offers.sort(key=lambda offer: (-offer.score, offer.span.start, offer.span.end))
    for offer in offers:
        if offer.wanted.parameter.name not in filled.values and filled.free(offer.span, offer.wanted.profile.kind):
            _extend(text, offer, spans)
            filled.put(offer)
    _fill_topic(text, wanted, filled, tool_stems, relevance)


def _tool_stems(tool: Tool) -> frozenset[str]:
    parts = [tool.api, tool.provider, tool.category]
    split = [word for part in parts for word in name_words(part)]
    whole = [word.strip("()[],:-").lower() for part in parts for word in part[:200].split()]
    return frozenset(stem(word) for word in (*split, *whole) if len(word) > 2)


def _span_offers(
    text: Text, wanted: list[_Wanted], spans: list[Span], tool_stems: frozenset[str], relevance: list[float]
) -> Iterator[_Offer]:
    hints = _order_hints(text, spans)
    required = [each for each in wanted if each.parameter.required]
    alone = required[0] if len(required) == 1 else None
    for each in wanted:
        for span in spans:
            worth = score(text, each.profile, span, tool_stems)
            if worth < 0:
                continue
            if each is alone and span.kind in ("proper", "capitals"):
                worth += 8.0
            if each.profile.role and (hint := hints.get(id(span))):
                worth += 14.0 if hint == each.profile.role else -14.0
            worth += 5.0 * relevance[text.tokens[span.first].sentence] - 5.0
            if worth >= each.threshold:
                value = value_of(each.parameter, each.profile, span)
                if value is not None:
                    yield _Offer(worth, each, span, value)


def _order_hints(text: Text, spans: list[Span]) -> dict[int, str]:
    """Of two dates, currencies or places without words that say so, the first is the start, the second the end."""
    groups: defaultdict[str, list[Span]] = defaultdict(list)
    for span in spans:
        if span.kind in ("date", "currency", "latitude", "longitude", "language", "proper", "capitals", "time"):
            groups[span.kind].append(span)
    hints: dict[int, str] = {}
    for span in groups.pop("currency", ()):
        amounts = any(each.unit == "start" for each in spans if each.kind == "currency")
        if amounts:
            hints[id(span)] = "start" if span.unit == "start" else "end"
        else:
            groups["currencies"].append(span)
    for group in groups.values():
        distinct = sorted(group, key=lambda span: span.start)
        if len(distinct) >= 2 and not any(span_role(text, span) == "start" for span in distinct[1:]):
            hints[id(distinct[0])] = "start"
            hints.update((id(span), "end") for span in distinct[1:])
    return hints


def _mentioned_offers(text: Text, wanted: list[_Wanted], spans: list[Span], relevance: list[float]) -> Iterator[_Offer]:
    positions: defaultdict[str, list[int]] = defaultdict(list)
    for index, token in enumerate(text.tokens):
        positions[token.stem].append(index)
    strong = [
        span
        for span in spans
        if span.kind not in ("proper", "capitals", "clause", "country", "language", "currency", "state", "address")
    ]
    for each in wanted:
        found: list[tuple[float, Span, Json]] = list(member_candidates(text, each.profile, positions))
        if each.profile.kind == "boolean":
            switch = switch_candidate(text, each.profile, positions)
            found += [switch] if switch else []
        for worth, span in cued_spans(text, each.profile, strong, positions):
            found.append((worth, span, value_of(each.parameter, each.profile, span)))
        for worth, span, value in found:
            worth += 5.0 * relevance[text.tokens[span.first].sentence] - 5.0
            if worth >= each.threshold and (value := fitting(each.parameter, value)) is not None:
                yield _Offer(worth, each, span, value)


def _extend(text: Text, offer: _Offer, spans: list[Span]) -> None:
    """Makes the value the whole list where the parameter takes one and the instruction has one."""
    if not takes_list(offer.wanted.profile) or offer.span not in spans:
        return
    group = listed(text, spans, offer.span)
    if len(group) < 2:
        return
    single = [value_of(offer.wanted.parameter, offer.wanted.profile, span) for span in group]
    values = [value for value in single if value is not None]
    joined: Json = (
        [item for value in values for item in value]
        if offer.wanted.profile.json_type == "array"
        else ",".join(map(str, values))
    )
    if fitting(offer.wanted.parameter, joined) is not None:
        offer.value = joined
        offer.span = replace(
            offer.span, start=group[0].start, end=group[-1].end, first=group[0].first, last=group[-1].last
        )


def _fill_topic(
    text: Text, wanted: list[_Wanted], filled: _Filled, tool_stems: frozenset[str], relevance: list[float]
) -> None:
    """Gives one parameter that has no value yet what the instruction is about."""
    each = _topical(wanted, filled)
    if each is None:
        return
    whole = each.profile.kind == "query" or "title" in each.profile.words
    span = topic_span(text, [used for used, _ in filled.spans], tool_stems, relevance, whole=whole)
    value = None if span is None else value_of(each.parameter, each.profile, span)
    if span is not None and value is not None:
        filled.put(_Offer(0.0, each, span, value))


def _topical(wanted: list[_Wanted], filled: _Filled) -> _Wanted | None:
    """The query or text to fill with the topic; else a name or place that is the only thing the tool needs."""
    empty = [each for each in wanted if each.parameter.name not in filled.values]
    required = [each for each in empty if each.parameter.required and not each.profile.members]
    for kinds in (("query", "text"), ("name", "string", "place")):
        fitting_ = [each for each in required if each.profile.kind in kinds]
        needed = [each for each in fitting_ if each.parameter.default is None]
        fitting_ = needed or [each for each in fitting_ if each.profile.kind != "place"]
        only = sum(1 for each in wanted if each.parameter.required) == 1
        if fitting_ and ("query" in kinds or only or len(needed) == 1):
            return fitting_[0]
    searched = any(each.profile.kind in ("query", "text") and each.parameter.name in filled.values for each in wanted)
    optional = [each for each in empty if each.profile.kind == "query" and not each.profile.members]
    return optional[0] if optional and not searched else None
