"""How the page of a summary looks: on screens in light and dark, and on paper."""

from __future__ import annotations

from typing import Final

STYLE: Final = """
:root { --paper: #f4f6f8; --card: #ffffff; --ink: #18202b; --soft: #5b6675; --line: #e1e5ea;
  --requests: #2f6fd6; --refused: #c63a2f; --good: #1d7a46; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #0f1319; --card: #181e27; --ink: #e5e9ef; --soft: #9aa5b4; --line: #2b3440;
    --requests: #6ba0f4; --refused: #ef7b70; --good: #5fc48c; }
}
* { box-sizing: border-box; }
body { margin: 0; padding: 2rem clamp(1rem, 4vw, 3rem); background: var(--paper); color: var(--ink);
  font: 15px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
header, .tiles, main, footer { max-width: 76rem; margin-inline: auto; }
h1 { font-size: 1.6rem; margin: 0 0 .4rem; font-weight: 650; }
h2 { font-size: 1.05rem; margin: 0 0 .6rem; font-weight: 650; }
p { margin: .15rem 0; color: var(--soft); }
section p { font-size: .9rem; }
table + p, .scroll + p { margin-top: .5rem; }
p + table, p + .scroll { margin-top: .6rem; }
.tiles { display: flex; flex-wrap: wrap; gap: .8rem; margin-block: 1.4rem; }
.tile { flex: 1 1 9rem; background: var(--card); border: 1px solid var(--line); border-radius: .6rem;
  padding: .8rem 1rem; color: var(--soft); font-size: .9rem; }
.tile .value { display: block; font-size: 1.55rem; font-weight: 650; color: var(--ink);
  font-variant-numeric: tabular-nums; }
.tile.good .value { color: var(--good); }
.tile.bad .value { color: var(--refused); }
main { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 1rem; }
section { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: 1rem 1.2rem;
  min-width: 0; }
section.wide { grid-column: 1 / -1; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { text-align: left; padding: .28rem .9rem .28rem 0; font-weight: 400; vertical-align: top;
  overflow-wrap: anywhere; }
th:last-child, td:last-child { padding-right: 0; }
td { min-width: 3rem; }
thead th { color: var(--soft); border-bottom: 1px solid var(--line); vertical-align: bottom;
  overflow-wrap: normal; white-space: normal; }
tbody th { min-width: 11rem; }
.bars th { min-width: 8rem; }
tbody tr + tr > * { border-top: 1px solid var(--line); }
.number { text-align: right; min-width: 0; font-variant-numeric: tabular-nums; white-space: nowrap; }
td.when { white-space: nowrap; }
.bars { table-layout: auto; }
.bars .bar { width: 38%; vertical-align: middle; }
.bars svg { display: block; width: 100%; height: .65rem; }
rect.requests { fill: var(--requests); }
rect.refused { fill: var(--refused); }
.chart { display: block; width: 100%; height: auto; }
.chart text { fill: var(--soft); font-size: 12px; font-family: inherit; }
.chart line { stroke: var(--line); }
.key { display: inline-block; width: .7rem; height: .7rem; margin-right: .3rem; vertical-align: baseline; }
footer { margin-top: 1.4rem; color: var(--soft); font-size: .85rem; }
code { font-family: ui-monospace, monospace; }
@media (max-width: 55rem) { main { grid-template-columns: minmax(0, 1fr); } }
@media print {
  :root { --paper: #ffffff; --card: #ffffff; --ink: #000000; --soft: #444444; --line: #cccccc;
    --requests: #2f6fd6; --refused: #c63a2f; --good: #1d7a46; }
  @page { margin: 14mm; }
  body { padding: 0; font-size: 10pt; print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  main { display: block; }
  section { margin-bottom: 4mm; }
  .scroll { overflow: visible; }
  h2 { break-after: avoid; }
  .tile { flex-basis: 6rem; padding: .5rem .7rem; }
  th, td { padding-right: .6rem; }
  tbody th { min-width: 12rem; }
  tr, .tile, .chart { break-inside: avoid; }
  thead { display: table-header-group; }
}
"""
