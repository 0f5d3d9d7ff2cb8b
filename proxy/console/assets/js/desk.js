// The review desk: calls that wait for a person, with what the person has to know.
import { h, show, empty } from './dom.js';
import { get } from './api.js';
import { Fold, action, text } from './fold.js';
import { args, chip, clock, json, moment, number, short } from './format.js';
import { speaker } from './detail.js';
import { picture } from './picture.js';
import { remembered } from './remembered.js';
import { reviewer } from './reviewer.js';

/** left is how long a call still waits. */
function left(held) {
  const seconds = Math.max(0, Math.round((new Date(held.expires) - Date.now()) / 1000));
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`;
}

export async function desk(root, route, app) {
  let held = [];
  let chosen = Number(route.rest[0]) || 0;
  let drawn = 0; // the call that the right side shows
  const count = h('span', { class: 'faint' });
  const cards = h('div', { class: 'cards' });
  const side = h('div', { class: 'case' });
  const body = h('div', { class: 'desk' }, cards, side);
  const memory = remembered(app);
  const scroll = h('div', { class: 'scroll' }, body);
  show(root, h('header', { class: 'top' }, h('h1', null, 'Review'), count), scroll);

  const reload = () => load().catch(app.trouble);
  async function load() {
    held = await get('held');
    await memory.refresh();
    show(count, held.length ? `${number(held.length)} ${held.length === 1 ? 'call waits' : 'calls wait'}` : '');
    if (!held.length) {
      drawn = chosen = 0;
      const { notable } = await get('chart', { minutes: 60, steps: 24 });
      const decided = notable.filter((n) => n.why.startsWith('local:')).slice(0, 12);
      return show(scroll, empty('Nothing is waiting', 'A call that a rule with do: hold stops waits here until you decide. It shows up by itself.'),
        decided.length > 0 && h('section', { class: 'panel' }, h('header', null, h('h2', null, 'Decided lately')), h('table', null, h('tbody', null, decided.map((n) => h('tr', { tabindex: '0', onclick: () => { location.hash = `#/session/${n.session}/${n.call}`; } },
          h('td', { class: 'faint num' }, moment(n.at)), h('td', null, chip(n.action)), h('td', null, h('div', { class: 'mono text' }, `${n.server}/${n.tool}`), h('div', { class: 'soft text clamp' }, n.why))))))), memory.node);
    }
    if (body.parentNode !== scroll) show(scroll, body, memory.node);
    if (!held.some((c) => c.call === chosen)) chosen = held[0].call;
    draw();
  }

  function draw() {
    show(cards, held.map((c) => h('button', { type: 'button', class: 'card', 'aria-pressed': String(c.call === chosen), onclick: () => pick(c.call) },
      h('span', { class: 'one' }, h('b', { class: 'mono text' }, `${c.server}/${c.tool}`)), h('span', { class: 'left num', 'data-call': c.call }, left(c)),
      h('span', { class: 'one soft text' }, args(c.args)), h('span', { class: 'one faint text' }, `#${c.call} · ${c.agent} · ${c.session}`))));
    if (drawn !== chosen) story(held.find((c) => c.call === chosen)).catch(app.trouble);
  }

  function pick(call) {
    chosen = call;
    draw();
    if (matchMedia('(max-width: 820px)').matches) side.scrollIntoView({ block: 'start' });
  }

  /** story shows the call with the rule and what happened before. */
  async function story(c) {
    drawn = c.call;
    const before = h('div', { class: 'before' }, h('p', { class: 'faint' }, 'Reading what happened before'));
    show(side, h('div', { class: 'panel' }, h('div', { class: 'body' },
      h('div', { class: 'case-top' }, h('h2', { class: 'mono text' }, `${c.server}/${c.tool}`), h('span', { class: 'left', 'data-call': c.call }, left(c))),
      h('div', { class: 'reason hold' }, h('b', { class: 'mono' }, c.rule), h('p', { class: 'text' }, c.why)),
      reviewer(c.call, c.args, app, reload),
      h('h3', null, 'Arguments'), json(c.args),
      picture(c.call),
      h('h3', null, 'What happened before'), before,
      h('p', null, h('a', { class: 'link', href: `#/session/${encodeURIComponent(c.session)}/${c.call}` }, 'The whole session')),
      h('h3', null, 'Who'), h('dl', { class: 'facts' }, h('dt', null, 'agent'), h('dd', { class: 'text' }, c.agent), h('dt', null, 'as'), h('dd', { class: 'text' }, c.principal),
        h('dt', null, 'since'), h('dd', null, clock(c.since)), h('dt', null, 'policy'), h('dd', { class: 'mono' }, c.policy.slice(0, 12))))));
    const { events } = await get('page', { session: c.session, before: c.call, limit: 60 });
    if (drawn !== c.call) return;
    const items = new Fold().add(events).items.filter((i) => i.kind === 'turn' || i.kind === 'call').slice(-8);
    show(before, items.length ? items.map((i) => (i.kind === 'turn'
      ? h('div', { class: 'line' }, h('div', { class: 'speaker' }, speaker(i.turn)), h('div', { class: 'said text clamp-4' }, i.turn.text || `${number(i.turn.size)} bytes, not kept`))
      : h('div', { class: 'line' }, h('div', { class: 'speaker' }, chip(action(i)), h('b', { class: 'mono text' }, `${i.call.server}/${i.call.tool}`), h('span', { class: 'soft one text' }, args(i.call.args))),
        i.result && h('div', { class: 'said soft text clamp' }, text(i.result.result) || short(i.result.result.content))))) : h('p', { class: 'faint' }, 'Nothing was recorded in this session before this call.'));
  }

  const clocks = setInterval(() => {
    for (const node of scroll.querySelectorAll('[data-call]')) {
      const c = held.find((one) => one.call === Number(node.dataset.call));
      if (c) show(node, left(c));
    }
  }, 1000);
  const again = setInterval(() => load().catch(() => {}), 10_000); // a hold can end before anything more is recorded
  const move = (by) => {
    const at = held.findIndex((c) => c.call === chosen) + by;
    if (held[at]) pick(held[at].call);
  };
  await load();
  return {
    keys: { j: () => move(1), k: () => move(-1), a: () => side.querySelector('button.approve')?.click(), d: () => side.querySelector('button.deny')?.click(),
      r: () => side.querySelector('button.remember')?.click(),
      Enter: () => side.querySelector('a.link')?.click() },
    news: reload,
    close: () => {
      clearInterval(clocks);
      clearInterval(again);
    },
  };
}
