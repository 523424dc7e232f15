import { describe, expect, it } from 'vitest';
import type { Mount, PodSandboxConfig } from '../../../../src/host/cri/port.ts';
import { Metrics } from '../../../../src/kit/metrics.ts';
import type { Container, Pod } from '../../../../src/model/pod.ts';
import { withVolumeImages } from '../../../../src/pods/act/volume-images.ts';
import type { ReadyImage } from '../../../../src/pods/images/image-puller.ts';
import { PodMetrics } from '../../../../src/pods/pod-metrics.ts';
import { StepError } from '../../../../src/pods/step-error.ts';
import { imageVolumeRefusal } from '../../../../src/pods/volumes/plugins/image.ts';

const plain = (containerPath: string): Mount => ({
  containerPath,
  hostPath: '/h',
  readonly: false,
  propagation: 'PRIVATE',
});
const ofImage = (containerPath: string, reference: string): Mount => ({
  ...plain(containerPath),
  hostPath: '',
  image: { image: '', userSpecifiedImage: reference },
});

describe('image volumes', () => {
  it.each([
    ['containerd', '1.6.20~ds1', 'image volumes need containerd 2.1 or later, but this node has containerd 1.6.20~ds1'],
    ['containerd', 'v2.0.5', 'image volumes need containerd 2.1 or later, but this node has containerd v2.0.5'],
    ['containerd', '2.1.9+unknown', undefined],
    ['containerd', '3.0.0', undefined],
    ['cri-o', '1.30.1', 'image volumes need cri-o 1.31 or later, but this node has cri-o 1.30.1'],
    ['cri-o', '1.31.0', undefined],
    ['other', '0.1', undefined],
    ['containerd', 'unknown', undefined],
  ])('of %s %s: %s', (runtime, version, refusal) => {
    expect(imageVolumeRefusal(runtime, version)).toBe(refusal);
  });

  const container: Container = {
    name: 'c',
    volumeMounts: [
      { name: 'a', mountPath: '/a' },
      { name: 'plain', mountPath: '/p' },
      { name: 'b', mountPath: '/b' },
    ],
  };
  const pod: Pod = {
    metadata: { name: 'p' },
    spec: {
      containers: [container],
      volumes: [
        { name: 'a', image: { reference: 'img:1', pullPolicy: 'Always' } },
        { name: 'plain', emptyDir: {} },
        { name: 'b', image: { reference: 'img:1', pullPolicy: 'Never' } },
      ],
    },
  };
  const about = { pod, container, sandbox: {} as PodSandboxConfig };
  const mounts = [ofImage('/a', 'img:1'), plain('/p'), ofImage('/b', 'img:1'), plain('/etc/hosts')];

  it('are pulled by their own policy, and mounted by what the runtime calls them', async () => {
    const asked: (string | undefined)[] = [];
    const ensure = async (_pod: Pod, { image, imagePullPolicy }: Container): Promise<ReadyImage> => {
      asked.push(image, imagePullPolicy);
      return { ref: `sha256:${imagePullPolicy}`, image: {} } as ReadyImage;
    };
    const ready = await withVolumeImages({ ensure }, mounts, about, new AbortController().signal);
    expect(asked).toEqual(['img:1', 'Always', 'img:1', 'Never']);
    expect(ready.map(({ image }) => image?.image)).toEqual(['sha256:Always', undefined, 'sha256:Never', undefined]);
    expect(ready[0]?.image?.userSpecifiedImage).toBe('img:1');
  });

  it('are counted: those of the pod, and of the container those that were mounted or that the runtime could not', async () => {
    const metrics = new Metrics();
    const counts = new PodMetrics(metrics, { uids: () => [], get: () => undefined });
    counts.imageVolumes(pod, container);
    counts.imageVolumes(pod, container, new StepError('CreateContainerError', 'ImageVolumeMountFailed: no such layer'));
    counts.imageVolumes({ ...pod, spec: { ...pod.spec, volumes: [] } }, container);
    const text = await metrics.text();
    expect(text).toContain('kubelet_image_volume_requested_total 4\n');
    expect(text).toContain('kubelet_image_volume_mounted_succeed_total 2\n');
    expect(text).toContain('kubelet_image_volume_mounted_errors_total 2\n');
  });

  it('hold the container with the reason of their pull', async () => {
    const ensure = () => Promise.reject(new StepError('ErrImagePull', 'no such image'));
    const result = withVolumeImages({ ensure }, mounts, about, new AbortController().signal);
    await expect(result).rejects.toMatchObject({ reason: 'ErrImagePull' });
  });
});
