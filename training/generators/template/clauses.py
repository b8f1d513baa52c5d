"""From what a document says of a tool to a clause that a request can be built around: "find films by title"."""

import html
import re

from app.domain import Tool
from app.retrieval.texts import split_name

_VERBS = frozenset(
    "add analyse analyze book browse build calculate cancel change check classify clean compare compile compress compute "
    "convert correct count create decode delete detect determine discover display download edit encode enrich estimate "
    "evaluate explore export extract fetch filter find format generate geocode get give identify import inspect list "
    "load locate look make match measure merge monitor obtain parse pick play predict process provide publish pull query "
    "rank read receive recommend remove render resize resolve retrieve return reverse run save scan schedule scrape "
    "search see send set share shorten show solve sort split start store submit suggest summarize tell test track "
    "transform translate update upload validate verify view".split()
)
_AS_GET = frozenset("return provide receive obtain pull retrieve give query display".split())
_LEAD = re.compile(
    r"^(?:this|the|our|an?|use (?:this|the)|with this|using this|via this)?\s*"
    r"(?:api|endpoint|end ?point|method|service|call|route|function|request|operation|resource|tool|feature)?\s*"
    r"(?:can be used to|is used to|will be used to|is designed to|used (?:to|for)|allows? (?:you|users?|developers?) to|"
    r"enables? (?:you|users?) to|lets? you|helps? (?:you )?(?:to )?|will|can|is able to|that|which|to|you can|"
    r"gives? (?:you )?access to)?\s*",
    re.IGNORECASE,
)
_NOISE = re.compile(r"https?://\S+|<[^>]*>|\([^()]*\)|\[[^\[\]]*\]|[*_`#|{}\"“”]+|&\w+;")
_BREAK = re.compile(r"(?<=[.!?])\s|[\r\n]+| - |; |: ")
_TAIL = re.compile(r",? (?:which|that|where|including|such as|like|e\.g|i\.e|with the following|as well as|so that|based on)\b.*$", re.I)
_WORD = re.compile(r"[^\W\d_]{2,}")
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


def _cleaned(text: str) -> str:
    text = _NOISE.sub(" ", html.unescape(text[:600]))
    first = next((part for part in _BREAK.split(text) if _WORD.search(part)), "")
    return " ".join(first.split()).strip(" .,;:!?-'/")


def _imperative(text: str) -> str:
    text = _shortened(text)
    if not text:
        return ""
    led = _LEAD.sub("", text, count=1)
    if led and _base(led.split()[0]):
        text = led
    verb, _, rest = text.partition(" ")
    base = _base(verb)
    if base is None:
        return f"get {_lower_first(text)}" if _starts_determined(text) or "'s " in text else f"get the {_lower_first(text)}"
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
