"""What chat templates put around the texts."""

import json
from pathlib import Path

import pytest

from app.errors import SetupError
from app.model_files.text_files import read_model_files
from app.prompting.chat_template import ChatPieces, chat_pieces
from tests.support.prompting_models import CHAT_ML, DATED, NO_SYSTEM
from tests.support.tiny_model import tiny_tokenizer
from training.pretraining.tokenizer import TEMPLATE

ROLES = {"bos_token": "<s>", "eos_token": "</s>"}


def test_a_template_is_taken_apart_at_the_two_messages() -> None:
    assert chat_pieces(TEMPLATE, ROLES) == ChatPieces(
        "<s><|start|>system\n", "<|end|>\n<|start|>user\n", "<|end|>\n<|start|>assistant\n"
    )


@pytest.mark.parametrize(
    "template",
    [
        NO_SYSTEM,
        "{% for m in messages if m.role == 'user' %}{{ bos_token }}[INST] {{ m.content }} [/INST]{% endfor %}",
        "{{ bos_token }}[INST] {{ messages[0].content if messages[0].role == 'user' else 1 / 0 }} [/INST]",
        "{{ bos_token }}[INST] {{ messages[-1].content }} [/INST]{{ messages[0].content if messages|length > 1 }}",
    ],
    ids=["refuses", "leaves out", "fails", "puts it last"],
)
def test_a_system_message_that_the_template_does_not_take_opens_the_user_s(template: str) -> None:
    assert chat_pieces(template, ROLES) == ChatPieces("<s>[INST] ", "\n\n", " [/INST]", merged=True)


def test_without_a_template_the_texts_follow_the_begin_token() -> None:
    assert chat_pieces(None, ROLES) == ChatPieces("<s>", "\n\n", "\n", merged=True)
    assert chat_pieces(None, {}) == ChatPieces("", "\n\n", "\n", merged=True)


def test_a_template_that_prints_the_date_tells_no_wrong_one() -> None:
    assert "Today: , \n\n" in chat_pieces(DATED, ROLES).before


@pytest.mark.parametrize("clock", ["strftime_now('%d %b %Y')", "'26 Jul 2024'"])
def test_a_template_with_a_default_date_does_not_fall_back_on_it(clock: str) -> None:
    default = (
        f"{{% if not date_string is defined %}}{{% set date_string = {clock} %}}{{% endif %}}"
        "{{ 'Today Date: ' + date_string + '\n\n' }}{% for m in messages %}{{ m.content }}|{% endfor %}"
    )
    assert chat_pieces(default, ROLES) == ChatPieces("Today Date: \n\n", "|", "|")


def test_a_template_that_reckons_with_the_date_works_without_one() -> None:
    reckoning = "{{ strftime_now('%Y') | int - 1 }}{% for m in messages %}{{ m.content }}|{% endfor %}"
    assert chat_pieces(reckoning, ROLES) == ChatPieces("-1", "|", "|")


def test_a_thinking_model_is_asked_not_to_think() -> None:
    assert chat_pieces(CHAT_ML, {}).after.endswith("<|im_start|>assistant\n<think>\n\n</think>\n\n")


def test_what_templates_use_of_the_environment_is_there() -> None:
    template = (
        "{% for m in messages %}{% if loop.index > 2 %}{% break %}{% endif %}\n"
        "  {% generation %}{{ m.content }}{% endgeneration %}{{ {'role': m.role, 'é': '<'} | tojson }}{% endfor %}"
    )
    pieces = chat_pieces(template, ROLES)
    assert pieces.between.startswith('{"role": "system", "é": "<"}')
    assert not pieces.merged


def test_a_template_cannot_reach_outside_its_sandbox() -> None:
    with pytest.raises(SetupError, match="unsafe"):
        chat_pieces("{{ messages.__class__.__mro__ }}{{ messages[-1].content }}", ROLES)


@pytest.mark.parametrize(
    "template", ["", "{{ messages[-1].content }}{{ messages[-1].content }}", "{{ nothing.at.all }}"]
)
def test_a_template_that_does_not_print_the_message_once_is_a_setup_error(template: str) -> None:
    with pytest.raises(SetupError, match="chat template"):
        chat_pieces(template, ROLES)


def test_the_template_in_its_own_file_goes_before_the_configured_one(tmp_path: Path) -> None:
    tiny_tokenizer(tmp_path, 400)
    assert read_model_files(tmp_path).template == TEMPLATE
    (tmp_path / "chat_template.jinja").write_text(CHAT_ML)
    assert read_model_files(tmp_path).template == CHAT_ML


def test_of_several_configured_templates_the_default_is_used(tmp_path: Path) -> None:
    tiny_tokenizer(tmp_path, 400)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    named = [{"name": "rag", "template": "no"}, {"name": "default", "template": "yes"}]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config | {"chat_template": named}))
    assert read_model_files(tmp_path).template == "yes"


def test_tokens_written_as_objects_and_without_a_role_are_read(tmp_path: Path) -> None:
    tiny_tokenizer(tmp_path, 400)
    config = {
        "bos_token": {"content": "<|begin|>", "special": True},
        "eos_token": None,
        "additional_special_tokens": ["<|start|>", {"content": "<|end|>"}],
        "added_tokens_decoder": {"3": {"content": "<|pad|>"}, "0": {"content": "<|begin|>"}},
    }
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    (tmp_path / "special_tokens_map.json").write_text(json.dumps({"eos_token": "<|end|>"}))
    files = read_model_files(tmp_path)
    assert files.roles == {"bos_token": "<|begin|>", "eos_token": "<|end|>"}
    assert files.special == ("<|begin|>", "<|end|>", "<|start|>")
    assert files.added == {0: "<|begin|>", 3: "<|pad|>"}
