import type { ObjectSource } from '../../cluster/port.ts';
import { messageOf } from '../../kit/errors.ts';
import type { Logger } from '../../kit/log.ts';
import type { Secret } from '../../model/objects.ts';
import type { Pod } from '../../model/pod.ts';
import { resources } from '../../model/resource.ts';
import { type DockerConfig, parseDockerConfigJson, parseDockercfg } from './docker-config.ts';
import { type Credential, Keyring } from './keyring.ts';

/** What a pod may try at a registry, in this order: its own pull secrets, the node's docker config, the node's plugins. */
export interface PullCredentials {
  /** The pod's imagePullSecrets; those that cannot be had are told of by event, and the pull goes on without them. */
  ofPod(pod: Pod, signal: AbortSignal): Promise<Keyring>;
  lookup(secrets: Keyring, repository: string, pod: Pod, signal: AbortSignal): Promise<readonly Credential[]>;
}

/** A place of credentials that belong to no Secret. */
export interface CredentialLookup {
  lookup(repository: string, pod: Pod, signal: AbortSignal): Promise<readonly Credential[]>;
}

export interface ImageCredentialsDeps {
  readonly objects: Pick<ObjectSource, 'get'>;
  readonly places: readonly CredentialLookup[];
  readonly event: (pod: Pod, type: 'Warning', reason: string, message: string) => void;
  readonly log: Logger;
}

const FORMATS: Readonly<Record<string, { readonly key: string; readonly parse: (text: string) => DockerConfig }>> = {
  'kubernetes.io/dockerconfigjson': { key: '.dockerconfigjson', parse: parseDockerConfigJson },
  'kubernetes.io/dockercfg': { key: '.dockercfg', parse: parseDockercfg },
};

/** All credentials of a node and its pods. Nothing that is missing or broken stops a pull: it goes on with the rest. */
export class ImageCredentials implements PullCredentials {
  private readonly deps: ImageCredentialsDeps;

  constructor(deps: ImageCredentialsDeps) {
    this.deps = deps;
  }

  async ofPod(pod: Pod, signal: AbortSignal): Promise<Keyring> {
    const keyring = new Keyring();
    const names = (pod.spec.imagePullSecrets ?? []).flatMap(({ name }) => (name ? [name] : []));
    const results = await Promise.allSettled(names.map((name) => this.addSecret(keyring, pod, name, signal)));
    const failed = names.filter((_, index) => results[index]?.status === 'rejected');
    signal.throwIfAborted();
    if (failed.length > 0) {
      const message = `Unable to retrieve some image pull secrets (${failed.join(', ')}); attempting to pull the image may not succeed.`;
      this.deps.event(pod, 'Warning', 'FailedToRetrieveImagePullSecret', message);
    }
    return keyring;
  }

  async lookup(secrets: Keyring, repository: string, pod: Pod, signal: AbortSignal): Promise<readonly Credential[]> {
    const found = [...secrets.lookup(repository)];
    for (const place of this.deps.places) found.push(...(await place.lookup(repository, pod, signal)));
    return found;
  }

  private async addSecret(keyring: Keyring, pod: Pod, name: string, signal: AbortSignal): Promise<void> {
    const namespace = pod.metadata.namespace ?? '';
    try {
      const secret = await this.deps.objects.get<Secret>(resources.secrets, namespace, name, signal);
      const format = FORMATS[secret.type ?? ''];
      const data = format === undefined ? undefined : secret.data?.[format.key];
      // kubelet passes over Secrets of other types without a word.
      if (format === undefined || data === undefined || data === '') return;
      const config = format.parse(Buffer.from(data, 'base64').toString('utf8'));
      keyring.add({ kind: 'secret', secret: { uid: secret.metadata.uid ?? '', namespace, name } }, config);
    } catch (error) {
      this.deps.log.warn(
        { pod: `${namespace}/${pod.metadata.name ?? ''}`, secret: name, error: messageOf(error) },
        'an image pull secret cannot be used; the pull may not succeed',
      );
      throw error;
    }
  }
}
