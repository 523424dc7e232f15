import type { Container, Pod, PodSpec } from '../../../src/model/pod.ts';
import type { PlanInput } from '../../../src/pods/diff/plan.ts';
import type { PodFacts } from '../../../src/pods/facts.ts';
import { containerHash } from '../../../src/pods/identity.ts';
import type { ContainerRecord, PodRuntime, SandboxRecord } from '../../../src/pods/observe/pod-runtime.ts';

export const NOW = Date.UTC(2026, 0, 1, 12);

export function container(name: string, more: Partial<Container> = {}): Container {
  return { name, image: `${name}:1`, ...more };
}

export function pod(spec: Partial<PodSpec> = {}, metadata: Partial<Pod['metadata']> = {}): Pod {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'p', namespace: 'ns', uid: 'u1', ...metadata },
    spec: { containers: [container('a')], ...spec },
  };
}

export function sandbox(more: Partial<SandboxRecord> = {}): SandboxRecord {
  return {
    id: 's0',
    attempt: 0,
    state: 'READY',
    createdAt: NOW - 60_000,
    ips: ['10.0.0.2'],
    hostNetwork: false,
    ...more,
  };
}

export function record(of: Container, more: Partial<ContainerRecord> = {}): ContainerRecord {
  return {
    id: `${of.name}-${more.restartCount ?? 0}`,
    name: of.name,
    sandboxId: 's0',
    state: 'RUNNING',
    restartCount: 0,
    hash: containerHash(of),
    createdAt: NOW - 50_000 + (more.restartCount ?? 0),
    startedAt: NOW - 50_000,
    finishedAt: 0,
    exitCode: 0,
    reason: '',
    message: '',
    image: of.image ?? '',
    imageRef: `sha256:${of.name}`,
    annotations: {},
    resources: undefined,
    user: undefined,
    provisional: false,
    ...more,
  };
}

export function exited(of: Container, exitCode: number, more: Partial<ContainerRecord> = {}): ContainerRecord {
  return record(of, {
    state: 'EXITED',
    exitCode,
    finishedAt: NOW - 1000,
    reason: exitCode === 0 ? 'Completed' : 'Error',
    ...more,
  });
}

export function runtime(sandboxes: SandboxRecord[], containers: ContainerRecord[] = []): PodRuntime {
  return { uid: 'u1', namespace: 'ns', name: 'p', sandboxes, containers };
}

export function facts(more: Partial<PodFacts> = {}): PodFacts {
  return {
    startTime: NOW - 60_000,
    running: new Set(),
    prepared: true,
    cgroupReady: true,
    stoppedSandboxes: new Set(),
    volumesGone: false,
    cgroupGone: false,
    discard: false,
    failures: new Map(),
    containers: new Map(),
    kills: new Map(),
    ending: false,
    end: undefined,
    lastStatus: undefined,
    finalized: false,
    cleanedUp: false,
    ...more,
  };
}

/** Facts that know the images of these containers to be on the node. */
export function withImages(...names: string[]): PodFacts['containers'] {
  return new Map(names.map((name) => [name, { crash: undefined, imageRef: `sha256:${name}`, starting: undefined }]));
}

export function input(more: Partial<PlanInput> = {}): PlanInput {
  return {
    pod: pod(),
    intent: 'run',
    runtime: runtime([]),
    facts: facts(),
    probe: () => undefined,
    node: { networkReady: true, networkMessage: '' },
    now: NOW,
    ...more,
  };
}
