// Numbers as people read them.

/** `12,345` */
export function count(value: number): string {
  return value.toLocaleString('en-US')
}

/** `1 line`, `12 lines` */
export function several(value: number, noun: string): string {
  return `${count(value)} ${noun}${value === 1 ? '' : 's'}`
}

/** `42 s`, `3 min 5 s`, `2 h 10 min`, `3 d 4 h`. @param seconds rounded up */
export function duration(seconds: number): string {
  const whole = Math.max(0, Math.ceil(seconds))
  const units = [
    ['d', 86_400],
    ['h', 3_600],
    ['min', 60],
    ['s', 1],
  ] as const
  const first = units.findIndex(([, size]) => whole >= size)
  if (first < 0) return '0 s'
  let rest = whole
  return units
    .slice(first, first + 2)
    .map(([unit, size]) => {
      const value = Math.floor(rest / size)
      rest %= size
      return value === 0 ? '' : `${value} ${unit}`
    })
    .filter((part) => part !== '')
    .join(' ')
}

/** `12.3 MB` */
export function megabytes(bytes: number): string {
  return `${(bytes / 1_000_000).toFixed(1)} MB`
}
