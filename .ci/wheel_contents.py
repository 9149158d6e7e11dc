"""Checks what a built wheel holds: ``python .ci/wheel_contents.py WHEEL``."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

SOURCE = Path(__file__).parent.parent / "src"


def main(wheel: str) -> str | None:
    """What is wrong with the wheel, or None."""
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
        metadata = next(archive.read(name).decode() for name in held if name.endswith(".dist-info/METADATA"))
    wanted = {
        path.relative_to(SOURCE).as_posix()
        for path in SOURCE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc"
    }
    if missing := wanted - held:
        return f"The wheel lacks {sorted(missing)}"
    if strange := {name for name in held - wanted if ".dist-info/" not in name}:
        return f"The wheel holds {sorted(strange)}, which the source does not"
    packages = ("mpesa_core", "mpesa_django", "mpesa_flask")
    needed = {f"{package}/{name}" for package in packages for name in ("__init__.py", "py.typed")}
    needed |= {f"mpesa_core/certificates/{name}.cer" for name in ("sandbox", "production")}
    if missing := needed - held:
        return f"The wheel lacks {sorted(missing)}"
    required = [line.partition(":")[2].split(";")[0].strip() for line in metadata.splitlines() if _is_core(line)]
    names = sorted(requirement.split(">")[0].split("<")[0].split("=")[0].strip() for requirement in required)
    if names != ["attrs", "blinker", "cattrs", "httpx"]:
        return f"The core requires {names}"
    return None


def _is_core(line: str) -> bool:
    return line.startswith("Requires-Dist:") and "extra ==" not in line


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
