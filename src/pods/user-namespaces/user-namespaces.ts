import type { IdMapping, RuntimeStatus } from '../../host/cri/port.ts';
import type { Files } from '../../host/files/port.ts';
import { CodedError, hasCode } from '../../kit/errors.ts';
import type { Pod } from '../../model/pod.ts';
import { PodPaths } from '../volumes/pod-paths.ts';
import { freeRange, type HostIds, mappingIn, mappingsText } from './range.ts';

export interface UserNamespacesOptions {
  readonly rootDirectory: string;
  /** KubeletConfiguration userNamespaces.idsPerPod. */
  readonly idsPerPod: number;
}

export interface UserNamespacesDeps {
  readonly files: Files;
  /** Which ids of the host are there to be given out; asked for once, when the first pod wants some. */
  readonly hostIds: () => Promise<HostIds>;
  /** What the runtime said of its handlers last. */
  readonly handlers: () => RuntimeStatus['runtimeHandlers'];
}

const BYTES = 64 * 1024;

/**
 * Who has which ids of this host (kubelet userns_manager.go). What is given out stands in `pods/<uid>/userns` and nowhere
 * else: it goes with the pod's directory once the pod has ended, and a restarted process finds it there.
 */
export class UserNamespaces {
  private readonly options: UserNamespacesOptions;
  private readonly deps: UserNamespacesDeps;
  private readonly paths: PodPaths;
  private ids: Promise<HostIds> | undefined;
  private last: Promise<unknown> = Promise.resolve();

  constructor(options: UserNamespacesOptions, deps: UserNamespacesDeps) {
    this.options = options;
    this.deps = deps;
    this.paths = new PodPaths(options.rootDirectory);
  }

  /**
   * The ids that a pod's own are mapped to, given out when it has none yet; undefined for a pod of the host's users.
   * Throws Unimplemented when the runtime's handler cannot do it, ResourceExhausted when no range is left, InvalidObject
   * when a file is spoilt.
   */
  async mappingFor(pod: Pod, handler: string): Promise<IdMapping | undefined> {
    if (pod.spec.hostUsers !== false) return undefined;
    this.checkHandler(handler);
    // One after the other: two pods that looked at the same time would take the same range.
    const mapping = this.last.then(() => this.getOrCreate(pod.metadata.uid ?? ''));
    this.last = mapping.catch(() => {});
    return mapping;
  }

  private checkHandler(handler: string): void {
    const refuse = (why: string): never => {
      const who = handler === '' ? 'runtime' : `RuntimeClass handler ${JSON.stringify(handler)}`;
      const message = `can't set \`spec.hostUsers: false\`, ${who} does not support user namespaces${why}`;
      throw new CodedError('Unimplemented', message, { handler });
    };
    const handlers = this.deps.handlers();
    const known = handlers.find(({ name }) => name === handler);
    // Runtimes before containerd 2 say nothing of their handlers.
    if (handlers.length === 0) refuse(': runtime handlers are not set');
    else if (known === undefined) refuse(`: the handler ${JSON.stringify(handler)} is not known`);
    else if (!known.userNamespaces) refuse('');
  }

  private async getOrCreate(uid: string): Promise<IdMapping> {
    const own = await this.read(uid);
    if (own !== undefined) return own;
    const { files, hostIds } = this.deps;
    this.ids ??= hostIds().catch((error: unknown) => {
      this.ids = undefined;
      throw error;
    });
    const ids = await this.ids;
    const taken: IdMapping[] = [];
    for (const other of (await files.list(this.paths.pods)) ?? []) {
      // A range that cannot be read might be any: nobody gets one that two pods could have.
      const mapping = await this.read(other);
      if (mapping !== undefined) taken.push(mapping);
    }
    const mapping = freeRange(taken, ids, this.options.idsPerPod);
    const path = this.paths.userNamespace(uid);
    await files.makeDirectory(this.paths.pod(uid), 0o750);
    await files.write(`${path}.new`, mappingsText(mapping), 0o600);
    await files.rename(`${path}.new`, path);
    return mapping;
  }

  private async read(uid: string): Promise<IdMapping | undefined> {
    const path = this.paths.userNamespace(uid);
    let text: string;
    try {
      text = (await this.deps.files.read(path, { maxBytes: BYTES, noFollow: true })).toString();
    } catch (error) {
      if (hasCode(error, 'NotFound')) return undefined;
      throw error;
    }
    try {
      return mappingIn(text);
    } catch (error) {
      if (!(error instanceof CodedError)) throw error;
      throw new CodedError(error.code, `${path}: ${error.message}`, { path }, error);
    }
  }
}
