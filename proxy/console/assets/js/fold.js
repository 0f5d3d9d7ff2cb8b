// Events are what was recorded; items are what a reader sees: a call with its verdicts, its review and its result is one.

const bodies = ['opened', 'loaded', 'catalog', 'accepted', 'exception', 'revoked', 'call', 'verdict', 'review', 'expired', 'result', 'signal', 'turn', 'closed'];

/** kind returns what an event is. */
export const kind = (e) => bodies.find((k) => e[k]) ?? 'event';

/** fold makes items of events, which are in order. */
export class Fold {
  constructor() {
    this.items = [];
    this.calls = new Map(); // by number
    this.places = new Map(); // of whatever has a row, by number: index
    this.last = 0;
    this.first = 0;
  }

  add(events) {
    for (const e of events) {
      this.first ||= e.seq;
      this.last = Math.max(this.last, e.seq);
      const call = this.calls.get(e.cause);
      switch (kind(e)) {
        case 'call':
          this.calls.set(e.seq, this.put({ kind: 'call', event: e, call: e.call, causes: [] }));
          break;
        case 'verdict':
          if (!call) this.put({ kind: 'note', event: e, text: `a verdict on #${e.cause}, which is not shown: ${e.verdict.action}` });
          else if (e.verdict.after) call.settled = e;
          else call.verdict = e;
          this.link(call, e.verdict.evidence);
          break;
        case 'review':
        case 'expired':
          if (call) call.end = e;
          else this.put({ kind: 'note', event: e, text: `the hold of #${e.cause} ends` });
          break;
        case 'result':
          if (call) call.result = e;
          else this.put({ kind: 'note', event: e, text: `an answer to #${e.cause || '?'} ${e.result.server}/${e.result.tool}: ${e.result.outcome}` });
          break;
        case 'turn':
          this.put({ kind: 'turn', event: e, turn: e.turn, causes: [] });
          break;
        case 'signal':
          this.put({ kind: 'signal', event: e, text: `${e.signal.name}: ${e.signal.text}` });
          break;
        default:
          this.put({ kind: 'note', event: e, text: note(e) });
      }
    }
    return this;
  }

  put(item) {
    item.seq = item.event.seq;
    item.at = item.event.at;
    this.places.set(item.seq, this.items.length);
    this.items.push(item);
    return item;
  }

  /** link notes of earlier rows what came of them. */
  link(call, evidence) {
    for (const seq of call ? evidence ?? [] : []) {
      const earlier = this.items[this.places.get(seq)];
      if (earlier?.causes && earlier !== call) earlier.causes.push(call.seq);
    }
  }
}

function note(e) {
  switch (kind(e)) {
    case 'opened': return `${e.opened.agent || 'a client'} opens ${e.opened.server} over ${e.opened.transport}`;
    case 'closed': return `${e.closed.server} is closed: ${e.closed.reason}`;
    case 'catalog': return `${e.catalog.server} lists ${(e.catalog.tools ?? []).map((t) => t.name).join(', ')}`;
    case 'accepted': return `${e.accepted.who} accepts tools of ${e.accepted.server}`;
    case 'exception': return `${e.exception.who} lets calls like #${e.cause} pass until ${e.exception.expires}`;
    case 'revoked': return `${e.revoked.who} ends exception #${e.cause}`;
    case 'loaded': return `policy ${e.loaded.digest.slice(0, 12)} comes into force`;
    default: return 'an event of a kind that this console does not know';
  }
}

/** final is the verdict that counts; null while there is none. */
export const final = (item) => (item.settled ?? item.verdict)?.verdict ?? null;

/** action is what became of a call, in one word. */
export function action(item) {
  if (item.call?.seen) return 'seen';
  return final(item)?.action ?? '';
}

/** evidence is the numbers of the events that led to a call's verdicts, with what links them. */
export function evidence(item) {
  const out = new Map();
  if (item.call?.bound?.turn) out.set(item.call.bound.turn, 'said');
  for (const v of [item.verdict, item.settled]) for (const seq of v?.verdict.evidence ?? []) out.set(seq, 'cause');
  out.delete(item.seq);
  return out;
}

/** latency is how long the server took, in milliseconds; undefined if it has not answered. */
export function latency(item) {
  const from = item.settled ?? item.verdict;
  return item.result && from ? millis(item.result.at) - millis(from.at) : undefined;
}

// Times are recorded to the nanosecond, which a Date does not hold.
const millis = (at) => {
  const ms = Date.parse(at);
  return ms - (ms % 1000) + Number(`0${/\.\d+/.exec(at)?.[0] ?? ''}`) * 1000;
};

/** text is what a result says: its texts if it has some, else all of it. */
export function text(result) {
  if (result.text) return result.text;
  const texts = result.content?.content?.filter?.((c) => c?.type === 'text').map((c) => c.text) ?? [];
  return texts.join('\n');
}
