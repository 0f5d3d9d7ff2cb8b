// The shell: who may come in, which page is shown, keys, and news.
import { h, s, show, toast, empty } from './dom.js';
import * as api from './api.js';
import { overview } from './overview.js';
import { desk } from './desk.js';
import { sessions } from './sessions.js';
import { session } from './session.js';
import { policy } from './policy.js';
import { tools } from './tools.js';
import { agents } from './agents.js';
import { agent } from './agent.js';

// Each page is a function (root, route, app) that returns what it does on keys, on news, and when it closes.
const pages = {
  overview: { title: 'Overview', open: overview, key: 'o', icon: 'M3 13h4v7H3zM10 4h4v16h-4zM17 9h4v11h-4z' },
  desk: { title: 'Review', open: desk, key: 'r', icon: 'M5 4h14v16H5zM9 9h6M9 13h6M9 17h3' },
  sessions: { title: 'Sessions', open: sessions, key: 's', icon: 'M4 6h16M4 12h16M4 18h10' },
  policy: { title: 'Policy', open: policy, key: 'p', icon: 'M12 3l7 3v6c0 4.5-3 7.5-7 9-4-1.5-7-4.5-7-9V6z' },
  tools: { title: 'Tools', open: tools, key: 't', icon: 'M14 6a4 4 0 0 0-5 5l-6 6 3 3 6-6a4 4 0 0 0 5-5l-2.5 2.5-3-3z' },
  agents: { title: 'Agents', open: agents, key: 'a', icon: 'M12 12a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM4 21c0-4 3.5-6 8-6s8 2 8 6' },
  session: { title: 'Session', open: session, under: 'sessions' },
  agent: { title: 'Agent', open: agent, under: 'agents' },
};

const app = { news: { last: 0, held: 0 }, toast };
const root = h('main', { id: 'main' });
let current = {};

/** read takes an address apart: #/session/s2/41?q=x. */
function read() {
  const [path, search] = location.hash.replace(/^#\/?/, '').split('?');
  const [name, ...rest] = path.split('/').map((part) => {
    try { return decodeURIComponent(part); } catch { return part; }
  });
  return { name: pages[name] ? name : 'overview', rest, query: new URLSearchParams(search) };
}

async function go() {
  const route = read();
  if (current.name === route.name && current.route?.(route)) return; // the page goes there itself
  current.close?.();
  const page = pages[route.name];
  document.title = `${page.title} · Umpire`;
  for (const [name, a] of links) {
    if (name === (page.under ?? route.name)) a.setAttribute('aria-current', 'page');
    else a.removeAttribute('aria-current');
  }
  const here = h('div', { class: 'page' });
  show(root, here);
  const mine = current = { name: route.name };
  try {
    const opened = await page.open(here, route, app);
    if (current === mine) Object.assign(mine, opened);
    else opened?.close?.(); // somebody has gone on meanwhile
  } catch (err) {
    if (current === mine) trouble(here, err);
  }
}

function trouble(here, err) {
  if (err.status === 401) return door();
  if (!(err instanceof api.Refused)) console.error(err);
  show(here, h('div', { class: 'scroll' }, empty('This page cannot be shown', err.message, h('button', { type: 'button', onclick: go }, 'Try again'))));
}

app.trouble = (err) => {
  if (err.status === 401) door();
  else toast(err.message);
};

// The frame around the pages.

const badge = h('span', { class: 'badge', hidden: true });
const connected = h('div', { class: 'state', role: 'status' }, 'connecting');
const links = new Map(Object.entries(pages).filter(([, p]) => !p.under).map(([name, p]) => [name, h('a', { class: 'to', href: `#/${name}` },
  s('svg', { viewBox: '0 0 24 24', 'aria-hidden': 'true' }, s('path', { d: p.icon })), p.title, name === 'desk' && badge)]));

const themes = ['auto', 'light', 'dark'];
const dark = matchMedia('(prefers-color-scheme: dark)');
app.themeButton = () => h('button', { class: 'quiet theme', type: 'button', onclick: () => theme(themes[(themes.indexOf(chosen()) + 1) % 3]) }, `Theme: ${chosen()}`);
const chosen = () => (themes.includes(localStorage.getItem('theme')) ? localStorage.getItem('theme') : 'auto');

function theme(name) {
  localStorage.setItem('theme', name);
  const isDark = name === 'dark' || (name === 'auto' && dark.matches);
  document.documentElement.dataset.theme = isDark ? 'dark' : 'light';
  for (const button of document.querySelectorAll('.theme')) show(button, `Theme: ${name}`);
}

function frame() {
  show(document.body,
    h('nav', { class: 'side', 'aria-label': 'pages' },
      h('a', { class: 'brand', href: '#/overview' }, h('img', { src: '/icon.svg', alt: '' }), 'Umpire'),
      [...links.values()],
      h('div', { class: 'foot' }, connected,
        h('div', null, app.themeButton(), h('button', { class: 'quiet', type: 'button', onclick: help }, h('kbd', null, '?'), 'Keys')))),
    root);
}

// Keys. A page gets them first; while somebody writes, only Escape is one.

let leading = false;
addEventListener('keydown', (e) => {
  if (e.ctrlKey || e.metaKey || e.altKey || document.querySelector('dialog[open]')) return;
  const writing = e.target.matches?.('input:not([type="range"]), textarea, select');
  if (e.key === 'Escape' && writing) return e.target.blur();
  if (writing) return;
  if (leading) {
    leading = false;
    const to = Object.entries(pages).find(([, p]) => p.key === e.key);
    if (to) {
      e.preventDefault();
      location.hash = `#/${to[0]}`;
    }
    return;
  }
  const own = current.keys?.[e.key];
  if (own && !(e.key === 'Enter' && e.target.matches?.('a, button'))) {
    e.preventDefault();
    own(e);
  } else if (e.key === 'g') {
    leading = true;
    setTimeout(() => { leading = false; }, 1500);
  } else if (e.key === '?') help();
  else if (e.key === '/') {
    const search = root.querySelector('input[type="search"]');
    if (search) {
      e.preventDefault();
      search.focus();
      search.select();
    }
  }
});

function help() {
  const keys = [['j  k', 'next, previous'], ['Enter', 'open'], ['Esc', 'close, leave a field'], ['/', 'search'],
    ['a  d', 'approve, deny: with a note, and Enter'], ['r', 'approve and remember'], ['Space  ← →', 'in a replay: play, one step'],
    ...Object.values(pages).filter((p) => p.key).map((p) => [`g ${p.key}`, p.title]), ['?', 'these keys']];
  const dialog = h('dialog', { 'aria-label': 'keys', onclose: () => dialog.remove() }, h('h1', null, 'Keys'),
    h('div', { class: 'keys' }, keys.map(([k, what]) => [h('span', null, k.split(/ +/).map((one) => [h('kbd', null, one), ' '])), h('span', null, what)])));
  document.body.append(dialog);
  dialog.addEventListener('click', (e) => e.target === dialog && dialog.close());
  dialog.showModal();
}

/** door is what somebody sees who is not let in. */
function door(why) {
  current.close?.();
  current = {};
  show(document.body, h('div', { class: 'door' }, h('img', { src: '/icon.svg', alt: '' }), h('h1', null, 'Umpire'),
    h('p', null, why ?? 'This browser is not let in. A link of this command lets it in, once:'), h('code', null, 'umpire console')));
}

async function start() {
  theme(chosen());
  dark.addEventListener('change', () => theme(chosen()));
  let why; // the link does not work, which is no matter to who is in already
  try {
    await api.enter().catch((err) => { why = err; });
    await api.get('status');
  } catch (err) {
    return door(why?.message.replace(/^t/, 'T').replace(/: umpire console.*/, '. Another one comes from:') ?? (err.status === 401 ? undefined : err.message));
  }
  frame();
  addEventListener('hashchange', () => (location.hash.startsWith('#token=') ? location.reload() : go()));
  await go();
  api.live((news) => {
    app.news = news;
    badge.hidden = news.held === 0;
    show(badge, String(news.held));
    current.news?.(news);
  }, async (on) => {
    connected.dataset.state = on ? 'on' : 'off';
    show(connected, on ? 'live' : 'not connected');
    if (!on) await api.get('status').catch((err) => err.status === 401 && door());
  });
}

start();
