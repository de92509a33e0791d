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

import commands
from bus import FAR_BEHIND, FILES, FIRST_BYTE, IN, LIST, OUT, READ, SIZES, SMALL_FILES, WORK, WRITE, Result
from fast import Fast
from meanwhile import Meanwhile, Spooled
from samples import SURE, Samples

MIB = 1 << 20
PEAK_MEMORY = 64 * MIB  # bytes
WIDTH, BAR, GAP, LEFT = 720, 16, 26, 190
_STYLE = (
    "text{fill:#1f2328}.ours{fill:#1b6ca8}.theirs{fill:#9aa5b1}"
    "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.ours{fill:#58a6ff}.theirs{fill:#6e7681}}"
)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table."""

    work: str
    bar: str
    reached: str
    met: bool | str | None
    """None: there is no bar. A string: why that can't be said."""
    others: Sequence[str] = ()


def bus_table(
    ours: Result, peers: Sequence[Result], meanwhile: Meanwhile | None, spooled: Spooled | None
) -> str:
    """Return the table of the measurements over USB."""
    rows, reasons = [], []
    for work in WORK:
        if not ours.seconds[work]:
            reasons.append(f"mtpfs, {work}: {ours.notes.get(work, 'not measured')}")
            rows.append(Row(work, "", "—", met=False))
            continue
        reached, bar, met = _judge(ours, peers, work)
        others = []
        for peer in peers:
            if peer.times[work]:
                others.append(peer.times[work].told(1))
            else:
                others.append("—")
                reasons.append(f"{peer.program}, {work}: {peer.notes.get(work) or peer.notes.get(READ, '')}")
        rows.append(Row(work, bar, reached, met, others))
    if ours.cpu[READ]:
        per_gigabyte = 1e9 / SIZES.large * ours.cpu[READ].median
        others = [f"{p.cpu[READ].median / ours.cpu[READ].median:.1f}" if p.cpu[READ] else "—" for p in peers]
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
                spooled.memory < PEAK_MEMORY,
            ),
        ]
    memory = max(ours.memory.values(), default=0)
    rows.append(Row("most memory in all of it", "≤ 64 MiB", f"{memory / MIB:.0f} MiB", memory <= PEAK_MEMORY))
    table = _table(rows, [f"{peer.program} took" for peer in peers])
    sizes = (
        f"Files of {SIZES.large >> 20} MiB, and of {SIZES.huge >> 20} MiB for the copy during ls. Medians of "
        f"{len(ours.seconds[READ].values)} rounds, and between which values they lie. Others: times as long, "
        f"once if more than {FAR_BEHIND}. "
        f'"Unsure": the rounds differ by more than {SURE:.0%}.'
    )
    return "\n".join([sizes, "", table, "", *(f"- {reason}" for reason in dict.fromkeys(reasons))])


def _judge(ours: Result, peers: Sequence[Result], work: str) -> tuple[str, str, bool | str | None]:
    """Return what was reached, the bar, and whether it is met."""
    count, share, steps = ours.transactions[work], ours.shares[work], ours.steps[work]
    fastest = min((peer.times[work].median for peer in peers if peer.times[work]), default=2.0)
    if work in {READ, WRITE}:
        least = {READ: 0.95, WRITE: 0.9}[work]
        bar = f"≥ {least} of the raw link, others > 1"
        return share.told(), bar, _sure(share, met=share.median >= least and fastest > 1)
    if work == FIRST_BYTE:
        return steps.told(1), "≤ 2 small transactions' time", _sure(steps, met=steps.median <= 2)
    if work == LIST:
        met = count <= 1.1 * FILES and fastest > 1
        return f"{count / FILES:.2f}", "≤ 1.1 transactions per file, others > 1", met
    per_file = steps.median / SMALL_FILES
    limit = {OUT: 2, IN: 2}[work]
    allowance = 10  # for the directory itself
    reached = f"{count / SMALL_FILES:.2f} in {per_file:.1f} small transactions' time"
    bar = f"≤ {limit} transactions per file, in ≤ 1.5 times theirs, others > 1"
    met = count <= limit * SMALL_FILES + allowance and per_file <= 1.5 * limit and fastest > 1
    return reached, bar, _sure(steps, met=met)


def _sure(samples: Samples, *, met: bool) -> bool | str | None:
    judged = samples.judged(met=met)
    return "unsure" if judged is None else judged


def fast_table(found: Fast) -> str:
    """Return the table of a phone that is as fast as its link."""
    is_super = found.speed != "480"
    limits = (0.8, 0.7) if is_super else (0.95, 0.9)
    rows = []
    for work, share, cpu, least in (
        (READ, found.read, found.read_cpu, limits[0]),
        (WRITE, found.write, found.write_cpu, limits[1]),
    ):
        rows.append(
            Row(work, f"≥ {least} of the raw link", share.told(), _sure(share, met=share.median >= least))
        )
        bar = "≤ 1.0" if is_super and work == READ else ""
        met = _sure(cpu, met=cpu.median <= 1.0) if bar else None
        rows.append(Row("CPU per GB beyond the raw link's, in seconds", bar, cpu.told(), met))
    limit = (96 if is_super else 64) * MIB
    rows.append(
        Row("most memory", f"≤ {limit // MIB} MiB", f"{found.memory / MIB:.0f} MiB", found.memory <= limit)
    )
    head = f"At {found.speed} Mbit/s; the phone sends and takes {found.rate / 1e6:.0f} MB/s. {len(found.read.values)} rounds."
    return f"{head}\n\n{_table(rows, [])}"


def commands_table(found: commands.Commanded) -> str:
    """Return the table of the commands that need no mount."""
    rows = []
    for work in (commands.GET_BIG, commands.PUT_BIG, commands.GET_SMALL, commands.PUT_SMALL):
        others = found.others[work]
        told = others.told(1) if others else f"— ({found.notes.get(work, '')})"
        if work in found.steps:
            steps, count = found.steps[work], 1 if work == commands.GET_SMALL else 2
            is_met = steps.median <= 1.3 * count and (not others or others.median > 1)
            bar = f"≤ {1.3 * count} small transactions' time per file, aft > 1"
            rows.append(Row(work, bar, steps.told(1), _sure(steps, met=is_met), [told]))
        elif work == commands.GET_BIG:
            bar, is_met = "≤ 1 of the mount's time", found.mount.median <= 1
            rows.append(Row(work, bar, found.mount.told(), _sure(found.mount, met=is_met), [told]))
        else:
            rows.append(Row(work, "", "", None, [told]))
    return _table(rows, ["aft-mtp-cli took"])


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
        met = row.met if isinstance(row.met, str) else {True: "yes", False: "**no**", None: ""}[row.met]
        rest = [*row.others, *[""] * (len(others) - len(row.others))]
        lines.append(f"| {' | '.join([row.work, row.bar, row.reached, met, *rest])} |")
    return "\n".join(lines)


def picture(results: Sequence[Result]) -> str:
    """Return the shares of the raw link as an SVG that suits light and dark pages; the first result is ours."""
    y, parts = 2 * GAP, []
    for work in (READ, WRITE):
        parts.append(
            f'<text x="4" y="{y - 8}" font-weight="bold">{escape(work)}, share of the raw link</text>'
        )
        for number, result in enumerate(results):
            if result.notes.get(work) == "no mount":
                continue
            share = result.shares[work].median if result.shares[work] else None
            length = (WIDTH - LEFT - 60) * (share or 0)
            label = f"{share:.2f}" if share else "—"
            parts += [
                f'<text x="{LEFT - 8}" y="{y + 12}" text-anchor="end">{escape(result.program)}</text>',
                f'<rect x="{LEFT}" y="{y}" width="{length:.0f}" height="{BAR}" class="{"theirs" if number else "ours"}"/>',
                f'<text x="{LEFT + length + 6:.0f}" y="{y + 12}">{label}</text>',
            ]
            y += BAR + 4
        y += 2 * GAP
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y - GAP}" '
        f'font-family="sans-serif" font-size="13"><style>{_STYLE}</style>{"".join(parts)}</svg>\n'
    )
