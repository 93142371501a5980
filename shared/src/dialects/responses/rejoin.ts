// An answer that broke off and is given anew by another attempt. What was told of it stays told: as long
// as the new answer only repeats it, nothing is said; where it goes beyond, it goes on from there. One
// that says something else follows the broken items, which are closed as incomplete.
import { type GrowingItem, type Growth, Output } from './output.ts'

export class Rejoin {
  readonly #told: Output
  readonly #anew = new Output(
    () => {},
    () => '',
  )

  constructor(told: Output) {
    this.#told = told
  }

  /** @returns whether the new answer has taken over: from then on what was told grows by itself */
  grow(growth: Growth): boolean {
    this.#anew.grow(growth)
    const relation = relate(liveItems(this.#told), this.#anew.items)
    if (relation === 'behind') return false
    if (relation === 'differs') this.#startOver()
    else this.#told.adopt(this.#anew, this.#offset())
    return true
  }

  /** The new answer has ended before it reached what was told. */
  end(): void {
    this.#anew.close('completed')
    if (relate(liveItems(this.#told), this.#anew.items) === 'covers') {
      this.#told.adopt(this.#anew, this.#offset())
    } else this.#startOver()
  }

  #startOver(): void {
    this.#told.abandon()
    this.#told.adopt(this.#anew, this.#told.items.length)
  }

  #offset(): number {
    return this.#told.items.length - liveItems(this.#told).length
  }
}

function liveItems(output: Output): GrowingItem[] {
  return output.items.filter(({ abandoned }) => !abandoned)
}

/** How a new answer stands to what was told: only what is open can still grow, on either side. */
function relate(
  told: readonly GrowingItem[],
  anew: readonly GrowingItem[],
): 'behind' | 'covers' | 'differs' {
  let relation: 'behind' | 'covers' = 'covers'
  for (const [index, before] of told.entries()) {
    const now = anew[index]
    if (now === undefined) return 'behind'
    if (now.kind !== before.kind || now.name !== before.name) return 'differs'
    const [isOpen, isGrowing] = [before.status, now.status].map((one) => one === 'in_progress')
    const isEnough = isOpen ? now.text.startsWith(before.text) : now.text === before.text
    if (isEnough && (isOpen || !isGrowing)) continue
    if (!isGrowing || !before.text.startsWith(now.text)) return 'differs'
    relation = 'behind'
  }
  return relation
}
