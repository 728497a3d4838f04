"""Sets in S3's buckets, against the server of moto: `pip install 'hcflow_jax[stores]'` first."""
# pyright: reportMissingImports=false

import socket
import subprocess
import sys
from contextlib import closing

import numpy as np
import pytest
from bucket_sets import until
from prepare_runs import COUNT, files, make_pictures, one_line, run_prepare

from hcflow_jax import config
from hcflow_jax.data import DataError, bucket_set, open_source, prepare, several

pytestmark = pytest.mark.all
pictures = pytest.fixture(make_pictures)
OUT = "s3://bucket/sets/new"


def _listens(port: int) -> bool:
    with closing(socket.socket()) as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def store(tmp_path, monkeypatch):
    """A server with an empty bucket; gives the file system of its objects, and stops the server when called."""
    import s3fs

    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until(lambda: _listens(port), 60)
    for name, value in {
        "AWS_ACCESS_KEY_ID": "tests",
        "AWS_SECRET_ACCESS_KEY": "tests",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    monkeypatch.setattr(bucket_set, "_COPY_AFTER", 20)
    s3fs.S3FileSystem().mkdir("bucket")
    yield s3fs.S3FileSystem(), process
    process.kill()
    process.wait()
    s3fs.S3FileSystem.clear_instance_cache()


def test_a_set_is_prepared_read_and_copied_and_failures_are_one_line(pictures, store, tmp_path, capsys):
    there, process = store
    assert run_prepare(pictures, tmp_path / "out") == 0
    assert run_prepare(pictures, OUT) == 0
    here = files(tmp_path / "out")
    assert {name.rpartition("/")[2]: there.cat_file(name) for name in there.find("bucket/sets/new")} == here
    assert run_prepare(pictures, OUT) == 0 and "already prepared" in capsys.readouterr().out
    assert prepare.main(["--check", OUT]) == 0
    made = config.default()
    made.data.update(source="prepared", path=OUT, resolution=8, eval_images=2, read_timeout=2.0)
    source = open_source(made, "train")
    made.data.path = str(tmp_path / "out")
    expected = open_source(made, "train")
    assert source.identity == expected.identity
    places = list(range(COUNT - 2))
    np.testing.assert_array_equal(list(several(source, places)), list(several(expected, places)))
    copies = source.source.copies  # pyright: ignore[reportAttributeAccessIssue]
    until(lambda: len(copies.complete) == 4)
    np.testing.assert_array_equal(list(several(source, places)), list(several(expected, places)))
    made.data.path = OUT
    there.rm_file("bucket/sets/new/images-00002-of-00004.array_record")
    with pytest.raises(DataError, match=f"^{OUT}/images-00002-of-00004.array_record: missing, though the manifest"):
        open_source(made, "train")
    capsys.readouterr()
    assert run_prepare(pictures, "s3://none-such/new") == 2
    one_line(capsys, "--out s3://none-such/new", "does not exist")
    process.kill()
    process.wait()
    with pytest.raises(DataError, match=f"^{OUT}: the store does not answer"):
        open_source(made, "train")
