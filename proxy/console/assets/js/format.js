// How things are written.
import { h } from './dom.js';
import { Exact } from './api.js';

const time = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit', hour12: false });
const day = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short' });
const whole = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'long', hour12: false });
const count = new Intl.NumberFormat();

export const number = (n) => count.format(n ?? 0);
export const clock = (at) => time.format(new Date(at));
export const exactTime = (at) => whole.format(new Date(at));

/** when is the time of day, with the day if it is another one. */
export function when(at) {
  const d = new Date(at);
  return d.toDateString() === new Date().toDateString() ? clock(d) : `${day.format(d)}, ${clock(d).slice(0, 5)}`;
}

/** moment is a time that tells all of itself to whoever points at it. */
export const moment = (at) => h('time', { datetime: at, title: exactTime(at) }, when(at));

/** took is a duration, from milliseconds. */
export function took(ms) {
  if (!(ms > 0)) return ms === 0 ? '< 0.1 ms' : '';
  if (ms < .1) return '< 0.1 ms';
  if (ms < 1000) return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(ms < 10_000 ? 1 : 0)} s`;
  const minutes = Math.floor(ms / 60_000);
  return minutes < 60 ? `${minutes} min ${Math.round(ms / 1000) % 60} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** words are what an action has done to a call. */
export const words = { allow: 'allowed', log: 'noted', hold: 'held', deny: 'denied' };
export const chip = (action, text) => h('span', { class: `chip ${action}` }, text ?? words[action] ?? action);

/** short is JSON on one line, cut. */
export function short(value, most = 300) {
  const text = write(value);
  return text.length > most ? `${text.slice(0, most)}…` : text;
}

function write(v) {
  if (v instanceof Exact) return v.source;
  if (Array.isArray(v)) return `[${v.map(write).join(', ')}]`;
  if (v && typeof v === 'object') return `{${Object.entries(v).map(([k, x]) => `${JSON.stringify(k)}: ${write(x)}`).join(', ')}}`;
  return JSON.stringify(v) ?? '';
}

// What has spaces or signs is quoted: a value must not look like another argument.
const bare = (text) => (/^[\w@./+-]+$/.test(text) ? text : JSON.stringify(text));

/** args are arguments on one line, as a person would say them. */
export function args(value) {
  if (!value || typeof value !== 'object' || Array.isArray(value)) return short(value);
  return Object.entries(value).map(([k, v]) => `${bare(k)}: ${typeof v === 'string' ? bare(v.slice(0, 160)) : short(v, 160)}`).join('   ').slice(0, 400);
}

/** json is a value over several lines, in colour. What is very long is cut, and says so. */
export function json(value, most = 60_000) {
  const out = [];
  let size = 0;
  const put = (kind, text) => {
    if (size > most) return;
    size += text.length;
    out.push(kind ? h('span', { class: `j-${kind}` }, text) : text);
    if (size > most) out.push(h('span', { class: 'faint' }, '\n… and more: umpire show prints all of it'));
  };
  const walk = (v, indent) => {
    if (size > most) return;
    if (v instanceof Exact) put('number', v.source);
    else if (typeof v === 'string') put('string', JSON.stringify(v));
    else if (v === null || typeof v !== 'object') put('number', String(v));
    else {
      const pairs = Array.isArray(v) ? v.map((x) => [null, x]) : Object.entries(v);
      const [open, close] = Array.isArray(v) ? '[]' : '{}';
      put('', open);
      pairs.forEach(([k, x], i) => {
        put('', `${i ? ',' : ''}\n${indent}  `);
        if (k !== null) {
          put('key', JSON.stringify(k));
          put('', ': ');
        }
        walk(x, `${indent}  `);
      });
      put('', pairs.length ? `\n${indent}${close}` : close);
    }
  };
  walk(value, '');
  return h('pre', { class: 'code text' }, out);
}

/** colour is the class of a line of a unified diff; the first two lines name both sides. */
export const colour = (line, i) => (i < 2 ? 'faint' : { '+': 'plus', '-': 'minus', '@': 'faint' }[line[0]] ?? '');
