// The overview: what became of calls, and what deserves a look.
import { h, show, empty, rowKeys, segments } from './dom.js';
import { get, list } from './api.js';
import { calls, latency, spanLabels, spanOf } from './charts.js';
import { chip, moment, number, took } from './format.js';

const tile = (label, value, kind, href) => h(href ? 'a' : 'div', { class: `tile ${kind ?? ''}`, href }, h('b', null, value), h('span', null, label));

const legend = (pairs) => h('div', { class: 'legend' }, pairs.map(([kind, text]) => h('span', { class: kind }, text)));

export async function overview(root, route, app) {
  let span = localStorage.getItem('span') ?? '24h';
  const body = h('div', { class: 'scroll' });
  const status = await get('status');
  show(root,
    h('header', { class: 'top' }, h('h1', null, 'Overview'),
      h('div', { class: 'right' }, segments('time', spanLabels, span, (v) => {
        localStorage.setItem('span', span = v);
        draw().catch(app.trouble);
      }))),
    body);
  let timer;
  let rows = [];
  let never = true; // has anything been called

  async function draw() {
    clearTimeout(timer);
    const chart = await get('chart', spanOf(span));
    if (chart.counting) timer = setTimeout(() => draw().catch(app.trouble), 400); // it is still counting
    never &&= !chart.total.calls && (await list('sessions', { limit: 1 })).total === 0;
    if (never) {
      return show(body, empty('Nothing has happened yet', 'Umpire is running, and no client has called a tool through it.',
        h('p', null, 'Put it in front of your servers: ', h('code', null, 'umpire wrap'))));
    }
    rows = chart.notable.slice(0, 40).map((n) => h('tr', { tabindex: '0', onclick: () => { location.hash = `#/session/${n.session}/${n.call}`; } },
      h('td', { class: 'faint num' }, moment(n.at)), h('td', null, chip(n.action)),
      h('td', null, h('div', { class: 'mono text' }, `${n.server}/${n.tool}`), h('div', { class: 'soft text clamp' }, n.rule && h('b', null, `${n.rule}: `), n.why)),
      h('td', { class: 'hide-phone soft' }, h('span', { class: 'text' }, n.agent), h('div', { class: 'faint' }, n.session))));
    const t = chart.total;
    show(body,
      h('div', { class: 'tiles' },
        tile('calls judged', number(t.calls)), tile('denied', number(t.denied), t.denied && 'deny'), tile('held for a person', number(t.held), t.held && 'hold'),
        tile('waiting now', number(app.news.held), app.news.held && 'hold', '#/desk'), tile('answered, median', chart.p50 ? took(chart.p50) : '–'), tile('95 % within', chart.p95 ? took(chart.p95) : '–')),
      h('section', { class: 'panel' }, h('header', null, h('h2', null, 'Calls'), h('div', { class: 'right' }, legend([['allow', 'allowed'], ['log', 'noted'], ['hold', 'held'], ['deny', 'denied']]))),
        h('div', { class: 'body' }, calls(chart))),
      h('section', { class: 'panel' }, h('header', null, h('h2', null, 'How long servers take'), h('div', { class: 'right' }, legend([['p50', 'half'], ['p95', '95 %']]))),
        h('div', { class: 'body' }, latency(chart))),
      h('section', { class: 'panel' }, h('header', null, h('h2', null, 'What deserves a look')),
        rows.length ? h('div', { class: 'wide' }, h('table', null, h('tbody', null, rows)))
          : empty('Nothing was denied, held or noted', 'Every call that was judged so far was allowed.')),
      h('p', { class: 'faint foot-note' }, `umpire ${status.version}, policy ${status.policy.slice(0, 12)}`,
        chart.since && [chart.counting ? '. Counted so far: from ' : '. Charts begin at ', moment(chart.since), chart.counting ? ' on' : '; what was before is in the history'], ' ', app.themeButton()));
  }

  app.news.last ||= (await get('page', { before: 2 ** 50, limit: 1 })).events[0]?.seq ?? 0;
  await draw();
  let due;
  return {
    keys: rowKeys(body),
    news: () => {
      due ??= setTimeout(() => {
        due = undefined;
        const focused = rows.indexOf(document.activeElement);
        draw().then(() => rows[focused]?.focus()).catch(app.trouble);
      }, 1000);
    },
    close: () => {
      clearTimeout(timer);
      clearTimeout(due);
    },
  };
}
