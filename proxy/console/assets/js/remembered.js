// What people have approved for a while.
import { h, show } from './dom.js';
import { get, revoke } from './api.js';
import { moment, short } from './format.js';

const like = (x) => (x.with?.length ? x.with.map((a) => `${a.path.replace(/^args\./, '')}: ${short(a.value)}`).join(', ') : 'the same arguments');

/** remembered is a part of a page with the exceptions that are in force; refresh() asks for them again. */
export function remembered(app) {
  const node = h('div', null);
  let shown = '';
  const refresh = async () => {
    const list = await get('exceptions');
    const now = JSON.stringify(list);
    if (now !== shown) show(node, table(list, app, refresh)); // else a button may be about to be pressed
    shown = now;
  };
  return { node, refresh };
}

function table(list, app, again) {
  return list.length > 0 && h('section', { class: 'panel remembered' }, h('header', null, h('h2', null, 'Approved for a while')),
    h('table', null, h('tbody', null, list.map((x) => h('tr', null,
      h('td', { class: 'faint num' }, `#${x.exception}`),
      h('td', null, h('div', { class: 'mono text' }, `${x.server}/${x.tool}`), h('div', { class: 'soft text clamp' }, `${x.agent}, as #${x.call}: ${like(x)}`)),
      h('td', { class: 'hide-phone from' }, h('div', { class: 'text' }, 'from ', x.rules.map((r) => r.name).join(', ')),
        h('div', { class: 'soft text' }, `by ${x.who}${x.note ? `: ${x.note}` : ''}`),
        x.idle?.length > 0 && h('div', { class: 'soft text' }, `not in force: ${x.idle.join(', ')} is another rule by now`)),
      h('td', { class: 'num' }, 'until ', moment(x.expires)),
      h('td', null, ending(x.exception, app, again)))))));
}

/** ending ends an exception, when it is asked for twice. */
function ending(exception, app, again) {
  const button = h('button', { type: 'button', class: 'quiet', onclick: async () => {
    if (button.className !== 'deny') {
      button.className = 'deny';
      button.textContent = 'Revoke it';
      return;
    }
    button.disabled = true;
    try {
      await revoke(exception);
      app.toast(`Exception #${exception} is revoked: such calls are held again`);
    } catch (err) {
      app.trouble(err);
    }
    again().catch(app.trouble);
  }, onblur: () => {
    button.className = 'quiet';
    button.textContent = 'Revoke';
  } }, 'Revoke');
  return button;
}
