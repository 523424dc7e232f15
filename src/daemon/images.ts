import { homedir } from 'node:os';
import type { ApiClient, EventRecorder, ObjectSource, TokenSource } from '../cluster/port.ts';
import { readCredentialProviderConfig } from '../config/credential-provider-config.ts';
import { RealPrograms } from '../host/command/real.ts';
import type { CriRuntime } from '../host/cri/port.ts';
import type { Files } from '../host/files/port.ts';
import { CodedError, messageOf } from '../kit/errors.ts';
import type { ServiceAccount } from '../model/objects.ts';
import { resources } from '../model/resource.ts';
import { containerReference } from '../pods/act/references.ts';
import { CredentialProviderMetrics, CredentialProviders } from '../pods/images/credential-provider.ts';
import { ImageAccess, type ImageGuard, unguarded } from '../pods/images/image-access.ts';
import { ImageMetrics } from '../pods/images/image-metrics.ts';
import { ImagePuller } from '../pods/images/image-puller.ts';
import { NodeDockerConfig } from '../pods/images/node-docker-config.ts';
import { type CredentialLookup, ImageCredentials } from '../pods/images/pull-credentials.ts';
import { PullRecords } from '../pods/images/pull-records.ts';
import { verificationPolicy } from '../pods/images/verification-policy.ts';
import { type Foundation, runPart } from './foundation.ts';

interface ImagesDeps {
  readonly api: ApiClient;
  readonly cri: CriRuntime;
  readonly files: Files;
  readonly objects: ObjectSource;
  readonly tokens: TokenSource;
  readonly events: EventRecorder;
}

/** Builds what pulls images, with the credentials of pods and of the node. Throws InvalidConfig for bad plugins. */
export async function openImages(foundation: Foundation, deps: ImagesDeps): Promise<ImagePuller> {
  const { config, clock, log } = foundation;
  const { cri, files, objects, events } = deps;
  const metrics = new ImageMetrics(foundation.metrics);
  const logger = log.child({ part: 'images' });
  const nodeConfig = new NodeDockerConfig(
    { rootDirectory: config.rootDir, workingDirectory: process.cwd(), homeDirectory: homedir() },
    { files, clock, log: logger },
  );
  const plugins = await openPlugins(foundation, deps);
  const credentials = new ImageCredentials({
    objects,
    places: plugins === undefined ? [nodeConfig] : [nodeConfig, plugins],
    event: (pod, type, reason, message) => events.event(containerReference(pod), type, reason, message),
    log: logger,
  });
  return new ImagePuller(
    {
      maxParallelPulls: config.images.maxParallelPulls ?? Number.POSITIVE_INFINITY,
      pullQPS: config.images.pullQPS,
      pullBurst: config.images.pullBurst,
    },
    {
      cri,
      credentials,
      guard: openGuard(foundation, { cri, files, metrics }),
      metrics,
      clock,
      event: (pod, container, type, reason, message) =>
        events.event(containerReference(pod, container.name), type, reason, message),
    },
  );
}

function openGuard(
  foundation: Foundation,
  { cri, files, metrics }: { cri: CriRuntime; files: Files; metrics: ImageMetrics },
): ImageGuard {
  const { config, clock, log } = foundation;
  if (config.featureGates['KubeletEnsureSecretPulledImages'] === false) return unguarded;
  const { verificationPolicy: name, verificationAllowlist } = config.images;
  const access = new ImageAccess({
    records: new PullRecords({ rootDirectory: config.rootDir }, { files }),
    policy: verificationPolicy(name, verificationAllowlist),
    cri,
    metrics,
    clock,
    log: log.child({ part: 'images' }),
  });
  runPart(foundation, 'pull records', (signal) => access.run(signal));
  return access;
}

async function openPlugins(
  { config, clock, log, metrics: registry }: Foundation,
  { api, tokens }: ImagesDeps,
): Promise<CredentialLookup | undefined> {
  const { credentialProviderConfig: path, credentialProviderBinDir: binDir } = config.images;
  if (path === undefined && binDir === undefined) return undefined;
  if (path === undefined || binDir === undefined) {
    throw new CodedError(
      'InvalidConfig',
      'credential provider plugins need both --image-credential-provider-config and --image-credential-provider-bin-dir',
    );
  }
  const { providers, hash } = await readCredentialProviderConfig(path);
  const programs = new RealPrograms({ clock });
  for (const { name } of providers) {
    await programs.check(`${binDir}/${name}`).catch((error: unknown) => {
      throw new CodedError('InvalidConfig', `credential provider plugin ${name}: ${messageOf(error)}`, { name }, error);
    });
  }
  const metrics = new CredentialProviderMetrics(registry);
  metrics.info.set({ hash }, 1);
  return new CredentialProviders(
    { binDir, providers },
    {
      programs,
      tokens,
      serviceAccount: (namespace, name, signal) =>
        api.get<ServiceAccount>(resources.serviceaccounts, { namespace, name }, signal),
      metrics,
      clock,
      log: log.child({ part: 'images' }),
    },
  );
}
