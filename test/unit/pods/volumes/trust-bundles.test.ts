import { X509Certificate } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { CodedError } from '../../../../src/kit/errors.ts';
import { ManualClock } from '../../../../src/kit/manual-clock.ts';
import type { ClusterTrustBundle } from '../../../../src/model/certificates.ts';
import type { Pod, VolumeProjection } from '../../../../src/model/pod.ts';
import { resources } from '../../../../src/model/resource.ts';
import { collectPayload } from '../../../../src/pods/volumes/collect-payload.ts';
import { TrustBundles } from '../../../../src/pods/volumes/trust-bundles.ts';
import { TestPki } from '../../cluster/test-pki.ts';
import { FakeView } from '../../services/support/fake-view.ts';
import { mistakesOf } from '../../standalone/admission/object-fixtures.ts';

const SIGNER = 'example.com/mesh';

describe('ClusterTrustBundles', () => {
  let one: TestPki;
  let two: TestPki;
  let view: FakeView<ClusterTrustBundle>;
  let clock: ManualClock;
  let bundles: TrustBundles;

  beforeAll(() => {
    one = new TestPki();
    two = new TestPki();
  });
  afterAll(() => {
    one.close();
    two.close();
  });
  beforeEach(() => {
    clock = new ManualClock();
    view = new FakeView<ClusterTrustBundle>();
    bundles = new TrustBundles({ view: () => view, clock });
  });

  const bundle = (name: string, trustBundle: string, signerName?: string, zone = 'a'): ClusterTrustBundle => ({
    metadata: { name, labels: { zone } },
    spec: { trustBundle, ...(signerName === undefined ? {} : { signerName }) },
  });
  /** Fingerprints of the certificates in a PEM text, in no order. */
  const prints = (pem: string): string[] =>
    (pem.match(/-----BEGIN [\s\S]*?-----END CERTIFICATE-----\n/g) ?? [])
      .map((text) => new X509Certificate(text).fingerprint256)
      .sort();

  it('are normalized: each certificate once, in PEM and nothing else, in an order that stays', async () => {
    const text = `a word before\n${one.ca.replaceAll('\n', '\r\n')}${two.ca}# between\n${one.ca}`;
    view.put(bundle('mine', text));
    const pem = await bundles.byName('mine', false);
    expect(pem).toMatch(/^(-----BEGIN CERTIFICATE-----\n([\w+/=]{1,64}\n)+-----END CERTIFICATE-----\n){2}$/);
    expect(prints(pem)).toEqual(prints(one.ca + two.ca));
    expect(await bundles.byName('mine', false)).toBe(pem);
  });

  it('are selected by signer and labels, all of them together', async () => {
    view.put(
      bundle(`example.com:mesh:a`, one.ca, SIGNER),
      bundle(`example.com:mesh:b`, two.ca, SIGNER, 'b'),
      bundle('other.example:x:a', two.ca, 'other.example/x'),
    );
    expect(prints(await bundles.bySigner(SIGNER, {}, false))).toEqual(prints(one.ca + two.ca));
    expect(prints(await bundles.bySigner(SIGNER, { matchLabels: { zone: 'a' } }, false))).toEqual(prints(one.ca));
    await expect(bundles.bySigner(SIGNER, undefined, false)).rejects.toThrow('matched zero ClusterTrustBundles');
    expect(await bundles.bySigner(SIGNER, { matchLabels: { zone: 'c' } }, true)).toBe('');
  });

  it('may be missing where the pod says so', async () => {
    await expect(bundles.byName('none', false)).rejects.toThrow('"none" not found');
    expect(await bundles.byName('none', true)).toBe('');
  });

  it('are waited for when the API has not told of them yet, but not for ever', async () => {
    view.synced = false;
    const late = bundles.byName('mine', false);
    late.catch(() => {});
    await clock.advance(10_000);
    await expect(late).rejects.toMatchObject({ code: 'Unavailable' });
    const waiting = bundles.byName('mine', false);
    view.put(bundle('mine', one.ca));
    view.markSynced();
    expect(prints(await waiting)).toEqual(prints(one.ca));
  });

  const project = async (source: VolumeProjection, spec: Partial<Pod['spec']> = {}, on = true) => {
    const pod: Pod = { metadata: { name: 'p', uid: 'u' }, spec: { containers: [{ name: 'c' }], ...spec } };
    return collectPayload(
      pod,
      { name: 'v', projected: { sources: [source] } },
      {
        objects: { get: () => Promise.reject(new CodedError('NotFound', 'x')) },
        tokens: { token: async () => ({ token: 't', renewAt: 0 }) },
        allocatable: () => ({}),
        ...(on ? { trustBundles: bundles } : {}),
      },
    );
  };

  it('become files of volumes, shielded for one user or group', async () => {
    view.put(bundle('mine', one.ca));
    const source = { clusterTrustBundle: { name: 'mine', path: 'ca/bundle.pem' } };
    const { payload } = await project(source);
    expect(payload.get('ca/bundle.pem')).toMatchObject({ mode: 0o644 });
    expect(prints(String(payload.get('ca/bundle.pem')?.data))).toEqual(prints(one.ca));
    const shielded = await project(source, { securityContext: { runAsUser: 7, fsGroup: 9 } });
    expect(shielded.payload.get('ca/bundle.pem')).toMatchObject({ mode: 0o600, uid: 7 });
    await expect(project({ clusterTrustBundle: { path: 'x' } })).rejects.toThrow(
      'ClusterTrustBundle projection requires either name or signerName to be set',
    );
  });

  it('are refused by name where the gates are off', async () => {
    await expect(project({ clusterTrustBundle: { name: 'mine', path: 'x' } }, {}, false)).rejects.toThrow(
      'projection of clusterTrustBundle needs the feature gates ClusterTrustBundle and ClusterTrustBundleProjection',
    );
  });

  it('are checked by the embedded API', () => {
    const check = (name: string, spec: ClusterTrustBundle['spec'], previous?: ClusterTrustBundle): string[] =>
      mistakesOf(resources.clustertrustbundles, { metadata: { name }, spec }, previous);
    expect(check('mine', { trustBundle: one.ca + two.ca })).toEqual([]);
    expect(check('example.com:mesh:v1', { signerName: SIGNER, trustBundle: one.ca })).toEqual([]);
    for (const [name, spec, mistake] of [
      ['a:b', { trustBundle: one.ca }, 'must not have ":" in its name'],
      ['mine', { signerName: SIGNER, trustBundle: one.ca }, 'must be named with prefix example.com:mesh:'],
      ['mine', { trustBundle: 'nothing' }, 'at least one trust anchor must be provided'],
      ['mine', { trustBundle: one.ca + one.ca }, 'duplicate trust anchor (indices [0 1])'],
      ['mine', { trustBundle: one.server().cert }, 'entry 0 does not have the CA bit set'],
      [
        'mine',
        { trustBundle: '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n' },
        'entry 0 does not parse as X.509',
      ],
      [
        'mine',
        { trustBundle: '-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n' },
        'entry 0 has bad block type: PRIVATE KEY',
      ],
    ] as const) {
      expect(check(name, spec).join()).toContain(mistake);
    }
    const before = bundle('example.com:mesh:a', one.ca, SIGNER);
    expect(check('example.com:mesh:a', { signerName: 'b.example/x', trustBundle: one.ca }, before).join()).toContain(
      'spec.signerName: Invalid value: "b.example/x": field is immutable',
    );
  });
});
