"""tokenizer.json (the `tokenizers` library's own format), changed so that text stays text."""

from collections.abc import Mapping, Set
from uuid import uuid4

from app.domain import Json

Document = dict[str, Json]


def untruncated(document: Document) -> Document:
    """Without the truncation and padding that some models are published with."""
    return {**document, "truncation": None, "padding": None}


def mid_text(document: Document) -> Document:
    """Without the space that some tokenizers put before a text: a prompt is encoded piece by piece."""
    parts = {key: _without_prefix(document.get(key)) for key in ("normalizer", "pre_tokenizer")}
    return {**document, **parts}


def text_only(document: Document, reserved: Set[int]) -> Document:
    """A tokenizer of the same ids for which the reserved tokens do not exist, whatever the text says.

    Leaving them out of the added tokens is not enough where they are in the model's vocabulary too: Unigram would find
    them there, and merges could lead to them.
    """
    return {**document, "added_tokens": [], "model": _without(document["model"], reserved), "post_processor": None}


def has_byte_pieces(document: Document) -> bool:
    """Whether the text `<0x0A>` would be read as the byte it names: Unigram looks its pieces up in the text itself."""
    model = document["model"]
    return isinstance(model["vocab"], list) and bool(model.get("byte_fallback"))


def unknown_id(document: Document) -> int | None:
    """Id of the token for characters that the vocabulary lacks."""
    model = document["model"]
    vocabulary = model["vocab"]
    number = model.get("unk_id") if isinstance(vocabulary, list) else vocabulary.get(model.get("unk_token"))
    return number if isinstance(number, int) else None


def _without_prefix(part: Json) -> Json:
    if not isinstance(part, Mapping):
        return part
    match part.get("type"):
        case "Sequence":
            key = "normalizers" if "normalizers" in part else "pretokenizers"
            kept = [changed for each in part[key] if (changed := _without_prefix(each)) is not None]
            return {**part, key: kept} if kept else None
        case "Prepend":
            return None
        case "Metaspace":
            # `add_prefix_space` is what older files say in its place.
            rest = {name: value for name, value in part.items() if name != "add_prefix_space"}
            return {**rest, "prepend_scheme": "never"}
        case "ByteLevel":
            return {**part, "add_prefix_space": False}
        case _:
            return part


def _without(model: Document, reserved: Set[int]) -> Document:
    """The reserved pieces keep their ids under names that no text holds."""
    secret = uuid4().hex
    vocabulary = model["vocab"]
    if isinstance(vocabulary, list):
        pieces = [
            [f"{secret}-{number}", score] if number in reserved else [piece, score]
            for number, (piece, score) in enumerate(vocabulary)
        ]
        return {**model, "vocab": pieces}
    gone = {piece for piece, number in vocabulary.items() if number in reserved}
    if not gone:
        return model
    renamed = {piece: f"{secret}-{vocabulary[piece]}" for piece in gone}
    changed = {**model, "vocab": {renamed.get(piece, piece): number for piece, number in vocabulary.items()}}
    if model.get("unk_token") in gone:
        changed["unk_token"] = renamed[model["unk_token"]]
    if model.get("merges"):
        prefix = model.get("continuing_subword_prefix") or ""
        changed["merges"] = [merge for merge in model["merges"] if not _touches(merge, prefix, gone)]
    return changed


def _touches(merge: str | list[str], prefix: str, gone: Set[str]) -> bool:
    left, right = merge.split(" ", 1) if isinstance(merge, str) else merge
    return left in gone or right in gone or left + right.removeprefix(prefix) in gone
