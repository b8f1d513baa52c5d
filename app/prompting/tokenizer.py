"""The serving model's tokenizer: data as plain text, and the chat template's pieces with their special tokens."""

import json
import string
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

from tokenizers import Tokenizer

from app.errors import SetupError
from app.model_files.text_files import ModelFiles, read_model_files
from app.prompting import tokenizer_json
from app.prompting.chat_template import chat_pieces
from app.prompting.text import without_surrogates

MAX_LABELS = 50
_LABELS = string.ascii_uppercase + string.ascii_lowercase + "ΓΔΘΛΞΠΣΦΨΩБДЖИЛЦШЭЮЯ"


@dataclass(frozen=True)
class TemplatePieces:
    """Token ids of what the chat template puts around the texts (`app.prompting.chat_template.ChatPieces`)."""

    before: tuple[int, ...]
    between: tuple[int, ...]
    after: tuple[int, ...]
    merged: bool


class PromptTokenizer:
    """Safe to use from many threads at once."""

    def __init__(self, files: ModelFiles) -> None:
        """Raises SetupError for files that make no tokenizer, or for a chat template that does not work."""
        document = tokenizer_json.untruncated(files.tokenizer)
        self._full = _tokenizer(document, files)
        inner = tokenizer_json.mid_text(document)
        self._inner = self._full if inner == document else _tokenizer(inner, files)
        self._unknown = tokenizer_json.unknown_id(document)
        self.reserved = _reserved(self._full, self._unknown, files)
        """Ids of the special and the other added tokens: no data ever becomes one of them."""
        self._data = _load(tokenizer_json.text_only(inner, self.reserved))
        self._bytes = _byte_ids(self._full) if tokenizer_json.has_byte_pieces(document) else frozenset()
        self._suspect = self.reserved | self._bytes
        self.template = self._template(files)
        self.end: int | None = self._full.token_to_id(files.roles.get("eos_token", ""))
        """The token that ends an answer; None where the model's files name none."""

    @classmethod
    def load(cls, model: str | Path) -> Self:
        """Of a model directory in Hugging Face's layout, or of a name on the hub. Takes up to seconds.

        Raises SetupError that says what to do.
        """
        return cls(read_model_files(model))

    def encode(self, text: str) -> list[int]:
        """Ids of the text as data: without BOS and EOS, and never one that is `reserved`."""
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        clean = [without_surrogates(text) for text in texts]
        encodings = self._data.encode_batch_fast(clean, add_special_tokens=False)
        return [
            encoding.ids if self._suspect.isdisjoint(encoding.ids) else self._split(text)
            for text, encoding in zip(clean, encodings, strict=True)
        ]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of the ids, special tokens written out."""
        return self._full.decode(list(ids), skip_special_tokens=False)

    def labels(self, n: int) -> tuple[str, ...]:
        """The first n short labels, each one token wherever the prompt or the answer has it.

        Raises ValueError beyond `MAX_LABELS`, SetupError if the tokenizer has not so many.
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
        """Its token; None where it is not one token of its own, the same one, in the prompt and in the answer."""
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
        """Encodes apart what would together be a token that stands for something else than these characters.

        The bytes of an unknown character, or of a run of them, share its place in the text; a byte that has more than
        one character to itself was spelled out. A reserved token that is left after all stands for unknown characters:
        it is left out.
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


def _load(document: tokenizer_json.Document) -> Tokenizer:
    try:
        return Tokenizer.from_str(json.dumps(document))
    except Exception as error:  # the library raises no narrower class
        raise SetupError(f"The model's tokenizer.json makes no tokenizer ({error}); copy the model again.") from error


def _tokenizer(document: tokenizer_json.Document, files: ModelFiles) -> Tokenizer:
    """With the special tokens that only the files beside tokenizer.json tell of."""
    tokenizer = _load(document)
    known = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
    told = [*files.added.values(), *(text for text in files.special if tokenizer.token_to_id(text) is not None)]
    tokenizer.add_special_tokens([text for text in dict.fromkeys(told) if text not in known])
    for number, text in files.added.items():
        if tokenizer.token_to_id(text) != number:
            raise SetupError(
                f"The model's tokenizer_config.json has {text!r} as token {number}, which does not agree with its "
                "tokenizer.json; copy the model again."
            )
    return tokenizer


def _reserved(tokenizer: Tokenizer, unknown: int | None, files: ModelFiles) -> frozenset[int]:
    """All added tokens but the one for unknown characters, which is reserved only where it has another role."""
    others = {text for role, text in files.roles.items() if role != "unk_token"}
    added = tokenizer.get_added_tokens_decoder().items()
    return frozenset(number for number, token in added if number != unknown or token.content in others)


def _byte_ids(tokenizer: Tokenizer) -> frozenset[int]:
    ids = (tokenizer.token_to_id(f"<0x{byte:02X}>") for byte in range(256))
    return frozenset(number for number in ids if number is not None)
