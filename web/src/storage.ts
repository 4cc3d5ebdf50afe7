// Conversations in the browser's IndexedDB. Where that is closed (private windows of some browsers) they live as
// long as the page.
import type { Conversation } from './model'

let opened: Promise<IDBDatabase | null> | null = null

function open(): Promise<IDBDatabase | null> {
  opened ??= new Promise((resolve) => {
    try {
      const request = indexedDB.open('octet', 1)
      request.onupgradeneeded = () => request.result.createObjectStore('conversations', { keyPath: 'id' })
      request.onsuccess = () => resolve(request.result)
      request.onerror = () => resolve(null)
    } catch {
      resolve(null)
    }
  })
  return opened
}

async function run<T>(mode: IDBTransactionMode, act: (store: IDBObjectStore) => IDBRequest<T>): Promise<T | null> {
  const db = await open()
  if (!db) return null
  return new Promise((resolve) => {
    const request = act(db.transaction('conversations', mode).objectStore('conversations'))
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => resolve(null)
  })
}

export async function loadAll(): Promise<Conversation[]> {
  const all = (await run('readonly', (s) => s.getAll())) ?? []
  return all.sort((a: Conversation, b: Conversation) => b.updated - a.updated)
}
export const save = (conversation: Conversation) => run('readwrite', (s) => s.put(conversation))
export const remove = (id: string) => run('readwrite', (s) => s.delete(id))

/** A small value of this browser; storage may be full or forbidden. */
export function remember(name: string, value: string | null) {
  try {
    value === null ? localStorage.removeItem('octet.' + name) : localStorage.setItem('octet.' + name, value)
  } catch {
    // Then it lasts as long as the page.
  }
}
export function recall(name: string): string | null {
  try {
    return localStorage.getItem('octet.' + name)
  } catch {
    return null
  }
}
