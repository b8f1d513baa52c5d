"""The lexicon of non-functional attributes: the rules that its data keep, and how attributes are recognised."""

import re
from collections import Counter

import pytest

from app.extraction.words import word_set
from training.generators.lexicon import NEUTRAL, Attribute, lexicon, plain
from training.generators.template.clauses import sentences

ATTRIBUTES = list(lexicon().attributes.values())
KEYS = [each.key for each in ATTRIBUTES]
WORD = re.compile(r"[^\W_]+")
STOP = word_set(
    "a about after all an and any are as at be been before but by can do does down every everything for from get goes "
    "has have how if in into is it its let more most need never no not nothing of off on one only or our out over "
    "own per see so than that the their them there they this to under up us we what when where which while who whose "
    "will with without you your"
)


def test_there_are_enough_attributes_and_each_is_said_in_ten_ways() -> None:
    assert len(ATTRIBUTES) >= 80
    assert len(lexicon().facets) == 10
    assert all(len(of_facet) >= 5 for of_facet in lexicon().facets.values())
    assert {len(each.says) for each in ATTRIBUTES} == {10}


def test_facets_hold_each_attribute_once() -> None:
    held = [each.key for of_facet in lexicon().facets.values() for each in of_facet]
    assert Counter(held) == Counter(KEYS)


def test_no_sentence_stands_twice() -> None:
    said = Counter(plain(text) for each in ATTRIBUTES for text in (*each.says, each.sentence))
    assert [text for text, count in said.items() if count > 1] == []


@pytest.mark.parametrize("attribute", ATTRIBUTES, ids=KEYS)
def test_the_ten_sentences_of_an_attribute_are_in_other_words(attribute: Attribute) -> None:
    used = Counter(word for text in attribute.says for word in {each.casefold() for each in WORD.findall(text)} - STOP)
    assert {word: count for word, count in used.items() if count > 2} == {}


@pytest.mark.parametrize("attribute", ATTRIBUTES, ids=KEYS)
def test_every_sentence_leads_back_to_its_attribute(attribute: Attribute) -> None:
    for text in (*attribute.says, attribute.sentence):
        assert lexicon().of_sentence(text) is attribute
        assert lexicon().of_sentence(f"  {text.upper()}".replace(" ", "\n ")) is attribute
        assert not lexicon().is_neutral(text)


def test_what_is_said_of_an_attribute_is_one_sentence() -> None:
    several = [text for each in ATTRIBUTES for text in (*each.says, each.sentence) if sentences(text) != [text]]
    assert several == []


def test_neutral_sentences_are_about_no_attribute() -> None:
    for text in NEUTRAL:
        assert lexicon().is_neutral(text)
        assert lexicon().is_neutral(text.lower())
        assert lexicon().of_sentence(text) is None
        assert sentences(text) == [text]
    assert len(set(NEUTRAL)) == len(NEUTRAL)


def test_an_unknown_sentence_is_nobodys() -> None:
    assert lexicon().of_sentence("Lists the museums of a city.") is None
    assert not lexicon().is_neutral("Lists the museums of a city.")


# ---------------------------------------------------------------- names


def test_no_two_attributes_share_a_name() -> None:
    names = Counter(name.casefold() for each in ATTRIBUTES for name in each.names)
    assert [name for name, count in names.items() if count > 1] == []


def test_names_are_single_words() -> None:
    assert [name for each in ATTRIBUTES for name in each.names if re.fullmatch(r"[^\W\d_]+", name) is None] == []


@pytest.mark.parametrize("attribute", ATTRIBUTES, ids=KEYS)
def test_a_whole_word_of_a_providers_name_hints_at_its_attribute(attribute: Attribute) -> None:
    for name in attribute.names:
        for provider in (f"{name} Zulk", f"Zulk {name.upper()}", f"Zulk-{name}", f"zulk_{name.lower()}2"):
            assert lexicon().in_name(provider) == [attribute]
        for provider in (f"{name}zulk", f"Zulk{name.lower()}", f"Zulk{name}"):
            assert lexicon().in_name(provider) == []


def test_a_name_of_two_hints_has_both_attributes() -> None:
    one, other = ATTRIBUTES[0], ATTRIBUTES[-1]
    assert lexicon().in_name(f"{other.names[0]} {one.names[0]}") == [other, one]


# ---------------------------------------------------------------- cue words


@pytest.mark.parametrize("attribute", ATTRIBUTES, ids=KEYS)
def test_cue_words_are_found_whole_and_in_either_case(attribute: Attribute) -> None:
    assert attribute.words
    for cue in attribute.words:
        assert cue == cue.lower()
        assert lexicon().in_text(f"({cue.upper()})") == [attribute]
        assert attribute not in lexicon().in_text("".join(f"zulk{word}zulk " for word in cue.split()))


def test_attributes_come_in_the_texts_order_each_once() -> None:
    keys = [each.key for each in lexicon().in_text("An iPhone app with Gmail, for the iPad and Google Drive.")]
    assert keys == ["apple", "google_workspace"]
    assert lexicon().in_text("Lists the museums of a city.") == lexicon().in_text("") == []


@pytest.mark.parametrize("text", ["ıos", "İos", "ioſ"])
def test_letters_that_only_look_like_a_cue_words_do_no_harm(text: str) -> None:
    assert {each.key for each in lexicon().in_text(f"Runs on {text}.")} <= {"apple"}
