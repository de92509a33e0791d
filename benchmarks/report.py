"""The results as a table in Markdown and as a picture, in ratios: times say nothing on another machine.

Strategy: a row says what was done, what mtpfs reached, what its bar is, and how
many times longer each of the others took. The picture has one group of bars per
work, the raw link being 1.

Invariant: what couldn't be measured is a dash with its reason below the table,
never a zero.
"""

from __future__ import annotations

from html import escape

from bus import LARGE, Result
from raw import Link

WIDTH, BAR, GAP, LEFT = 720, 16, 26, 190
COLOURS = ("#1b6ca8", "#9aa5b1", "#c3cad2", "#dfe3e8")


def ratio_to_link(link: Link, work: str, seconds: float) -> float | None:
    """Return the rate as a share of the raw link's; None for work that isn't a transfer."""
    if work.startswith("read"):
        return LARGE / seconds / link.read
    if work.startswith("write"):
        return LARGE / seconds / link.write
    return None


def table(link: Link, results: list[Result]) -> str:
    """Return the table of the measurements over USB."""
    ours, others = results[0], results[1:]
    lines = [
        f"| work | mtpfs | {' | '.join(f'{other.program} took' for other in others)} |",
        "|---|---|" + "---|" * len(others),
    ]
    reasons = []
    for work, seconds in ours.values.items():
        if ":" in work or work.endswith("meanwhile"):
            continue
        share = ratio_to_link(link, work, seconds)
        own = (
            f"{share:.2f} of the raw link"
            if share
            else f"{seconds / link.transaction:.0f} small transactions"
        )
        count = ours.values[f"{work}: transactions"]
        cells = [f"{own}, {count:.0f} transactions"]
        for other in others:
            if work in other.values:
                cells.append(f"{other.values[work] / seconds:.1f} times as long")
            else:
                cells.append("—")
                note = other.notes.get(work) or next(iter(other.notes.values()), "")
                reasons.append(f"{other.program}, {work}: {note}")
        lines.append(f"| {work} | {' | '.join(cells)} |")
    if "ls meanwhile" in ours.values:
        window = (4 << 20) / link.read
        lines.append(
            f"| slowest ls while 200 MiB are read | {ours.values['ls meanwhile'] / window:.1f} windows of 4 MiB "
            f"|{' |' * len(others)}"
        )
    memory = max(value for key, value in ours.values.items() if key.endswith(": memory"))
    lines.append(f"| most memory | {memory / (1 << 20):.0f} MiB |{' |' * len(others)}")
    if reasons:
        lines += ["", *(f"- {reason}" for reason in dict.fromkeys(reasons))]
    return "\n".join(lines)


def local_table(found: dict[str, dict[str, float]], starts: dict[str, float]) -> str:
    """Return the table of the measurements on the virtual phone."""
    lines = ["| work | transactions | most memory |", "|---|---|---|"]
    for work, values in found.items():
        lines.append(f"| {work} | {values['transactions']:.0f} | {values['memory'] / (1 << 20):.0f} MiB |")
    linear = found["ls -l of 10000 files"]["seconds"] / found["ls -l of 1000 files"]["seconds"]
    lines += ["", f"Ten times as many files take {linear:.1f} times as long to list."]
    lines += [f"- {what}: {seconds:.2f} s" for what, seconds in starts.items()]
    return "\n".join(lines)


def picture(link: Link, results: list[Result]) -> str:
    """Return the shares of the raw link as an SVG."""
    y, parts = GAP, []
    for work in ("read 200 MiB", "write 200 MiB"):
        parts.append(
            f'<text x="4" y="{y - 8}" font-weight="bold">{escape(work)}, share of the raw link</text>'
        )
        for result, colour in zip(results, COLOURS, strict=False):
            seconds = result.values.get(work)
            share = ratio_to_link(link, work, seconds) if seconds else None
            length = (WIDTH - LEFT - 60) * (share or 0)
            label = f"{share:.2f}" if share else "—"
            parts += [
                f'<text x="{LEFT - 8}" y="{y + 12}" text-anchor="end">{escape(result.program)}</text>',
                f'<rect x="{LEFT}" y="{y}" width="{length:.0f}" height="{BAR}" fill="{colour}"/>',
                f'<text x="{LEFT + length + 6:.0f}" y="{y + 12}">{label}</text>',
            ]
            y += BAR + 4
        y += GAP
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}" '
        f'font-family="sans-serif" font-size="13">{"".join(parts)}</svg>\n'
    )
