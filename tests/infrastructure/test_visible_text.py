"""Text from outside cannot act on a terminal or a spreadsheet."""

import pytest

from infrastructure.visible_text import csv_cells, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]0;owned\x07", "\\x1b]0;owned\\x07"),
        ("a\nb\r\tc\x00", "a\\x0ab\\x0d\\x09c\\x00"),
        ("\x9b31m", "\\x9b31m"),
        ("pay \u202e001", "pay \\u202e001"),
        ("zero\u200bwidth", "zero\\u200bwidth"),
        ("Zażółć 🧾 [/bold]", "Zażółć 🧾 [/bold]"),
    ],
)
def test_control_characters_are_shown_as_escapes(text: str, shown: str) -> None:
    assert visible(text) == shown


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@sum(a1)", "\t=1", "\r=1"])
def test_cell_that_looks_like_a_formula_is_text(text: str) -> None:
    cells = csv_cells(
        {"order_id": text, "amount": -5, "refund_id": None}, ["order_id", "refund_id"]
    )
    assert cells == {"order_id": f"'{visible(text)}", "amount": -5, "refund_id": None}
