"""A SLURM cluster of two nodes on this machine, from Debian's packages slurm-wlm and munge; it needs root."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

NODES = ("n1", "n2")

_CONFIG = """
ClusterName=test
SlurmctldHost=localhost(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
SlurmctldPort={controller}
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmdLogFile={folder}/slurmd-%n.log
SlurmdSpoolDir={folder}/spool-%n
StateSaveLocation={folder}/state
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
MailProg=/bin/true
MpiDefault=none
SlurmdParameters=config_overrides
NodeName=n[1-2] NodeHostname=localhost NodeAddr=127.0.0.1 Port=[{first}-{second}] CPUs=1
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


class Cluster:
    """Runs the cluster's commands."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}

    def run(self, *command: str, **options: Any) -> str:
        """What a command prints; raises where it fails."""
        options = {"check": True, "capture_output": True, "text": True, "timeout": 60, **options}
        return subprocess.run(command, env=self.environment, **options).stdout

    def job(self, number: str) -> dict[str, str]:
        """A job's fields, such as JobState, Reason and Restarts."""
        words = self.run("scontrol", "show", "job", "--oneliner", number).split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    def until(self, condition: Callable[[], bool], seconds: float) -> None:
        """Waits for a condition."""
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, self.logs()
            time.sleep(1)

    def logs(self) -> str:
        """The end of every log."""
        return "\n".join(f"{path}\n{path.read_text()[-1500:]}" for path in sorted(self.folder.glob("*.log")))


@contextmanager
def running(folder: Path) -> Iterator[Cluster]:
    """Starts the cluster, and ends it with all its jobs."""
    for tool in ("munged", "slurmctld", "slurmd"):
        found = shutil.which(tool, path=f"{os.environ['PATH']}{os.pathsep}/usr/sbin")
        assert found, f"no {tool}: install slurm-wlm and munge (on Debian: apt install slurm-wlm munge)"
    first = free_port()
    ports = dict(controller=free_port(), first=first, second=first + 1)
    (folder / "slurm.conf").write_text(_CONFIG.format(folder=folder, **ports))
    # JAX's coordinator is the first node, and Gloo asks for the machine's own name: the jobs have to know both.
    names = f"\n127.0.0.1 {' '.join(NODES)} {socket.gethostname()}\n"
    (folder / "hosts").write_text(Path("/etc/hosts").read_text() + names)
    named = f"mount --bind {folder}/hosts /etc/hosts && exec /usr/sbin/slurmd -D -N"
    slurmd = [["unshare", "--mount", "bash", "-c", f"{named} {node}"] for node in NODES]
    (folder / "state").mkdir()
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    files = [f"--{name}={folder}/munge.{name}" for name in ("socket",)]
    files += [f"--key-file={key}", f"--log-file={folder}/munge.log", f"--pid-file={folder}/munge.pid"]
    munged = ["/usr/sbin/munged", "--foreground", "--force", *files, f"--seed-file={folder}/munge.seed"]
    cluster = Cluster(folder)
    with ExitStack() as stack:
        for command in (munged, ["/usr/sbin/slurmctld", "-D"], *slurmd):
            process = subprocess.Popen(
                command, env=cluster.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            stack.callback(process.wait, 60)
            stack.callback(process.terminate)
            if command is munged:
                cluster.until(lambda: (folder / "munge.socket").exists(), 20)
        idle = lambda: cluster.run("sinfo", "--noheader", "--format=%D %t", check=False).split() == ["2", "idle"]  # noqa: E731
        cluster.until(idle, 60)
        try:
            yield cluster
        finally:
            cluster.run("scancel", "--user=root", "--signal=KILL", "--full", check=False)
            cluster.run("scancel", "--user=root", check=False)
            time.sleep(2)
