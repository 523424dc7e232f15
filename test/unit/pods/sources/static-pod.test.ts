import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { StaticPodDecoder } from '../../../../src/daemon/static-pod-decoder.ts';
import { staticPod } from '../../../../src/pods/sources/static-pod.ts';
import { manifest, NODE, podFrom } from './support.ts';

interface Vector {
  readonly name: string;
  readonly text: string;
  /** What kubelet says that the pod may not name. */
  readonly reference?: string;
}

const vectors = JSON.parse(readFileSync(new URL('static-pod-vectors.json', import.meta.url), 'utf8')) as Vector[];

describe('a static pod', () => {
  it('gets its identity as kubelet gives it', async () => {
    const pod = await podFrom(manifest('web'), '/m/web.yaml', Date.parse('2026-01-02T03:04:05Z'));
    expect(pod).toMatchObject({
      metadata: {
        name: 'web-node-1',
        namespace: 'default',
        uid: expect.stringMatching(/^[0-9a-f]{32}$/),
        annotations: {
          'kubernetes.io/config.hash': pod.metadata.uid,
          'kubernetes.io/config.source': 'file',
          'kubernetes.io/config.seen': '2026-01-02T03:04:05.000Z',
        },
      },
      spec: {
        nodeName: NODE,
        tolerations: [{ operator: 'Exists', effect: 'NoExecute' }],
        terminationGracePeriodSeconds: 30,
        restartPolicy: 'Always',
      },
      status: { phase: 'Pending' },
    });
  });

  it.each(['../../../etc', 'a/b', '..', 'x\\n'])('never has a path for its UID: %s', async (uid) => {
    const text = JSON.stringify({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'web', uid },
      spec: { containers: [{ name: 'c', image: 'x' }] },
    });
    await expect(podFrom(text, '/m/web.json')).rejects.toThrow(
      `/m/web.json: metadata.uid: Invalid value: ${JSON.stringify(uid)}: must be 1-253 letters`,
    );
    expect((await podFrom(text.replace(JSON.stringify(uid), '"own-1"'))).metadata.uid).toBe('own-1');
  });

  it('has its toleration once', async () => {
    const twice = manifest(
      'web',
      'x',
      '  tolerations: [{operator: Exists, effect: NoExecute}, {key: a, operator: Exists}]\n',
    );
    expect((await podFrom(twice)).spec.tolerations).toEqual([
      { operator: 'Exists', effect: 'NoExecute' },
      { key: 'a', operator: 'Exists' },
    ]);
    const limited = manifest(
      'web',
      'x',
      '  tolerations: [{operator: Exists, effect: NoExecute, tolerationSeconds: 5}]\n',
    );
    expect((await podFrom(limited)).spec.tolerations).toEqual([{ operator: 'Exists', effect: 'NoExecute' }]);
  });

  it('is not tolerant by itself when it comes from a URL', async () => {
    const [decoded] = await new StaticPodDecoder().decode(manifest('web'), 'u');
    if (decoded === undefined) throw new Error('nothing decoded');
    const pod = staticPod(decoded, { kind: 'http', url: 'http://a/' }, { nodeName: NODE, seenAt: 0 });
    expect(pod.spec.tolerations).toBeUndefined();
    expect(pod.metadata.name).toBe('web-node-1');
    expect(pod.metadata.annotations?.['kubernetes.io/config.source']).toBe('http');
  });

  it.each(vectors.filter(({ reference }) => reference !== undefined))(
    'may not name what only the API has: $name',
    async ({ text, reference }) => {
      await expect(podFrom(text)).rejects.toThrow(`static pods may not reference ${reference}`);
    },
  );

  it.each([
    ['  containers: 7\n', /a\.yaml:5:3: spec\.containers: .*must be a list/],
    ['  containers:\n  - name: A_b\n    image: x\n', /a\.yaml:6:5: spec\.containers\[0\]\.name: .*RFC 1123/],
    ['  containers:\n  - name: c\n', /a\.yaml:6:\d+: spec\.containers\[0\]\.image: Required value/],
    ['  containers: []\n  restartPolicy: Sometimes\n', /a\.yaml:6:3: spec\.restartPolicy: .*Unsupported value/],
  ])('tells where it is wrong: %j', async (spec, expected) => {
    await expect(podFrom(`apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n${spec}`, 'a.yaml')).rejects.toThrow(
      expected,
    );
  });

  it.each([
    ['', /is empty, a Pod is expected/],
    ['a: [', /a\.yaml:1/],
    ['apiVersion: v1\nkind: Service\nmetadata: {name: a}\n', /a Pod of apiVersion v1 is expected, not v1, Service/],
    ['apiVersion: v1\nkind: Pod\nspec: {containers: [{name: c, image: x}]}\n', /name is needed for the pod/],
  ])('refuses %j', async (text, expected) => {
    await expect(podFrom(text, 'a.yaml')).rejects.toThrow(expected);
  });

  it('passes over fields that nobody knows, and says so', async () => {
    const [decoded] = await new StaticPodDecoder().decode(manifest('a', 'x', '  colour: red\n'), 'a.yaml');
    expect(decoded?.warnings.join()).toMatch(/a\.yaml:6:3: spec\.colour: unknown field/);
    expect((await podFrom(manifest('a', 'x', '  colour: red\n'))).spec).not.toHaveProperty('colour');
  });

  it('is the first document only, and says so', async () => {
    const decoded = await new StaticPodDecoder().decode(`${manifest('a')}---\n${manifest('b')}`, 'a.yaml');
    expect(decoded.map(({ pod }) => pod.metadata.name)).toEqual(['a']);
    expect(decoded[0]?.warnings.join()).toMatch(/only the first document/);
  });
});
