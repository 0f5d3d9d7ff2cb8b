// One agent: what it normally does, what it did lately, and what of that is new.
import { h, show, empty, rowKeys, segments } from './dom.js';
import { get } from './api.js';
import { chip, moment, number } from './format.js';
import { lack, reading, state } from './agents.js';
import { band, hours } from './figures.js';
import { graph } from './graph.js';

const call = (x) => `#/session/${encodeURIComponent(x.session)}/${x.seq}`;
const panel = (title, right, ...body) => h('section', { class: 'panel' }, h('header', null, h('h2', null, title), right && h('div', { class: 'right faint' }, right)), body);
const tile = (label, value, kind) => h('div', { class: `tile ${kind || ''}` }, h('b', null, value), h('span', null, label));
const short = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short', timeZone: 'UTC' });
const date = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short', year: 'numeric', timeZone: 'UTC' });
const times = (x) => [`${number(x.times)} ${x.times === 1 ? 'time' : 'times'}`, x.stopped > 0 && h('span', { class: 'count deny' }, `, ${x.stopped === x.times ? 'stopped' : `${number(x.stopped)} stopped`}`)];

/** some is the first rows of a table, and a button for the others. */
function some(rows, most = 10) {
  const body = h('tbody', null, rows.slice(0, most));
  const more = rows.length > most && h('button', { type: 'button', class: 'quiet', onclick: () => {
    body.append(...rows.slice(most));
    more.remove();
  } }, `${number(rows.length - most)} more`);
  return h('div', { class: 'wide' }, h('table', null, body), more);
}

function news(a) {
  const rows = a.news.map((x) => h('tr', { tabindex: '0', onclick: () => { location.hash = call(x); } },
    h('td', { class: 'hide-phone' }, h('span', { class: 'chip' }, x.kind)),
    h('td', { class: 'text' }, h('div', { class: 'on-phone faint' }, x.kind), x.text, x.older && h('div', { class: 'faint' }, 'another baseline is in force since')),
    h('td', { class: 'num' }, times(x)),
    h('td', { class: 'num soft hide-phone' }, moment(x.at), ' ', h('a', { class: 'link', href: call(x) }, `#${x.seq}`))));
  return panel('New this week', a.unnamed > 0 && `and ${number(a.unnamed)} times something else, of which there was too much to list`,
    rows.length ? some(rows) : h('p', { class: 'soft body' }, a.missing && !a.group ? 'Too little is known of it to tell what is new.' : 'Nothing that the baseline in force did not know.'));
}

function strange(a) {
  if (!a.strange.length && !a.drifts.length) return false;
  return panel('Strange calls', 'stranger than 999 of 1000 honest ones', some([
    a.drifts.map((d) => h('tr', null, h('td', { class: 'num faint hide-phone' }, moment(d.at)), h('td', null, chip('deny', 'drift')), h('td', { class: 'text', colspan: 2 }, d.text))),
    a.strange.map((x) => h('tr', { tabindex: '0', onclick: () => { location.hash = call(x); } }, h('td', { class: 'num faint hide-phone' }, moment(x.at)), h('td', null, chip(x.action)),
      h('td', null, h('div', { class: 'mono text' }, x.tool), h('div', { class: 'on-phone faint' }, moment(x.at)), h('div', { class: 'soft text clamp' }, h('b', null, `${x.signal}: `), x.text)),
      h('td', { class: 'num soft hide-phone' }, x.than, x.times > 1 && h('div', { class: 'faint' }, `strangest of ${number(x.times)}`)))),
  ].flat(), 8));
}

const milli = (n) => (n / 1000).toLocaleString();
const shares = (names, most) => [names.list.slice(0, most).map((n, i) => [i > 0 && ' · ', h('span', { class: 'text' }, n.name || '""'), names.list.length > 1 && h('span', { class: 'faint' }, ` ${Math.round(100 * n.sessions / Math.max(names.of, 1))} %`)]),
  names.list.length + (names.more ?? 0) > most && h('span', { class: 'faint' }, ` · ${number(names.list.length + (names.more ?? 0) - most)} more`)];

function argument(x, t) {
  const values = x.number ? [`${milli(x.number.p1)} to ${milli(x.number.p99)}`, h('span', { class: 'faint' }, ` (p1 to p99; ${milli(x.number.least)} to ${milli(x.number.most)} at all)`)]
    : !x.values.open ? shares(x.values, 6) : x.forms.open ? 'anything' : ['like ', shares(x.forms, 4)];
  return [h('tr', null, h('td', { class: 'mono text' }, x.path), h('td', { class: 'soft kind' }, shares(x.types, 3)),
    h('td', null, values, x.from.list.length > 0 && h('div', { class: 'soft' }, 'from ', shares(x.from, 3)), x.length && h('div', { class: 'faint' }, x.length.p50 === x.length.p99 ? `${number(x.length.p99)} bytes` : `${number(x.length.p50)} to ${number(x.length.p99)} bytes (p50 to p99)`),
      x.news?.map((n) => h('div', { class: 'count hold wrap text' }, 'new: ', n.text, ' ', h('a', { class: 'link', href: call(n) }, `#${n.seq}`)))),
    h('td', { class: 'num soft hide-phone' }, `${Math.round(100 * x.sessions / Math.max(t.sessions, 1))} %`), h('td', { class: 'num soft hide-phone' }, number(x.distinct.p99)))];
}

function tools(a) {
  if (!a.tools.length) return false;
  const most = 24;
  const one = (t, i) => h('details', { class: 'tool', open: i < 3 || t.news > 0 }, h('summary', null, h('b', { class: 'mono text' }, t.tool), h('span', { class: 'faint' }, ` ${number(t.calls)} calls in ${number(t.sessions)} sessions; in one p50 ${number(t.rate.p50)}, p99 ${number(t.rate.p99)}`), t.news > 0 && [' ', chip('hold', `${number(t.news)} new`)]),
    t.args.length > 0 ? h('div', { class: 'wide' }, h('table', null, h('thead', null, h('tr', null, h('th', null, 'Argument'), h('th', null, 'Type'), h('th', null, 'Usual'), h('th', { class: 'num hide-phone' }, 'Sessions with it'), h('th', { class: 'num hide-phone' }, 'Different in one, p99'))), h('tbody', null, t.args.map((x) => argument(x, t)))))
      : h('p', { class: 'faint body' }, 'It has no arguments.'), t.more > 0 && h('p', { class: 'faint body' }, `and ${number(t.more)} arguments more`));
  const rest = h('div', { hidden: true });
  const more = a.tools.length > most && h('button', { type: 'button', onclick: () => {
    show(rest, a.tools.slice(most).map((t) => one(t, most)));
    rest.hidden = false;
    more.remove();
  } }, `${number(a.tools.length - most)} more tools`);
  return panel('Tools and what their arguments look like', null, a.tools.slice(0, most).map(one), rest, more && h('div', { class: 'body' }, more));
}

const rates = [[3, '24 hours'], [0, 'A session'], [2, '10 minutes'], [1, '10 seconds']];

export async function agent(root, route, app) {
  const name = route.rest[0] ?? '';
  const body = h('div', { class: 'scroll' });
  const head = h('div', { class: 'sub' });
  const chosen = h('span', null);
  const later = h('button', { type: 'button', hidden: true, onclick: () => {
    body.scrollTop = 0;
    draw().catch(app.trouble);
  } }, 'There is more: show it');
  show(root, h('header', { class: 'top' }, h('div', { class: 'crumb' }, h('a', { class: 'link', href: '#/agents' }, 'Agents'), h('h1', { class: 'text' }, name || 'no name')), chosen,
    h('div', { class: 'right' }, later, h('a', { class: 'link', href: `#/sessions?agent=${encodeURIComponent(name)}` }, 'Its sessions')), head), body);
  let timer;
  let rate = 3;
  let shown = '';

  /** draw shows what is known now. What comes by itself waits for who is reading: gentle says so. */
  async function draw(gentle) {
    clearTimeout(timer);
    const all = await get('habits/agent', { agent: name });
    if (all.counting) timer = setTimeout(() => draw(true).catch(app.trouble), 500);
    const a = all.agent;
    const now = JSON.stringify([a, all.baseline, all.counting], (key, v) => (key === 'until' ? undefined : v));
    if (now === shown) return;
    if (gentle && (body.scrollTop > 0 || body.contains(document.activeElement))) {
      later.hidden = false;
      return;
    }
    later.hidden = true;
    shown = now;
    if (!a.recent) return show(body, reading(all));
    const known = a.known && all.baseline.digest;
    show(chosen, state(a, all.baseline));
    show(head, known ? `${number(a.sessions)} sessions with ${number(a.calls)} calls on ${number(a.days)} days, from ${date.format(new Date(a.from))} to ${date.format(new Date(a.until))}` : 'what it does was not learned',
      a.missing && all.baseline.digest && h('span', { class: 'text' }, ` · ${a.known ? 'not enough yet: ' : ''}${a.missing}`), a.group && h('span', { class: 'text' }, ` · compared with ${a.group}`),
      all.baseline.seq && h('span', { class: 'text' }, ` · baseline ${all.baseline.digest.slice(0, 12)}, in force since `, moment(all.baseline.at), ` by ${all.baseline.who}`), a.full && ' · there was more than there is room for');
    const chart = h('div', { class: 'body' });
    const drawRate = () => show(chart, band(a.lately, rate, a.rates[rate], known && !a.missing),
      h('p', { class: 'faint' }, a.rates[rate].n ? `The band is from p5 to p99 of ${number(a.rates[rate].n)} sessions, the line the most that was learned.${a.missing ? ' Calls are not compared with it yet.' : ''}` : 'Nothing was learned of it: there is no band.'));
    drawRate();
    const week = `${short.format(new Date(a.week.from))} to ${short.format(new Date(a.week.until))}, UTC`;
    show(body, lack(all), reading(all),
      h('div', { class: 'tiles four' }, tile('calls this week', number(a.week.calls)), tile('stopped', number(a.week.stopped), a.week.stopped && 'deny'), tile('strange', number(a.week.strange), a.week.strange && 'hold'), tile('new', number(a.week.news), a.week.news && 'hold')),
      h('p', { class: 'faint week' }, `This week is ${week}. What is new was not known to the baseline that was in force at the call.`),
      strange(a), news(a),
      panel('Calls', segments('span', rates.map(([i, t]) => [String(i), t]), String(rate), (v) => {
        rate = Number(v);
        drawRate();
      }), chart),
      panel('Hours of the day', h('div', { class: 'legend' }, h('span', { class: 'learned' }, 'learned'), h('span', { class: 'usual' }, 'this week'), h('span', { class: 'odd' }, 'never before')), h('div', { class: 'body' }, hours(a.hours, a.week.hours))),
      a.graph.nodes.length > 1 && panel('What comes after what', 'share of what comes next, by session', h('div', { class: 'body' }, graph(a.graph, (e) => { location.hash = call(e); }))),
      tools(a));
    if (!a.recent.some((n) => n > 0) && !known) show(body, lack(all), reading(all), empty('Nothing is known of it', 'No call of it was judged in the last 28 days.'));
  }
  await draw();
  let due;
  return {
    keys: { ...rowKeys(body), Escape: () => { location.hash = '#/agents'; } },
    news: () => {
      due ??= setTimeout(() => {
        due = undefined;
        draw(true).catch(app.trouble);
      }, 3000);
    },
    close: () => {
      clearTimeout(timer);
      clearTimeout(due);
    },
  };
}
