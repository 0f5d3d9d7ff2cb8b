// The policy in force, with how often each rule matched, and when.
import { h, show, empty, rowKeys, segments } from './dom.js';
import { get } from './api.js';
import { spanLabels, spanOf, spark } from './charts.js';
import { chip, number } from './format.js';

const verbs = [['denied', 'denied', 'deny'], ['held', 'held', 'hold'], ['noted', 'noted', 'log'], ['observed', 'would have', ''], ['also', 'where another rule decided', '']];

export async function policy(root, route, app) {
  let span = localStorage.getItem('span') ?? '24h';
  let open = '';
  let loaded = await get('policy');
  const body = h('div', { class: 'scroll' });
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
    const chart = await get('chart', spanOf(span));
    show(digest, loaded.digest.slice(0, 12));
    const known = new Set(loaded.rules.map((r) => r.rule));
    const others = Object.keys(chart.rules).filter((name) => !known.has(name)).sort();
    const hits = (name) => verbs.filter(([k]) => chart.rules[name]?.[k]).map(([k, word, kind]) => h('span', { class: `count ${kind}` }, `${number(chart.rules[name][k])} ${word}`));
    const total = (name) => (chart.hits[name] ?? []).reduce((a, b) => a + b, 0);
    const line = (name, rule) => {
      const more = rule && h('tr', { class: 'more', hidden: open !== name }, h('td', { colspan: 4 }, h('p', { class: 'faint' }, `${rule.file}, line ${rule.line}`), excerpt(rule)));
      const row = h('tr', { tabindex: rule && '0', 'aria-expanded': rule && String(open === name), onclick: rule && (() => {
        open = more.hidden ? name : '';
        more.hidden = !more.hidden;
        row.setAttribute('aria-expanded', String(!more.hidden));
      }) },
      h('td', null, h('b', { class: 'mono text' }, name), h('div', { class: 'faint text' }, rule ? [rule.on?.join(', ') || 'every tool', rule.kind && ` · ${rule.kind}`] : name === 'allow' || name === 'catalog' ? 'built in' : 'of a former policy')),
      h('td', null, rule && chip(rule.do, rule.observed ? `observes: ${rule.do}` : rule.do)),
      h('td', { class: 'hide-phone' }, chart.hits[name] ? spark(chart.hits[name], `${name} over time`) : h('span', { class: 'faint' }, 'no hits')),
      h('td', null, h('b', { class: 'num' }, number(total(name))), h('div', { class: 'counts' }, hits(name))));
      return [row, more];
    };
    show(body, h('section', { class: 'panel' }, loaded.rules.length + others.length
      ? h('table', { class: 'rules' }, h('thead', null, h('tr', null, h('th', null, 'Rule'), h('th', null, 'Does'), h('th', { class: 'hide-phone' }, 'Over time'), h('th', null, 'Matched'))), h('tbody', null, loaded.rules.map((r) => line(r.rule, r)), others.map((name) => line(name))))
      : empty('No rules', 'Everything that servers list may be called, and all of it is recorded.')),
    (loaded.sources ?? []).map((source) => h('details', { class: 'panel source' }, h('summary', null, h('b', { class: 'mono text' }, source.name), h('span', { class: 'faint' }, ` ${number(source.text.split('\n').length)} lines`)), h('pre', { class: 'code text tall' }, source.text))));
  }

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
    close: () => clearTimeout(due),
  };
}
