import { describe, expect, it } from 'vitest';
import type { Container } from '../../../src/model/pod.ts';
import { podCgroupLimits } from '../../../src/pods/resources/pod-limits.ts';
import { podResourcesStatus } from '../../../src/pods/status/pod-resources-status.ts';
import { container, pod } from './builders.ts';

const FACTS = {
  memoryBytes: 2 ** 34,
  cgroupVersion: 2,
  cfsQuota: true,
  cfsPeriodUs: 100_000,
  hugepageSizes: [],
  swapAccounting: false,
  singleProcessOomKill: false,
  podPidsLimit: -1,
} as const;

function statusOf(phase: 'Pending' | 'Running', spec: Parameters<typeof pod>[0], facts: typeof FACTS = FACTS) {
  const of = pod(spec);
  return podResourcesStatus(of, phase, podCgroupLimits(of, facts));
}

const using = (name: string, resources: Container['resources']): Container =>
  container(name, resources === undefined ? {} : { resources });

describe('podResourcesStatus', () => {
  it.each(['Pending', 'Running'] as const)('of a %s pod that asks for nothing is empty', (phase) => {
    expect(statusOf(phase, {})).toEqual({ resources: {} });
  });

  it.each(['Pending', 'Running'] as const)('of a %s pod sums its containers up', (phase) => {
    const containers = [
      using('a', { requests: { cpu: '10m', memory: '16Mi' }, limits: { cpu: '200m', memory: '64Mi' } }),
      using('b', { requests: { cpu: '1', memory: '48Mi' }, limits: { cpu: '2', memory: '64Mi' } }),
    ];
    expect(statusOf(phase, { containers })).toEqual({
      allocatedResources: { cpu: '1010m', memory: '64Mi' },
      resources: { requests: { cpu: '1010m', memory: '64Mi' }, limits: { cpu: '2200m', memory: '128Mi' } },
    });
  });

  it('a limit of one container of two limits a running pod to nothing', () => {
    const containers = [
      using('a', { requests: { memory: '16M' }, limits: { cpu: '100m', memory: '64M' } }),
      container('b'),
    ];
    expect(statusOf('Pending', { containers }).resources).toEqual({
      requests: { cpu: '100m', memory: '16M' },
      limits: { cpu: '100m', memory: '64M' },
    });
    expect(statusOf('Running', { containers }).resources).toEqual({ requests: { cpu: '100m', memory: '16M' } });
  });

  it('amounts that the kernel cannot hold are not told of a running pod', () => {
    const containers = [using('a', { requests: { cpu: '1m' }, limits: { cpu: '5m' } })];
    expect(statusOf('Running', { containers })).toEqual({ allocatedResources: { cpu: '1m' }, resources: {} });
  });

  it('without CPU quota a running pod has no CPU limit', () => {
    const containers = [using('a', { limits: { cpu: '1', memory: '1Gi' } })];
    const facts = { ...FACTS, cfsQuota: false } as unknown as typeof FACTS;
    expect(statusOf('Running', { containers }, facts).resources).toEqual({
      requests: { cpu: '1', memory: '1Gi' },
      limits: { memory: '1Gi' },
    });
  });

  it('values for the pod as a whole stand, and overhead is added', () => {
    const spec = {
      resources: { requests: { cpu: '500m', memory: '1Gi' }, limits: { memory: '2Gi' } },
      overhead: { cpu: '100m' },
    };
    const status = statusOf('Running', spec);
    expect(status.allocatedResources).toEqual({ cpu: '600m', memory: '1Gi' });
    expect(status.resources).toEqual({ requests: { cpu: '600m', memory: '1Gi' }, limits: { memory: '2Gi' } });
  });

  it('what is no matter of cgroups is allocated, too', () => {
    const containers = [using('a', { requests: { 'ephemeral-storage': '1536Mi', 'example.com/gpu': '2' } })];
    expect(statusOf('Running', { containers })).toEqual({
      allocatedResources: { 'ephemeral-storage': '1536Mi', 'example.com/gpu': '2' },
      resources: {},
    });
  });
});
