import type { Mount, PodSandboxConfig } from '../../host/cri/port.ts';
import type { Container, Pod } from '../../model/pod.ts';
import type { ImagePuller } from '../images/image-puller.ts';

/**
 * The mounts of a container with the images of its image volumes on the node (kuberuntime_manager.go getImageVolumes).
 * Those of volumeMounts come first and in their order. Throws as ImagePuller.ensure.
 */
export async function withVolumeImages(
  images: Pick<ImagePuller, 'ensure'>,
  mounts: readonly Mount[],
  about: { readonly pod: Pod; readonly container: Container; readonly sandbox: PodSandboxConfig },
  signal: AbortSignal,
): Promise<readonly Mount[]> {
  const { pod, container, sandbox } = about;
  const ready: Mount[] = [];
  for (const [index, mount] of mounts.entries()) {
    if (mount.image === undefined) {
      ready.push(mount);
      continue;
    }
    const name = container.volumeMounts?.[index]?.name;
    const { reference = '', pullPolicy } = pod.spec.volumes?.find((volume) => volume.name === name)?.image ?? {};
    const wanted: Container = {
      name: container.name,
      image: reference,
      ...(pullPolicy === undefined ? {} : { imagePullPolicy: pullPolicy }),
    };
    const { ref } = await images.ensure(pod, wanted, sandbox, signal);
    ready.push({ ...mount, image: { image: ref, userSpecifiedImage: reference } });
  }
  return ready;
}
