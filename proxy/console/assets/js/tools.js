// Tools: what can be done, by whom, and what stops it.
import { h, show, empty, rowKeys, segments, toast } from './dom.js';
import { accept, get } from './api.js';
import { chip, colour, moment, number } from './format.js';

/** table shows rows that can be searched; each row can tell more. Above is what stands before them. */
export function table({ root, title, placeholder, columns, rows, filters, none, above }) {
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
    if (!left.length) return show(body, above, rows.length ? empty('Nothing is like that', 'Another word, or another filter, shows more.') : none);
    const most = 500;
    show(body, above, h('section', { class: 'panel wide' }, h('table', null, h('thead', null, h('tr', null, columns.map(([name, cls]) => h('th', { class: cls }, name)))), h('tbody', null, left.slice(0, most).map((r) => r.draw())))),
      left.length > most && h('p', { class: 'faint foot-note' }, `${number(left.length - most)} more: search for them`));
  }
  draw();
  return { keys: rowKeys(body), set: (other, before) => {
    rows = other;
    above = before;
    draw();
  } };
}

const doubts = { changed: 'changed', hidden: 'hidden characters', twin: 'looks like another', added: 'added later' };

const meaning = {
  changed: 'It is not described any more as it was when it was pinned.', hidden: 'It has characters that nobody sees.',
  twin: 'Its name looks like that of another tool.', added: 'It was added after its server had listed its tools.',
};

/** review shows what is doubtful about a tool and what has changed, and lets a person accept it as it is now. */
async function review(node, t, accepted) {
  show(node, h('p', { class: 'faint' }, 'Looking at how it is described …'));
  let def;
  try {
    def = await get('tools/definition', { server: t.server, tool: t.tool });
  } catch (err) {
    return show(node, h('p', { class: 'bad text' }, err.message));
  }
  const begin = h('button', { type: 'button' }, 'Accept as it is now …');
  const sure = h('button', { type: 'button', class: 'approve' }, 'Accept');
  const no = h('button', { type: 'button', class: 'quiet' }, 'Not now');
  const confirm = h('div', { class: 'pair', hidden: true }, h('span', { class: 'soft' }, 'Its calls are not held for this any more.'), sure, no);
  begin.addEventListener('click', () => {
    [begin.hidden, confirm.hidden] = [true, false];
    sure.focus();
  });
  no.addEventListener('click', () => {
    [begin.hidden, confirm.hidden] = [false, true];
    begin.focus();
  });
  sure.addEventListener('click', async () => {
    sure.disabled = true;
    try {
      await accept(t.server, t.tool, def.pin);
      toast(`${t.server}/${t.tool} is accepted as it is described now`);
      await accepted();
    } catch (err) {
      toast(err.message);
      await review(node, t, accepted); // it may be described in another way by now
    }
  });
  show(node,
    h('ul', { class: 'doubts' }, def.doubts.map((d) => h('li', { class: 'text' }, h('b', null, doubts[d.kind] ?? d.kind), ` ${meaning[d.kind] ?? ''} (${[d.path, d.text].filter(Boolean).join(': ')})`))),
    def.comparisons.map((c) => h('pre', { class: `code text${c.differs ? ' diff' : ''}`, tabindex: '0', 'aria-label': c.differs ? 'what has changed since it was pinned' : 'how it is described' },
      c.lines.map((line, i) => h('span', { class: c.differs ? colour(line, i) : '' }, `${line}\n`)))),
    def.doubts.length > 0 && [begin, confirm]);
}

function toolRow(t, again) {
  const flags = [t.gap && 'gap', ...(t.doubts ?? []).map(() => 'doubt'), t.refused > 0 && 'denied', !t.listed && 'unlisted'].filter(Boolean);
  const draw = () => {
    const definition = t.doubts?.length > 0 && h('div', { class: 'definition' });
    const more = h('tr', { class: 'more', hidden: true }, h('td', { colspan: 5 },
      t.description ? h('p', { class: 'speech text' }, t.description) : h('p', { class: 'faint' }, 'Its server says nothing about it.'),
      h('dl', { class: 'facts' },
        h('dt', null, 'effects'), h('dd', null, (t.effects ?? []).map((e) => `${e.effect} (${e.from})`).join(', ') || 'none'),
        t.claims?.length > 0 && [h('dt', null, 'claimed'), h('dd', null, t.claims.map((e) => `${e.effect} (${e.from})`).join(', '))],
        h('dt', null, 'rules'), h('dd', { class: 'chips' }, (t.rules ?? []).map((r) => chip(r.do, r.rule)), !t.rules?.length && 'none is about it'),
        t.users?.length > 0 && [h('dt', null, 'used by'), h('dd', { class: 'text' }, t.users.map((u) => `${u.agent} (${number(u.calls)})`).join(', '))],
        t.pin && [h('dt', null, 'pin'), h('dd', { class: 'mono' }, t.pin.slice(0, 12))]),
      definition));
    const row = h('tr', { tabindex: '0', 'aria-expanded': 'false', onclick: () => {
      more.hidden = !more.hidden;
      row.setAttribute('aria-expanded', String(!more.hidden));
      if (definition && !more.hidden && !definition.firstChild) review(definition, t, again);
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
  const load = async () => (await get('inventory') ?? []).map((t) => toolRow(t, async () => view.set(await load())));
  const view = table({
    root, title: 'Tools', placeholder: 'Search: server, tool, what it says', rows: await load(),
    columns: [['Tool'], ['Can'], ['Calls', 'num'], ['Stopped', 'num hide-phone'], ['Last used', 'num hide-phone']],
    filters: [['', 'All'], ['gap', 'No rule stops it'], ['doubt', 'Doubtful'], ['denied', 'Denied']],
    none: empty('No tools yet', 'Tools show up when a client lists those of its servers through Umpire.'),
  });
  return { keys: view.keys };
}
