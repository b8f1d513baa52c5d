"""The served model's tokenizer: data as plain text, and the chat template's pieces with their special tokens.

Made from the model's tokenizer.json (the format of the library `tokenizers`), which is changed so that no data can
become a special token.
"""

import json
import string
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self
from uuid import uuid4

from tokenizers import Tokenizer

from app.domain import Json
from app.errors import SetupError
from app.model_files.text_files import ModelFiles, read_model_files
from app.prompting.chat_template import chat_pieces
from app.prompting.text import replace_surrogates

_Document = dict[str, Json]
MAX_LABELS = 50
_LABELS = string.ascii_uppercase + string.ascii_lowercase + "ΓΔΘΛΞΠΣΦΨΩБДЖИЛЦШЭЮЯ"


@dataclass(frozen=True)
class TemplatePieces:
    """Token ids of the chat template's pieces, as `app.prompting.chat_template.ChatPieces` has them as texts."""

    before: tuple[int, ...]
    between: tuple[int, ...]
    after: tuple[int, ...]
    merged: bool


class PromptTokenizer:
    """Encodes texts as data: none of their tokens is a special token, whatever the text says. Thread-safe."""

    def __init__(self, files: ModelFiles) -> None:
        """Raises SetupError for files that define no valid tokenizer, and for a chat template that does not work."""
        document = _without_truncation(files.tokenizer)
        self._full = _tokenizer(document, files)
        inner = _without_text_prefix(document)
        self._inner = self._full if inner == document else _tokenizer(inner, files)
        self._unknown = _unknown_id(document)
        self.reserved = _reserved(self._full, self._unknown, files)
        """Ids of the special and other added tokens. No data is encoded as one of them."""
        self._data = _load(_without_reserved(inner, self.reserved))
        self._bytes = _byte_ids(self._full) if _has_byte_pieces(document) else frozenset()
        self._suspect = self.reserved | self._bytes
        self.template = self._template(files)
        self.end: int | None = self._full.token_to_id(files.roles.get("eos_token", ""))
        """Id of the token that ends an answer. None if the model's files name none."""

    @classmethod
    def load(cls, model: str | Path) -> Self:
        """The tokenizer of a model directory in Hugging Face's layout, or of a model on the hub. Takes up to seconds.

        Raises SetupError that says what to do.
        """
        return cls(read_model_files(model))

    def encode(self, text: str) -> list[int]:
        """Token ids of the text as data: without BOS and EOS, and without any `reserved` id."""
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, as `encode` gives them; faster than one at a time."""
        clean = [replace_surrogates(text) for text in texts]
        encodings = self._data.encode_batch_fast(clean, add_special_tokens=False)
        return [
            encoding.ids if self._suspect.isdisjoint(encoding.ids) else self._split(text)
            for text, encoding in zip(clean, encodings, strict=True)
        ]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of the ids, including special tokens."""
        return self._full.decode(list(ids), skip_special_tokens=False)

    def labels(self, n: int) -> tuple[str, ...]:
        """The first n labels of candidates, each of one token both in the prompt and in the answer.

        Raises ValueError for more than `MAX_LABELS`, SetupError if the tokenizer has fewer such labels.
        """
        if n > MAX_LABELS:
            raise ValueError(f"{n} candidates; there are {MAX_LABELS} labels")
        if n > len(self._labels):
            raise SetupError(
                f"The model's tokenizer writes only {len(self._labels)} labels as one token, and {n} are needed. Use a "
                "prompt format without labels, or fewer candidates."
            )
        return tuple(self._labels)[:n]

    def label_ids(self, n: int) -> tuple[int, ...]:
        """Token ids of `labels(n)`, all different."""
        return tuple(self._labels[label] for label in self.labels(n))

    @cached_property
    def _labels(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for label in _LABELS:
            number = self._label_id(label)
            if number is not None and number not in found.values():
                found[label] = number
        return dict(list(found.items())[:MAX_LABELS])

    def _label_id(self, label: str) -> int | None:
        """The label's token id. None if it is not the same single token in the prompt and in the answer."""
        ids = self.encode(label)
        if len(ids) != 1 or ids[0] == self._unknown:
            return None
        opening = '{"tool_name":"'
        place = (len(opening), len(opening) + 1)
        for rest in (' Weather.Service.forecast","parameters":{}}', '","parameters":{}}'):
            answer = self._data.encode(opening + label + rest, add_special_tokens=False)
            if (ids[0], place) not in zip(answer.ids, answer.offsets, strict=True):
                return None
        return ids[0]

    def _split(self, text: str) -> list[int]:
        """Token ids of a text that contains the spelling of a byte token, such as `<0x0A>`: encoded in parts.

        Together the spelling's characters would become the byte's token. Byte tokens of an unknown character share its
        place in the text, so one that has several characters to itself was spelled out. A reserved token that remains
        stands for unknown characters and is left out.
        """
        encoding = self._data.encode(text, add_special_tokens=False)
        sharing = Counter(encoding.offsets)
        cuts = [
            place[0] + 1
            for number, place in zip(encoding.ids, encoding.offsets, strict=True)
            if number in self._bytes and sharing[place] == 1 and place[1] - place[0] > 1
        ]
        if not cuts:
            return [number for number in encoding.ids if number not in self.reserved]
        edges = zip([0, *cuts], [*cuts, len(text)], strict=True)
        return [number for start, end in edges for number in self._split(text[start:end])]

    def _template(self, files: ModelFiles) -> TemplatePieces:
        pieces = chat_pieces(files.template, files.roles)
        before = self._full.encode(pieces.before, add_special_tokens=False).ids
        between, after = (
            self._inner.encode(text, add_special_tokens=False).ids for text in (pieces.between, pieces.after)
        )
        return TemplatePieces(tuple(before), tuple(between), tuple(after), pieces.merged)


def _load(document: _Document) -> Tokenizer:
    try:
        return Tokenizer.from_str(json.dumps(document))
    except Exception as error:  # the library raises no narrower class
        raise SetupError(f"The model's tokenizer.json is not valid ({error}); copy the model again.") from error


def _tokenizer(document: _Document, files: ModelFiles) -> Tokenizer:
    """The tokenizer with the special tokens that only the files beside tokenizer.json define."""
    tokenizer = _load(document)
    known = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
    named = [*files.added.values(), *(text for text in files.special if tokenizer.token_to_id(text) is not None)]
    tokenizer.add_special_tokens([text for text in dict.fromkeys(named) if text not in known])
    for number, text in files.added.items():
        if tokenizer.token_to_id(text) != number:
            raise SetupError(
                f"The model's tokenizer_config.json has {text!r} as token {number}, which does not agree with its "
                "tokenizer.json; copy the model again."
            )
    return tokenizer


def _reserved(tokenizer: Tokenizer, unknown: int | None, files: ModelFiles) -> frozenset[int]:
    """Ids of all added tokens. The one for unknown characters is among them only if it has another role too."""
    others = {text for role, text in files.roles.items() if role != "unk_token"}
    added = tokenizer.get_added_tokens_decoder().items()
    return frozenset(number for number, token in added if number != unknown or token.content in others)


def _byte_ids(tokenizer: Tokenizer) -> frozenset[int]:
    ids = (tokenizer.token_to_id(f"<0x{byte:02X}>") for byte in range(256))
    return frozenset(number for number in ids if number is not None)


def _without_truncation(document: _Document) -> _Document:
    """The document without truncation and padding, which some models are published with."""
    return {**document, "truncation": None, "padding": None}


def _without_text_prefix(document: _Document) -> _Document:
    """The document without the space that some tokenizers put before a text: a prompt is encoded in pieces."""
    parts = {key: _drop_prefix(document.get(key)) for key in ("normalizer", "pre_tokenizer")}
    return {**document, **parts}


def _without_reserved(document: _Document, reserved: Set[int]) -> _Document:
    """The document of a tokenizer with the same ids that never produces a reserved token, whatever the text says.

    Removing them from the added tokens is not enough: if the model's vocabulary has them too, Unigram finds them
    there, and merges can lead to them.
    """
    return {
        **document,
        "added_tokens": [],
        "model": _rename_reserved(document["model"], reserved),
        "post_processor": None,
    }


def _has_byte_pieces(document: _Document) -> bool:
    """Whether the text `<0x0A>` would become that byte's token, as with Unigram, which searches the text itself."""
    model = document["model"]
    return isinstance(model["vocab"], list) and bool(model.get("byte_fallback"))


def _unknown_id(document: _Document) -> int | None:
    """Id of the token for characters that the vocabulary does not have; None if there is no such token."""
    model = document["model"]
    vocabulary = model["vocab"]
    number = model.get("unk_id") if isinstance(vocabulary, list) else vocabulary.get(model.get("unk_token"))
    return number if isinstance(number, int) else None


def _drop_prefix(part: Json) -> Json:
    if not isinstance(part, Mapping):
        return part
    match part.get("type"):
        case "Sequence":
            key = "normalizers" if "normalizers" in part else "pretokenizers"
            kept = [changed for each in part[key] if (changed := _drop_prefix(each)) is not None]
            return {**part, key: kept} if kept else None
        case "Prepend":
            return None
        case "Metaspace":
            # Older files have `add_prefix_space` in place of `prepend_scheme`.
            rest = {name: value for name, value in part.items() if name != "add_prefix_space"}
            return {**rest, "prepend_scheme": "never"}
        case "ByteLevel":
            return {**part, "add_prefix_space": False}
        case _:
            return part


def _rename_reserved(model: _Document, reserved: Set[int]) -> _Document:
    """The model with its reserved pieces renamed to random names, which no text contains. Ids stay as they are."""
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
        changed["merges"] = [merge for merge in model["merges"] if not _has_reserved_piece(merge, prefix, gone)]
    return changed


def _has_reserved_piece(merge: str | list[str], prefix: str, gone: Set[str]) -> bool:
    left, right = merge.split(" ", 1) if isinstance(merge, str) else merge
    return left in gone or right in gone or left + right.removeprefix(prefix) in gone
