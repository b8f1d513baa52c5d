"""What a sentence is about: the words of a search, without the request around them."""

from app.extraction import words
from app.extraction.spans import Span
from app.extraction.text import Text


def sentence_relevance(text: Text, tool_stems: frozenset[str]) -> list[float]:
    """For each sentence, 0 to 1: how much of it is in the tool's own words, against the best one."""
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
    """The best chunk of content words that no other parameter took; None where nothing is left to search for.

    `whole` goes on over prepositions: "laptops for students", not "laptops".
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
            end = _extended(text, end, chunks)
            joined.update(each for each, _ in chunks if last < each <= end)
        worth = _worth(text, (first, last), (start, end), relevance)
        if best is None or worth > best[0]:
            at, to = text.tokens[start].start, text.tokens[end].end
            content = text.raw[at:to]
            if content.endswith(("'s", "’s")):
                content, to = content[:-2], to - 2
            best = worth, Span("topic", at, to, content, None, start, end)
    return best[1] if best and best[0] > 0 else None


def _chunks(text: Text, blocked: set[int]) -> list[tuple[int, int]]:
    """Runs of adjacent content words."""
    chunks: list[tuple[int, int]] = []
    first: int | None = None
    tokens = text.tokens
    for index, token in enumerate(tokens):
        content = token.word and index not in blocked and (token.lower not in words.STOP or _named(text, index))
        request = token.stem in words.REQUESTS and (first is None or index == first) and not _named(text, index)
        new_sentence = first is not None and tokens[first].sentence != token.sentence
        if (not content or request or new_sentence) and first is not None:
            chunks.append((first, index - 1))
            first = None
        if content and not request and first is None and not token.text.isdecimal():
            first = index
    if first is not None:
        chunks.append((first, len(tokens) - 1))
    return chunks[:400]


def _extended(text: Text, end: int, chunks: list[tuple[int, int]]) -> int:
    """The end of the phrase that the chunk opens: on to the next chunk where only connecting words stand between."""
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


def _named(text: Text, index: int) -> bool:
    token = text.tokens[index]
    return (
        token.capital and len(token.lower) > 2 and token.lower not in words.NOT_NAMES and not text.opens_sentence(index)
    )


def _trim(text: Text, first: int, last: int, tool_stems: frozenset[str]) -> tuple[int, int]:
    """Drops the nouns at either end that say which kind of thing is wanted: recipes, news, the tool's own words."""
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


def _worth(text: Text, chunk: tuple[int, int], trimmed: tuple[int, int], relevance: list[float]) -> float:
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
    if opening.startswith(
        (
            "i'm ",
            "i am ",
            "my ",
            "we're ",
            "we are ",
            "our ",
            "as a ",
            "also",
            "additionally",
            "furthermore",
            "moreover",
        )
    ):
        worth -= 1.5
    return worth
