"""From what a document says of a tool to a clause that a request can be built around: "find films by title"."""

import html
import re
from collections.abc import Iterable

from app.domain import Tool
from app.extraction.words import word_set
from app.retrieval.texts import split_name

_VERBS = word_set(
    "access add analyse analyze book browse build calculate capture cancel change check classify clean compare "
    "compile compress compute convert correct count create decode delete detect determine discover display download "
    "edit encode enrich estimate evaluate explore export extract fetch filter find format generate geocode get give "
    "identify import inspect list load locate look make match measure merge monitor obtain parse perform pick play "
    "predict process provide publish pull query rank read receive recognize recommend request remove render resize "
    "resolve retrieve return reverse run save scan schedule scrape search see send set share shorten show solve "
    "sort split start store submit suggest summarize tell test track transform translate update upload validate "
    "verify view "
)
_AS_GET = word_set("return provide receive obtain pull retrieve give query display")
_LEAD = re.compile(
    r"^(?:this|the|our|an?|use (?:this|the|our)|with this|using this|via this)?\s*(?:simple|powerful|free)?\s*"
    r"(?:api|endpoint|end ?point|method|service|call|route|function|request|operation|resource|tool|feature)?\s*"
    r"(?:can be used to|is used to|will be used to|is designed to|used (?:to|for)|"
    r"allows? (?:you|users?|developers?) to|"
    r"enables? (?:you|users?) to|lets? you|helps? (?:you )?(?:to )?|will|can|is able to|that|which|to|you can|"
    r"gives? (?:you )?access to)?\s*",
    re.IGNORECASE,
)
_NOISE = re.compile(r"https?://\S+|<[^>]*>|\([^()]*\)|\[[^\[\]]*\]|[*_`#|{}\"“”]+|&\w+;")
_BREAK = re.compile(r"(?<=[.!?])\s|[\r\n]+| - |; |: ")
_TAIL = re.compile(
    r",? (?:which|that|where|including|such as|like|e\.g|i\.e|with the following|as well as|so that|based on)\b.*$",
    re.I,
)
_BY = re.compile(
    r"\s(?:using|by providing|by|with|given|via|based on|from|for|of) "
    r"(?:(?:the|an?|its|their|your|given|specific|specified|unique|certain|particular) )*([\w/ -]{1,40})$",
    re.IGNORECASE,
)
_WORD = re.compile(r"[^\W\d_]{2,}")
_POINTING = word_set("this these it we our you use used please note if for in by with here")
"""What begins so speaks of the document rather than of what the tool does."""
_LONGEST = 100
_FEWEST = 3
"""Words: less says nothing on its own."""


def sentences(text: str) -> list[str]:
    """The description's sentences and lines, in order, each as it came."""
    return [part.strip() for part in re.split(r"(?<=[.!?])\s+|[\r\n]+", text) if part.strip()]


def clause(tool: Tool, said: str) -> str:
    """What the tool does, as an imperative in lower case without a full stop; never blank.

    `said` is the sentence that says it; where that is too little, the API's name does.
    """
    found = _imperative(_cleaned(said))
    named = _imperative(_cleaned(split_name(tool.api)))
    if len(_WORD.findall(found)) < _FEWEST <= len(_WORD.findall(named)) or not found:
        found = named
    return found or f"get {tool.api.strip() or tool.name}"


def without_inputs(text: str, labels: Iterable[str]) -> str:
    """The clause without its "by id", "using the user's name": the values come behind it anyway."""
    inputs = {word for label in labels for word in label.split()}
    found = _BY.search(text)
    if found is None or not inputs & set(found[1].lower().split()) or len(_WORD.findall(text[: found.start()])) < 2:
        return text
    return text[: found.start()]


def _cleaned(text: str) -> str:
    text = _NOISE.sub(" ", html.unescape(text[:600]))
    first = next((part for part in _BREAK.split(text) if _WORD.search(part)), "")
    words = first.strip(" .,;:!?-'/").split()
    titled = sum(_is_capitalised(word) for word in words[1:])
    # Headings stand in capitals; within a sentence they would look like names.
    return " ".join(word.lower() if _is_capitalised(word) and titled * 2 > len(words) - 1 else word for word in words)


def _is_capitalised(word: str) -> bool:
    return word == "A" or (word[:1].isupper() and word[1:].islower())


def _imperative(text: str) -> str:
    text = _shortened(text)
    if not text:
        return ""
    led = _LEAD.sub("", text, count=1)
    if led and _base(led.split()[0]):
        text = led
    verb, _, rest = text.partition(" ")
    base = _base(verb)
    if base is None and verb.lower() in _POINTING:
        return ""
    if base is None:
        return (
            f"get {_lower_first(text)}"
            if _starts_determined(text) or "'s " in text
            else f"get the {_lower_first(text)}"
        )
    if not rest:
        return base
    return f"{'get' if base in _AS_GET else base} {rest.removeprefix('back ')}"


def _base(word: str) -> str | None:
    """The verb's base form: "searches" -> "search"; None for what is no verb of the list."""
    word = word.lower().strip(",.:;")
    forms = [word, word.removesuffix("s"), word.removesuffix("es")]
    if word.endswith("ies"):
        forms.append(word[:-3] + "y")
    if word.endswith("ing"):
        forms += [word[:-3], word[:-3] + "e"]
    return next((form for form in forms if form in _VERBS), None)


def _starts_determined(text: str) -> bool:
    return text.split()[0].lower() in {"the", "a", "an", "all", "any", "some", "your", "current", "latest"}


def _lower_first(text: str) -> str:
    first = text.split()[0]
    return text if first.isupper() or first[1:] != first[1:].lower() else text[0].lower() + text[1:]


def _shortened(text: str) -> str:
    text = _TAIL.sub("", text) if len(_WORD.findall(_TAIL.sub("", text))) >= _FEWEST else text
    if len(text) <= _LONGEST:
        return text.strip()
    cut = text[:_LONGEST]
    for mark in (", ", " and ", " "):
        if mark in cut[30:]:
            return cut.rsplit(mark, 1)[0].strip(" ,")
    return cut
