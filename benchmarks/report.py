"""The results as a table in Markdown and as a picture, in ratios: times say nothing on another machine.

Strategy: a row says what was done, what the bar is, what mtpfs reached and whether
that is enough, and how many times longer each of the others took. The picture has
one group of bars per work, the raw link being 1.

Invariant: what couldn't be measured is a dash with its reason below the table,
never a zero, and never a bar that is met.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from bus import FILES, FIRST_BYTE, IN, LIST, OUT, READ, SIZES, SMALL_FILES, WORK, WRITE, Result
from meanwhile import Meanwhile, Spooled

MIB = 1 << 20
PEAK_MEMORY = 96 * MIB  # bytes
WIDTH, BAR, GAP, LEFT = 720, 16, 26, 190
COLOURS = ("#1b6ca8", "#9aa5b1", "#aeb8c2", "#c3cad2", "#dfe3e8")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table."""

    work: str
    bar: str
    reached: str
    met: bool | None
    """None: there is no bar."""
    others: Sequence[str] = ()


def bus_table(
    ours: Result, peers: Sequence[Result], meanwhile: Meanwhile | None, spooled: Spooled | None
) -> str:
    """Return the table of the measurements over USB."""
    rows, reasons = [], []
    for work in WORK:
        if work not in ours.seconds:
            reasons.append(f"mtpfs, {work}: {ours.notes.get(work, 'not measured')}")
            rows.append(Row(work, "", "—", met=False))
            continue
        reached, bar, met = _judge(ours, peers, work)
        others = []
        for peer in peers:
            if work in peer.seconds:
                others.append(f"{peer.seconds[work] / ours.seconds[work]:.1f}")
            else:
                others.append("—")
                reasons.append(f"{peer.program}, {work}: {peer.notes.get(work) or peer.notes.get(READ, '')}")
        rows.append(Row(work, bar, reached, met, others))
    if READ in ours.cpu:
        per_gigabyte = 1e9 / SIZES.large * ours.cpu[READ]
        others = [f"{p.cpu[READ] / ours.cpu[READ]:.1f}" if p.cpu.get(READ) else "—" for p in peers]
        rows.append(Row("CPU per GB read", "", f"{per_gigabyte:.1f} s", None, others))
    if meanwhile is not None:
        rows += _meanwhile_rows(meanwhile)
    if spooled is not None:
        rows += [
            Row(
                "close of a large file, device without edit operations",
                "≥ 0.9 of the raw link",
                f"{spooled.share:.2f}; {spooled.with_spooling:.2f} with the writing before it",
                spooled.share >= 0.9,
            ),
            Row(
                "memory during that",
                "no copy of it",
                f"{spooled.memory / MIB:.0f} MiB",
                spooled.memory < 96 * MIB,
            ),
        ]
    memory = max(ours.memory.values(), default=0)
    rows.append(Row("most memory in all of it", "< 96 MiB", f"{memory / MIB:.0f} MiB", memory < PEAK_MEMORY))
    table = _table(rows, [f"{peer.program} took" for peer in peers])
    sizes = f"Files of {SIZES.large >> 20} MiB, and of {SIZES.huge >> 20} MiB for the copy during ls. Others: times as long."
    return "\n".join([sizes, "", table, "", *(f"- {reason}" for reason in dict.fromkeys(reasons))])


def _judge(ours: Result, peers: Sequence[Result], work: str) -> tuple[str, str, bool | None]:
    """Return what was reached, the bar, and whether it is met."""
    count, share, steps = ours.transactions[work], ours.shares.get(work, 0.0), ours.steps[work]
    times = {peer.program: peer.seconds[work] / ours.seconds[work] for peer in peers if work in peer.seconds}
    fastest = min(times.values(), default=0.0)
    if work == READ:
        # Who can't do it at all isn't faster.
        met = share >= 0.85 and times.get("jmtpfs", 2.4) >= 2.4 and times.get("go-mtpfs", 8) >= 8
        return f"{share:.2f}", "≥ 0.85 of the raw link, jmtpfs ≥ 2.4, go-mtpfs ≥ 8", met
    if work == WRITE:
        met = share >= 0.75 and (not times or fastest >= 1.5)
        return f"{share:.2f}", "≥ 0.75 of the raw link, others ≥ 1.5", met
    if work == FIRST_BYTE:
        return f"{steps:.1f}", "< 3 small transactions' time", steps < 3
    if work == LIST:
        met = count <= 1.1 * FILES and (not times or fastest > 1)
        return f"{count / FILES:.2f}", "≤ 1.1 transactions per file, others > 1", met
    per_file = count / SMALL_FILES
    limit = {OUT: 2, IN: 3}[work]
    allowance = 10  # for the directory itself
    return f"{per_file:.2f}", f"≤ {limit} transactions per file", count <= limit * SMALL_FILES + allowance


def _meanwhile_rows(found: Meanwhile) -> list[Row]:
    return [
        Row(
            "ls of a directory during a copy, 99th percentile",
            "≤ 2 windows of 4 MiB",
            f"{found.p99:.1f} (of {found.listings}; longest {found.longest:.1f}; {found.waiting_p99:.1f} waiting)",
            found.p99 <= 2,
        ),
        Row(
            "the copy meanwhile, an ls every half second",
            "< 10 % slower",
            f"{100 * found.slower:.0f} %",
            found.slower < 0.1,
        ),
    ]


def local_table(found: dict[str, dict[str, float]], starts: dict[str, float]) -> str:
    """Return the table of the measurements on the virtual phone."""
    rows = []
    for work, values in found.items():
        limit = values.get("limit")
        count, memory = values["transactions"], values["memory"]
        reached = f"{count / values.get('per', 1):.4g} {'each' if 'per' in values else 'transactions'}, {memory / MIB:.0f} MiB"
        bar = f"≤ {limit:g}" if limit is not None else "< 96 MiB"
        # Directories that lead there, and the first listing, cost some in addition.
        within = limit is None or count <= limit * values.get("per", 1) + values.get("allowance", 0)
        rows.append(Row(work, bar, reached, within and memory < PEAK_MEMORY))
    linear = found["ls -l of 10000 files"]["seconds"] / found["ls -l of 1000 files"]["seconds"]
    rows.append(Row("ten times as many files", "linear: ≤ 12 times as long", f"{linear:.1f}", linear <= 12))
    for what, (seconds, limit) in {
        "mounted after": (starts["mounted after"], 0.6),
        "--help, own imports": (starts["help, own imports"], 0.15),
    }.items():
        rows.append(Row(what, f"< {limit} s", f"{seconds:.2f} s", seconds < limit))
    return _table(rows, [])


def _table(rows: Sequence[Row], others: Sequence[str]) -> str:
    heads = ["work", "bar", "mtpfs", "met", *others]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for row in rows:
        met = {True: "yes", False: "**no**", None: ""}[row.met]
        rest = [*row.others, *[""] * (len(others) - len(row.others))]
        lines.append(f"| {' | '.join([row.work, row.bar, row.reached, met, *rest])} |")
    return "\n".join(lines)


def picture(results: Sequence[Result]) -> str:
    """Return the shares of the raw link as an SVG; the first result is the one that has shares."""
    ours = results[0]
    y, parts = 2 * GAP, []
    for work in (READ, WRITE):
        parts.append(
            f'<text x="4" y="{y - 8}" font-weight="bold">{escape(work)}, share of the raw link</text>'
        )
        for result, colour in zip(results, COLOURS, strict=False):
            share = None
            if work in result.seconds and work in ours.shares:
                share = ours.shares[work] * ours.seconds[work] / result.seconds[work]
            elif result.notes.get(work) == "no mount":
                continue
            length = (WIDTH - LEFT - 60) * (share or 0)
            label = f"{share:.2f}" if share else "—"
            parts += [
                f'<text x="{LEFT - 8}" y="{y + 12}" text-anchor="end">{escape(result.program)}</text>',
                f'<rect x="{LEFT}" y="{y}" width="{length:.0f}" height="{BAR}" fill="{colour}"/>',
                f'<text x="{LEFT + length + 6:.0f}" y="{y + 12}">{label}</text>',
            ]
            y += BAR + 4
        y += 2 * GAP
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y - GAP}" '
        f'font-family="sans-serif" font-size="13"><rect width="100%" height="100%" fill="white"/>'
        f"{''.join(parts)}</svg>\n"
    )
