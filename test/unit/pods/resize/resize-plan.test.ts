import { describe, expect, it } from 'vitest';
import type { Container, Pod, ResourceRequirements } from '../../../../src/model/pod.ts';
import { planPod } from '../../../../src/pods/diff/plan-pod.ts';
import { allocationOf, type PodAllocation, withAllocation } from '../../../../src/pods/resize/allocation.ts';
import { isResizeInProgress, resizePlan } from '../../../../src/pods/resize/resize-plan.ts';
import { infeasible } from '../../../../src/pods/resize/resize-rules.ts';
import { container, exited, facts, input, pod, record, runtime, sandbox } from '../builders.ts';

const gates = { initContainers: true, podLevel: true };
const of = (cpu: string, memory: string): ResourceRequirements => ({
  requests: { cpu, memory },
  limits: { cpu, memory },
});
const sized = (name: string, resources: ResourceRequirements, more: Partial<Container> = {}): Container =>
  container(name, { resources, ...more });
const restartFor = (resourceName: string): Partial<Container> => ({
  resizePolicy: [{ resourceName, restartPolicy: 'RestartContainer' }],
});
const actuated = (containers: Record<string, ResourceRequirements>, own?: ResourceRequirements): PodAllocation => ({
  containers,
  pod: own,
});
const planOf = (of: Pod, before: PodAllocation, cgroupOutdated = true) =>
  resizePlan(
    of,
    runtime(
      [sandbox()],
      [...of.spec.containers, ...(of.spec.initContainers ?? [])].map((one) => record(one)),
    ),
    's0',
    { actuated: before, cgroupOutdated, gates },
  );

describe('what a pod was granted', () => {
  const asks = pod({
    containers: [sized('a', of('2', '2Gi'))],
    initContainers: [sized('i', of('1', '1Gi'))],
    resources: of('3', '3Gi'),
  });

  it('stands in for what it asks for, and is the same object where there is no difference', () => {
    const granted = { containers: { a: of('1', '1Gi') }, pod: of('3', '3Gi') };
    const result = withAllocation(asks, granted, gates);
    expect(result.spec.containers[0]?.resources).toEqual(of('1', '1Gi'));
    expect(result.spec.initContainers).toEqual(asks.spec.initContainers);
    expect(withAllocation(asks, allocationOf(asks, gates), gates)).toBe(asks);
    const written = { containers: { a: of('2000m', '2048Mi') }, pod: of('3000m', '3Gi') };
    expect(withAllocation(asks, written, gates)).toBe(asks);
  });

  it('leaves to their fate what the gates exclude', () => {
    const none = { initContainers: false, podLevel: false };
    expect(allocationOf(asks, none)).toEqual({ containers: { a: of('2', '2Gi') }, pod: undefined });
    expect(withAllocation(asks, { containers: {}, pod: of('1', '1Gi') }, none)).toBe(asks);
  });
});

describe('the plan of a resize', () => {
  it('is empty when all is in force', () => {
    const plan = planOf(pod({ containers: [sized('a', of('1', '1Gi'))] }), actuated({ a: of('1', '1Gi') }), false);
    expect(plan).toEqual({ restart: new Set(), memory: [], cpu: [], pod: false });
  });

  it('shrinks containers before it grows others, resource by resource', () => {
    const wants = pod({ containers: [sized('a', of('2', '1Gi')), sized('b', of('1', '3Gi'))] });
    const plan = planOf(wants, actuated({ a: of('1', '2Gi'), b: of('2', '1Gi') }));
    expect(plan.memory.map(({ name }) => name)).toEqual(['a', 'b']);
    expect(plan.cpu.map(({ name }) => name)).toEqual(['b', 'a']);
    expect(plan.cpu[0]).toMatchObject({
      from: { cpuLimit: 2000, memoryLimit: 2 ** 30 },
      to: { cpuLimit: 1000, memoryLimit: 3 * 2 ** 30 },
    });
  });

  it('restarts for a resource only if that resource changes', () => {
    const wants = (cpu: string, memory: string): Pod =>
      pod({ containers: [sized('a', of(cpu, memory), restartFor('memory'))] });
    expect(planOf(wants('2', '1Gi'), actuated({ a: of('1', '1Gi') }))).toMatchObject({ restart: new Set() });
    const both = planOf(wants('2', '2Gi'), actuated({ a: of('1', '1Gi') }));
    expect(both).toMatchObject({ restart: new Set(['a']), cpu: [], memory: [] });
  });

  it('gives a container without a limit that of its pod', () => {
    const wants = pod({ containers: [container('a')], resources: of('2', '2Gi') });
    const plan = planOf(wants, actuated({ a: { limits: { cpu: '1', memory: '1Gi' } } }, of('1', '1Gi')), false);
    expect(plan.memory[0]?.to).toMatchObject({ memoryLimit: 2 * 2 ** 30, memoryRequest: 0 });
    expect(plan.pod).toBe(true);
  });
});

describe('a pod’s plan with a resize in it', () => {
  const before = actuated({ a: of('1', '1Gi') });
  const resize = { actuated: before, cgroupOutdated: true, gates };
  const live = (of: Container) => ({ runtime: runtime([sandbox()], [record(of)]) });

  it('has the resize, and starts nothing meanwhile', () => {
    const a = sized('a', of('2', '1Gi'));
    const wants = pod({ containers: [a, sized('b', of('1', '1Gi'))] });
    const plan = planPod(input({ pod: wants, ...live(a), resize }));
    expect(plan.steps.map((step) => step.do)).toEqual(['resizePod']);
    const running = facts({ running: new Set(['resizePod']) });
    expect(planPod(input({ pod: wants, ...live(a), resize, facts: running })).steps).toEqual([]);
  });

  it('does not hold up the rest once it has failed', () => {
    const a = sized('a', of('2', '1Gi'));
    const wants = pod({ containers: [a, sized('b', of('1', '1Gi'))] });
    const failed = input({ pod: wants, ...live(a), resize }).now;
    const failures = new Map([
      ['resizePod', { reason: 'ResizeError', message: 'no', backoff: { failedAt: failed, delayMs: 1000 } }],
    ]);
    const plan = planPod(input({ pod: wants, ...live(a), resize, facts: facts({ failures }) }));
    expect(plan.steps.map((step) => step.do)).toEqual(['ensureImage']);
    expect(plan.againAt).toBe(failed + 1000);
  });

  it('stops a container that is to be restarted, before the pod shrinks, and starts it again whatever its policy', () => {
    const a = sized('a', of('1', '512Mi'), restartFor('memory'));
    const wants = pod({ containers: [a], restartPolicy: 'OnFailure' });
    const [kill, ...more] = planPod(input({ pod: wants, ...live(a), resize })).steps;
    expect(kill).toMatchObject({ do: 'beginKill', message: 'Container a resize requires restart' });
    expect(more).toEqual([]);
    const kills = new Map([['a-0', { since: 0, deadline: 0, preStopDone: true, stopSentFor: 0 }]]);
    const down = { runtime: runtime([sandbox()], [exited(a, 0)]), facts: facts({ kills }) };
    const next = planPod(input({ pod: wants, ...down, resize }));
    expect(next.mode).toBe('sync');
    expect(next.steps.map((step) => step.do)).toEqual(['resizePod']);
    const rest = planPod(input({ pod: wants, ...down, resize: { ...resize, cgroupOutdated: false } }));
    expect(rest.steps.map((step) => step.do)).toEqual(['ensureImage']);
    expect(isResizeInProgress(wants, down.runtime, resize)).toBe(true);
  });
});

describe('what this node cannot resize', () => {
  const rules = { gates, staticCpus: false, staticMemory: false, swaps: () => false };
  const has = pod({ containers: [sized('a', of('1', '1Gi'))] });
  const more = pod({ containers: [sized('a', of('2', '2Gi'))] });

  it.each([
    [
      'exclusive CPUs',
      { staticCpus: true },
      'Resize is infeasible for Guaranteed Pods alongside CPU Manager policy "static"',
    ],
    [
      'pinned memory',
      { staticMemory: true },
      'Resize is infeasible for Guaranteed Pods alongside Memory Manager policy "Static"',
    ],
    ['swap', { swaps: () => true }, 'In-place resize of containers with swap is not supported.'],
  ])('%s', (_what, rule, message) => {
    expect(infeasible(more, has, { ...rules, ...rule })?.message).toBe(message);
    expect(infeasible(has, has, { ...rules, ...rule })).toBeUndefined();
  });

  it('a pod’s own resources without their gate', () => {
    const own = { ...has, spec: { ...has.spec, resources: of('2', '2Gi') } };
    expect(infeasible(own, has, { ...rules, gates: { ...gates, podLevel: false } })?.message).toBe(
      'InPlacePodLevelResourcesVerticalScaling is disabled',
    );
    expect(infeasible(own, has, rules)).toBeUndefined();
  });

  it('but what swaps may be restarted for it', () => {
    const again = pod({ containers: [sized('a', of('1', '1Gi'), restartFor('memory'))] });
    expect(infeasible(more, again, { ...rules, swaps: () => true })).toBeUndefined();
  });
});
