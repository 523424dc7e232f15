import type { CriRuntime, Image, PodSandboxConfig } from '../../host/cri/port.ts';
import type { Clock } from '../../kit/clock.ts';
import { messageOf } from '../../kit/errors.ts';
import { TokenBucket } from '../../kit/token-bucket.ts';
import type { Container, Pod, PullPolicy } from '../../model/pod.ts';
import { StepError } from '../step-error.ts';
import type { ImageGuard } from './image-access.ts';
import { type ImageMetrics, imageSizeLabel } from './image-metrics.ts';
import { imageNameProblem, imageToPull, repositoryOf } from './image-name.ts';
import type { Credential } from './keyring.ts';
import type { PullCredentials } from './pull-credentials.ts';
import { allPullErrors, pullErrorText, pullStepError } from './pull-error.ts';
import { Semaphore } from './semaphore.ts';

export interface ImagePullerOptions {
  /** KubeletConfiguration maxParallelImagePulls; 1 is serial, as kubelet's default is. */
  readonly maxParallelPulls: number;
  /** registryPullQPS and registryBurst: pulls over it wait for their turn. 0: no limit. */
  readonly pullQPS: number;
  readonly pullBurst: number;
}

export interface ImagePullerDeps {
  readonly cri: Pick<CriRuntime, 'imageStatus' | 'pullImage'>;
  readonly credentials: PullCredentials;
  readonly guard: ImageGuard;
  readonly metrics: ImageMetrics;
  readonly clock: Clock;
  readonly event: (pod: Pod, container: Container, type: 'Normal' | 'Warning', reason: string, message: string) => void;
}

export interface ReadyImage {
  readonly ref: string;
  readonly image: Image;
}

/** What one container asks for. */
interface Wanted {
  readonly pod: Pod;
  readonly container: Container;
  /** As the pod's author wrote it. */
  readonly name: string;
  /** With its default tag. */
  readonly image: string;
  readonly policy: PullPolicy;
  /** Those that may open the registry; looked up once, and no sooner than needed. */
  readonly credentials: () => Promise<readonly Credential[]>;
}

/** Has images on the node as pull policies want them (kubelet images/image_manager.go EnsureImageExists). */
export class ImagePuller {
  private readonly pulls: Semaphore;
  private readonly rate: TokenBucket;
  private readonly deps: ImagePullerDeps;

  constructor(options: ImagePullerOptions, deps: ImagePullerDeps) {
    this.pulls = new Semaphore(Math.max(1, options.maxParallelPulls));
    this.rate = new TokenBucket({ perSecond: options.pullQPS, burst: options.pullBurst }, deps.clock);
    this.deps = deps;
  }

  /** Throws StepError: InvalidImageName, ImageInspectError, ErrImageNeverPull, ErrImagePull and its special cases. */
  async ensure(
    pod: Pod,
    container: Container,
    sandboxConfig: PodSandboxConfig,
    signal: AbortSignal,
  ): Promise<ReadyImage> {
    const name = container.image ?? '';
    const image = imageToPull(name);
    if (image === undefined) {
      const message = `Failed to apply default image tag "${name}": ${imageNameProblem(name)}`;
      this.deps.event(pod, container, 'Warning', 'InspectFailed', message);
      throw new StepError('InvalidImageName', message, 'InvalidObject');
    }
    const secrets = await this.deps.credentials.ofPod(pod, signal);
    const lookup = () => this.deps.credentials.lookup(secrets, repositoryOf(image) ?? image, pod, signal);
    const policy = policyOf(container, image);
    const wanted: Wanted = { pod, container, name, image, policy, credentials: once(lookup) };
    const present = policy === 'Always' ? undefined : await this.status(wanted);
    if (present !== undefined && !(await this.deps.guard.mustPull(name, present.id, wanted.credentials))) {
      this.count(wanted, 'true', 'false');
      const message = `Container image "${name}" already present on machine and can be accessed by the pod`;
      this.deps.event(pod, container, 'Normal', 'Pulled', message);
      return { ref: present.id, image: present };
    }
    this.count(wanted, policy === 'Always' ? 'unknown' : String(present !== undefined), 'true');
    if (policy === 'Never') {
      // Said in the same words whether it is missing or not the pod's to use, which the pod shall not find out.
      const message = `Container image "${name}" is not present with pull policy of Never`;
      this.deps.event(pod, container, 'Warning', 'ErrImageNeverPull', message);
      throw new StepError('ErrImageNeverPull', message, 'NotFound');
    }
    return this.pull(wanted, sandboxConfig, signal);
  }

  private async status({ pod, container, image }: Wanted): Promise<Image | undefined> {
    try {
      return await this.deps.cri.imageStatus(image);
    } catch (error) {
      const message = `Failed to inspect image "${image}": ${messageOf(error)}`;
      this.deps.event(pod, container, 'Warning', 'InspectFailed', message);
      throw new StepError('ImageInspectError', message, 'Unavailable', error);
    }
  }

  private async pull(wanted: Wanted, sandboxConfig: PodSandboxConfig, signal: AbortSignal): Promise<ReadyImage> {
    const { guard } = this.deps;
    const { name } = wanted;
    try {
      await guard.pulling(name);
    } catch (error) {
      const message = `Failed to record image pull intent for container image "${name}": ${messageOf(error)}`;
      throw new StepError('ErrImagePull', message, 'Unavailable', error);
    }
    let done = false;
    try {
      const { ready, credential } = await this.pullWith(wanted, sandboxConfig, signal);
      done = true;
      await guard.pulled(name, ready.ref, credential);
      return ready;
    } finally {
      if (!done) await guard.pullFailed(name);
    }
  }

  private async pullWith(
    wanted: Wanted,
    sandboxConfig: PodSandboxConfig,
    signal: AbortSignal,
  ): Promise<{ readonly ready: ReadyImage; readonly credential: Credential | undefined }> {
    const { cri, clock, event, metrics } = this.deps;
    const { pod, container, name, image } = wanted;
    event(pod, container, 'Normal', 'Pulling', `Pulling image "${name}"`);
    const queuedAt = clock.monotonic();
    let startedAt = queuedAt;
    try {
      const credentials = await wanted.credentials();
      await this.rate.take(signal);
      const { ref, credential } = await this.pulls.run(() => {
        startedAt = clock.monotonic();
        return this.tryEach(image, credentials, sandboxConfig, signal);
      }, signal);
      const pulled = (await cri.imageStatus(ref)) ?? (await cri.imageStatus(image));
      if (pulled === undefined) throw new StepError('ErrImagePull', `image ${ref} is not there after its pull`);
      const tookMs = clock.monotonic() - startedAt;
      const waitedMs = clock.monotonic() - queuedAt;
      metrics.pullDuration.observe({ image_size_in_bytes: imageSizeLabel(pulled.size) }, waitedMs / 1000);
      const message = `Successfully pulled image "${name}" in ${seconds(tookMs)} (${seconds(waitedMs)} including waiting). Image size: ${pulled.size} bytes.`;
      event(pod, container, 'Normal', 'Pulled', message);
      return { ready: { ref: pulled.id, image: pulled }, credential };
    } catch (error) {
      if (signal.aborted) throw error;
      const text = pullErrorText(error);
      event(pod, container, 'Warning', 'Failed', `Failed to pull image "${name}": ${text}`);
      throw error instanceof StepError ? error : pullStepError(name, text, error);
    }
  }

  /** With each credential in turn until one opens the registry; without any where there is none. */
  private async tryEach(
    image: string,
    credentials: readonly Credential[],
    sandboxConfig: PodSandboxConfig,
    signal: AbortSignal,
  ): Promise<{ readonly ref: string; readonly credential: Credential | undefined }> {
    const { cri } = this.deps;
    if (credentials.length === 0) {
      return { ref: await cri.pullImage(image, sandboxConfig, undefined, signal), credential: undefined };
    }
    const failures: unknown[] = [];
    for (const credential of credentials) {
      const { username, password } = credential;
      try {
        return { ref: await cri.pullImage(image, sandboxConfig, { username, password }, signal), credential };
      } catch (error) {
        if (signal.aborted) throw error;
        failures.push(error);
      }
    }
    if (failures.length === 1) throw failures[0];
    throw pullStepError(image, allPullErrors(failures.map(pullErrorText)), failures);
  }

  private count({ policy }: Wanted, presentLocally: string, pullRequired: string): void {
    this.deps.metrics.ensureRequests.inc({
      pull_policy: policy.toLowerCase(),
      present_locally: presentLocally,
      pull_required: pullRequired,
    });
  }
}

function policyOf(container: Container, image: string): PullPolicy {
  return container.imagePullPolicy ?? (image.endsWith(':latest') ? 'Always' : 'IfNotPresent');
}

function once<T>(ask: () => Promise<T>): () => Promise<T> {
  let answer: Promise<T> | undefined;
  return () => {
    answer ??= ask();
    return answer;
  };
}

function seconds(ms: number): string {
  return ms < 1000 ? `${Math.round(ms)}ms` : `${(ms / 1000).toFixed(3)}s`;
}
