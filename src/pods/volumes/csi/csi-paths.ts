import { createHash } from 'node:crypto';
import { CodedError } from '../../../kit/errors.ts';

export const CSI_PLUGIN = 'kubernetes.io/csi';

/**
 * Where kubelet keeps what a node has of CSI volumes, outside of the pods' directories (pkg/volume/csi). Paths of devices
 * go by the PersistentVolume's name, those of file systems by the driver and its handle.
 */
export class CsiPaths {
  private readonly plugin: string;

  constructor(rootDirectory: string) {
    this.plugin = `${rootDirectory.replace(/\/+$/, '')}/plugins/${CSI_PLUGIN}`;
  }

  /** What is known of a staged volume lies here, beside its staging path. */
  volume(driver: string, handle: string): string {
    return `${this.plugin}/${part(driver)}/${sha256(handle)}`;
  }

  staging(driver: string, handle: string): string {
    return `${this.volume(driver, handle)}/globalmount`;
  }

  device(specName: string): string {
    return `${this.plugin}/volumeDevices/${part(specName)}`;
  }

  deviceData(specName: string): string {
    return `${this.device(specName)}/data`;
  }

  deviceStaging(specName: string): string {
    return `${this.plugin}/volumeDevices/staging/${part(specName)}`;
  }

  /** One entry for each pod that has the device, named by its UID. */
  devicePublications(specName: string): string {
    return `${this.plugin}/volumeDevices/publish/${part(specName)}`;
  }
}

/** The handle of a pod's own volume (makeVolumeHandle). */
export function ephemeralHandle(podUid: string, volumeName: string): string {
  return `csi-${sha256(podUid + volumeName)}`;
}

/** The name of the VolumeAttachment that stands for a volume on a node (getAttachmentName). */
export function attachmentName(handle: string, driver: string, nodeName: string): string {
  return `csi-${sha256(handle + driver + nodeName)}`;
}

/** What Node.status.volumesInUse and volumesAttached call a volume. */
export function uniqueVolumeName(driver: string, handle: string): string {
  return `${CSI_PLUGIN}/${driver}^${handle}`;
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

// Names become parts of paths: nothing in them may lead elsewhere.
function part(text: string): string {
  if (/^[A-Za-z0-9._-]{1,253}$/.test(text) && !/^\.+$/.test(text)) return text;
  throw new CodedError('InvalidObject', `name ${JSON.stringify(text)} must be 1-253 letters, digits, "-", "." or "_"`);
}
