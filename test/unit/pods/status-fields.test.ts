import { describe, expect, it } from 'vitest';
import type { Pod } from '../../../src/model/pod.ts';
import { planPod } from '../../../src/pods/diff/plan-pod.ts';
import type { ContainerRecord } from '../../../src/pods/observe/pod-runtime.ts';
import { podStatus } from '../../../src/pods/status/pod-status.ts';
import { container, exited, facts, input, pod, record, runtime, sandbox, withImages } from './builders.ts';

function statusOf(of: Pod, records: ContainerRecord[]) {
  const given = input({
    pod: of,
    runtime: runtime([sandbox()], records),
    facts: facts({ containers: withImages('a') }),
  });
  return podStatus({
    input: given,
    plan: planPod(given),
    hostIPs: ['192.0.2.1'],
    qosClass: 'BestEffort',
    runtimeName: 'containerd',
    recursiveReadOnly: false,
    cgroup: { cpuShares: 2, cpuQuota: -1, cpuPeriod: 100_000, memoryLimit: -1 },
  });
}

describe('the status', () => {
  it('tells the user that a container runs as, and its groups', () => {
    const user = { uid: 1000, gid: 2000, supplementalGroups: [2000, 3000] };
    const [status] = statusOf(pod(), [record(container('a'), { user })]).containerStatuses ?? [];
    expect(status?.user).toEqual({ linux: user });
  });

  it('has ephemeral containers apart, which are neither ready nor started, and count for nothing', () => {
    const debug = container('debug');
    const of = pod({ ephemeralContainers: [debug] });
    const running = statusOf(of, [record(container('a')), record(debug)]);
    expect(running.ephemeralContainerStatuses).toMatchObject([
      { name: 'debug', ready: false, restartCount: 0, state: { running: {} } },
    ]);
    expect(running.ephemeralContainerStatuses?.[0]).not.toHaveProperty('started');
    expect(running.containerStatuses?.map(({ name }) => name)).toEqual(['a']);
    const ended = statusOf(of, [record(container('a')), exited(debug, 3)]);
    expect(ended.ephemeralContainerStatuses).toMatchObject([{ state: { terminated: { exitCode: 3 } } }]);
    expect(ended.phase).toBe('Running');
    expect(ended.conditions?.find(({ type }) => type === 'Ready')?.status).toBe('True');
  });
});
