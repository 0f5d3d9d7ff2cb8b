// Pictures of what is usual: bands, bars with one that is marked, hours of the day.
import { h, s } from './dom.js';
import { nice, plot } from './charts.js';
import { number } from './format.js';

const day = new Intl.DateTimeFormat(undefined, { weekday: 'short', day: 'numeric', month: 'short', timeZone: 'UTC' });

/** band is a number of each day, before what was learned of it: the band from p5 to p99, and a line at the greatest. Where enough is
 * known, a day beyond that stands out. */
export function band(days, i, b, enough) {
  const of = (d) => d.most[i];
  const top = nice(Math.max(4, b.n ? b.most : 0, ...days.map(of)));
  const odd = (d) => enough && of(d) > b.most;
  const name = (n) => day.format(new Date(`${days[n].date}T00:00:00Z`));
  const most = Math.max(...days.map(of));
  return plot({
    chart: { steps: days }, top, height: 190, write: number, name, end: 'today',
    title: `${b.what} on each of the last ${days.length} days: at most ${number(most)}; ${b.n ? `${number(b.p5)} to ${number(b.p99)} are usual, ${number(b.most)} is the most that was learned` : 'nothing was learned'}`,
    marks: ({ w, y, n, bottom }) => [
      b.n > 0 && s('rect', { class: 'band', x: 0, width: w * n, y: y(b.p99), height: Math.max(y(b.p5) - y(b.p99), 2) }),
      b.n > 0 && s('line', { class: 'most', x1: 0, x2: w * n, y1: y(b.most), y2: y(b.most) }),
      ...days.flatMap((d, k) => of(d) > 0 && s('rect', { class: `mark ${odd(d) ? 'odd' : 'usual'}`, x: k * w + w * .2, width: w * .6, y: Math.min(y(of(d)), bottom - 2), height: Math.max(bottom - y(of(d)), 2) })),
    ].filter(Boolean),
    tell: (k) => [`${number(of(days[k]))} ${b.what}`, `${number(days[k].calls)} calls, ${number(days[k].stopped)} stopped`, odd(days[k]) && 'more than ever was learned'].filter(Boolean),
  });
}

/** hours are 24 bars of what was learned, and beside them those of this week. */
export function hours(learned, week) {
  const share = (list) => {
    const sum = list.reduce((a, b) => a + b, 0) || 1;
    return list.map((n) => n / sum);
  };
  const [a, b] = [share(learned), share(week)];
  const top = Math.max(...a, ...b, .01);
  const odd = week.filter((n, i) => n > 0 && !learned[i]).length;
  const known = learned.some((n) => n > 0);
  const bar = (cls, x, v) => v > 0 && s('rect', { class: cls, x, width: 12, y: 96 - v / top * 90, height: Math.max(v / top * 90, 2) });
  return h('div', { class: 'hours' },
    s('svg', { viewBox: '0 0 720 100', preserveAspectRatio: 'none', role: 'img', 'aria-label': `hours of the day, UTC${known && odd ? `: ${odd} of this week never were` : ''}` },
      s('line', { class: 'rule', x1: 0, x2: 720, y1: 96.5, y2: 96.5 }),
      a.map((v, i) => [bar('learned', i * 30 + 2, v), bar(known && !learned[i] ? 'odd' : 'usual', i * 30 + 15, b[i])])),
    h('div', { class: 'times', 'aria-hidden': 'true' }, ['00', '06', '12', '18', '24'].map((t) => h('span', null, t))));
}

const alt = (f) => `${f.title}: ${f.bars.filter((b) => b.n > 0 || b.mark).map((b) => `${b.label} ${number(b.n)}${b.mark ? ', which is this call' : ''}`).join('; ')}`;

/** figure is what is usual as bars, with the call's own marked. */
export function figure(f) {
  const most = Math.max(1, ...f.bars.map((b) => b.n));
  if (f.kind === 'hours') {
    return h('figure', { class: 'figure' }, h('figcaption', null, f.title), h('div', { class: 'clock', role: 'img', 'aria-label': alt(f) }, f.bars.map((b) => {
      const bar = h('span', { class: b.mark ? 'own' : '', title: `${b.label}:00 UTC: ${number(b.n)}` }, h('i'));
      bar.firstChild.style.height = `${b.n > 0 ? Math.max(b.n / most * 100, 4) : 0}%`;
      return bar;
    })), h('div', { class: 'times', 'aria-hidden': 'true' }, ['00', '06', '12', '18', '24'].map((t) => h('span', null, t))));
  }
  return h('figure', { class: 'figure' }, h('figcaption', { class: 'text' }, f.title),
    h('table', { class: 'bars' }, h('tbody', null, f.bars.map((b) => {
      const fill = h('i');
      fill.style.width = `${b.n / most * 100}%`;
      return h('tr', { class: b.mark ? 'own' : '' }, h('th', { scope: 'row', class: 'text' }, b.label), h('td', { class: 'fill', 'aria-hidden': 'true' }, (b.n > 0 || !b.mark) && fill),
        h('td', { class: 'num' }, f.kind === 'series' ? (b.mark ? 'this call' : `#${b.seq}`) : [b.n > 0 ? number(b.n) : b.mark ? 'never' : '0', b.mark && ' · this call']));
    }))), f.more > 0 && h('p', { class: 'faint' }, `and ${number(f.more)} more`));
}
