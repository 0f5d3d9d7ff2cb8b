// How a person decides about a call on hold. Nothing is sent before it is confirmed: a stray key decides nothing.
import { h, show } from './dom.js';
import { decide, propose } from './api.js';
import { colour, short } from './format.js';

const spans = [['1h', 'an hour'], ['24h', 'a day'], ['7d', 'a week'], ['30d', '30 days']];

/** path names an argument at the top, as policies do. */
const path = (name) => (/^[A-Za-z_]\w*$/.test(name) ? `args.${name}` : `args[${JSON.stringify(name)}]`);

/** scalars are the arguments that can be compared one by one. */
const scalars = (args) => Object.entries(args ?? {}).filter(([, v]) => ['string', 'boolean', 'number'].includes(typeof v) || v instanceof Number);

/** reviewer is the part of a page that decides about one call. */
export function reviewer(call, args, app, decided = () => {}) {
  const note = h('input', { type: 'text', maxlength: 900, placeholder: 'A note, for the record and for the model', 'aria-label': 'note' });
  const choose = h('div', { class: 'choose' });
  const form = h('div', { class: 'confirm', hidden: true });
  const box = h('div', { class: 'reviewer' }, choose, form);
  const back = () => {
    form.hidden = true;
    choose.hidden = false;
    choose.querySelector('button').focus();
  };

  const ask = (approve, remember) => {
    choose.hidden = true;
    form.hidden = false;
    const memory = remember ? remembering(call, args, note, (ready) => { send.disabled = !ready; }) : null;
    const send = h('button', { type: 'button', class: approve ? 'approve' : 'deny', onclick: () => act() },
      remember ? 'Approve and remember ' : approve ? 'Approve it ' : 'Deny it ', h('kbd', null, '↵'));
    const act = async () => {
      if (send.disabled) return;
      send.disabled = true;
      try {
        const v = await decide(call, approve, note.value.trim(), memory?.value());
        app.toast(`#${call} is ${{ allow: 'allowed', log: 'allowed', deny: 'denied', hold: 'held' }[v.action]}: ${v.why}`);
        decided();
      } catch (err) {
        send.disabled = false;
        app.trouble(err);
        if (err.status === 409) decided();
      }
    };
    show(form, note, memory?.node, h('div', { class: 'pair' }, send, h('button', { type: 'button', class: 'quiet', onclick: back }, 'Back')));
    form.onkeydown = (e) => {
      if (e.key === 'Enter' && e.target === note && !e.isComposing) act();
      if (e.key === 'Escape') back();
    };
    note.oninput = memory?.refresh ?? null;
    memory?.refresh();
    note.focus();
  };

  show(choose, h('button', { type: 'button', class: 'approve', onclick: () => ask(true) }, 'Approve ', h('kbd', null, 'a')),
    h('button', { type: 'button', class: 'remember', onclick: () => ask(true, true) }, 'Approve and remember ', h('kbd', null, 'r')),
    h('button', { type: 'button', class: 'deny', onclick: () => ask(false) }, 'Deny ', h('kbd', null, 'd')));
  return box;
}

/** remembering asks for how long and by which arguments, and shows the change of the policy that would have the same effect. What
 * is not shown is not ready to be sent. */
function remembering(call, args, note, ready) {
  const span = h('select', { 'aria-label': 'for how long', onchange: () => refresh() }, spans.map(([v, text]) => h('option', { value: v, selected: v === '24h' }, text)));
  const boxes = scalars(args).map(([name, value]) => {
    const box = h('input', { type: 'checkbox', onchange: () => refresh() });
    return { box, name, node: h('label', null, box, ' ', h('span', { class: 'mono text' }, name), ' ', h('span', { class: 'soft text one' }, short(value))) };
  });
  const diff = h('pre', { class: 'code diff text', tabindex: '0', 'aria-label': 'the change of the policy that has the same effect' });
  const node = h('div', { class: 'memory' }, h('div', null, h('label', null, 'Calls like this one pass for ', span)),
    h('fieldset', null, h('legend', null, 'Like this one: the same caller, the same tool, and '),
      h('p', { class: 'soft' }, 'all of the same arguments, or only those that are ticked'), boxes.map((b) => b.node)),
    h('p', { class: 'soft' }, 'As if this were the policy. Its file stays as it is, and rules that deny still do.'), diff);
  const value = () => ({ for: span.value, where: boxes.filter((b) => b.box.checked).map((b) => path(b.name)) });
  let asked = 0;
  let timer;
  const refresh = () => {
    const mine = ++asked;
    ready(false);
    clearTimeout(timer);
    timer = setTimeout(async () => {
      let lines;
      let fine = false;
      try {
        const p = await propose(call, note.value.trim(), value());
        lines = p.diff.trimEnd().split('\n').map((line, i) => h('span', { class: colour(line, i) }, `${line}\n`));
        fine = true;
      } catch (err) {
        lines = [h('span', { class: 'minus' }, err.message)];
      }
      if (mine !== asked) return;
      show(diff, lines);
      ready(fine);
    }, 120);
  };
  return { node, value, refresh };
}
