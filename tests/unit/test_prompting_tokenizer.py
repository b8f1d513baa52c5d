"""Data stays data: no text becomes a special or added token, in tokenizers of all kinds."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from app.domain import Json
from app.errors import SetupError
from app.model_files.text_files import ModelFiles
from app.prompting.tokenizer import MAX_LABELS, PromptTokenizer
from tests.support.prompting_models import KINDS, RESERVED_TEXTS, tokenizer_of
from tests.support.tiny_model import tiny_tokenizer

TEXTS = st.lists(st.sampled_from(RESERVED_TEXTS) | st.text(max_size=20), max_size=8).map("".join)
LOSSLESS = ["tiny", "llama_like"]
kinds = pytest.mark.parametrize("kind", KINDS)


@kinds
@settings(max_examples=80, deadline=None)
@given(text=TEXTS)
def test_no_text_becomes_a_special_or_added_token(kind: str, text: str) -> None:
    tokenizer = tokenizer_of(kind)
    assert tokenizer.reserved.isdisjoint(tokenizer.encode(text))


@kinds
def test_the_model_s_own_tokenizer_would_make_special_tokens_of_these_texts(kind: str) -> None:
    """Else the test above could not fail."""
    own = Tokenizer.from_str(json.dumps(KINDS[kind]().tokenizer))
    made = {number for text in RESERVED_TEXTS for number in own.encode(text, add_special_tokens=False).ids}
    assert len(made & tokenizer_of(kind).reserved) >= 2


def test_leaving_added_tokens_out_would_not_be_enough_for_a_vocabulary_that_has_them() -> None:
    document = KINDS["unigram_like"]().tokenizer | {"added_tokens": []}
    naive = Tokenizer.from_str(json.dumps(document))
    assert "<s>" in naive.encode("a <s> b", add_special_tokens=False).tokens
    assert "<0x0A>" in naive.encode("a <0x0A> b", add_special_tokens=False).tokens


@pytest.mark.parametrize("kind", ["sentencepiece_like", "unigram_like"])
@pytest.mark.parametrize("text", ["a<0x0A>b", "<0x0A>", "<0x0A><0x0A>", "日<0x0A>日本", "<0x3C>0x0A>", "＜0x0A＞"])
def test_a_byte_that_is_spelled_out_stays_text(kind: str, text: str) -> None:
    tokenizer = tokenizer_of(kind)
    assert "\n" not in tokenizer.decode(tokenizer.encode(text))
    assert "\n" in tokenizer.decode(tokenizer.encode(f"{text}\n"))


@pytest.mark.parametrize("kind", LOSSLESS)
@settings(max_examples=80, deadline=None)
@given(text=TEXTS)
def test_data_is_read_back_as_it_was(kind: str, text: str) -> None:
    tokenizer = tokenizer_of(kind)
    assert tokenizer.decode(tokenizer.encode(text)) == text


@kinds
def test_a_text_that_spells_a_special_token_is_read_back_too(kind: str) -> None:
    tokenizer = tokenizer_of(kind)
    for number in tokenizer.reserved:
        text = f"a {tokenizer.decode([number])} b"
        assert tokenizer.decode(tokenizer.encode(text)) == text


@kinds
def test_lone_surrogates_are_replaced(kind: str) -> None:
    tokenizer = tokenizer_of(kind)
    assert tokenizer.encode("a\ud800b\udfff") == tokenizer.encode("a\ufffdb\ufffd")


@kinds
def test_nothing_is_put_around_data_and_nothing_is_cut_off(kind: str) -> None:
    tokenizer = tokenizer_of(kind)
    once, often = tokenizer.encode("forecast\n"), tokenizer.encode("forecast\n" * 500)
    assert tokenizer.encode("") == []
    assert often == once * 500


@kinds
def test_pieces_of_a_text_bring_no_spaces_between_them(kind: str) -> None:
    tokenizer = tokenizer_of(kind)
    pieces = ['{"tool', 'name": "', "Fore", "cast", '"}']
    ids = [number for piece in tokenizer.encode_batch(pieces) for number in piece]
    assert tokenizer.decode(ids) == "".join(pieces)


@pytest.mark.parametrize("kind", ["sentencepiece_like", "unigram_like"])
def test_long_runs_of_unknown_characters_and_spelled_bytes_are_encoded(kind: str) -> None:
    tokenizer = tokenizer_of(kind)
    for text in ("😀" * 20_000, "<0x0A>" * 5_000, "<s>" * 20_000):
        assert tokenizer.reserved.isdisjoint(tokenizer.encode(text))


@kinds
def test_a_label_is_one_token_in_the_prompt_and_in_the_answer(kind: str) -> None:
    tokenizer = tokenizer_of(kind)
    labels, ids = tokenizer.labels(20), tokenizer.label_ids(20)
    assert len(set(ids)) == 20
    for label, number in zip(labels, ids, strict=True):
        assert tokenizer.encode(label) == [number]
        pieces = ['{"tool_name":"', label, ' Weather.Foo","parameters":{}}']
        assert tokenizer.encode("".join(pieces)) == [each for piece in pieces for each in tokenizer.encode(piece)]


def test_the_first_labels_are_the_capital_letters() -> None:
    assert "".join(tokenizer_of("llama_like").labels(26)) == "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    assert len(tokenizer_of("llama_like").labels(MAX_LABELS)) == MAX_LABELS


def test_more_labels_than_there_are_is_an_error() -> None:
    with pytest.raises(ValueError, match="51 candidates"):
        tokenizer_of("tiny").labels(MAX_LABELS + 1)


def word_level(words: list[str], **changes: Json) -> ModelFiles:
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), pre_tokenizers.Punctuation()])
    document = json.loads(tokenizer.to_str()) | changes
    return ModelFiles(document, None, {"bos_token": "<s>"}, ("<s>", "<mask>"))


def test_a_tokenizer_without_enough_labels_is_told_of() -> None:
    tokenizer = PromptTokenizer(word_level(["<unk>", "<s>", "A", "B", '"', "{", "}", ":", "tool_name"]))
    assert tokenizer.labels(2) == ("A", "B")
    with pytest.raises(SetupError, match="only 2 labels"):
        tokenizer.labels(3)


def test_a_letter_that_the_answer_s_quotation_mark_swallows_is_no_label() -> None:
    """After a space the mark would go with the space, and the letter would stand alone."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("Ġ", '"'), ('"', "B")]
    vocabulary = {piece: number for number, piece in enumerate([*alphabet, *("".join(pair) for pair in merges)])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    assert tokenizer.encode('{"tool_name":"B W').tokens[-3:] == ['"B', "Ġ", "W"]
    assert tokenizer.encode('{"tool_name": "B W').tokens[-4:] == ['Ġ"', "B", "Ġ", "W"]
    labels = PromptTokenizer(ModelFiles(json.loads(tokenizer.to_str()), None)).labels(3)
    assert labels == ("A", "C", "D")


def test_letters_that_are_one_token_are_one_label() -> None:
    files = word_level(["<unk>", "<s>", "a", "b", "c", '"'])
    files.tokenizer["normalizer"] = json.loads(_state(normalizers.Lowercase()))
    assert PromptTokenizer(files).labels(3) == ("A", "B", "C")


def _state(normalizer: normalizers.Normalizer) -> str:
    state = normalizer.__getstate__()
    return state.decode() if isinstance(state, bytes) else str(state)


def test_special_tokens_that_only_other_files_name_are_special() -> None:
    tokenizer = PromptTokenizer(word_level(["<unk>", "<s>", "<mask>", "a"]))
    assert tokenizer.reserved == {1, 2}
    assert tokenizer.template.before == (1,)
    assert tokenizer.reserved.isdisjoint(tokenizer.encode("a <mask> a"))


def test_the_token_for_unknown_characters_may_come_out_unless_it_ends_a_text_too() -> None:
    files = word_level(["<unk>", "<s>", "a"])
    assert 0 in PromptTokenizer(files).encode("a z")
    ends = ModelFiles(files.tokenizer, None, {"eos_token": "<unk>", "unk_token": "<unk>"}, ("<unk>",))
    assert PromptTokenizer(ends).encode("a z <unk>") == [2]


def test_files_that_do_not_agree_on_a_token_are_a_setup_error() -> None:
    files = word_level(["<unk>", "<s>", "a"])
    agreed = ModelFiles(files.tokenizer, None, added={1: "<s>", 3: "<tool>"})
    assert PromptTokenizer(agreed).reserved == {1, 3}
    with pytest.raises(SetupError, match="does not agree"):
        PromptTokenizer(ModelFiles(files.tokenizer, None, added={7: "<s>"}))


def test_a_directory_is_read_as_transformers_reads_it(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    tiny_tokenizer(tmp_path)
    ours, theirs = PromptTokenizer.load(tmp_path), AutoTokenizer.from_pretrained(tmp_path)
    messages = [{"role": "system", "content": "Do this."}, {"role": "user", "content": '"Weather in Porto?"'}]
    template = ours.template
    system, user = ours.encode_batch([message["content"] for message in messages])
    ids = [*template.before, *system, *template.between, *user, *template.after]
    assert ids == theirs.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    assert ours.reserved == set(theirs.added_tokens_decoder)


def write(directory: Path, **files: Json) -> Path:
    tiny_tokenizer(directory, 400)
    for name, content in files.items():
        path = directory / name.replace("__", ".")
        path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
    return directory


BROKEN: dict[str, tuple[dict[str, Json], str]] = {
    "no JSON": ({"tokenizer__json": "{"}, "is not JSON"),
    "no object": ({"tokenizer__json": []}, "is not a JSON object"),
    "no tokenizer": ({"tokenizer__json": {"version": "1.0"}}, "tokenizer.json is not valid"),
    "no template": ({"chat_template__jinja": "{% if %}"}, "not valid Jinja"),
    "silent template": ({"chat_template__jinja": "hello"}, "does not print"),
    "refusing template": ({"chat_template__jinja": "{{ raise_exception('never') }}"}, "never"),
    "wrong configuration": ({"tokenizer_config__json": "[1"}, "is not JSON"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_model_directory_is_a_setup_error(case: str, tmp_path: Path) -> None:
    files, message = BROKEN[case]
    with pytest.raises(SetupError, match=message):
        PromptTokenizer.load(write(tmp_path, **files))


def test_a_directory_without_a_tokenizer_is_a_setup_error(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"has no tokenizer\.json"):
        PromptTokenizer.load(tmp_path)


def test_a_path_that_does_not_exist_is_a_setup_error(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="not a directory"):
        PromptTokenizer.load(tmp_path / "nowhere")
