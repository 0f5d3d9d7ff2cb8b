// How rules stand to an event: windows, steps and conditions, as the rules themselves say it.
import { h } from './dom.js';
import { clock } from './format.js';

const units = { count: 'calls', in_flight: 'in flight', sum: '', distinct: 'different' };

/** mood is what a rule makes of the event, for colour. */
const mood = (s) => (s.fires ? (s.observed ? 'log' : s.do) : s.near ? 'near' : '');

function rate(w, s) {
  const [now, more, limit] = [Number(w.now), Number(w.with), Number(w.limit)];
  const most = Math.max(limit, more, 1e-9);
  const fill = h('span', { class: 'fill' });
  fill.style.width = `${Math.min(now, more) / most * 100}%`;
  const plus = h('span', { class: 'plus' });
  plus.style.width = `${Math.max(0, more - now) / most * 100}%`;
  const mark = h('span', { class: 'limit' });
  mark.style.left = `${limit / most * 100}%`;
  const unit = [units[w.measure], w.of].filter(Boolean).join(' ');
  return [
    h('div', { class: 'gauge', role: 'img', 'aria-label': `${w.with} of ${w.limit}` }, fill, plus, more > limit && mark),
    h('div', { class: 'told' }, h('b', { class: 'num' }, `${w.with} of ${w.limit}`), ` ${unit} in ${w.per}`, w.now !== w.with && s.fires && h('span', { class: 'faint' }, ` · ${w.now} without it`),
      w.by && h('span', { class: 'faint text' }, ` · ${w.by}`), w.frees && h('span', { class: 'faint' }, ` · the oldest leaves at ${clock(w.frees)}`), w.full && h('span', { class: 'bad' }, ' · it can count no more')),
  ];
}

function order(o, go, require) {
  const steps = o.steps.map((st, i) => {
    const done = i < o.matched || (i === o.steps.length - 1 && st.count > 0);
    const next = !done && i === o.matched;
    return h('li', { class: done ? 'done' : next ? 'next' : '', title: st.where || undefined },
      h('span', { class: 'mono text' }, st.name ? `${st.name}: ` : '', st.on), st.runs > 1 && h('span', { class: 'num' }, ` ${st.count} of ${st.runs}`),
      (st.events ?? []).slice(-4).map((seq) => [' ', h('button', { type: 'button', class: 'seq', onclick: () => go(seq) }, `#${seq}`)]));
  });
  const left = o.steps.length - 1 - o.matched;
  return [
    h('ol', { class: 'steps' }, steps),
    h('div', { class: 'told faint' }, require ? (left ? 'required before the call' : 'what is required is there') : left === 0 ? 'all but the call itself is there' : o.matched ? `${o.matched} of ${o.steps.length - 1} steps are there` : `within ${o.within}`,
      o.until && ` · until ${clock(o.until)}`, o.by && h('span', { class: 'text' }, ` · ${o.by}`), o.unknown && h('span', { class: 'bad' }, ' · too much has happened to tell')),
  ];
}

const holds = { true: 'holds', false: 'does not hold' };

/** standing shows one rule. Go shows an event by its number. */
export function standing(s, go) {
  const parts = (s.parts ?? []).length > 1 || (s.kind === 'where' && s.parts?.length) ? h('ul', { class: 'parts' }, s.parts.map((p) => h('li', { class: p.holds === 'true' ? 'yes' : p.holds === 'false' ? 'no' : 'open' },
    h('code', { class: 'text' }, p.text), h('span', { class: 'faint text' }, ` ${holds[p.holds] ?? p.holds}`)))) : null;
  return h('div', { class: `standing ${mood(s)}` },
    h('div', { class: 'rule-name' }, h('b', { class: 'mono text' }, s.rule), s.fires ? h('span', { class: `chip ${s.observed ? '' : s.do}` }, s.observed ? `observes: ${s.do}` : s.do) : s.near && h('span', { class: 'chip near' }, 'near')),
    s.window && rate(s.window, s), s.order && order(s.order, go, s.kind === 'require'), parts,
    s.fires && !s.window && !s.order && h('div', { class: 'told text' }, s.why));
}

/** weight puts what matters most first. */
export const weight = (s) => (s.fires ? 0 : s.near ? 1 : s.order?.matched || Number(s.window?.with) > 0 ? 2 : 3);
