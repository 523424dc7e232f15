import { CodedError } from '../../kit/errors.ts';

/** Volume plugins' directory names, as kubelet escapes them (`kubernetes.io/x` → `kubernetes.io~x`). */
export const PLUGINS = {
  emptyDir: 'kubernetes.io~empty-dir',
  configMap: 'kubernetes.io~configmap',
  secret: 'kubernetes.io~secret',
  downwardAPI: 'kubernetes.io~downward-api',
  projected: 'kubernetes.io~projected',
} as const;

/** Where things of pods lie below kubelet's root directory (kubelet_getters.go). Throws InvalidObject for a bad name. */
export class PodPaths {
  private readonly root: string;

  constructor(root: string) {
    this.root = root.replace(/\/+$/, '') || '/';
  }

  get pods(): string {
    return `${this.root}/pods`;
  }

  /** One tmpfs for the contents of all pods' secret, downwardAPI and projected volumes. */
  get memory(): string {
    return `${this.root}/plugins/deckhand.io~memory`;
  }

  pod(uid: string): string {
    return `${this.pods}/${part('pod UID', uid)}`;
  }

  memoryOf(uid: string): string {
    return `${this.memory}/${part('pod UID', uid)}`;
  }

  volume(uid: string, plugin: string, name: string): string {
    return `${this.pod(uid)}/volumes/${plugin}/${part('volume name', name)}`;
  }

  memoryVolume(uid: string, plugin: string, name: string): string {
    return `${this.memoryOf(uid)}/${plugin}/${part('volume name', name)}`;
  }

  subPath(uid: string, volume: string, container: string, index: number): string {
    const names = `${part('volume name', volume)}/${part('container name', container)}`;
    return `${this.pod(uid)}/volume-subpaths/${names}/${index}`;
  }

  etcHosts(uid: string): string {
    return `${this.pod(uid)}/etc-hosts`;
  }

  terminationLog(uid: string, container: string, attempt: number): string {
    return `${this.pod(uid)}/containers/${part('container name', container)}/${attempt}`;
  }
}

// Names become parts of paths: nothing in them may lead elsewhere.
function part(what: string, text: string): string {
  if (/^[A-Za-z0-9._-]{1,253}$/.test(text) && text !== '.' && text !== '..') return text;
  throw new CodedError(
    'InvalidObject',
    `${what} ${JSON.stringify(text)} must be 1-253 letters, digits, "-", "." or "_"`,
  );
}
