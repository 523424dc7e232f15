import type { Files } from '../../host/files/port.ts';
import { CodedError, hasCode } from '../../kit/errors.ts';
import type { Container, Pod } from '../../model/pod.ts';
import { PodPaths } from './pod-paths.ts';
import { readInVolume } from './read-in-volume.ts';

/** Container attempts whose termination log is kept: the running one and the one before. */
const KEPT_ATTEMPTS = 2;
/** MaxContainerTerminationMessageLength (kubelet container/runtime.go). */
const MESSAGE_BYTES = 4096;
const HOSTS_BYTES = 1 << 20;
/** kubelet sets no limit; a megabyte of variables is more than exec(2) takes. */
const ENV_FILE_BYTES = 1 << 20;

/** The files that every container has mounted besides its volumes. They go with the pod's directory (tearDown). */
export class PodFiles {
  private readonly paths: PodPaths;
  private readonly files: Files;

  constructor(options: { readonly rootDirectory: string }, deps: { readonly files: Files }) {
    this.paths = new PodPaths(options.rootDirectory);
    this.files = deps.files;
  }

  /**
   * Makes the file that a container (its `attempt`-th start) may write its last words to; any user may. Returns its path
   * on the host, to be mounted at terminationMessagePath. An attempt tried again finds it emptied.
   */
  async makeTerminationLog(pod: Pod, container: Pick<Container, 'name'>, attempt: number): Promise<string> {
    const uid = pod.metadata.uid ?? '';
    const path = this.paths.terminationLog(uid, container.name, attempt);
    await this.files.makeDirectory(path.slice(0, path.lastIndexOf('/')), 0o750);
    await this.files.write(path, '', 0o666);
    if (attempt >= KEPT_ATTEMPTS) {
      await this.files.remove(this.paths.terminationLog(uid, container.name, attempt - KEPT_ATTEMPTS));
    }
    return path;
  }

  /** The last 4096 bytes of a termination log; "" when there is none. */
  async readTerminationMessage(path: string, maxBytes = MESSAGE_BYTES): Promise<string> {
    try {
      const data = await this.files.read(path, { maxBytes, fromEnd: true, noFollow: true });
      return data.toString('utf8');
    } catch (error) {
      if (hasCode(error, 'NotFound', 'InvalidArgument')) return '';
      throw error;
    }
  }

  /** The same by pod, container and attempt. */
  terminationMessage(podUid: string, container: string, attempt: number): Promise<string> {
    return this.readTerminationMessage(this.paths.terminationLog(podUid, container, attempt));
  }

  /** Writes the pod's /etc/hosts in place, for containers hold its inode mounted; the same text writes nothing. */
  async writeEtcHosts(pod: Pod, text: string): Promise<string> {
    const path = this.paths.etcHosts(pod.metadata.uid ?? '');
    const wanted = Buffer.from(text, 'utf8');
    if (wanted.length > HOSTS_BYTES) {
      throw new CodedError('InvalidObject', `/etc/hosts of ${wanted.length} bytes; want at most ${HOSTS_BYTES}`);
    }
    if (!(await this.holds(path, wanted))) {
      await this.files.makeDirectory(path.slice(0, path.lastIndexOf('/')), 0o750);
      await this.files.write(path, wanted, 0o644);
    }
    return path;
  }

  /** A file that a container wrote into an emptyDir of its pod. Throws as readInVolume does. */
  readInEmptyDir(pod: Pod, volume: string, path: string): Promise<string> {
    const directory = this.paths.volume(pod.metadata.uid ?? '', 'kubernetes.io/empty-dir', volume);
    return readInVolume(this.files, directory, path, ENV_FILE_BYTES);
  }

  private async holds(path: string, wanted: Buffer): Promise<boolean> {
    try {
      return (await this.files.read(path, { maxBytes: wanted.length + 1, noFollow: true })).equals(wanted);
    } catch (error) {
      if (hasCode(error, 'NotFound')) return false;
      throw error;
    }
  }
}
