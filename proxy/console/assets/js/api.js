// The API of the daemon: the same that the commands use. A request needs the cookie, which no script sees, and a key.

const KEY = 'umpire-key';

/** Refused is an answer that is no success; status 0 is that there was none. */
export class Refused extends Error {
  constructor(status, text) {
    super(text.trim() || `the daemon answered ${status}`);
    this.status = status;
  }
}

/** Exact is a number that JavaScript cannot hold, or not as it is written: it is shown as it is written. */
export class Exact extends Number {
  constructor(source) {
    super(source);
    this.source = source;
  }
}

const exactly = (_, value, context) =>
  (typeof value === 'number' && context?.source !== undefined && String(value) !== context.source ? new Exact(context.source) : value);

export const parse = (text) => JSON.parse(text, exactly);

async function ask(path, init) {
  let response;
  try {
    response = await fetch(path, { credentials: 'same-origin', cache: 'no-store', redirect: 'error', ...init,
      headers: { ...init?.headers, 'Umpire-Key': localStorage.getItem(KEY) ?? '' } });
  } catch {
    throw new Refused(0, 'the daemon does not answer');
  }
  const text = await response.text();
  if (!response.ok) throw new Refused(response.status, text);
  return { value: text ? parse(text) : null, total: Number(response.headers.get('Umpire-Total')) };
}

const query = (params) => {
  const pairs = Object.entries(params ?? {}).filter(([, v]) => v !== undefined && v !== null && v !== '');
  return pairs.length ? `?${new URLSearchParams(pairs)}` : '';
};

/** get asks for /v1/path, until signal says that nobody wants to know any more. */
export const get = async (path, params, signal) => (await ask(`/v1/${path}${query(params)}`, { signal })).value;

/** list asks for a part of a list, and for how many there are. */
export const list = async (path, params) => {
  const { value, total } = await ask(`/v1/${path}${query(params)}`);
  return { items: value ?? [], total };
};

const post = (path, body) => ask(path, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) });

/** decide approves or denies a held call, and returns the verdict. Remember, of an approval, says for which calls and how long it is good. */
export const decide = async (call, approve, note, remember) => (await post(`/v1/held/${call}`, { approve, note: note || undefined, remember })).value;

/** propose returns what such an approval would remember, and decides nothing. */
export const propose = async (call, note, remember) => (await post(`/v1/held/${call}/proposal`, { approve: true, note: note || undefined, remember })).value;

/** revoke ends an exception. */
export const revoke = async (exception) => (await post(`/v1/exceptions/${exception}/revoked`, {})).value;

/** accept accepts a tool as it is described by the definition of the given pin. */
export const accept = async (server, name, pin) => (await post('/v1/tools/accepted', [{ server, tools: [{ name, pin }] }])).value;

/** enter uses the token of a link, if the address has one. It is taken out of the address in any case. */
export async function enter() {
  const m = /^#token=([\w-]+)$/.exec(location.hash);
  if (!m) return;
  history.replaceState(null, '', '/#/');
  localStorage.setItem(KEY, (await post('/enter', { token: m[1] })).value.key);
}

/** leave lets this browser in no more. */
export async function leave() {
  await post('/leave', {}).catch(() => {});
  localStorage.removeItem(KEY);
}

/** live calls news({last, held}) whenever there is more, and state(connected) when that changes. It connects again by itself. */
export function live(news, state) {
  let wait = 500;
  let silence;
  const connect = () => {
    const socket = new WebSocket(`ws://${location.host}/live`, ['umpire.console.v1', `key.${localStorage.getItem(KEY)}`]);
    const alive = () => {
      clearTimeout(silence);
      silence = setTimeout(() => socket.close(), 45_000);
    };
    socket.onmessage = (e) => {
      wait = 500;
      alive();
      state(true);
      news(JSON.parse(e.data));
    };
    socket.onclose = () => {
      clearTimeout(silence);
      state(false);
      setTimeout(connect, wait);
      wait = Math.min(wait * 2, 10_000);
    };
    alive();
  };
  connect();
}
