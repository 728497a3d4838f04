"""The lease of a workdir in a bucket, and the copies of its small files."""

import json
import threading
import time

import pytest
from gcs_server import remote

from hcflow_jax import buckets
from hcflow_jax.layout import HISTORY, LEASE
from hcflow_jax.training import lease, mirror, workdir

pytestmark = pytest.mark.full
RUN = "gs://research/run"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.2)
    monkeypatch.setattr(lease, "EXPIRES_SECONDS", 3.0)
    monkeypatch.setattr(lease, "_SILENT_SECONDS", 0.5)


def _until(holds, seconds=20.0):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_one_process_holds_it_and_another_is_refused_by_name(gcs):
    with lease.Lease(remote(RUN)) as held:
        first = gcs.buckets["research"]["run/lease.json"].generation
        about = json.loads(gcs.content("research", "run/lease.json"))
        with (
            pytest.raises(
                lease.LeaseError, match=rf"^{RUN}: process {about['process']} of {about['host']} is training"
            ),
            lease.Lease(remote(RUN)),
        ):
            pytest.fail("two processes hold it")
        assert gcs.buckets["research"]["run/lease.json"].generation > first  # it was renewed
        assert not held.lost
    assert gcs.names("research") == []  # given back, and nothing else is left


def test_one_that_is_not_renewed_is_taken_over_when_it_has_expired(gcs, capsys):
    gcs.put("research", "run/lease.json", b'{"host": "gone", "process": 7, "id": "x"}')
    start = time.monotonic()
    with lease.Lease(remote(RUN)) as held:
        assert time.monotonic() - start > 2.0
        _until(lambda: b"gone" not in gcs.content("research", "run/lease.json"))
        assert not held.lost
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "process 7 of gone held it 0 s ago; waiting at most 3 s" in said
    gcs.put("research", "run/lease.json", b"rubbish")
    gcs.age("research", "run/lease.json", 10)
    start = time.monotonic()
    with lease.Lease(remote(RUN)):
        assert time.monotonic() - start < 2.0  # it had expired


def test_of_two_that_come_at_once_one_gets_it(gcs):
    gcs.put("research", "run/lease.json", b"{}")
    gcs.age("research", "run/lease.json", 10)
    start, results = threading.Barrier(4), []

    def take():
        held = lease.Lease(remote(RUN))
        start.wait()
        try:
            with held:
                results.append("held")
                time.sleep(3)
        except lease.LeaseError:
            results.append("refused")

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == ["held", "refused", "refused", "refused"]


def test_a_process_that_lost_it_knows_and_leaves_the_other_alone(gcs):
    with lease.Lease(remote(RUN)) as held:
        other = gcs.put("research", "run/lease.json", b'{"host": "new", "process": 8, "id": "y"}')
        _until(lambda: held.lost)
        assert held.lost.startswith(f"{RUN}: this process has lost it, process 8 of new holds it now")
    assert gcs.buckets["research"]["run/lease.json"] == other


def test_an_answer_that_was_lost_is_not_a_lost_lease(gcs):
    """The write arrives and the connection breaks: the library writes again, and its precondition fails."""
    with lease.Lease(remote(RUN)) as held:
        taken = gcs.buckets["research"]["run/lease.json"]
        gcs.put("research", "run/lease.json", taken.content)  # written by this process, as far as the content says
        _until(lambda: gcs.buckets["research"]["run/lease.json"].generation > taken.generation + 1)
        assert not held.lost


def test_an_outage_is_said_when_it_begins_and_when_it_ends(gcs, capsys):
    with lease.Lease(remote(RUN)) as held:
        with gcs.failing("lease.json|upload", status=0) as fault:
            _until(lambda: "no answer" in capsys.readouterr().err, 60)
            assert fault.seen
        _until(lambda: "the store answers again" in capsys.readouterr().err, 60)
        assert not held.lost


def test_an_outage_at_the_start_is_said_too(gcs, capsys):
    with gcs.failing("lease.json", status=503, times=3), lease.Lease(remote(RUN)):
        assert capsys.readouterr().err == f"{RUN}: no answer for 0 s; still trying\n"


def test_without_permission_it_is_one_line(gcs):
    with gcs.failing("POST", status=403), pytest.raises(buckets.StoreError, match=f"^{RUN}: permission denied"):
        lease.Lease(remote(RUN)).__enter__()


def test_files_that_grow_are_copied_and_hidden_ones_are_not(gcs, tmp_path):
    gcs.put("research", "run/history.jsonl", b"one\n")
    copies = mirror.Mirror(tmp_path, remote(RUN))
    copies.fetch(["history.jsonl"])
    assert (tmp_path / "history.jsonl").read_text() == "one\n"
    before = len(gcs.requests)
    copies.push()
    assert len(gcs.requests) == before  # it is the same
    with (tmp_path / "history.jsonl").open("a") as file:
        file.write("two\n")
    (tmp_path / "tensorboard").mkdir()
    (tmp_path / "tensorboard" / "events").write_bytes(b"e")
    (tmp_path / ".hidden").write_text("x")
    (tmp_path / ".history.jsonl.1.partial").write_text("x")
    copies.push(".jsonl")
    assert gcs.names("research") == ["run/history.jsonl"]
    assert gcs.content("research", "run/history.jsonl") == b"one\ntwo\n"
    copies.close()
    assert gcs.names("research") == ["run/history.jsonl", "run/tensorboard/events"]


def test_without_the_lease_nothing_is_copied(gcs, tmp_path, monkeypatch):
    monkeypatch.setattr(mirror, "EVERY_SECONDS", 0.05)
    asked = []

    def refuse():
        asked.append(1)
        raise lease.LeaseError("lost")

    copies = mirror.Mirror(tmp_path, remote(RUN), refuse)
    (tmp_path / "a").write_text("1")
    copies.start()
    _until(lambda: asked)
    with pytest.raises(lease.LeaseError):
        copies.close()
    assert gcs.names("research") == [] and len(asked) == 2  # the thread had ended


def test_a_thread_copies_while_the_run_goes_on(gcs, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(mirror, "EVERY_SECONDS", 0.1)
    copies = mirror.Mirror(tmp_path, remote(RUN))
    copies.start()
    (tmp_path / "a").write_text("1")
    _until(lambda: gcs.names("research") == ["run/a"])
    with gcs.failing("POST", status=403):
        (tmp_path / "a").write_text("12")
        _until(lambda: "permission denied" in capsys.readouterr().err)
    _until(lambda: gcs.content("research", "run/a") == b"12")
    copies.close()
    assert LEASE not in gcs.names("research")


def test_histories_go_before_a_checkpoint_and_nothing_goes_without_the_lease(gcs):
    with (
        pytest.raises(buckets.StoreError, match="gone; files that are not there yet are kept in"),
        workdir.opened(remote(RUN)) as own,
    ):
        for name in (HISTORY, "other.txt"):
            (own.folder / name).write_text("1\n")
        own.before_save()
        assert [name for name in gcs.names("research") if "lease" not in name] == [f"run/{HISTORY}"]
        assert own._lease is not None
        own._lease.lost = "gone"
        with pytest.raises(lease.LeaseError, match="gone"):
            own.before_save()
    assert "run/other.txt" not in gcs.names("research")
