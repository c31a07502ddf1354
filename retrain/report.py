"""A validation report as one HTML page that needs nothing else: what was checked, what failed, and every column beside its reference."""

from __future__ import annotations

from datetime import UTC, datetime
from html import escape

from retrain.validation import Distribution, Finding, Report

_STYLE = """
body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color:#1b1f24;background:#fff}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}code{font-size:.85em;word-break:break-all}
table{border-collapse:collapse;width:100%}td,th{padding:.3rem .6rem;border-bottom:1px solid #d8dee4;text-align:left;vertical-align:top}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}.ok{color:#1a7f37}.warn{color:#9a6700}.fail{color:#cf222e;font-weight:600}
figure{display:inline-block;margin:.5rem 1rem 1rem 0;vertical-align:top}figcaption{font-size:.85rem;max-width:31rem}
svg{background:#f6f8fa;border-radius:4px}.r{fill:#8c959f}.l{fill:#0969da;fill-opacity:.65}
@media(prefers-color-scheme:dark){body{background:#0d1117;color:#e6edf3}td,th{border-color:#30363d}svg{background:#161b22}.ok{color:#3fb950}
.warn{color:#d29922}.fail{color:#f85149}.l{fill:#58a6ff}}
"""
_WORDS = {"ok": "passed", "warn": "look at this", "fail": "failed"}
_WIDTH, _HEIGHT, _SHOWN = 480, 120, 40


def html(report: Report) -> str:
    """The page; whatever the columns and values are called, it is text."""
    worst = report.level
    order = {"fail": 0, "warn": 1, "ok": 2}
    findings = sorted(report.findings, key=lambda finding: order[finding.level])
    yes = f", {report.yes:,} of them a yes" if report.yes else ""
    beside = sorted(report.distributions, key=lambda one: -one.psi)
    return "\n".join(
        [
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width"><meta http-equiv="Content-Security-Policy"',
            " content=\"default-src 'none'; style-src 'unsafe-inline'\">",
            f"<title>{escape(report.model)}: rows for training</title><style>{_STYLE}</style></head><body>",
            f"<h1>{escape(report.model)}, rows for the successor of version {report.version}:",
            f'<span class="{worst}">{_WORDS[worst]}</span></h1>',
            f"<p>{report.rows:,} rows, {report.labelled:,} with a label{yes}; {_span(report)}.",
            f"Dataset <code>{escape(report.dataset)}</code>.</p>",
            "<h2>Checks</h2><table><tr><th>column</th><th>check</th><th></th><th>what was found</th>",
            '<th class="n">value</th><th class="n">limit</th></tr>',
            *map(_row, findings),
            "</table><h2>Distributions</h2>",
            "<p>Grey: the reference of the version. Blue: these rows. The most different first.</p>" if beside else "<p>No reference.</p>",
            *map(_figure, beside),
            "</body></html>",
        ]
    )


def _row(finding: Finding) -> str:
    limit = "" if finding.limit is None else f"{finding.limit:,.4g}"
    return (
        f"<tr><td>{escape(finding.column) or 'all rows'}</td><td>{finding.check}</td><td class={finding.level}>{_WORDS[finding.level]}</td>"
        f'<td>{escape(finding.text)}</td><td class="n">{finding.value:,.4g}</td><td class="n">{limit}</td></tr>'
    )


def _figure(one: Distribution) -> str:
    """Bars of the bins that hold anything; of very many, the fullest ones."""
    kept = [place for place in range(len(one.bins)) if one.reference[place] or one.rows[place]]
    if len(kept) > _SHOWN:
        kept = sorted(sorted(kept, key=lambda place: -max(one.reference[place], one.rows[place]))[:_SHOWN])
    top = max([*(one.reference[place] for place in kept), *(one.rows[place] for place in kept)], default=1.0) or 1.0
    step = _WIDTH / max(len(kept), 1)
    bars = [_bars(one, place, x * step, step, top) for x, place in enumerate(kept)]
    caption = f"<b>{escape(one.column)}</b> PSI {one.psi:.3f}, Jensen-Shannon distance {one.js_distance:.3f}, L∞ {one.l_infinity:.3f}"
    return (
        f'<figure><svg width="{_WIDTH}" height="{_HEIGHT}" role="img" aria-label="{escape(one.column)}">{"".join(bars)}</svg>'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _bars(one: Distribution, place: int, x: float, step: float, top: float) -> str:
    title = f"{one.bins[place]}: reference {one.reference[place]:.2%}, rows {one.rows[place]:.2%}"
    drawn = "".join(
        f'<rect class="{name}" x="{x + offset:.1f}" y="{_HEIGHT * (1 - share / top):.1f}" width="{0.7 * step:.1f}"'
        f' height="{_HEIGHT * share / top:.1f}"/>'
        for name, share, offset in (("r", one.reference[place], 0.05 * step), ("l", one.rows[place], 0.25 * step))
    )
    return f"<g><title>{escape(title)}</title>{drawn}</g>"


def _span(report: Report) -> str:
    if report.first_us is None or report.last_us is None:
        return "none has a time"
    first, last = (f"{datetime.fromtimestamp(us / 1e6, UTC):%Y-%m-%d %H:%M}" for us in (report.first_us, report.last_us))
    return f"from {first} to {last}, UTC"
