"""Parameter values of many kinds, each with the ways in which a person writes it in a sentence."""

import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from random import Random

from app.domain import Json

TODAY = date(2025, 6, 2)
"""Of the benchmark's world: past and future dates stand around it."""


@dataclass(frozen=True)
class Value:
    value: Json
    """As the call has it."""
    said: str
    """As the instruction says it."""


FIRST_NAMES = (
    "Amara Anders Beatriz Bilal Camille Chidi Daria Deniz Elif Emil Farah Felix Giulia Goran Hana Hugo Ines Ivo Jaya "
    "Jonas Kemi Klara Lars Leila Mateo Mira Nadia Nils Olga Omar Paula Piotr Quynh Rafael Ruth Samir Selma Tariq Teodora "
    "Uma Viktor Wanda Xenia Yara Yusuf Zoltan Zuri Aiko Bruno Clara Dmitri Esther Fabio Greta Haruto Irena Joao Katya"
).split()
LAST_NAMES = (
    "Abara Albescu Bakker Berglund Castellano Cho Dalgaard Delacroix Eriksen Ferreira Fujita Gallo Grabowski Haddad "
    "Hollis Ibarra Ivanova Jansson Kaplan Keller Kowalczyk Lindqvist Lopes Macleod Marchetti Mbeki Moreau Nakamura "
    "Novotny Okafor Olsen Pereira Petrov Quintero Ramanathan Reyes Rossi Sandoval Schreiber Silva Sorensen Takahashi "
    "Toure Vasquez Vermeer Walsh Weiss Yamada Zelenko Ziegler"
).split()
CITIES = (
    "Lisbon Porto Seville Granada Bordeaux Nantes Lyon Ghent Utrecht Bremen Leipzig Graz Basel Turin Bologna Palermo "
    "Athens Split Ljubljana Krakow Gdansk Riga Tartu Turku Bergen Aarhus Malmo Reykjavik Galway Glasgow Leeds Bristol "
    "Toronto Halifax Boston Denver Austin Seattle Savannah Havana Bogota Quito Lima Cusco Valparaiso Rosario Montevideo "
    "Salvador Recife Dakar Accra Lagos Nairobi Kigali Cairo Tunis Marrakesh Amman Muscat Doha Mumbai Pune Chennai Dhaka "
    "Colombo Hanoi Penang Jakarta Manila Taipei Busan Osaka Sapporo Perth Hobart Auckland Dunedin"
).split() + ["New York", "San Sebastian", "Cape Town", "Buenos Aires", "Kuala Lumpur", "Rio de Janeiro", "Sao Paulo"]
_COUNTRIES = {
    "Portugal": "PT", "Spain": "ES", "France": "FR", "Belgium": "BE", "Germany": "DE", "Austria": "AT", "Italy": "IT",
    "Greece": "GR", "Poland": "PL", "Latvia": "LV", "Finland": "FI", "Norway": "NO", "Denmark": "DK", "Sweden": "SE",
    "Iceland": "IS", "Ireland": "IE", "Canada": "CA", "Mexico": "MX", "Cuba": "CU", "Colombia": "CO", "Peru": "PE",
    "Chile": "CL", "Argentina": "AR", "Brazil": "BR", "Senegal": "SN", "Ghana": "GH", "Nigeria": "NG", "Kenya": "KE",
    "Rwanda": "RW", "Egypt": "EG", "Morocco": "MA", "Jordan": "JO", "Qatar": "QA", "India": "IN", "Nepal": "NP",
    "Vietnam": "VN", "Malaysia": "MY", "Indonesia": "ID", "Japan": "JP", "Australia": "AU", "Turkey": "TR",
}  # fmt: skip
_LANGUAGES = {
    "Portuguese": "pt", "Spanish": "es", "French": "fr", "Dutch": "nl", "German": "de", "Italian": "it", "Greek": "el",
    "Polish": "pl", "Finnish": "fi", "Norwegian": "no", "Danish": "da", "Swedish": "sv", "Turkish": "tr",
    "Arabic": "ar", "Hindi": "hi", "Bengali": "bn", "Vietnamese": "vi", "Indonesian": "id", "Japanese": "ja",
    "Korean": "ko", "Swahili": "sw", "Czech": "cs", "Hungarian": "hu", "Romanian": "ro", "Ukrainian": "uk",
}  # fmt: skip
_CURRENCIES = {
    "USD": "US dollars", "EUR": "euros", "GBP": "British pounds", "JPY": "yen", "CHF": "Swiss francs",
    "SEK": "Swedish kronor", "NOK": "Norwegian kroner", "PLN": "zloty", "CZK": "Czech koruna", "TRY": "Turkish lira",
    "INR": "Indian rupees", "BRL": "Brazilian reais", "MXN": "Mexican pesos", "ZAR": "South African rand",
    "KRW": "South Korean won", "AUD": "Australian dollars", "CAD": "Canadian dollars", "NZD": "New Zealand dollars",
}  # fmt: skip
_ADJECTIVES = (
    "quiet hollow amber northern restless gilded paper silent distant crooked velvet winter salted borrowed iron "
    "wandering forgotten electric hidden patient scarlet broken midnight tidal narrow endless copper wild tender stone"
).split()
_NOUNS = (
    "harbour orchard lantern archive river compass ferry meadow engine mirror garden bridge glacier market violin tower "
    "island kitchen railway canyon lighthouse workshop comet attic window dune ledger carousel tide balcony"
).split()
_TOPICS = (
    "solar panels|sourdough bread|black holes|remote work|electric bicycles|urban beekeeping|marathon training|"
    "sea turtles|renaissance painting|quantum computing|street food|soil erosion|jazz guitar|childhood vaccines|"
    "wind turbines|chess openings|volcanic islands|rent control|plastic recycling|medieval castles|deep sea fishing|"
    "coffee roasting|fast fashion|space debris|wild mushrooms|public transport|machine translation|coral reefs|"
    "knitting patterns|border collies|mountain rescue|olive oil|heat pumps|river flooding|folk dances|tax reform|"
    "glass blowing|night trains|bird migration|school lunches|paper making|desert plants|ice hockey|stage lighting|"
    "migraine relief|data privacy|vertical farming|antique clocks|tidal energy|city cycling|salt marshes|drone racing"
).split("|")
_PRODUCTS = (
    "espresso machine|hiking boots|desk lamp|noise cancelling headphones|rain jacket|yoga mat|cast iron pan|"
    "mechanical keyboard|bicycle helmet|baby stroller|standing desk|camping stove|robot vacuum|sewing machine|"
    "air purifier|fountain pen|memory foam pillow|cordless drill|picnic basket|telescope|garden hose|record player|"
    "suitcase|blender|electric kettle|phone case|ski goggles|bread maker|office chair|water filter"
).split("|")
_DISHES = (
    "mushroom risotto|lentil soup|chicken tagine|apple crumble|shakshuka|beef stew|pumpkin ravioli|fish tacos|"
    "vegetable lasagne|coconut curry|potato gratin|miso ramen|stuffed peppers|lemon tart|black bean chili|kimchi|"
    "pad thai|borscht|paella|banana bread|falafel|gazpacho|pierogi|tiramisu|moussaka|feijoada"
).split("|")
_COMPANIES = (
    "Bluewater Logistics|Harrow Mills|Ostmark Steel|Pinecrest Foods|Redwing Motors|Solano Textiles|Kestrel Mining|"
    "Northgate Energy|Verano Airlines|Calder Paper|Quill Insurance|Marlow Chemicals|Tamarind Hotels|Fjordland Seafood|"
    "Castello Ceramics|Brightwell Pharma|Orchid Retail|Granite Rail|Lumen Optics|Aster Robotics"
).split("|")
_TEAMS = (
    "Harbour City Rovers|Northside Falcons|River Plains United|Ironworks FC|Blue Ridge Bears|Old Town Athletic|"
    "Capital Comets|Lakeshore Wolves|Eastfield Rangers|Portside Mariners|Highland Stags|Desert Kings|Valley Hawks|"
    "Granite City Giants|Southbank Swifts|Coastal Storm"
).split("|")
_ARTISTS = (
    "The Paper Lanterns|Mira Solano|Copper Tide|Night Ferry|Ada Lindholm|The Salt Brothers|Velvet Orchard|Juno Reyes|"
    "Tin Roof Choir|Harbour Lights|Kofi Mensah Trio|Glass Meadow|Lena Vask|The Borrowed Suits|Northern Static"
).split("|")
_SENTENCES = (
    "The delivery came two days late and the box was torn, but the lamp itself is lovely.|We should postpone the launch "
    "until the legal team has read the contract.|I have never tasted soup this good in a railway station.|The committee "
    "rejected the proposal after four hours of debate.|Nobody answered the phone, so I left a note under the door.|Her "
    "second novel is slower than the first and all the better for it.|The new update drains my battery before noon.|Rain "
    "fell all week, and the lower fields are under water again.|He said the repairs would cost more than the car is "
    "worth.|The museum reopens in spring with a gallery for children.|Their support staff were patient and solved it in "
    "ten minutes.|Prices rose for the third month in a row while wages stood still.|The trail is steep at first but the "
    "view from the ridge repays it.|Please send the signed forms back before the end of the month.|The orchestra played "
    "without a conductor and hardly missed a beat."
).split("|")
_MESSAGES = (
    "The meeting moves to Thursday|Your parcel is at the front desk|Dinner is at eight, bring a coat|The invoice has been "
    "paid, thank you|I will be twenty minutes late|The boiler is fixed|Your appointment is confirmed|Please call me back "
    "tonight|The keys are with the neighbour|Training is cancelled tomorrow|The draft is ready for review|Your table is "
    "booked|Do not forget the tickets|The results came in this morning"
).split("|")
_SPECIES = (
    "red kite|european otter|snow leopard|monk seal|wild boar|grey heron|blue whale|barn owl|atlantic salmon|"
    "stag beetle|alpine ibex|green turtle|cork oak|silver birch|giant squid|honey badger"
).split("|")
_DRUGS = "ibuprofen metformin amoxicillin loratadine omeprazole sertraline warfarin atorvastatin salbutamol prednisone".split()
_SPORTS = "football basketball tennis handball rugby cricket volleyball hockey badminton rowing fencing curling".split()
_LEAGUES = (
    "Premier League|La Liga|Serie A|Bundesliga|Ligue 1|Eredivisie|NBA|EuroLeague|Six Nations|Super League|Copa America"
).split("|")
_GAMES = (
    "Starfall Tactics|Ember Road|Dungeon Bakery|Skyline Racers|Moss Kingdom|Last Lighthouse|Iron Orbit|Puzzle Harbor|"
    "Shadow Regatta|Bee Colony|Frostmark|Neon Courier"
).split("|")
_ZODIAC = "aries taurus gemini cancer leo virgo libra scorpio sagittarius capricorn aquarius pisces".split()
_AIRPORTS = (
    "LIS OPO MAD BCN CDG AMS BRU FRA VIE ZRH MXP ATH WAW HEL OSL CPH ARN KEF DUB EDI YYZ BOS DEN SEA BOG LIM".split()
)
_TICKERS = "AAPL MSFT TSLA NVDA AMZN NFLX SHEL SIEGY TTM NVO SAP ASML BHP RIO HSBC UL AZN TM SONY BABA".split()
_CRYPTO = "BTC ETH SOL ADA DOT XRP LTC AVAX LINK ATOM DOGE MATIC".split()
_AIRLINES = "TP LH BA AF KL SK AY LX OS IB LO EK QR TK UA DL".split()
_HOSTS = "com org net io dev info shop app".split()
_UNITS = "one two three four five six seven eight nine ten eleven twelve".split()
_MONTHS = ("January February March April May June July August September October November December").split()
_HEX = "0123456789abcdef"


def _pick(choices: Sequence[str]) -> Callable[[Random], Value]:
    def make(random: Random) -> Value:
        chosen = random.choice(choices)
        return Value(chosen, chosen)

    return make


def _named(codes: Mapping[str, str], *, code_said: float) -> Callable[[Random], Value]:
    """A code that is said by its name, or now and then as it is."""

    def make(random: Random) -> Value:
        name = random.choice(sorted(codes))
        code = codes[name]
        return Value(code, code if random.random() < code_said else name)

    return make


def _title(random: Random) -> Value:
    shape = random.choice(("The {a} {n}", "{a} {n}", "A {n} of {m}", "{n} and {m}", "The {n}", "{a} {n}s"))
    words = {"a": random.choice(_ADJECTIVES), "n": random.choice(_NOUNS), "m": random.choice(_NOUNS)}
    title = shape.format(**{key: word.capitalize() for key, word in words.items()})
    return Value(title, random.choice((f'"{title}"', title, f"“{title}”")))


def _person(random: Random) -> Value:
    name = f"{random.choice(FIRST_NAMES)} {random.choice(LAST_NAMES)}"
    return Value(name, name)


def _quoted(choices: Sequence[str]) -> Callable[[Random], Value]:
    def make(random: Random) -> Value:
        chosen = random.choice(choices)
        return Value(chosen, f'"{chosen}"')

    return make


def _domain_name(random: Random) -> str:
    joint = random.choice(("", "", "-"))
    return f"{random.choice(_ADJECTIVES)}{joint}{random.choice(_NOUNS)}.{random.choice(_HOSTS)}"


def _domain(random: Random) -> Value:
    name = _domain_name(random)
    return Value(name, name)


def _url(random: Random) -> Value:
    path = random.choice(("", f"/{random.choice(_NOUNS)}", f"/{random.choice(_NOUNS)}/{random.randint(2, 980)}"))
    url = f"https://{random.choice(('', 'www.'))}{_domain_name(random)}{path}"
    return Value(url, url)


def _image_url(random: Random) -> Value:
    url = f"https://{_domain_name(random)}/{random.choice(_NOUNS)}-{random.randint(1, 999)}.{random.choice(('jpg', 'png'))}"
    return Value(url, url)


def _email(random: Random) -> Value:
    joint = random.choice((".", "_", ""))
    who = f"{random.choice(FIRST_NAMES)}{joint}{random.choice(LAST_NAMES)}".lower()
    mail = f"{who}@{_domain_name(random)}"
    return Value(mail, mail)


def _coded(*shapes: str) -> Callable[[Random], Value]:
    """`0` a digit, `A` a capital, `h` a hexadecimal digit; anything else stands for itself."""

    def make(random: Random) -> Value:
        shape = random.choice(shapes)
        kinds = {"0": string.digits, "A": "ABCDEFGHJKLMNPRSTUVWXYZ", "h": _HEX}
        text = "".join(random.choice(kinds[each]) if each in kinds else each for each in shape)
        return Value(text, text)

    return make


def _username(random: Random) -> Value:
    name = f"{random.choice(_ADJECTIVES)}{random.choice(('_', '', '.'))}{random.choice(FIRST_NAMES).lower()}"
    name += random.choice(("", str(random.randint(2, 99))))
    return Value(name, random.choice((name, f"@{name}")))


def _hashtag(random: Random) -> Value:
    tag = random.choice(_TOPICS).replace(" ", "")
    return Value(tag, f"#{tag}")


def _said_date(day: date, random: Random) -> str:
    month = _MONTHS[day.month - 1]
    return random.choice(
        (day.isoformat(), day.isoformat(), f"{day.day} {month} {day.year}", f"{month} {day.day}, {day.year}")
    )


def _date(lowest: int, highest: int) -> Callable[[Random], Value]:
    def make(random: Random) -> Value:
        day = TODAY + timedelta(days=random.randint(lowest, highest))
        return Value(day.isoformat(), _said_date(day, random))

    return make


def _time(random: Random) -> Value:
    text = f"{random.randint(6, 22):02d}:{random.choice((0, 10, 15, 20, 30, 40, 45, 50)):02d}"
    return Value(text, text)


def _small(lowest: int, highest: int) -> Callable[[Random], Value]:
    def make(random: Random) -> Value:
        number = random.randint(lowest, highest)
        in_words = number <= len(_UNITS) and number > 1 and random.random() < 0.35
        return Value(number, _UNITS[number - 1] if in_words else str(number))

    return make


def _number(lowest: float, highest: float, digits: int) -> Callable[[Random], Value]:
    def make(random: Random) -> Value:
        number = round(random.uniform(lowest, highest), digits)
        whole = digits == 0 or number == int(number)
        return Value(int(number) if whole else number, f"{int(number) if whole else number}")

    return make


def _amount(random: Random) -> Value:
    number = random.choice((random.randint(2, 99), random.randint(1, 40) * 50, round(random.uniform(5, 900), 2)))
    return Value(number, str(number))


def _postal(random: Random) -> Value:
    return _coded("00000", "0000 AA", "00-000", "AA0 0AA")(random)


KINDS: Mapping[str, Callable[[Random], Value]] = {
    "city": _pick(CITIES),
    "country": _pick(sorted(_COUNTRIES)),
    "country_code": _named(_COUNTRIES, code_said=0.4),
    "language": _pick(sorted(_LANGUAGES)),
    "language_code": _named(_LANGUAGES, code_said=0.25),
    "currency": _named({name: code for code, name in _CURRENCIES.items()}, code_said=0.6),
    "ticker": _pick(_TICKERS),
    "crypto": _pick(_CRYPTO),
    "company": _pick(_COMPANIES),
    "person": _person,
    "team": _pick(_TEAMS),
    "artist": _pick(_ARTISTS),
    "title": _title,
    "topic": _pick(_TOPICS),
    "product": _pick(_PRODUCTS),
    "dish": _pick(_DISHES),
    "text": _quoted(_SENTENCES),
    "message": _quoted(_MESSAGES),
    "url": _url,
    "image_url": _image_url,
    "domain": _domain,
    "email": _email,
    "phone": _coded("+351910000000", "+4477000000", "+1617000000", "+4015000000"),
    "ip": lambda random: _same(".".join(str(random.randint(1, 254)) for _ in range(4))),
    "username": _username,
    "hashtag": _hashtag,
    "id": _coded("00000", "0000000", "AA-0000", "hhhhhhhh", "A00000", "AAA_000"),
    "isbn": _coded("978-0-000-00000-0", "9780000000000"),
    "iban": _coded("DE00000000000000000000", "FR000000000000000000000000", "PT00000000000000000000000"),
    "vin": _coded("AAAAA00A00A000000", "0AAAA00A0AA000000"),
    "plate": _coded("AA-00-AA", "AAA-0000", "A-AA 0000"),
    "postal_code": _postal,
    "flight": lambda random: _same(f"{random.choice(_AIRLINES)}{random.randint(100, 4999)}"),
    "airport": _pick(_AIRPORTS),
    "tracking": _coded("AA000000000AA", "1Z00000000", "00000000000000"),
    "patent": _coded("EP0000000", "US00000000", "WO2000000000"),
    "case_number": _coded("C-000/10", "00-0000", "21/A/0000"),
    "drug": _pick(_DRUGS),
    "species": _pick(_SPECIES),
    "sport": _pick(_SPORTS),
    "league": _pick(_LEAGUES),
    "game": _pick(_GAMES),
    "date": _date(-500, 300),
    "past_date": _date(-1500, -3),
    "future_date": _date(2, 240),
    "time": _time,
    "year": lambda random: _same(random.randint(1985, 2024)),
    "count": _small(2, 50),
    "days": _small(2, 14),
    "amount": _amount,
    "price": lambda random: _same(random.choice((random.randint(2, 30) * 5, random.randint(1, 30) * 100))),
    "latitude": _number(-55, 65, 4),
    "longitude": _number(-120, 150, 4),
    "radius": _small(1, 60),
    "percent": _small(5, 95),
    "zodiac": _pick(_ZODIAC),
    "color": _coded("#hhhhhh"),
}
"""By the name that the catalogue's files use."""

TYPES: Mapping[str, str] = {
    **dict.fromkeys(
        ("year", "count", "days", "amount", "price", "latitude", "longitude", "radius", "percent"), "NUMBER"
    ),
    **dict.fromkeys(("date", "past_date", "future_date"), "DATE"),
    "time": "TIME",
    "boolean": "BOOLEAN",
}
"""RapidAPI's type of a kind; STRING for the rest."""


def _same(value: Json) -> Value:
    return Value(value, str(value))


def make_value(kind: str | Sequence[str], random: Random) -> Value:
    """Of a kind of `KINDS`, `boolean`, or one of an enumeration's members. KeyError for a kind there is not."""
    if not isinstance(kind, str):
        member = random.choice(list(kind))
        return Value(member, str(member).replace("_", " "))
    if kind == "boolean":
        return Value(True, "")
    return KINDS[kind](random)
