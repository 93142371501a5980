// Which part of a provider an operation is for. What a provider has no route for is refused here, once for
// all of them.
import { PenstockError } from '@penstock/shared/contracts/errors'
import {
  type Operation,
  type RoutedOperation,
  routedOperations,
} from '@penstock/shared/contracts/request'
import type { Provider, ProviderCall, ProviderResult } from './provider.ts'

/**
 * @throws PenstockError `unsupported_parameter` with status 404 where the deployment does not have the
 *   operation: which says nothing against it for other requests
 */
export async function runOperation(
  provider: Provider,
  operation: Operation,
  call: Omit<ProviderCall, 'operation'>,
): Promise<ProviderResult> {
  if (!isRouted(operation)) return await provider.run({ ...call, operation })
  const { routed } = provider
  if (routed?.operations.includes(operation)) return await routed.run({ ...call, operation })
  const { model } = call.deployment
  const message = `The deployment ${model} does not serve requests for ${operation}: its provider has no route for them.`
  throw new PenstockError('unsupported_parameter', message, { status: 404, param: 'model' })
}

function isRouted(operation: Operation): operation is RoutedOperation {
  return routedOperations.some((one) => one === operation)
}
