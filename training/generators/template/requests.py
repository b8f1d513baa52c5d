"""From a clause and values to an instruction, in the registers of different people."""

from collections.abc import Sequence
from random import Random

from app.extraction.words import word_set

_REGISTERS = {"terse": 0.2, "polite": 0.22, "question": 0.2, "context": 0.22, "several": 0.16}
_FRAMES = {
    "terse": ("{clause}{given}", "{bare}{given}", "need: {bare}{given}", "{clause}{given} asap"),
    "polite": (
        "Could you please {clause}{given}?",
        "Please {clause}{given}.",
        "Would you mind helping me {clause}{given}?",
        "I'd be grateful if you could {clause}{given}.",
        "May I ask you to {clause}{given}?",
    ),
    "question": (
        "Can you {clause}{given}?",
        "Is it possible to {clause}{given}?",
        "How do I {clause}{given}?",
        "Could someone {clause}{given}?",
    ),
    "context": (
        "I'm {doing} and need to {clause}{given}.",
        "While {doing} I noticed that I have to {clause}{given} first.",
        "I've been {doing} all morning, so please {clause}{given} for me.",
        "My colleague is {doing} and asked me to {clause}{given}.",
        "Before I go on {doing}, I would like to {clause}{given}.",
    ),
    "several": (
        "{opening} I want to {clause}{given}. {closing}",
        "{opening} Please {clause}{given}.",
        "{opening} So, could you {clause}{given}? {closing}",
        "I have to {clause}{given}. {closing}",
    ),
}
_DOING = (
    "preparing a talk", "writing a short report", "planning next week", "tidying up an old spreadsheet",
    "helping my brother with his project", "answering a customer", "putting a newsletter together",
    "checking last month's figures", "setting up a small website", "working through my list",
    "getting ready for a meeting", "testing an idea", "filling in a form", "comparing a few options",
    "drafting an article", "updating our records",
)  # fmt: skip
_OPENINGS = (
    "It has been a long day.", "I am back again.", "Something came up just now.", "We are nearly done here.",
    "I promised somebody an answer.", "This should be simple.", "I tried it by hand and gave up.",
    "My boss is waiting.", "I have five minutes left.", "Let's see whether this works.",
)  # fmt: skip
_CLOSINGS = (
    "That is all for now.", "Take your time.", "I need nothing else.", "It is for tomorrow.", "Thanks a lot.",
    "Anything you find helps.", "I will check it later.", "The sooner the better.",
)  # fmt: skip
_LISTS = (
    ("{name}: {said}", " ({})"),
    ("{name} {said}", " with {}"),
    ("{said} as the {name}", " using {}"),
    ("the {name} {said}", ", with {}"),
    ("{name} = {said}", ", {}"),
)
_LIKE_GET = ("get", "get", "fetch", "look up", "find", "pull up", "check")
_SEEKING = word_set("get fetch find list show search see view look")


def request(clause: str, values: Sequence[tuple[str, str]], random: Random) -> str:
    """`values` are (label, said); one that is said in no words is a wish to be named by its label."""
    register = random.choices(list(_REGISTERS), list(_REGISTERS.values()))[0]
    bare = _bare(clause)
    if clause.startswith("get "):
        clause = f"{random.choice(_LIKE_GET)} {clause[4:]}"
    text = random.choice(_FRAMES[register]).format(
        clause=clause,
        bare=bare,
        given=_given(values, random),
        doing=random.choice(_DOING),
        opening=random.choice(_OPENINGS),
        closing=random.choice(_CLOSINGS),
    )
    text = text.strip()
    return text if register == "terse" else text[0].upper() + text[1:]


def _bare(clause: str) -> str:
    """Without the verb that only says that something is wanted."""
    verb, _, rest = clause.partition(" ")
    if verb not in _SEEKING or not rest:
        return clause
    return rest.removeprefix("for ").removeprefix("the ").removeprefix("a ") or clause


def _given(values: Sequence[tuple[str, str]], random: Random) -> str:
    if not values:
        return ""
    switched = [f"{name} switched on" for name, said in values if not said]
    named = [(name, said) for name, said in values if said]
    if not named:
        return f" with {_listed(switched)}"
    if len(named) == 1 and not switched:
        ((name, said),) = named
        shapes = (" for {name} {said}", ", the {name} is {said}", " with {name} {said}", " ({name}: {said})")
        return random.choice(shapes).format(name=name, said=said)
    shape, frame = random.choice(_LISTS)
    return frame.format(_listed([*(shape.format(name=name, said=said) for name, said in named), *switched]))


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
