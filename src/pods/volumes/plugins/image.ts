import { CodedError } from '../../../kit/errors.ts';
import type { VolumePlugin } from '../plugin.ts';

/**
 * Contents of an image (KEP-4639, pkg/volume/image): the container runtime mounts it. `refusal` says why the runtime
 * cannot; one that does not know the field would mount nothing, or the wrong thing, without a word.
 */
export function imagePlugin(refusal: () => string | undefined): VolumePlugin {
  return {
    name: 'kubernetes.io/image',
    sources: ['image'],
    prepare: async () => {
      const why = refusal();
      if (why !== undefined) throw new CodedError('Unimplemented', why);
    },
    locate: async ({ volume }) => {
      const { reference = '', pullPolicy } = volume.image ?? {};
      return {
        hostPath: '',
        readOnly: true,
        image: { reference, ...(pullPolicy === undefined ? {} : { pullPolicy }) },
      };
    },
  };
}

/** The first versions of runtimes that can. */
const LEAST: Readonly<Record<string, readonly [number, number]>> = { containerd: [2, 1], 'cri-o': [1, 31] };

/** Why a runtime, by its name and version, has no image volumes; undefined: as far as is known it has. */
export function imageVolumeRefusal(runtime: string, version: string): string | undefined {
  const least = LEAST[runtime];
  const [major = Number.NaN, minor = Number.NaN] = version
    .replace(/^v/, '')
    .split('.')
    .map((part) => Number.parseInt(part, 10));
  if (least === undefined || Number.isNaN(major) || Number.isNaN(minor)) return undefined;
  if (major > least[0] || (major === least[0] && minor >= least[1])) return undefined;
  return `image volumes need ${runtime} ${least.join('.')} or later, but this node has ${runtime} ${version}`;
}
