"""Paths in buckets, and the objects there: without the stores' libraries, and with a server like Google's."""

import hashlib
import sys

import pytest
from gcs_server import remote

from hcflow_jax import paths
from hcflow_jax.errors import InputError, MissingExtraError

WRONG = {
    "gs://": "write gs://BUCKET/NAME",
    "gs://ab/c": "write gs://BUCKET/NAME; the name of a bucket has 3 or more lower-case letters",
    "gs://Research/a": "write gs://BUCKET/NAME; the name of a bucket has 3 or more lower-case letters",
    "gs://a..b/c": "write gs://BUCKET/NAME; the name of a bucket has",
    "gs://research/../c": ".. cannot be a part of a path in a bucket",
    "gs:/research/a": "write gs:// with two slashes",
    "gs://research/a*b": r"names with \*",
    "gs://research/a#1": r"names with \*",
    "s3://research/a": "s3:// does not work here; name a folder, or use gs://",
    "az://research/a": "az:// is not on this machine's file systems",
}


@pytest.mark.parametrize("given", WRONG)
def test_a_path_that_cannot_be_used_is_refused_by_name(given):
    with pytest.raises(InputError, match=f"^--workdir {given.replace('*', '[*]')}: {WRONG[given]}"):
        paths.place(given, "--workdir")


@pytest.mark.situation("a path in a bucket, and the library of that store is not installed")
@pytest.mark.parametrize("scheme, extra", [("gs", "gcs"), ("s3", "s3")])
def test_without_the_library_one_line_says_what_to_install(monkeypatch, scheme, extra):
    monkeypatch.setitem(sys.modules, paths.STORES[scheme][0], None)
    with pytest.raises(MissingExtraError, match=rf"^data.path {scheme}://research/a: .*pip install .*\[{extra}\]"):
        paths.place(f"{scheme}://research/a", "data.path", ("gs", "s3"))


def test_a_path_on_this_machine_is_as_before(tmp_path):
    assert paths.place(str(tmp_path), "--workdir") == paths.place(tmp_path) == paths.local(tmp_path)
    assert paths.absolute(paths.place("a")) == paths.local("a").absolute()
    assert not paths.is_remote(tmp_path) and paths.is_remote("gs://research/a")


def test_messages_name_what_a_folder_stands_for(tmp_path):
    paths.stands_in(tmp_path / "x", paths.Path("/elsewhere"))
    assert paths.own_names(f"see {tmp_path}/x/history.jsonl") == "see /elsewhere/history.jsonl"


@pytest.mark.full
def test_objects_are_listed_read_written_and_moved(gcs, tmp_path):
    from gcs_server import crc32c

    from hcflow_jax import buckets

    where = remote("gs://research//runs/a/")
    assert str(where) == "gs://research/runs/a"
    for i in range(120):  # more than a page
        gcs.put("research", f"runs/a/many/{i:03d}", b"z" * i)
    gcs.put("research", "runs/ab", b"a neighbour")
    found = buckets.listing(where)
    assert sorted(found) == [f"many/{i:03d}" for i in range(120)]
    assert found["many/003"] == buckets.Entry(3, crc32c(b"zzz"), hashlib.md5(b"zzz").hexdigest())
    buckets.write(where / "b.txt", lambda file: file.write(b"first"))
    assert "b.txt" in buckets.listing(where)  # no listing is kept
    buckets.write(where / "b.txt", lambda file: file.write(b"second"))
    assert buckets.read(where / "b.txt") == b"second"
    buckets.download(where / "b.txt", tmp_path / "new" / "b.txt")
    buckets.upload(tmp_path / "new" / "b.txt", where / "c.txt")
    assert gcs.content("research", "runs/a/c.txt") == b"second"
    buckets.move(where / "many", where / "moved")
    assert len(gcs.names("research", "runs/a/moved/")) == 120 and not gcs.names("research", "runs/a/many/")


@pytest.mark.full
def test_a_failed_download_leaves_nothing(gcs, tmp_path):
    from hcflow_jax import buckets

    gcs.put("research", "a", b"content")
    (tmp_path / "a").write_text("old")
    with gcs.failing("alt=media", status=403), pytest.raises(buckets.StoreError, match="permission denied"):
        buckets.download(remote("gs://research/a"), tmp_path / "a")
    assert [file.name for file in tmp_path.iterdir()] == ["a"] and (tmp_path / "a").read_text() == "old"


@pytest.mark.full
def test_each_error_of_a_store_is_one_line_that_says_what_to_do(gcs):
    from hcflow_jax import buckets

    where = remote("gs://research/a")
    with pytest.raises(buckets.MissingObjectError, match="^gs://research/a: does not exist; check the bucket's name"):
        buckets.read(where)
    with pytest.raises(buckets.MissingObjectError, match="^gs://nowhere/a: does not exist"):
        buckets.listing(remote("gs://nowhere/a"))
    with gcs.failing(".", status=403), pytest.raises(buckets.StoreError, match="^gs://research/a: permission denied"):
        buckets.listing(where)
    with gcs.failing(".", status=401), pytest.raises(buckets.StoreError, match="no valid credentials.*gcloud auth"):
        buckets.listing(where)


@pytest.mark.full
def test_a_store_that_fails_for_a_moment_is_asked_again(gcs, monkeypatch):
    from hcflow_jax import buckets

    gcs.put("research", "a/b", b"content")
    with gcs.failing(".", status=503, times=2) as fault:
        assert list(buckets.listing(remote("gs://research/a"))) == ["b"]
    assert fault.seen > 2


def test_outages_are_told_from_other_errors():
    from hcflow_jax import buckets

    class HttpError(Exception):
        code = 503

    assert buckets.is_outage(HttpError()) and buckets.is_outage(ConnectionResetError())
    assert "try again later" in buckets.reason(HttpError("backend"))
    assert not buckets.is_outage(ValueError("the shape is wrong")) and not buckets.is_outage(KeyError("a"))
    with pytest.raises(KeyError), buckets.named_errors("gs://research/a"):  # a fault of this package
        raise KeyError("a")
    with pytest.raises(FileNotFoundError), buckets.named_errors("/a"):
        raise FileNotFoundError("/a")
