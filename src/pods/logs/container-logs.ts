import type { Files } from '../../host/files/port.ts';
import { hasCode, messageOf, tryAll } from '../../kit/errors.ts';
import type { Logger } from '../../kit/log.ts';
import { containerLogPath, type PodIdentity, podLogDirectory } from '../identity.ts';

export interface ContainerLogsOptions {
  readonly podLogsDir: string;
  /** Where a link to every container's log is, for log shippers that know no other place: /var/log/containers. */
  readonly containerLogsDir: string;
}

export interface ContainerLogsDeps {
  readonly files: Pick<
    Files,
    'lstat' | 'stat' | 'list' | 'remove' | 'removeTree' | 'symlink' | 'readLink' | 'makeDirectory'
  >;
  readonly log: Logger;
}

const SUFFIX = '.log';
/** The longest name that ext4 takes. */
const LONGEST_NAME = 255;
/** kubelet takes anything shorter for no container's id. */
const SHORTEST_ID = 6;

/** The files and links of containers' logs on this host (kuberuntime/legacy.go, kuberuntime_gc.go). */
export class ContainerLogs {
  private readonly options: ContainerLogsOptions;
  private readonly deps: ContainerLogsDeps;

  constructor(options: ContainerLogsOptions, deps: ContainerLogsDeps) {
    this.options = options;
    this.deps = deps;
  }

  async makeDirectory(pod: PodIdentity): Promise<void> {
    await this.deps.files.makeDirectory(podLogDirectory(this.options.podLogsDir, pod), 0o755, 0o755);
  }

  /** Where all attempts of a container log to. */
  directoryOf(pod: PodIdentity, container: string): string {
    const path = this.pathOf(pod, container, 0);
    return path.slice(0, path.lastIndexOf('/'));
  }

  /** The live log of a container's attempt. */
  pathOf(pod: PodIdentity, container: string, restartCount: number): string {
    return `${podLogDirectory(this.options.podLogsDir, pod)}/${containerLogPath(container, restartCount)}`;
  }

  /** Links to the log of a container that was started; that it fails harms nobody. */
  async link(pod: PodIdentity, container: string, restartCount: number, containerId: string): Promise<void> {
    const { files, log } = this.deps;
    const path = this.pathOf(pod, container, restartCount);
    const link = this.linkOf(pod, container, containerId);
    try {
      if ((await files.stat(path)) === undefined) return;
      await files.symlink(path, link);
    } catch (error) {
      if (hasCode(error, 'AlreadyExists')) return;
      log.warn({ link, path, error: messageOf(error) }, 'a container log could not be linked to');
    }
  }

  /** Removes what a removed container has logged, rotated files included, and its link. */
  async removeContainer(pod: PodIdentity, container: string, restartCount: number, containerId: string): Promise<void> {
    const { files } = this.deps;
    const path = this.pathOf(pod, container, restartCount);
    const slash = path.lastIndexOf('/');
    const directory = path.slice(0, slash);
    const log = path.slice(slash + 1);
    await tryAll(`remove the logs of container ${container}`, [
      () => files.remove(this.linkOf(pod, container, containerId)),
      async () => {
        const names = ((await files.list(directory)) ?? []).filter((name) => name.startsWith(log));
        await tryAll(
          `remove what ${path} was rotated to`,
          names.map((name) => () => files.remove(`${directory}/${name}`)),
        );
      },
    ]);
  }

  /** Removes all that a pod has logged and the links to it. */
  async removePod(pod: PodIdentity): Promise<void> {
    const directory = podLogDirectory(this.options.podLogsDir, pod);
    await tryAll(`remove the logs of pod ${pod.namespace}/${pod.name}`, [
      () => this.deps.files.removeTree(directory),
      async () => {
        const beginning = `${pod.name}_${pod.namespace}_`;
        for (const name of await this.links()) {
          if (!name.startsWith(beginning)) continue;
          const target = await this.deps.files.readLink(`${this.options.containerLogsDir}/${name}`);
          // Another pod may have had the name.
          if (target?.startsWith(`${directory}/`)) await this.removeLink(name);
        }
      },
    ]);
  }

  /**
   * Removes links that lead nowhere. While a container runs its log may be missing for an instant, between the two halves
   * of a rotation, so that its link stays.
   */
  async removeDanglingLinks(isAlive: (containerId: string) => boolean): Promise<void> {
    const { files } = this.deps;
    for (const name of await this.links()) {
      const link = `${this.options.containerLogsDir}/${name}`;
      if ((await files.lstat(link))?.kind !== 'symlink' || (await files.stat(link)) !== undefined) continue;
      const id = name.slice(name.lastIndexOf('-') + 1, -SUFFIX.length);
      if (id.length >= SHORTEST_ID && isAlive(id)) continue;
      await this.removeLink(name);
    }
  }

  private async removeLink(name: string): Promise<void> {
    await this.deps.files.remove(`${this.options.containerLogsDir}/${name}`);
  }

  private async links(): Promise<string[]> {
    const names = (await this.deps.files.list(this.options.containerLogsDir)) ?? [];
    return names.filter((name) => name.endsWith(SUFFIX));
  }

  private linkOf(pod: PodIdentity, container: string, containerId: string): string {
    const name = `${pod.name}_${pod.namespace}_${container}-${containerId}`.slice(0, LONGEST_NAME - SUFFIX.length);
    return `${this.options.containerLogsDir}/${name}${SUFFIX}`;
  }
}
