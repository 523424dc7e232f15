import type { CriRuntime, Image, PodSandboxConfig } from '../../host/cri/port.ts';
import type { Clock } from '../../kit/clock.ts';
import { messageOf } from '../../kit/errors.ts';
import { TokenBucket } from '../../kit/token-bucket.ts';
import type { Container, Pod, PullPolicy } from '../../model/pod.ts';
import { StepError } from '../step-error.ts';
import { imageToPull } from './image-name.ts';
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
  readonly clock: Clock;
  readonly event: (pod: Pod, container: Container, type: 'Normal' | 'Warning', reason: string, message: string) => void;
}

export interface ReadyImage {
  readonly ref: string;
  readonly image: Image;
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

  /** Throws StepError: InvalidImageName, ImageInspectError, ErrImageNeverPull, ErrImagePull. */
  async ensure(
    pod: Pod,
    container: Container,
    sandboxConfig: PodSandboxConfig,
    signal: AbortSignal,
  ): Promise<ReadyImage> {
    const wanted = container.image ?? '';
    const image = imageToPull(wanted);
    if (image === undefined) {
      const message = `Failed to apply default image tag "${wanted}": couldn't parse image name "${wanted}": invalid reference format`;
      this.deps.event(pod, container, 'Warning', 'InspectFailed', message);
      throw new StepError('InvalidImageName', message, 'InvalidObject');
    }
    const policy = policyOf(container, image);
    const present = await this.status(pod, container, image);
    if (present !== undefined && policy !== 'Always') {
      const message = `Container image "${wanted}" already present on machine`;
      this.deps.event(pod, container, 'Normal', 'Pulled', message);
      return { ref: present.id, image: present };
    }
    if (policy === 'Never') {
      const message = `Container image "${wanted}" is not present with pull policy of Never`;
      this.deps.event(pod, container, 'Warning', 'ErrImageNeverPull', message);
      throw new StepError('ErrImageNeverPull', message, 'NotFound');
    }
    return this.pull(pod, container, image, sandboxConfig, signal);
  }

  private async status(pod: Pod, container: Container, image: string): Promise<Image | undefined> {
    try {
      return await this.deps.cri.imageStatus(image);
    } catch (error) {
      const message = `Failed to inspect image "${image}": ${messageOf(error)}`;
      this.deps.event(pod, container, 'Warning', 'InspectFailed', message);
      throw new StepError('ImageInspectError', message, 'Unavailable', error);
    }
  }

  private async pull(
    pod: Pod,
    container: Container,
    image: string,
    sandboxConfig: PodSandboxConfig,
    signal: AbortSignal,
  ): Promise<ReadyImage> {
    const { cri, clock, event } = this.deps;
    const wanted = container.image ?? '';
    event(pod, container, 'Normal', 'Pulling', `Pulling image "${wanted}"`);
    const queuedAt = clock.monotonic();
    let startedAt = queuedAt;
    try {
      await this.rate.take(signal);
      const ref = await this.pulls.run(() => {
        startedAt = clock.monotonic();
        return cri.pullImage(image, sandboxConfig, undefined, signal);
      }, signal);
      const pulled = (await cri.imageStatus(ref)) ?? (await cri.imageStatus(image));
      if (pulled === undefined) throw new StepError('ErrImagePull', `image ${ref} is not there after its pull`);
      const took = seconds(clock.monotonic() - startedAt);
      const waited = seconds(clock.monotonic() - queuedAt);
      event(
        pod,
        container,
        'Normal',
        'Pulled',
        `Successfully pulled image "${wanted}" in ${took} (${waited} including waiting). Image size: ${pulled.size} bytes.`,
      );
      return { ref: pulled.id, image: pulled };
    } catch (error) {
      if (signal.aborted) throw error;
      const message = `Failed to pull image "${wanted}": ${messageOf(error)}`;
      event(pod, container, 'Warning', 'Failed', message);
      throw new StepError('ErrImagePull', messageOf(error), 'Unavailable', error);
    }
  }
}

function policyOf(container: Container, image: string): PullPolicy {
  return container.imagePullPolicy ?? (image.endsWith(':latest') ? 'Always' : 'IfNotPresent');
}

function seconds(ms: number): string {
  return ms < 1000 ? `${Math.round(ms)}ms` : `${(ms / 1000).toFixed(3)}s`;
}
