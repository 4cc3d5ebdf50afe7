// Small parts of the page.
import { useEffect, useRef, useState } from 'preact/hooks'
import type { ComponentChildren } from 'preact'

/** Lines of a 20 × 20 grid. */
const icons = {
  plus: 'M10 4v12M4 10h12',
  menu: 'M3.5 6h13M3.5 10h13M3.5 14h13',
  send: 'M10 16V4.5M5 9.5l5-5 5 5',
  stop: 'M6 6h8v8H6z',
  copy: 'M7.5 7.5h8v8h-8zM12.5 7.5v-3h-8v8h3',
  done: 'm4.5 10.5 3.5 3.5 7.5-8',
  again: 'M15.5 8a6 6 0 1 0 .3 4M15.8 4v4h-4',
  edit: 'M4 16l.8-3.4L13.4 4 16 6.6 7.4 15.2z',
  trash: 'M4.5 6h11M8 6V4h4v2M6 6l.7 10h6.6L14 6',
  save: 'M10 3.5v9M6 9l4 4 4-4M4 16.5h12',
  sliders: 'M3.5 6.5h8M15 6.5h1.5M3.5 13.5h2M9 13.5h7.5M13.2 4.7v3.6M7.2 11.7v3.6',
  close: 'm5 5 10 10M15 5 5 15',
  sun: 'M10 6.7a3.3 3.3 0 1 0 0 6.6 3.3 3.3 0 0 0 0-6.6zM10 2.5v1.6M10 15.9v1.6M2.5 10h1.6M15.9 10h1.6M4.7 4.7l1.1 1.1M14.2 14.2l1.1 1.1M4.7 15.3l1.1-1.1M14.2 5.8l1.1-1.1',
  moon: 'M16 11.8A6.5 6.5 0 0 1 8.2 4a6.5 6.5 0 1 0 7.8 7.8z',
  auto: 'M10 3.5a6.5 6.5 0 1 0 0 13zM10 3.5a6.5 6.5 0 0 1 0 13',
  down: 'M10 4v11.5M5 10.5l5 5 5-5',
  routes: 'M4 10h3.5M7.5 10 12 5h4M7.5 10l4.5 5h4M7.5 10H16',
}
export type IconName = keyof typeof icons

export function Icon({ name }: { name: IconName }) {
  return (
    <svg class="icon" viewBox="0 0 20 20" aria-hidden="true" focusable="false">
      <path d={icons[name]} />
    </svg>
  )
}

export function IconButton(props: {
  icon: IconName
  label: string
  onClick: () => void
  class?: string
  pressed?: boolean
  expanded?: boolean
  disabled?: boolean
}) {
  return (
    <button
      type="button"
      class={`icon-button ${props.class ?? ''}`}
      aria-label={props.label}
      title={props.label}
      aria-pressed={props.pressed}
      aria-expanded={props.expanded}
      disabled={props.disabled}
      onClick={props.onClick}
    >
      <Icon name={props.icon} />
    </button>
  )
}

export function CopyButton({ text, label }: { text: string; label: string }) {
  const [done, setDone] = useState(false)
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text)
    } catch {
      // Plain HTTP from another machine has no clipboard: the old way.
      const area = document.createElement('textarea')
      area.value = text
      document.body.append(area)
      area.select()
      document.execCommand('copy')
      area.remove()
    }
    setDone(true)
    setTimeout(() => setDone(false), 1600)
  }
  return <IconButton icon={done ? 'done' : 'copy'} label={done ? 'Copied' : label} onClick={copy} class="small" />
}

/** A dialog that takes the focus while it is there, and gives it back. */
export function Dialog(props: { title: string; onClose: () => void; children: ComponentChildren; class?: string }) {
  const ref = useRef<HTMLDialogElement>(null)
  useEffect(() => {
    const dialog = ref.current!
    const before = document.activeElement as HTMLElement | null
    dialog.showModal()
    return () => {
      dialog.close()
      before?.focus()
    }
  }, [])
  return (
    <dialog
      ref={ref}
      class={`dialog ${props.class ?? ''}`}
      aria-labelledby="dialog-title"
      onCancel={(e) => {
        e.preventDefault()
        props.onClose()
      }}
      onClick={(e) => e.target === ref.current && props.onClose()}
    >
      <div class="dialog-inside">
        <header>
          <h2 id="dialog-title">{props.title}</h2>
          <IconButton icon="close" label="Close" onClick={props.onClose} />
        </header>
        {props.children}
      </div>
    </dialog>
  )
}

export const number = (value: number, digits = 0) =>
  value.toLocaleString('en', { maximumFractionDigits: digits, minimumFractionDigits: digits })

export function bytes(value: number): string {
  const units = ['B', 'kB', 'MB', 'GB']
  let unit = 0
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000
    unit++
  }
  return `${number(value, value < 10 && unit > 0 ? 1 : 0)} ${units[unit]}`
}

export const seconds = (value: number) => (value < 1 ? `${number(value * 1000)} ms` : `${number(value, 1)} s`)
