"""What holds for the files of the repository as such."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from functools import cache
from importlib.metadata import distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
LONGEST = 500
CODE = {".py", ".js", ".ts", ".css"}
# Put together here, so that this file does not hold them itself.
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:work|root)/")
REGISTRY = re.compile(
    "|".join(map(re.escape, ("pypi." + "org", "python" + "hosted", "npmjs." + "org", "yarnpkg." + "com")))
)
PIN = re.compile(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!+_-]+")


@cache
def files() -> tuple[Path, ...]:
    """The repository's files, those not yet added included, the ignored ones not."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        names = [name for name in listed.split("\0") if name]
    except (OSError, subprocess.CalledProcessError):  # an unpacked archive, or no git
        hidden = re.compile(r"(^|/)(\.(?!ci/|gitignore)[^/]*|__pycache__|artifacts|build|dist|work)(/|$)")
        names = [p.relative_to(ROOT).as_posix() for p in ROOT.rglob("*") if p.is_file()]
        names = [name for name in names if not hidden.search(name)]
    return tuple(path for name in names if (path := ROOT / name).is_file())


def texts() -> list[tuple[str, str]]:
    """Name and text of each text file; the real DICOM files are not ours to judge."""
    found = []
    for path in files():
        name = path.relative_to(ROOT).as_posix()
        if name.startswith("tests/data/") and path.name != "ORIGIN.md":
            continue
        try:
            found.append((name, path.read_text(encoding="utf-8")))
        except UnicodeDecodeError:
            continue
    return found


def project() -> dict[str, object]:
    table: dict[str, object] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return table


def test_no_file_is_too_long() -> None:
    lengths = {name: text.count("\n") for name, text in texts() if Path(name).suffix in CODE}
    assert {name: length for name, length in lengths.items() if length > LONGEST} == {}


def test_no_path_of_a_machine_and_no_registry() -> None:
    found = [
        f"{name}:{number}: {line.strip()[:120]}"
        for name, text in texts()
        for number, line in enumerate(text.splitlines(), 1)
        if MACHINE_PATH.search(line) or REGISTRY.search(line)
    ]
    assert found == []


def test_notebooks_have_no_outputs() -> None:
    for path in files():
        if path.suffix == ".ipynb":
            cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
            assert not [cell for cell in cells if cell.get("outputs") or cell.get("execution_count")], path


def test_no_lock_of_javascript_packages() -> None:
    locks = {"package-lock.json", "yarn.lock", "pnpm-lock.yaml", "jlpm.lock"}
    assert [path for path in files() if path.name in locks] == []


def test_the_changelog_has_this_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## [{project()['version']}]" in changelog


def test_every_dependency_is_pinned_plainly() -> None:
    lines = (ROOT / "requirements" / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if not PIN.fullmatch(line)] == []
    pins = {canonicalize_name(name): version for name, version in (line.split("==") for line in lines)}
    assert "pacskit" not in pins
    table = project()
    extras = table["optional-dependencies"]
    core = table["dependencies"]
    assert isinstance(extras, dict)
    assert isinstance(core, list)
    for text in [*core, *(text for group in extras.values() for text in group)]:
        requirement = Requirement(text)
        version = pins.get(canonicalize_name(requirement.name))
        assert version, f"{requirement.name} is not in requirements/constraints.txt"
        assert requirement.specifier.contains(version), f"{requirement} against the pin {version}"


def test_the_pins_suit_the_oldest_python() -> None:
    """A pin taken on a newer 3.11 may refuse the 3.11.2 of Debian 12."""
    lines = (ROOT / "requirements" / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = {canonicalize_name(name): version for name, version in (line.split("==") for line in lines)}
    for found in distributions():
        needs = found.metadata["Requires-Python"]
        if needs and pins.get(canonicalize_name(found.name)) == found.version:
            assert SpecifierSet(needs).contains("3.11.2"), (
                f"{found.name}=={found.version} needs Python {needs}"
            )
