// The hours of a day in which a batch may run (`22:00-06:00 Europe/Berlin`), by the clock on the wall
// of a named zone: summer time moves them as it moves people.
import { offPeakWindow } from '@penstock/shared/contracts/batches'
import { PenstockError } from '@penstock/shared/contracts/errors'

export interface OffPeak {
  /** @param at epoch milliseconds */
  isOpen(at: number): boolean
}

/** @throws PenstockError `invalid_request`: another form, or a zone that nobody knows */
export function parseOffPeak(text: string): OffPeak {
  const [hours = '', zone = 'UTC'] = text.split(' ')
  const [from = '', to = ''] = hours.split('-')
  const clock = clockOf(zone)
  if (clock === null || !offPeakWindow.safeParse(text).success) {
    const message = `The window \`${text.slice(0, 100)}\` is none: expected \`22:00-06:00 Europe/Berlin\`.`
    throw new PenstockError('invalid_request', message, { param: 'window' })
  }
  return {
    isOpen(at) {
      const now = clock.format(at)
      // From a time to the same one is a whole day.
      if (from === to) return true
      return from < to ? now >= from && now < to : now >= from || now < to
    },
  }
}

function clockOf(timeZone: string): Intl.DateTimeFormat | null {
  try {
    // `HH:MM`, 00:00 to 23:59: such texts compare as the times do.
    return new Intl.DateTimeFormat('en-GB', {
      timeZone,
      hour: '2-digit',
      minute: '2-digit',
      hourCycle: 'h23',
    })
  } catch {
    return null
  }
}
