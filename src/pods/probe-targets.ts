import type { Container } from '../model/pod.ts';
import { containersOf } from './container-kinds.ts';
import type { PlanInput } from './diff/plan.ts';
import { newestContainer } from './observe/pod-runtime.ts';
import type { PodState } from './pod-state.ts';
import type { ProbeTarget } from './probes/port.ts';

/** The running containers of a pod whose probes should run now. */
export function probeTargets(state: PodState, input: PlanInput): ProbeTarget[] {
  const { pod, runtime, facts } = input;
  const sandbox = runtime.sandboxes[0];
  if (sandbox === undefined) return [];
  const podIP = pod.spec.hostNetwork === true ? state.lastStatus?.hostIP : sandbox.ips[0];
  const targets: ProbeTarget[] = [];
  for (const { kind, container } of containersOf(pod)) {
    if (kind === 'init' || kind === 'ephemeral') continue;
    const probes = probesOf(container);
    if (Object.keys(probes).length === 0) continue;
    const record = newestContainer(runtime, container.name, sandbox.id);
    if (record?.state !== 'RUNNING' || facts.containers.get(container.name)?.starting === record.id) continue;
    targets.push({
      pod,
      containerName: container.name,
      containerId: record.id,
      podIP,
      startedAt: record.startedAt,
      probes,
      adopted: state.startedHere.has(record.id) ? undefined : said(state, container.name, record.id),
      terminating: state.intent !== 'run' || facts.end !== undefined,
    });
  }
  return targets;
}

function probesOf(container: Container): ProbeTarget['probes'] {
  const { startupProbe, livenessProbe, readinessProbe } = container;
  return {
    ...(startupProbe === undefined ? {} : { startup: startupProbe }),
    ...(livenessProbe === undefined ? {} : { liveness: livenessProbe }),
    ...(readinessProbe === undefined ? {} : { readiness: readinessProbe }),
  };
}

/** What the API said of this very container before this process started. */
function said(state: PodState, name: string, id: string): { ready: boolean; started: boolean } {
  const api = state.adoptedStatus;
  const entry = [...(api?.initContainerStatuses ?? []), ...(api?.containerStatuses ?? [])].find(
    (status) => status.name === name && status.containerID?.endsWith(`//${id}`) === true,
  );
  return { ready: entry?.ready === true, started: entry?.started === true };
}
