// The page's state, and what people can do with it.
import { batch, computed, signal } from '@preact/signals'
import * as api from './api'
import { type Conversation, defaults, type Message, newConversation, newId, type Settings, titleOf } from './model'
import { loadAll, recall, remember, remove, save } from './storage'

export const conversations = signal<Conversation[]>([])
export const currentId = signal<string>('')
export const current = computed(() => conversations.value.find((c) => c.id === currentId.value) ?? null)
export const model = signal<api.ModelInfo | null>(null)
export const serverFault = signal<string | null>(null) // why the model is not known
export const answering = signal<string | null>(null) // the conversation that gets an answer
export const announcement = signal('') // for screen readers
export const removed = signal<Conversation | null>(null) // can be taken back
export const apiKey = signal(recall('key') ?? '')
export const keyWanted = signal<string | null>(null) // the server's words

export const theme = signal<'system' | 'light' | 'dark'>((recall('theme') as any) ?? 'system')
export function setTheme(value: 'system' | 'light' | 'dark') {
  theme.value = value
  remember('theme', value === 'system' ? null : value)
  applyTheme()
}
export function applyTheme() {
  const root = document.documentElement
  theme.value === 'system' ? root.removeAttribute('data-theme') : root.setAttribute('data-theme', theme.value)
}

/** The name that answers a conversation: the model's, or the adapter's it asks for where the server has it. */
export const answersAs = (settings: Settings) =>
  model.value?.adapters.includes(settings.adapter) ? settings.adapter : (model.value?.id ?? '')

let controller: AbortController | null = null

function lastSettings(): Settings {
  try {
    return { ...defaults, ...JSON.parse(recall('settings') ?? '{}') }
  } catch {
    return { ...defaults }
  }
}

/** Puts a changed conversation in place of the old one. */
function put(conversation: Conversation, keep = true) {
  conversations.value = conversations.value.map((c) => (c.id === conversation.id ? conversation : c))
  if (keep && conversation.messages.length > 0) void save(conversation)
}

function change(id: string, how: (c: Conversation) => Conversation, keep = true) {
  const found = conversations.value.find((c) => c.id === id)
  if (found) put(how(found), keep)
}

export async function start() {
  applyTheme()
  const all = await loadAll()
  batch(() => {
    conversations.value = all
    const last = recall('current')
    if (last && all.some((c) => c.id === last)) currentId.value = last
    else openNew()
  })
  await connect()
}

export async function connect() {
  try {
    model.value = await api.firstModel(apiKey.value)
    serverFault.value = keyWanted.value = null
  } catch (error) {
    if (!(error instanceof api.ServerFault)) throw error
    if (error.fault.kind === 'key') keyWanted.value = error.message
    else serverFault.value = error.message
  }
}

export async function useKey(key: string, keep: boolean) {
  apiKey.value = key.trim()
  remember('key', keep ? apiKey.value : null)
  keyWanted.value = null
  await connect()
}

export function select(id: string) {
  currentId.value = id
  remember('current', id)
}

/** An empty conversation; the one that is empty already, if there is one. */
export function openNew() {
  const empty = conversations.value.find((c) => c.messages.length === 0)
  const fresh = empty ?? newConversation(lastSettings())
  if (!empty) conversations.value = [fresh, ...conversations.value]
  select(fresh.id)
}

export function rename(id: string, title: string) {
  change(id, (c) => ({ ...c, title: title.trim(), named: title.trim() !== '' }))
}

export function discard(id: string) {
  const gone = conversations.value.find((c) => c.id === id)
  if (!gone) return
  if (answering.value === id) stop()
  batch(() => {
    conversations.value = conversations.value.filter((c) => c.id !== id)
    removed.value = gone
    announcement.value = `“${titleOf(gone)}” was deleted`
    if (currentId.value === id) conversations.value.length ? select(conversations.value[0].id) : openNew()
  })
  void remove(id)
}

export function takeBack() {
  const back = removed.value
  if (!back) return
  removed.value = null
  conversations.value = [back, ...conversations.value].sort((a, b) => b.updated - a.updated)
  select(back.id)
  void save(back)
}

export function setSettings(settings: Settings) {
  change(currentId.value, (c) => ({ ...c, settings }))
  // The words for one conversation are not meant for the next.
  remember('settings', JSON.stringify({ ...settings, system: '' }))
}

export function stop() {
  controller?.abort()
}

export function send(text: string) {
  const conversation = current.value
  if (!conversation || !text.trim() || answering.value) return
  const message: Message = { id: newId(), role: 'user', content: text.trim() }
  void answer({ ...conversation, messages: [...conversation.messages, message] })
}

/** The message again with other words; what came after it goes. */
export function edit(id: string, text: string) {
  const conversation = current.value
  const at = conversation?.messages.findIndex((m) => m.id === id) ?? -1
  if (!conversation || at < 0 || !text.trim() || answering.value) return
  const message: Message = { ...conversation.messages[at], content: text.trim() }
  void answer({ ...conversation, messages: [...conversation.messages.slice(0, at), message] })
}

/** Another answer in place of this one. */
export function regenerate(id: string) {
  const conversation = current.value
  const at = conversation?.messages.findIndex((m) => m.id === id) ?? -1
  if (!conversation || at < 1 || answering.value) return
  void answer({ ...conversation, messages: conversation.messages.slice(0, at) })
}

/** Adds what a row says to the token it belongs to. */
function place(message: Message, rows: api.Row[], firstPosition: number) {
  for (const row of rows) {
    const token = message.tokens![row.position - firstPosition]
    if (!token || row.experts.length === 0) continue
    token.experts = Uint8Array.from(row.experts.flat())
    token.shares = Uint8Array.from(row.weights.flat(), (w) => Math.round(w * 255))
    message.perLayer = row.experts[0].length
  }
}

function finish(message: Message, extras: api.Extras) {
  message.stats = {
    promptTokens: extras.prompt_tokens ?? 0,
    cachedTokens: extras.cached_tokens ?? 0,
    tokens: extras.completion_tokens ?? 0,
    firstToken: extras.time_to_first_token ?? null,
    tokensPerSecond: extras.tokens_per_second ?? null,
    weightBytes: extras.weight_bytes_per_token ?? null,
  }
}

/** Seconds within which tokens count as having come together. */
const SAME_PIECE = 0.005

async function answer(conversation: Conversation) {
  const id = conversation.id
  const reply: Message = { id: newId(), role: 'assistant', content: '', tokens: [] }
  const sent = conversation.messages
  controller = new AbortController()
  answering.value = id
  announcement.value = 'Octet is answering'
  put({ ...conversation, updated: Date.now(), messages: [...sent, { ...reply }] })

  // Tokens may come by the thousand a second; the page is drawn once a frame.
  let drawn = 0
  const show = (keep = false) =>
    change(id, (c) => ({ ...c, messages: [...sent, { ...reply, tokens: reply.tokens!.slice() }] }), keep)
  const draw = () => {
    drawn ||= requestAnimationFrame(() => {
      drawn = 0
      show()
    })
  }
  const started = performance.now()
  let firstAt = 0
  let atFirst = 0 // tokens of the first piece: made before it came
  let firstPosition = -1
  try {
    const stream = api.chat(answersAs(conversation.settings), sent, conversation.settings, {
      key: apiKey.value,
      trace: true,
      signal: controller.signal,
    })
    for await (const { text, finish: why, extras } of stream) {
      reply.content += text
      if (extras?.routing) {
        firstAt ||= performance.now()
        reply.tokens!.push({ text })
        if (firstPosition < 0) firstPosition = (extras.routing.at(-1)?.position ?? -1) + 1
        place(reply, extras.routing, firstPosition)
        const seconds = (performance.now() - firstAt) / 1000
        const tokens = reply.tokens!.length
        if (seconds < SAME_PIECE) atFirst = tokens
        reply.stats = {
          promptTokens: firstPosition,
          cachedTokens: 0,
          tokens,
          firstToken: (firstAt - started) / 1000,
          tokensPerSecond: seconds > 0.1 ? (tokens - atFirst) / seconds : null,
          weightBytes: null,
        }
      }
      if (why) {
        reply.end = why === 'length' ? 'length' : 'stop'
        if (extras) finish(reply, extras)
      }
      draw()
    }
    announcement.value = `Octet answered: ${reply.content.slice(0, 600)}`
  } catch (error) {
    if (error instanceof api.ServerFault) {
      reply.fault = error.fault
      announcement.value = error.message
      if (error.fault.kind === 'key') keyWanted.value = error.message
    } else {
      reply.end = 'stopped'
      announcement.value = 'The answer was stopped'
    }
  } finally {
    cancelAnimationFrame(drawn)
    controller = null
    answering.value = null
    show(true)
  }
}
