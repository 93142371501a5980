// What an upstream cannot do with a request's arguments: refused by name, or dropped where the
// deployment says so. Shared by the providers whose upstreams refuse arguments of OpenAI's.
import { PenstockError } from '@penstock/shared/contracts/errors'
import type { Operation } from '@penstock/shared/contracts/request'
import type { ProviderCall } from './provider.ts'

/** By argument: whether this value asks for something that the upstream cannot do. */
export type Refusals = ReadonlyMap<string, (value: unknown) => boolean>

/**
 * LiteLLM's parameters that say how to reach an upstream: they may stand among a deployment's
 * defaults, belong into no request's body, and some are secrets.
 */
export const connectionParams = [
  'api_version',
  'azure_ad_token',
  'tenant_id',
  'client_id',
  'client_secret',
  'azure_username',
  'azure_password',
  'azure_scope',
] as const

const isConnectionParam = new Set<string>(connectionParams)

/**
 * The body without nulls (OpenAI's "not set"), without what is to be dropped and without what is
 * refused.
 * @throws PenstockError `unsupported_parameter` naming the `param`, unless the deployment drops such
 *   parameters.
 */
export function withoutRefused(
  call: ProviderCall<Operation>,
  refusals: Refusals,
): Record<string, unknown> {
  const { dropParams, additionalDropParams, model } = call.deployment
  const body: Record<string, unknown> = {}
  for (const [name, value] of Object.entries(call.body)) {
    if (value === null || value === undefined) continue
    if (isConnectionParam.has(name) || additionalDropParams.includes(name)) continue
    if (refusals.get(name)?.(value)) {
      if (dropParams) continue
      const message = `The deployment ${model} does not support this value of '${name}'. With drop_params: true in the model's litellm_params it would be left out.`
      throw new PenstockError('unsupported_parameter', message, { param: name })
    }
    body[name] = value
  }
  return body
}

export const always = (): boolean => true

/** For `n`, `best_of`: 1 is what every upstream does anyway. */
export const unlessOne = (value: unknown): boolean => value !== 1

/** For maps and lists: an empty one asks for nothing. */
export const unlessEmpty = (value: unknown): boolean =>
  typeof value !== 'object' || value === null || Object.keys(value).length > 0

export const unlessFalse = (value: unknown): boolean => value !== false

/** For penalties and counts: 0 asks for nothing. */
export const unlessZero = (value: unknown): boolean => value !== 0

/** For a choice of tools, by its deprecated name too, where the upstream cannot be made to call one. */
export const unlessAutoOrNone = (value: unknown): boolean => value !== 'auto' && value !== 'none'

/** For `modalities`. */
export const unlessTextOnly = (value: unknown): boolean =>
  !Array.isArray(value) || value.some((kind) => kind !== 'text')
