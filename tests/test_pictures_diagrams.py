"""Diagrams of boxes and arrows: what lies where, and files."""

import re

import pytest
from diagram_checks import faults
from PIL import Image

from hcflow_jax.errors import InputError
from hcflow_jax.graphs import BOTTOM, TOP, Arrow, Graph, Group, Node
from hcflow_jax.pictures import diagrams
from hcflow_jax.pictures.diagrams import Style

STYLES = {"layer": Style("#0072B2", "layer"), "way": Style("#D55E00", "way", dashed=True)}

A = Node("a", "first", ("some text", "more $text_"), "layer", 0, 0, parameters=1234, masks=(((0, 1), (1, 0)),))
B = Node("b", "one line", kind="layer", row=0, column=1, parameters=5)
C = Node("c", "a wide box over two columns, with a long title", ("and text",), row=1, column=0, columns=2)
D = Node("d", "framed", ("text",), "layer", row=2, column=1)
WHOLE = Graph(
    "A diagram with a long title that takes more than one line, since it goes on and on and on and on",
    (A, B, C, D),
    (Arrow("a", "b", "way", both=True), Arrow("c", "d", "way", BOTTOM, TOP)),
    (Group("frame", "a frame's title", ("d",)),),
    ("A note.",),
    "upwards",
)


def test_nothing_overlaps_and_all_texts_are_in_their_boxes():
    assert faults(WHOLE, STYLES) == []


def test_faults_are_found():
    crossing = Graph("crossing", (A, B, Node("e", "beyond", row=0, column=2)), (Arrow("a", "e"),))
    assert any("goes through 'b'" in fault for fault in faults(crossing, STYLES))


def test_a_diagram_says_everything():
    texts = [text.get_text() for text in diagrams.drawn(WHOLE, STYLES).axes[0].texts]
    for said in (
        "first",
        "more $text_",
        "1,234 parameters",
        "5",
        "a frame's title",
        "A note.",
        "upwards",
        "layer",
        "way",
    ):
        assert said in texts


def test_rows_of_lanes_have_their_own_heights():
    from hcflow_jax.pictures.diagram_layout import lay_out

    high = tuple(Node(f"h{i}", "high", ("line",) * 5, row=i) for i in range(2))
    low = [Node(f"l{i}", "low", row=i, column=1, lane=1) for i in range(2)]
    rects = lay_out(Graph("", (*high, *low)), lambda text, *_: 5.0 * len(text)).rects
    assert rects["l1"].y < rects["h0"].bottom < rects["h1"].y


@pytest.mark.parametrize("ending", [".png", ".pdf"])
def test_files(tmp_path, ending):
    path = tmp_path / f"a{ending}"
    diagrams.diagram(path, WHOLE, STYLES)
    first = path.read_bytes()
    diagrams.diagram(path, WHOLE, STYLES)
    assert path.read_bytes() == first and [each.name for each in tmp_path.iterdir()] == [path.name]
    if ending == ".pdf":
        assert first.startswith(b"%PDF") and b"/Subtype /Image" not in first  # no pixels
    else:
        with Image.open(path) as picture:
            size = picture.size
        assert size == diagrams.drawn(WHOLE, STYLES).canvas.get_width_height()


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (Graph("", ()), "no boxes"),
        (Graph("", (A, A)), "one name"),
        (Graph("", (A, Node("other", "x"))), "'a' and 'other' are both at row 0, column 0"),
        (Graph("", (A,), (Arrow("a", "z"),)), "names 'z'"),
        (Graph("", (A,), (), (Group("g", "", ("z",)),)), "'g' must have members"),
    ],
)
def test_what_cannot_be_drawn(tmp_path, graph, message):
    with pytest.raises(InputError, match=re.escape(message)):
        diagrams.diagram(tmp_path / "a.png", graph, STYLES)
    with pytest.raises(InputError, match="must end in .png or .pdf"):
        diagrams.diagram(tmp_path / "a.svg", WHOLE, STYLES)
    assert not list(tmp_path.iterdir())
