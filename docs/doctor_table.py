"""Writes the table of reason codes into docs/doctor.md from the doctor's own rules.

python docs/doctor_table.py
"""

from pathlib import Path

from aisle.data.doctor.codes import RULES

PAGE = Path(__file__).parent / "doctor.md"
START, STOP = "<!-- codes -->", "<!-- /codes -->"
HEADINGS = {
    "rejected": "Rejected: the row is set aside",
    "repaired": "Repaired: the row counts, with the value put right",
    "kept": "Kept: counted and said, nothing changed",
}


def table() -> str:
    """One table an action; the codes in alphabetical order."""
    lines: list[str] = []
    for action, heading in HEADINGS.items():
        lines += [
            f"### {heading}",
            "",
            "| code | severity | meaning | listed by row | to undo |",
            "|---|---|---|---|---|",
        ]
        for code, rule in sorted(RULES.items()):
            if rule.action == action:
                shown, listed = rule.shown or code, "yes" if rule.listed else "no, counted"
                lines.append(f"| `{shown}` | {rule.severity} | {rule.what} | {listed} | {rule.undo or '–'} |")
        lines.append("")
    return "\n".join(lines)


def page(text: str) -> str:
    """The page with a fresh table between its markers."""
    before, rest = text.split(START)
    return f"{before}{START}\n\n{table()}\n{STOP}{rest.split(STOP)[1]}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
