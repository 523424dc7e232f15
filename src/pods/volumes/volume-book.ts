import type { Clock } from '../../kit/clock.ts';
import type { PodVolume } from './plugin.ts';
import type { ResolvedVolume } from './resolve-volume.ts';

/** Which volumes pods shall have and which of them are there (kubelet's desired and actual state of world). */
export class VolumeBook {
  private readonly clock: Pick<Clock, 'monotonic'>;
  private readonly wanted = new Map<string, Map<string, { readonly plugin: string; readonly sinceMs: number }>>();
  private readonly ready = new Map<string, Map<string, ResolvedVolume>>();

  constructor({ clock }: { readonly clock: Pick<Clock, 'monotonic'> }) {
    this.clock = clock;
  }

  /** Answers since when it is wanted, by the monotonic clock. */
  want(uid: string, { podVolume, plugin }: ResolvedVolume): number {
    const ofPod = this.wanted.get(uid) ?? new Map();
    const { name } = podVolume.volume;
    const sinceMs: number = ofPod.get(name)?.sinceMs ?? this.clock.monotonic();
    this.wanted.set(uid, ofPod.set(name, { plugin: qualifiedPlugin(plugin.name, podVolume), sinceMs }));
    return sinceMs;
  }

  /** Whether it was not there before. */
  enter(uid: string, resolved: ResolvedVolume): boolean {
    const ofPod = this.ready.get(uid) ?? new Map<string, ResolvedVolume>();
    const { name } = resolved.podVolume.volume;
    const isNew = !ofPod.has(name);
    const { plugin, podVolume } = resolved;
    // The pod changes and is replaced as a whole; what is kept here must not keep an old one.
    const { name: podName = '', namespace = '' } = podVolume.pod.metadata;
    const pod = { metadata: { uid, name: podName, namespace }, spec: { containers: [] } };
    this.ready.set(uid, ofPod.set(name, { plugin, podVolume: { ...podVolume, pod } }));
    return isNew;
  }

  /** Those that are there, by their names in the pod. */
  of(uid: string): Iterable<readonly [string, ResolvedVolume]> {
    return this.ready.get(uid) ?? [];
  }

  /** The name that metrics have for the plugin of a volume; as a name in a directory it is all that is known. */
  pluginOf(uid: string, plugin: string, specName: string): string {
    for (const [, { podVolume, plugin: found }] of this.of(uid)) {
      if (found.name === plugin && podVolume.specName === specName) return qualifiedPlugin(plugin, podVolume);
    }
    return plugin;
  }

  drop(uid: string): void {
    this.wanted.delete(uid);
    this.ready.delete(uid);
  }

  /** How many there are, by state and plugin. */
  *counts(): Generator<{ readonly state: string; readonly plugin: string; readonly count: number }> {
    const desired = [...this.wanted.values()].flatMap((volumes) => [...volumes.values()].map(({ plugin }) => plugin));
    const actual = [...this.ready.values()].flatMap((volumes) =>
      [...volumes.values()].map(({ plugin, podVolume }) => qualifiedPlugin(plugin.name, podVolume)),
    );
    for (const [state, plugins] of [
      ['desired_state_of_world', desired],
      ['actual_state_of_world', actual],
    ] as const) {
      const byPlugin = new Map<string, number>();
      for (const plugin of plugins) byPlugin.set(plugin, (byPlugin.get(plugin) ?? 0) + 1);
      for (const [plugin, count] of byPlugin) yield { state, plugin, count };
    }
  }
}

/** "kubernetes.io/csi:driver" (volume/util GetFullQualifiedPluginNameForVolume). */
export function qualifiedPlugin(name: string, { volume, bound }: Pick<PodVolume, 'volume' | 'bound'>): string {
  const { driver } = ((bound === undefined ? volume.csi : bound.volume.spec?.csi) ?? {}) as {
    readonly driver?: string;
  };
  return driver === undefined ? name : `${name}:${driver}`;
}
