import type { ApiClient } from '../../../cluster/port.ts';
import type { Clock } from '../../../kit/clock.ts';
import type { Unsubscribe } from '../../../kit/emitter.ts';
import { CodedError, hasCode } from '../../../kit/errors.ts';
import type { Node } from '../../../model/node.ts';
import { resources } from '../../../model/resource.ts';
import type { VolumeAttachment } from '../../../model/storage.ts';
import { attachmentName, uniqueVolumeName } from './csi-paths.ts';

export interface CsiAttachmentsDeps {
  readonly api: Pick<ApiClient, 'get'>;
  readonly node: () => Node | undefined;
  readonly onNodeChange: (listener: () => void) => Unsubscribe;
  readonly clock: Clock;
}

/** kubelet waits so long for the attacher (csiTimeout); the pod's whole setting-up ends soon after. */
const PATIENCE_MS = 120_000;
/** gRPC status code. */
const RESOURCE_EXHAUSTED = 8;
/** VolumeAttachments may only be read one by one: asked for again so often, slower and slower. */
const POLL_MS = { first: 500, factor: 1.05, most: 7000 };

/** Waits until the cluster's controllers have attached volumes to this node. */
export class CsiAttachments {
  private readonly nodeName: string;
  private readonly deps: CsiAttachmentsDeps;

  constructor(nodeName: string, deps: CsiAttachmentsDeps) {
    this.nodeName = nodeName;
    this.deps = deps;
  }

  /**
   * Resolves with what the attacher has to tell the driver, once the Node says both that the volume is in use and that it
   * is attached. Throws DeadlineExceeded when that does not come about, Internal with the attacher's words when it fails.
   */
  async attached(
    driver: string,
    handle: string,
    specName: string,
    signal?: AbortSignal,
  ): Promise<Readonly<Record<string, string>>> {
    const until = this.deps.clock.monotonic() + PATIENCE_MS;
    await this.saidByNode(uniqueVolumeName(driver, handle), specName, until, signal);
    const name = attachmentName(handle, driver, this.nodeName);
    for (let pause = POLL_MS.first; ; pause = Math.min(pause * POLL_MS.factor, POLL_MS.most)) {
      const attachment = await this.read(name, signal);
      if (attachment?.metadata.deletionTimestamp !== undefined) {
        throw new CodedError('Unavailable', 'volume attachment is being deleted', { attachment: name });
      }
      const { attached = false, attachmentMetadata = {}, attachError } = attachment?.status ?? {};
      if (attached) return attachmentMetadata;
      if (attachError !== undefined) throw new CodedError('Internal', attachError.message ?? '', { attachment: name });
      if (this.deps.clock.monotonic() + pause > until) {
        const what = `timed out waiting for external-attacher of ${driver} CSI driver to attach volume ${handle}`;
        throw new CodedError('DeadlineExceeded', what, { attachment: name, deadlineMs: PATIENCE_MS });
      }
      await this.deps.clock.sleep(pause, signal);
    }
  }

  /** The driver cannot attach the volume since this node has as many of its volumes as it can (csi_plugin.go). */
  async exhausted(driver: string, handle: string): Promise<boolean> {
    const attachment = await this.read(attachmentName(handle, driver, this.nodeName), undefined);
    return attachment?.status?.attachError?.errorCode === RESOURCE_EXHAUSTED;
  }

  private async read(name: string, signal: AbortSignal | undefined): Promise<VolumeAttachment | undefined> {
    try {
      return await this.deps.api.get<VolumeAttachment>(resources.volumeattachments, { name }, signal);
    } catch (error) {
      if (hasCode(error, 'NotFound')) return undefined;
      throw error;
    }
  }

  private saidByNode(volume: string, specName: string, until: number, signal: AbortSignal | undefined): Promise<void> {
    const { node, onNodeChange, clock } = this.deps;
    const problem = (): string | undefined => {
      const { volumesInUse = [], volumesAttached = [] } = node()?.status ?? {};
      if (!volumesInUse.includes(volume)) {
        return "Volume has not been added to the list of VolumesInUse in the node's volume status";
      }
      if (!volumesAttached.some(({ name }) => name === volume)) return 'Volume not attached according to node status';
      return undefined;
    };
    return new Promise((resolve, reject) => {
      const settle = (finish: () => void): void => {
        unsubscribe();
        timer.cancel();
        signal?.removeEventListener('abort', onAbort);
        finish();
      };
      const look = (): void => {
        if (problem() === undefined) settle(resolve);
      };
      const onAbort = (): void => settle(() => reject(signal?.reason));
      const unsubscribe = onNodeChange(look);
      const timer = clock.after(until - clock.monotonic(), () =>
        settle(() => {
          const what = `${problem() ?? ''} for volume "${specName}" (UniqueName: "${volume}")`;
          reject(new CodedError('DeadlineExceeded', what, { volume: specName, deadlineMs: PATIENCE_MS }));
        }),
      );
      if (signal?.aborted) onAbort();
      else {
        signal?.addEventListener('abort', onAbort, { once: true });
        look();
      }
    });
  }
}
