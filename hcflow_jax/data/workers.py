"""Distributes jobs over processes, collects their reports, and reports a process that dies.

Plain subprocesses are used instead of multiprocessing. Forking a process with jax's threads may hang, and spawning
imports the main module of the caller (and jax) again in every worker. A job and a report are one line of JSON. If the
parent process is killed, the workers end, because their input ends.

loky (3.7) would not do: when whoever started them is killed, its processes live on until the job in hand is done, and
they tell nothing before that. It would need a queue for the reports and a watch for the end all the same.
"""

import contextlib
import importlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any

from tqdm import tqdm

from hcflow_jax import stopping
from hcflow_jax.data.source import DataError

Report = Callable[[dict[str, Any]], None]
_WORKER = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from hcflow_jax.data.workers import main; main(sys.argv[2])"
)


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def bar(total: int, what: str, unit: str = " images", **options: Any) -> "tqdm[Any]":
    """A bar on stderr, for reports; the options are tqdm's."""
    # In a file or a pipe a bar is many lines: one in ten seconds is enough there.
    pause = 0.2 if sys.stderr.isatty() else 10
    return tqdm(total=total, desc=what, unit=unit, mininterval=pause, leave=False, **options)


def run(target: str, jobs: Iterable[dict[str, Any]], report: Report, *, workers: int, what: str) -> None:
    """Does every job. A process that has finished one takes the next.

    Args:
      target: "module:function"; the function is called as function(job, report) and raises DataError for what the
        user can put right.
      jobs: taken one at a time, as they are begun.
      report: is told what the function tells; always in this thread.
      workers: processes; 1 does the jobs in this one.
      what: the work, for messages.

    Raises:
      DataError: the first that a job raised, or naming how a process died. The other processes are ended first.
    """
    if workers == 1:
        function = _function(target)
        for job in jobs:
            function(job, report)
        return
    remaining, turn = iter(jobs), threading.Lock()
    messages: queue.SimpleQueue[dict[str, Any] | Exception | None] = queue.SimpleQueue()

    def drive(worker: subprocess.Popen[bytes]) -> None:
        try:
            while True:
                with turn:
                    job = next(remaining, None)
                if not _ask(worker, job, messages.put):
                    break
            messages.put(None)
        except Exception as error:
            messages.put(error)

    processes: list[subprocess.Popen[bytes]] = []
    threads: list[threading.Thread] = []
    try:
        for _ in range(workers):
            command = [sys.executable, "-c", _WORKER, json.dumps(sys.path), target]
            # Signals are for whoever started it, who ends it: a terminal sends them to the group, others to all.
            with stopping.withheld():
                process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=0)
            processes.append(process)
        threads = [threading.Thread(target=drive, args=[process], daemon=True) for process in processes]
        for thread in threads:
            thread.start()
        running = workers
        while running:
            message = messages.get()
            if isinstance(message, _Died):
                raise DataError(f"{what}: a process {message}; run it again")
            if isinstance(message, Exception):
                raise message
            if message is None:
                running -= 1
            else:
                report(message)
    finally:
        for process in processes:
            process.kill()
            process.wait()
        for thread in threads:
            thread.join()
        for process in processes:
            for pipe in filter(None, (process.stdin, process.stdout)):
                with contextlib.suppress(OSError):  # what it had not read yet
                    pipe.close()


class _Died(Exception):
    """Describes how a process died."""


def _ask(worker: subprocess.Popen[bytes], job: dict[str, Any] | None, tell: Report) -> bool:
    """Has a job done; without one the process ends. Returns whether it lives on."""
    assert worker.stdin is not None and worker.stdout is not None
    with contextlib.suppress(BrokenPipeError):  # it died, so its output has ended
        worker.stdin.write(json.dumps(job).encode() + b"\n")
        worker.stdin.flush()
    for line in worker.stdout:
        message = json.loads(line)
        if message is None:
            return True
        if "error" in message:
            raise DataError(message["error"])
        tell(message)
    status = worker.wait()
    if status < 0:
        hint = ", perhaps for want of memory" if status == -signal.SIGKILL else ""
        raise _Died(f"was ended by {signal.Signals(-status).name}{hint}")
    if status or job is not None:
        raise _Died(f"failed with exit status {status}; its message is above")
    return False


def _function(target: str) -> Callable[[dict[str, Any], Report], None]:
    module, name = target.split(":")
    return getattr(importlib.import_module(module), name)


def main(target: str) -> None:
    """A process: jobs come by standard input, null ends it; reports go by standard output, null after a job."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # a library's output is not a report

    def report(message: dict[str, Any] | None) -> None:
        out.write(json.dumps(message) + "\n")
        out.flush()

    jobs: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()

    def receive() -> None:
        for line in sys.stdin:
            jobs.put(json.loads(line))
            if line == "null\n":
                return
        os._exit(1)  # whoever started it is gone, so nobody waits for the job in hand

    threading.Thread(target=receive, daemon=True).start()
    function = _function(target)
    while (job := jobs.get()) is not None:
        try:
            function(job, report)
        except DataError as error:
            report({"error": str(error)})
            return
        report(None)
