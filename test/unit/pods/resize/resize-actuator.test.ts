import { describe, expect, it } from 'vitest';
import type { CgroupLimits, CgroupReading } from '../../../../src/host/cgroup/port.ts';
import type { LinuxResources } from '../../../../src/host/cri/port.ts';
import { CodedError } from '../../../../src/kit/errors.ts';
import { silent } from '../../../../src/kit/log.ts';
import { ManualClock } from '../../../../src/kit/manual-clock.ts';
import { Metrics } from '../../../../src/kit/metrics.ts';
import type { Pod, ResourceRequirements } from '../../../../src/model/pod.ts';
import { ResizeActuator } from '../../../../src/pods/resize/resize-actuator.ts';
import { resizePlan } from '../../../../src/pods/resize/resize-plan.ts';
import { ResourceState } from '../../../../src/pods/resize/resource-state.ts';
import { linuxResourcesOf } from '../../../../src/pods/resources/container-resources.ts';
import type { NodeResourceFacts } from '../../../../src/pods/resources/node-facts.ts';
import { podCgroupLimits } from '../../../../src/pods/resources/pod-limits.ts';
import { container, pod, record, runtime, sandbox } from '../builders.ts';

const MIB = 2 ** 20;
const node = {
  memoryBytes: 2 ** 32,
  cgroupVersion: 1 as const,
  cfsQuota: true,
  cfsPeriodUs: 100_000,
  hugepageSizes: [],
  swapAccounting: false,
  singleProcessOomKill: true,
  podPidsLimit: -1,
};
const of = (cpu: string, memory: string): ResourceRequirements => ({
  requests: { cpu, memory },
  limits: { cpu, memory },
});
const podWith = (cpu: string, memory: string): Pod =>
  pod({ containers: [container('a', { resources: of(cpu, memory) })] });

/** A runtime and a cgroup of one pod, which hold what they are told and write down in which order. */
class Lab {
  readonly done: string[] = [];
  readonly actuated: ResourceState;
  cgroup: CgroupReading & Pick<CgroupLimits, 'unified'> & { readonly cpuShares: number };
  private readonly node: NodeResourceFacts;
  usage = 0;
  fail: string | undefined;
  sandboxCall: 'known' | 'unimplemented' | 'not implemented yet' | 'refused' = 'known';

  constructor(before: Pod, facts: NodeResourceFacts = node) {
    this.node = facts;
    const files = { read: async () => Buffer.from(''), write: async () => {}, rename: async () => {} };
    this.actuated = new ResourceState('/s', { files, clock: new ManualClock(), log: silent });
    this.actuated.set('u1', { containers: { a: before.spec.containers[0]?.resources ?? {} }, pod: undefined });
    const { cpuShares = 2, ...limits } = podCgroupLimits(before, facts);
    this.cgroup = { ...limits, cpuShares };
  }

  async resize(to: Pod): Promise<void> {
    const [a] = to.spec.containers;
    const running = runtime([sandbox()], a === undefined ? [] : [record(a)]);
    const actuated = this.actuated.get('u1') ?? { containers: {}, pod: undefined };
    const plan = resizePlan(to, running, 's0', {
      actuated,
      cgroupOutdated: true,
      gates: { initContainers: true, podLevel: true },
    });
    const actuator = new ResizeActuator({
      cri: {
        updatePodSandboxResources: async (_id, _overhead, resources) => this.sandbox(resources),
        updateContainerResources: async (_id, resources) => this.note(`container ${shown(resources)}`),
        containerStats: async (id) => ({
          id,
          metadata: { name: 'a', attempt: 0 },
          labels: {},
          annotations: {},
          memory: { atMs: 0, workingSetBytes: this.usage, usageBytes: this.usage },
        }),
      },
      cgroups: {
        limitsOf: (pod) => podCgroupLimits(pod, this.node),
        current: async () => ({ ...this.cgroup, memoryUsage: this.usage }),
        set: async (_pod, limits) => {
          this.note(`pod ${JSON.stringify(limits)}`);
          this.cgroup = { ...this.cgroup, ...limits };
        },
      },
      actuated: this.actuated,
      resourcesOf: (pod, container) => linuxResourcesOf(pod, container, this.node),
      cfsQuota: true,
      metrics: new Metrics(),
      clock: new ManualClock(),
      log: silent,
    });
    await actuator.resize(to, 's0', plan);
  }

  private sandbox(resources: LinuxResources): void {
    this.done.push(`runtime ${shown(resources)}`);
    if (this.sandboxCall === 'unimplemented') throw new CodedError('Unimplemented', 'unknown method');
    if (this.sandboxCall === 'known') return;
    throw new CodedError('Internal', this.sandboxCall, { grpcCode: 2 });
  }

  private note(what: string): void {
    if (this.fail !== undefined && what.startsWith(this.fail)) throw new CodedError('Conflict', `${what}: EBUSY`);
    this.done.push(what);
  }
}

function shown({
  cpuQuota,
  cpuShares,
  memoryLimitInBytes = 0,
}: LinuxResources | (CgroupLimits & LinuxResources)): string {
  return `${cpuShares} ${cpuQuota} ${memoryLimitInBytes / MIB}Mi`;
}

describe('bringing a resize into force', () => {
  it('grows memory, then cpu: the runtime hears of it, then the pod, then its containers', async () => {
    const lab = new Lab(podWith('1', '64Mi'));
    await lab.resize(podWith('2', '128Mi'));
    expect(lab.done).toEqual([
      'runtime 1024 100000 128Mi',
      `pod {"memoryLimit":${128 * MIB}}`,
      'container 1024 100000 128Mi',
      'runtime 1024 200000 128Mi',
      'pod {"cpuQuota":200000,"cpuPeriod":100000}',
      'runtime 2048 200000 128Mi',
      'pod {"cpuShares":2048}',
      'container 2048 200000 128Mi',
    ]);
    expect(lab.actuated.get('u1')?.containers['a']).toEqual(of('2000m', '128Mi'));
  });

  it('shrinks in the opposite order, requests before limits', async () => {
    const lab = new Lab(podWith('2', '128Mi'));
    await lab.resize(podWith('1', '64Mi'));
    expect(lab.done.filter((what) => !what.startsWith('runtime'))).toEqual([
      'container 2048 200000 64Mi',
      `pod {"memoryLimit":${64 * MIB}}`,
      'container 1024 100000 64Mi',
      'pod {"cpuShares":1024}',
      'pod {"cpuQuota":100000,"cpuPeriod":100000}',
    ]);
  });

  it('keeps as much memory for the pod as it asks for (MemoryQoS), more before and less after its containers', async () => {
    const memoryQos = { tiered: true, throttlingFactor: 0.9, allocatableBytes: 2 ** 32 };
    const lab = new Lab(podWith('1', '64Mi'), { ...node, cgroupVersion: 2, memoryQos });
    const kept = (mib: number): string => `pod {"unified":{"memory.min":"${mib * MIB}","memory.low":"0"}}`;
    await lab.resize(podWith('1', '128Mi'));
    const grown = lab.done.splice(0).filter((what) => !what.startsWith('runtime'));
    expect(grown).toEqual([`pod {"memoryLimit":${128 * MIB}}`, kept(128), 'container 1024 100000 128Mi']);
    await lab.resize(podWith('1', '64Mi'));
    const shrunk = lab.done.filter((what) => !what.startsWith('runtime'));
    expect(shrunk).toEqual(['container 1024 100000 64Mi', kept(64), `pod {"memoryLimit":${64 * MIB}}`]);
  });

  it('touches nothing while memory that is to be taken away is in use', async () => {
    const lab = new Lab(podWith('1', '128Mi'));
    lab.usage = 64 * MIB;
    await expect(lab.resize(podWith('1', '64Mi'))).rejects.toThrow(
      'cannot decrease memory limits: [attempting to set pod memory limit (67108864) below current usage (67108864), ' +
        'attempting to set container "a" memory limit (67108864) below current usage (67108864)]',
    );
    expect(lab.done).toEqual([]);
  });

  it('goes on with a runtime that cannot be told, and stops at one that says no', async () => {
    for (const sandboxCall of ['unimplemented', 'not implemented yet'] as const) {
      const lab = new Lab(podWith('1', '64Mi'));
      lab.sandboxCall = sandboxCall;
      await lab.resize(podWith('2', '64Mi'));
      expect(lab.cgroup.cpuQuota).toBe(200_000);
    }
    const lab = new Lab(podWith('1', '64Mi'));
    lab.sandboxCall = 'refused';
    await expect(lab.resize(podWith('1', '128Mi'))).rejects.toThrow(
      'failed to notify runtime for UpdatePodSandboxResources (resource=memory); resize rejected: refused',
    );
    expect(lab.done).toEqual(['runtime 1024 100000 128Mi']);
  });

  it('tells the runtime when a change of the pod’s cgroup had to be taken back', async () => {
    const lab = new Lab(podWith('1', '64Mi'));
    lab.fail = 'pod';
    await expect(lab.resize(podWith('1', '128Mi'))).rejects.toThrow('EBUSY');
    expect(lab.done).toEqual(['runtime 1024 100000 128Mi', 'runtime 1024 100000 64Mi']);
  });

  it('remembers how far it came', async () => {
    const lab = new Lab(podWith('1', '64Mi'));
    lab.fail = 'pod {"cpuShares"';
    await expect(lab.resize(podWith('2', '128Mi'))).rejects.toThrow('EBUSY');
    expect(lab.actuated.get('u1')?.containers['a']).toEqual(of('1000m', '128Mi'));
    lab.fail = undefined;
    lab.done.length = 0;
    await lab.resize(podWith('2', '128Mi'));
    expect(lab.done).toEqual(['runtime 2048 200000 128Mi', 'pod {"cpuShares":2048}', 'container 2048 200000 128Mi']);
  });
});
