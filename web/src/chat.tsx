// The conversation: its messages, and where the next one is written.
import { memo } from 'preact/compat'
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks'
import { Markdown } from './markdown'
import type { Fault, Message, Stats } from './model'
import { bytes, CopyButton, Icon, IconButton, number, seconds } from './parts'
import { routingOpen, Tokens } from './routing'
import { answering, connect, current, edit, keyWanted, model, openNew, regenerate, send, serverFault, stop } from './state'

function StatsLine({ stats, end }: { stats?: Stats; end?: Message['end'] }) {
  if (!stats) return end === 'stopped' ? <p class="stats">stopped</p> : null
  const parts = [`${number(stats.tokens)} tokens`]
  if (stats.tokensPerSecond) {
    parts.push(`${number(stats.tokensPerSecond, stats.tokensPerSecond < 100 ? 1 : 0)} tokens/s`)
  }
  if (stats.firstToken !== null) parts.push(`first after ${seconds(stats.firstToken)}`)
  if (stats.weightBytes) parts.push(`${bytes(stats.weightBytes)} read a token`)
  if (end === 'stopped') parts.push('stopped')
  if (end === 'length') parts.push('ended at the limit')
  return (
    <p class="stats">
      {parts.map((p) => (
        <span>{p}</span>
      ))}
    </p>
  )
}

function FaultNote({ fault, again }: { fault: Fault; again: () => void }) {
  const titles = {
    gone: 'The server is gone',
    busy: 'The server is busy',
    full: 'The context is full',
    key: 'A key is needed',
    other: 'That did not work',
  }
  return (
    <div class="fault" role="alert">
      <p>
        <strong>{titles[fault.kind]}.</strong> {fault.message}
        {fault.kind === 'busy' && ` It asks for ${fault.retryAfter} s of patience.`}
      </p>
      <div class="actions">
        {fault.kind === 'full' ? (
          <button type="button" onClick={openNew}>
            New conversation
          </button>
        ) : fault.kind === 'key' ? (
          <button type="button" onClick={() => (keyWanted.value = fault.message)}>
            Enter a key
          </button>
        ) : (
          <button type="button" onClick={again}>
            Try again
          </button>
        )}
      </div>
    </div>
  )
}

function Editor({ message, onDone }: { message: Message; onDone: () => void }) {
  const [text, setText] = useState(message.content)
  const area = useRef<HTMLTextAreaElement>(null)
  useEffect(() => {
    area.current!.focus()
    area.current!.setSelectionRange(text.length, text.length)
  }, [])
  useGrowing(area, text)
  const submit = () => {
    if (!text.trim()) return
    edit(message.id, text)
    onDone()
  }
  return (
    <form
      class="editor"
      onSubmit={(e) => {
        e.preventDefault()
        submit()
      }}
    >
      <label class="hidden" for={`edit-${message.id}`}>
        Edit your message
      </label>
      <textarea
        ref={area}
        id={`edit-${message.id}`}
        value={text}
        onInput={(e) => setText(e.currentTarget.value)}
        onKeyDown={(e) => {
          if (e.key === 'Escape') onDone()
          if (e.key === 'Enter' && !e.shiftKey && !e.isComposing) {
            e.preventDefault()
            submit()
          }
        }}
      />
      <div class="actions">
        <button type="button" class="quiet" onClick={onDone}>
          Cancel
        </button>
        <button type="submit" disabled={!text.trim()}>
          Send again
        </button>
      </div>
    </form>
  )
}

const Question = memo(({ message, busy }: { message: Message; busy: boolean }) => {
  const [editing, setEditing] = useState(false)
  return (
    <article class="message user" aria-label="You">
      {editing ? (
        <Editor message={message} onDone={() => setEditing(false)} />
      ) : (
        <>
          <p class="said">{message.content}</p>
          <div class="tools">
            <CopyButton text={message.content} label="Copy message" />
            <IconButton icon="edit" label="Edit message" class="small" disabled={busy} onClick={() => setEditing(true)} />
          </div>
        </>
      )}
    </article>
  )
})

const Reply = memo(
  ({ message, streaming, busy, coloured }: { message: Message; streaming: boolean; busy: boolean; coloured: boolean }) => {
    const showTokens = coloured && message.tokens?.some((t) => t.experts)
    return (
      <article class="message assistant" aria-label="Octet" aria-busy={streaming}>
        {streaming && !message.content && !message.fault ? (
          <p class="thinking">
            <span class="hidden">Waiting for the first token</span>
            <i />
            <i />
            <i />
          </p>
        ) : showTokens ? (
          <Tokens message={message} />
        ) : (
          message.content && <Markdown text={message.content} />
        )}
        {message.fault && <FaultNote fault={message.fault} again={() => regenerate(message.id)} />}
        {!message.fault && (message.stats || message.end) && (
          <footer>
            <StatsLine stats={message.stats} end={message.end} />
            {!streaming && (
              <div class="tools">
                <CopyButton text={message.content} label="Copy answer" />
                <IconButton
                  icon="again"
                  label="Answer again"
                  class="small"
                  disabled={busy}
                  onClick={() => regenerate(message.id)}
                />
              </div>
            )}
          </footer>
        )}
      </article>
    )
  },
)

const ideas = [
  'Tell me a story about a dragon who is afraid of the dark.',
  'Once upon a time there was a little boat',
  'Write about a girl who finds a talking stone.',
]

const words = ['no', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine', 'ten', 'eleven', 'twelve']
const word = (n: number) => words[n] ?? String(n)

function motto(): string {
  const info = model.value
  if (!info) return 'Octet'
  if (info.experts === 0) return 'What shall we talk about?'
  const many = word(info.experts)
  return `${many[0].toUpperCase()}${many.slice(1)} experts, ${word(info.perToken)} at a time.`
}

function Empty() {
  return (
    <div class="empty">
      <svg class="mark" viewBox="0 0 120 120" aria-hidden="true">
        {Array.from({ length: 8 }, (_, i) => {
          const a = (i / 8) * 2 * Math.PI - Math.PI / 2
          const [x, y] = [60 + 44 * Math.cos(a), 60 + 44 * Math.sin(a)]
          return (
            <g class={`e${i}`}>
              <line x1="60" y1="60" x2={x} y2={y} />
              <circle cx={x} cy={y} r={i === 1 || i === 4 ? 9 : 6} class={i === 1 || i === 4 ? 'on' : undefined} />
            </g>
          )
        })}
        <circle cx="60" cy="60" r="8" class="core" />
      </svg>
      <h2>{motto()}</h2>
      <p>
        {model.value ? (
          <>
            <b>{model.value.id}</b> answers on your own server. Conversations are kept in this browser alone.
          </>
        ) : (
          'Conversations are kept in this browser alone.'
        )}
      </p>
      <ul class="ideas">
        {ideas.map((idea) => (
          <li>
            <button type="button" onClick={() => send(idea)} disabled={!model.value}>
              {idea}
            </button>
          </li>
        ))}
      </ul>
    </div>
  )
}

/** As high as its text, within what the style allows. */
function useGrowing(area: { current: HTMLTextAreaElement | null }, text: string) {
  useLayoutEffect(() => {
    const a = area.current
    if (!a) return
    a.style.height = 'auto'
    a.style.height = `${a.scrollHeight + 2}px`
  }, [text])
}

function Composer() {
  const [text, setText] = useState('')
  const area = useRef<HTMLTextAreaElement>(null)
  const conversation = current.value
  const busy = answering.value !== null
  const mine = busy && answering.value === conversation?.id
  useGrowing(area, text)
  useEffect(() => {
    if (matchMedia('(pointer: fine)').matches) area.current?.focus()
  }, [conversation?.id])
  useEffect(() => {
    const onKey = (e: KeyboardEvent) => {
      const typing = (e.target as HTMLElement).closest('input, textarea, select, dialog')
      if (e.key === 'Escape' && answering.value && !typing?.matches('dialog *')) stop()
      if (e.key === '/' && !typing && !e.ctrlKey && !e.metaKey) {
        e.preventDefault()
        area.current?.focus()
      }
    }
    addEventListener('keydown', onKey)
    return () => removeEventListener('keydown', onKey)
  }, [])
  const submit = () => {
    if (busy || !text.trim() || !model.value) return
    send(text)
    setText('')
  }
  const stats = conversation?.messages.at(-1)?.stats
  const used = stats ? stats.promptTokens + stats.tokens : 0
  const context = model.value?.context ?? 0
  return (
    <form
      class="composer"
      onSubmit={(e) => {
        e.preventDefault()
        submit()
      }}
    >
      <div class="box">
        <label class="hidden" for="message">
          Message
        </label>
        <textarea
          ref={area}
          id="message"
          rows={1}
          placeholder="Write a message"
          value={text}
          onInput={(e) => setText(e.currentTarget.value)}
          onKeyDown={(e) => {
            if (e.key === 'Enter' && !e.shiftKey && !e.isComposing) {
              e.preventDefault()
              submit()
            }
          }}
        />
        {mine ? (
          <button type="button" class="round" aria-label="Stop" title="Stop (Esc)" onClick={stop}>
            <Icon name="stop" />
          </button>
        ) : (
          <button
            type="submit"
            class="round"
            aria-label="Send"
            title="Send (Enter)"
            disabled={busy || !text.trim() || !model.value}
          >
            <Icon name="send" />
          </button>
        )}
      </div>
      <p class="below">
        <span>Enter sends, Shift + Enter begins a line</span>
        {used > 0 && context > 0 && (
          <span class={used > 0.85 * context ? 'warn' : undefined}>
            {number(used)} of {number(context)} tokens of context
          </span>
        )}
      </p>
    </form>
  )
}

export function Chat() {
  const scroller = useRef<HTMLDivElement>(null)
  const following = useRef(true)
  const [away, setAway] = useState(false)
  const conversation = current.value
  const messages = conversation?.messages ?? []
  const last = messages.at(-1)
  const toEnd = () => {
    const s = scroller.current
    if (s) s.scrollTop = s.scrollHeight
  }
  useLayoutEffect(() => {
    if (following.current) toEnd()
  }, [last?.content, last?.stats, messages.length, routingOpen.value])
  useLayoutEffect(() => {
    following.current = true
    toEnd()
  }, [conversation?.id])
  const onScroll = () => {
    const s = scroller.current!
    following.current = s.scrollHeight - s.scrollTop - s.clientHeight < 60
    setAway(!following.current)
  }
  const busy = answering.value !== null
  return (
    <main id="chat" class="chat" tabIndex={-1}>
      {serverFault.value && (
        <div class="banner" role="alert">
          <span>{serverFault.value}</span>
          <button type="button" onClick={() => void connect()}>
            Try again
          </button>
        </div>
      )}
      <div class="scroller" ref={scroller} onScroll={onScroll} tabIndex={0} role="region" aria-label="Messages">
        {messages.length === 0 ? (
          <Empty />
        ) : (
          <div class="messages">
            {messages.map((m) =>
              m.role === 'user' ? (
                <Question key={m.id} message={m} busy={busy} />
              ) : (
                <Reply
                  key={m.id}
                  message={m}
                  busy={busy}
                  coloured={routingOpen.value}
                  streaming={m === last && answering.value === conversation?.id}
                />
              ),
            )}
          </div>
        )}
      </div>
      {away && (
        <button type="button" class="to-end" onClick={toEnd}>
          <Icon name="down" /> Latest
        </button>
      )}
      <Composer />
    </main>
  )
}
