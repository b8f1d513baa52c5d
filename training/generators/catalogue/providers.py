"""Invented providers: a name, and the attributes that all its tools have in common."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

from training.generators.lexicon import Attribute, Lexicon
from training.generators.values import word_lists

_ARCHETYPES = 60
_BUNDLE = 6
_OWN = 4
_TRIES = 300
_TRUE_TO_TYPE = 0.75
_NAMED = 0.4
"""How likely a provider's name hints at one of its attributes."""
_USES = 2
"""Tools a provider has at most."""


@dataclass
class Provider:
    name: str
    attributes: tuple[str, ...]
    """Keys."""
    uses: int = 0


class Providers:
    """Providers of one category, made as they are needed."""

    def __init__(self, lexicon: Lexicon, archetypes: Sequence[Sequence[str]], taken: set[str], random: Random) -> None:
        """`taken`: names that are in use anywhere; added to."""
        self._lexicon = lexicon
        self._archetypes = archetypes
        self._taken = taken
        self._random = random
        self._known: list[Provider] = []
        self._parts: Mapping[str, Sequence[str]] = word_lists()["brand"]

    def rivals(self, count: int) -> list[Provider]:
        """So many different providers, of which no two share an attribute."""
        chosen: list[Provider] = []
        known = [each for each in self._known if each.uses < _USES]
        self._random.shuffle(known)
        for provider in known:
            if len(chosen) < count and self._random.random() < 0.6 and _apart(provider.attributes, chosen):
                chosen.append(provider)
        while len(chosen) < count:
            attributes = self._apart_from(chosen)
            provider = Provider(self._name([self._lexicon.attributes[key] for key in attributes]), attributes)
            self._known.append(provider)
            chosen.append(provider)
        for provider in chosen:
            provider.uses += 1
        return chosen

    def _apart_from(self, others: Sequence[Provider]) -> tuple[str, ...]:
        """Attributes of a provider that shares none with any of the others."""
        for _ in range(_TRIES):
            attributes = self._attributes()
            if _apart(attributes, others):
                return attributes
        # No archetype has enough left that none of the others has: whatever is left, of different facets if it can be.
        taken = {key for other in others for key in other.attributes}
        left = [each for each in self._lexicon.attributes.values() if each.key not in taken]
        self._random.shuffle(left)
        first_of_facet = {each.facet: each for each in reversed(left)}
        left.sort(key=lambda each: first_of_facet[each.facet] is not each)
        return tuple(each.key for each in left[:_OWN])

    def _attributes(self) -> tuple[str, ...]:
        """All but two of one archetype's; or a stranger in the place of another one."""
        archetype = self._random.choice(self._archetypes)
        if self._random.random() < _TRUE_TO_TYPE:
            return tuple(self._random.sample(archetype, _OWN))
        own = self._random.sample(archetype, _OWN - 1)
        facets = {self._lexicon.attributes[key].facet for key in own}
        strangers = [each.key for each in self._lexicon.attributes.values() if each.facet not in facets]
        return (*own, self._random.choice(strangers))

    def _name(self, attributes: Sequence[Attribute]) -> str:
        while True:
            brand = self._brand()
            if self._random.random() < _NAMED:
                hint = self._random.choice(self._random.choice(attributes).names)
                name = self._random.choice((f"{brand} {hint}", f"{hint} {brand}", f"{brand} {hint}"))
            else:
                second = self._random.choice(self._parts["seconds"])
                name = self._random.choice((brand, f"{brand} {second}", f"{brand}{second}", f"{brand} API"))
            if (
                4 < len(name) < 28
                and name.casefold() not in self._taken
                and not any(each in brand.lower() for each in self._parts["unfit"])
            ):
                self._taken.add(name.casefold())
                return name

    def _brand(self) -> str:
        syllables = self._random.choice((1, 2, 2, 2, 3))
        onsets, vowels, ends = self._parts["onsets"], self._parts["vowels"], self._parts["ends"]
        start = "".join(self._random.choice(onsets) + self._random.choice(vowels) for _ in range(syllables))
        if syllables == 1:
            return (start + self._random.choice(onsets) + self._random.choice("aeiou")).capitalize()
        end = self._random.choice(ends)
        return (start + end).capitalize()


def _apart(attributes: Sequence[str], others: Sequence[Provider]) -> bool:
    return all(set(attributes).isdisjoint(other.attributes) for other in others)


def archetypes(lexicon: Lexicon, random: Random) -> list[list[str]]:
    """Bundles of attributes that tend to go together, each of another facet."""
    facets = list(lexicon.facets.values())
    return [
        [random.choice(facet).key for facet in random.sample(facets, min(_BUNDLE, len(facets)))]
        for _ in range(_ARCHETYPES)
    ]
