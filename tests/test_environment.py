"""Environments that are unusual: no home, a cache that cannot be written, variables of JAX that cannot be."""

import logging
import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from hcflow_jax import commands, compiling, devices, environment
from hcflow_jax.config import ConfigError
from hcflow_jax.data import portraits
from hcflow_jax.training import distributed

ROOT = Path(__file__).resolve().parents[1]
CACHE = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")


@pytest.fixture
def cache_settings():
    before = {name: jax.config.values[name] for name in CACHE}
    yield lambda: [jax.config.values[name] for name in CACHE]
    for name, value in before.items():
        jax.config.update(name, value)


@pytest.fixture
def no_home(monkeypatch):
    def home():
        raise RuntimeError("Could not determine home directory.")

    for name in ("HOME", "XDG_CACHE_HOME", "JAX_COMPILATION_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", home)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as it leaves it for a user without an entry


# The cache


@pytest.mark.situation("no HOME, and no entry among the users")
def test_without_a_home_programs_are_not_kept(no_home, cache_settings, caplog):
    with caplog.at_level(logging.WARNING):
        assert compiling.enable_compilation_cache() is None
    assert cache_settings()[0] is None
    (said,) = caplog.messages
    assert "no home folder" in said and "JAX_COMPILATION_CACHE_DIR" in said


@pytest.mark.situation("no HOME, and no entry among the users")
def test_who_names_a_cache_needs_no_home(no_home, cache_settings, monkeypatch, tmp_path):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "own"))
    assert compiling.enable_compilation_cache() == tmp_path / "own"
    assert cache_settings() == [str(tmp_path / "own"), 0.0]


@pytest.mark.situation("no HOME, and no entry among the users")
def test_portraits_without_a_home_say_where_to_name_a_folder(no_home):
    with pytest.raises(ConfigError, match="data.path is empty, and this user has no home"):
        portraits.cache_root("")


@pytest.mark.situation("no HOME, and no entry among the users")
def test_a_path_with_a_tilde_that_is_nobodys_gives_one_line(no_home, capsys):
    assert commands.run_main(lambda argv: len(str(Path(argv[0]).expanduser())), ["~/runs"]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert "no home folder" in said and "set HOME" in said


@pytest.mark.situation("`HOME` or `XDG_CACHE_HOME` empty or relative")
@pytest.mark.parametrize(
    ("home", "cache", "expected"),
    [
        ("/home/a", "/cache", "/cache"),
        ("/home/a", "cache", "/home/a/.cache"),
        ("/home/a", "", "/home/a/.cache"),
        ("", "", None),
        ("somewhere", "", None),
    ],
)
def test_the_users_cache(monkeypatch, home, cache, expected):
    monkeypatch.setenv("HOME", home)
    monkeypatch.setenv("XDG_CACHE_HOME", cache)
    assert environment.user_cache() == (expected and Path(expected))


@pytest.mark.situation("a cache folder that cannot be made, or that can only be read")
def test_a_cache_that_cannot_be_made_costs_one_line(cache_settings, monkeypatch, tmp_path, caplog):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "file" / "cache"))
    with caplog.at_level(logging.WARNING):
        assert compiling.enable_compilation_cache() is None
    assert cache_settings()[0] is None
    assert [str(tmp_path / "file") in said for said in caplog.messages] == [True]


@pytest.mark.situation("a cache folder that cannot be made, or that can only be read")
def test_from_a_cache_that_cannot_be_written_programs_are_read(cache_settings, monkeypatch, tmp_path, caplog):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK)
    with caplog.at_level(logging.WARNING):
        assert compiling.enable_compilation_cache() == tmp_path
    where, least_seconds = cache_settings()
    assert where == str(tmp_path) and least_seconds > 1e6  # nothing takes so long: nothing is written
    assert not caplog.messages


# JAX


GLOO = "Unable to initialize backend 'cpu': [enforce fail at external/gloo/gloo/transport/tcp/device.cc:99] rv == 0"


@pytest.mark.situation("`JAX_PLATFORMS` or `JAX_PLATFORM_NAME` names a platform that does not exist here")
@pytest.mark.parametrize(
    ("platforms", "platform", "error", "parts"),
    [
        ("cuda", "", AssertionError(), ("JAX_PLATFORMS=cuda", "no such device", "hcflow_jax[cuda12]", "unset")),
        ("gpu", "", RuntimeError("Unable to\nstart rocm"), ("JAX_PLATFORMS=gpu", "Unable to start rocm", "[cuda12]")),
        ("tpu", "", RuntimeError("no libtpu.so"), ("JAX_PLATFORMS=tpu", "hcflow_jax[tpu]")),
        ("cpuu", "", RuntimeError("unknown"), ("JAX_PLATFORMS=cpuu", "cpu, cuda and tpu")),
        ("", "gpu", RuntimeError("unknown"), ("JAX_PLATFORM_NAME=gpu", "hcflow_jax[cuda12]")),
        ("", "", RuntimeError("no driver"), ("no driver", "JAX_PLATFORMS=cpu")),
        ("cpu", "", RuntimeError(GLOO), ("cannot resolve its own name", socket.gethostname(), "/etc/hosts")),
    ],
)
def test_a_backend_that_is_not_there(monkeypatch, platforms, platform, error, parts):
    def refuse():
        raise error

    monkeypatch.setattr(jax, "local_devices", refuse)
    values = {**jax.config.values, "jax_platforms": platforms, "jax_platform_name": platform}
    monkeypatch.setattr(type(jax.config), "values", values)
    with pytest.raises(environment.EnvironmentSettingError) as raised:
        devices.start()
    assert "\n" not in str(raised.value)
    assert [part for part in parts if part not in str(raised.value)] == []


@pytest.mark.situation("a plugin of JAX without its driver")
def test_a_plugin_that_fails_is_told_in_one_line(caplog):
    log = logging.getLogger("jax._src.xla_bridge")
    with caplog.at_level(logging.ERROR), environment.plugins_in_one_line():
        try:
            raise RuntimeError("cuInit\nfailed")
        except RuntimeError:
            log.exception("plugin %s")  # as jax calls it in one place: without the name
    (record,) = caplog.records
    assert record.getMessage().endswith("RuntimeError: cuInit failed") and not record.exc_info


@pytest.mark.situation("`XLA_FLAGS` that XLA does not accept")
@pytest.mark.parametrize("flags", ["--xla_no_such_flag=1", "xla_cpu"])
def test_flags_that_xla_does_not_take(monkeypatch, flags):
    monkeypatch.setenv("XLA_FLAGS", flags)
    with pytest.raises(environment.EnvironmentSettingError, match=f"XLA_FLAGS={flags}: XLA does not take it .*unset"):
        devices.start()
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=true")
    devices.start()


@pytest.mark.situation("a `JAX_...` variable with a value that JAX does not accept")
@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        ("invalid truth value 'maybe' for environment 'JAX_ENABLE_X64'", "JAX_ENABLE_X64=maybe: JAX does not start"),
        ("Invalid value for JAX flag jax_enable_x64", "JAX_ENABLE_X64=maybe: JAX does not start"),
        ("invalid literal for int(): 'maybe'", "JAX_ENABLE_X64=maybe"),
    ],
)
def test_what_ends_the_import_of_jax(monkeypatch, capsys, raised, expected):
    monkeypatch.setenv("JAX_ENABLE_X64", "maybe")

    def command(argv):
        exec(compile(f"raise ValueError({raised!r})", "jax/__init__.py", "exec"), {"__name__": "jax"})
        return 0

    assert commands.run_main(command, []) == 2
    assert expected in capsys.readouterr().err


def test_any_other_error_stays_what_it_is():
    assert environment.explain(ValueError("JAX_ENABLE_X64")) is None
    assert environment.explain(RuntimeError("a fault")) is None
    assert environment.explain(FloatingPointError("underflow encountered")) is None


@pytest.mark.situation("`JAX_DEBUG_NANS=1`, and a value that is not finite")
def test_a_nan_that_jax_was_asked_to_look_for_gives_one_line(capsys):
    def command(argv):
        with jax.debug_nans(True):
            return int(jax.numpy.log(jax.numpy.float32(-1.0)))

    assert commands.run_main(command, []) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("error: invalid value (nan)") and "JAX_DEBUG_NANS" in said


@pytest.mark.situation("variables of SLURM or Kubernetes that are empty or incomplete")
@pytest.mark.parametrize(
    "given",
    [
        {"SLURM_NTASKS": ""},
        {"SLURM_NTASKS": "", "SLURM_STEP_NODELIST": ""},
        {"SLURM_NTASKS": "4", "SLURM_STEP_NODELIST": ""},
        {"SLURM_NTASKS": "four"},
        {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "JOB_COMPLETION_INDEX": ""},
    ],
)
def test_a_cluster_that_says_nothing_is_none(given):
    assert distributed.cluster({"TPU_SKIP_MDS_QUERY": "1", **given}) is None


@pytest.mark.situation("variables of SLURM or Kubernetes that are empty or incomplete")
def test_a_number_of_tasks_that_is_none():
    with pytest.raises(ConfigError, match="SLURM_NTASKS=four: expected the number"):
        distributed.cluster({"SLURM_NTASKS": "four", "SLURM_STEP_NODELIST": "n1", "TPU_SKIP_MDS_QUERY": "1"})


# Whole commands


@pytest.mark.full
@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param(
            given,
            expected,
            marks=pytest.mark.situation(
                "`JAX_PLATFORMS` or `JAX_PLATFORM_NAME` names a platform that does not exist here"
            ),
        )
        for given, expected in (
            ({"JAX_PLATFORMS": "cuda"}, "JAX_PLATFORMS=cuda"),
            ({"JAX_PLATFORMS": "cpuu"}, "JAX_PLATFORMS=cpuu"),
            ({"JAX_PLATFORMS": "cpu", "JAX_PLATFORM_NAME": "gpu"}, "gpu"),
        )
    ]
    + [
        pytest.param(
            {"JAX_ENABLE_X64": "maybe"},
            "JAX_ENABLE_X64=maybe",
            marks=pytest.mark.situation("a `JAX_...` variable with a value that JAX does not accept"),
        ),
    ],
)
@pytest.mark.parametrize(
    "command",
    [
        ("hcflow_jax", "sample", "--count=1", "--out=x.png"),
        ("hcflow_jax.main", "--mode=eval", "--workdir=run"),
        ("hcflow_jax.interop.import_torch", "x.bin", "--out=y"),
    ],
)
def test_a_command_says_in_one_line_that_jax_cannot_start(tmp_path, command, given, expected):
    environ = {**os.environ, **given, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", *command], env=environ, cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 2
    (said,) = done.stderr.splitlines()
    assert said.startswith("error: ") and expected in said
