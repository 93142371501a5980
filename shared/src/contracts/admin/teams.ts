// The admin operations on teams.
export const teamOperations = {}
