// The admin operations on budgets.
export const budgetOperations = {}
