"""Values that only their context gives away: words beside a parameter's name, members of an enumeration, switches,
lists, and what a search is about."""

from collections.abc import Iterator

from app.domain import Json
from app.extraction import words
from app.extraction.names import name_end
from app.extraction.profile import Profile
from app.extraction.spans import Span
from app.extraction.words import Text, stem, word_set

_WORD_KINDS = word_set(
    "name place query string user id secret path sort state ticker timezone color country domain time"
)
_BEFORE_VALUE = (words.FILLERS | {"id", "name"}) - {"for", "to", "with", ",", "in", "on", "at", "that"}
_NEGATIONS = word_set(
    "no not without don't dont exclude excluding skip disable ignore ignoring never hide omit off except"
)
_SWITCHES = word_set(
    "with include including show also only enable enabled want need check and return plus use allow add verify too"
)
_SOFT = word_set("is has have with show get includ check return use enabl allow filter add onli need want set flag")
_PLURALS = word_set("ids symbols tickers currencies languages langs countries tags emails keywords")
_COMMON = word_set(
    "all any name date time in on for a an the to by or and is it as of no us new none true false json text"
)
_ASIDES = (
    "i'm ", "i am ", "my ", "we're ", "we are ", "our ", "as a ", "also", "additionally", "furthermore", "moreover",
)  # fmt: skip
"""Beginnings of sentences that tell about the user, or add something."""


def cued_spans(
    text: Text, profile: Profile, taken: list[Span], positions: dict[str, list[int]]
) -> Iterator[tuple[float, Span]]:
    """(score, span) of plain words after the parameter's name (`username is marta`) or before it (`the EU server`).

    Words of the `taken` spans do not count; `positions` are the indices of each stem's tokens.
    """
    if profile.kind not in _WORD_KINDS or profile.json_type != "string":
        return
    blocked = {index for span in taken for index in range(span.first, span.last + 1)}
    for name in sorted(profile.stems):
        for at in positions.get(name, ())[:20]:
            span, worth = _value_after(text, profile, at, blocked)
            if span is not None:
                yield worth, span
            span, worth = _value_before(text, profile, at, blocked)
            if span is not None:
                yield worth, span


def _value_after(text: Text, profile: Profile, at: int, blocked: set[int]) -> tuple[Span | None, float]:
    """The words after the parameter's name at token `at`, and their score; (None, 0) where they are no value."""
    tokens = text.tokens
    index, assigned, fillers = at + 1, False, 0
    while index < len(tokens) and fillers < 4 and tokens[index].lower in _BEFORE_VALUE:
        assigned = assigned or tokens[index].lower in words.ASSIGNING
        index += 1
        fillers += 1
    if index >= len(tokens) or index in blocked or tokens[index].sentence != tokens[at].sentence:
        return None, 0.0
    token = tokens[index]
    if not token.word or (token.lower in words.STOP and not token.capital) or token.stem in words.REQUESTS:
        return None, 0.0
    proper = token.capital or "-" in token.text or "_" in token.text or "." in token.text
    participle = token.lower.endswith(("ed", "ing", "ly"))
    plain = fillers == 0 and profile.kind != "place" and not participle and tokens[at].lower in profile.words
    if (token.stem in words.GENERIC_NOUNS and not assigned) or (participle and not token.capital):
        return None, 0.0
    if not (assigned or proper or plain) or (
        profile.kind in ("id", "secret", "cursor") and not assigned and not proper
    ):
        return None, 0.0
    last = _value_end(text, profile, index, blocked)
    worth = 50.0 + (22.0 if assigned else 0.0) + (14.0 if proper else 0.0)
    end = tokens[last].end
    return Span("word", token.start, end, text.raw[token.start : end], None, index, last), worth


def _value_end(text: Text, profile: Profile, index: int, blocked: set[int]) -> int:
    """Index of the last token of the value that begins at token `index`."""
    tokens = text.tokens
    if tokens[index].capital and profile.kind not in ("user", "id", "secret"):
        return name_end(text, index, blocked)
    if profile.kind == "text":
        last = index
        while (
            last + 1 < len(tokens) and tokens[last + 1].sentence == tokens[index].sentence and last + 1 not in blocked
        ):
            last += 1
        return last if tokens[last].word or last == index else last - 1
    longest = 4 if profile.kind in ("query", "name", "place", "string") else 1
    last = index
    while last + 1 < len(tokens) and last + 1 - index < longest:
        token = tokens[last + 1]
        if last + 1 in blocked or not token.word or token.lower in words.STOP or token.stem in words.REQUESTS:
            break
        last += 1
    return last


def _value_before(text: Text, profile: Profile, at: int, blocked: set[int]) -> tuple[Span | None, float]:
    """The word before the parameter's name at token `at`, and its score; (None, 0) where it is no value."""
    tokens = text.tokens
    index = at - 1
    if index < 1 or index in blocked or profile.kind in ("id", "secret", "query", "user"):
        return None, 0.0
    token = tokens[index]
    if not token.word or token.lower in words.STOP or token.stem in words.REQUESTS or token.stem in words.GENERIC_NOUNS:
        return None, 0.0
    if tokens[index - 1].lower not in ("the", "a", "an", "in", "our", "my", "any"):
        return None, 0.0
    worth = 64.0 if tokens[index - 1].lower == "the" else 46.0
    return Span("word", token.start, token.end, token.text, None, index, index), worth


def member_candidates(
    text: Text, profile: Profile, positions: dict[str, list[int]]
) -> Iterator[tuple[float, Span, Json]]:
    """(score, span, member) for each time that the instruction names a member, or what people call it."""
    tokens = text.tokens
    for stems, member in profile.aliases:
        for at in positions.get(stems[0], ())[:20]:
            last = at + len(stems) - 1
            if last >= len(tokens) or any(tokens[at + step].stem != each for step, each in enumerate(stems)):
                continue
            start, end = tokens[at].start, tokens[last].end
            span = Span("member", start, end, text.raw[start:end], None, at, last)
            beside = {token.stem for token in (*tokens[max(0, at - 3) : at], *tokens[last + 1 : last + 3])}
            cued = bool(beside & profile.stems) or (at > 0 and tokens[at - 1].stem in profile.stems)
            if (
                profile.sorts
                and not cued
                and not any(token.stem in words.SORTING for token in text.tokens[max(0, at - 4) : last + 3])
            ):
                continue
            if len(stems) == 1 and _is_common(tokens[at].text, stems[0]) and not cued:
                continue
            yield 64.0 + 6.0 * len(stems) + (14.0 if cued else 0.0), span, member


def _is_common(written: str, alias: str) -> bool:
    """Whether the word says too little to name a member by itself."""
    if len(alias) <= 2:
        return not (written.isupper() and len(written) == 2)
    return alias in _COMMON or alias.isdecimal()


def switch_candidate(text: Text, profile: Profile, positions: dict[str, list[int]]) -> tuple[float, Span, bool] | None:
    """(score, span, on or off) of a boolean, whose telling words the instruction names close together."""
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


def spans_of_list(text: Text, spans: list[Span], chosen: Span) -> list[Span]:
    """The chosen span and the spans of its kind that a comma, `and` or `or` joins to it, in order."""
    same = sorted((span for span in spans if span.kind == chosen.kind), key=lambda span: span.start)
    group = [chosen]
    at = same.index(chosen)
    for step in (1, -1):
        index = at + step
        while 0 <= index < len(same) and _are_joined(
            text, *sorted((same[index], same[index - step]), key=lambda span: span.start)
        ):
            group.append(same[index])
            index += step
    return sorted(group, key=lambda span: span.start)


def _are_joined(text: Text, left: Span, right: Span) -> bool:
    """Whether nothing but a comma, `and`, `or` or the like stands between two spans."""
    between = text.raw[left.end : right.start].strip(" '\"“”‘’`\n").lower()
    return between in (",", "and", "or", "&", ", and", ", or", ";", "/", "and also") or (
        between.replace("'", "").replace('"', "").replace(" ", "") in (",", "and", "or", ",and", ",or")
    )


def takes_several(profile: Profile) -> bool:
    """Whether the parameter takes several values at once: an array, or text that commas separate."""
    if profile.json_type == "array":
        return True
    if profile.json_type != "string" or profile.members or profile.kind in ("place", "text", "coordinates"):
        return False
    example = profile.example
    example_is_list = "," in example and " " not in example and not example.startswith(("{", "[", "http", "-", "0"))
    plural = bool(profile.words) and profile.words[-1] in _PLURALS
    return example_is_list or plural or ("separ" in profile.described and "comma" in profile.described)


def sentence_relevance(text: Text, tool_stems: frozenset[str]) -> list[float]:
    """For each sentence, 0 to 1: the words it shares with the tool, relative to the best sentence."""
    counts = [0.0] * len(text.sentence_starts)
    seen: set[tuple[int, str]] = set()
    for token in text.tokens:
        key = (token.sentence, token.stem)
        if key in seen or not token.word:
            continue
        seen.add(key)
        if token.stem in tool_stems and token.lower not in words.STOP:
            counts[token.sentence] += 1.0
        elif token.stem in words.REQUESTS or token.lower in ("what", "how", "which"):
            counts[token.sentence] += 0.5
    best = max(counts, default=0.0)
    return [count / best if best else 1.0 for count in counts]


def topic_span(
    text: Text, used: list[Span], tool_stems: frozenset[str], relevance: list[float], *, whole: bool = False
) -> Span | None:
    """What the instruction is about: its best run of words without the `used` spans; None where nothing is left.

    `whole` takes in what prepositions add: "laptops for students", not "laptops".
    """
    blocked = {index for span in used for index in range(span.first, span.last + 1)}
    best: tuple[float, Span] | None = None
    chunks = _chunks(text, blocked)
    joined: set[int] = set()
    for first, last in chunks:
        if first in joined:
            continue
        start, end = _trim(text, first, last, tool_stems)
        if start > end:
            continue
        if whole and end == last:
            end = _phrase_end(text, end, chunks)
            joined.update(each for each, _ in chunks if last < each <= end)
        worth = _topic_worth(text, (first, last), (start, end), relevance)
        if best is None or worth > best[0]:
            at, to = text.tokens[start].start, text.tokens[end].end
            content = text.raw[at:to]
            if content.endswith(("'s", "’s")):
                content, to = content[:-2], to - 2
            best = worth, Span("topic", at, to, content, None, start, end)
    return best[1] if best and best[0] > 0 else None


def _chunks(text: Text, blocked: set[int]) -> list[tuple[int, int]]:
    """(first, last) token of each run of words that say something, at most 400."""
    chunks: list[tuple[int, int]] = []
    first: int | None = None
    tokens = text.tokens
    for index, token in enumerate(tokens):
        content = token.word and index not in blocked and (token.lower not in words.STOP or _is_name(text, index))
        request = token.stem in words.REQUESTS and (first is None or index == first) and not _is_name(text, index)
        new_sentence = first is not None and tokens[first].sentence != token.sentence
        if (not content or request or new_sentence) and first is not None:
            chunks.append((first, index - 1))
            first = None
        if content and not request and first is None and not token.text.isdecimal():
            first = index
    if first is not None:
        chunks.append((first, len(tokens) - 1))
    return chunks[:400]


def _phrase_end(text: Text, end: int, chunks: list[tuple[int, int]]) -> int:
    """Index of the last token of the phrase that goes on behind `end`: over connecting words to the next chunk."""
    tokens = text.tokens
    following = {first: last for first, last in chunks if first > end}
    for _ in range(3):
        index = end + 1
        while index < len(tokens) and index <= end + 2 and tokens[index].lower in words.JOINING:
            index += 1
        if index == end + 1 or index not in following or tokens[index].sentence != tokens[end].sentence:
            break
        end = following[index]
    return end


def _is_name(text: Text, index: int) -> bool:
    token = text.tokens[index]
    return (
        token.capital and len(token.lower) > 2 and token.lower not in words.NOT_NAMES and not text.opens_sentence(index)
    )


def _trim(text: Text, first: int, last: int, tool_stems: frozenset[str]) -> tuple[int, int]:
    """The chunk without what says the kind of thing that is wanted, at either end: recipes, news, the tool's words."""
    tokens = text.tokens
    while last >= first and (tokens[last].stem in words.GENERIC_NOUNS or (tokens[last].stem in tool_stems)):
        last -= 1
    while (
        first <= last
        and tokens[first].lower not in words.QUALITIES
        and (tokens[first].lower in words.QUALIFIERS or tokens[first].stem in tool_stems)
    ):
        first += 1
    while first <= last and tokens[first].text.isdecimal():
        first += 1
    return first, last


def _topic_worth(text: Text, chunk: tuple[int, int], trimmed: tuple[int, int], relevance: list[float]) -> float:
    """How well a chunk suits as the topic; zero or less where it does not."""
    tokens = text.tokens
    start, end = trimmed
    before = tokens[chunk[0] - 1].lower if chunk[0] else ""
    earlier = tokens[chunk[0] - 2].stem if chunk[0] > 1 else ""
    worth = 1.0 + min(3, end - start + 1) * 0.6 + 3.0 * relevance[tokens[start].sentence]
    if before in ("about", "regarding", "concerning", "containing"):
        worth += 3.5
    elif before == "for":
        worth += 3.0 if earlier in ("search", "look", "web") else 1.5
    elif before in ("on", "of", "to"):
        worth += 1.0
    elif before in ("in", "at", "from", "near", "with", "by"):
        worth -= 1.0
    if any(
        token.stem == "includ"
        for token in tokens[max(0, start - 12) : start]
        if token.sentence == tokens[start].sentence
    ):
        worth -= 1.5
    if end < chunk[1] or start > chunk[0]:
        worth += 1.5
    if any(tokens[index].capital for index in range(start, end + 1)) and not text.opens_sentence(start):
        worth += 1.2
    if tokens[start].stem.endswith("ing"):
        worth -= 0.5
    opening = text.raw[text.sentence_starts[tokens[start].sentence] :][:16].lower()
    if opening.startswith(_ASIDES):
        worth -= 1.5
    return worth
