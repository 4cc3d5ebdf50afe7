// The page: conversations beside the chat, and the experts beside both.
import { useEffect, useRef, useState } from 'preact/hooks'
import { Chat } from './chat'
import type { ModelInfo } from './api'
import { asMarkdown, type Conversation, titleOf } from './model'
import { Dialog, Icon, IconButton, number } from './parts'
import { routingOpen, RoutingPanel } from './routing'
import { SettingsDialog } from './settings'
import {
  announcement, answering, answersAs, conversations, current, currentId, discard, keyWanted, model, openNew, removed, rename,
  select, setTheme, takeBack, theme, useKey,
} from './state'

function download(name: string, type: string, text: string) {
  const url = URL.createObjectURL(new Blob([text], { type }))
  const link = document.createElement('a')
  link.href = url
  link.download = name
  link.click()
  setTimeout(() => URL.revokeObjectURL(url), 1000)
}

/** "46.7 B parameters, 2 of 8 experts a token" */
function about(info: ModelInfo): string {
  const n = info.parameters
  const size = n >= 1e9 ? `${number(n / 1e9, 1)} B` : `${number(n / 1e6, 1)} M`
  return `${size} parameters` + (info.experts > 0 ? `, ${info.perToken} of ${info.experts} experts` : '')
}

function exportConversation(c: Conversation) {
  const name = titleOf(c).replace(/[^\p{L}\p{N} _-]/gu, '').trim().slice(0, 50) || 'conversation'
  download(`${name}.md`, 'text/markdown', asMarkdown(c))
}

function Item({ conversation, onPick }: { conversation: Conversation; onPick: () => void }) {
  const [naming, setNaming] = useState(false)
  const input = useRef<HTMLInputElement>(null)
  const isCurrent = conversation.id === currentId.value
  const title = titleOf(conversation)
  useEffect(() => input.current?.select(), [naming])
  const done = (keep: boolean) => {
    if (keep && input.current) rename(conversation.id, input.current.value)
    setNaming(false)
  }
  if (naming) {
    return (
      <li class="item current">
        <input
          ref={input}
          class="rename"
          aria-label="Name of the conversation"
          defaultValue={title}
          onBlur={() => done(true)}
          onKeyDown={(e) => {
            if (e.key === 'Enter') done(true)
            if (e.key === 'Escape') {
              e.stopPropagation()
              done(false)
            }
          }}
        />
      </li>
    )
  }
  return (
    <li class={isCurrent ? 'item current' : 'item'}>
      <button
        type="button"
        class="pick"
        aria-current={isCurrent ? 'page' : undefined}
        onClick={() => {
          select(conversation.id)
          onPick()
        }}
        onDblClick={() => setNaming(true)}
      >
        {title}
        {answering.value === conversation.id && <span class="pulse on" title="is being answered" />}
      </button>
      {conversation.messages.length > 0 && (
        <span class="item-tools">
          <IconButton icon="edit" label={`Rename “${title}”`} class="small" onClick={() => setNaming(true)} />
          <IconButton icon="save" label={`Export “${title}”`} class="small" onClick={() => exportConversation(conversation)} />
          <IconButton icon="trash" label={`Delete “${title}”`} class="small" onClick={() => discard(conversation.id)} />
        </span>
      )}
    </li>
  )
}

function Sidebar({ open, onClose }: { open: boolean; onClose: () => void }) {
  const all = conversations.value
  const next = { system: 'light', light: 'dark', dark: 'system' } as const
  const icon = { system: 'auto', light: 'sun', dark: 'moon' } as const
  const chosen = current.value && answersAs(current.value.settings)
  const name = !model.value || !chosen || chosen === model.value.id ? model.value?.id : `${model.value.id} + ${chosen}`
  return (
    <nav id="conversations" class={open ? 'sidebar open' : 'sidebar'} aria-label="Conversations">
      <div class="brand">
        <img src="/icon.svg" alt="" width="26" height="26" />
        <span>Octet</span>
        <IconButton icon="close" label="Close conversations" class="only-narrow" onClick={onClose} />
      </div>
      <button
        type="button"
        class="new"
        onClick={() => {
          openNew()
          onClose()
        }}
      >
        <Icon name="plus" /> New conversation
      </button>
      <ul class="items">
        {all.map((c) => (
          <Item key={c.id} conversation={c} onPick={onClose} />
        ))}
      </ul>
      <div class="foot">
        <div class="about">
          {model.value && (
            <>
              <b title={name}>{name}</b>
              <span>{about(model.value)}</span>
            </>
          )}
        </div>
        <IconButton
          icon={icon[theme.value]}
          label={`Colours: ${theme.value === 'system' ? 'as the system' : theme.value}`}
          onClick={() => setTheme(next[theme.value])}
        />
      </div>
    </nav>
  )
}

function KeyDialog() {
  const [key, setKey] = useState('')
  const [keep, setKeep] = useState(true)
  return (
    <Dialog title="This server asks for a key" onClose={() => (keyWanted.value = null)}>
      <form
        class="settings"
        onSubmit={(e) => {
          e.preventDefault()
          if (key.trim()) void useKey(key, keep)
        }}
      >
        <p>Whoever runs it can give you one. It is sent to this server alone.</p>
        <div class="field">
          <label for="key">API key</label>
          <input
            id="key"
            type="password"
            autocomplete="off"
            value={key}
            aria-describedby="key-fault"
            onInput={(e) => setKey(e.currentTarget.value)}
          />
          <p class="note" id="key-fault">
            The server says: {keyWanted.value}
          </p>
        </div>
        <label class="check">
          <input type="checkbox" checked={keep} onChange={(e) => setKeep(e.currentTarget.checked)} /> Keep it in this browser
        </label>
        <div class="actions">
          <button type="submit" disabled={!key.trim()}>
            Use this key
          </button>
        </div>
      </form>
    </Dialog>
  )
}

function Undo() {
  const gone = removed.value
  useEffect(() => {
    if (!gone) return
    const timer = setTimeout(() => (removed.value = null), 8000)
    return () => clearTimeout(timer)
  }, [gone])
  if (!gone) return null
  return (
    <div class="toast">
      <span>Deleted “{titleOf(gone)}”</span>
      <button type="button" onClick={takeBack}>
        Undo
      </button>
    </div>
  )
}

export function App() {
  const [drawer, setDrawer] = useState(false)
  const [settings, setSettingsOpen] = useState(false)
  const conversation = current.value
  const title = conversation ? titleOf(conversation) : ''
  useEffect(() => {
    document.title = conversation && conversation.messages.length > 0 ? `${title} · Octet` : 'Octet'
  }, [title])
  useEffect(() => {
    if (!drawer) return
    const onKey = (e: KeyboardEvent) => e.key === 'Escape' && setDrawer(false)
    addEventListener('keydown', onKey)
    document.querySelector<HTMLElement>('#conversations .icon-button')?.focus()
    return () => removeEventListener('keydown', onKey)
  }, [drawer])
  return (
    <div class={routingOpen.value ? 'page with-panel' : 'page'}>
      <a class="skip" href="#message">
        Skip to the message
      </a>
      <Sidebar open={drawer} onClose={() => setDrawer(false)} />
      {drawer && <div class="shade" onClick={() => setDrawer(false)} />}
      <div class="middle">
        <header class="top">
          <IconButton icon="menu" label="Conversations" class="only-narrow" expanded={drawer} onClick={() => setDrawer(true)} />
          <h1>{title}</h1>
          <button
            type="button"
            class="pill"
            aria-pressed={routingOpen.value}
            onClick={() => (routingOpen.value = !routingOpen.value)}
          >
            <Icon name="routes" /> Experts
          </button>
          <IconButton icon="sliders" label="Settings" onClick={() => setSettingsOpen(true)} />
        </header>
        {conversation && <Chat />}
      </div>
      {routingOpen.value && <RoutingPanel />}
      {settings && conversation && <SettingsDialog onClose={() => setSettingsOpen(false)} />}
      {keyWanted.value && <KeyDialog />}
      <Undo />
      <p class="hidden" role="status" aria-live="polite">
        {announcement.value}
      </p>
    </div>
  )
}
