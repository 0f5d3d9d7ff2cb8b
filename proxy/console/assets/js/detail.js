// All of one item: a call with its reasons, its arguments and its answer, or something that was said.
import { h, show } from './dom.js';
import { decide } from './api.js';
import { action, evidence, latency, text } from './fold.js';
import { chip, exactTime, json, moment, number, took } from './format.js';

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
    waits && reviewer(item.seq, app),
    item.settled && section('How the hold ended', verdict(item.settled.verdict), item.end?.review && facts([['decided', `${item.end.review.who} ${item.end.review.approve ? 'approved' : 'denied'} it`], ['note', item.end.review.note], ['when', moment(item.end.at)]]),
      item.end?.expired && facts([['expired', item.end.expired.reason]])),
    first && section(item.settled ? 'Why it was held' : 'Why', verdict(first)),
    section('What led to it', ways.length > 0 && refs(ways.map(([seq]) => seq), 'earlier event')),
    section('Other rules that matched', first?.also?.length > 0 && h('div', { class: 'also' }, first.also.map((m) => h('div', null, chip(m.action, m.observed ? `would be ${m.action === 'hold' ? 'held' : m.action === 'deny' ? 'denied' : 'noted'}` : undefined), ' ', h('b', null, m.rule), ' ', h('span', { class: 'soft text' }, m.why))))),
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

/** reviewer lets a person decide about a held call. Nothing is sent before it is confirmed: a stray key decides nothing. */
export function reviewer(call, app, decided = () => {}) {
  const note = h('input', { type: 'text', maxlength: 900, placeholder: 'A note, for the record and for the model', 'aria-label': 'note' });
  const choose = h('div', { class: 'choose' });
  const form = h('div', { class: 'confirm', hidden: true });
  const box = h('div', { class: 'reviewer' }, choose, form);
  const back = () => {
    form.hidden = true;
    choose.hidden = false;
    choose.querySelector('button').focus();
  };
  const ask = (approve) => {
    choose.hidden = true;
    form.hidden = false;
    const send = h('button', { type: 'button', class: approve ? 'approve' : 'deny', onclick: () => act(approve, send) }, approve ? 'Approve it ' : 'Deny it ', h('kbd', null, '↵'));
    show(form, note, h('div', { class: 'pair' }, send, h('button', { type: 'button', class: 'quiet', onclick: back }, 'Back')));
    note.onkeydown = (e) => {
      if (e.key === 'Enter' && !e.isComposing) act(approve, send);
      if (e.key === 'Escape') back();
    };
    note.focus();
  };
  const act = async (approve, send) => {
    if (send.disabled) return;
    send.disabled = true;
    try {
      const v = await decide(call, approve, note.value.trim());
      app.toast(`#${call} is ${{ allow: 'allowed', log: 'allowed', deny: 'denied', hold: 'held' }[v.action]}: ${v.why}`);
      decided();
    } catch (err) {
      send.disabled = false;
      app.trouble(err);
      if (err.status === 409) decided();
    }
  };
  show(choose, h('button', { type: 'button', class: 'approve', onclick: () => ask(true) }, 'Approve ', h('kbd', null, 'a')),
    h('button', { type: 'button', class: 'deny', onclick: () => ask(false) }, 'Deny ', h('kbd', null, 'd')));
  return box;
}
