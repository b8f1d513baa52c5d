"""Files are read document by document; what is broken is reported with its place, and the rest goes on."""

import gzip
import json
from pathlib import Path

import pytest

from app.catalogue import reader, yaml_documents
from app.catalogue.parse import parse
from app.catalogue.reader import SourceDocument, Unreadable, read_documents
from app.domain import Json


def written(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def read(path: Path) -> list[tuple[str, Json]]:
    found = list(read_documents(path))
    assert all(isinstance(each, SourceDocument) for each in found), found
    return [(each.location, each.raw) for each in found if isinstance(each, SourceDocument)]


@pytest.mark.parametrize(
    ("name", "content", "locations"),
    [
        ("a.json", '[{"n": 0}, {"n": 1}]', ["a.json[0]", "a.json[1]"]),
        ("a.json", '  {"tools": [{"n": 0}, {"n": 1}]}', ["a.json[0]", "a.json[1]"]),
        ("a.jsonl", '{"n": 0}\r\n\r\n{"n": 1}\r\n', ["a.jsonl:1", "a.jsonl:3"]),
        ("a.json", '{"n": 0}\n{"n": 1}\n', ["a.json:1", "a.json:2"]),
        ("a.yaml", "n: 0\n---\nn: 1\n", ["a.yaml", "a.yaml[1]"]),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("packed", [False, True])
def test_every_form_is_read_in_every_encoding(
    tmp_path: Path, name: str, content: str, locations: list[str], encoding: str, packed: bool
) -> None:
    data = content.encode(encoding)
    file = written(tmp_path / (f"{name}.gz" if packed else name), gzip.compress(data) if packed else data)
    expected = [where.replace(name, file.name) for where in locations]
    assert read(file) == [(where, {"n": number}) for number, where in enumerate(expected)]


def test_a_single_object_over_several_lines_is_one_document(tmp_path: Path) -> None:
    file = written(tmp_path / "a.json", json.dumps({"a": [1, 2]}, indent=1))
    assert read(file) == [("a.json", {"a": [1, 2]})]


def test_a_broken_line_is_reported_and_the_next_is_read(tmp_path: Path) -> None:
    file = written(tmp_path / "a.jsonl", b'{"n": 0}\n{"n": \n\xff\xfe\n[[\n{"n": 4}\n')
    found = list(read_documents(file))
    assert [each.location for each in found] == [f"a.jsonl:{number}" for number in range(1, 6)]
    assert [isinstance(each, Unreadable) for each in found] == [False, True, True, True, False]


def test_an_array_that_breaks_off_gives_what_comes_before(tmp_path: Path) -> None:
    found = list(read_documents(written(tmp_path / "a.json", '[{"n": 0}, {"n": 1}, {"n"')))
    assert [isinstance(each, Unreadable) for each in found] == [False, False, True]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.json", b"", "empty"),
        ("a.jsonl", b"\n \n", "empty"),
        ("a.json", b"hello", "not readable"),
        ("a.json", b'{"a": "\xff"}', "UTF-8"),
        ("a.json.gz", gzip.compress(b'[{"a": 1}]')[:-9], "gzip"),
        ("a.jsonl.gz", b"\x1f\x8bjunk", "gzip"),
        ("a.yaml", b"a: [", "YAML"),
        ("a.yaml", b"a: &a [*a]", "aliases"),
        ("a.json", b'{"a":' * 100_000, "nested|not readable"),
    ],
)
def test_a_file_that_cannot_be_read_is_no_crash(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    last = list(read_documents(written(tmp_path / name, content)))[-1]
    assert isinstance(last, Unreadable)
    assert last.location == name
    assert any(each in last.reason for each in reason.split("|")), last.reason


def test_a_missing_file_and_an_empty_folder_are_reported(tmp_path: Path) -> None:
    for path in (tmp_path / "none.json", tmp_path):
        (unreadable,) = read_documents(path)
        assert isinstance(unreadable, Unreadable)


def test_yaml_aliases_that_multiply_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml_documents, "MAX_VALUES", 50_000)
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    (unreadable,) = read_documents(written(tmp_path / "a.yaml", "\n".join(lines)))
    assert isinstance(unreadable, Unreadable)
    assert "aliases" in unreadable.reason


def test_yaml_stays_as_it_is_written(tmp_path: Path) -> None:
    file = written(tmp_path / "a.yml", "200: no\nday: 2020-01-01\nflag: true\n")
    assert read(file) == [("a.yml", {"200": "no", "day": "2020-01-01", "flag": True})]


def test_a_toolbench_folder_gives_its_files_their_category(tmp_path: Path) -> None:
    api = {"tool_name": "T", "api_list": [{"name": "a"}]}
    written(tmp_path / "tools" / "Food" / "b.json", json.dumps(api))
    written(tmp_path / "tools" / "Data" / "a.json", json.dumps(api))
    written(tmp_path / "tools" / "Data" / "readme.md", "nothing")
    found = read(tmp_path / "tools")
    assert [where for where, _ in found] == [str(Path("Data/a.json")), str(Path("Food/b.json"))]
    batch = parse(None, [raw for _, raw in found])
    assert [tool.name for _, tool in batch.tools] == ["Data.T.a", "Food.T.a"]


def test_a_tools_object_too_large_to_be_read_whole_is_read_piece_by_piece(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "MAX_WHOLE", 50)
    file = written(tmp_path / "a.json", json.dumps({"x": "y" * 60, "tools": [{"n": 0}, {"n": 1.5}]}))
    assert read(file) == [("a.json[0]", {"n": 0}), ("a.json[1]", {"n": 1.5})]
    (unreadable,) = read_documents(written(tmp_path / "b.json", json.dumps({"x": "y" * 60})))
    assert isinstance(unreadable, Unreadable)
    assert "array or JSON lines" in unreadable.reason
