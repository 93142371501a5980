// The admin operations on users.
export const userOperations = {}
