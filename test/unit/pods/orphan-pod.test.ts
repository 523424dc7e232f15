import { describe, expect, it } from 'vitest';
import { annotation } from '../../../src/pods/identity.ts';
import { orphanPod } from '../../../src/pods/orphan-pod.ts';
import { container, exited, record, runtime, sandbox } from './builders.ts';

const a = container('a');
const b = container('b');

describe('orphanPod', () => {
  it('has the identity and the containers that the runtime knows, each once', () => {
    const pod = orphanPod(
      runtime([sandbox()], [record(a, { restartCount: 1 }), exited(a, 1), record(b), record(container('old'))]),
    );
    expect(pod.metadata).toEqual({ uid: 'u1', namespace: 'ns', name: 'p' });
    expect(pod.spec.containers.map(({ name }) => name)).toEqual(['a', 'b', 'old']);
  });

  it.each([
    ['45', 45],
    ['0', 0],
    [undefined, 1],
    ['', 0],
    ['soon', 1],
    ['-3', 1],
    ['1.5', 1],
  ])('takes the grace that was written down, %s', (text, grace) => {
    const annotations = text === undefined ? {} : { [annotation.podTerminationGracePeriod]: text };
    const pod = orphanPod(runtime([sandbox()], [record(a, { annotations })]));
    expect(pod.spec.terminationGracePeriodSeconds).toBe(grace);
  });

  it('has a grace also without any container', () => {
    expect(orphanPod(runtime([sandbox()])).spec).toEqual({ containers: [], terminationGracePeriodSeconds: 1 });
  });

  it('runs the preStop hook that was written down for the newest container', () => {
    const preStop = { exec: { command: ['drain'] } };
    const hook = { [annotation.preStopHandler]: JSON.stringify(preStop) };
    const pod = orphanPod(
      runtime([sandbox()], [record(a, { restartCount: 1, annotations: hook }), exited(a, 1), record(b)]),
    );
    expect(pod.spec.containers).toEqual([{ name: 'a', lifecycle: { preStop } }, { name: 'b' }]);
  });

  it.each(['', '{', 'null', '"text"', '7'])('a hook that cannot be read is none: %s', (text) => {
    const pod = orphanPod(runtime([sandbox()], [record(a, { annotations: { [annotation.preStopHandler]: text } })]));
    expect(pod.spec.containers).toEqual([{ name: 'a' }]);
  });
});
