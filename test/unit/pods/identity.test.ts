import { describe, expect, it } from 'vitest';
import { containerHash, containerLogPath, identityOf, podLabels, podLogDirectory } from '../../../src/pods/identity.ts';

describe('containerHash', () => {
  // The value that kubelet's own test pins (pkg/kubelet/container/helpers_test.go, TestHashContainer), and values that
  // were computed apart from this code: FNV-1a over "([]uint8)[…]" of the JSON's bytes (go-spew's %#v).
  it.each([
    ['test_container', 'foo/image:v1', '8e45cbd0'],
    ['app', 'app:1', '5f7faf92'],
    ['web', 'registry.k8s.io/pause:3.10', '4f3b3ba7'],
    // encoding/json writes & < > as \u0026 \u003c \u003e.
    ['a', 'x&y<z>', '29e129ec'],
    ['nothing', undefined, 'b75bdea8'],
  ])('of %s with %s', (name, image, hash) => {
    expect(containerHash({ name, ...(image === undefined ? {} : { image }) })).toBe(hash);
  });

  it('follows name and image, and nothing else', () => {
    const base = { name: 'a', image: 'b:1' };
    const same = containerHash({ ...base, args: ['x'], env: [{ name: 'A', value: 'b' }], resources: {} });
    expect(same).toBe(containerHash(base));
    expect(containerHash({ ...base, image: 'b:2' })).not.toBe(same);
    expect(containerHash({ ...base, name: 'c' })).not.toBe(same);
  });
});

describe('the identity of a pod', () => {
  const pod = { metadata: { name: 'p', namespace: 'ns', uid: 'u-1' }, spec: { containers: [] } };

  it('is its UID, namespace and name', () => {
    expect(identityOf(pod)).toEqual({ uid: 'u-1', namespace: 'ns', name: 'p' });
    expect(identityOf({ metadata: { name: 'p' }, spec: { containers: [] } }).namespace).toBe('default');
  });

  it('labels what is made for it as kubelet does', () => {
    expect(podLabels(identityOf(pod))).toEqual({
      'io.kubernetes.pod.name': 'p',
      'io.kubernetes.pod.namespace': 'ns',
      'io.kubernetes.pod.uid': 'u-1',
    });
  });

  it('names its logs as kubelet does', () => {
    expect(podLogDirectory('/var/log/pods', identityOf(pod))).toBe('/var/log/pods/ns_p_u-1');
    expect(containerLogPath('app', 3)).toBe('app/3.log');
  });
});
