"""One reading of an instruction: every span that any parameter could take."""

from collections import Counter
from dataclasses import replace
from datetime import datetime

from app.extraction.clauses import clause_spans
from app.extraction.dates import Moment
from app.extraction.mentions import address_spans, comma_places, place_spans, proper_spans
from app.extraction.spans import Span, is_clock, named_spans, quoted_spans, typed_spans
from app.extraction.text import Text

_OF_A_KIND = 40
"""Spans of one kind that are weighed: more are a list or a paste, which no parameter takes."""


def read_spans(text: Text, now: datetime) -> list[Span]:
    """All spans, of which many overlap; dates carry the time of day that stands beside them."""
    quoted = quoted_spans(text)
    typed = typed_spans(text, now, quoted)
    named = named_spans(text)
    spans = [*quoted, *typed, *named, *address_spans(text), *place_spans(text)]
    proper = proper_spans(text, [*quoted, *typed])
    spans += [*proper, *comma_places(text, [*named, *proper]), *clause_spans(text)]
    spans = _at_most(_OF_A_KIND, spans)
    _join_clocks(spans)
    houses = {span.start for span in spans if span.kind == "address"}
    for span in typed:
        if span.start in houses and span.kind == "number":
            span.unit = "house"
    return spans


def _join_clocks(spans: list[Span]) -> None:
    """Gives a date the time of day that stands beside it: tomorrow at 3pm."""
    clocks = [span for span in spans if is_clock(span.value)]
    for span in spans if clocks else ():
        if isinstance(span.value, Moment) and span.value.clock is None:
            after = [clock for clock in clocks if 0 < clock.first - span.last <= 3]
            before = [clock for clock in clocks if 0 < span.first - clock.last <= 3]
            if after or before:
                span.value = replace(span.value, clock=(after[:1] or before[-1:])[0].value)


def _at_most(count: int, spans: list[Span]) -> list[Span]:
    kept: list[Span] = []
    seen: Counter[str] = Counter()
    for span in spans:
        seen[span.kind] += 1
        if seen[span.kind] <= count:
            kept.append(span)
    return kept
