// Nodes. Whatever is shown is text: there is no way through here to make markup of it.

// What is invisible, or turns text around, is spelled out, so that nothing can play tricks on the reader.
const tricks = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb\u{e0000}-\u{e0fff}]/gu;

/** plain returns s with what nobody would see spelled as \u200b. */
export const plain = (s) => String(s).replace(tricks, (c) => {
  const code = c.codePointAt(0).toString(16);
  return code.length > 4 ? `\\u{${code}}` : `\\u${code.padStart(4, '0')}`;
});

function fill(node, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else if (name === 'href' && !/^#\/|^\/[a-z]/.test(value)) throw new Error('a link leads elsewhere');
    else node.setAttribute(name, value === true ? '' : plain(value));
  }
  node.append(...children.flat(Infinity).filter((c) => c !== null && c !== undefined && c !== false && c !== '')
    .map((c) => (c instanceof Node ? c : document.createTextNode(plain(c)))));
  return node;
}

/** h makes an element: h('a', {href: '#/x', onclick: f}, 'text', child). */
export const h = (tag, props, ...children) => fill(document.createElement(tag), props, children);

/** s makes an element of SVG. */
export const s = (tag, props, ...children) => fill(document.createElementNS('http://www.w3.org/2000/svg', tag), props, children);

/** show puts children in place of what a node has. */
export const show = (node, ...children) => {
  node.replaceChildren();
  return fill(node, null, children);
};

/** toast says something for a while. */
export function toast(text) {
  let all = document.querySelector('.toasts');
  if (!all) document.body.append(all = h('div', { class: 'toasts', role: 'status', 'aria-live': 'polite' }));
  const one = h('div', { class: 'toast' }, text);
  all.append(one);
  setTimeout(() => one.remove(), 7000);
}

/** empty says honestly that there is nothing. */
export const empty = (title, ...lines) => h('div', { class: 'empty' }, h('h2', null, title), lines.map((l) => (l instanceof Node ? l : h('p', null, l))));

/** segments is a choice of one: pairs of value and label. */
export function segments(label, pairs, value, choose) {
  const buttons = pairs.map(([v, text]) => h('button', {
    type: 'button', 'aria-pressed': String(v === value),
    onclick: () => {
      buttons.forEach((b, i) => b.setAttribute('aria-pressed', String(pairs[i][0] === v)));
      choose(v);
    },
  }, text));
  return h('div', { class: 'segments', role: 'group', 'aria-label': label }, buttons);
}

/** rowKeys lets j and k walk the rows of tables below a node; Enter opens one. */
export function rowKeys(root) {
  const move = (by) => {
    const rows = [...root.querySelectorAll('tr[tabindex]')].filter((r) => r.offsetParent);
    const at = rows.indexOf(document.activeElement);
    rows[at < 0 ? 0 : Math.max(0, Math.min(rows.length - 1, at + by))]?.focus();
  };
  return { j: () => move(1), k: () => move(-1), Enter: () => document.activeElement?.matches('tr[tabindex]') && document.activeElement.click() };
}
