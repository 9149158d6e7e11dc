"""``mpesa explain``: what a code means, whose turn it is, and what to tell the customer."""

from __future__ import annotations

import pytest

pytest.importorskip("click")
pytest.importorskip("rich")


def told(done):
    """The lines as a mapping; a paragraph's further lines belong to the name before them."""
    assert (0, "") == (done.exit_code, done.stderr)
    found = []
    for line in done.stdout.split("\n\n")[0].splitlines():
        if name := line[:17].strip():
            found.append([name, line[17:]])
        else:
            found[-1][1] += " " + line[17:]
    return dict(found)


@pytest.mark.parametrize(
    ("code", "outcome", "turn", "meaning"),
    [
        ("0", "success", "nobody's: it is done", "Paid"),
        ("1032", "cancelled", "customer", "Cancelled by the customer"),
        ("2001", "failed", "customer", "wrong PIN"),
        ("4999", "pending", "wait", "still"),
        ("C2B00012", "failed", "customer", "account number is not valid"),
        ("SFC_IC0003", "failed", "operator", ""),
        ("400.002.02", "none: it is no payment's result", "wait", "Its message decides"),
        ("nonsense", "unknown", "wait", "No table has this code"),
        ("-7", "unknown", "wait", "No table has this code"),
    ],
)
def test_a_code_is_explained(mpesa, code, outcome, turn, meaning):
    """Each kind of code: a result, a validation's, an error's, and one that nobody knows."""
    lines = told(mpesa("explain", "--", code))
    assert (code, outcome, turn) == (lines["code"], lines["outcome"], lines["whose turn"])
    assert meaning in lines["meaning"]
    assert lines["source"]


@pytest.mark.parametrize(
    ("product", "turn", "customer"),
    [("stk", "customer", "The M-PESA PIN was not correct. Please try again."), ("b2c", "operator", None)],
)
def test_a_code_is_explained_for_one_product(mpesa, product, turn, customer):
    """2001 is the customer's PIN on a prompt, and the operator's password in a payout, which no customer is told."""
    lines = told(mpesa("explain", "2001", "--product", product.upper()))
    assert (product, turn, customer) == (lines["product"], lines["whose turn"], lines.get("to the customer"))


def test_other_products_are_pointed_to(mpesa):
    """Where a code has further meanings, the command says how to see them."""
    assert "say --product b2c, b2b, reversal" in mpesa("explain", "2001").stdout
    assert "--product" not in mpesa("explain", "2001", "--product", "b2c").stdout


def test_each_reading_of_an_error_says_what_to_do(mpesa):
    """An error whose message decides is followed by what each message means."""
    readings = mpesa("explain", "400.002.02").stdout.split("\n\n")
    assert 4 == len(readings)
    assert ["Read the message.", "Ask again later.", "Choose callback URLs", "Mend what"] == [
        next(line for line in reading.splitlines() if line.startswith("what to do"))[17:].rstrip()[: len(wanted)]
        for reading, wanted in zip(
            readings, ["Read the message.", "Ask again later.", "Choose callback URLs", "Mend what"], strict=True
        )
    ]


def test_an_unknown_product_is_refused(mpesa):
    """Exit status 2, and those there are."""
    done = mpesa("explain", "0", "--product", "lipa")
    assert 2 == done.exit_code
    assert "'ratiba'" in done.stderr
