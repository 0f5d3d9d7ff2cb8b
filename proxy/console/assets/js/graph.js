// The transition graph: tools in columns, and lines from each to what comes after it.
import { h, s } from './dom.js';
import { number } from './format.js';

const [wide, gap, between, margin] = [168, 86, 22, 46];
const faintest = 20; // per mille of what comes after a tool: less is not drawn, unless it is new

export const percent = (n) => (n > 0 && n < 10 ? '<1 %' : `${Math.round(n / 10)} %`);
const cut = (text, most) => ([...text].length > most ? `${[...text].slice(0, most - 1).join('')}…` : text);
const named = (n) => n.tool || 'beginning';

/** place puts nodes in columns, the most frequent on top, and returns the size of it all; back says that lines lead back below. */
function place(nodes, back) {
  const columns = [];
  nodes.forEach((n, i) => (columns[n.column] ??= []).push(i));
  const most = Math.max(1, ...nodes.map((n) => n.sessions));
  const boxes = [];
  let height = 0;
  columns.forEach((list, c) => {
    let y = margin;
    for (const i of list.sort((a, b) => nodes[b].sessions - nodes[a].sessions)) {
      const tall = 36 + 26 * Math.sqrt(nodes[i].sessions / most);
      boxes[i] = { x: 8 + c * (wide + gap), y, tall, middle: y + tall / 2 };
      y += tall + between;
    }
    height = Math.max(height, y);
  });
  for (const list of columns) { // in the middle
    const last = boxes[list.at(-1)];
    const by = (height - between - (last.y + last.tall)) / 2;
    for (const i of list) {
      boxes[i].y += Math.max(0, by);
      boxes[i].middle += Math.max(0, by);
    }
  }
  return { boxes, width: 16 + columns.length * wide + (columns.length - 1) * gap, height: height - between + (back ? margin : 12) };
}

/** line is the way from one box to another, and where it can be labelled. */
function line(a, b, i, height) {
  if (a === b) {
    const [x, y] = [a.x + wide - 30, a.y];
    return { d: `M${x} ${y}c-6 -26 34 -26 24 -1`, x: x + 8, y: y - 22 };
  }
  const [x1, y1, y2] = [a.x + wide, a.middle, b.middle];
  if (b.x > a.x) {
    const bend = Math.max(36, (b.x - x1) / 2);
    const long = b.x - x1 > gap + 1; // it passes others: above them
    if (!long) return { d: `M${x1} ${y1}C${x1 + bend} ${y1} ${b.x - bend} ${y2} ${b.x - 3} ${y2}`, x: x1 + (b.x - x1) * .6, y: y1 + (y2 - y1) * .66 - 6 };
    const top = Math.max(8, Math.min(a.y, b.y) - 26 - 5 * (i % 3));
    return { d: `M${x1} ${y1}C${x1 + gap} ${top} ${b.x - gap} ${top} ${b.x - 3} ${y2 - 4}`, x: (x1 + b.x) / 2, y: top + (Math.min(y1, y2) - top) * .28 };
  }
  if (a.x === b.x) { // within a column: to the right
    const x = x1 + 30 + 8 * (i % 3);
    return { d: `M${x1} ${y1 + 6}C${x} ${y1 + 6} ${x} ${y2 - 6} ${x1 + 3} ${y2 - 6}`, x: x + 4, y: y1 + (y2 - y1) * .2 + 4 };
  }
  // back: below
  const low = Math.min(height - 8, Math.max(a.y + a.tall, b.y + b.tall) + 22 + 6 * (i % 3));
  const [from, to] = [a.x + wide * .62, b.x + wide * .38];
  return { d: `M${from} ${a.y + a.tall}C${from} ${low + 12} ${to} ${low + 12} ${to} ${b.y + b.tall + 4}`, x: (from + to) / 2, y: low + 6 };
}

/** graph draws tools and what comes after them. Open shows the call of an edge that is new. */
export function graph(g, open) {
  const edges = g.edges.filter((e) => e.new || e.per_mille >= faintest);
  const { boxes, width, height } = place(g.nodes, edges.some((e) => g.nodes[e.to].column < g.nodes[e.from].column));
  const most = Math.max(1, ...g.edges.map((e) => e.sessions));
  const labels = [];
  const lines = edges.sort((x, y) => (x.new ? 1 : 0) - (y.new ? 1 : 0) || x.sessions - y.sessions).map((e, i) => {
    const l = line(boxes[e.from], boxes[e.to], i, height);
    const told = `${named(g.nodes[e.from])} → ${named(g.nodes[e.to])}: ${e.new ? `new this week, ${number(e.times)} times, ${number(e.stopped ?? 0)} stopped` : `${percent(e.per_mille)}, in ${number(e.sessions)} sessions`}`;
    if (e.new || e.per_mille >= 100) labels.push(s('text', { class: e.new ? 'new' : '', x: l.x, y: l.y, 'text-anchor': 'middle' }, e.new ? `new ×${e.times}` : percent(e.per_mille)));
    const path = s('path', { class: `edge${e.new ? ' new' : ''}`, d: l.d, 'marker-end': `url(#tip${e.new ? '-new' : ''})` }, s('title', null, told));
    path.style.strokeWidth = e.new ? 2.5 : 1 + 4 * Math.sqrt(e.sessions / most);
    path.style.opacity = e.new ? 1 : .35 + .6 * Math.min(1, e.per_mille / 700);
    if (e.new && e.seq) path.addEventListener('click', () => open(e));
    return path;
  });
  const tip = (id) => s('marker', { id, class: id, viewBox: '0 0 8 8', refX: 6, refY: 4, markerWidth: 8, markerHeight: 8, markerUnits: 'userSpaceOnUse', orient: 'auto' }, s('path', { d: 'M0 0L8 4L0 8z' }));
  const fresh = edges.filter((e) => e.new).length;
  const svg = s('svg', { class: 'graph', viewBox: `0 0 ${width} ${height}`, width, height, role: 'img', 'aria-label': `${g.nodes.length - 1} tools and ${edges.length} orders of them, of which ${fresh} are new this week; the list below has all` },
    s('defs', null, tip('tip'), tip('tip-new')), lines,
    g.nodes.map((n, i) => {
      const { x, y, tall } = boxes[i];
      const [server, ...rest] = n.tool.split('/');
      return s('g', { class: `node${n.new ? ' new' : ''}${i ? '' : ' begin'}` }, s('title', null, named(n)),
        s('rect', { x, y, width: wide, height: tall, rx: 9 }),
        s('text', { class: 'name', x: x + 12, y: y + tall / 2 - 2 }, cut(i ? rest.join('/') || server : 'a session begins', 22)),
        s('text', { class: 'about', x: x + 12, y: y + tall / 2 + 13 }, cut(n.new ? `new, ${server}` : `${i && rest.length ? `${cut(server, 12)} · ` : ''}${number(n.sessions)} sessions`, 27)));
    }), labels);
  const hidden = g.edges.length - edges.length + (g.more_edges ?? 0);
  return [h('div', { class: 'graph-frame', tabindex: '0' }, svg),
    (g.more_nodes > 0 || hidden > 0) && h('p', { class: 'faint' }, `Not drawn: ${number(g.more_nodes ?? 0)} tools and ${number(hidden)} orders that are rarer.`),
    h('details', null, h('summary', null, 'As a list'), h('table', { class: 'steps-list' }, h('thead', null, h('tr', null, ['After', 'comes', 'in'].map((t) => h('th', null, t)))), h('tbody', null,
      g.nodes.flatMap((n, i) => g.edges.filter((e) => e.from === i).map((e) => h('tr', null, h('td', { class: 'mono text' }, i ? n.tool : 'the beginning'), h('td', { class: 'mono text' }, g.nodes[e.to].tool),
        h('td', { class: e.new ? 'count hold' : '' }, e.new ? ['new: ', number(e.times), ' times, ', number(e.stopped ?? 0), ' stopped, first ', h('a', { class: 'link', href: `#/session/${encodeURIComponent(e.session)}/${e.seq}` }, `#${e.seq}`)] : `${percent(e.per_mille)} (${number(e.sessions)} sessions)`)))))))];
}
