import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { addService, GrpcFailure, type Handler, loadProtos } from '../grpc-service.ts';
import { runCommand } from '../run-command.ts';

export interface CsiDriverOptions {
  readonly name: string;
  /** kubelet's root directory: the driver listens below its plugins/ and announces itself in its plugins_registry/. */
  readonly rootDir: string;
  /** Where volumes have their contents. */
  readonly stateDir: string;
  readonly capabilities?: readonly string[];
  readonly nodeId?: string;
  readonly maxVolumes?: number;
  readonly topology?: Readonly<Record<string, string>>;
  /** Lets a call reach the mounts: without, the driver keeps its books only (for tests without root). */
  readonly mounts?: boolean;
}

export interface CsiCall {
  readonly method: string;
  readonly request: Record<string, unknown>;
}

interface Staged {
  readonly path: string;
  readonly device: string | undefined;
}

interface Published {
  readonly volumeId: string;
  readonly request: Record<string, unknown>;
}

type Fault = { readonly code: number; readonly details: string } | 'hang';

const CODE = { invalid: 3, notFound: 5, exists: 6, precondition: 9, outOfRange: 11 } as const;
const ALL = ['STAGE_UNSTAGE_VOLUME', 'EXPAND_VOLUME', 'GET_VOLUME_STATS', 'SINGLE_NODE_MULTI_WRITER'];

/**
 * A CSI driver: real gRPC on a unix socket, real bind mounts and loop devices, volumes that are directories or files of
 * its own. It refuses what the CSI specification lets a driver refuse: a volume that it does not have, a publication of
 * what is not staged, a second staging elsewhere, an unstaging of what is published. It can be told to fail or to hang.
 */
export class CsiDriver {
  readonly calls: CsiCall[] = [];
  readonly staged = new Map<string, Staged>();
  /** By target path. */
  readonly published = new Map<string, Published>();
  readonly statuses: { registered: boolean; error: string }[] = [];
  readonly socket: string;
  readonly registrationSocket: string;
  versions: readonly string[] = ['1.0.0'];
  maxVolumes: number;
  /** What it says of the health of its volumes. */
  condition: { readonly abnormal: boolean; readonly message: string } | undefined;
  private readonly options: CsiDriverOptions;
  private readonly faults = new Map<string, { fault: Fault; times: number }>();
  private readonly hanging = new Set<(error: Error) => void>();
  private server: Server | undefined;

  constructor(options: CsiDriverOptions) {
    this.options = options;
    this.maxVolumes = options.maxVolumes ?? 0;
    this.socket = `${options.rootDir}/plugins/${options.name}/csi.sock`;
    this.registrationSocket = `${options.rootDir}/plugins_registry/${options.name}-reg.sock`;
    mkdirSync(join(options.stateDir, 'volumes'), { recursive: true });
    this.restore();
  }

  /** Listens; with `register` also where kubelet looks for plugins. */
  async start(register = true): Promise<void> {
    const schema = loadProtos('csi', 'pluginregistration');
    const server = new Server();
    addService(server, schema.lookupService('csi.v1.Node'), this.node());
    addService(server, schema.lookupService('pluginregistration.Registration'), this.registration());
    for (const socket of register ? [this.socket, this.registrationSocket] : [this.socket]) {
      mkdirSync(dirname(socket), { recursive: true });
      rmSync(socket, { force: true });
      await new Promise<void>((resolve, reject) => {
        server.bindAsync(`unix://${socket}`, ServerCredentials.createInsecure(), (error) =>
          error ? reject(error) : resolve(),
        );
      });
    }
    this.server = server;
  }

  /** As a process that was killed: connections break, the sockets lie where they are, mounts stay. */
  crash(): void {
    this.server?.forceShutdown();
    this.server = undefined;
    this.unhang();
  }

  /** Ends in order: its registration goes first. Mounts stay. */
  stop(): void {
    rmSync(this.registrationSocket, { force: true });
    this.crash();
    rmSync(this.socket, { force: true });
  }

  /** The next `times` calls of a method fail with a gRPC code, or are not answered before `unhang`. */
  fail(method: string, fault: Fault, times = Number.POSITIVE_INFINITY): void {
    this.faults.set(method, { fault, times });
  }

  heal(method: string): void {
    this.faults.delete(method);
  }

  /** Calls that hang fail now. */
  unhang(): void {
    for (const reject of this.hanging) reject(new GrpcFailure(14, 'the driver was restarted'));
    this.hanging.clear();
  }

  /** Makes a volume; the size is in bytes. */
  async createVolume(id: string, sizeBytes = 1 << 20): Promise<string> {
    const directory = this.volumePath(id);
    mkdirSync(directory, { recursive: true });
    writeFileSync(`${directory}.size`, `${sizeBytes}`);
    return directory;
  }

  sizeOf(id: string): number {
    return Number(readFileSync(`${this.volumePath(id)}.size`, 'utf8'));
  }

  volumePath(id: string): string {
    return join(this.options.stateDir, 'volumes', id);
  }

  requests(method: string): Record<string, unknown>[] {
    return this.calls.filter((call) => call.method === method).map(({ request }) => request);
  }

  /** Undoes what it has mounted, for the end of a test. */
  async close(): Promise<void> {
    this.stop();
    for (const target of this.published.keys()) await unmount(target);
    for (const { path, device } of this.staged.values()) {
      await unmount(path);
      if (device !== undefined) await runCommand(['losetup', '-d', device]).catch(() => {});
    }
    await rm(this.options.stateDir, { recursive: true, force: true });
  }

  private registration(): Record<string, Handler> {
    return {
      GetInfo: this.guarded('GetInfo', async () => ({
        type: 'CSIPlugin',
        name: this.options.name,
        endpoint: this.socket,
        supportedVersions: this.versions,
      })),
      NotifyRegistrationStatus: this.guarded('NotifyRegistrationStatus', async (request) => {
        this.statuses.push({ registered: request['pluginRegistered'] === true, error: String(request['error']) });
        return {};
      }),
    };
  }

  private node(): Record<string, Handler> {
    const { capabilities = ALL, nodeId = 'csi-node', topology = {} } = this.options;
    const handlers: Record<string, (request: Record<string, unknown>) => Promise<object>> = {
      NodeGetInfo: async () => ({
        nodeId,
        maxVolumesPerNode: this.maxVolumes,
        accessibleTopology: { segments: topology },
      }),
      NodeGetCapabilities: async () => ({ capabilities: capabilities.map((type) => ({ rpc: { type } })) }),
      NodeStageVolume: (request) => this.stage(request),
      NodeUnstageVolume: (request) => this.unstage(request),
      NodePublishVolume: (request) => this.publish(request),
      NodeUnpublishVolume: (request) => this.unpublish(request),
      NodeExpandVolume: (request) => this.expand(request),
      NodeGetVolumeStats: (request) => this.stats(request),
    };
    return Object.fromEntries(
      Object.entries(handlers).map(([method, handle]) => [method, this.guarded(method, handle)]),
    );
  }

  private guarded(method: string, handle: (request: Record<string, unknown>) => Promise<object>): Handler {
    return async (request) => {
      this.calls.push({ method, request });
      const planned = this.faults.get(method);
      if (planned !== undefined && planned.times > 0) {
        planned.times -= 1;
        const { fault } = planned;
        if (fault === 'hang') return new Promise((_, reject) => this.hanging.add(reject));
        throw new GrpcFailure(fault.code, fault.details);
      }
      return handle(request);
    };
  }

  private async stage(request: Record<string, unknown>): Promise<object> {
    const id = this.idOf(request);
    const path = String(request['stagingTargetPath']);
    const capability = request['volumeCapability'] as { mount?: object | null; block?: object | null };
    const known = this.staged.get(id);
    if (known !== undefined) {
      if (known.path === path) return {};
      throw new GrpcFailure(CODE.exists, `volume ${id} is staged at ${known.path}`);
    }
    if (!existsSync(path)) throw new GrpcFailure(CODE.notFound, `staging path ${path} is not there`);
    let device: string | undefined;
    if (capability.block) {
      const image = `${this.volumePath(id)}.img`;
      if (!existsSync(image)) await runCommand(['truncate', '-s', `${this.sizeOf(id)}`, image]);
      if (this.real) device = (await runCommand(['losetup', '-f', '--show', image])).trim();
    } else if (this.real) await runCommand(['mount', '--bind', this.volumePath(id), path]);
    this.staged.set(id, { path, device });
    this.save();
    return {};
  }

  private async unstage(request: Record<string, unknown>): Promise<object> {
    const id = String(request['volumeId']);
    const known = this.staged.get(id);
    if (known === undefined) return {};
    const users = [...this.published].filter(([, { volumeId }]) => volumeId === id).map(([target]) => target);
    if (users.length > 0) throw new GrpcFailure(CODE.precondition, `volume ${id} is published at ${users.join(', ')}`);
    if (known.device === undefined) await unmount(known.path);
    else await runCommand(['losetup', '-d', known.device]);
    this.staged.delete(id);
    this.save();
    return {};
  }

  private async publish(request: Record<string, unknown>): Promise<object> {
    const { capabilities = ALL } = this.options;
    const target = String(request['targetPath']);
    const context = request['volumeContext'] as Record<string, string>;
    const isEphemeral = context['csi.storage.k8s.io/ephemeral'] === 'true';
    if (isEphemeral) await this.createVolume(String(request['volumeId']));
    const id = this.idOf(request);
    const staged = this.staged.get(id);
    if (
      !isEphemeral &&
      capabilities.includes('STAGE_UNSTAGE_VOLUME') &&
      staged?.path !== request['stagingTargetPath']
    ) {
      throw new GrpcFailure(CODE.precondition, `volume ${id} is not staged at ${request['stagingTargetPath']}`);
    }
    if (!existsSync(dirname(target))) throw new GrpcFailure(13, `${dirname(target)} is not there`);
    const known = this.published.get(target);
    this.published.set(target, { volumeId: id, request });
    if (known === undefined) {
      const { device } = staged ?? {};
      if (device === undefined) mkdirSync(target, { recursive: true });
      else writeFileSync(target, '');
      if (this.real) {
        await runCommand(['mount', '--bind', device ?? this.volumePath(id), target]);
        if (request['readonly'] === true) await runCommand(['mount', '-o', 'remount,bind,ro', target]);
      }
    }
    this.save();
    return {};
  }

  private async unpublish(request: Record<string, unknown>): Promise<object> {
    const target = String(request['targetPath']);
    const known = this.published.get(target);
    if (known !== undefined) {
      await unmount(target);
      const context = known.request['volumeContext'] as Record<string, string>;
      if (context['csi.storage.k8s.io/ephemeral'] === 'true') {
        rmSync(this.volumePath(known.volumeId), { recursive: true, force: true });
      }
      this.published.delete(target);
      this.save();
    }
    // CSI: the driver removes what it made at the path.
    if (existsSync(target)) rmSync(target, { recursive: statSync(target).isDirectory() });
    return {};
  }

  private async expand(request: Record<string, unknown>): Promise<object> {
    const id = this.idOf(request);
    const path = String(request['volumePath']);
    if (!this.published.has(path) && this.staged.get(id)?.path !== path) {
      throw new GrpcFailure(CODE.notFound, `volume ${id} is not at ${path}`);
    }
    const { requiredBytes } = request['capacityRange'] as { requiredBytes: number };
    if (requiredBytes > 1 << 30) throw new GrpcFailure(CODE.outOfRange, 'volumes end at 1Gi');
    writeFileSync(`${this.volumePath(id)}.size`, `${Math.max(requiredBytes, this.sizeOf(id))}`);
    return { capacityBytes: this.sizeOf(id) };
  }

  private async stats(request: Record<string, unknown>): Promise<object> {
    const id = this.idOf(request);
    const total = this.sizeOf(id);
    return {
      usage: [
        { unit: 'BYTES', total, used: 4096, available: total - 4096 },
        { unit: 'INODES', total: 100, used: 7, available: 93 },
      ],
      ...(this.condition === undefined ? {} : { volumeCondition: this.condition }),
    };
  }

  private idOf(request: Record<string, unknown>): string {
    const id = String(request['volumeId']);
    if (id === '') throw new GrpcFailure(CODE.invalid, 'volume id must be given');
    if (!existsSync(this.volumePath(id))) throw new GrpcFailure(CODE.notFound, `there is no volume ${id}`);
    return id;
  }

  private get real(): boolean {
    return this.options.mounts !== false;
  }

  /** What it has done outlasts it, as with a driver that looks at its mounts when it starts. */
  private save(): void {
    const books = { staged: [...this.staged], published: [...this.published] };
    writeFileSync(join(this.options.stateDir, 'books.json'), JSON.stringify(books));
  }

  private restore(): void {
    const file = join(this.options.stateDir, 'books.json');
    if (!existsSync(file)) return;
    const books = JSON.parse(readFileSync(file, 'utf8')) as {
      staged: [string, Staged][];
      published: [string, Published][];
    };
    for (const [id, staged] of books.staged) this.staged.set(id, staged);
    for (const [target, published] of books.published) this.published.set(target, published);
  }
}

async function unmount(path: string): Promise<void> {
  await runCommand(['umount', path]).catch(() => {});
}
