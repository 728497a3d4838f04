"""Preparing into a bucket: the files of a set on this machine, the manifest last, and the same command continues."""

import json

import bucket_sets
import numpy as np
import pytest
from bucket_sets import BUCKET
from prepare_runs import COUNT, files, make_pictures, one_line, run_prepare

from hcflow_jax.data import bucket_out, images, prepare

pytestmark = pytest.mark.full
server = pytest.fixture(bucket_sets.prepared)
pictures = pytest.fixture(make_pictures)
OUT = "gs://research/new"


def _there(server) -> dict[str, bytes]:
    return {name.removeprefix("new/"): server.content(BUCKET, name) for name in server.names(BUCKET, "new/")}


def _sent(server, before: int) -> list[str]:
    return [request for request in server.requests[before:] if request.startswith("POST /upload")]


@pytest.mark.situation("preparing into a bucket")
@pytest.mark.parametrize("processes", [1, 2])
def test_the_files_are_those_of_the_same_set_on_this_machine(pictures, server, tmp_path, capsys, processes):
    (pictures / "007.png").write_bytes(b"no picture")
    assert run_prepare(pictures, tmp_path / "out") == 0
    here = capsys.readouterr().out
    assert run_prepare(pictures, OUT, processes=processes) == 0
    assert _there(server) == files(tmp_path / "out")
    there = capsys.readouterr().out
    assert there == here.replace(str(tmp_path / "out"), OUT)
    image = bucket_sets.open_set(OUT)[COUNT - 2]
    np.testing.assert_array_equal(image, images.load(pictures / f"{COUNT - 1:03d}.png", 8, ""))
    assert not any((tmp_path / "cache" / "hcflow_jax" / "preparing").iterdir())
    before = len(server.requests)
    assert run_prepare(pictures, OUT) == 0
    assert "already prepared, 29 images" in capsys.readouterr().out and not _sent(server, before)


def test_the_same_command_continues(pictures, server, tmp_path, capsys):
    with server.failing("POST /upload", status=403, after=2):
        assert run_prepare(pictures, OUT) == 1
    one_line(capsys, f"{OUT}/images-00002-of-00004.array_record: permission denied")
    assert sorted(_there(server)) == [f"images-0000{i}-of-00004.array_record" for i in (0, 1)]
    kept = server.buckets[BUCKET]["new/images-00000-of-00004.array_record"]
    server.put(BUCKET, "new/images-00001-of-00004.array_record", bytes(len(kept.content)))  # by someone else
    before = len(server.requests)
    assert run_prepare(pictures, OUT) == 0
    assert len(_sent(server, before)) == 5  # three shards, the report and the manifest
    assert server.buckets[BUCKET]["new/images-00000-of-00004.array_record"] is kept
    assert run_prepare(pictures, tmp_path / "out") == 0
    assert _there(server) == files(tmp_path / "out")


def test_the_manifest_comes_last_and_only_with_all_shards(pictures, server, capsys):
    with server.failing("POST /upload", status=403, after=5):
        assert run_prepare(pictures, OUT) == 1
    one_line(capsys, f"{OUT}/manifest.json: permission denied")
    assert "manifest.json" not in _there(server) and len(_there(server)) == 5
    server.delete(BUCKET, "new/images-00001-of-00004.array_record", {})
    assert run_prepare(pictures, OUT) == 0
    assert len(_there(server)) == 6 and len(bucket_sets.open_set(OUT)) == COUNT


def test_a_shard_that_disappears_before_the_end_means_no_manifest(pictures, server, monkeypatch, capsys):
    send = bucket_out.send

    def and_lose(file, target: str) -> str:
        digest = send(file, target)
        if "images-00003" in target:
            server.delete(BUCKET, "new/images-00001-of-00004.array_record", {})
        return digest

    monkeypatch.setattr(bucket_out, "send", and_lose)
    assert run_prepare(pictures, OUT) == 1
    one_line(capsys, f"{OUT}/images-00001-of-00004.array_record: something else changed it meanwhile")
    assert "manifest.json" not in _there(server)


@pytest.mark.parametrize("change", ["resolution", "path", "foreign"])
def test_what_is_there_is_never_touched(pictures, server, tmp_path, capsys, change):
    if change == "foreign":
        server.put(BUCKET, "new/thesis.tex", b"precious")
    else:
        assert run_prepare(pictures, OUT) == 0
    before = _there(server)
    source = pictures.rename(tmp_path / "moved") if change == "path" else pictures
    assert run_prepare(source, OUT, resolution=4 if change == "resolution" else 8) == 2
    one_line(capsys, OUT, "not a prepared set" if change == "foreign" else f"another {change}")
    assert _there(server) == before


def test_no_bucket_and_no_permission_are_one_line(pictures, server, capsys):
    assert run_prepare(pictures, "gs://none-such/new") == 2
    one_line(capsys, "--out gs://none-such/new", "does not exist")
    with server.failing("GET .*prefix=new", status=403):
        assert run_prepare(pictures, OUT) == 2
    one_line(capsys, OUT, "permission denied")


def test_check_reads_every_byte(server, capsys):
    assert prepare.main(["--check", bucket_sets.URL]) == 0
    assert "its 5 files are complete, 23 images of 8 pixels" in capsys.readouterr().out
    name = f"sets/mine/{bucket_sets.SHARD}"
    content = bytearray(server.content(BUCKET, name))
    content[-1] ^= 1  # no image has this byte
    server.put(BUCKET, name, bytes(content))
    assert prepare.main(["--check", bucket_sets.URL]) == 1
    one_line(capsys, f"{bucket_sets.URL}/{bucket_sets.SHARD}: does not match its manifest")
    manifest = json.loads(server.content(BUCKET, "sets/mine/manifest.json"))
    server.put(BUCKET, "sets/mine/manifest.json", json.dumps(manifest | {"count": 1}).encode())
    assert prepare.main(["--check", bucket_sets.URL]) == 1
    one_line(capsys, "manifest.json", "does not agree with itself")
