"""What each kind of span is worth to each kind of parameter, before anything that stands beside it."""

FITS: dict[str, dict[str, float]] = {
    kind: {span: float(worth) for span, worth in (fit.split() for fit in fits.split(", "))}
    for kind, fits in {
        "email": "email 88, quoted 60",
        "url": "url 88, domain 60, quoted 55",
        "domain": "domain 88, url 66, quoted 55",
        "ip": "ip 88, quoted 50",
        "phone": "phone 88, quoted 40, number 35",
        "latitude": "latitude 88, number 20",
        "longitude": "longitude 88, number 20",
        "coordinates": "pair 88, quoted 40",
        "zip": "quoted 45, number 25, id 25",
        "date": "date 80, quoted 15",
        "time": "time 80, date 10",
        "year": "date 70, number 20",
        "month": "date 70, number 10",
        "day": "date 70, number 10",
        "page": "ordinal 25, number 8",
        "offset": "number 5",
        "count": "number 20",
        "number": "money 50, percent 45, number 42, ordinal 15",
        "id": "uuid 80, id 62, quoted 52, hex 50, number 42, handle 30, file 20, phone 15",
        "ticker": "quoted 56, capitals 54, company 46, proper 30, id 30, currency 30",
        "airport": "capitals 68, airport 60, quoted 50",
        "user": "handle 84, quoted 54, id 40, proper 32, email 30",
        "hashtag": "hashtag 88, quoted 45",
        "color": "hex 66, quoted 30",
        "path": "file 80, path 72, quoted 52",
        "country": "country 80, quoted 40, proper 25",
        "language": "language 80, quoted 15",
        "currency": "currency 80, quoted 40, money 20",
        "state": "state 80, proper 35, quoted 35",
        "place": "address 80, joined 80, street 70, quoted 56, proper 46, country 46, compass 44, state 40, "
        "capitals 36, numbered 30, zip 20, number 12",
        "name": "quoted 56, file 52, proper 45, capitals 38, id 22, country 20, domain 20, handle 20, url 12, "
        "level 10, number 8",
        "query": "quoted 66, hashtag 55, joined 46, address 45, capitals 44, proper 42, url 42, ip 42, clause "
        "38, id 38, domain 36, email 36, handle 36, country 30, file 20, state 20, number 14, "
        "language 10, currency 10",
        "text": "quoted 74, clause 64, url 14, proper 10, number 10",
        "option": "quoted 40, number 24",
        "string": "level 70, quoted 48, url 42, domain 42, uuid 42, ip 42, id 40, file 40, path 40, email 40, "
        "country 38, capitals 37, handle 36, proper 35, currency 34, joined 30, language 30, state "
        "30, hashtag 30, hex 30, phone 30, number 26, date 24, percent 20, money 20, time 16",
        "secret": "quoted 18, id 18, uuid 18, number 0",
        "cursor": "quoted 10, id 10, number 0",
        "sort": "quoted 20",
        "timezone": "path 80, quoted 30",
        "array": "email 50, url 50, quoted 45, id 45, capitals 45, country 40, language 40, proper 35, number 30",
    }.items()
}
