"""Units that tell which number a parameter means: kilograms a weight, years an age."""

from app.extraction.text import words_of

_LENGTHS = "km kms kilometers kilometres kilometer mile miles mi m meters metres"
_PEOPLE = "people persons person adults adult passengers guests travelers travellers"
_MONEY = "usd eur gbp jpy btc eth inr cad aud chf dollars dollar euros euro pounds yen rupees bitcoin us british"
_EXACT = {
    "feet": "feet foot ft",
    "inches": "inches inch in",
    "kg": "kg kilos kilograms",
    "years": "years year",
    "months": "months month mo",
    "weeks": "weeks week wk",
    "days": "days day d",
    "hours": "hours hour h hrs",
    "minutes": "minutes minute min mins",
    "seconds": "seconds second secs s",
}
_UNITS = {
    name: words_of(units)
    for name, units in {
        **_EXACT,
        "weight": "kg kgs kilo kilos kilograms kilogram pounds pound lb lbs g grams stone",
        "height": "cm centimeters centimetres m meters metres meter inches inch feet foot ft tall",
        "duration": "minutes minute min mins hours hour hrs seconds second secs sec s h",
        "radius": _LENGTHS,
        "distance": _LENGTHS,
        "age": "years year yo y",
        "size": "px pixels x",
        "width": "px pixels",
        **dict.fromkeys(("price", "amount", "value"), _MONEY),
        **dict.fromkeys(("percent", "percentage", "rate", "interest"), "%"),
        **dict.fromkeys(("adult", "adults", "passengers", "guests", "people", "persons", "travelers"), _PEOPLE),
    }.items()
}


def units_of(words: tuple[str, ...], described: list[str]) -> frozenset[str]:
    """Units whose number is the parameter's: those that its name says, else what its kind and description say."""
    exact = [word for word in words if word in _EXACT]
    named = exact or [word for word in words if word in _UNITS]
    told = [] if exact else [word for word in described if word in _EXACT]
    return frozenset(unit for word in (*named, *told) for unit in _UNITS[word])
