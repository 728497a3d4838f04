"""The documentation as a site: built with warnings as errors, every internal link checked, nothing from elsewhere."""

import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LOADS = {
    "script": "src",
    "link": "href",
    "img": "src",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "object": "data",
}

pytestmark = pytest.mark.full


def build(source: Path, out: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """As `launch/docs.sh` builds it."""
    sphinx = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going", "-c", "docs"]
    environment = {**os.environ, "PYTHONPATH": str(source), "PYTHONWARNINGS": "ignore"}
    command = [*sphinx, *arguments, "-d", str(out / "doctrees"), ".", str(out / "html")]
    return subprocess.run(command, cwd=source, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole site."""
    out = tmp_path_factory.mktemp("site")
    done = build(ROOT, out, "-b", "html")
    assert done.returncode == 0, done.stderr[-3000:]
    return out / "html"


class Addresses(HTMLParser):
    """What a browser loads for a page, and where its links lead."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.loaded, self.links, self.ids = set(), set(), set()
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.loaded.add(values.get(LOADS.get(tag, "")) or "")
        self.links.add((values.get("href") or "") if tag == "a" else "")
        self.ids.add(values.get("id") or "")


def test_a_browser_loads_nothing_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 30
    for page in pages:
        for address in Addresses(page).loaded:
            assert not re.match(r"(\w+:)?//", address), f"{page}: loads {address}"
    styles = list(site.rglob("*.css"))
    assert styles
    for style in styles:
        found = re.findall(r"(?:url\(|@import)\s*[\"']?((?:\w+:)?//[^\"')]*)", style.read_text(encoding="utf-8"))
        assert not found, f"{style}: loads {found}"
    assert not list(site.rglob("*[mM]ath[jJ]ax*"))


def test_every_link_within_the_site_leads_somewhere(site: Path) -> None:
    parsed = {page: Addresses(page) for page in site.rglob("*.html")}
    for page, addresses in parsed.items():
        for link in addresses.links:
            target, _, anchor = link.partition("#")
            if not link or re.match(r"\w+:", link) or link.startswith("#furo"):
                continue
            file = (page.parent / target).resolve() if target else page
            assert file.exists(), f"{page}: {link} leads nowhere"
            if anchor and file in parsed:
                assert anchor in parsed[file].ids, f"{page}: {link} has no such place"


def test_what_is_on_the_pages(site: Path) -> None:
    assert (site / "index.html").read_text().count("docs/index.html") == 2
    model = (site / "docs" / "model.html").read_text()
    assert model.count("<math") > 40 and "$$" not in model
    assert 'href="api/flows.html#hcflow_jax.flows.Coupling"' in model
    nets = re.sub(r"<[^>]*>", "", (site / "docs" / "api" / "nets.html").read_text())
    assert re.search(r"instance_norm\(x: Float\[[\w.]*Array, 'b h w c'\]\)", nets)  # shapes are in the annotations
    assert "<img" in (site / "colabs" / "quickstart.html").read_text()  # the stored outputs


@pytest.mark.parametrize(
    "text, complaint",
    [
        ("[x](absent.md)", "absent.md"),
        ("[x](index.md#absent)", "absent"),
        ("[x](../hcflow_jax/absent.py)", "absent.py"),
        ("![x](absent.png)", "absent.png"),
        ("$$ \\absent $$", "absent"),
    ],
)
def test_a_mistake_on_a_page_ends_the_build(tmp_path: Path, text: str, complaint: str) -> None:
    (tmp_path / "docs" / "_site").mkdir(parents=True)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copy(ROOT / "docs" / "conf.py", tmp_path / "docs")
    page = tmp_path / "docs" / "index.md"
    page.write_text("# A title\n\n[well](index.md#a-title) $x^2$\n")
    assert build(tmp_path, tmp_path / "good", "-b", "html").returncode == 0
    page.write_text(f"# A title\n\n{text}\n")
    done = build(tmp_path, tmp_path / "bad", "-b", "html")
    assert done.returncode != 0 and complaint in done.stderr
