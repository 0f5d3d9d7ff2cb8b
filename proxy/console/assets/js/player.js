// The replay: one row after the other, with how the rules stood then. That is the daemon's answer, which folds the history:
// what other sessions did counts.
import { h, show } from './dom.js';
import { get } from './api.js';
import { action, final } from './fold.js';
import { standing, weight } from './standing.js';

const part = 200;

/** Player steps through rows. It decides nothing: it shows what was decided. */
export class Player {
  constructor({ session, rows, show: put, close, more, start, go }) {
    Object.assign(this, { session, rows, put, more, go, at: start, playing: null, speed: 1 });
    this.moments = new Map(); // by number of the event
    this.next = 0; // where the moments that are not known begin
    this.first = Infinity; // where those that are known do
    this.play = h('button', { type: 'button', 'aria-label': 'play', onclick: () => this.toggle() }, '▶');
    this.range = h('input', { type: 'range', min: 0, max: Math.max(0, rows().length - 1), value: start, 'aria-label': 'position', oninput: () => this.to(Number(this.range.value)) });
    this.place = h('span', { class: 'soft place' });
    this.counts = h('div', { class: 'player-counts' });
    this.windows = h('div', { class: 'standings', role: 'status', 'aria-live': 'off' });
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

  /** load asks how the rules stood at a row, unless that is known; at the end of what is known, for more. */
  async load(item) {
    if (!item || this.loading) return;
    const last = this.lastOf(item);
    const known = this.first <= item.seq && last < this.next;
    const soon = this.rows()[this.at + 20];
    if (known && (this.ended || !soon || soon.seq < this.next)) return;
    let from = known ? this.next : item.seq;
    if (!known && this.first <= item.seq && item.seq <= this.next + 2 * part) from = this.next; // it goes on
    if (from !== this.next) {
      this.moments.clear();
      this.first = from;
      this.ended = false;
    }
    this.loading = true;
    try {
      const got = await get('play', { session: this.session, from, limit: part });
      for (const m of got.moments) this.moments.set(m.seq, m);
      this.ended = !got.next;
      this.next = got.next || Math.max(last + 1, (got.moments.at(-1)?.seq ?? from) + 1);
      this.failed = '';
    } catch (err) {
      this.failed = err.message;
    } finally {
      this.loading = false;
    }
    this.draw();
  }

  /** lastOf is the number of the event with which the row was decided. */
  lastOf(item) { return item.kind === 'call' ? item.verdict?.seq ?? item.seq : item.seq; }

  /** standings are those of the rules that a row concerns, as it found them, and after it of all others. */
  standings(item) {
    const [before, after] = [this.moments.get(item.seq), this.moments.get(this.lastOf(item))];
    if (!before) return null;
    const then = new Map((after?.standings ?? []).map((s) => [s.rule, s]));
    const own = (before.standings ?? []).map((s) => {
      const now = then.get(s.rule);
      return { ...s, near: s.near || (!s.fires && now?.near), order: now?.order ?? s.order };
    });
    return { own: own.sort((a, b) => weight(a) - weight(b)), earlier: after?.earlier ?? before.earlier ?? [] };
  }

  draw() {
    const rows = this.rows();
    const item = rows[this.at];
    const counts = { calls: 0, allow: 0, log: 0, hold: 0, deny: 0 };
    for (const one of rows.slice(0, this.at + 1)) {
      if (one.kind !== 'call') continue;
      counts.calls++;
      if (final(one)) counts[action(one)]++;
    }
    show(this.place, `${this.at + 1} of ${rows.length}`);
    show(this.counts, h('span', null, `${counts.calls} calls`), ['allow', 'log', 'hold', 'deny'].filter((a) => counts[a]).map((a) => h('span', { class: `count ${a}` }, `${counts[a]} ${{ allow: 'allowed', log: 'noted', hold: 'held', deny: 'denied' }[a]}`)));
    const known = item && this.standings(item);
    const seen = new Set();
    const list = (all) => all.filter((s) => !seen.has(s.rule) && seen.add(s.rule)).map((s) => standing(s, this.go));
    show(this.windows,
      this.failed ? h('p', { class: 'faint text' }, `How the rules stood is not known: ${this.failed}`)
        : !known ? h('p', { class: 'faint' }, 'Looking at how the rules stood …')
          : [list(known.own), !known.own.length && h('p', { class: 'faint' }, item.kind === 'call' ? 'No rule is about this call.' : 'No rule is about this.'),
            known.earlier.length > 0 && [h('h3', { class: 'faint' }, 'Remembered of what was before'), list(known.earlier)]]);
    if (!this.failed) this.load(item);
  }
}
