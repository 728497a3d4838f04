"""Paths as people write them: one function takes them all, and what is no path of this machine is refused by name."""

import ast
import functools
import io
import os
import re
from pathlib import Path

import pytest
from odd_names import ODD

from hcflow_jax import box, commands, files, paths
from hcflow_jax.config import check_paths, default
from hcflow_jax.errors import InputError

ROOT = Path(__file__).resolve().parents[1]
HOMES = ("hcflow_jax/paths.py", "hcflow_jax/environment.py")  # where `~` is put in: paths, and the user's cache


@pytest.mark.situation("a name that begins with `~` but not with a user's name")
@pytest.mark.parametrize("name", ["~out.png", "~z/a", "~nobody-has-this-name", "a/~", "a~b", "x ~/y"])
def test_a_tilde_of_nobody_is_part_of_a_name(name):
    assert paths.local(name) == Path(name)


def test_a_tilde_is_the_home(monkeypatch):
    monkeypatch.setenv("HOME", "/homes/me")
    assert paths.local("~/runs/a") == Path("/homes/me/runs/a") and paths.local("~") == Path("/homes/me")


@pytest.mark.situation("`~/...` where there is no home")
def test_without_a_home_a_tilde_is_one_line_and_no_folder(monkeypatch):
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # what it does without HOME and passwd entry
    for text in ("~", "~/a"):
        with pytest.raises(InputError, match="--out ~.*: ~ means the home directory, which is unknown"):
            paths.local(text, "--out")
    assert paths.local("~a") == Path("~a")


@pytest.mark.situation("`gs://`, `s3://` or another scheme where a path is expected")
@pytest.mark.parametrize(
    "text",
    ["gs://bucket/run", "GS://b", "s3://b/x", "file:///tmp/a", "hf+x://m", "gs:/b/x", Path("gs://b/x")],
    ids=str,
)
def test_a_scheme_is_refused_by_name(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scheme = str(text).partition(":")[0]
    with pytest.raises(InputError, match=rf"^--out {re.escape(str(text))}: {re.escape(scheme)}:// is not on this"):
        paths.local(text, "--out")
    assert not any(tmp_path.iterdir())


def test_a_colon_alone_is_no_scheme(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data:").mkdir()
    for name in ("./gs://bucket", "runs/gs://b", "12:30", "a:b", "C:/x", "data:/set", "run 3:/x", "/gs://x"):
        assert paths.local(name) == Path(name)


@pytest.mark.parametrize("text", ["", "a\0b"], ids=ascii)
def test_what_can_be_no_name_is_one_line(text):
    with pytest.raises(InputError, match="--out is empty|'--out a.x00b': has a NUL character") as error:
        paths.local(text, "--out")
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("given", [None, 3, ["a"]], ids=repr)
def test_what_is_no_path_is_one_line(given):
    with pytest.raises(InputError, match="^--out is .*: expected a text or a Path"):
        paths.local(given, "--out")
    assert paths.local(b"caf\xe9") == Path("caf\udce9")


def test_characters_that_the_locale_lacks_are_one_line():
    with pytest.raises(InputError, match=r"ud800.*LC_ALL=C.UTF-8"):
        paths.local("a\ud800")


@pytest.mark.parametrize("field", ["data.path", "data.eval_path", "train.init_from"])
def test_fields_that_name_files_are_looked_at(field):
    config = default()
    check_paths(config)
    group, name = field.split(".")
    config[group][name] = "ftp://bucket/a"
    with pytest.raises(InputError, match=f"^{field} ftp://bucket/a: "):
        check_paths(config)


@pytest.mark.parametrize("name", ODD, ids=ascii)
def test_a_link_stands_for_a_name_that_a_library_does_not_take(name, tmp_path):
    directory = tmp_path / name
    directory.mkdir()
    (directory / "file").touch()
    taken = paths.plain(directory)
    assert (taken / "file").exists() and paths.plain(directory) == taken
    str(taken).encode()
    assert not set(str(taken)) & set('*?[]\\"\n')
    assert paths.own_names(f"{taken}/file") == f"{directory}/file"
    assert (taken == directory) == bool(re.fullmatch(r"[\w .~#%:'x-]+", name) and name.isprintable())


@pytest.mark.parametrize("name", ["a", "ü" * 127, *ODD], ids=lambda name: ascii(name)[:20])
def test_what_is_hidden_beside_a_file_has_a_name_that_is_short_enough(name, tmp_path):
    other = f"{name[:-1]}y"
    made = {files.hidden(tmp_path / each, "0123456789ab.partial") for each in (name, other)}
    for path in made:
        path.touch()
    assert len(made) == 2 and all(path.name.startswith(".") for path in made)
    assert files.hidden(tmp_path / "a.b", "lock").name == ".a.b.lock"
    with files.replacing(tmp_path / name) as partial:
        partial.touch()
    assert (tmp_path / name).exists()


@pytest.mark.parametrize(
    "text", ["a", "é" * 300, "\udce9" * 300, "\ud800a" * 100, "x" * 10**6], ids=lambda t: ascii(t)[:9]
)
def test_any_text_becomes_a_name(text, tmp_path):
    name = paths.file_name(text, 251)
    (tmp_path / f"{name}.png").touch()
    assert name == text or len(os.fsencode(name)) > 240


@pytest.mark.situation(
    "a folder that is called `portraits64`, `portraits` or `scenes`, like a bundled pretrained model"
)
def test_a_folder_does_not_hide_a_model_in_the_box(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    assert box.find("portraits") == box.find(Path("portraits")) == box.weights("portraits")
    (tmp_path / "portraits").mkdir()
    assert box.find("portraits") == box.weights("portraits") and not caplog.text
    assert box.find("./portraits") == box.find(Path("./portraits")) == Path("portraits")
    (tmp_path / "portraits" / "checkpoints").mkdir()
    assert box.find("portraits") == box.weights("portraits") and "write ./portraits for" in caplog.text


@functools.cache
def _calls() -> list[tuple[str, ast.Call]]:
    """(file, call) of the calls in every file of the package that has one of interest."""
    found = []
    for file in sorted((ROOT / "hcflow_jax").rglob("*.py")):
        text = file.read_text(encoding="utf-8")
        if re.search("expanduser|add_argument|glob|fnmatch", text):
            calls = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
            found += [(file.relative_to(ROOT).as_posix(), node) for node in calls]
    return found


def test_one_function_takes_all_paths():
    for file, call in _calls():
        name = ast.unparse(call.func)
        assert file in HOMES or not name.endswith("expanduser"), f"{file}:{call.lineno}"
        if name.endswith("add_argument"):
            kinds = {word.arg: ast.unparse(word.value) for word in call.keywords}
            assert kinds.get("type") != "Path", f"{file}:{call.lineno}: type=commands.as_path"
            named = kinds.get("metavar", "")
            takes_path = "FILE" in named or named in ("'DIR'", "'IMAGE'", "'WHERE'", "'CHECKPOINT'", "'MODEL.bin'")
            if takes_path and "data-dir" not in ast.unparse(call):
                known = (
                    "as_path",
                    "as_place",
                    "as_any_place",
                    "model_name",
                    "parts.image",
                    "image",
                )  # the last two call as_path
                assert kinds.get("type") in known, f"{file}:{call.lineno}: a path without as_path"


@pytest.mark.situation("a name with `[`, `*` or `?`")
def test_no_name_is_a_pattern():
    for file, call in _calls():
        if ast.unparse(call.func).split(".")[-1] in ("glob", "rglob", "iglob", "fnmatch"):
            pattern = call.args[0]
            constant = isinstance(pattern, ast.Constant) or ast.unparse(pattern) == "f'*/{_FILE}'"
            assert constant, f"{file}:{call.lineno}: {ast.unparse(call)}"


@pytest.mark.parametrize(
    ("encoding", "errors", "expected"),
    [
        ("utf-8", "strict", b"caf\\xe9 \xe7\x94\xbb \\ud800\n"),
        ("ascii", "strict", b"caf\\xe9 \\u753b \\ud800\n"),
        ("latin-1", "replace", b"caf\\xe9 \\u753b \\ud800\n"),
        ("utf-8", "surrogateescape", b"caf\xe9 \xe7\x94\xbb \\ud800\n"),
        ("ascii", "surrogateescape", b"caf\xe9 \\u753b \\ud800\n"),
    ],
)
def test_every_name_can_be_printed(encoding, errors, expected, monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors=errors)
    monkeypatch.setattr("sys.stdout", stream)
    for _ in range(2):
        commands.print_any_name()
    print("caf\udce9 画 \ud800", flush=True)
    assert stream.buffer.getvalue() == expected


def test_an_error_keeps_the_spaces_of_a_name(capsys):
    commands.fail("a  b.png: no such file\n  and more")
    assert capsys.readouterr().err == "error: a  b.png: no such file and more\n"
