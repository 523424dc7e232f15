import { CodedError } from '../../kit/errors.ts';

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

  /** The ids that the pod's own users are mapped to. */
  userNamespace(uid: string): string {
    return `${this.pod(uid)}/userns`;
  }

  memoryOf(uid: string): string {
    return `${this.memory}/${part('pod UID', uid)}`;
  }

  /** `plugin` is its name, such as "kubernetes.io/csi". */
  volume(uid: string, plugin: string, name: string): string {
    return `${this.pod(uid)}/volumes/${escapePlugin(plugin)}/${part('volume name', name)}`;
  }

  memoryVolume(uid: string, plugin: string, name: string): string {
    return `${this.memoryOf(uid)}/${escapePlugin(plugin)}/${part('volume name', name)}`;
  }

  /** The link to a Block volume's device. */
  device(uid: string, plugin: string, name: string): string {
    return `${this.pod(uid)}/volumeDevices/${escapePlugin(plugin)}/${part('volume name', name)}`;
  }

  /** Where a Block volume's device is bound once for each pod that has it, under the pod's UID. */
  deviceMaps(plugin: string, name: string): string {
    return `${this.root}/plugins/${escapePlugin(plugin)}/volumeDevices/${part('volume name', name)}`;
  }

  /** What a plugin keeps for the whole node. */
  plugin(name: string): string {
    return `${this.root}/plugins/${name}`;
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

/** Volume plugins' directory names, as kubelet escapes them (`kubernetes.io/x` → `kubernetes.io~x`). */
export function escapePlugin(name: string): string {
  return name.replaceAll('/', '~');
}

export function unescapePlugin(directory: string): string {
  return directory.replaceAll('~', '/');
}

// Names become parts of paths: nothing in them may lead elsewhere.
function part(what: string, text: string): string {
  if (/^[A-Za-z0-9._-]{1,253}$/.test(text) && text !== '.' && text !== '..') return text;
  throw new CodedError(
    'InvalidObject',
    `${what} ${JSON.stringify(text)} must be 1-253 letters, digits, "-", "." or "_"`,
  );
}
