// How answers are made, for this conversation and the next ones.
import { useState } from 'preact/hooks'
import { defaults, type Settings } from './model'
import { Dialog } from './parts'
import { current, model, setSettings } from './state'

function Slider(props: {
  label: string
  note: string
  value: number
  min: number
  max: number
  step: number
  onChange: (value: number) => void
}) {
  const id = props.label.replace(/\W/g, '-').toLowerCase()
  return (
    <div class="field">
      <div class="row">
        <label for={id}>{props.label}</label>
        <output for={id}>{props.value.toFixed(2)}</output>
      </div>
      <input
        id={id}
        type="range"
        min={props.min}
        max={props.max}
        step={props.step}
        value={props.value}
        aria-describedby={`${id}-note`}
        onInput={(e) => props.onChange(Number(e.currentTarget.value))}
      />
      <p class="note" id={`${id}-note`}>
        {props.note}
      </p>
    </div>
  )
}

function Whole(props: { label: string; note: string; value: number | null; most: number; onChange: (v: number | null) => void }) {
  const id = props.label.replace(/\W/g, '-').toLowerCase()
  return (
    <div class="field">
      <label for={id}>{props.label}</label>
      <input
        id={id}
        type="number"
        inputMode="numeric"
        min={props.label === 'Seed' ? 0 : 1}
        max={props.most}
        value={props.value ?? ''}
        aria-describedby={`${id}-note`}
        onInput={(e) => {
          const text = e.currentTarget.value
          props.onChange(text === '' || !e.currentTarget.validity.valid ? null : Math.floor(Number(text)))
        }}
      />
      <p class="note" id={`${id}-note`}>
        {props.note}
      </p>
    </div>
  )
}

export function SettingsDialog({ onClose }: { onClose: () => void }) {
  const [s, set] = useState<Settings>({ ...current.value!.settings })
  const change = (part: Partial<Settings>) => set({ ...s, ...part })
  return (
    <Dialog title="Settings" onClose={onClose}>
      <form
        class="settings"
        onSubmit={(e) => {
          e.preventDefault()
          setSettings(s)
          onClose()
        }}
      >
        <div class="field">
          <label for="system">System prompt</label>
          <textarea
            id="system"
            rows={3}
            value={s.system}
            placeholder="What the model should know or be, before the conversation"
            onInput={(e) => change({ system: e.currentTarget.value })}
          />
          <p class="note">For this conversation.</p>
        </div>
        {model.value && model.value.adapters.length > 0 && (
          <div class="field">
            <label for="adapter">Adapter</label>
            <select
              id="adapter"
              value={model.value.adapters.includes(s.adapter) ? s.adapter : ''}
              aria-describedby="adapter-note"
              onChange={(e) => change({ adapter: e.currentTarget.value })}
            >
              <option value="">none</option>
              {model.value.adapters.map((name) => (
                <option key={name} value={name}>
                  {name}
                </option>
              ))}
            </select>
            <p class="note" id="adapter-note">
              Answers beside {model.value.id} itself.
            </p>
          </div>
        )}
        <Slider
          label="Temperature"
          note="0 always takes the likeliest token; higher is more surprising."
          value={s.temperature}
          min={0}
          max={2}
          step={0.05}
          onChange={(temperature) => change({ temperature })}
        />
        <Slider
          label="Top p"
          note="Only the likeliest tokens that make up this share."
          value={s.topP}
          min={0.05}
          max={1}
          step={0.05}
          onChange={(topP) => change({ topP })}
        />
        <Slider
          label="Min p"
          note="Only tokens at least this likely beside the likeliest."
          value={s.minP}
          min={0}
          max={0.5}
          step={0.01}
          onChange={(minP) => change({ minP })}
        />
        <Slider
          label="Repeat penalty"
          note="Above 1, what was said becomes less likely."
          value={s.repeatPenalty}
          min={1}
          max={1.5}
          step={0.01}
          onChange={(repeatPenalty) => change({ repeatPenalty })}
        />
        <div class="pair">
          <Whole
            label="Longest answer"
            note={`Tokens; empty: as many as fit${model.value ? ` (${model.value.context})` : ''}.`}
            value={s.maxTokens}
            most={1 << 24}
            onChange={(maxTokens) => change({ maxTokens })}
          />
          <Whole
            label="Seed"
            note="The same seed gives the same answer."
            value={s.seed}
            most={2 ** 48}
            onChange={(seed) => change({ seed })}
          />
        </div>
        <p class="note">
          <a href="/licences.txt" target="_blank" rel="noopener">
            Licences
          </a>{' '}
          of what this page is made of.
        </p>
        <div class="actions">
          <button type="button" class="quiet" onClick={() => set({ ...defaults, system: s.system, adapter: s.adapter })}>
            Defaults
          </button>
          <button type="submit">Save</button>
        </div>
      </form>
    </Dialog>
  )
}
