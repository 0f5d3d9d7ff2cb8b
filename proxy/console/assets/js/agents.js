// Agents: what they have done this week, and whether anybody knows what is normal for them.
import { h, empty } from './dom.js';
import { get } from './api.js';
import { spark } from './charts.js';
import { chip, moment, number } from './format.js';
import { table } from './tools.js';

/** state says in a word whether the calls of an agent are compared with what it does. */
export function state(s, baseline) {
  if (!baseline.digest || baseline.broken) return h('span', { class: 'chip' }, 'no baseline');
  if (!s || !s.known) return chip('hold', 'not known');
  if (!s.missing) return chip('allow', 'known');
  return chip('log', s.group ? 'by its group' : 'still learning');
}

/** lack says what to do where there is no baseline; nothing if there is one. */
export function lack(all) {
  const { broken, digest } = all.baseline;
  if (all.counting || (digest && !broken)) return false;
  return h('section', { class: 'panel notice' }, h('div', { class: 'body' },
    h('h2', null, broken ? 'The baseline in force cannot be read' : 'Nobody knows yet what is normal'),
    broken && h('p', { class: 'text' }, broken),
    h('p', { class: 'soft' }, 'Learn it from the history, look at what was learned, and put it into force:'),
    h('pre', { class: 'code' }, 'umpire baseline learn\numpire baseline diff\numpire baseline promote')));
}

/** reading says that not all was read yet. */
export const reading = (all) => all.counting && h('p', { class: 'faint foot-note', role: 'status' }, all.at ? ['The history is being read: up to ', moment(all.at), ' so far.'] : 'The history is being read.');

function row(a, s, all) {
  return {
    is: [s?.week.strange > 0 && 'strange', s?.week.news > 0 && 'new'].filter(Boolean),
    about: `${a.agent} ${(a.principals ?? []).join(' ')} ${(a.servers ?? []).join(' ')}`,
    draw: () => h('tr', { tabindex: '0', onclick: () => { location.hash = `#/agent/${encodeURIComponent(a.agent)}`; } },
      h('td', { class: 'who' }, h('b', { class: 'text clamp-4' }, a.agent || 'no name'), h('div', { class: 'faint text' }, [...(a.principals ?? []), ...(a.servers ?? [])].join(', '))),
      h('td', null, state(s, all.baseline), s?.missing && s.known && h('div', { class: 'faint text' }, s.missing)),
      h('td', { class: 'hide-phone' }, s && spark(s.recent, `calls on each of the last ${s.recent.length} days, ${number(s.recent.at(-1))} today`)),
      h('td', { class: 'num hide-phone' }, number(s?.week.calls ?? 0), h('div', { class: 'faint' }, `of ${number(a.calls ?? s?.calls)}`)),
      h('td', { class: 'num' }, s?.week.strange > 0 ? h('span', { class: 'count hold' }, `${number(s.week.strange)} strange`) : h('span', { class: 'faint' }, '–'),
        s?.drifts.length > 0 && h('div', { class: 'count deny' }, 'has changed'), s?.week.news > 0 && h('div', { class: 'count on-phone' }, `${number(s.week.news)} new`)),
      h('td', { class: 'fresh hide-phone' }, s?.news.length > 0 ? [h('span', { class: 'count' }, `${number(s.week.news)}${s.unnamed ? '+' : ''} new`), h('div', { class: 'soft text clamp' }, s.news[0].text)] : h('span', { class: 'faint' }, '–')),
      h('td', { class: 'num soft hide-phone' }, a.active ? moment(a.active) : s?.last ? moment(s.last) : '–')),
  };
}

export async function agents(root, route, app) {
  let timer;
  let view;
  const again = () => load().then((now) => view.set(now.rows, now.above)).catch(app.trouble);
  async function load() {
    const [list, all] = await Promise.all([get('agents'), get('habits')]);
    const by = new Map(all.agents.map((s) => [s.agent, s]));
    const rows = (list ?? []).map((a) => {
      const s = by.get(a.agent);
      by.delete(a.agent);
      return row(a, s, all);
    });
    for (const s of by.values()) rows.push(row({ agent: s.agent }, s, all)); // retention has removed its sessions
    clearTimeout(timer);
    if (all.counting) timer = setTimeout(again, 500);
    return { rows, above: [lack(all), reading(all), all.crowded && h('p', { class: 'trouble' }, 'More agents were active than are remembered: what some of them did lately is not shown here. It is in the history.')].filter(Boolean) };
  }
  view = table({
    root, title: 'Agents', placeholder: 'Search: agent, server, user', ...await load(),
    columns: [['Agent'], ['Habits'], ['Last 28 days', 'hide-phone'], ['Calls, 7 days', 'num hide-phone'], ['This week', 'num'], ['New this week', 'hide-phone'], ['Last active', 'num hide-phone']],
    filters: [['', 'All'], ['strange', 'Strange'], ['new', 'Something new']],
    none: empty('No agents yet', 'An agent is a client by the name that it gives itself.'),
  });
  let due;
  return {
    keys: view.keys,
    news: () => {
      if (root.contains(document.activeElement) && document.activeElement.matches('tr')) return; // somebody is choosing
      due ??= setTimeout(() => {
        due = undefined;
        again();
      }, 3000);
    },
    close: () => {
      clearTimeout(timer);
      clearTimeout(due);
    },
  };
}
