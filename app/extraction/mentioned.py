"""Values that are mentioned rather than written: members of an enumeration, switches, lists."""

from collections.abc import Iterator

from app.domain import Json
from app.extraction import words
from app.extraction.profile import Profile
from app.extraction.spans import Span
from app.extraction.text import Text, stem, words_of

_NEGATIONS = words_of(
    "no not without don't dont exclude excluding skip disable ignore ignoring never hide omit off except"
)
_SWITCHES = words_of(
    "with include including show also only enable enabled want need check and return plus use allow add verify too"
)
_SOFT = words_of("is has have with show get includ check return use enabl allow filter add onli need want set flag")
_COMMON = words_of(
    "all any name date time in on for a an the to by or and is it as of no us new none true false json text"
)


def member_candidates(
    text: Text, profile: Profile, positions: dict[str, list[int]]
) -> Iterator[tuple[float, Span, Json]]:
    """(score, span, member) for each place where the instruction names a member or what the document calls it."""
    tokens = text.tokens
    for stems, member in profile.aliases:
        for at in positions.get(stems[0], ())[:20]:
            last = at + len(stems) - 1
            if last >= len(tokens) or any(tokens[at + step].stem != each for step, each in enumerate(stems)):
                continue
            span = Span(
                "member",
                tokens[at].start,
                tokens[last].end,
                text.raw[tokens[at].start : tokens[last].end],
                None,
                at,
                last,
            )
            beside = {token.stem for token in (*tokens[max(0, at - 3) : at], *tokens[last + 1 : last + 3])}
            cued = bool(beside & profile.stems) or (at > 0 and tokens[at - 1].stem in profile.stems)
            if (
                profile.sorts
                and not cued
                and not any(token.stem in words.SORTING for token in text.tokens[max(0, at - 4) : last + 3])
            ):
                continue
            if len(stems) == 1 and _weak(tokens[at].text, stems[0]) and not cued:
                continue
            yield 64.0 + 6.0 * len(stems) + (14.0 if cued else 0.0), span, member


def _weak(written: str, alias: str) -> bool:
    if len(alias) <= 2:
        return not (written.isupper() and len(written) == 2)
    return alias in _COMMON or alias.isdecimal()


def switch_candidate(text: Text, profile: Profile, positions: dict[str, list[int]]) -> tuple[float, Span, bool] | None:
    """A boolean that the instruction turns on or off, by naming all telling words of the parameter in one place."""
    inverted = False
    names = [stem(word) for word in profile.words]
    if len(names) == 1 and profile.words[0].startswith("no") and stem(profile.words[0][2:]) in positions:
        names, inverted = [stem(profile.words[0][2:])], True
    telling = [name for name in names if name not in _SOFT] or names
    first = positions.get(telling[-1]) if telling else None
    if not first or any(name not in positions for name in telling):
        return None
    at = first[0]
    if any(abs(positions[name][0] - at) > 4 for name in telling):
        return None
    before = {token.lower for token in text.tokens[max(0, at - 4) : at]}
    after = {token.lower for token in text.tokens[at + 1 : at + 3]}
    negated = bool(before & _NEGATIONS)
    if not negated and not (before | after) & _SWITCHES and len(telling) < 2:
        return None
    token = text.tokens[at]
    return 68.0, Span("switch", token.start, token.end, token.text, None, at, at), negated if inverted else not negated


def listed(text: Text, spans: list[Span], chosen: Span) -> list[Span]:
    """The chosen span and the ones of its kind that a comma, `and` or `or` joins to it."""
    same = sorted((span for span in spans if span.kind == chosen.kind), key=lambda span: span.start)
    group = [chosen]
    at = same.index(chosen)
    for step in (1, -1):
        index = at + step
        while 0 <= index < len(same) and _joined(
            text, *sorted((same[index], same[index - step]), key=lambda span: span.start)
        ):
            group.append(same[index])
            index += step
    return sorted(group, key=lambda span: span.start)


def _joined(text: Text, left: Span, right: Span) -> bool:
    between = text.raw[left.end : right.start].strip(" '\"“”‘’`\n").lower()
    return between in (",", "and", "or", "&", ", and", ", or", ";", "/", "and also") or (
        between.replace("'", "").replace('"', "").replace(" ", "") in (",", "and", "or", ",and", ",or")
    )


def takes_list(profile: Profile) -> bool:
    """Whether a string parameter holds several values at once, joined by commas."""
    if profile.json_type == "array":
        return True
    if profile.json_type != "string" or profile.members or profile.kind in ("place", "text", "coordinates"):
        return False
    example = profile.example
    listed_example = "," in example and " " not in example and not example.startswith(("{", "[", "http", "-", "0"))
    plural = profile.words and profile.words[-1] in (
        "ids",
        "symbols",
        "tickers",
        "currencies",
        "languages",
        "langs",
        "countries",
        "tags",
        "emails",
        "keywords",
    )
    return listed_example or bool(plural) or ("separ" in profile.described and "comma" in profile.described)
