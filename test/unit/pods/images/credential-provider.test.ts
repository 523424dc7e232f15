import { beforeEach, describe, expect, it } from 'vitest';
import type { ProgramRequest, ProgramResult, Programs } from '../../../../src/host/command/port.ts';
import { CodedError } from '../../../../src/kit/errors.ts';
import { silent } from '../../../../src/kit/log.ts';
import { ManualClock } from '../../../../src/kit/manual-clock.ts';
import { Metrics } from '../../../../src/kit/metrics.ts';
import type { PodSpec } from '../../../../src/model/pod.ts';
import {
  CredentialProviderMetrics,
  type CredentialProviderSettings,
  CredentialProviders,
  type TokenAttributes,
} from '../../../../src/pods/images/credential-provider.ts';
import { readCredentialResponse } from '../../../../src/pods/images/credential-response.ts';
import { pod } from '../builders.ts';

const V1 = 'credentialprovider.kubelet.k8s.io/v1';
const never = new AbortController().signal;

interface PluginRequest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly image: string;
  readonly serviceAccountToken?: string;
  readonly serviceAccountAnnotations?: Record<string, string>;
}

type Plugin = (request: PluginRequest, whole: ProgramRequest) => Partial<ProgramResult> | object;

/** Programs as functions of what they are sent; they have a path, start, and end somehow. */
class ProgramsInMemory implements Programs {
  readonly plugins = new Map<string, Plugin>();
  runs = 0;

  async check(path: string): Promise<void> {
    if (!this.plugins.has(path)) throw new CodedError('NotFound', `${path} did not exist`);
  }

  async run(request: ProgramRequest): Promise<ProgramResult> {
    this.runs++;
    const plugin = this.plugins.get(request.path);
    if (plugin === undefined) throw new CodedError('Unavailable', `${request.path} cannot be run: ENOENT`);
    const answer = plugin(JSON.parse(request.input) as PluginRequest, request);
    const ended = 'failure' in answer || 'stdout' in answer ? answer : { stdout: JSON.stringify(answer) };
    return { failure: undefined, stdout: '', stderr: '', ...ended };
  }
}

const response = (auth: object, more: object = {}) => ({
  apiVersion: V1,
  kind: 'CredentialProviderResponse',
  cacheKeyType: 'Image',
  cacheDuration: '0s',
  auth,
  ...more,
});
const login = (password: string) => ({ 'r.example.com': { username: 'u', password } });

describe('CredentialProviders', () => {
  let programs: ProgramsInMemory;
  let clock: ManualClock;
  let metrics: Metrics;
  let annotations: Record<string, string>;
  let tokens: number;
  beforeEach(() => {
    programs = new ProgramsInMemory();
    clock = new ManualClock();
    metrics = new Metrics();
    annotations = {};
    tokens = 0;
  });

  function open(...settings: (Partial<CredentialProviderSettings> & { tokenAttributes?: TokenAttributes })[]) {
    metrics = new Metrics();
    return new CredentialProviders(
      {
        binDir: '/plugins',
        providers: settings.map((more, index) => ({
          name: `plugin${index}`,
          apiVersion: V1,
          matchImages: ['*.example.com'],
          defaultCacheMs: 0,
          args: [],
          environment: {},
          ...more,
        })),
      },
      {
        programs,
        tokens: {
          token: async ({ serviceAccountUid, audience, podUid }) => ({
            token: `token ${++tokens} for ${podUid} as ${serviceAccountUid} to ${audience}`,
            renewAt: 0,
          }),
        },
        serviceAccount: async (namespace, name) => ({ metadata: { namespace, name, uid: 'sa-uid', annotations } }),
        metrics: new CredentialProviderMetrics(metrics),
        clock,
        log: silent,
      },
    );
  }

  const passwords = async (providers: CredentialProviders, image = 'r.example.com/app', spec: Partial<PodSpec> = {}) =>
    (await providers.lookup(image, pod({ serviceAccountName: 'robot', ...spec }), never)).map(
      ({ password }) => password,
    );

  it('sends the image to the program and takes the logins that fit it', async () => {
    let seen: [PluginRequest, ProgramRequest] | undefined;
    programs.plugins.set('/plugins/plugin0', (request, whole) => {
      seen = [request, whole];
      return response({ ...login('p'), 'other.example.com': { username: 'x', password: 'x' } });
    });
    const providers = open({ args: ['--get', 'it'], environment: { REGION: 'north' } });
    expect(await passwords(providers)).toEqual(['p']);
    expect(seen?.[0]).toEqual({ kind: 'CredentialProviderRequest', apiVersion: V1, image: 'r.example.com/app' });
    expect(seen?.[1]).toMatchObject({ args: ['--get', 'it'], environment: { REGION: 'north' }, deadlineMs: 60_000 });
  });

  it('is not run for other images', async () => {
    expect(await passwords(open({}), 'elsewhere.org/app')).toEqual([]);
    expect(programs.runs).toBe(0);
  });

  it.each<[string, Plugin]>([
    ['ends badly', () => ({ failure: 'exit status 1', stderr: 'no network' })],
    ['writes nonsense', () => ({ stdout: 'hello' })],
    ['answers in another version', () => response(login('p'), { apiVersion: `${V1}beta1` })],
    ['answers another kind', () => response(login('p'), { kind: 'Status' })],
    ['names no way to keep it', () => response(login('p'), { cacheKeyType: 'Often' })],
    ['has fields that nobody knows', () => response(login('p'), { extra: 1 })],
  ])('one that %s is done without; the next one counts', async (_what, plugin) => {
    programs.plugins.set('/plugins/plugin0', plugin);
    programs.plugins.set('/plugins/plugin1', () => response(login('second')));
    expect(await passwords(open({}, {}))).toEqual(['second']);
  });

  it('counts runs and those that failed', async () => {
    programs.plugins.set('/plugins/plugin0', () => ({ failure: 'signal: killed' }));
    const providers = open({});
    await passwords(providers);
    const text = await metrics.text();
    expect(text).toContain('kubelet_credential_provider_plugin_errors_total{plugin_name="plugin0"} 1');
    expect(text).toContain('kubelet_credential_provider_plugin_duration_count{plugin_name="plugin0"} 1');
  });

  it.each([
    ['Image', [1, 1, 2, 3]],
    ['Registry', [1, 1, 1, 2]],
    ['Global', [1, 1, 1, 1]],
  ])('%s: keeps an answer for as long as it says, and for what it says', async (cacheKeyType, runs) => {
    programs.plugins.set('/plugins/plugin0', () => response(login('p'), { cacheKeyType, cacheDuration: '10m' }));
    const providers = open({});
    const images = ['r.example.com/app', 'r.example.com/app', 'r.example.com/other', 's.example.com/app'];
    for (const [index, image] of images.entries()) {
      await passwords(providers, image);
      expect(programs.runs).toBe(runs[index]);
    }
    await clock.advance(10 * 60_000 + 1);
    await passwords(providers);
    expect(programs.runs).toBe((runs[3] ?? 0) + 1);
  });

  it('keeps it for the provider’s default time where the answer names none', async () => {
    programs.plugins.set('/plugins/plugin0', () => response(login('p'), { cacheDuration: null }));
    const kept = open({ defaultCacheMs: 60_000 });
    await passwords(kept);
    await passwords(kept);
    expect(programs.runs).toBe(1);
    const unkept = open({});
    await passwords(unkept);
    await passwords(unkept);
    expect(programs.runs).toBe(3);
  });

  it('asks once for those who ask at the same time', async () => {
    programs.plugins.set('/plugins/plugin0', () => response(login('p')));
    const providers = open({});
    expect(await Promise.all([passwords(providers), passwords(providers)])).toEqual([['p'], ['p']]);
    expect(programs.runs).toBe(1);
  });

  describe('with the pod’s service account', () => {
    const attributes: TokenAttributes = {
      audience: 'registry',
      cacheType: 'ServiceAccount',
      requireServiceAccount: true,
      requiredAnnotations: [],
      optionalAnnotations: [],
    };

    it('gives the plugin a token that is bound to the pod, and marks the login as the account’s', async () => {
      let seen: PluginRequest | undefined;
      programs.plugins.set('/plugins/plugin0', (request) => {
        seen = request;
        return response(login('p'));
      });
      annotations = { tenant: 't', region: 'r', other: 'o' };
      const wanted = { ...attributes, requiredAnnotations: ['tenant'], optionalAnnotations: ['region', 'absent'] };
      const [found] = await open({ tokenAttributes: wanted }).lookup(
        'r.example.com/app',
        pod({ serviceAccountName: 'robot' }),
        never,
      );
      expect(seen).toMatchObject({
        serviceAccountToken: 'token 1 for u1 as sa-uid to registry',
        serviceAccountAnnotations: { tenant: 't', region: 'r' },
      });
      expect(seen?.serviceAccountAnnotations).not.toHaveProperty('other');
      expect(found?.source).toEqual({
        kind: 'serviceAccount',
        serviceAccount: { uid: 'sa-uid', namespace: 'ns', name: 'robot' },
      });
    });

    it('accounts without the required annotation have not opted in', async () => {
      const wanted = { ...attributes, requiredAnnotations: ['tenant'] };
      expect(await passwords(open({ tokenAttributes: wanted }))).toEqual([]);
      expect(programs.runs).toBe(0);
    });

    it('pods without an account get nothing, unless the plugin does without', async () => {
      programs.plugins.set('/plugins/plugin0', () => response(login('p')));
      const none = { serviceAccountName: '' };
      expect(await passwords(open({ tokenAttributes: attributes }), undefined, none)).toEqual([]);
      const lenient = { ...attributes, requireServiceAccount: false };
      expect(await passwords(open({ tokenAttributes: lenient }), undefined, none)).toEqual(['p']);
      expect(tokens).toBe(0);
    });

    it('keeps answers per account, or per token where the answer depends on it', async () => {
      programs.plugins.set('/plugins/plugin0', () => response(login('p'), { cacheDuration: '1h' }));
      const perAccount = open({ tokenAttributes: attributes });
      await passwords(perAccount);
      await passwords(perAccount);
      expect(programs.runs).toBe(1);
      await passwords(perAccount, undefined, { serviceAccountName: 'other' });
      expect(programs.runs).toBe(2);
      const perToken = open({ tokenAttributes: { ...attributes, cacheType: 'Token' } });
      await passwords(perToken);
      await passwords(perToken);
      expect(programs.runs).toBe(4);
    });

    it('a plugin that hands the token on must say so', async () => {
      programs.plugins.set('/plugins/plugin0', ({ serviceAccountToken }) => response(login(serviceAccountToken ?? '')));
      expect(await passwords(open({ tokenAttributes: attributes }))).toEqual([]);
      expect(await passwords(open({ tokenAttributes: { ...attributes, cacheType: 'Token' } }))).toEqual([
        'token 2 for u1 as sa-uid to registry',
      ]);
    });
  });
});

describe('readCredentialResponse', () => {
  it('never quotes what a plugin wrote', () => {
    const secret = JSON.stringify(response({ 'r.example.com': { username: 'u', password: { p: 'secret' } } }));
    expect(() => readCredentialResponse(secret, V1)).toThrow(/^(?!.*secret)/);
    expect(() => readCredentialResponse('secret', V1)).toThrow(/^(?!.*secret)/);
  });

  it.each([
    ['1h30m', 5_400_000],
    ['250ms', 250],
    ['0', 0],
    [undefined, undefined],
  ])('reads the time %s', (cacheDuration, expected) => {
    const text = JSON.stringify(response({}, { cacheDuration }));
    expect(readCredentialResponse(text, V1).cacheMs).toBe(expected);
  });

  it.each(['soon', 5, '5'])('refuses the time %j', (cacheDuration) => {
    expect(() => readCredentialResponse(JSON.stringify(response({}, { cacheDuration })), V1)).toThrow();
  });
});
