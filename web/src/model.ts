// What the page remembers: conversations, their settings, and where each token of an answer went.

/** One token of an answer. `experts` and `shares` have k values a layer, layer after layer. */
export interface Token {
  text: string
  experts?: Uint8Array
  /** Weights of the experts, 255 for 1. */
  shares?: Uint8Array
}

export interface Stats {
  promptTokens: number
  cachedTokens: number
  tokens: number
  firstToken: number | null // seconds
  tokensPerSecond: number | null
  weightBytes: number | null // read a token
}

/** Why an answer is not whole. */
export type Fault =
  | { kind: 'gone'; message: string }
  | { kind: 'busy'; message: string; retryAfter: number }
  | { kind: 'full'; message: string }
  | { kind: 'key'; message: string }
  | { kind: 'other'; message: string }

export interface Message {
  id: string
  role: 'user' | 'assistant'
  content: string
  tokens?: Token[]
  perLayer?: number // experts a token in each layer
  stats?: Stats
  end?: 'stop' | 'length' | 'stopped'
  fault?: Fault
}

export interface Settings {
  system: string
  adapter: string // empty: the model as it is
  temperature: number
  topP: number
  minP: number
  repeatPenalty: number
  maxTokens: number | null // null: as many as the context holds
  seed: number | null // null: another one each time
}

export interface Conversation {
  id: string
  title: string
  named: boolean // by hand
  created: number
  updated: number
  settings: Settings
  messages: Message[]
}

export const defaults: Settings = {
  system: '',
  adapter: '',
  temperature: 0.8,
  topP: 0.95,
  minP: 0.05,
  repeatPenalty: 1,
  maxTokens: null,
  seed: null,
}

export const newId = () =>
  Date.now().toString(36) + Math.floor(Math.random() * 36 ** 6).toString(36).padStart(6, '0')

export function newConversation(settings: Settings): Conversation {
  const now = Date.now()
  return { id: newId(), title: '', named: false, created: now, updated: now, settings: { ...settings }, messages: [] }
}

export function titleOf(conversation: Conversation): string {
  if (conversation.named && conversation.title) return conversation.title
  const first = conversation.messages.find((m) => m.role === 'user')?.content.trim().replace(/\s+/g, ' ') ?? ''
  if (!first) return 'New conversation'
  return first.length > 60 ? first.slice(0, 58).trimEnd() + '…' : first
}

export function asMarkdown(conversation: Conversation): string {
  const parts = [`# ${titleOf(conversation)}`]
  if (conversation.settings.system) parts.push(`> ${conversation.settings.system.replaceAll('\n', '\n> ')}`)
  for (const m of conversation.messages) parts.push(`## ${m.role === 'user' ? 'You' : 'Octet'}`, m.content.trim())
  return parts.join('\n\n') + '\n'
}
