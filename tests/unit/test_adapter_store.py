"""The adapter store: what it takes in, how it keeps it, and that hostile directories and tars stay outside."""

import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.adapters.store import AdapterStore, Staged
from app.errors import InvalidAdapter, Unavailable
from app.model_files.manifest import BaseWeights, Manifest, TrainingData, file_digests, write_manifest

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
FILES = {CONFIG: b'{"r": 4}', WEIGHTS: b"weights" * 100, "README.md": b"the card"}
LIMIT = 100_000
HASH = "0" * 64


def filled(folder: Path, files: dict[str, bytes] = FILES) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def with_manifest(folder: Path, **listed: str) -> Path:
    base, data = BaseWeights("base", HASH), TrainingData("tiny", 1, HASH)
    files = file_digests(folder) | listed
    write_manifest(folder, Manifest("adapter", "a", "sft", base, "terse-1", 1600, data, files=files))
    return folder


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    filled(tmp_path / "source" / "good")
    return tmp_path / "source"


@pytest.fixture
def store(tmp_path: Path, source: Path) -> AdapterStore:
    return AdapterStore(tmp_path / "store", source=source, max_bytes=LIMIT)


def left_behind(store: AdapterStore) -> list[str]:
    return sorted(path.name for path in store.path(HASH).parent.glob("*"))


def refused(store: AdapterStore, stage: Callable[[], Staged], *texts: str) -> None:
    with pytest.raises(InvalidAdapter) as error:
        stage()
    for text in texts:
        assert text in error.value.detail
    assert str(store.path(HASH).parent.parent) not in error.value.detail
    assert left_behind(store) == []


# A directory.


def test_a_directory_is_copied_and_named_by_what_sha256sum_prints(store: AdapterStore, source: Path) -> None:
    staged = store.stage_directory("good")
    listed = subprocess.run(["sha256sum", CONFIG, WEIGHTS], cwd=source / "good", capture_output=True, check=True).stdout
    assert staged.digest == hashlib.sha256(listed).hexdigest()
    assert {name: (staged.path / name).read_bytes() for name in names(staged.path)} == FILES
    assert staged.size == sum(map(len, FILES.values()))


def test_the_card_may_differ(store: AdapterStore, source: Path) -> None:
    filled(source / "other", FILES | {"README.md": b"another card"})
    assert store.stage_directory("other").digest == store.stage_directory("good").digest


def test_what_is_not_the_adapters_stays_behind(store: AdapterStore, source: Path) -> None:
    filled(source / "good" / "runs", {"log.txt": b"x"})
    filled(source / "good", {"notes.txt": b"x", "model.safetensors": b"x" * LIMIT})
    assert names(store.stage_directory("good").path) == set(FILES)


def test_a_manifest_tells_what_is_the_adapters(store: AdapterStore, source: Path) -> None:
    folder = with_manifest(filled(source / "good", {"loss.png": b"plot"}))
    filled(folder, {"notes.txt": b"x"})
    assert names(store.stage_directory("good").path) == {*FILES, "loss.png", "petool.json"}


@pytest.mark.parametrize("listed", ["inner/plot.png", "new\nline", ""])
def test_a_manifest_lists_plain_names_only(store: AdapterStore, source: Path, listed: str) -> None:
    with_manifest(source / "good", **{listed: HASH})
    refused(store, lambda: store.stage_directory("good"), "petool.json lists", "in no folder")


def test_a_broken_manifest_is_told_without_its_place(store: AdapterStore, source: Path) -> None:
    (source / "good" / "petool.json").write_text("{")
    refused(store, lambda: store.stage_directory("good"), "petool.json is not JSON")


def test_without_a_source_there_is_no_registration_by_path(tmp_path: Path) -> None:
    store = AdapterStore(tmp_path / "store", source=None, max_bytes=LIMIT)
    refused(store, lambda: store.stage_directory("good"), "set PETOOL_ADAPTERS_SOURCE, or upload")


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/etc", "leads out of"),
        ("../source/good", "leads out of"),
        ("good/../../source/good", "leads out of"),
        ("link", "by a link"),
        ("missing", "there is no directory"),
        ("a\0b", "there is no directory"),
        ("x" * 5000, "there is no directory"),
        ("good/README.md", "is not a directory"),
        ("empty", "there is no adapter"),
    ],
)
def test_a_path_that_is_no_directory_within_the_source_is_refused(
    store: AdapterStore, source: Path, tmp_path: Path, path: str, text: str
) -> None:
    (source / "link").symlink_to(filled(tmp_path / "outside"))
    (source / "empty").mkdir()
    refused(store, lambda: store.stage_directory(path), text)


def test_a_link_that_stays_within_the_source_may_lead_to_the_directory(store: AdapterStore, source: Path) -> None:
    (source / "latest").symlink_to("good")
    assert store.stage_directory("latest").digest == store.stage_directory("good").digest


def pipe(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def link(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to("/etc/passwd")


BAD_DIRECTORIES: dict[str, tuple[Callable[[Path], object], str]] = {
    "linked weights": (lambda folder: link(folder / WEIGHTS), "no plain file"),
    "linked card": (lambda folder: link(folder / "README.md"), "no plain file"),
    "linked folder": (lambda folder: (folder / "inner").symlink_to("/etc"), "no plain file"),
    "pipe": (lambda folder: pipe(folder / WEIGHTS), "no plain file"),
    "pickle": (lambda folder: filled(folder, {"adapter_model.bin": b"x"}), "'adapter_model.bin' may be a pickle"),
    "pickle below": (lambda folder: filled(folder / "old" / "er", {"optimizer.PT": b"x"}), "'old/er/optimizer.PT'"),
    "too large": (lambda folder: filled(folder, {WEIGHTS: b"x" * LIMIT}), "over 100,000 bytes"),
    "too many": (lambda folder: filled(folder, {f"{n}.txt": b"" for n in range(64)}), "more than 64 files"),
}


@pytest.mark.parametrize("problem", BAD_DIRECTORIES)
def test_a_directory_with_what_should_not_be_there_is_refused(store: AdapterStore, source: Path, problem: str) -> None:
    change, text = BAD_DIRECTORIES[problem]
    change(source / "good")
    refused(store, lambda: store.stage_directory("good"), text)


def test_a_configuration_is_not_read_whatever_its_size(tmp_path: Path, source: Path) -> None:
    store = AdapterStore(tmp_path / "store", source=source, max_bytes=10 << 20)
    filled(source / "good", {CONFIG: b" " * (5 << 20)})
    refused(store, lambda: store.stage_directory("good"), f"{CONFIG} is over")


# A tar.


def member(name: str, content: bytes = b"", **header: Any) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in header.items():
        setattr(info, key, value)
    return info, content


GOOD = [member(name, content) for name, content in FILES.items()]


def tarred(*members: tuple[tarfile.TarInfo, bytes], mode: Any = "w") -> io.BytesIO:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    file.seek(0)
    return file


@pytest.mark.parametrize("mode", ["w", "w:gz"])
@pytest.mark.parametrize("folder", ["", "./", "adapter/", "./adapter/"])
def test_a_tar_is_stored_as_the_directory_it_was_made_from(store: AdapterStore, mode: str, folder: str) -> None:
    folders = [member(folder.rstrip("/"), type=tarfile.DIRTYPE)] if folder else []
    staged = store.stage_tar(
        tarred(*folders, *(member(folder + name, text) for name, text in FILES.items()), mode=mode)
    )
    assert names(staged.path) == set(FILES)
    assert staged == Staged(staged.path, *(lambda same: (same.digest, same.size))(store.stage_directory("good")))


@pytest.mark.parametrize("options", [("-cf",), ("-czf",), ("--format=pax", "-czf"), ("--format=gnu", "-cf")])
def test_what_tar_makes_is_taken(store: AdapterStore, source: Path, tmp_path: Path, options: tuple[str, ...]) -> None:
    subprocess.run(["tar", *options, tmp_path / "made", "-C", source / "good", "."], check=True)
    with (tmp_path / "made").open("rb") as file:
        assert names(store.stage_tar(file).path) == set(FILES)


def test_a_tars_other_files_are_not_kept(store: AdapterStore, source: Path, tmp_path: Path) -> None:
    assert names(store.stage_tar(tarred(*GOOD, member("notes.txt", b"x"))).path) == set(FILES)
    folder = with_manifest(filled(tmp_path / "whole", {**FILES, "loss.png": b"plot"}))
    whole = [member(path.name, path.read_bytes()) for path in folder.iterdir()]
    assert names(store.stage_tar(tarred(*whole, member("notes.txt", b"x"))).path) == names(folder)


HOSTILE: dict[str, tuple[list[tuple[tarfile.TarInfo, bytes]], str]] = {
    "above": ([member("../escaped", b"x")], "is no name"),
    "above from within": ([member("adapter/../../escaped", b"x")], "is no name"),
    "absolute": ([member("/tmp/escaped", b"x")], "is no name"),
    "unprintable": ([member("new\nline", b"x")], "is no name"),
    "symlink": ([member(WEIGHTS, type=tarfile.SYMTYPE, linkname="/etc/passwd")], "no plain file"),
    "hard link": ([*GOOD, member("more.json", type=tarfile.LNKTYPE, linkname=CONFIG)], "no plain file"),
    "device": ([member(WEIGHTS, type=tarfile.CHRTYPE, devmajor=1, devminor=5)], "no plain file"),
    "block device": ([member(WEIGHTS, type=tarfile.BLKTYPE)], "no plain file"),
    "pipe": ([member(WEIGHTS, type=tarfile.FIFOTYPE)], "no plain file"),
    "twice": ([*GOOD, member(CONFIG, b"{}")], "in the tar twice"),
    "twice by another name": ([*GOOD, member(f"./{CONFIG}", b"{}")], "in the tar twice"),
    "nested": ([member("a/b/adapter_config.json", b"{}")], "is nested"),
    "two folders": ([*GOOD, member("inner/notes.txt", b"x")], "is nested"),
    "pickle": ([*GOOD, member("training_args.bin", b"x")], "'training_args.bin' may be a pickle"),
    "pickle in a folder": ([member("adapter/weights.PKL", b"x")], "'adapter/weights.PKL' may be a pickle"),
    "too large": ([member(WEIGHTS, b"\0" * (LIMIT + 1))], "over 100,000 bytes"),
    "too large in all": ([member(f"{n}.txt", b"\0" * (LIMIT // 2)) for n in range(3)], "over 100,000 bytes"),
    "too many": ([member(f"{n}.txt") for n in range(65)], "more than 64 files"),
    "too many folders": ([member(f"{n}", type=tarfile.DIRTYPE) for n in range(65)], "more than 64 files"),
    "nothing": ([], "there is no adapter"),
    "no adapter": ([member("README.md", b"x"), member("x.txt", b"x")], "there is no adapter"),
}


@pytest.mark.parametrize("mode", ["w", "w:gz"])
@pytest.mark.parametrize("problem", HOSTILE)
def test_a_hostile_tar_is_refused_and_leaves_nothing(
    store: AdapterStore, tmp_path: Path, mode: str, problem: str
) -> None:
    members, text = HOSTILE[problem]
    before = {path for path in tmp_path.rglob("*") if "store" not in path.parts}
    refused(store, lambda: store.stage_tar(tarred(*members, mode=mode)), text)
    assert {path for path in tmp_path.rglob("*") if "store" not in path.parts} == before


def test_a_sparse_file_is_refused(store: AdapterStore) -> None:
    holes = {
        "GNU.sparse.major": "1",
        "GNU.sparse.minor": "0",
        "GNU.sparse.name": WEIGHTS,
        "GNU.sparse.realsize": "9" * 12,
    }
    info, content = member(WEIGHTS, b"0\n".ljust(512, b"\0"), pax_headers=holes)
    refused(store, lambda: store.stage_tar(tarred((info, content))), "no plain file")


def test_headers_upon_headers_are_no_tar(store: AdapterStore) -> None:
    header = tarfile.TarInfo("header")
    header.type, header.size = tarfile.XHDTYPE, 512
    one = header.tobuf(tarfile.PAX_FORMAT) + b"11 comment=\n".ljust(512, b"\0")
    refused(store, lambda: store.stage_tar(io.BytesIO(one * 2000)), "not a whole tar")


def test_headers_do_not_fill_the_memory(store: AdapterStore) -> None:
    info, content = member(WEIGHTS, b"x", pax_headers={"comment": "x" * (8 << 20)})
    refused(store, lambda: store.stage_tar(tarred((info, content), mode="w:gz")), "over 100,000 bytes")


def test_zeros_without_end_are_not_unpacked(store: AdapterStore) -> None:
    bomb = io.BytesIO(gzip.compress(tarred(*GOOD).getvalue() + b"\0" * (64 << 20)))
    refused(store, lambda: store.stage_tar(bomb), "over 100,000 bytes")


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_a_tar_cut_off_anywhere_is_refused(store: AdapterStore, mode: str) -> None:
    # Of a size that gzip does not make small.
    whole = tarred(*GOOD, member("noise.txt", os.urandom(3000)), mode=mode).getvalue()
    end = len(whole) if mode == "w:gz" else 512 * 12
    for length in range(0, end, 97):
        refused(store, lambda length=length: store.stage_tar(io.BytesIO(whole[:length])))  # type: ignore[misc]


@pytest.mark.parametrize("content", [b"", b"x", b"PK\3\4" * 500, b"\x1f\x8b" + b"x" * 500, gzip.compress(b"x" * 5000)])
def test_what_is_no_tar_is_refused(store: AdapterStore, content: bytes) -> None:
    refused(store, lambda: store.stage_tar(io.BytesIO(content)), "not a whole tar", "tar -czf")


def test_a_broken_header_in_the_middle_is_not_the_end(store: AdapterStore) -> None:
    whole = bytearray(tarred(*GOOD).getvalue())
    whole[1024 + 10] ^= 1
    refused(store, lambda: store.stage_tar(io.BytesIO(bytes(whole))), "not a whole tar")


# What is kept.


def committed(store: AdapterStore, staged: Staged) -> Path:
    store.prepare(staged)
    return store.commit(staged)


def test_what_is_committed_is_whole_read_only_and_verified(store: AdapterStore) -> None:
    staged = store.stage_directory("good")
    place = committed(store, staged)
    assert place == store.path(staged.digest)
    assert left_behind(store) == [staged.digest]
    assert {path.stat().st_mode & 0o777 for path in place.iterdir()} == {0o444}
    assert place.stat().st_mode & 0o777 == 0o555
    store.verify(staged.digest)


def test_the_same_may_be_committed_again(store: AdapterStore) -> None:
    first = committed(store, store.stage_directory("good"))
    inode = first.stat().st_ino
    assert committed(store, store.stage_tar(tarred(*GOOD))) == first
    assert first.stat().st_ino == inode
    assert left_behind(store) == [first.name]


def test_many_may_commit_the_same_at_once(store: AdapterStore) -> None:
    staged = [store.stage_directory("good") for _ in range(8)]
    places: list[Path] = []
    start = threading.Barrier(len(staged))

    def commit(one: Staged) -> None:
        start.wait()
        places.append(committed(store, one))

    threads = [threading.Thread(target=commit, args=(one,)) for one in staged]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert places == [store.path(staged[0].digest)] * 8
    assert left_behind(store) == [staged[0].digest]
    store.verify(staged[0].digest)


def overwrite(place: Path) -> None:
    (place / WEIGHTS).chmod(0o644)
    (place / WEIGHTS).write_bytes(b"other")


def add(place: Path) -> None:
    place.chmod(0o755)
    (place / "more").write_bytes(b"x")


def lose(place: Path) -> None:
    place.chmod(0o755)
    (place / CONFIG).unlink()


def replace(place: Path) -> None:
    place.chmod(0o755)
    shutil.rmtree(place)
    place.write_bytes(b"a file")


@pytest.mark.parametrize("damage", [overwrite, add, lose, replace])
def test_damage_is_found_and_mended_by_the_next_commit(store: AdapterStore, damage: Callable[[Path], None]) -> None:
    place = committed(store, store.stage_directory("good"))
    damage(place)
    with pytest.raises(InvalidAdapter, match="register it again"):
        store.verify(place.name)
    assert committed(store, store.stage_directory("good")) == place
    store.verify(place.name)
    assert left_behind(store) == [place.name]


def test_what_is_not_there_is_not_verified(store: AdapterStore) -> None:
    with pytest.raises(InvalidAdapter, match="register it again"):
        store.verify(HASH)


@pytest.mark.parametrize("digest", ["", "..", "../source", "A" * 64, "0" * 63, f"{HASH}\n"])
def test_only_a_digest_is_a_place_in_the_store(store: AdapterStore, digest: str) -> None:
    with pytest.raises(ValueError, match="no digest"):
        store.path(digest)


def test_removing_leaves_nothing_and_may_be_done_again(store: AdapterStore) -> None:
    place = committed(store, store.stage_directory("good"))
    store.remove(place.name)
    store.remove(place.name)
    assert left_behind(store) == []


def test_discarding_leaves_nothing(store: AdapterStore) -> None:
    staged = store.stage_directory("good")
    store.discard(staged)
    store.discard(staged)
    assert left_behind(store) == []


def test_only_what_was_left_behind_long_ago_is_swept(store: AdapterStore) -> None:
    store.sweep(0)
    place = committed(store, store.stage_directory("good"))
    old, slow, new = (store.stage_directory("good").path for _ in range(3))
    long_ago = time.time() - 1000
    for path in (place, old, *old.iterdir(), slow):
        os.utime(path, (long_ago, long_ago))
    store.sweep(500)
    assert left_behind(store) == sorted([place.name, slow.name, new.name])


def test_an_upload_is_gone_at_its_end(store: AdapterStore) -> None:
    with store.upload_file() as file:
        shutil.copyfileobj(tarred(*GOOD, mode="w:gz"), file)
        staged = store.stage_tar(file)
    assert left_behind(store) == [staged.path.name]


def test_a_disk_that_does_not_take_it_is_told(source: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text(json.dumps("no directory"))
    store = AdapterStore(tmp_path / "file" / "store", source=source, max_bytes=LIMIT)
    for act in (
        lambda: store.stage_directory("good"),
        lambda: store.stage_tar(tarred(*GOOD)),
        lambda: store.upload_file().__enter__(),
    ):
        with pytest.raises(Unavailable, match="The adapter store cannot be written: Not a directory"):
            act()


def test_other_peoples_timeouts_are_not_the_disks(store: AdapterStore) -> None:
    with pytest.raises(TimeoutError), store.upload_file():
        raise TimeoutError
