// A list of any length, of which only what is in sight has nodes.
import { h } from './dom.js';

const spare = 8; // rows above and below

/** List shows items of equal height. render(item, index) returns the row; open(item, index) is what Enter does. */
export class List {
  constructor({ label, height, render, select, open, paint, begin, end }) {
    Object.assign(this, { height, render, onselect: select, onopen: open, paint, begin, end, items: [], at: -1, rows: new Map() });
    this.inner = h('div', { class: 'list-inner' });
    this.node = h('div', { class: 'list', tabindex: '0', role: 'listbox', 'aria-label': label }, this.inner);
    this.node.addEventListener('scroll', () => this.draw(), { passive: true });
    this.node.addEventListener('keydown', (e) => this.key(e));
    this.sight = new ResizeObserver(() => this.draw());
    this.sight.observe(this.node);
  }

  close() {
    this.sight.disconnect();
  }

  /** set shows other items; what is selected stays, if same(item) finds it. */
  set(items, keep) {
    const before = this.items[this.at];
    this.items = items;
    this.at = before && keep ? items.findIndex((i) => keep(i) === keep(before)) : Math.min(this.at, items.length - 1);
    this.inner.style.height = `${items.length * this.height}px`;
    this.refresh();
  }

  /** refresh draws every row anew. */
  refresh() {
    this.rows.forEach((row) => row.remove());
    this.rows.clear();
    this.draw();
  }

  /** range is what is in sight, and some more: [first, behind the last]. */
  range() {
    const first = Math.max(0, Math.floor(this.node.scrollTop / this.height) - spare);
    return [first, Math.min(this.items.length, Math.ceil((this.node.scrollTop + this.node.clientHeight) / this.height) + spare)];
  }

  draw() {
    const [first, last] = this.range();
    for (const [i, row] of this.rows) {
      if (i < first || i >= last) {
        row.remove();
        this.rows.delete(i);
      }
    }
    for (let i = first; i < last; i++) {
      if (this.rows.has(i)) continue;
      const row = this.render(this.items[i], i);
      row.classList.add('row');
      row.setAttribute('role', 'option');
      row.id = `row-${i}`;
      row.setAttribute('aria-selected', String(i === this.at));
      row.style.transform = `translateY(${i * this.height}px)`;
      row.style.height = `${this.height}px`;
      row.addEventListener('click', () => this.select(i, true));
      this.rows.set(i, row);
      this.inner.append(row);
    }
    this.paint?.(first, last);
    if (last >= this.items.length) this.end?.();
    if (this.items.length && first === 0) this.begin?.();
  }

  /** select marks a row and brings it into sight. */
  select(i, opened = false) {
    if (i < 0 || i >= this.items.length) return;
    this.rows.get(this.at)?.setAttribute('aria-selected', 'false');
    this.at = i;
    this.show(i);
    this.rows.get(i)?.setAttribute('aria-selected', 'true');
    this.node.setAttribute('aria-activedescendant', `row-${i}`);
    this.onselect?.(this.items[i], i, opened);
    if (opened) this.onopen?.(this.items[i], i);
    this.draw();
  }

  show(i, middle = false) {
    const top = i * this.height;
    const { scrollTop, clientHeight } = this.node;
    if (middle) this.node.scrollTop = top - clientHeight / 2 + this.height / 2;
    else if (top < scrollTop) this.node.scrollTop = top;
    else if (top + this.height > scrollTop + clientHeight) this.node.scrollTop = top + this.height - clientHeight;
    this.draw();
  }

  /** move selects the row so many further. */
  move(by) {
    this.select(Math.max(0, Math.min(this.items.length - 1, this.at < 0 ? 0 : this.at + by)));
  }

  openSelected() {
    if (this.items[this.at]) this.onopen?.(this.items[this.at], this.at);
  }

  key(e) {
    const page = Math.max(1, Math.floor(this.node.clientHeight / this.height) - 1);
    const by = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity }[e.key];
    if (by !== undefined) this.move(by);
    else if (e.key === 'Enter') this.openSelected();
    else return;
    e.preventDefault();
    e.stopPropagation();
  }
}
