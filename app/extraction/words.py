"""Words that tell where a value begins and ends."""

from app.extraction.text import stem, words_of


def stems_of(text: str) -> frozenset[str]:
    return frozenset(stem(word) for word in text.split())


FILLERS = words_of(
    "is are was be being of the a an to as set with equals equal number called named code at it's should must "
    "will for value using has that my our this in on whose = : , # $ € £ ¥ ₹ ( ' \" “ ‘ `"
)
"""May stand between a parameter's name and its value."""
ASSIGNING = words_of("is are equals equal called named = : as titled be")
"""Say outright that the value follows."""
STOP = words_of(
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
REQUESTS = stems_of(
    "give show get tell find fetch list provide search look retrieve check help assist suggest recommend send "
    "make create generate know see display return pull translate convert compare calculate explain read write ask "
    "answer request bring download discover explore analyze analyse identify determine include verify validate "
    "lookup work call let share offer gather obtain access view use start run scan detect appreciate add put "
    "schedule remind cancel retrieve say tell play buy book plan organize prepare follow autocomplete"
)
"""Stems of the verbs in which a request is made; never the topic."""
GENERIC_NOUNS = stems_of(
    "result information detail list data item news article video story question option example info page "
    "statistics record update latest new recent newest top best current popular trending today full complete "
    "comprehensive total overview summary collection set name id first last type price history historical report "
    "content database api tool service endpoint number keyword term phrase word topic query text job position "
    "recipe gif image picture photo paper"
)
"""Stems of nouns that say what kind of thing is wanted, not which."""
QUALITIES = words_of("best new popular")
"""Those of them that stay where they open a search."""
QUALIFIERS = words_of(
    "latest new recent newest top current popular trending today full complete comprehensive total overview list "
    "information details results news first last set"
)
"""What opens a chunk without belonging to the topic."""
TOPIC_CUES = words_of("about regarding concerning on for of containing mentioning called named like")
PLACE_CUES = words_of("in at near around from to for within of across")
START_CUES = words_of(
    "from between after since starting start begin beginning above over minimum least more departing leaving born "
    "min longer"
)
END_CUES = words_of(
    "to until till through thru before under below maximum most nothing less up into ending end arriving max "
    "shorter than"
)
COUNT_CUES = words_of("top first last latest next limit maximum max only recent newest past show get list at")
SKIP_CUES = words_of("skip skipping offset after")
MEASURES = words_of(
    "km kms kilometer kilometers kilometres mile miles mi m meter meters metres cm mm feet foot ft inch inches kg "
    "kgs kilogram kilograms kilos lb lbs pound pounds gram grams g oz second seconds secs minute minutes min mins "
    "hour hours h hrs day days week weeks month months mo wk year years y yr yrs old px pixels degrees dollars "
    "euros percent % usd eur gbp s w d"
)
NOT_NAMES = words_of("urls ids apis zip i i'm i'd i've i'll mr mrs api id url sku json xml ok hi hello tv am pm us usd")
CONNECTORS = words_of("of the de la du le van von and & in al el y")
"""May stand between two capitalised words of one name."""
COMPASS = words_of("north south east west centre center northern southern downtown")
SORTING = words_of(
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
PRICE_LEVELS = words_of("cheap inexpensive affordable moderate expensive luxury")
JOINING = words_of("and of for with in near to on by from the a an or vs without my")
"""May stand inside a phrase that is searched for."""
