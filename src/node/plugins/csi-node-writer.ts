import type { ApiClient } from '../../cluster/port.ts';
import type { CsiNodeInfo } from '../../host/csi/port.ts';
import type { Clock } from '../../kit/clock.ts';
import { CodedError, hasCode, messageOf } from '../../kit/errors.ts';
import type { Logger } from '../../kit/log.ts';
import type { Node } from '../../model/node.ts';
import { resources } from '../../model/resource.ts';
import type { CSINode } from '../../model/storage.ts';
import {
  isOwnedBy,
  newCsiNode,
  nodeMetadataWith,
  nodeMetadataWithout,
  withDriver,
  withMigration,
  withoutDriver,
} from './csi-node-object.ts';

export interface CsiNodeWriterOptions {
  readonly nodeName: string;
}

export interface CsiNodeWriterDeps {
  readonly api: Pick<ApiClient, 'get' | 'create' | 'update' | 'patch' | 'delete'>;
  readonly clock: Clock;
  readonly log: Logger;
}

/** nodeinfomanager updateBackoff: four tries. */
const TRIES_MS = [0, 10, 50, 250];
/** The node must be registered before it can own anything; the API may be away. */
const AGAIN_MS = 1000;

/** The one writer of this node's CSINode object, and of what its Node says of CSI drivers. One change at a time. */
export class CsiNodeWriter {
  private readonly nodeName: string;
  private readonly deps: CsiNodeWriterDeps;
  private last: Promise<unknown> = Promise.resolve();

  constructor({ nodeName }: CsiNodeWriterOptions, deps: CsiNodeWriterDeps) {
    this.nodeName = nodeName;
    this.deps = deps;
  }

  /** Makes the CSINode as soon as there is a Node that owns it; tries until it is there or the signal aborts. */
  async initialize(signal: AbortSignal): Promise<void> {
    const { clock, log } = this.deps;
    for (let told = false; !signal.aborted; await clock.sleep(AGAIN_MS, signal).catch(() => {})) {
      try {
        await this.oneByOne(() => this.write((object) => withMigration(object), true));
        return;
      } catch (error) {
        if (signal.aborted) return;
        const early = hasCode(error, 'NotFound');
        log[early || told ? 'debug' : 'warn']({ error: messageOf(error) }, 'CSINode is not yet initialized');
        told ||= !early;
      }
    }
  }

  async install(driver: string, info: CsiNodeInfo, signal?: AbortSignal): Promise<void> {
    if (info.nodeId === '') {
      const why = 'error adding CSI driver node info: driverNodeID must not be empty';
      throw new CodedError('InvalidArgument', why, { driver });
    }
    await this.oneByOne(async () => {
      await this.inTries(`updating Node object with CSI driver node info of ${driver}`, signal, () =>
        this.writeNode((node) => nodeMetadataWith(node, driver, info)),
      );
      await this.inTries(`updating CSINode object with CSI driver node info of ${driver}`, signal, () =>
        this.write((object) => withDriver(object, driver, info), true),
      );
    });
  }

  async uninstall(driver: string): Promise<void> {
    await this.oneByOne(async () => {
      await this.inTries(`uninstalling CSI driver ${driver} from CSINode object`, undefined, () =>
        this.write((object) => withoutDriver(object, driver), false),
      );
      await this.inTries(`removing CSI driver node info of ${driver} from Node object`, undefined, () =>
        this.writeNode((node) => nodeMetadataWithout(node, driver)),
      );
    });
  }

  private async write(change: (object: CSINode) => CSINode | undefined, make: boolean): Promise<void> {
    const { api } = this.deps;
    const target = { name: this.nodeName };
    let object: CSINode;
    try {
      object = await api.get<CSINode>(resources.csinodes, target);
    } catch (error) {
      if (!hasCode(error, 'NotFound')) throw error;
      if (!make) return;
      object = await api.create<CSINode>(resources.csinodes, {}, newCsiNode(await this.node()));
    }
    if (make && !isOwnedBy(object, await this.node())) {
      await api.delete(resources.csinodes, target);
      throw new CodedError('Conflict', `CSINode "${this.nodeName}" was owned by different node, deleted it`);
    }
    const wanted = change({ ...object, spec: { ...object.spec, drivers: object.spec.drivers ?? [] } });
    if (wanted !== undefined) await api.update(resources.csinodes, target, wanted);
  }

  private async writeNode(change: (node: Node) => object | undefined): Promise<void> {
    const metadata = change(await this.node());
    if (metadata === undefined) return;
    // As kubelet does: RBAC and the Node authorizer let a node patch its status, metadata along with it.
    const target = { name: this.nodeName, subresource: 'status' };
    await this.deps.api.patch(resources.nodes, target, { metadata }, 'strategic');
  }

  private node(): Promise<Node> {
    return this.deps.api.get<Node>(resources.nodes, { name: this.nodeName });
  }

  private oneByOne<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.last.then(work, work);
    this.last = mine.catch(() => {});
    return mine;
  }

  private async inTries(what: string, signal: AbortSignal | undefined, work: () => Promise<void>): Promise<void> {
    let failure: unknown;
    for (const delay of TRIES_MS) {
      if (delay > 0) await this.deps.clock.sleep(delay, signal);
      try {
        return await work();
      } catch (error) {
        failure = error;
      }
    }
    const code = failure instanceof CodedError ? failure.code : 'Internal';
    throw new CodedError(code, `${what}: ${messageOf(failure)}`, {}, failure);
  }
}
