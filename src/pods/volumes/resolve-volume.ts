import { CodedError } from '../../kit/errors.ts';
import { sourceFieldsOf } from '../../model/persistent-volume.ts';
import type { Pod, Volume } from '../../model/pod.ts';
import { type ClaimResolver, ephemeralClaimName } from './claims.ts';
import type { PodVolume, VolumePlugin } from './plugin.ts';
import { sourceOf } from './volume-source.ts';

export interface ResolvedVolume {
  readonly plugin: VolumePlugin;
  readonly podVolume: PodVolume;
}

/** How a pod's containers use one of its volumes. */
export interface VolumeUse {
  readonly mounted: boolean;
  readonly asDevice: boolean;
}

/** Finds out what each of a pod's volumes is and which plugin it belongs to. */
export class VolumeResolver {
  private readonly plugins = new Map<string, VolumePlugin>();
  private readonly claims: ClaimResolver | undefined;

  constructor(plugins: readonly VolumePlugin[], claims: ClaimResolver | undefined) {
    for (const plugin of plugins) for (const source of plugin.sources) this.plugins.set(source, plugin);
    this.claims = claims;
  }

  /** Throws CodedError when it is not known (yet) what to mount; see ClaimResolver. */
  async resolve(pod: Pod, volume: Volume, use: VolumeUse, signal?: AbortSignal): Promise<ResolvedVolume> {
    const source = sourceOf(volume);
    if (source !== 'persistentVolumeClaim' && source !== 'ephemeral') {
      const podVolume = { pod, volume, specName: volume.name, readOnly: false, volumeMode: 'Filesystem' } as const;
      if (use.asDevice) throw modeMismatch(volume.name, 'Filesystem', 'volumeDevices');
      return { plugin: this.pluginOf(source, `volume "${volume.name}"`), podVolume };
    }
    const { claimName = ephemeralClaimName(pod, volume), readOnly = false } = volume.persistentVolumeClaim ?? {};
    if (this.claims === undefined) throw new CodedError('Unimplemented', `no API to read claim "${claimName}" from`);
    const bound = await this.claims.resolve(pod, claimName, source === 'ephemeral', signal);
    const { spec, metadata } = bound.volume;
    const volumeMode = spec?.volumeMode === 'Block' ? 'Block' : 'Filesystem';
    if (use.mounted && volumeMode === 'Block') throw modeMismatch(volume.name, volumeMode, 'volumeMounts');
    if (use.asDevice && volumeMode !== 'Block') throw modeMismatch(volume.name, volumeMode, 'volumeDevices');
    const specName = metadata.name ?? '';
    const [kind = 'no source'] = sourceFieldsOf(spec ?? {});
    const plugin = this.pluginOf(kind, `PersistentVolume "${specName}"`);
    return { plugin, podVolume: { pod, volume, bound, specName, readOnly, volumeMode } };
  }

  private pluginOf(source: string, whose: string): VolumePlugin {
    const found = this.plugins.get(source);
    if (found !== undefined) return found;
    const able = [...this.plugins.keys()].join(', ');
    throw new CodedError(
      'Unimplemented',
      `${whose} has type ${source}, which this node cannot provide; it can provide ${able}`,
      { type: source },
    );
  }
}

function modeMismatch(name: string, mode: string, where: string): CodedError {
  return new CodedError('InvalidObject', `volume ${name} has volumeMode ${mode}, but is specified in ${where}`, {
    volume: name,
  });
}
