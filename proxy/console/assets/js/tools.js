// Tools and agents: what can be done, by whom, and what stops it.
import { h, show, empty, rowKeys, segments } from './dom.js';
import { get } from './api.js';
import { chip, moment, number } from './format.js';

/** table shows rows that can be searched; each row can tell more. */
function table({ root, title, placeholder, columns, rows, filters, none }) {
  let only = '';
  const found = h('span', { class: 'faint' });
  const search = h('input', { type: 'search', placeholder, 'aria-label': 'search', oninput: () => draw() });
  const body = h('div', { class: 'scroll' });
  show(root, h('header', { class: 'top' }, h('h1', null, title), found, h('div', { class: 'right' }, search, filters && segments('show', filters, '', (v) => {
    only = v;
    draw();
  }))), body);
  function draw() {
    const q = search.value.trim().toLowerCase();
    const left = rows.filter((r) => (!only || r.is.includes(only)) && (!q || r.about.toLowerCase().includes(q)));
    show(found, rows.length ? number(left.length) : '');
    if (!left.length) return show(body, rows.length ? empty('Nothing is like that', 'Another word, or another filter, shows more.') : none);
    const most = 500;
    show(body, h('section', { class: 'panel wide' }, h('table', null, h('thead', null, h('tr', null, columns.map(([name, cls]) => h('th', { class: cls }, name)))), h('tbody', null, left.slice(0, most).map((r) => r.draw())))),
      left.length > most && h('p', { class: 'faint foot-note' }, `${number(left.length - most)} more: search for them`));
  }
  draw();
  return { keys: rowKeys(body), set: (other) => {
    rows = other;
    draw();
  } };
}

const doubts = { changed: 'changed', hidden: 'hidden characters', twin: 'looks like another', added: 'added later' };

function toolRow(t) {
  const flags = [t.gap && 'gap', ...(t.doubts ?? []).map(() => 'doubt'), t.refused > 0 && 'denied', !t.listed && 'unlisted'].filter(Boolean);
  const draw = () => {
    const more = h('tr', { class: 'more', hidden: true }, h('td', { colspan: 5 },
      t.description ? h('p', { class: 'speech text' }, t.description) : h('p', { class: 'faint' }, 'Its server says nothing about it.'),
      h('dl', { class: 'facts' },
        h('dt', null, 'effects'), h('dd', null, (t.effects ?? []).map((e) => `${e.effect} (${e.from})`).join(', ') || 'none'),
        t.claims?.length > 0 && [h('dt', null, 'claimed'), h('dd', null, t.claims.map((e) => `${e.effect} (${e.from})`).join(', '))],
        h('dt', null, 'rules'), h('dd', { class: 'chips' }, (t.rules ?? []).map((r) => chip(r.do, r.rule)), !t.rules?.length && 'none is about it'),
        t.doubts?.length > 0 && [h('dt', null, 'doubts'), h('dd', { class: 'text' }, t.doubts.map((d) => [doubts[d.kind] ?? d.kind, d.path, d.text].filter(Boolean).join(', ')).join('; '), '. umpire tools diff shows them.')],
        t.users?.length > 0 && [h('dt', null, 'used by'), h('dd', { class: 'text' }, t.users.map((u) => `${u.agent} (${number(u.calls)})`).join(', '))],
        t.pin && [h('dt', null, 'pin'), h('dd', { class: 'mono' }, t.pin.slice(0, 12))])));
    const row = h('tr', { tabindex: '0', 'aria-expanded': 'false', onclick: () => {
      more.hidden = !more.hidden;
      row.setAttribute('aria-expanded', String(!more.hidden));
    } },
    h('td', null, h('b', { class: 'mono text' }, t.tool), h('div', { class: 'faint text' }, t.server)),
    h('td', null, h('div', { class: 'chips' }, t.denied && chip('deny', 'denied'), t.gap && chip('hold', 'no rule stops it'), (t.doubts ?? []).map((d) => chip('deny', doubts[d.kind] ?? d.kind)), (t.effects ?? []).map((e) => h('span', { class: 'chip' }, e.effect)))),
    h('td', { class: 'num' }, number(t.calls)),
    h('td', { class: 'num hide-phone' }, t.refused > 0 && h('span', { class: 'count deny' }, `${number(t.refused)} denied`), ' ', t.held > 0 && h('span', { class: 'count hold' }, `${number(t.held)} held`)),
    h('td', { class: 'num soft hide-phone' }, t.used ? moment(t.used) : 'never'));
    return [row, more];
  };
  return { is: flags, about: `${t.server}/${t.tool} ${t.description ?? ''}`, draw };
}

export async function tools(root) {
  const view = table({
    root, title: 'Tools', placeholder: 'Search: server, tool, what it says', rows: (await get('inventory') ?? []).map(toolRow),
    columns: [['Tool'], ['Can'], ['Calls', 'num'], ['Stopped', 'num hide-phone'], ['Last used', 'num hide-phone']],
    filters: [['', 'All'], ['gap', 'No rule stops it'], ['doubt', 'Doubtful'], ['denied', 'Denied']],
    none: empty('No tools yet', 'Tools show up when a client lists those of its servers through Umpire.'),
  });
  return { keys: view.keys };
}

export async function agents(root) {
  const rows = (await get('agents') ?? []).map((a) => ({
    is: [], about: `${a.agent} ${a.principals.join(' ')} ${(a.servers ?? []).join(' ')}`,
    draw: () => h('tr', { tabindex: '0', onclick: () => { location.hash = `#/sessions?agent=${encodeURIComponent(a.agent)}`; } },
      h('td', null, h('b', { class: 'text' }, a.agent || 'no name'), h('div', { class: 'faint text' }, a.principals.join(', '))),
      h('td', { class: 'soft text hide-phone' }, (a.servers ?? []).join(', ')), h('td', { class: 'num' }, number(a.sessions)), h('td', { class: 'num' }, number(a.calls)),
      h('td', { class: 'num' }, a.denied > 0 && h('span', { class: 'count deny' }, `${number(a.denied)} denied`), ' ', a.held > 0 && h('span', { class: 'count hold' }, `${number(a.held)} held`)),
      h('td', { class: 'num soft hide-phone' }, moment(a.active))),
  }));
  const view = table({
    root, title: 'Agents', placeholder: 'Search: agent, server, user', rows,
    columns: [['Agent'], ['Servers', 'hide-phone'], ['Sessions', 'num'], ['Calls', 'num'], ['Stopped', 'num'], ['Last active', 'num hide-phone']],
    none: empty('No agents yet', 'An agent is a client by the name that it gives itself.'),
  });
  return { keys: view.keys };
}
