// The replay: one row after the other, with what was counted up to there.
import { h, show } from './dom.js';
import { action, final, meters } from './fold.js';

/** Player steps through rows. It decides nothing: it shows what was decided. */
export class Player {
  constructor({ rows, show: put, close, more, start }) {
    Object.assign(this, { rows, put, more, at: start, playing: null, speed: 1 });
    this.play = h('button', { type: 'button', 'aria-label': 'play', onclick: () => this.toggle() }, '▶');
    this.range = h('input', { type: 'range', min: 0, max: Math.max(0, rows().length - 1), value: start, 'aria-label': 'position', oninput: () => this.to(Number(this.range.value)) });
    this.place = h('span', { class: 'soft place' });
    this.counts = h('div', { class: 'player-counts' });
    this.windows = h('div', { class: 'meters' });
    this.node = h('div', { class: 'player', role: 'group', 'aria-label': 'replay' },
      h('div', { class: 'player-bar' },
        h('button', { type: 'button', 'aria-label': 'one back', onclick: () => this.step(-1) }, '‹'), this.play,
        h('button', { type: 'button', 'aria-label': 'one further', onclick: () => this.step(1) }, '›'),
        this.range, this.place,
        h('select', { 'aria-label': 'speed', onchange: (e) => { this.speed = Number(e.target.value); } },
          [[.5, '½ ×'], [1, '1 ×', true], [4, '4 ×'], [16, '16 ×']].map(([v, text, selected]) => h('option', { value: v, selected }, text))),
        h('button', { type: 'button', class: 'quiet', onclick: close }, 'End')),
      this.counts, this.windows);
  }

  arranged() {
    this.range.max = Math.max(0, this.rows().length - 1);
    this.draw();
  }

  to(i) {
    this.at = Math.max(0, Math.min(this.rows().length - 1, i));
    this.range.value = this.at;
    this.put(this.at);
    this.draw();
  }

  step(by) {
    this.stop();
    this.to(this.at + by);
  }

  toggle() {
    if (this.playing) return this.stop();
    if (this.at >= this.rows().length - 1) this.to(0);
    this.play.replaceChildren('❚❚');
    this.play.setAttribute('aria-label', 'pause');
    this.later();
  }

  /** later shows the next row after about as long as it took, but nobody waits for more than a second. */
  later() {
    const rows = this.rows();
    const gap = new Date(rows[this.at + 1]?.at ?? 0) - new Date(rows[this.at]?.at ?? 0);
    this.playing = setTimeout(async () => {
      await this.more()?.catch?.(() => {});
      if (!this.playing) return;
      if (this.at >= this.rows().length - 1) return this.stop();
      this.to(this.at + 1);
      this.later();
    }, Math.min(1000, Math.max(220, gap)) / this.speed);
  }

  stop() {
    clearTimeout(this.playing);
    this.playing = null;
    this.play.replaceChildren('▶');
    this.play.setAttribute('aria-label', 'play');
  }

  close() {
    this.stop();
    this.node.remove();
  }

  /** state is what was known after the row at which the replay is. */
  state() {
    const counts = { calls: 0, allow: 0, log: 0, hold: 0, deny: 0 };
    const windows = new Map();
    for (const item of this.rows().slice(0, this.at + 1)) {
      if (item.kind !== 'call') continue;
      counts.calls++;
      if (final(item)) counts[action(item)]++;
      for (const [rule, m] of meters(item)) windows.set(rule, { ...m, now: item === this.rows()[this.at] });
    }
    return { counts, windows };
  }

  draw() {
    const { counts, windows } = this.state();
    show(this.place, `${this.at + 1} of ${this.rows().length}`);
    show(this.counts, h('span', null, `${counts.calls} calls`), ['allow', 'log', 'hold', 'deny'].filter((a) => counts[a]).map((a) => h('span', { class: `count ${a}` }, `${counts[a]} ${{ allow: 'allowed', log: 'noted', hold: 'held', deny: 'denied' }[a]}`)),
      windows.size === 0 && h('span', { class: 'faint' }, 'no verdict up to here says how full a window is'));
    show(this.windows, [...windows].sort((a, b) => a[0].localeCompare(b[0])).slice(0, 12).map(([rule, m]) => {
      const fill = h('span', { class: `fill${m.over ? ' over' : ''}` });
      fill.style.width = `${Math.min(100, m.limit ? m.n / m.limit * 100 : 100)}%`;
      return h('div', { class: `meter${m.now ? ' now' : ''}` }, h('span', { class: 'one mono' }, rule), h('span', { class: 'gauge' }, fill), h('span', { class: 'num soft' }, m.text));
    }));
  }
}
