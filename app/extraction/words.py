"""An instruction as tokens and sentences, and the lists of English words that tell where a value begins and ends."""

import re
from bisect import bisect_right
from functools import cached_property, lru_cache
from typing import NamedTuple

import Stemmer

MAX_LENGTH = 10_000
"""Characters of an instruction that are read; values that stand behind them are not found."""

_TOKEN = re.compile(r"\w+(?:['’&.\-]\w+)*|[^\w\s]")
_SENTENCE_END = re.compile(r"(?<=[.!?])[\"'”’»)]?\s+(?=[\"'“‘«(]?[A-Z0-9])|\n+")
_ABBREVIATION = re.compile(r"\b(?:Mr|Mrs|Ms|Dr|St|Inc|Ltd|Co|vs|etc|e\.g|i\.e|No|approx)\.\s*$", re.IGNORECASE)
_PARTS = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+|[^\W\d_a-zA-Z]+")

_ASCII_LOWER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}
_ENGLISH = Stemmer.Stemmer("english")


def word_set(text: str) -> frozenset[str]:
    """The words of a text that are separated by white space, as they are written."""
    return frozenset(text.split())


@lru_cache(maxsize=32_768)
def stem(word: str) -> str:
    """The English Snowball stem of a lower-case word; the word itself from 40 characters on."""
    if len(word) >= 40:
        return word
    try:
        return str(_ENGLISH.stemWord(word))
    except UnicodeEncodeError:  # half a surrogate pair
        return word


class Token(NamedTuple):
    """A word or a sign of an instruction; characters [start, end), in the sentence of that number."""

    text: str
    lower: str
    stem: str
    start: int
    end: int
    sentence: int

    @property
    def capital(self) -> bool:
        return self.text[0].isupper()

    @property
    def word(self) -> bool:
        return self.text[0].isalnum()


class Text:
    """The instruction with its tokens. Offsets are into `raw`, which is cut at `MAX_LENGTH` characters."""

    def __init__(self, instruction: str) -> None:
        self.raw = instruction[:MAX_LENGTH]
        lowered = self.raw.lower()
        # A few letters change length when lower-cased, which would shift every offset after them.
        self.lowered = lowered if len(lowered) == len(self.raw) else self.raw.translate(_ASCII_LOWER)
        breaks = self.sentence_starts
        self.tokens: list[Token] = []
        for match in _TOKEN.finditer(self.raw):
            word = match.group()
            lower = word.lower().replace("’", "'")
            start = match.start()
            base = lower.removesuffix("'s")
            self.tokens.append(Token(word, lower, stem(base), start, match.end(), bisect_right(breaks, start) - 1))
        self.starts = [token.start for token in self.tokens]

    @cached_property
    def sentence_starts(self) -> list[int]:
        """Offsets at which sentences begin; lines are sentences too."""
        ends = _SENTENCE_END.finditer(self.raw)
        return [0, *(match.end() for match in ends if not self._abbreviated(match.start()))]

    def _abbreviated(self, end: int) -> bool:
        return _ABBREVIATION.search(self.raw[max(0, end - 8) : end + 1]) is not None

    def index_at(self, offset: int) -> int:
        """Index of the token at the character offset, or of the last one before it; 0 where there is none."""
        return max(0, bisect_right(self.starts, offset) - 1)

    def opens_sentence(self, index: int) -> bool:
        """Whether the token is the first word of its sentence."""
        token = self.tokens[index]
        for before in range(index - 1, -1, -1):
            if self.tokens[before].sentence != token.sentence:
                return True
            if self.tokens[before].word:
                return False
        return True


_COMPOUND = re.compile(
    r"^(country|zip|postal|lang|language|currency|region|state|start|end|from|to|min|max|per|page|cur|current|"
    r"user|screen|price|first|last|file|check|search|sort|order|api|birth)"
    r"(code|date|time|page|size|name|id|num|number|key|by|in|out|term|query|price|day|year|length|text|range|level)$"
)
_MEASURE = re.compile(r"^(height|weight|length|duration|distance|radius)(?:in)?(feet|inches|kg|cm|lbs|minutes|km)$")
_NOT_AN_ID = word_set("covid android rapid liquid hybrid avoid solid valid grid paid void kid bid aid mid")


@lru_cache(maxsize=8192)
def split_name(name: str) -> tuple[str, ...]:
    """The lower-case words of a parameter's or tool's name: `fromDate`, `from_date` and `fromdate` are from, date."""
    words: list[str] = []
    for part in _PARTS.findall(name[:200]):
        word = part.lower()
        compound = _COMPOUND.match(word)
        if compound:
            words.extend(compound.groups())
        elif measure := _MEASURE.match(word):
            words.extend(measure.groups())
        elif word.endswith("id") and len(word) > 4 and word not in _NOT_AN_ID:
            words.extend((word[:-2], "id"))
        elif word in ("latlng", "latlon", "latlong"):
            words.extend(("lat", "lng"))
        elif word in ("dateofbirth", "timeofbirth"):
            words.extend((word[:4], "birth"))
        else:
            words.append(word)
    return tuple(words)


def stem_set(text: str) -> frozenset[str]:
    """The stems of a text's words."""
    return frozenset(stem(word) for word in text.split())


FILLERS = word_set(
    "is are was be being of the a an to as set with equals equal number called named code at it's should must "
    "will for value using has that my our this in on whose = : , # $ € £ ¥ ₹ ( ' \" “ ‘ `"
)
"""What may stand between a parameter's name and its value."""
ASSIGNING = word_set("is are equals equal called named = : as titled be")
"""What says outright that the value follows."""
STOP = word_set(
    "a an the of in on at to for from by with and or but nor so as if then than that this these those which who "
    "whom whose what when where why how is are was were be been being am do does did done have has had having can "
    "could will would shall should may might must i you he she it we they me him her us them my your his its our "
    "their mine yours i'm i'd i've i'll we're we'd we've we'll it's that's there's what's who's how's let's there "
    "here not no yes please thanks thank also additionally moreover furthermore finally too just only very really "
    "some any all each every both few more most much many such own same other another about into over under "
    "between after before during until till while through because since via per up down out off again once like "
    "want wants wanted need needs needed looking look wish hope hoping trying try able interested curious going "
    "planning currently now soon later using use used given based related regarding concerning including include "
    "includes whether around near within without along available possible specific particular certain various "
    "different several exactly great helpful hi hello hey dear ok okay well nothing something anything everything "
    "someone anyone one ones lot lots kind sort bit way ways don't doesn't isn't can't come comes came happen "
    "happens happened think thought enough called named sorted plenty approx already yet ago published "
    "uploaded released located scheduled supported completed"
)
REQUESTS = stem_set(
    "give show get tell find fetch list provide search look retrieve check help assist suggest recommend send "
    "make create generate know see display return pull translate convert compare calculate explain read write ask "
    "answer request bring download discover explore analyze analyse identify determine include verify validate "
    "lookup work call let share offer gather obtain access view use start run scan detect appreciate add put "
    "schedule remind cancel retrieve say tell play buy book plan organize prepare follow autocomplete"
)
"""Stems of the verbs in which a request is made; never the topic."""
GENERIC_NOUNS = stem_set(
    "result information detail list data item news article video story question option example info page "
    "statistics record update latest new recent newest top best current popular trending today full complete "
    "comprehensive total overview summary collection set name id first last type price history historical report "
    "content database api tool service endpoint number keyword term phrase word topic query text job position "
    "recipe gif image picture photo paper"
)
"""Stems of nouns that say what kind of thing is wanted, not which."""
QUALITIES = word_set("best new popular")
"""Qualifiers that stay in a search where they open it: best headphones."""
QUALIFIERS = word_set(
    "latest new recent newest top current popular trending today full complete comprehensive total overview list "
    "information details results news first last set"
)
"""What may stand before the topic without belonging to it: latest news."""
TOPIC_CUES = word_set("about regarding concerning on for of containing mentioning called named like")
PLACE_CUES = word_set("in at near around from to for within of across")
START_CUES = word_set(
    "from between after since starting start begin beginning above over minimum least more departing leaving born "
    "min longer"
)
END_CUES = word_set(
    "to until till through thru before under below maximum most nothing less up into ending end arriving max "
    "shorter than"
)
COUNT_CUES = word_set("top first last latest next limit maximum max only recent newest past show get list at")
SKIP_CUES = word_set("skip skipping offset after")
MEASURES = word_set(
    "km kms kilometer kilometers kilometres mile miles mi m meter meters metres cm mm feet foot ft inch inches kg "
    "kgs kilogram kilograms kilos lb lbs pound pounds gram grams g oz second seconds secs minute minutes min mins "
    "hour hours h hrs day days week weeks month months mo wk year years y yr yrs old px pixels degrees dollars "
    "euros percent % usd eur gbp s w d"
)
NOT_NAMES = word_set("urls ids apis zip i i'm i'd i've i'll mr mrs api id url sku json xml ok hi hello tv am pm us usd")
CONNECTORS = word_set("of the de la du le van von and & in al el y")
"""What may stand between two capitalised words of one name."""
COMPASS = word_set("north south east west centre center northern southern downtown")
SORTING = word_set(
    "sort order rank by ascend descend newest latest cheapest oldest lowest highest popular most recent first"
)
PERIODS = {
    word: letter
    for letter, names in {
        "s": "second seconds sec",
        "m": "minute minutes min mins",
        "h": "hour hours h hr",
        "d": "day days d",
        "w": "week weeks wk",
        "mo": "month months mo",
        "y": "year years y yr",
    }.items()
    for word in names.split()
}
"""Words for a length of time and their short forms: 1 day -> 1d."""
PRICE_LEVELS = word_set("cheap inexpensive affordable moderate expensive luxury")
JOINING = word_set("and of for with in near to on by from the a an or vs without my")
"""What may stand inside a phrase that is searched for."""
