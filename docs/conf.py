"""Sphinx's settings of the documentation; `launch/docs.sh` builds it.

The source directory is the whole repository, so a relative link means the same on the site as on GitHub: to another
page, to the README, to a notebook, to a file of the source. Only what `include_patterns` names becomes a page.
"""

import re
import tomllib
from pathlib import Path

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.util import logging
from sphinx.util.nodes import make_refnode

ROOT = Path(__file__).resolve().parents[1]

project = "hcflow_jax"
author = "the authors of hcflow_jax"
release = version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
root_doc = "docs/index"
include_patterns = [
    "docs/**.md",
    "colabs/*.ipynb",
    "*.md",
    "hcflow_jax/box/*.md",
    "hcflow_jax/evaluation/weights/*.md",
]
_holds_pages = ("docs", "colabs", "hcflow_jax")
exclude_patterns = [
    *(path.name for path in ROOT.iterdir() if path.is_dir() and path.name not in _holds_pages),
    "docs/_build",
]

# Markdown as GitHub shows it. Notebooks are shown with the outputs that are stored in them.
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4
nb_execution_mode = "off"
highlight_language = "text"  # of blocks that name no language

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False  # the return type is in the signature
default_role = "code"  # of `this` in docstrings
toc_object_entries = False  # a thousand entries in the sidebar of every page are slow to write and to read
suppress_warnings = ["ref.python"]  # a type in a signature that two modules offer, such as an alias

html_theme = "furo"
html_title = f"hcflow_jax {release}"
html_copy_source = False
html_show_copyright = False
html_math_renderer = "mathml"
html_extra_path = ["_site"]  # its index.html leads to docs/index.html


def _math(as_block):
    """How a formula is written: as MathML, which browsers show by themselves, with no script and no font."""

    def visit(translator, node):
        try:
            made = tex2mathml(node.astext(), as_block=as_block)
        except MathError as error:
            logging.getLogger(__name__).warning("%s: %s", node.astext(), error, location=node)
            raise nodes.SkipNode from error
        translator.body.append(f'<div class="formula">{made}</div>' if as_block else made)
        raise nodes.SkipNode

    return visit, None


def _link_names(app, doctree, docname):
    """Links what is written as code, such as `hcflow_jax.flows.Coupling`, to its entry in the API reference."""
    objects = app.env.domains.python_domain.objects
    for node in list(doctree.findall(nodes.literal)):
        entry = objects.get(node.astext())
        if entry and not isinstance(node.parent, nodes.reference):
            node.replace_self(make_refnode(app.builder, docname, entry.docname, entry.node_id, node.deepcopy()))


def _as_plain_text(app, what, name, obj, options, lines):
    """Docstrings are plain text with `code`: outside of it, *, | and a _ at the end of a word mean themselves."""
    in_example = False
    for i, line in enumerate(lines):
        in_example = line.lstrip().startswith(">>>") or (in_example and bool(line.strip()))
        if not in_example:
            parts = re.split(r"(`[^`]*`)", line)
            lines[i] = "".join(p if p.startswith("`") else re.sub(r"[*|]|_(?!\w)", r"\\\g<0>", p) for p in parts)


def setup(app):
    """Called by Sphinx."""
    app.add_html_math_renderer("mathml", _math(as_block=False), _math(as_block=True))
    app.connect("doctree-resolved", _link_names)
    app.connect("autodoc-process-docstring", _as_plain_text, priority=100)  # before napoleon, which writes reST
