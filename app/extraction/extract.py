"""Fills a tool's parameters from an instruction without a model.

The instruction is read into spans, each span is scored for each parameter, and the best offers win, one after another.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, time

from app.domain import Json, Parameter, Tool
from app.extraction.dates import Moment
from app.extraction.mentions import (
    cued_spans,
    member_candidates,
    sentence_relevance,
    spans_of_list,
    switch_candidate,
    takes_several,
    topic_span,
)
from app.extraction.names import address_spans, capitalised_spans, coded_name_spans, joined_place_spans, place_spans
from app.extraction.profile import Profile, read_profile
from app.extraction.scoring import OPTIONAL_THRESHOLD, REQUIRED_THRESHOLD, score, span_role
from app.extraction.spans import Span, clause_spans, quoted_spans, typed_spans
from app.extraction.values import read_value, valid_or_none
from app.extraction.words import Text, split_name, stem

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
    """How each value was found: name, cue, coordinate, member, switch, topic, default, or a `Span.kind`."""


@dataclass(slots=True)
class _Wanted:
    """A parameter that is to be filled."""

    parameter: Parameter
    profile: Profile
    threshold: float
    """The score that a value needs at least."""


@dataclass(slots=True)
class _Offer:
    """A value for a parameter, with the span it was read from."""

    score: float
    wanted: _Wanted
    span: Span
    value: Json


@dataclass(slots=True)
class _Assignments:
    """The values that parameters have got so far, and the spans that are used up by them."""

    values: dict[str, Json] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    spans: list[tuple[Span, str]] = field(default_factory=list)

    def is_free(self, span: Span, kind: str) -> bool:
        """Whether the span is unused: only a date may serve several parameters, with its year, month and day."""
        for used, by in self.spans:
            if used.overlaps(span) and not (kind in _PARTS_OF_A_DATE and by in _PARTS_OF_A_DATE and kind != by):
                return False
        return True

    def assign(self, offer: _Offer) -> None:
        name = offer.wanted.parameter.name
        self.values[name] = offer.value
        self.sources[name] = _SOURCES.get(offer.span.kind, offer.span.kind)
        self.spans.append((offer.span, offer.wanted.profile.kind))


def extract_parameters(instruction: str, tool: Tool, *, now: datetime) -> Extraction:
    """The values of the tool's parameters that the instruction states; relative dates are read at `now`.

    Required parameters without a stated value get the document's default. The same input gives the same output; the
    time is linear in the instruction's length; nothing is raised, whatever the input.
    """
    assigned = _Assignments()
    if tool.parameters and instruction.strip():
        wanted = [_Wanted(each, read_profile(each), _threshold(each, tool)) for each in tool.parameters]
        _fill_all(Text(instruction), wanted, assigned, tool, now)
    missing = _fill_defaults(tool, assigned)
    order = [parameter.name for parameter in tool.parameters if parameter.name in assigned.values]
    values = {name: assigned.values[name] for name in order}
    return Extraction(values, tuple(missing), {name: assigned.sources[name] for name in order})


def _fill_defaults(tool: Tool, assigned: _Assignments) -> list[str]:
    """Gives required parameters the document's defaults; returns the names of those that have none."""
    missing = []
    for parameter in tool.parameters:
        if not parameter.required or parameter.name in assigned.values:
            continue
        default = valid_or_none(parameter, parameter.default)
        if default is None:
            missing.append(parameter.name)
        else:
            assigned.values[parameter.name] = default
            assigned.sources[parameter.name] = "default"
    return missing


def _threshold(parameter: Parameter, tool: Tool) -> float:
    """The least score of a value: lower where the parameter is required, or where the tool requires none."""
    if parameter.required or len(tool.parameters) == 1:
        return REQUIRED_THRESHOLD
    required = any(each.required for each in tool.parameters)
    return OPTIONAL_THRESHOLD if required else REQUIRED_THRESHOLD + 6.0


def _fill_all(text: Text, wanted: list[_Wanted], assigned: _Assignments, tool: Tool, now: datetime) -> None:
    tool_stems = _tool_stems(tool)
    relevance = sentence_relevance(text, tool_stems)
    spans = read_spans(text, now)
    offers = [
        *_span_offers(text, wanted, spans, tool_stems, relevance),
        *_context_offers(text, wanted, spans, relevance),
    ]
    offers.sort(key=lambda offer: (-offer.score, offer.span.start, offer.span.end))
    for offer in offers:
        name, kind = offer.wanted.parameter.name, offer.wanted.profile.kind
        if name not in assigned.values and assigned.is_free(offer.span, kind):
            _extend(text, offer, spans)
            assigned.assign(offer)
    _fill_topic(text, wanted, assigned, tool_stems, relevance)


def _tool_stems(tool: Tool) -> frozenset[str]:
    parts = [tool.api, tool.provider, tool.category]
    split = [word for part in parts for word in split_name(part)]
    whole = [word.strip("()[],:-").lower() for part in parts for word in part[:200].split()]
    return frozenset(stem(word) for word in (*split, *whole) if len(word) > 2)


def _span_offers(
    text: Text, wanted: list[_Wanted], spans: list[Span], tool_stems: frozenset[str], relevance: list[float]
) -> Iterator[_Offer]:
    hints = _order_hints(text, spans)
    required = [each for each in wanted if each.parameter.required]
    only_required = required[0] if len(required) == 1 else None
    for each in wanted:
        for span in spans:
            worth = score(text, each.profile, span, tool_stems)
            if worth < 0:
                continue
            if each is only_required and span.kind in ("proper", "capitals"):
                worth += 8.0
            if each.profile.role and (hint := hints.get(id(span))):
                worth += 14.0 if hint == each.profile.role else -14.0
            worth += 5.0 * relevance[text.tokens[span.first].sentence] - 5.0
            if worth >= each.threshold:
                value = read_value(each.parameter, each.profile, span)
                if value is not None:
                    yield _Offer(worth, each, span, value)


def _order_hints(text: Text, spans: list[Span]) -> dict[int, str]:
    """start or end for spans (by id) of which there are several: without words that say so, the first is the start."""
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


def _context_offers(text: Text, wanted: list[_Wanted], spans: list[Span], relevance: list[float]) -> Iterator[_Offer]:
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
            found.append((worth, span, read_value(each.parameter, each.profile, span)))
        for worth, span, value in found:
            worth += 5.0 * relevance[text.tokens[span.first].sentence] - 5.0
            if worth >= each.threshold and (value := valid_or_none(each.parameter, value)) is not None:
                yield _Offer(worth, each, span, value)


def _extend(text: Text, offer: _Offer, spans: list[Span]) -> None:
    """Turns the offer into the whole list that the instruction has, where the parameter takes several values."""
    if not takes_several(offer.wanted.profile) or offer.span not in spans:
        return
    group = spans_of_list(text, spans, offer.span)
    if len(group) < 2:
        return
    single = [read_value(offer.wanted.parameter, offer.wanted.profile, span) for span in group]
    values = [value for value in single if value is not None]
    joined: Json = (
        [item for value in values for item in value]
        if offer.wanted.profile.json_type == "array"
        else ",".join(map(str, values))
    )
    if valid_or_none(offer.wanted.parameter, joined) is not None:
        offer.value = joined
        offer.span = replace(
            offer.span, start=group[0].start, end=group[-1].end, first=group[0].first, last=group[-1].last
        )


def _fill_topic(
    text: Text, wanted: list[_Wanted], assigned: _Assignments, tool_stems: frozenset[str], relevance: list[float]
) -> None:
    """Gives what the instruction is about to one parameter that has no value yet."""
    each = _topic_parameter(wanted, assigned)
    if each is None:
        return
    whole = each.profile.kind == "query" or "title" in each.profile.words
    span = topic_span(text, [used for used, _ in assigned.spans], tool_stems, relevance, whole=whole)
    value = None if span is None else read_value(each.parameter, each.profile, span)
    if span is not None and value is not None:
        assigned.assign(_Offer(0.0, each, span, value))


def _topic_parameter(wanted: list[_Wanted], assigned: _Assignments) -> _Wanted | None:
    """The parameter that the topic fills: a query or text, else a name or place if it is all that the tool needs."""
    empty = [each for each in wanted if each.parameter.name not in assigned.values]
    required = [each for each in empty if each.parameter.required and not each.profile.members]
    for kinds in (("query", "text"), ("name", "string", "place")):
        suitable = [each for each in required if each.profile.kind in kinds]
        needed = [each for each in suitable if each.parameter.default is None]
        suitable = needed or [each for each in suitable if each.profile.kind != "place"]
        only = sum(1 for each in wanted if each.parameter.required) == 1
        if suitable and ("query" in kinds or only or len(needed) == 1):
            return suitable[0]
    searched = any(each.profile.kind in ("query", "text") and each.parameter.name in assigned.values for each in wanted)
    optional = [each for each in empty if each.profile.kind == "query" and not each.profile.members]
    return optional[0] if optional and not searched else None


_SPANS_OF_A_KIND = 40
"""Spans of one kind that are scored; later ones are left out, as no parameter takes a list of that length."""


def read_spans(text: Text, now: datetime) -> list[Span]:
    """Everything in the instruction that could be a value; spans overlap. Dates carry the time of day beside them."""
    quoted = quoted_spans(text)
    typed = typed_spans(text, now, quoted)
    named = coded_name_spans(text)
    spans = [*quoted, *typed, *named, *address_spans(text), *place_spans(text)]
    proper = capitalised_spans(text, [*quoted, *typed])
    spans += [*proper, *joined_place_spans(text, [*named, *proper]), *clause_spans(text)]
    spans = _first_of_each_kind(_SPANS_OF_A_KIND, spans)
    _join_clocks(spans)
    houses = {span.start for span in spans if span.kind == "address"}
    for span in typed:
        if span.start in houses and span.kind == "number":
            span.unit = "house"
    return spans


def _join_clocks(spans: list[Span]) -> None:
    """Gives a date the time of day that stands beside it: tomorrow at 3pm."""
    clocks = [span for span in spans if isinstance(span.value, time)]
    for span in spans if clocks else ():
        if isinstance(span.value, Moment) and span.value.clock is None:
            after = [clock for clock in clocks if 0 < clock.first - span.last <= 3]
            before = [clock for clock in clocks if 0 < span.first - clock.last <= 3]
            if after or before:
                span.value = replace(span.value, clock=(after[:1] or before[-1:])[0].value)


def _first_of_each_kind(count: int, spans: list[Span]) -> list[Span]:
    kept: list[Span] = []
    seen: Counter[str] = Counter()
    for span in spans:
        seen[span.kind] += 1
        if seen[span.kind] <= count:
            kept.append(span)
    return kept


FEATURES = 8
"""Numbers that `input_features` gives for each tool."""
_CHARACTERS_OF_UNIT = 20.0


def input_features(instruction: str, tools: Sequence[Tool], *, now: datetime) -> list[tuple[float, ...]]:
    """How well the instruction fills each tool's parameters, a sign of whether it asks for what the tool does.

    For each tool `FEATURES` numbers: whether a required parameter finds no value, how many find none, how many
    required and how many optional ones find one, how many optional ones find none, the length of all values (in units
    of 20 characters), whether no parameter is required, whether there are no parameters.
    """
    found: list[tuple[float, ...]] = []
    for tool in tools:
        extraction = extract_parameters(instruction, tool, now=now)
        required = sum(parameter.required for parameter in tool.parameters)
        missing = len(extraction.missing)
        filled = required - missing
        optional = len(extraction.parameters) - filled
        found.append(
            (
                float(missing > 0),
                float(missing),
                float(filled),
                float(optional),
                float(len(tool.parameters) - required - optional),
                sum(len(str(value)) for value in extraction.parameters.values()) / _CHARACTERS_OF_UNIT,
                float(required == 0),
                float(not tool.parameters),
            )
        )
    return found
