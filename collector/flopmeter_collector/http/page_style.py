"""The page's style sheet: one constant, no file, no font and no picture from anywhere.

Owns: how the page looks on screen and on paper.
May touch: nothing; a constant.
Called by http.page.
Colours keep a contrast of at least 4.5 to 1 against their ground, and no meaning is in a colour
alone: every state is also a word.
"""

from __future__ import annotations

STYLE = """
:root { --ink:#14202b; --soft:#4f5f6e; --line:#d8dfe5; --ground:#f5f7f8; --card:#fff;
  --best:#0b4f8a; --band:#7fb0dc; --hard:#dfe8f0; --bad:#a8201a; --badground:#fdecea;
  --warn:#7a4b00; --warnground:#fff4dc; --good:#1c6b3c; --goodground:#e7f5ec; }
* { box-sizing:border-box; }
body { margin:0; background:var(--ground); color:var(--ink);
  font:15px/1.5 "DejaVu Sans",system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;
  font-variant-numeric:tabular-nums; }
main, header { max-width:1180px; margin:0 auto; padding:0 24px; }
header { padding-top:22px; display:flex; flex-wrap:wrap; gap:4px 24px; align-items:baseline; }
h1 { font-size:22px; margin:0; letter-spacing:-.3px; }
h2 { font-size:16px; margin:30px 0 10px; }
h3 { font-size:18px; margin:0; overflow-wrap:anywhere; }
p { margin:4px 0; }
sup { font-size:.72em; line-height:0; }
.meta, .soft { color:var(--soft); font-size:13px; }
.simulated { position:sticky; top:0; z-index:9; text-align:center; font-weight:700;
  color:#141400; padding:9px 24px; font-size:15px; border-bottom:3px solid #141400;
  background:repeating-linear-gradient(-45deg,#ffd400 0 22px,#ffe459 22px 44px); }
.simulated b { letter-spacing:4px; font-size:19px; margin-right:10px; }
.mark { background:#ffd400; color:#141400; border:1px solid #141400; border-radius:3px;
  font-size:11px; font-weight:700; letter-spacing:1px; padding:0 5px; }
.notice { border-left:5px solid var(--bad); background:var(--badground); color:#6f1410;
  padding:10px 14px; margin:18px 0 0; border-radius:0 6px 6px 0; }
.card { background:var(--card); border:1px solid var(--line); border-radius:10px;
  padding:18px 20px; margin:0 0 16px; }
.top { display:flex; flex-wrap:wrap; justify-content:space-between; gap:6px 24px; }
.figure { font-size:22px; font-weight:700; color:var(--best); white-space:nowrap; }
.range { color:var(--soft); font-size:14px; font-weight:400; white-space:nowrap; }
.axis { position:relative; height:104px; margin:16px 14px 4px; }
.rail { position:absolute; left:0; right:0; top:50px; height:16px; background:#eef2f5;
  border-radius:3px; }
.hard, .likely { position:absolute; top:50px; height:16px; min-width:2px; }
.hard { background:var(--hard); border:1px solid #b9c8d6; }
.likely { background:var(--band); border:1px solid #4a86bd; }
.best { position:absolute; top:44px; width:4px; height:28px; margin-left:-2px;
  background:var(--best); border-radius:2px; }
.limit { position:absolute; top:30px; width:0; height:42px; border-left:2px dashed var(--bad); }
.limit.demo { border-left-color:#6b5a00; }
.limit span { position:absolute; bottom:41px; white-space:nowrap; font-size:12px;
  font-weight:600; color:var(--bad); transform:translateX(-50%); }
.limit.demo span { color:#6b5a00; }
.limit.up span { bottom:56px; }
.tick { position:absolute; top:70px; font-size:11px; color:var(--soft);
  transform:translateX(-50%); padding-top:6px; border-left:0; }
.tick::before { content:""; position:absolute; left:50%; top:0; height:5px;
  border-left:1px solid #9fb0be; }
table { border-collapse:collapse; width:100%; font-size:13.5px; }
th { text-align:left; font-weight:600; color:var(--soft); font-size:12px;
  border-bottom:2px solid var(--line); padding:6px 10px 6px 0; vertical-align:bottom; }
td { border-bottom:1px solid var(--line); padding:8px 10px 8px 0; vertical-align:top; }
tr:last-child td { border-bottom:0; }
.n { text-align:right; white-space:nowrap; }
.after { padding-left:14px; }
td.name { overflow-wrap:anywhere; min-width:140px; }
.state { display:inline-block; border-radius:4px; padding:1px 8px; font-weight:600;
  font-size:12.5px; background:#eef2f5; color:var(--soft); }
.state.above { background:var(--bad); color:#fff; }
.state.open { background:var(--warnground); color:var(--warn); }
.state.below { background:var(--goodground); color:var(--good); }
.undeclared { color:var(--bad); font-weight:700; }
.warning { color:var(--warn); font-size:12.5px; }
.rest td { background:#f9fafb; font-style:italic; }
.scroll { overflow-x:auto; }
.key { display:inline-block; width:22px; height:10px; margin:0 5px 0 14px;
  vertical-align:baseline; }
.key:first-child { margin-left:0; }
footer { max-width:1180px; margin:0 auto; padding:8px 24px 40px; }
.id { white-space:nowrap; }
a { color:inherit; }
@media screen and (max-width:820px) {
  main, header, footer { padding-left:14px; padding-right:14px; }
  .figure, .range { white-space:normal; } .card { padding:14px; }
  thead { display:none; } table, tbody, tr, td { display:block; width:auto; }
  tr { border-bottom:2px solid var(--line); padding:8px 0; } tr:last-child { border-bottom:0; }
  td, .after { border:0; padding:2px 0; display:flex; gap:10px; text-align:left; }
  td::before { content:attr(data-h); flex:0 0 38%; color:var(--soft); font-size:12px;
    padding-top:1px; }
  td > div { min-width:0; overflow-wrap:anywhere; } td.n { white-space:normal; text-align:left; }
  td[data-empty] { display:none; } }
@media print { body { background:#fff; font-size:11px; }
  .simulated { position:static; border:3px solid #141400; }
  .card { break-inside:avoid; border-color:#999; padding:10px 12px; }
  * { -webkit-print-color-adjust:exact; print-color-adjust:exact; }
  .scroll { overflow:visible; } @page { margin:14mm; } }
"""
