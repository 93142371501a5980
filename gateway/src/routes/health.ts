// Liveness: the process answers. Readiness: a request sent now would be served, else 503 with the
// failing dependency named. /health: which deployments have a living worker.
import type { RequestHandler } from 'express'
import type { Gateway } from '../gateway.ts'

export const liveliness: RequestHandler = (_req, res) => {
  res.json("I'm alive!")
}

export function readiness(gateway: Gateway): RequestHandler {
  return (_req, res) => {
    const problems = problemsOf(gateway)
    const database = problems.some((problem) => problem.startsWith('database'))
    res.status(problems.length === 0 ? 200 : 503).json({
      status: problems.length === 0 ? 'healthy' : 'unhealthy',
      db: database ? 'disconnected' : 'connected',
      problems,
    })
  }
}

/** Everything that would make a request fail right now, each as `dependency: reason`. */
function problemsOf({ bus, services, fleet, dispatcher, admission }: Gateway): string[] {
  if (!bus.connected) return ['nats: disconnected']
  if (!services.hears) return ['nats: connected, but nothing comes through it']
  const problems = [...dispatcher.problems(), ...admission.problems()]
  for (const service of ['router', 'worker', 'billing'] as const) {
    const living = services.living(service)
    if (living.length === 0) problems.push(`${service}: no instance is running`)
    // One healthy instance is enough to serve.
    else if (living.every((one) => one.problems.length > 0))
      problems.push(...(living[0]?.problems ?? []))
  }
  if (services.living('worker').length > 0 && fleet.deployments.size === 0) {
    problems.push('models: no worker serves any model')
  }
  return problems
}

export function health(gateway: Gateway): RequestHandler {
  return async (req, res) => {
    await gateway.authenticate(req)
    const { config, fleet } = gateway
    const healthy = [...fleet.deployments.values()].map((one) => ({
      model: one.model,
      model_group: one.group,
      model_id: one.id,
      slots: one.slots,
    }))
    const unhealthy = config.deployments
      .filter((one) => !fleet.deployments.has(one.id))
      .map((one) => ({ model: one.model, model_group: one.group, model_id: one.id }))
    res.json({
      healthy_endpoints: healthy,
      unhealthy_endpoints: unhealthy,
      healthy_count: healthy.length,
      unhealthy_count: unhealthy.length,
    })
  }
}
