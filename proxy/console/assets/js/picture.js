// Why a call is as strange as it is.
import { h, show } from './dom.js';
import { get } from './api.js';
import { figure } from './figures.js';
import { number } from './format.js';

/** nines is how strange a share of billionths is, from 0 to 1: each nine is as much. */
const nines = (share) => Math.min(1, -Math.log10(Math.max(1e-9, 1 - share / 1e9)) / 6);

function meter(s) {
  const fill = h('i');
  fill.style.width = `${nines(s.share) * 100}%`;
  return h('tr', { class: s.share >= 999_000_000 ? 'own' : '' }, h('th', { scope: 'row' }, s.signal), h('td', { class: 'fill', 'aria-hidden': 'true' }, fill), h('td', { class: 'num' }, s.than));
}

/** drawn is a picture as it came. */
export function drawn(p) {
  if (!p.of) return h('p', { class: 'soft text' }, `Nobody can tell how strange it is: ${p.why}.`);
  const first = p.reasons.findIndex((r) => r.figure);
  const whom = p.members ? [`${number(p.members)} `, p.of] : p.of;
  return [
    h('p', { class: 'text' }, 'Stranger than ', h('b', { class: p.strange ? 'count hold' : '' }, p.than), ' of honest calls', p.strange ? '' : ', which is nothing special', h('span', { class: 'faint' }, '; learned from ', number(p.honest), ' of ', whom, '.')),
    p.why && h('p', { class: 'soft text' }, `Compared with others, since ${p.why}.`),
    p.short && h('p', { class: 'soft' }, 'Too much was recorded in the week before: only the last part of it was looked at.'),
    p.reasons.map((r, i) => (r.figure ? h('details', { class: 'because', open: i === first }, h('summary', { class: 'text' }, h('b', null, r.signal), ' ', r.text), figure(r.figure))
      : h('p', { class: 'because text' }, h('b', null, r.signal), ' ', r.text))),
    p.signals.length > 0 && h('details', { class: 'because' }, h('summary', null, 'Each signal by itself'), h('figure', { class: 'figure' }, h('figcaption', null, 'of honest calls are less strange; each nine counts as much'), h('table', { class: 'bars' }, h('tbody', null, p.signals.map(meter))))),
  ];
}

let asking = new AbortController(); // for the call that is shown: one is drawn at a time

/** picture is a part of a page that says why a call is strange; empty where no baseline was in force. */
export function picture(seq) {
  const node = h('div', { class: 'picture', 'aria-live': 'polite' });
  asking.abort();
  const { signal } = asking = new AbortController();
  setTimeout(async () => { // who goes on to another call at once asks for nothing
    if (signal.aborted) return;
    const slow = setTimeout(() => show(node, h('p', { class: 'faint' }, 'Looking at the week before the call …')), 400);
    try {
      const p = await get(`calls/${seq}/picture`, undefined, signal);
      clearTimeout(slow);
      show(node, p && [h('h3', null, 'How strange it is'), drawn(p)]);
    } catch (err) {
      clearTimeout(slow);
      if (!signal.aborted) show(node, err.status !== 404 && h('p', { class: 'faint text' }, `How strange it is cannot be told: ${err.message}`));
    }
  }, 150);
  return node;
}
