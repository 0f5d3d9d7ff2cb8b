// interrupted.mjs claude|codex PROGRAM [ARG...]: the client with a person at it, who says something, interrupts whenever
// there is a file ../interrupt, and says something again, until the client has come to an end by itself. It takes the
// arguments that client.sh starts the client with, and prints at the end what client.sh reads.
import { spawn } from 'node:child_process'
import fs from 'node:fs'
import readline from 'node:readline'

const [who, program, ...args] = process.argv.slice(2)

// Both clients speak JSON lines. start opens the conversation, turn says something and comes back when the client has
// ended its turn, interrupt is what the Esc key does.
const forms = {
  claude: {
    args: [...args.filter((arg, i) => arg !== '-p' && args[i - 1] !== '-p'), '-p', '--input-format=stream-json', '--output-format=stream-json'],
    start: async () => {},
    turn: text => {
      say({ type: 'user', message: { role: 'user', content: text } })
      return heard(m => m.type === 'result')
    },
    interrupt: () => say({ type: 'control_request', request_id: 'esc', request: { subtype: 'interrupt' } }),
    print: all => console.log(JSON.stringify(all)),
  },
  codex: {
    args: ['app-server'],
    start: async () => {
      await ask('initialize', { clientInfo: { name: 'person', version: '1' } })
      say({ method: 'initialized' })
      thread = (await ask('thread/start', {})).thread.id
    },
    turn: async text => {
      const ended = heard(m => m.method === 'turn/completed')
      turn = (await ask('turn/start', { threadId: thread, input: [{ type: 'text', text }] })).turn.id
      return ended
    },
    interrupt: () => ask('turn/interrupt', { threadId: thread, turnId: turn }),
    print: all =>
      all
        .filter(m => m.method === 'item/completed' && m.params.item.type === 'agentMessage')
        .forEach(m => console.log(JSON.stringify({ item: { type: 'agent_message', text: m.params.item.text } }))),
  },
}
const form = forms[who]

const client = spawn(program, form.args, { stdio: ['pipe', 'pipe', 'inherit'] })
for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => client.kill(signal))
const exited = new Promise(done => client.on('exit', (code, signal) => done(code ?? signal)))
const all = []
const listeners = new Set()
readline.createInterface({ input: client.stdout }).on('line', line => {
  const message = JSON.parse(line)
  all.push(message)
  for (const listen of listeners) listen(message)
})
const say = message => client.stdin.write(JSON.stringify(message) + '\n')
const heard = test => new Promise(done => {
  const listen = message => test(message) && listeners.delete(listen) && done(message)
  listeners.add(listen)
})
let id = 0, thread, turn
async function ask(method, params) {
  const answer = heard(m => m.id === id && !m.method)
  say({ id: ++id, method, params })
  const { result, error } = await answer
  if (error) throw new Error(`${method}: ${JSON.stringify(error)}`)
  return result
}

await form.start()
for (let interrupted = true; interrupted; ) {
  interrupted = false
  const watch = setInterval(() => {
    if (!fs.existsSync('../interrupt')) return
    fs.rmSync('../interrupt')
    interrupted = true
    form.interrupt()
  }, 50)
  await form.turn('please call a tool')
  clearInterval(watch)
}
client.stdin.end()
const code = await exited
form.print(all)
process.exitCode = Number.isInteger(code) ? code : 1
