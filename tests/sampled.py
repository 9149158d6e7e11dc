"""The samples of real traffic: their bodies byte for byte as the files have them, so that 1.00 stays 1.00."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs

FOLDER = Path(__file__).parent / "samples"


@attrs.frozen
class Sample:
    """One sample.

    Attributes:
        name: the file's, without its suffix.
        kind: request, response, error or callback.
        status: the HTTP status, or None where the source has none.
        body: the bytes on the wire.
        json: the body as JSON, numbers with a point as Decimal; text where it is no JSON.
    """

    name: str
    kind: str
    status: int | None
    body: bytes
    json: Any


def sample(name: str) -> Sample:
    """The sample of that name."""
    text = (FOLDER / f"{name}.json").read_text(encoding="utf-8")
    whole = json.loads(text, parse_float=Decimal)
    start = re.search(r'^  "body":\s*', text, re.MULTILINE)
    assert start is not None
    _, end = json.JSONDecoder().raw_decode(text, start.end())
    body = whole["body"]
    literal = body if isinstance(body, str) else text[start.end() : end]
    return Sample(name, whole["kind"], whole.get("http_status"), literal.encode(), body)


def names(kind: str, *apis: str) -> list[str]:
    """The names of all samples of a kind, of some APIs (the first part of the name) or of all."""
    found = sorted(path.stem for path in FOLDER.glob(f"*__{kind}*.json"))
    return [name for name in found if not apis or name.split("__")[0] in apis]
