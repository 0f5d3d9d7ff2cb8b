// All of one item: a call with its reasons, its arguments and its answer, or something that was said.
import { h, show } from './dom.js';
import { action, evidence, latency, text } from './fold.js';
import { chip, exactTime, json, moment, number, took } from './format.js';
import { picture } from './picture.js';
import { reviewer } from './reviewer.js';

const speakers = { user: 'User', assistant: 'Model', system: 'System', tool: 'Tool' };

/** speaker says whose words a turn is. */
export const speaker = (t) => [h('b', { class: 'text' }, speakers[t.role] ?? t.role), t.trust !== 'trusted' && h('span', { class: 'chip hold' }, 'untrusted'),
  h('span', { class: 'faint text' }, [t.source, t.server].filter(Boolean).join(' of '))];

const facts = (pairs) => {
  const there = pairs.filter(([, v]) => v !== undefined && v !== null && v !== '' && v !== false);
  return there.length > 0 && h('dl', { class: 'facts' }, there.map(([k, v]) => [h('dt', null, k), h('dd', { class: 'text' }, v)]));
};
const section = (title, ...what) => what.some(Boolean) && [h('h3', null, title), what];

/** detail returns what a reader may want to know of an item. */
export function detail(item, { go, close, app }) {
  const top = (title, ...more) => h('header', null, h('div', { class: 'crumb' }, h('span', { class: 'faint' }, `#${item.seq} · `, exactTime(item.at)), h('h2', { class: 'text' }, title)),
    h('div', { class: 'right' }, more, h('button', { class: 'quiet shut', type: 'button', 'aria-label': 'close', onclick: close }, '✕')));
  const refs = (seqs, what) => h('div', { class: 'chips' }, seqs.map((seq) => h('button', { type: 'button', class: 'chip', title: what, onclick: () => go(seq)?.catch?.(app.trouble) }, `#${seq}`)));
  if (item.kind === 'turn') {
    const t = item.turn;
    return [top(speakers[t.role] ?? t.role, t.trust !== 'trusted' && chip('hold', 'untrusted')),
      t.text ? h('div', { class: 'speech text' }, t.text) : h('p', { class: 'faint' }, `${number(t.size)} bytes were said, and are not kept.`),
      section('What came of it', item.causes.length > 0 && refs(item.causes, 'a call')),
      section('Who', facts([['heard by', t.source], ['server', t.server], ['agent', t.agent], ['conversation', t.conversation], ['as', t.principal], ['size', `${number(t.size)} bytes`]])),
      findings(t.findings)];
  }
  if (item.kind !== 'call') return [top(item.kind), h('p', { class: 'text' }, item.text), json(item.event)];
  const { call } = item;
  const first = item.verdict?.verdict;
  const waits = first?.action === 'hold' && !item.settled;
  const ways = [...evidence(item)];
  return [top(`${call.server}/${call.tool}`, chip(action(item), waits ? 'on hold' : undefined)),
    waits && reviewer(item.seq, call.args, app),
    item.settled && section('How the hold ended', verdict(item.settled.verdict), item.end?.review && facts([['decided', `${item.end.review.who} ${item.end.review.approve ? 'approved' : 'denied'} it`], ['note', item.end.review.note], ['when', moment(item.end.at)]]),
      item.end?.expired && facts([['expired', item.end.expired.reason]])),
    first && section(item.settled ? 'Why it was held' : 'Why', verdict(first)),
    first && picture(item.seq),
    section('What led to it', ways.length > 0 && refs(ways.map(([seq]) => seq), 'earlier event')),
    section('Other rules that matched', first?.also?.length > 0 && h('div', { class: 'also' }, first.also.map((m) => h('div', null, chip(m.action, m.excepted ? 'excepted' : m.observed ? `would be ${m.action === 'hold' ? 'held' : m.action === 'deny' ? 'denied' : 'noted'}` : undefined), ' ', h('b', null, m.rule), ' ', h('span', { class: 'soft text' }, m.why))))),
    section('Arguments', json(call.args), findings(call.findings)),
    item.result && answer(item),
    section('What came of it', item.causes.length > 0 && refs(item.causes, 'a later call for which this one is a reason')),
    call.intent && section('Why the model says it makes it', h('p', { class: 'speech text' }, call.intent)),
    section('Who', facts([['agent', [call.agent, call.client?.version].filter(Boolean).join(' ')], ['as', call.principal], ['process', call.process], ['folder', call.workspace],
      ['bound by', call.bound && `${call.bound.by}, ${call.bound.confidence}`], ['conversation', call.bound?.conversation], ['sub-agent', call.bound?.subagent],
      ['link', call.link], ['policy', first?.policy?.slice(0, 12)]]))];
}

function verdict(v) {
  return h('div', { class: `reason ${v.action}` }, v.rule && h('b', { class: 'mono' }, v.rule), h('p', { class: 'text' }, v.why || 'no reason is recorded'), v.hint && h('p', { class: 'soft text' }, `Allowed: ${v.hint}.`),
    v.retry_ms > 0 && h('p', { class: 'soft' }, `It could pass after ${took(v.retry_ms)}.`));
}

function answer(item) {
  const r = item.result.result;
  const said = text(r);
  return section(`Answer: ${r.outcome}${latency(item) !== undefined ? `, after ${took(latency(item))}` : ''}, ${number(r.size)} bytes`,
    said && h('div', { class: 'speech text' }, said.length > 20_000 ? `${said.slice(0, 20_000)}…` : said),
    r.content && (said ? h('details', null, h('summary', null, 'As it was sent'), json(r.content)) : json(r.content)), findings(r.findings));
}

const findings = (list) => list?.length > 0 && h('p', { class: 'faint text' }, list.map((f) => `${f.path} was ${f.kind} (${number(f.size)} bytes)`).join(', '), '.');
