"""Systems as YAML; which instances are asked."""

from pathlib import Path

import pytest

from app.domain import HistorySetting
from app.errors import SetupError
from tests.support.evaluate_cases import benchmark
from training.evaluate.config import ChatConfig, ModelConfig, load_system, shipped_systems
from training.evaluate.run import Selection, select_instances


def test_every_shipped_system_loads_under_its_own_name() -> None:
    for name in shipped_systems():
        assert load_system(name).name == name


def test_every_shipped_ablation_is_of_a_shipped_system_and_differs_from_it() -> None:
    for name in shipped_systems():
        system = load_system(name)
        if system.ablation is not None:
            whole = load_system(system.ablation.of)
            same_files = getattr(whole, "adapter", None) == getattr(system, "adapter", None)
            assert not (same_files and whole.deciding_settings() == system.deciding_settings())


def test_the_papers_settings_are_the_default() -> None:
    for name in ("small", "petoolllama", "gpt-4o", "vicuna-7b"):
        system = load_system(name)
        assert isinstance(system, ModelConfig | ChatConfig)
        assert system.temperature == 0.1


def test_a_file_extends_another_beside_it_and_changes_apply(tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text("name: one\nlabel: One\nkind: ranker\nconcurrency: 2\n")
    (tmp_path / "two.yaml").write_text("extends: one\nname: two\n")
    system = load_system(str(tmp_path / "two.yaml"), ["concurrency=3"])
    assert (system.name, system.title, system.kind, system.concurrency) == ("two", "two", "ranker", 3)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: x\nkind: nothing\n", "nothing"),
        ("name: x\nkind: ranker\nweight: 1\n", "weight"),
        ("name: x\nkind: model\nbase: b\nengine: vllm\n", "url"),
        ("extends: x\nname: x\n", "without end"),
        ("- 1\n", "mapping"),
    ],
)
def test_what_is_wrong_with_a_file_is_told(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(SetupError, match=said):
        load_system(str(tmp_path / "x.yaml"))


def test_a_system_that_there_is_not_is_told_with_those_there_are() -> None:
    with pytest.raises(SetupError, match="ranker"):
        load_system("none-such")


def test_a_sample_is_the_beginning_of_a_larger_one_and_asks_settings_alike(tmp_path: Path) -> None:
    dataset = benchmark(tmp_path).dataset
    everything = select_instances(dataset, Selection())
    few = select_instances(dataset, Selection(count=6))
    assert len(everything) == 9
    assert few == everything[:6]
    assert sorted(each.setting.value for each in few) == sorted(2 * [each.value for each in HistorySetting][:3])
    one = select_instances(dataset, Selection(settings=[HistorySetting.CHRONOLOGICAL]))
    assert {each.setting for each in one} == {HistorySetting.CHRONOLOGICAL}
    with pytest.raises(SetupError, match="no instances"):
        select_instances(dataset, Selection(settings=[HistorySetting.NONE]))
