// A map for what comes and goes all the time. Whenever V8's own Map makes room, its old table keeps a
// link to the new one; once a dead table is in the old generation it holds all later ones, with all
// that stood in them, until the next full collection. Under load that was half of all requests, copied
// twice each. Here a table holds boxes, and a box is emptied when its entry goes.
// (V8: src/objects/ordered-hash-table.cc, `Rehash` and `SetNextTable`.)

interface Box<V> {
  value: V | undefined
}

export class ChurnMap<K, V extends object> {
  readonly #boxes = new Map<K, Box<V>>()

  get size(): number {
    return this.#boxes.size
  }

  get(key: K): V | undefined {
    return this.#boxes.get(key)?.value
  }

  has(key: K): boolean {
    return this.#boxes.has(key)
  }

  set(key: K, value: V): void {
    this.delete(key)
    this.#boxes.set(key, { value })
  }

  /** @returns whether it was there */
  delete(key: K): boolean {
    const box = this.#boxes.get(key)
    if (box === undefined) return false
    box.value = undefined
    return this.#boxes.delete(key)
  }

  clear(): void {
    for (const box of this.#boxes.values()) box.value = undefined
    this.#boxes.clear()
  }

  /** In the order in which they came. What is taken out meanwhile is left out. */
  *values(): IterableIterator<V> {
    for (const { value } of this.#boxes.values()) if (value !== undefined) yield value
  }

  keys(): IterableIterator<K> {
    return this.#boxes.keys()
  }
}
