// The policy in force, with how often each rule matched, and when.
import { h, show, empty, rowKeys, segments } from './dom.js';
import { get } from './api.js';
import { spanLabels, spanOf, spark } from './charts.js';
import { chip, number } from './format.js';

const verbs = [['denied', 'denied', 'deny'], ['held', 'held', 'hold'], ['noted', 'noted', 'log'], ['observed', 'would have', ''], ['also', 'where another rule decided', '']];

// What it is to come near, by kind of rule. The engine decides it; this says it.
const nearly = {
  rate: 'with the call, the window has at least 80 % of the limit', sequence: 'all steps are there but the last, the call itself',
  where: 'all but one of the conditions hold that ask what the call does',
};

export async function policy(root, route, app) {
  let span = localStorage.getItem('span') ?? '24h';
  let open = '';
  let loaded = await get('policy');
  const body = h('div', { class: 'scroll' });
  let timer;
  const digest = h('span', { class: 'faint mono' });
  show(root, h('header', { class: 'top' }, h('h1', null, 'Policy'), digest, h('div', { class: 'right' }, segments('time', spanLabels, span, (v) => {
    localStorage.setItem('span', span = v);
    draw().catch(app.trouble);
  }))), body);

  /** lines of a source, from where a rule begins to where the next thing does. */
  function excerpt(rule) {
    const source = loaded.sources?.find((one) => one.name === rule.file) ?? loaded.sources?.[0];
    const all = source?.text.split('\n') ?? [];
    const start = Math.max(0, rule.line - 1);
    const indent = /^[\s-]*/.exec(all[start] ?? '')[0].length;
    let end = start + 1;
    while (end < all.length && (all[end].trim() === '' || /^\s*/.exec(all[end])[0].length >= indent)) end++;
    return h('pre', { class: 'code text' }, all.slice(start, end).join('\n').trimEnd());
  }

  async function draw() {
    clearTimeout(timer);
    const chart = await get('chart', { ...spanOf(span), near: 1 });
    const left = Math.max(0, app.news.last - chart.near_seq);
    if (left > 1000 || chart.counting) timer = setTimeout(() => draw().catch(app.trouble), 700); // it is still counting
    show(digest, loaded.digest.slice(0, 12));
    const known = new Set(loaded.rules.map((r) => r.rule));
    const others = Object.keys(chart.rules).filter((name) => !known.has(name)).sort();
    const hits = (name) => verbs.filter(([k]) => chart.rules[name]?.[k]).map(([k, word, kind]) => h('span', { class: `count ${kind}` }, `${number(chart.rules[name][k])} ${word}`));
    const near = (name) => chart.rules[name]?.near ?? 0;
    const total = (name) => (chart.hits[name] ?? []).reduce((a, b) => a + b, 0);
    const line = (name, rule) => {
      const over = total(name) + near(name) > 0 && (() => spark(chart.hits[name], `${name} over time: matched ${number(total(name))} times, near ${number(near(name))}`, chart.near?.[name]));
      const more = rule && h('tr', { class: 'more', hidden: open !== name }, h('td', { colspan: 4 }, over && h('div', { class: 'only-phone' }, over()), h('p', { class: 'faint' }, `${rule.file}, line ${rule.line}`), excerpt(rule)));
      const row = h('tr', { tabindex: rule && '0', 'aria-expanded': rule && String(open === name), onclick: rule && (() => {
        open = more.hidden ? name : '';
        more.hidden = !more.hidden;
        row.setAttribute('aria-expanded', String(!more.hidden));
      }) },
      h('td', null, h('b', { class: 'mono text' }, name), h('div', { class: 'faint text' }, rule ? [rule.on?.join(', ') || 'every tool', rule.kind && ` · ${rule.kind}`] : name === 'allow' || name === 'catalog' ? 'built in' : 'of a former policy')),
      h('td', null, rule && chip(rule.do, rule.observed ? `observes: ${rule.do}` : rule.do)),
      h('td', { class: 'hide-phone' }, over ? over() : h('span', { class: 'faint' }, 'never matched, never near')),
      h('td', null, h('b', { class: 'num' }, number(total(name))), h('div', { class: 'counts' }, hits(name), near(name) > 0 && h('span', { class: 'count near', title: nearly[rule?.kind] }, `near ${number(near(name))}`))));
      return [row, more];
    };
    show(body, h('section', { class: 'panel' }, loaded.rules.length + others.length
      ? h('table', { class: 'rules' }, h('thead', null, h('tr', null, h('th', null, 'Rule'), h('th', null, 'Does'), h('th', { class: 'hide-phone' }, 'Over time'), h('th', null, 'Matched'))), h('tbody', null, loaded.rules.map((r) => line(r.rule, r)), others.map((name) => line(name))))
      : empty('No rules', 'Everything that servers list may be called, and all of it is recorded.')),
    h('div', { class: 'legend foot-note' }, h('span', { class: 'hit' }, 'matched'), h('span', { class: 'near' }, 'near: at 80 % of a limit, or one step or condition away'),
      left > 1000 && h('i', { class: 'faint' }, `near-misses are counted up to ${Math.floor(chart.near_seq / app.news.last * 100)} %`)),
    (loaded.sources ?? []).map((source) => h('details', { class: 'panel source' }, h('summary', null, h('b', { class: 'mono text' }, source.name), h('span', { class: 'faint' }, ` ${number(source.text.split('\n').length)} lines`)), h('pre', { class: 'code text tall' }, source.text))));
  }

  app.news.last ||= (await get('page', { before: 2 ** 50, limit: 1 })).events[0]?.seq ?? 0;
  await draw();
  let due;
  return {
    keys: rowKeys(body),
    news: () => {
      due ??= setTimeout(async () => {
        due = undefined;
        if (body.contains(document.activeElement) || body.querySelector('details[open]')) return; // somebody reads
        try {
          loaded = await get('policy');
          await draw();
        } catch (err) { app.trouble(err); }
      }, 1500);
    },
    close: () => {
      clearTimeout(due);
      clearTimeout(timer);
    },
  };
}
