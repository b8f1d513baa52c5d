"""Non-functional attributes and the many ways to say them (`catalogue/attributes.yaml`)."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import yaml

FILE = Path(__file__).parent / "catalogue" / "attributes.yaml"
NEUTRAL = (
    "Responses come as JSON.",
    "Error codes are listed in the documentation.",
    "Times are given in UTC.",
    "Empty fields are left out of the answer.",
    "Send one request at a time for best results.",
    "See the changelog for recent additions.",
    "Field names follow snake case.",
    "Unknown values come back as null.",
    "Each answer carries a request id.",
    "The sample call below works as it stands.",
    "Version two of the interface.",
    "Paging works with a cursor.",
    "All text is encoded in UTF-8.",
    "Read the quick start before the first call.",
)
"""What documents say beside function and attributes: it tells no tool from another."""
_SPACE = re.compile(r"\s+")


@dataclass(frozen=True)
class Attribute:
    key: str
    facet: str
    phrase: str
    """What one would write who has understood the tool."""
    says: tuple[str, ...]
    """Sentences of tool documents, each in other words."""
    names: tuple[str, ...]
    """What of it a provider's name may carry."""
    words: tuple[str, ...]
    """By which it is recognised in documents that others wrote."""

    @property
    def sentence(self) -> str:
        """The phrase as a sentence of a document: said outright."""
        return f"{self.phrase[0].upper()}{self.phrase[1:]}."


@dataclass(frozen=True, eq=False)
class Lexicon:
    attributes: Mapping[str, Attribute]
    """By key, in the file's order."""

    @cached_property
    def facets(self) -> Mapping[str, Sequence[Attribute]]:
        found: dict[str, list[Attribute]] = {}
        for attribute in self.attributes.values():
            found.setdefault(attribute.facet, []).append(attribute)
        return found

    @cached_property
    def _sentences(self) -> Mapping[str, Attribute]:
        return {plain(said): each for each in self.attributes.values() for said in (*each.says, each.sentence)}

    @cached_property
    def _names(self) -> Mapping[str, Attribute]:
        return {name.casefold(): each for each in self.attributes.values() for name in each.names}

    @cached_property
    def _cues(self) -> re.Pattern[str]:
        cues = sorted({word for each in self.attributes.values() for word in each.words}, key=lambda w: (-len(w), w))
        return re.compile(r"(?<!\w)(?:" + "|".join(map(re.escape, cues)) + r")(?!\w)")

    @cached_property
    def _by_cue(self) -> Mapping[str, Attribute]:
        return {word: each for each in reversed(list(self.attributes.values())) for word in each.words}

    @cached_property
    def _neutral(self) -> frozenset[str]:
        return frozenset(map(plain, NEUTRAL))

    def is_neutral(self, sentence: str) -> bool:
        return plain(sentence) in self._neutral

    def of_sentence(self, sentence: str) -> Attribute | None:
        """The attribute whose sentence this is."""
        return self._sentences.get(plain(sentence))

    def in_name(self, name: str) -> list[Attribute]:
        """Attributes that a provider's name hints at, by whole words of it."""
        found = (self._names.get(word.casefold()) for word in re.findall(r"[^\W\d_]+", name))
        return [attribute for attribute in found if attribute is not None]

    def in_text(self, text: str) -> list[Attribute]:
        """Attributes by their cue words, in the order they come up, each once."""
        found = (self._by_cue[match[0]] for match in self._cues.finditer(text.lower()))
        return list({attribute.key: attribute for attribute in found}.values())


def plain(text: str) -> str:
    return _SPACE.sub(" ", text).strip().casefold()


@lru_cache(maxsize=1)
def lexicon() -> Lexicon:
    facets = yaml.safe_load(FILE.read_text("utf-8"))["facets"]
    return Lexicon(
        {
            key: Attribute(key, facet, each["is"], tuple(each["says"]), tuple(each["names"]), tuple(each["words"]))
            for facet, attributes in facets.items()
            for key, each in attributes.items()
        }
    )
