"""Well-known names and their codes: countries (ISO 3166), languages (ISO 639-1), currencies (ISO 4217), US states."""

from app.extraction.words import word_set

_COUNTRIES = (
    "AF Afghanistan|AL Albania|DZ Algeria|AR Argentina|AM Armenia|AU Australia|AT Austria|AZ Azerbaijan"
    "|BH Bahrain|BD Bangladesh|BY Belarus|BE Belgium|BO Bolivia|BA Bosnia and Herzegovina|BW Botswana"
    "|BR Brazil|BG Bulgaria|KH Cambodia|CM Cameroon|CA Canada|CL Chile|CN China|CO Colombia|CR Costa Rica"
    "|HR Croatia|CU Cuba|CY Cyprus|CZ Czech Republic|CZ Czechia|DK Denmark|DO Dominican Republic|EC Ecuador"
    "|EG Egypt|SV El Salvador|EE Estonia|ET Ethiopia|FI Finland|FR France|GE Georgia|DE Germany|GH Ghana"
    "|GR Greece|GT Guatemala|HN Honduras|HK Hong Kong|HU Hungary|IS Iceland|IN India|ID Indonesia|IR Iran"
    "|IQ Iraq|IE Ireland|IL Israel|IT Italy|CI Ivory Coast|JM Jamaica|JP Japan|JO Jordan|KZ Kazakhstan"
    "|KE Kenya|KW Kuwait|LV Latvia|LB Lebanon|LY Libya|LT Lithuania|LU Luxembourg|MY Malaysia|MT Malta"
    "|MX Mexico|MD Moldova|MN Mongolia|ME Montenegro|MA Morocco|MM Myanmar|NP Nepal|NL Netherlands"
    "|NL The Netherlands|NZ New Zealand|NG Nigeria|MK North Macedonia|NO Norway|OM Oman|PK Pakistan|PA Panama"
    "|PY Paraguay|PE Peru|PH Philippines|PL Poland|PT Portugal|PR Puerto Rico|QA Qatar|RO Romania|RU Russia"
    "|RW Rwanda|SA Saudi Arabia|SN Senegal|RS Serbia|SG Singapore|SK Slovakia|SI Slovenia|ZA South Africa"
    "|KR South Korea|KR Korea|ES Spain|LK Sri Lanka|SE Sweden|CH Switzerland|SY Syria|TW Taiwan|TZ Tanzania"
    "|TH Thailand|TN Tunisia|TR Turkey|TR Türkiye|UG Uganda|UA Ukraine|AE United Arab Emirates|AE UAE"
    "|GB United Kingdom|GB UK|GB U.K|GB Great Britain|GB Britain|GB England|US United States of America"
    "|US United States|US USA|US US|US U.S|US America|UY Uruguay|UZ Uzbekistan|VE Venezuela|VN Vietnam"
    "|YE Yemen|ZM Zambia|ZW Zimbabwe"
)
_LANGUAGES = (
    "af Afrikaans|sq Albanian|ar Arabic|hy Armenian|az Azerbaijani|be Belarusian|bn Bengali|bs Bosnian"
    "|bg Bulgarian|ca Catalan|zh Chinese|zh Mandarin|hr Croatian|cs Czech|da Danish|nl Dutch|en English"
    "|et Estonian|fi Finnish|fr French|ka Georgian|de German|el Greek|he Hebrew|hi Hindi|hu Hungarian"
    "|is Icelandic|id Indonesian|ga Irish|it Italian|ja Japanese|ko Korean|la Latin|lv Latvian|lt Lithuanian"
    "|ms Malay|no Norwegian|fa Persian|fa Farsi|pl Polish|pt Portuguese|pa Punjabi|ro Romanian|ru Russian"
    "|sr Serbian|sk Slovak|sl Slovenian|es Spanish|sw Swahili|sv Swedish|ta Tamil|te Telugu|th Thai|tr Turkish"
    "|uk Ukrainian|ur Urdu|vi Vietnamese|cy Welsh"
)
_CURRENCIES = (
    "USD us dollars|USD us dollar|USD american dollars|USD dollars|USD dollar|USD usd|EUR euros|EUR euro"
    "|EUR eur|GBP british pounds|GBP british pound|GBP pounds sterling|GBP pounds|GBP gbp|JPY japanese yen"
    "|JPY yen|JPY jpy|CHF swiss francs|CHF swiss franc|CHF chf|CAD canadian dollars|CAD canadian dollar"
    "|CAD cad|AUD australian dollars|AUD australian dollar|AUD aud|NZD new zealand dollars|NZD nzd"
    "|CNY chinese yuan|CNY yuan|CNY cny|INR indian rupees|INR rupees|INR rupee|INR inr|BRL brazilian reais"
    "|BRL reais|BRL brl|MXN mexican pesos|MXN mexican peso|MXN mxn|SEK swedish kronor|SEK swedish krona"
    "|SEK sek|NOK norwegian kroner|NOK nok|DKK danish kroner|DKK dkk|PLN zloty|PLN zlotys|PLN pln"
    "|CZK czech koruna|CZK czk|HUF forint|HUF huf|TRY turkish lira|TRY lira|TRY try|RUB russian rubles"
    "|RUB rubles|RUB rub|ZAR south african rand|ZAR rand|ZAR zar|KRW korean won|KRW won|KRW krw"
    "|SGD singapore dollars|SGD sgd|HKD hong kong dollars|HKD hkd|THB thai baht|THB baht|THB thb|IDR rupiah"
    "|IDR idr|PHP philippine pesos|MYR ringgit|MYR myr|AED dirhams|AED dirham|AED aed|SAR saudi riyals|SAR sar"
    "|ILS shekels|ILS shekel|ILS ils|ARS argentine pesos|ARS ars|BTC bitcoins|BTC bitcoin|BTC btc|ETH ethereum"
    "|ETH ether|ETH eth|USDT tether|USDT usdt|XRP ripple|XRP xrp|LTC litecoin|LTC ltc|DOGE dogecoin|DOGE doge"
    "|BNB bnb|ADA cardano|SOL solana"
)
_STATES = (
    "AL Alabama|AK Alaska|AZ Arizona|AR Arkansas|CA California|CO Colorado|CT Connecticut|DE Delaware"
    "|FL Florida|GA Georgia|HI Hawaii|ID Idaho|IL Illinois|IN Indiana|IA Iowa|KS Kansas|KY Kentucky"
    "|LA Louisiana|ME Maine|MD Maryland|MA Massachusetts|MI Michigan|MN Minnesota|MS Mississippi|MO Missouri"
    "|MT Montana|NE Nebraska|NV Nevada|NH New Hampshire|NJ New Jersey|NM New Mexico|NY New York"
    "|NC North Carolina|ND North Dakota|OH Ohio|OK Oklahoma|OR Oregon|PA Pennsylvania|RI Rhode Island"
    "|SC South Carolina|SD South Dakota|TN Tennessee|TX Texas|UT Utah|VT Vermont|VA Virginia|WA Washington"
    "|WV West Virginia|WI Wisconsin|WY Wyoming"
)
_TICKERS = (
    "AAPL Apple|AAPL Apple Inc|MSFT Microsoft|GOOGL Google|GOOGL Alphabet|AMZN Amazon|TSLA Tesla|META Meta"
    "|META Facebook|NFLX Netflix|NVDA Nvidia|AMD AMD|INTC Intel|IBM IBM|ORCL Oracle|ADBE Adobe|CRM Salesforce"
    "|DIS Disney|NKE Nike|SBUX Starbucks|MCD McDonald's|KO Coca-Cola|PEP Pepsi|WMT Walmart|BA Boeing|F Ford"
    "|GM General Motors|JPM JPMorgan|GS Goldman Sachs|BAC Bank of America|V Visa|MA Mastercard|PYPL PayPal"
    "|UBER Uber|ABNB Airbnb|SPOT Spotify|SHOP Shopify|PFE Pfizer|JNJ Johnson & Johnson|XOM Exxon|BABA Alibaba"
    "|SONY Sony|TM Toyota"
)
_AIRPORTS = (
    "ATL Atlanta|AMS Amsterdam|ATH Athens|BCN Barcelona|BER Berlin|BOS Boston|BRU Brussels|ORD Chicago"
    "|CPH Copenhagen|DFW Dallas|DEL Delhi|DEL New Delhi|DEN Denver|DXB Dubai|DUB Dublin|FRA Frankfurt"
    "|GVA Geneva|HAM Hamburg|HKG Hong Kong|IST Istanbul|LAS Las Vegas|LIS Lisbon|LHR London|LAX Los Angeles"
    "|MAD Madrid|MIA Miami|MXP Milan|BOM Mumbai|MUC Munich|JFK New York|MCO Orlando|OSL Oslo|CDG Paris"
    "|PRG Prague|FCO Rome|SFO San Francisco|SEA Seattle|ICN Seoul|SIN Singapore|ARN Stockholm|SYD Sydney"
    "|HND Tokyo|YYZ Toronto|VIE Vienna|IAD Washington|ZRH Zurich"
)
SYMBOLS = {"$": "USD", "€": "EUR", "£": "GBP", "¥": "JPY", "₹": "INR", "₿": "BTC"}


def _table(rows: str) -> dict[str, str]:
    pairs = (row.split(" ", 1) for row in rows.split("|"))
    return {name.lower(): code for code, name in pairs}


COUNTRIES = _table(_COUNTRIES)
LANGUAGES = _table(_LANGUAGES)
CURRENCIES = _table(_CURRENCIES)
STATES = _table(_STATES)
TABLES = {
    "country": COUNTRIES, "language": LANGUAGES, "currency": CURRENCIES, "state": STATES,
    "company": _table(_TICKERS), "airport": _table(_AIRPORTS),
}  # fmt: skip
CURRENCY_CODES = frozenset(CURRENCIES.values())
STATE_CODES = frozenset(STATES.values())
COUNTRY_CODES = frozenset(COUNTRIES.values())
_AMBIGUOUS = word_set("try sol won rand sar cad lira ether doge real")


FIRST_WORDS = frozenset(name.split()[0].split("-")[0] for table in TABLES.values() for name in table)
LONGEST_NAME = 4
"""Words in the longest name."""


def find_codes(text: str) -> list[tuple[str, str]]:
    """(kind, code) for each of `TABLES` that has the name.

    `TRY` and `WON` are currencies, `try` and `won` are not; a short name of a country or state, and a company's, needs
    its capital letter.
    """
    lower = text.lower()
    found = []
    for kind, table in TABLES.items():
        code = table.get(lower)
        if code is None or (kind == "currency" and lower in _AMBIGUOUS and not text.isupper()):
            continue
        if kind in ("state", "country") and text.islower() and len(lower) < 4:
            continue
        if kind == "company" and not text[0].isupper():
            continue
        found.append((kind, code))
    return found
