import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { StaticPodDecoder } from '../../../../src/daemon/static-pod-decoder.ts';
import { isStaticPodUid, type StaticOrigin, staticPodUid } from '../../../../src/pods/sources/static-pod-uid.ts';

interface Vector {
  readonly name: string;
  readonly kind: 'file' | 'http';
  readonly source: string;
  readonly node: string;
  readonly uid: string;
  readonly text: string;
}

/** What kubelet 1.36's own code computed for these manifests. */
const vectors = JSON.parse(readFileSync(new URL('static-pod-vectors.json', import.meta.url), 'utf8')) as Vector[];

describe('the UID of a static pod is the one that kubelet gives it', () => {
  it.each(vectors)('$name', async ({ kind, source, node, uid, text }) => {
    const [decoded] = await new StaticPodDecoder().decode(text, source);
    const origin: StaticOrigin = kind === 'file' ? { kind, path: source, nodeName: node } : { kind, url: source };
    expect(staticPodUid(decoded?.written ?? {}, origin)).toEqual({ uid, exact: true });
    expect(isStaticPodUid(uid)).toBe(true);
  });

  it('is stable and marked as our own where a manifest has what cannot be reproduced', async () => {
    const text = `apiVersion: v1
kind: Pod
metadata: {name: a, creationTimestamp: "2026-01-01T00:00:00Z"}
spec: {containers: [{name: c, image: x}]}`;
    const uids = new Set<string>();
    for (let round = 0; round < 2; round++) {
      const [decoded] = await new StaticPodDecoder().decode(text, 'a.yaml');
      const result = staticPodUid(decoded?.written ?? {}, { kind: 'file', path: '/a.yaml', nodeName: 'n' });
      expect(result.exact).toBe(false);
      uids.add(result.uid);
    }
    expect(uids.size).toBe(1);
  });

  it('differs by node, path and content', async () => {
    const decode = async (image: string) =>
      (
        await new StaticPodDecoder().decode(
          `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"},"spec":{"containers":[{"name":"c","image":"${image}"}]}}`,
          'a',
        )
      )[0]?.written ?? {};
    const of = async (image: string, nodeName: string, path: string) =>
      staticPodUid(await decode(image), { kind: 'file', path, nodeName }).uid;
    const uids = await Promise.all([of('a', 'n', '/a'), of('b', 'n', '/a'), of('a', 'm', '/a'), of('a', 'n', '/b')]);
    expect(new Set(uids).size).toBe(4);
  });
});
