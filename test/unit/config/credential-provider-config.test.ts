import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readCredentialProviderConfig } from '../../../src/config/credential-provider-config.ts';

const PROVIDER = {
  name: 'ecr',
  apiVersion: 'credentialprovider.kubelet.k8s.io/v1',
  matchImages: ['*.example.com'],
  defaultCacheDuration: '12h',
  args: ['get'],
  env: [{ name: 'REGION', value: 'north' }],
};
const TOKENS = { serviceAccountTokenAudience: 'a', cacheType: 'Token', requireServiceAccount: true };

describe('readCredentialProviderConfig', () => {
  let directory: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'deckhand-test-credential-'));
  });
  afterEach(() => rmSync(directory, { recursive: true }));

  function write(name: string, providers: readonly object[], more: object = {}): string {
    const path = join(directory, name);
    const content = { apiVersion: 'kubelet.config.k8s.io/v1', kind: 'CredentialProviderConfig', providers, ...more };
    writeFileSync(path, JSON.stringify(content));
    return path;
  }
  const mistakes = (path: string): Promise<string> =>
    readCredentialProviderConfig(path).then(
      () => 'none',
      (error: unknown) => (error instanceof Error ? error.message : String(error)),
    );

  it('reads a file', async () => {
    const { providers, hash } = await readCredentialProviderConfig(
      write('a.json', [{ ...PROVIDER, tokenAttributes: { ...TOKENS, requiredServiceAccountAnnotationKeys: ['t'] } }]),
    );
    expect(providers).toEqual([
      {
        name: 'ecr',
        apiVersion: 'credentialprovider.kubelet.k8s.io/v1',
        matchImages: ['*.example.com'],
        defaultCacheMs: 12 * 3_600_000,
        args: ['get'],
        environment: { REGION: 'north' },
        tokenAttributes: {
          audience: 'a',
          cacheType: 'Token',
          requireServiceAccount: true,
          requiredAnnotations: ['t'],
          optionalAnnotations: [],
        },
      },
    ]);
    expect(hash).toMatch(/^sha256:[0-9a-f]{64}$/);
  });

  it('reads a folder in the order of names, and other files not at all', async () => {
    write('20.yaml', [{ ...PROVIDER, name: 'two' }]);
    write('10.json', [{ ...PROVIDER, name: 'one' }]);
    write('30.txt', [{ ...PROVIDER, name: 'three' }]);
    mkdirSync(join(directory, '40.yaml.d'));
    const { providers } = await readCredentialProviderConfig(directory);
    expect(providers.map(({ name }) => name)).toEqual(['one', 'two']);
  });

  it('a name may be there once, whatever the file', async () => {
    write('1.yaml', [PROVIDER]);
    write('2.yaml', [PROVIDER]);
    expect(await mistakes(directory)).toContain('duplicate provider name "ecr"');
  });

  it.each<[string, object, RegExp]>([
    ['a path as its name', { name: '../sh' }, /providers\[0\]\.name is "\.\.\/sh"/],
    ['an unknown version', { apiVersion: 'v9' }, /apiVersion is "v9"/],
    ['no images', { matchImages: [] }, /matchImages must have at least one/],
    ['no cache time', { defaultCacheDuration: undefined }, /defaultCacheDuration is required/],
    ['a field that nobody knows', { matchImage: ['x'] }, /matchImage/],
    [
      'tokens in an old version',
      { apiVersion: 'credentialprovider.kubelet.k8s.io/v1beta1', tokenAttributes: TOKENS },
      /only supported/,
    ],
    [
      'tokens without an audience',
      { tokenAttributes: { ...TOKENS, serviceAccountTokenAudience: '' } },
      /Audience is required/,
    ],
    ['tokens without a cache type', { tokenAttributes: { ...TOKENS, cacheType: undefined } }, /cacheType is required/],
    [
      'annotations that are required of no account',
      { tokenAttributes: { ...TOKENS, requireServiceAccount: false, requiredServiceAccountAnnotationKeys: ['a'] } },
      /requireServiceAccount is false/,
    ],
    [
      'an annotation that is required and optional',
      {
        tokenAttributes: {
          ...TOKENS,
          requiredServiceAccountAnnotationKeys: ['a'],
          optionalServiceAccountAnnotationKeys: ['a'],
        },
      },
      /twice/,
    ],
  ])('refuses a provider with %s', async (_what, more, expected) => {
    expect(await mistakes(write('a.json', [{ ...PROVIDER, ...more }]))).toMatch(expected);
  });

  it('refuses what is no such file', async () => {
    expect(await mistakes(join(directory, 'none'))).toContain('ENOENT');
    expect(await mistakes(directory)).toContain('no configuration files found');
    expect(await mistakes(write('a.json', []))).toContain('at least one is required');
    expect(await mistakes(write('a.json', [PROVIDER], { kind: 'Pod' }))).toContain('expected CredentialProviderConfig');
    writeFileSync(join(directory, 'b.yaml'), '{');
    expect(await mistakes(join(directory, 'b.yaml'))).toContain('is not YAML');
  });
});
