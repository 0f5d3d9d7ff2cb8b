// Tell Umpire what is said in a conversation: node examples/turns/turns.ts (24 or later runs TypeScript as it is), or with
// Deno or Bun. $UMPIRE is where umpire serve listens.

/** One piece of a conversation. An agent tells it before it acts on it. */
interface Turn {
  agent?: string // as the agent calls itself to MCP servers, in clientInfo
  conversation?: string // and as _meta.sessionId of its calls, so that both are one session
  turn?: string // a turn that is told again under the same id is recorded once
  role: 'user' | 'assistant' | 'system' | 'tool'
  trust?: 'trusted' | 'untrusted' // untrusted if somebody else can have written it
  text?: string
  calls?: string[] // ids of the tool calls that it makes or answers
}

const umpire = process.env.UMPIRE ?? 'http://127.0.0.1:7777'

async function say(turn: Turn): Promise<number> {
  const response = await fetch(`${umpire}/v1/turns`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(turn),
  })
  const answer = (await response.json()) as { seq?: number; error?: string }
  if (answer.error) throw new Error(`umpire: ${answer.error}`)
  return answer.seq ?? 0
}

const turns: Turn[] = [
  { turn: '1', role: 'user', text: 'Please pay the rent.' },
  { turn: '2', role: 'assistant', text: 'I look it up.', calls: ['call_1'] },
  { turn: '3', role: 'tool', text: 'Rent: 980.00, to DE02…', calls: ['call_1'] },
]
for (const turn of turns) {
  console.log('turn', turn.turn, 'is event', await say({ agent: 'rent-bot', conversation: '42', ...turn }))
}
