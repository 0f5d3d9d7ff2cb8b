// Small charts, as SVG.
import { h, s } from './dom.js';
import { number, took, clock } from './format.js';

const W = 960;

/** nice returns a round number that is at least n. */
export function nice(n) {
  const step = 10 ** Math.floor(Math.log10(Math.max(n, 1)));
  return [1, 2, 4, 6, 8, 10].map((f) => f * step).find((x) => x >= n) ?? n;
}

const label = (chart, i) => {
  const at = new Date(new Date(chart.begin).getTime() + i * chart.step * 1000);
  return chart.step * chart.steps.length > 2 * 86400
    ? at.toLocaleDateString(undefined, { weekday: 'short', day: 'numeric', month: 'short' }) + (chart.step < 86400 ? `, ${clock(at).slice(0, 5)}` : '')
    : clock(at).slice(0, 5);
};

/** plot is the frame of a chart: lines with their numbers, and times below. Marks draw into it; name says which step is which. */
export function plot({ chart, top, write, height, title, marks, tell, name = (i) => label(chart, i), end = 'now' }) {
  const bottom = height - 26;
  const svg = s('svg', { class: 'chart', viewBox: `0 0 ${W} ${height}`, preserveAspectRatio: 'none', role: 'img', 'aria-label': title });
  const scale = h('div', { class: 'scale', 'aria-hidden': 'true' }, [1, .5, 0].map((f) => h('span', null, write(top * f))));
  for (const f of [0, .5, 1]) {
    svg.append(s('line', { class: 'rule', x1: 0, x2: W, y1: 6 + f * (bottom - 6), y2: 6 + f * (bottom - 6) }));
  }
  const n = chart.steps.length;
  const w = W / n;
  const y = (v) => 6 + (1 - Math.min(v / top, 1)) * (bottom - 6);
  svg.append(...marks({ w, y, bottom, n }));
  const tip = h('div', { class: 'tip', hidden: true });
  const hover = (e) => {
    const box = svg.getBoundingClientRect();
    const i = Math.min(n - 1, Math.max(0, Math.floor((e.clientX - box.left) / box.width * n)));
    tip.hidden = false;
    tip.replaceChildren(h('b', null, name(i)), ...tell(i).map((line) => h('span', null, line)));
    tip.style.left = `${Math.min(Math.max((i + .5) / n * 100, 8), 82)}%`;
  };
  const times = h('div', { class: 'times', 'aria-hidden': 'true' }, [0, .25, .5, .75].map((f) => h('span', null, name(Math.floor(f * n)))), h('span', null, end));
  return h('div', { class: 'plot', onpointermove: hover, onpointerleave: () => { tip.hidden = true; } }, scale, h('div', { class: 'canvas' }, svg, tip), times);
}

/** calls is a stack for each step: what was denied, held, noted and allowed. */
export function calls(chart) {
  const parts = chart.steps.map((x) => [['deny', x.denied], ['hold', Math.min(x.held, Math.max(0, x.calls - x.denied))], ['log', x.noted],
    ['allow', Math.max(0, x.calls - x.denied - x.held - x.noted)]]);
  const top = nice(Math.max(4, ...parts.map((p) => p.reduce((sum, [, n]) => sum + n, 0))));
  return plot({
    chart, top, height: 220, title: 'calls over time, by verdict', write: number,
    marks: ({ w, y, n }) => parts.flatMap((p, i) => {
      let sum = 0;
      return p.filter(([, v]) => v).map(([kind, v]) => {
        const from = y(sum);
        const to = y(sum += v);
        return s('rect', { class: `mark ${kind}`, x: i * w + w * .12, width: Math.max(w * .76, .6), y: to, height: Math.max(from - to - (n > 200 ? 0 : .7), .8) });
      });
    }),
    tell: (i) => {
      const x = chart.steps[i];
      return [`${number(x.calls)} calls`, x.denied && `${number(x.denied)} denied`, x.held && `${number(x.held)} held`, x.noted && `${number(x.noted)} noted`, x.failed && `${number(x.failed)} failed`].filter(Boolean);
    },
  });
}

/** latency is how long servers take: half of the answers, and 95 of 100, in each step. */
export function latency(chart) {
  const top = nice(Math.max(1, ...chart.steps.map((x) => x.p95)));
  const line = (kind, get) => ({ w, y }) => {
    let d = '';
    let open = false;
    const dots = [];
    chart.steps.forEach((x, i) => {
      const v = get(x);
      if (!v) {
        open = false;
        return;
      }
      const alone = !open && !get(chart.steps[i + 1] ?? {});
      d += `${open ? 'L' : 'M'}${((i + .5) * w).toFixed(1)} ${y(v).toFixed(1)}`;
      if (alone) dots.push(s('line', { class: `line ${kind}`, x1: (i + .25) * w, x2: (i + .75) * w, y1: y(v), y2: y(v) }));
      open = true;
    });
    return [d && s('path', { class: `line ${kind}`, d }), ...dots].filter(Boolean);
  };
  return plot({
    chart, top, height: 160, title: 'how long servers take', write: (v) => (v ? took(v) : '0'),
    marks: (p) => [...line('p95', (x) => x.p95)(p), ...line('p50', (x) => x.p50)(p)],
    tell: (i) => (chart.steps[i].p50 ? [`half within ${took(chart.steps[i].p50)}`, `95 % within ${took(chart.steps[i].p95)}`] : ['no answers']),
  });
}

/** spark is a row of small bars: hits, and on top of them what was near. */
export function spark(hits, title, near = []) {
  const most = Math.max(1, ...hits.map((v, i) => v + (near[i] ?? 0)));
  const n = hits.length;
  const bar = (i, kind, from, v) => s('rect', { class: kind, x: i * 4 + .4, width: 3.2, y: 23 - (from + v) / most * 22, height: Math.max(1.2, v / most * 22) });
  return s('svg', { class: 'spark', viewBox: `0 0 ${n * 4} 24`, preserveAspectRatio: 'none', role: 'img', 'aria-label': title },
    s('line', { class: 'rule', x1: 0, x2: n * 4, y1: 23.5, y2: 23.5 }),
    hits.map((v, i) => [v > 0 && bar(i, 'hit', 0, v), near[i] > 0 && bar(i, 'near', v, near[i])]));
}

/** spans are the times that charts can show: minutes of a step, and how many. */
export const spans = [['1h', { minutes: 1, steps: 60 }], ['24h', { minutes: 15, steps: 96 }], ['7d', { minutes: 120, steps: 84 }], ['30d', { minutes: 480, steps: 90 }]];
export const spanLabels = [['1h', '1 hour'], ['24h', '24 hours'], ['7d', '7 days'], ['30d', '30 days']];
export const spanOf = (name) => spans.find(([n]) => n === name)?.[1] ?? spans[1][1];
