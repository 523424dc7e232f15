import { createHash } from 'node:crypto';
import type { TokenSource } from '../../cluster/port.ts';
import type { Programs } from '../../host/command/port.ts';
import type { Clock } from '../../kit/clock.ts';
import { CodedError, hasCode, messageOf } from '../../kit/errors.ts';
import type { Logger } from '../../kit/log.ts';
import type { Metrics } from '../../kit/metrics.ts';
import type { ServiceAccount } from '../../model/objects.ts';
import type { Pod } from '../../model/pod.ts';
import { type CredentialResponse, readCredentialResponse } from './credential-response.ts';
import type { DockerConfig } from './docker-config.ts';
import { type Credential, type CredentialSource, Keyring } from './keyring.ts';
import { matchesImage } from './match-image.ts';
import type { CredentialLookup } from './pull-credentials.ts';

/** One entry of a CredentialProviderConfig (kubelet.config.k8s.io/v1). */
export interface CredentialProviderSettings {
  /** The program's name in the folder of plugins. */
  readonly name: string;
  /** credentialprovider.kubelet.k8s.io/v1, v1beta1 or v1alpha1. */
  readonly apiVersion: string;
  readonly matchImages: readonly string[];
  readonly defaultCacheMs: number;
  readonly args: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  /** Give the plugin a token of the pod's service account. */
  readonly tokenAttributes?: TokenAttributes | undefined;
}

export interface TokenAttributes {
  readonly audience: string;
  readonly cacheType: 'ServiceAccount' | 'Token';
  /** False: pods without a service account are asked for, too, without a token. */
  readonly requireServiceAccount: boolean;
  readonly requiredAnnotations: readonly string[];
  readonly optionalAnnotations: readonly string[];
}

export interface CredentialProvidersOptions {
  readonly binDir: string;
  /** In the order in which their credentials are tried. */
  readonly providers: readonly CredentialProviderSettings[];
}

export interface CredentialProvidersDeps {
  readonly programs: Programs;
  readonly tokens: Pick<TokenSource, 'token'>;
  readonly serviceAccount: (namespace: string, name: string, signal: AbortSignal) => Promise<ServiceAccount>;
  readonly metrics: CredentialProviderMetrics;
  readonly clock: Clock;
  readonly log: Logger;
}

export class CredentialProviderMetrics {
  readonly duration;
  readonly errors;
  readonly info;

  constructor(metrics: Metrics) {
    this.duration = metrics.histogram(
      'kubelet_credential_provider_plugin_duration',
      'How long credential provider plugins ran, in seconds.',
      [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
      ['plugin_name'],
    );
    this.errors = metrics.counter(
      'kubelet_credential_provider_plugin_errors_total',
      'Runs of credential provider plugins that failed.',
      ['plugin_name'],
    );
    this.info = metrics.gauge(
      'kubelet_credential_provider_config_info',
      'The hash of the credential provider configuration in use, as a label.',
      ['hash'],
    );
  }
}

const PLUGIN_MS = 60_000;
const LARGEST_ANSWER = 1 << 20;
const PURGE_MS = 15 * 60_000;
/** Not a registry's name, nor an image's. */
const ANY_IMAGE = '<global>';
/** What the API gives to a request that names no time. */
const TOKEN_SECONDS = 3600;

interface Identity {
  readonly token: string;
  readonly annotations: Readonly<Record<string, string>>;
  readonly source: CredentialSource;
  readonly cacheKey: string;
}

interface Cached {
  readonly config: DockerConfig;
  readonly until: number;
}

/** Credentials from the programs of a CredentialProviderConfig. One that fails is told of, and the pull does without. */
export class CredentialProviders implements CredentialLookup {
  private readonly options: CredentialProvidersOptions;
  private readonly deps: CredentialProvidersDeps;
  private readonly cached = new Map<string, Cached>();
  private readonly running = new Map<string, Promise<CredentialResponse>>();
  private purgedAt: number;

  constructor(options: CredentialProvidersOptions, deps: CredentialProvidersDeps) {
    this.options = options;
    this.deps = deps;
    this.purgedAt = deps.clock.monotonic();
  }

  async lookup(repository: string, pod: Pod, signal: AbortSignal): Promise<readonly Credential[]> {
    const { providers } = this.options;
    const fitting = providers.filter(({ matchImages }) => matchImages.some((glob) => matchesImage(glob, repository)));
    const answers = await Promise.all(
      fitting.map(async (provider) => {
        try {
          return await this.provide(provider, repository, pod, signal);
        } catch (error) {
          if (signal.aborted) throw error;
          this.deps.log.error(
            {
              provider: provider.name,
              image: repository,
              pod: `${pod.metadata.namespace}/${pod.metadata.name}`,
              error: messageOf(error),
            },
            'a credential provider plugin gave no credentials; the pull goes on without them',
          );
          return undefined;
        }
      }),
    );
    const keyring = new Keyring();
    for (const answer of answers) if (answer !== undefined) keyring.add(answer.source, answer.config);
    return keyring.lookup(repository);
  }

  private async provide(
    provider: CredentialProviderSettings,
    image: string,
    pod: Pod,
    signal: AbortSignal,
  ): Promise<{ readonly source: CredentialSource | undefined; readonly config: DockerConfig } | undefined> {
    const { tokenAttributes } = provider;
    let identity: Identity | undefined;
    if (tokenAttributes !== undefined) {
      const account = pod.spec.serviceAccountName ?? '';
      if (account !== '') {
        identity = await this.identityOf(pod, account, tokenAttributes, signal);
        if (identity === undefined) return undefined;
      } else if (tokenAttributes.requireServiceAccount) return undefined;
    }
    const source = identity?.source;
    const found = this.fromCache(provider, image, identity);
    if (found !== undefined) return { source, config: found };
    const response = await this.ask(provider, image, identity);
    const isEcho = [...response.auth.values()].some(({ password }) => password === identity?.token);
    if (isEcho && tokenAttributes?.cacheType !== 'Token') {
      throw new CodedError(
        'InvalidObject',
        'the plugin returned the service account token as the password, which needs tokenAttributes.cacheType Token',
      );
    }
    this.keep(provider, image, identity, response);
    return { source, config: response.auth };
  }

  /** undefined: the account has not opted in by the annotations that the plugin requires. */
  private async identityOf(
    pod: Pod,
    account: string,
    attributes: TokenAttributes,
    signal: AbortSignal,
  ): Promise<Identity | undefined> {
    const { name: podName = '', namespace = '', uid: podUid = '' } = pod.metadata;
    const { metadata } = await this.deps.serviceAccount(namespace, account, signal);
    const annotations: Record<string, string> = {};
    for (const key of attributes.requiredAnnotations) {
      const value = metadata.annotations?.[key];
      if (value === undefined) return undefined;
      annotations[key] = value;
    }
    for (const key of attributes.optionalAnnotations) {
      const value = metadata.annotations?.[key];
      if (value !== undefined) annotations[key] = value;
    }
    const uid = metadata.uid ?? '';
    const { token } = await this.deps.tokens.token({
      namespace,
      serviceAccount: account,
      serviceAccountUid: uid,
      podName,
      podUid,
      audience: attributes.audience,
      expirationSeconds: TOKEN_SECONDS,
    });
    const parts = [namespace, account, uid, Object.entries(annotations).sort(byKey)];
    const cacheKey = JSON.stringify(attributes.cacheType === 'Token' ? [...parts, sha256(token)] : parts);
    return {
      token,
      annotations,
      source: { kind: 'serviceAccount', serviceAccount: { uid, namespace, name: account } },
      cacheKey,
    };
  }

  /** Requests for the same image at the same time wait for one run of the plugin. */
  private ask(
    provider: CredentialProviderSettings,
    image: string,
    identity: Identity | undefined,
  ): Promise<CredentialResponse> {
    const parts = [provider.name, image, identity === undefined ? '' : sha256(identity.token), identity?.annotations];
    const key = JSON.stringify(parts);
    let run = this.running.get(key);
    if (run === undefined) {
      run = this.execute(provider, image, identity).finally(() => this.running.delete(key));
      this.running.set(key, run);
    }
    return run;
  }

  private async execute(
    { name, apiVersion, args, environment }: CredentialProviderSettings,
    image: string,
    identity: Identity | undefined,
  ): Promise<CredentialResponse> {
    const { programs, metrics, clock } = this.deps;
    const request = {
      kind: 'CredentialProviderRequest',
      apiVersion,
      image,
      ...(identity === undefined
        ? {}
        : { serviceAccountToken: identity.token, serviceAccountAnnotations: identity.annotations }),
    };
    const failed = (why: string, stderr = ''): CodedError => {
      metrics.errors.inc({ plugin_name: name });
      const said = stderr.trim() === '' ? '' : `: ${stderr.trim()}`;
      const message = `error execing credential provider plugin ${name} for image ${image}: ${why}${said}`;
      return new CodedError('CommandFailed', message, { plugin: name, image });
    };
    const startedAt = clock.monotonic();
    try {
      const { failure, stdout, stderr } = await programs.run({
        path: `${this.options.binDir}/${name}`,
        args,
        environment,
        input: `${JSON.stringify(request)}\n`,
        deadlineMs: PLUGIN_MS,
        maxOutputBytes: LARGEST_ANSWER,
      });
      if (failure !== undefined) throw failed(failure, stderr);
      return readCredentialResponse(stdout, apiVersion);
    } catch (error) {
      if (hasCode(error, 'DeadlineExceeded')) throw failed('context deadline exceeded');
      if (hasCode(error, 'Unavailable', 'ResourceExhausted')) throw failed(messageOf(error));
      throw error;
    } finally {
      metrics.duration.observe({ plugin_name: name }, (clock.monotonic() - startedAt) / 1000);
    }
  }

  private fromCache(
    { name }: CredentialProviderSettings,
    image: string,
    identity: Identity | undefined,
  ): DockerConfig | undefined {
    const now = this.deps.clock.monotonic();
    if (now - this.purgedAt >= PURGE_MS) {
      this.purgedAt = now;
      for (const [key, { until }] of this.cached) if (until < now) this.cached.delete(key);
    }
    for (const scope of [image, registryOf(image), ANY_IMAGE]) {
      const entry = this.cached.get(JSON.stringify([name, scope, identity?.cacheKey ?? '']));
      if (entry !== undefined && now <= entry.until) return entry.config;
    }
    return undefined;
  }

  private keep(
    { name, defaultCacheMs }: CredentialProviderSettings,
    image: string,
    identity: Identity | undefined,
    { auth, cacheKeyType, cacheMs = defaultCacheMs }: CredentialResponse,
  ): void {
    if (cacheMs <= 0) return;
    const scope = { Image: image, Registry: registryOf(image), Global: ANY_IMAGE }[cacheKeyType];
    const until = this.deps.clock.monotonic() + cacheMs;
    this.cached.set(JSON.stringify([name, scope, identity?.cacheKey ?? '']), { config: auth, until });
  }
}

function registryOf(image: string): string {
  return image.split('/', 1)[0] ?? '';
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

function byKey([one]: [string, string], [other]: [string, string]): number {
  return one < other ? -1 : 1;
}
