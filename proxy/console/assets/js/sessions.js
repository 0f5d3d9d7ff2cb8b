// The sessions: who talked to what, found by name or by what was said and done.
import { h, show, empty, rowKeys, segments } from './dom.js';
import { get, list } from './api.js';
import { List } from './list.js';
import { moment, number, short } from './format.js';
import { kind, text } from './fold.js';

const filters = [['', 'All'], ['calls', 'With calls'], ['denied', 'Denied'], ['held', 'Held'], ['noted', 'Noted'], ['failed', 'Failed']];
const part = 200;

const bar = (v) => {
  const allowed = Math.max(0, v.calls - v.denied - v.held - v.logged);
  const total = Math.max(1, v.denied + v.held + v.logged + allowed);
  return h('div', { class: 'bar', role: 'img', 'aria-label': `${v.denied} denied, ${v.held} held, ${v.logged} noted, ${allowed} others` },
    [['deny', v.denied], ['hold', v.held], ['log', v.logged], ['allow', allowed]].filter(([, n]) => n).map(([k, n]) => {
      const piece = h('span', { class: k });
      piece.style.flexGrow = String(Math.max(n / total, .04));
      return piece;
    }));
};

const counts = (v) => [[v.denied, 'denied', 'deny'], [v.held, 'held', 'hold'], [v.logged, 'noted', 'log'], [v.failed, 'failed', '']]
  .filter(([n]) => n).map(([n, word, k]) => h('span', { class: `count ${k}` }, `${number(n)} ${word}`));

const row = (v) => h('a', { class: 'session', href: `#/session/${encodeURIComponent(v.id)}`, tabindex: '-1' },
  h('div', { class: 'one who' }, h('b', { class: 'text' }, v.agent || 'no name'), h('span', { class: 'faint' }, ` ${v.id}`), h('div', { class: 'one faint text' }, (v.servers ?? []).join(', ') || 'no server')),
  h('div', { class: 'one soft hide-phone text' }, v.workspace || v.principal),
  h('div', { class: 'what' }, h('div', { class: 'counts' }, h('span', null, `${number(v.calls)} calls`), counts(v)), bar(v)),
  h('div', { class: 'num soft' }, moment(v.active)));

export async function sessions(root, route, app) {
  let q = route.query.get('q') ?? '';
  let only = route.query.get('with') ?? '';
  const agent = route.query.get('agent') ?? '';
  let deep = route.query.get('in') === 'all';
  let asked = 0;
  let loading = false;
  let total = 0;
  const found = h('span', { class: 'faint' });
  const holder = h('div', { class: 'listed' });
  const view = new List({
    label: 'sessions', height: 68, render: row, open: (v) => { location.hash = `#/session/${encodeURIComponent(v.id)}`; }, end: () => more().catch(app.trouble),
  });
  const withs = segments('with', filters, only, (v) => {
    only = v;
    load().catch(app.trouble);
  });
  const search = h('input', { type: 'search', placeholder: 'Search: agent, server, folder, s12', 'aria-label': 'search', value: q, oninput: () => later() });
  search.value = q;
  show(root,
    h('header', { class: 'top' }, h('h1', null, 'Sessions'), found,
      h('div', { class: 'right' }, search,
        segments('where', [[false, 'Names'], [true, 'All that was said']], deep, (v) => {
          deep = v;
          load().catch(app.trouble);
        }),
        withs),
      agent && h('div', { class: 'sub' }, 'Of the agent ', h('b', { class: 'text' }, agent), '. ', h('a', { class: 'link', href: '#/sessions' }, 'Of all agents'))),
    holder);
  let due;
  const later = () => {
    clearTimeout(due);
    due = setTimeout(() => load().catch(app.trouble), 160);
  };
  const ask = (skip, limit) => list('sessions', { q, with: only, agent, skip, limit });

  async function load(keep = false) {
    q = search.value.trim();
    const mine = ++asked;
    withs.hidden = deep && q !== ''; // these are about sessions, and what is found then is events
    if (deep && q) return everywhere(mine);
    const { items, total: n } = await ask(0, keep ? Math.max(part, view.items.length) : part);
    if (mine !== asked) return;
    total = n;
    show(found, total ? number(total) : '');
    if (!items.length) {
      show(holder, q || only || agent ? empty('No session is like that', 'Search looks at the names of agents, servers, users and folders, and at numbers such as s12. "All that was said" looks into every event.')
        : empty('No sessions yet', 'A session begins with the first call of a client.', h('p', null, 'To see some: ', h('code', null, 'umpire demo'))));
      return;
    }
    if (view.node.parentNode !== holder) show(holder, view.node);
    view.set(items, (v) => v.id);
  }

  async function more() {
    if (loading || view.items.length >= total) return;
    loading = true;
    const mine = asked;
    try {
      const { items } = await ask(view.items.length, part);
      if (mine === asked) view.set([...view.items, ...items.filter((v) => !view.items.some((old) => old.id === v.id))], (v) => v.id);
    } finally {
      loading = false;
    }
  }

  /** everywhere looks for events, the newest first, page by page of the history. */
  async function everywhere(mine) {
    const rows = [];
    let before = 2 ** 50;
    show(holder, h('div', { class: 'scroll' }, empty('Searching', 'Every event of the history, the newest first.')));
    while (mine === asked && before && rows.length < 200) {
      const page = await get('page', { before, q, limit: 100 });
      rows.push(...page.events.reverse().filter((e) => e.session).map(hit));
      before = page.next;
      show(found, `${number(rows.length)}${before ? ' so far' : ''}`);
      if (mine === asked && (rows.length || !before)) {
        show(holder, h('div', { class: 'scroll' }, rows.length ? h('div', { class: 'panel' }, h('table', null, h('tbody', null, rows)))
          : empty('Nothing of the kind was said or done', 'The search is for these letters, in this order, anywhere in an event.')));
      }
    }
  }

  await load();
  let fresh;
  const hits = rowKeys(holder);
  return {
    keys: Object.fromEntries(Object.entries({ j: () => view.move(1), k: () => view.move(-1), Enter: () => view.openSelected() })
      .map(([key, inList]) => [key, () => (view.node.isConnected ? inList() : hits[key]())])),
    news: () => {
      if (deep && q) return;
      fresh ??= setTimeout(() => {
        fresh = undefined;
        load(true).catch(app.trouble);
      }, 1000);
    },
    close: () => {
      clearTimeout(fresh);
      clearTimeout(due);
      asked++;
      view.close();
    },
  };
}

/** hit is an event that was searched for. */
function hit(e) {
  const k = kind(e);
  const said = k === 'turn' ? `${e.turn.role}: ${e.turn.text ?? ''}` : k === 'call' ? `${e.call.server}/${e.call.tool} ${short(e.call.args)}`
    : k === 'verdict' ? e.verdict.why : k === 'result' ? text(e.result) || short(e.result.content) : short(e[k]);
  return h('tr', { tabindex: '0', onclick: () => { location.hash = `#/session/${encodeURIComponent(e.session)}/${e.cause || e.seq}`; } },
    h('td', { class: 'faint num' }, moment(e.at)), h('td', null, h('span', { class: 'chip' }, k)),
    h('td', null, h('div', { class: 'text clamp' }, said)), h('td', { class: 'faint' }, e.session));
}
