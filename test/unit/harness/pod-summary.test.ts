import { describe, expect, it } from 'vitest';
import type { ContainerState, ContainerStatus, Pod, PodStatus } from '../../../src/model/pod.ts';
import { isSettled, summarize } from '../../harness/pod-summary.ts';

const container = (name: string, state: ContainerState, more: Partial<ContainerStatus> = {}): ContainerStatus => ({
  name,
  state,
  ready: false,
  restartCount: 0,
  image: 'i',
  imageID: 'i',
  ...more,
});

const pod = (status: PodStatus, initContainers: Pod['spec']['initContainers'] = []): Pod => ({
  metadata: { name: 'p' },
  spec: { initContainers, containers: [{ name: 'a', image: 'i' }] },
  status,
});

const waiting = (reason: string): ContainerState => ({ waiting: { reason } });
const exited = (exitCode: number, reason: string): ContainerState => ({ terminated: { exitCode, reason } });

describe('summarize', () => {
  it.each<[string, Pod]>([
    ['Running', pod({ phase: 'Running', containerStatuses: [container('a', { running: {} }, { ready: true })] })],
    ['CrashLoopBackOff', pod({ phase: 'Running', containerStatuses: [container('a', waiting('CrashLoopBackOff'))] })],
    ['OOMKilled', pod({ phase: 'Failed', containerStatuses: [container('a', exited(137, 'OOMKilled'))] })],
    ['Completed', pod({ phase: 'Succeeded', containerStatuses: [container('a', exited(0, 'Completed'))] })],
    [
      'Init:1/2',
      pod(
        {
          phase: 'Pending',
          initContainerStatuses: [
            container('one', exited(0, 'Completed')),
            container('two', { running: {} }, { started: false }),
          ],
        },
        [
          { name: 'one', image: 'i' },
          { name: 'two', image: 'i', restartPolicy: 'Always' },
        ],
      ),
    ],
    [
      'Init:Error',
      pod({ phase: 'Pending', initContainerStatuses: [container('one', exited(1, 'Error'))] }, [
        { name: 'one', image: 'i' },
      ]),
    ],
    ['Pending', pod({})],
  ])('says %s', (state, subject) => {
    expect(summarize(subject).state).toBe(state);
  });

  it('counts ready containers and restarts', () => {
    const status = container('a', { running: {} }, { ready: true, restartCount: 3 });
    expect(summarize(pod({ phase: 'Running', containerStatuses: [status] }))).toMatchObject({
      ready: '1/1',
      restarts: 3,
    });
  });

  it('settles when ready or succeeded, not when failed', () => {
    expect(isSettled(pod({ phase: 'Running', conditions: [{ type: 'Ready', status: 'True' }] }))).toBe(true);
    expect(isSettled(pod({ phase: 'Running', conditions: [{ type: 'Ready', status: 'False' }] }))).toBe(false);
    expect(isSettled(pod({ phase: 'Succeeded' }))).toBe(true);
    expect(isSettled(pod({ phase: 'Failed' }))).toBe(false);
  });
});
