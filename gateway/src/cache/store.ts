// Where cached answers are: in this gateway's memory, or in Redis for all gateways.

/** Nothing here throws: a store that is lost has nothing and keeps nothing. */
export interface AnswerStore {
  get(key: string): Promise<Uint8Array | null>
  put(key: string, answer: Uint8Array, ttlMs: number): void
  close(): void
}
