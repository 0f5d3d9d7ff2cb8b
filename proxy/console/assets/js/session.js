// A session as one picture: what was said, each call with what became of it, and lines from a verdict to what led to it.
import { h, s, show, empty, segments } from './dom.js';
import { get } from './api.js';
import { List } from './list.js';
import { Fold, action, evidence, final, latency, text } from './fold.js';
import { args, chip, clock, exactTime, number, short, took, when } from './format.js';
import { detail, speaker } from './detail.js';
import { Player } from './player.js';

const height = 70;
const spine = 62; // where the dots are, in the gutter
const part = 400;

const filters = [['all', 'All'], ['talk', 'Said'], ['calls', 'Calls'], ['stopped', 'Stopped'], ['everything', 'With connections']];
const shown = {
  all: (i) => i.kind !== 'note',
  talk: (i) => i.kind === 'turn',
  calls: (i) => i.kind === 'call',
  stopped: (i) => i.kind === 'signal' || (i.kind === 'call' && (['deny', 'hold', 'log'].includes(action(i)) || i.settled)),
  everything: () => true,
};

/** about is all text of an item, to search in. */
const about = (i) => (i.kind === 'turn' ? i.turn.text ?? '' : i.kind === 'call'
  ? `${i.call.server}/${i.call.tool} ${short(i.call.args, 20_000)} ${final(i)?.rule ?? ''} ${final(i)?.why ?? ''} ${i.result ? text(i.result.result) : ''}` : i.text).toLowerCase();

export async function session(root, route, app) {
  const id = route.rest[0] ?? '';
  const wanted = Number(route.rest[1]) || 0;
  let info = await get(`sessions/${encodeURIComponent(id)}`);
  let events = [];
  let fold = new Fold();
  let next = Infinity; // where later events begin
  let before = 0; // where earlier events end; 0 if there are none
  let mode = 'all';
  let q = '';
  let rows = []; // what is shown
  let places = new Map(); // of rows by number
  let player = null;

  const head = h('header', { class: 'top' });
  const aside = h('aside', { class: 'detail', 'aria-label': 'what is selected' });
  const lines = s('svg', { class: 'lines', 'aria-hidden': 'true' });
  const view = new List({
    label: `session ${id}`, height, render: row, paint: draw,
    select: (item, i, opened) => pick(item, opened),
    open: (item) => pick(item, true),
    end: () => later().catch(app.trouble),
    begin: () => earlier().catch(app.trouble),
  });
  view.node.classList.add('timeline');
  view.inner.prepend(lines);
  const none = h('div', { hidden: true });
  const stage = h('div', { class: 'stage' }, h('div', { class: 'track' }, none, view.node), aside);
  const search = h('input', { type: 'search', placeholder: 'Search in this session', 'aria-label': 'search', oninput: () => {
    q = search.value.trim().toLowerCase();
    arrange();
  } });
  const facts = h('div', { class: 'sub' });
  show(head, h('div', { class: 'crumb' }, h('a', { class: 'link', href: '#/sessions' }, 'Sessions'), h('h1', { class: 'text' }, info.agent || 'no name', h('span', { class: 'faint' }, ` ${id}`))),
    h('div', { class: 'right' }, search, segments('show', filters, mode, (v) => {
      mode = v;
      arrange();
    }), h('button', { type: 'button', onclick: () => replay() }, '▶ Replay')), facts);
  show(root, head, stage);

  function title() {
    show(facts, h('span', { class: 'text' }, [info.client?.version && `version ${info.client.version}`, info.principal, info.workspace, (info.servers ?? []).join(', ')].filter(Boolean).join(' · ')),
      ` · ${number(info.calls)} calls, ${number(info.denied)} denied, ${number(info.held)} held · ${when(info.opened)} to ${when(info.active)}`,
      info.seen > 0 && ` · ${number(info.seen)} seen and not judged`);
  }

  // What is there.

  async function load() {
    const all = info.last - info.first;
    const start = wanted ? Math.max(info.first, wanted - part / 2) : all > 20_000 ? 0 : info.first;
    const page = start ? await get('page', { session: id, from: start, limit: part }) : await get('page', { session: id, before: info.last + 1, limit: part });
    events = page.events;
    before = start ? (start > info.first ? start : 0) : page.next;
    next = start && page.next ? page.next : (events.at(-1)?.seq ?? info.last) + 1;
    fold = new Fold().add(events);
  }

  let going = false;
  const once = async (f) => {
    if (going) return;
    going = true;
    try { await f(); } finally { going = false; }
    setTimeout(() => view.draw()); // which asks for more, if the end is still in sight
  };

  const later = async () => next <= info.last && once(async () => {
    const page = await get('page', { session: id, from: next, limit: part });
    next = page.next || Math.max(next, (page.events.at(-1)?.seq ?? info.last) + 1);
    if (!page.events.length) return;
    events = events.concat(page.events);
    fold.add(page.events);
    arrange();
  });

  const earlier = async () => before && once(async () => {
    const page = await get('page', { session: id, before, limit: part });
    before = page.next;
    if (!page.events.length) return;
    events = page.events.concat(events);
    fold = new Fold().add(events);
    const from = rows[0]?.seq;
    arrange();
    view.node.scrollTop += Math.max(0, rows.findIndex((r) => r.seq === from)) * height;
  });

  /** arrange shows what the filter and the search leave. */
  function arrange() {
    rows = fold.items.filter((i) => shown[mode](i) && (!q || about(i).includes(q)));
    places = new Map(rows.map((r, i) => [r.seq, i]));
    none.hidden = rows.length > 0;
    view.node.hidden = rows.length === 0;
    if (!rows.length) show(none, next <= info.last ? empty('Looking further') : fold.items.length ? empty('Nothing of the kind', 'Another filter, or another word, shows more of this session.') : empty('Nothing is left of this session', 'The history keeps events for as long as history.keep says.'));
    view.set(rows, (r) => r.seq);
    player?.arranged();
  }

  // How it looks.

  function row(item, i) {
    const dim = player && i > player.at ? ' later' : '';
    const at = h('time', { class: 'at faint', datetime: item.at, title: exactTime(item.at) }, clock(item.at));
    if (item.kind === 'turn') {
      const t = item.turn;
      return h('div', { class: `event turn ${t.role}${t.trust === 'trusted' ? '' : ' untrusted'}${dim}` }, at, h('div', { class: 'gutter' }),
        h('div', { class: 'what' }, h('div', { class: 'speaker' }, speaker(t)),
          h('div', { class: 'said text clamp' }, t.text || (t.uses ?? []).map((u) => `calls ${u.server ?? '?'}/${u.tool ?? '?'}`).join(', ') || `${number(t.size)} bytes, not kept`)));
    }
    if (item.kind !== 'call') {
      return h('div', { class: `event ${item.kind}${dim}` }, at, h('div', { class: 'gutter' }), h('div', { class: 'what one text' }, item.text));
    }
    const v = final(item);
    const a = action(item);
    const outcome = item.result?.result;
    const ms = latency(item);
    const why = v && (v.action !== 'allow' || item.settled) ? [v.rule && h('b', null, `${v.rule}: `), v.why]
      : outcome ? [outcome.outcome !== 'ok' && h('b', null, `${outcome.outcome}: `), text(outcome) || short(outcome.content)]
        : a === 'seen' ? 'made elsewhere, and judged by nobody' : 'no answer yet';
    return h('div', { class: `event call ${a}${dim}` }, at, h('div', { class: 'gutter' }),
      h('div', { class: 'what' },
        h('div', { class: 'one' }, h('b', { class: 'mono text' }, `${item.call.server}/${item.call.tool}`), h('span', { class: 'soft args text' }, args(item.call.args))),
        h('div', { class: `one why text ${v && !['allow', 'log'].includes(v.action) ? 'stopped' : 'soft'}` }, why)),
      h('div', { class: 'end' }, chip(a, a === 'hold' && !item.settled ? 'on hold' : undefined),
        h('span', { class: `faint ${outcome && !['ok', 'input', 'started'].includes(outcome.outcome) ? 'bad' : ''}` }, outcome ? took(ms) || outcome.outcome : '')));
  }

  /** draw paints the spine, a dot for each row in sight, and the lines that begin or end there. */
  function draw(first, last) {
    const y = (i) => i * height + height / 2;
    const seen = new Set();
    const paths = [];
    const selected = rows[view.at]?.seq;
    const line = (from, to, kind) => {
      const [a, b] = [places.get(from), places.get(to)];
      if (a === undefined || b === undefined || seen.has(`${from}-${to}`) || paths.length > 400) return;
      seen.add(`${from}-${to}`);
      const bulge = Math.min(78, 16 + Math.sqrt(Math.abs(a - b)) * 19);
      const own = from === selected || to === selected;
      paths.push([own, s('path', { class: `${kind} ${action(fold.calls.get(to) ?? {})}${own ? ' own' : selected ? ' other' : ''}`,
        d: `M${spine} ${y(a)}C${spine - bulge} ${y(a)} ${spine - bulge} ${y(b)} ${spine - 7} ${y(b)}` })]);
    };
    for (let i = first; i < last; i++) {
      const item = rows[i];
      if (item.kind === 'call' && !(player && i > player.at)) for (const [seq, kind] of evidence(item)) line(seq, item.seq, kind);
      for (const seq of item.causes ?? []) if (!(player && places.get(seq) > player.at)) line(item.seq, seq, 'cause');
    }
    paths.sort((a, b) => a[0] - b[0]);
    const dots = [];
    for (let i = first; i < last; i++) {
      const item = rows[i];
      const kind = item.kind === 'turn' ? `turn ${item.turn.role}` : `${item.kind} ${action(item)}`;
      dots.push(s('circle', { class: `dot ${kind}${player && i > player.at ? ' later' : ''}`, cx: spine, cy: y(i), r: item.kind === 'note' ? 2.5 : item.seq === selected ? 7 : 5 }));
    }
    lines.style.height = `${rows.length * height}px`;
    show(lines, s('line', { class: 'spine', x1: spine, x2: spine, y1: first === 0 ? height / 2 : first * height, y2: last >= rows.length ? y(rows.length - 1) : last * height }),
      paths.map(([, p]) => p), dots);
  }

  // known tells states of an item apart: what is shown of it is not drawn anew while somebody reads.
  const known = (item) => [item.seq, ...[item.verdict, item.settled, item.end, item.result].map((e) => e?.seq ?? 0), item.causes?.length].join();
  let picked = '';

  function pick(item, opened) {
    picked = known(item);
    if (opened) stage.classList.add('open');
    history.replaceState(null, '', `#/session/${encodeURIComponent(id)}/${item.seq}`);
    show(aside, detail(item, { go: goTo, close: () => stage.classList.remove('open'), app }));
    aside.scrollTop = 0;
  }

  /** goTo shows an event by its number, wherever it is. */
  async function goTo(seq) {
    if (places.has(seq)) return view.select(places.get(seq));
    if (fold.places.has(seq)) {
      mode = 'everything';
      search.value = q = '';
      arrange();
      return view.select(places.get(seq));
    }
    const [e] = (await get('page', { from: seq, limit: 1 })).events;
    if (!e || e.seq !== seq) return app.toast(`#${seq} is not in the history any more`);
    location.hash = `#/session/${encodeURIComponent(e.session || id)}/${seq}`;
  }

  function replay() {
    if (player) {
      player.close();
      player = null;
      view.refresh();
      return;
    }
    player = new Player({
      session: id, go: goTo, rows: () => rows, show: (i) => {
        view.refresh();
        if (rows[i]) view.select(i);
        view.show(i, true);
      }, close: replay, more: later, start: Math.max(0, view.at),
    });
    stage.firstChild.append(player.node);
    player.to(view.at > 0 ? view.at : 0);
  }

  title();
  await load();
  arrange();
  if (before && !wanted) view.show(rows.length - 1); // a long session is shown from its end
  if (rows.length && matchMedia('(min-width: 1100px)').matches) show(aside, empty('Nothing is selected', 'A line shows what led to a verdict. A row tells all of it.'));
  if (wanted) {
    const owner = fold.places.has(wanted) ? wanted : fold.items.find((i) => [i.verdict, i.settled, i.result, i.end].some((e) => e?.seq === wanted))?.seq;
    if (owner !== undefined) {
      if (!places.has(owner)) {
        mode = 'everything';
        arrange();
      }
      view.select(places.get(owner));
      view.show(places.get(owner), true);
    }
  }
  let due;
  return {
    route: (r) => r.rest[0] === id && Number(r.rest[1]) > 0 && fold.places.has(Number(r.rest[1])) && (goTo(Number(r.rest[1])), true),
    keys: {
      j: () => view.move(1), k: () => view.move(-1), Enter: () => view.openSelected(), Escape: () => (player ? replay() : stage.classList.remove('open')),
      ' ': () => (player ? player.toggle() : replay()), ArrowRight: () => player?.step(1), ArrowLeft: () => player?.step(-1),
      a: () => aside.querySelector('button.approve')?.click(), d: () => aside.querySelector('button.deny')?.click(),
      G: () => view.move(Infinity),
    },
    news: () => {
      due ??= setTimeout(async () => {
        due = undefined;
        try {
          const was = info.last;
          info = await get(`sessions/${encodeURIComponent(id)}`);
          title();
          const { scrollTop, clientHeight, scrollHeight } = view.node;
          const bottom = scrollTop + clientHeight > scrollHeight - height;
          if (info.last > was && next > was) {
            await later();
            const now = rows[view.at];
            if (now && known(now) !== picked && !aside.contains(document.activeElement)) pick(now, false);
            if (bottom && !player) view.show(rows.length - 1);
          }
        } catch (err) { app.trouble(err); }
      }, 300);
    },
    close: () => {
      clearTimeout(due);
      player?.close();
      view.close();
    },
  };
}
