// The admin operations on keys.
export const keyOperations = {}
