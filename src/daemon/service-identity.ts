import type { ApiClient } from '../cluster/port.ts';
import { hasCode } from '../kit/errors.ts';
import type { Logger } from '../kit/log.ts';
import { resources } from '../model/resource.ts';
import { type Foundation, runPart } from './foundation.ts';

/** Says in the log what to do when Services cannot be read. With the embedded API there is no such case. */
export function explainServiceIdentity(foundation: Foundation, api: ApiClient): void {
  const { kubeconfig, proxyKubeconfig } = foundation.config;
  if (kubeconfig === undefined) return;
  runPart(foundation, 'check of the identity for Services', (signal) =>
    checkServiceIdentity({ kubeconfig, proxyKubeconfig }, { api, log: foundation.log }, signal),
  );
}

/**
 * The watches go on asking when they are refused; this says once what to do about it. RBAC gives system:node Services,
 * but no EndpointSlices: those are kube-proxy's (ClusterRole system:node-proxier).
 */
export async function checkServiceIdentity(
  { kubeconfig, proxyKubeconfig }: { readonly kubeconfig: string; readonly proxyKubeconfig: string | undefined },
  { api, log }: { readonly api: ApiClient; readonly log: Logger },
  signal?: AbortSignal,
): Promise<void> {
  for (const type of [resources.services, resources.endpointslices]) {
    try {
      await api.list(type, { limit: 1 }, signal);
    } catch (error) {
      // Anything else passes by itself, and the watch tells of it.
      if (!hasCode(error, 'Forbidden', 'Unauthorized')) continue;
      const whose =
        proxyKubeconfig === undefined ? `of --kubeconfig ${kubeconfig}` : `of --proxy-kubeconfig ${proxyKubeconfig}`;
      log.error(
        { resource: type.plural, kubeconfig: proxyKubeconfig ?? kubeconfig },
        `the identity ${whose} may not list ${type.plural}, so that Services get no rules on this node; ` +
          'expected --proxy-kubeconfig with an identity that has the ClusterRole system:node-proxier ' +
          '(such as system:kube-proxy), or that role for this one',
      );
    }
  }
}
