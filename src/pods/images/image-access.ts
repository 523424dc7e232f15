import type { CriRuntime } from '../../host/cri/port.ts';
import type { Clock } from '../../kit/clock.ts';
import { messageOf } from '../../kit/errors.ts';
import type { Logger } from '../../kit/log.ts';
import type { ImageMetrics } from './image-metrics.ts';
import { nameWithoutTag } from './image-name.ts';
import type { Credential, ObjectCoordinates } from './keyring.ts';
import type { PullAccess, PulledRecord, PullRecords } from './pull-records.ts';
import type { VerificationPolicy } from './verification-policy.ts';

/** Keeps an image that one pod pulled with its credentials from pods that have none (KEP-2535). */
export interface ImageGuard {
  /**
   * Whether the pod must pull an image that is here already, to prove that it may. `credentials` are asked for only when
   * it depends on them.
   */
  mustPull(image: string, imageRef: string, credentials: () => Promise<readonly Credential[]>): Promise<boolean>;
  /** Before a pull: what comes onto the node from now on was not there by itself. Throws when that cannot be written. */
  pulling(image: string): Promise<void>;
  /** After it; `credential` is the one that opened the registry, undefined where none was needed. */
  pulled(image: string, imageRef: string, credential: Credential | undefined): Promise<void>;
  pullFailed(image: string): Promise<void>;
}

/** The gate KubeletEnsureSecretPulledImages is off: whoever knows an image's name may use it. */
export const unguarded: ImageGuard = {
  mustPull: () => Promise.resolve(false),
  pulling: () => Promise.resolve(),
  pulled: () => Promise.resolve(),
  pullFailed: () => Promise.resolve(),
};

export interface ImageAccessDeps {
  readonly records: PullRecords;
  readonly policy: VerificationPolicy;
  readonly cri: Pick<CriRuntime, 'listImages'>;
  readonly metrics: ImageMetrics;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Matching credentials are added to a record while it has fewer than this (kubelet writeRecordWhileMatchingLimit). */
const MOST_LEARNED = 100;
const PRUNE_MS = 5 * 60_000;

/** kubelet's PullManager: decides by what its records say of earlier pulls. Doubt means pulling again. */
export class ImageAccess implements ImageGuard {
  private readonly deps: ImageAccessDeps;
  /** Pulls under way by image. */
  private readonly underWay = new Map<string, number>();
  private turn: Promise<unknown> = Promise.resolve();

  constructor(deps: ImageAccessDeps) {
    this.deps = deps;
  }

  async mustPull(image: string, imageRef: string, credentials: () => Promise<readonly Credential[]>): Promise<boolean> {
    const { mustPullChecks } = this.deps.metrics;
    try {
      const result = await this.check(image, imageRef, credentials);
      mustPullChecks.inc({ result });
      return result === 'mustAuthenticate';
    } catch (error) {
      mustPullChecks.inc({ result: 'error' });
      this.deps.log.warn({ image, imageRef, error: messageOf(error) }, 'pull records cannot be used; pulling again');
      return true;
    }
  }

  async pulling(image: string): Promise<void> {
    await this.alone(() => this.deps.records.writeIntent(image));
    this.underWay.set(image, (this.underWay.get(image) ?? 0) + 1);
  }

  async pulled(image: string, imageRef: string, credential: Credential | undefined): Promise<void> {
    try {
      await this.alone(() => this.learn(image, imageRef, accessOf(credential)));
    } catch (error) {
      // The intent stays: the image goes on counting as pulled, and a restart makes a record of it.
      this.deps.log.error({ image, imageRef, error: messageOf(error) }, 'a pull could not be recorded');
      return;
    }
    await this.pullFailed(image);
  }

  async pullFailed(image: string): Promise<void> {
    const left = (this.underWay.get(image) ?? 1) - 1;
    if (left > 0) {
      this.underWay.set(image, left);
      return;
    }
    this.underWay.delete(image);
    try {
      await this.alone(async () => {
        if (!this.underWay.has(image)) await this.deps.records.removeIntent(image);
      });
    } catch (error) {
      this.deps.log.warn({ image, error: messageOf(error) }, 'the intent of a pull could not be removed');
    }
  }

  /** Makes records of what was being pulled when the process before this one ended, then drops old ones now and then. */
  async run(signal: AbortSignal): Promise<void> {
    await this.quietly('adopting pulls', () => this.adopt());
    while (!signal.aborted) {
      await this.quietly('pruning pull records', () => this.prune());
      await this.deps.clock.sleep(PRUNE_MS, signal);
    }
  }

  private async adopt(): Promise<void> {
    const intents = await this.deps.records.intents();
    if (intents.length === 0) return;
    const images = await this.deps.cri.listImages();
    for (const intent of intents) {
      if (this.underWay.has(intent)) continue;
      const image = images.find(({ repoTags, repoDigests }) => [...repoTags, ...repoDigests].includes(intent));
      await this.alone(async () => {
        if (this.underWay.has(intent) || image === undefined) return;
        await this.learn(intent, image.id, undefined);
        await this.deps.records.removeIntent(intent);
      });
    }
  }

  /** Drops the records of images that are no longer on the node. */
  private async prune(): Promise<void> {
    const { records, cri, clock, metrics } = this.deps;
    const startedAt = clock.now();
    const { intents, records: count } = await records.counts();
    metrics.intents.set(intents);
    metrics.records.set(count);
    if (count === 0) return;
    const present = new Set((await cri.listImages()).map(({ id }) => id));
    for await (const { imageRef, lastUpdatedTime } of records.all()) {
      if (present.has(imageRef) || !(Date.parse(lastUpdatedTime) < startedAt)) continue;
      await this.alone(() => records.remove(imageRef));
    }
  }

  private async check(
    image: string,
    imageRef: string,
    credentials: () => Promise<readonly Credential[]>,
  ): Promise<'credentialPolicyAllowed' | 'credentialRecordFound' | 'mustAuthenticate'> {
    const { records, policy } = this.deps;
    const { record, pulledHere } = await this.alone(async () => {
      const found = await records.get(imageRef);
      const known = found !== undefined || this.underWay.has(image) || (await records.hasIntent(image));
      return { record: found, pulledHere: known };
    });
    if (!policy(image, pulledHere)) return 'credentialPolicyAllowed';
    const name = nameWithoutTag(image);
    const access = name === undefined ? undefined : record?.credentialMapping[name];
    if (access === undefined) return 'mustAuthenticate';
    if (access.nodePodsAccessible === true) return 'credentialRecordFound';
    const { kubernetesSecrets = [], kubernetesServiceAccounts = [] } = access;
    if (kubernetesSecrets.length === 0 && kubernetesServiceAccounts.length === 0) return 'mustAuthenticate';
    for (const credential of await credentials()) {
      if (credential.source?.kind === 'serviceAccount') {
        const { serviceAccount } = credential.source;
        if (kubernetesServiceAccounts.some((known) => same(known, serviceAccount))) return 'credentialRecordFound';
      } else if (credential.source?.kind === 'secret') {
        const { secret } = credential.source;
        // The same Secret with other contents is trusted, and so are the same contents in another Secret.
        const known = kubernetesSecrets.find(
          (other) => (other.credentialHash !== '' && other.credentialHash === credential.hash) || same(other, secret),
        );
        if (known === undefined) continue;
        const isNews = known.credentialHash !== credential.hash || !same(known, secret);
        if (isNews && kubernetesSecrets.length < MOST_LEARNED) {
          await this.alone(() => this.learn(image, imageRef, accessOf(credential)));
        }
        return 'credentialRecordFound';
      }
    }
    return 'mustAuthenticate';
  }

  /** Adds what a pull has shown to the image's record. `access` undefined: pulled, but nobody knows with what. */
  private async learn(image: string, imageRef: string, access: PullAccess | undefined): Promise<void> {
    const { records, clock, log } = this.deps;
    const name = nameWithoutTag(image) ?? image;
    let before: PulledRecord | undefined;
    try {
      before = await records.get(imageRef);
    } catch (error) {
      log.warn({ image, imageRef, error: messageOf(error) }, 'a pull record cannot be read and is made anew');
    }
    const mapping = before?.credentialMapping ?? {};
    const known = mapping[name];
    const merged = access === undefined ? known : mergeAccess(known, access);
    if (before !== undefined && merged === known) return;
    await records.put({
      lastUpdatedTime: `${new Date(clock.now()).toISOString().slice(0, 19)}Z`,
      imageRef,
      credentialMapping: merged === undefined ? mapping : { ...mapping, [name]: merged },
    });
  }

  /** Records are read and changed by one at a time. */
  private alone<T>(work: () => Promise<T>): Promise<T> {
    const result = this.turn.then(work);
    this.turn = result.catch(() => {});
    return result;
  }

  private async quietly(what: string, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.deps.log.warn({ error: messageOf(error) }, `${what} failed`);
    }
  }
}

function accessOf(credential: Credential | undefined): PullAccess {
  const source = credential?.source;
  if (credential === undefined || source === undefined) return { nodePodsAccessible: true };
  if (source.kind === 'serviceAccount') return { kubernetesServiceAccounts: [source.serviceAccount] };
  return { kubernetesSecrets: [{ ...source.secret, credentialHash: credential.hash }] };
}

/** `known` itself when nothing is new; an image that is open to the whole node stays so. */
function mergeAccess(known: PullAccess | undefined, news: PullAccess): PullAccess {
  if (known === undefined || (news.nodePodsAccessible === true && known.nodePodsAccessible !== true)) return news;
  if (known.nodePodsAccessible === true) return known;
  let merged = known;
  for (const secret of news.kubernetesSecrets ?? []) {
    const all = merged.kubernetesSecrets ?? [];
    if (all.some((other) => same(other, secret) && other.credentialHash === secret.credentialHash)) continue;
    const others = all.filter((other) => !same(other, secret));
    merged = { ...merged, kubernetesSecrets: [...others, secret].sort(byCoordinates) };
  }
  for (const account of news.kubernetesServiceAccounts ?? []) {
    const all = merged.kubernetesServiceAccounts ?? [];
    if (all.some((other) => same(other, account))) continue;
    merged = { ...merged, kubernetesServiceAccounts: [...all, account].sort(byCoordinates) };
  }
  return merged;
}

function same(one: ObjectCoordinates, other: ObjectCoordinates): boolean {
  return one.uid === other.uid && one.namespace === other.namespace && one.name === other.name;
}

function byCoordinates(one: ObjectCoordinates, other: ObjectCoordinates): number {
  const [left, right] = [one, other].map(({ namespace, name, uid }) => `${namespace}\0${name}\0${uid}`);
  return (left ?? '') < (right ?? '') ? -1 : 1;
}
