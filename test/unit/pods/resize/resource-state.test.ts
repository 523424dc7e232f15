import { describe, expect, it } from 'vitest';
import { CodedError } from '../../../../src/kit/errors.ts';
import { silent } from '../../../../src/kit/log.ts';
import { ManualClock } from '../../../../src/kit/manual-clock.ts';
import { readSealedData, sealedData } from '../../../../src/pods/checkpoint-text.ts';
import { ResourceState } from '../../../../src/pods/resize/resource-state.ts';

/** As kubelet's own test has it (allocation/state/state_checkpoint_test.go). */
const KUBELETS = `{"data":"{\\"entries\\":{\\"pod1\\":{\\"ContainerResources\\":{\\"container1\\":{\\"requests\\":{\\"cpu\\":\\"1Ki\\",\\"memory\\":\\"1Ki\\"}}}}}}","checksum":1178570812}`;

function disk(content?: string) {
  const files = new Map<string, string>(content === undefined ? [] : [['/state', content]]);
  return {
    files,
    port: {
      read: async (path: string) => {
        const text = files.get(path);
        if (text === undefined) throw new CodedError('NotFound', path);
        return Buffer.from(text);
      },
      write: async (path: string, data: Buffer | string) => void files.set(path, String(data)),
      rename: async (from: string, to: string) => {
        files.set(to, files.get(from) ?? '');
        files.delete(from);
      },
    },
  };
}
const open = async (content?: string) => {
  const { files, port } = disk(content);
  const clock = new ManualClock();
  const state = new ResourceState('/state', { files: port, clock, log: silent });
  await state.load();
  return { state, files, clock };
};

describe('what pods were granted, on disk', () => {
  it('reads what a kubelet wrote', async () => {
    const { state } = await open(KUBELETS);
    expect(state.get('pod1')).toEqual({
      containers: { container1: { requests: { cpu: '1Ki', memory: '1Ki' } } },
      pod: undefined,
    });
  });

  it('writes the same, in Go’s order, once for a burst', async () => {
    const { state, files, clock } = await open();
    state.setContainer('b', 'y', { requests: { memory: '1Mi', cpu: '1' }, limits: { cpu: '2' } });
    state.setContainer('b', 'x', {});
    state.setPodLevel('a', { limits: { cpu: '1' } });
    expect(files.size).toBe(0);
    await clock.advance(20);
    await state.flush();
    expect(readSealedData(files.get('/state') ?? '')).toBe(
      '{"entries":{"a":{"ContainerResources":{},"PodLevelResources":{"limits":{"cpu":"1"}}},' +
        '"b":{"ContainerResources":{"x":{},"y":{"limits":{"cpu":"2"},"requests":{"cpu":"1","memory":"1Mi"}}},' +
        '"PodLevelResources":null}}}',
    );
    expect([...files.keys()]).toEqual(['/state']);
  });

  it.each([
    ['a changed text', KUBELETS.replace('1Ki', '9Ki')],
    ['half a file', KUBELETS.slice(0, 40)],
    ['another kind of file', '{"a":1}'],
  ])('begins anew over %s', async (_what, content) => {
    const { state } = await open(content);
    expect(state.get('pod1')).toBeUndefined();
    state.set('p', { containers: {}, pod: undefined });
    await state.flush();
    expect(state.get('p')).toBeDefined();
  });

  it('forgets who is gone', async () => {
    const { state } = await open(KUBELETS);
    state.retain(new Set(['other']));
    expect(state.get('pod1')).toBeUndefined();
  });

  it('seals so that a change is found out', () => {
    expect(sealedData('{}')).toBe('{"data":"{}","checksum":694314937}');
    expect(() => readSealedData('{"data":"{}","checksum":1}')).toThrow('is corrupt');
  });
});
