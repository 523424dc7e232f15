import type {
  DeviceGrant,
  DevicePlugin,
  DevicePluginHost,
  DevicePluginOptions,
  DeviceRegistration,
  PluginDevice,
} from '../../host/devices/port.ts';
import type { Files } from '../../host/files/port.ts';
import type { ContainerDevices } from '../../host/pod-resources/port.ts';
import type { Clock } from '../../kit/clock.ts';
import { CodedError, messageOf } from '../../kit/errors.ts';
import type { Logger } from '../../kit/log.ts';
import type { Metrics } from '../../kit/metrics.ts';
import type { ResourceList } from '../../model/meta.ts';
import type { Container, Pod } from '../../model/pod.ts';
import { podLimits } from '../../model/pod-resources.ts';
import { wholeValueOf } from '../../model/quantity.ts';
import { containersOf, type Hint, type Hints } from '../managers/hints.ts';
import type { NumaMask } from '../managers/numa-mask.ts';
import type { DeviceProvider } from '../managers/topology-manager.ts';
import { rpcErrorText } from '../step-error.ts';
import { chooseDevices } from './choose-devices.ts';
import { DeviceCheckpoint } from './device-checkpoint.ts';
import { caresForNodes, deviceHints } from './device-hints.ts';
import { type Allocation, DeviceLedger, mergeGrants } from './device-ledger.ts';

export interface DeviceManagerOptions {
  /** device-plugins/ below kubelet's root directory. */
  readonly directory: string;
}

export interface DeviceManagerDeps {
  readonly host: DevicePluginHost;
  readonly files: Files;
  readonly isExtendedResource: (name: string) => boolean;
  /** Pods that still have a claim on what they were given. */
  readonly isActive: (podUid: string) => boolean;
  /** Told when what `resources` answers has changed. */
  readonly changed: () => void;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Metrics;
  /** The machine's, by number. */
  readonly numaNodes: readonly number[];
}

/** A resource with the plugin that has it, or had it. */
interface Endpoint {
  readonly plugin: DevicePlugin | undefined;
  readonly options: DevicePluginOptions;
  readonly stop: AbortController;
  devices: ReadonlyMap<string, PluginDevice>;
  /** When its plugin went (monotonic). */
  goneAt: number | undefined;
}

/** A plugin that is restarted has so long to come back before its resource is no more (devicemanager endpointStopGracePeriod). */
const GRACE_MS = 5 * 60_000;
const NO_NODE = '-1';
const ONE = 1_000_000_000n;

/** Devices of plugins (v1beta1): counts them, gives them to containers, and remembers who has which (pkg/kubelet/cm/devicemanager). */
export class DeviceManager implements DeviceProvider {
  private readonly directory: string;
  private readonly deps: DeviceManagerDeps;
  private readonly checkpoint: DeviceCheckpoint;
  private readonly endpoints = new Map<string, Endpoint>();
  private readonly removed = new Set<string>();
  private readonly ledger = new DeviceLedger();
  /** The socket of each resource's plugin. */
  private readonly sockets = new Map<string, string>();
  private last: Promise<unknown> = Promise.resolve();
  private server: { close(): Promise<void> } | undefined;
  private readonly registrations;
  private readonly duration;

  constructor({ directory }: DeviceManagerOptions, deps: DeviceManagerDeps) {
    this.directory = directory;
    this.deps = deps;
    this.checkpoint = new DeviceCheckpoint(directory, deps.files);
    const { metrics } = deps;
    this.registrations = metrics.counter(
      'kubelet_device_plugin_registration_total',
      'Registrations of device plugins.',
      ['resource_name'],
    );
    this.duration = metrics.histogram(
      'kubelet_device_plugin_alloc_duration_seconds',
      'How long device plugins take to hand over devices.',
      [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
      ['resource_name'],
    );
  }

  /** Takes up what the checkpoint says, and listens for plugins, which see a new kubelet.sock and register anew. */
  async start(): Promise<void> {
    const { files, host, log } = this.deps;
    await files.makeDirectory(this.directory, 0o750);
    try {
      await this.restore();
    } catch (error) {
      log.error(
        { error: messageOf(error) },
        'the checkpoint of devices cannot be read; what containers have is not known',
      );
    }
    for (const name of (await files.list(this.directory)) ?? []) {
      const path = `${this.directory}/${name}`;
      if (name === 'kubelet_internal_checkpoint') continue;
      if ((await files.lstat(path))?.kind === 'directory') await files.removeTree(path);
      else await files.remove(path);
    }
    this.server = await host.serve(`${this.directory}/kubelet.sock`, (registration) => this.register(registration));
  }

  async close(): Promise<void> {
    await this.server?.close();
    for (const { stop, plugin } of this.endpoints.values()) {
      stop.abort();
      plugin?.close();
    }
  }

  /** What the Node has of devices: all of them, those that are healthy, and resources that are no more. */
  resources(): {
    readonly capacity: ResourceList;
    readonly allocatable: ResourceList;
    readonly removed: readonly string[];
  } {
    this.expire();
    const capacity: ResourceList = {};
    const allocatable: ResourceList = {};
    for (const [name, { devices }] of this.endpoints) {
      capacity[name] = String(devices.size);
      allocatable[name] = String([...devices.values()].filter(({ healthy }) => healthy).length);
    }
    return { capacity, allocatable, removed: [...this.removed] };
  }

  wants(pod: Pod): boolean {
    return containersOf(pod).some((container) => this.wantedBy(container).length > 0);
  }

  hints(pod: Pod, container: Container): Hints {
    const uid = pod.metadata.uid ?? '';
    const has = this.ledger.of(uid, container.name);
    return new Map(
      this.wantedBy(container).map(({ resource, count }) => [
        resource,
        this.hintsOf(resource, count, has.get(resource)?.ids ?? [], this.reusable(pod, container).get(resource) ?? []),
      ]),
    );
  }

  podHints(pod: Pod): Hints {
    const uid = pod.metadata.uid ?? '';
    const wanted = new Set(
      containersOf(pod).flatMap((container) => this.wantedBy(container).map((one) => one.resource)),
    );
    const limits = podLimits(pod);
    const hints = new Map<string, readonly Hint[] | undefined>();
    for (const resource of wanted) {
      const has = new Set(containersOf(pod).flatMap(({ name }) => this.ledger.of(uid, name).get(resource)?.ids ?? []));
      hints.set(resource, this.hintsOf(resource, Number((limits[resource] ?? 0n) / ONE), [...has], []));
    }
    return hints;
  }

  /** Gives one container its devices, near to these nodes first. Throws in kubelet's words. */
  allocate(pod: Pod, container: Container, { nodes }: Hint): Promise<void> {
    return this.inTurn(pod, () => this.allocateContainer(pod, container, nodes));
  }

  /** Gives a pod its devices, all or an error in kubelet's words; undefined: it wants none. */
  reserve(pod: Pod): Promise<void> | undefined {
    if (!this.wants(pod)) return undefined;
    return this.inTurn(pod, async () => {
      for (const container of containersOf(pod)) await this.allocateContainer(pod, container, undefined);
    });
  }

  /** What a container starts with for its devices, after its plugins have made them ready; undefined: it has none. */
  async grantFor(pod: Pod, container: Container): Promise<DeviceGrant | undefined> {
    const uid = pod.metadata.uid ?? '';
    const has = this.ledger.of(uid, container.name);
    for (const { resource } of this.wantedBy(container)) {
      const allocation = has.get(resource);
      if (allocation === undefined) {
        throw new CodedError(
          'Unavailable',
          `devices of ${resource} have not been given to container ${container.name}`,
        );
      }
      const { plugin, options } = this.endpoints.get(resource) ?? {};
      if (options?.preStartRequired !== true) continue;
      if (plugin === undefined) throw new CodedError('Unavailable', `endpoint of ${resource} has been stopped`);
      try {
        await plugin.preStart(allocation.ids);
      } catch (error) {
        const why = `device plugin PreStartContainer rpc failed with err: ${rpcErrorText(error)}`;
        throw new CodedError(error instanceof CodedError ? error.code : 'Internal', why, { resource }, error);
      }
    }
    return has.size === 0 ? undefined : mergeGrants([...has.values()].map(({ grant }) => grant));
  }

  /** A pod that has ended has no devices any more. */
  release(podUid: string): void {
    if (this.ledger.drop(podUid)) this.save();
  }

  devicesOf(podUid: string, container: string): ContainerDevices[] {
    return [...this.ledger.of(podUid, container)].flatMap(([resourceName, { byNode }]) =>
      Object.entries(byNode).map(([node, deviceIds]) => ({
        resourceName,
        deviceIds,
        numaNodes: node === NO_NODE ? [] : [Number(node)],
      })),
    );
  }

  /** Healthy devices, given away or not. */
  allocatableDevices(): ContainerDevices[] {
    return [...this.endpoints].flatMap(([resourceName, { devices }]) => {
      const healthy = [...devices.values()].filter((device) => device.healthy).map(({ id }) => id);
      return Object.entries(byNode(healthy, devices)).map(([node, deviceIds]) => ({
        resourceName,
        deviceIds,
        numaNodes: node === NO_NODE ? [] : [Number(node)],
      }));
    });
  }

  // ── plugins ───────────────────────────────────────────────────────────────────────────────────────────────────────

  private async register({ version, endpoint, resource }: DeviceRegistration): Promise<void> {
    const { isExtendedResource } = this.deps;
    if (version !== 'v1beta1') {
      throw new CodedError(
        'InvalidArgument',
        `requested API version ${JSON.stringify(version)} is not supported by kubelet. Supported version is ["v1beta1"]`,
      );
    }
    if (!isExtendedResource(resource)) {
      const why = `the ResourceName ${JSON.stringify(resource)} is invalid; want an extended resource such as example.com/gpu`;
      throw new CodedError('InvalidArgument', why, { resource });
    }
    if (!/^[^/]+$/.test(endpoint) || endpoint.startsWith('.')) {
      const why = `endpoint ${JSON.stringify(endpoint)} must be the name of a socket in ${this.directory}`;
      throw new CodedError('InvalidArgument', why, { resource });
    }
    await this.connect(resource, `${this.directory}/${endpoint}`);
  }

  /** Takes the plugin of a resource; one that was there before gives way. `endpoint` is its socket. */
  async connect(resource: string, endpoint: string): Promise<void> {
    const { host, log } = this.deps;
    const plugin = host.connect(endpoint);
    let options: DevicePluginOptions;
    try {
      options = await plugin.options();
    } catch (error) {
      plugin.close();
      throw new CodedError(
        'Unavailable',
        `failed to get device plugin options: ${rpcErrorText(error)}`,
        { resource },
        error,
      );
    }
    const previous = this.endpoints.get(resource);
    previous?.stop.abort();
    previous?.plugin?.close();
    const devices = unhealthy(previous?.devices ?? new Map());
    const entry: Endpoint = { plugin, options, stop: new AbortController(), devices, goneAt: undefined };
    this.endpoints.set(resource, entry);
    this.sockets.set(resource, endpoint);
    this.removed.delete(resource);
    this.registrations.inc({ resource_name: resource });
    log.info({ resource, endpoint }, 'a device plugin has registered');
    void plugin
      .watch((found) => this.devicesAre(resource, entry, found), entry.stop.signal)
      .catch((error: unknown) => log.warn({ resource, error: messageOf(error) }, 'a device plugin broke off'))
      .then(() => this.gone(resource, entry));
  }

  /** The socket of a plugin is gone; another plugin may have the resource by now. */
  disconnect(resource: string, endpoint: string): void {
    if (this.sockets.get(resource) !== endpoint) return;
    this.sockets.delete(resource);
    const entry = this.endpoints.get(resource);
    if (entry === undefined) return;
    if (entry.goneAt === undefined) this.gone(resource, entry);
    entry.stop.abort();
  }

  private devicesAre(resource: string, entry: Endpoint, found: readonly PluginDevice[]): void {
    entry.devices = new Map(found.map((device) => [device.id, device]));
    this.deps.log.info({ resource, devices: found.length }, 'a device plugin tells of its devices');
    this.save();
    this.deps.changed();
  }

  private gone(resource: string, entry: Endpoint): void {
    if (entry.stop.signal.aborted) return;
    const { clock, log, changed } = this.deps;
    entry.plugin?.close();
    entry.devices = unhealthy(entry.devices);
    entry.goneAt = clock.monotonic();
    log.warn({ resource }, 'a device plugin is gone; its devices are unhealthy');
    clock.after(GRACE_MS, () => changed());
    changed();
  }

  private expire(): void {
    const now = this.deps.clock.monotonic();
    for (const [resource, { goneAt }] of this.endpoints) {
      if (goneAt === undefined || now - goneAt < GRACE_MS) continue;
      this.endpoints.delete(resource);
      this.removed.add(resource);
      this.save();
    }
  }

  // ── containers ────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Extended resources may not be overcommitted: limits and requests are the same. */
  private wantedBy({ resources }: Container): { readonly resource: string; readonly count: number }[] {
    return Object.entries(resources?.limits ?? {})
      .filter(([resource]) => this.endpoints.has(resource))
      .map(([resource, quantity]) => ({ resource, count: wholeValueOf(quantity) }))
      .filter(({ count }) => count > 0);
  }

  /** Undefined: nodes are all the same to these devices. */
  private hintsOf(
    resource: string,
    count: number,
    has: readonly string[],
    reusable: Iterable<string>,
  ): readonly Hint[] | undefined {
    const { devices = new Map<string, PluginDevice>() } = this.endpoints.get(resource) ?? {};
    if (!caresForNodes(devices)) return undefined;
    const nodes = this.deps.numaNodes;
    if (has.length > 0) {
      return has.length === count ? deviceHints(devices, { free: has, reusable: [], count }, nodes) : [];
    }
    const taken = this.ledger.taken(resource);
    const free = [...devices.values()].filter(({ id, healthy }) => healthy && !taken.has(id)).map(({ id }) => id);
    return deviceHints(devices, { free, reusable, count }, nodes);
  }

  /** By resource: of init containers, which have ended when the named one runs; a sidecar goes on running. */
  private reusable(pod: Pod, { name }: Container): ReadonlyMap<string, ReadonlySet<string>> {
    const uid = pod.metadata.uid ?? '';
    const found = new Map<string, Set<string>>();
    for (const container of containersOf(pod)) {
      if (container.name === name) break;
      const ends = pod.spec.initContainers?.includes(container) === true && container.restartPolicy !== 'Always';
      for (const [resource, { ids }] of this.ledger.of(uid, container.name)) {
        const free = found.get(resource) ?? new Set();
        found.set(resource, free);
        for (const id of ids) {
          if (ends) free.add(id);
          else free.delete(id);
        }
      }
    }
    return found;
  }

  /** One after the other. What fails takes back all that the pod has. */
  private inTurn(pod: Pod, work: () => Promise<void>): Promise<void> {
    const uid = pod.metadata.uid ?? '';
    const mine = this.last.then(async () => {
      for (const other of this.ledger.uids()) if (other !== uid && !this.deps.isActive(other)) this.ledger.drop(other);
      try {
        await work();
      } catch (error) {
        this.ledger.drop(uid);
        const why = `Allocate failed due to ${messageOf(error)}, which is unexpected`;
        throw new CodedError(error instanceof CodedError ? error.code : 'Internal', why, {}, error);
      } finally {
        await this.write();
      }
    });
    this.last = mine.catch(() => {});
    return mine;
  }

  private async allocateContainer(pod: Pod, container: Container, nodes: NumaMask | undefined): Promise<void> {
    const uid = pod.metadata.uid ?? '';
    const reusable = this.reusable(pod, container);
    for (const { resource, count } of this.wantedBy(container)) {
      const has = this.ledger.of(uid, container.name).get(resource);
      if (has?.ids.length === count) continue;
      const { plugin, devices, options } = this.endpoints.get(resource) ?? {};
      if (plugin === undefined || devices === undefined) {
        throw new CodedError('Unavailable', `cannot allocate unregistered device ${resource}`);
      }
      const ids = await chooseDevices(
        { resource, count, reusable: reusable.get(resource) ?? new Set(), nodes },
        { plugin, devices, asksPreferred: options?.preferredAllocation === true, taken: this.ledger.taken(resource) },
      );
      const begin = this.deps.clock.monotonic();
      let grant: DeviceGrant;
      try {
        grant = await plugin.allocate(ids);
      } catch (error) {
        const code = error instanceof CodedError ? error.code : 'Internal';
        throw new CodedError(code, `rpc ${rpcErrorText(error)}`.replace(/^rpc rpc/, 'rpc'), { resource }, error);
      } finally {
        this.duration.observe({ resource_name: resource }, (this.deps.clock.monotonic() - begin) / 1000);
      }
      const text = await this.deps.host.grantToText(grant);
      this.ledger.set(uid, container.name, resource, { ids, byNode: byNode(ids, devices), grant, text });
    }
  }

  // ── checkpoint ────────────────────────────────────────────────────────────────────────────────────────────────────

  private async restore(): Promise<void> {
    const { host, clock, log } = this.deps;
    const data = await this.checkpoint.read();
    // Without a plugin a resource counts for nothing, until it registers or its time is over.
    for (const resource of Object.keys(data?.RegisteredDevices ?? {})) {
      const options = { preStartRequired: false, preferredAllocation: false };
      const goneAt = clock.monotonic();
      this.endpoints.set(resource, {
        plugin: undefined,
        options,
        stop: new AbortController(),
        devices: new Map(),
        goneAt,
      });
      clock.after(GRACE_MS, () => this.deps.changed());
    }
    for (const entry of data?.PodDeviceEntries ?? []) {
      try {
        const grant = await host.grantFromText(entry.AllocResp);
        const ids = [...new Set(Object.values(entry.DeviceIDs).flat())];
        const allocation: Allocation = { ids, byNode: entry.DeviceIDs, grant, text: entry.AllocResp };
        this.ledger.set(entry.PodUID, entry.ContainerName, entry.ResourceName, allocation);
      } catch (error) {
        log.error(
          { pod: entry.PodUID, container: entry.ContainerName, resource: entry.ResourceName, error: messageOf(error) },
          'what a container has of a device cannot be read',
        );
      }
    }
  }

  private save(): void {
    void this.write();
  }

  private async write(): Promise<void> {
    const registered = [...this.endpoints].map(
      ([resource, { devices }]) =>
        [resource, [...devices.values()].filter(({ healthy }) => healthy).map(({ id }) => id)] as const,
    );
    try {
      await this.checkpoint.write({
        PodDeviceEntries: this.ledger.entries(),
        RegisteredDevices: Object.fromEntries(registered),
      });
    } catch (error) {
      this.deps.log.warn({ error: messageOf(error) }, 'the checkpoint of devices could not be written');
    }
  }
}

function unhealthy(devices: ReadonlyMap<string, PluginDevice>): ReadonlyMap<string, PluginDevice> {
  return new Map([...devices].map(([id, device]) => [id, { ...device, healthy: false }]));
}

function byNode(ids: readonly string[], devices: ReadonlyMap<string, PluginDevice>): Record<string, string[]> {
  const nodes: Record<string, string[]> = {};
  for (const id of ids) {
    const near = devices.get(id)?.numaNodes ?? [];
    for (const node of near.length === 0 ? [NO_NODE] : near.map(String)) nodes[node] = [...(nodes[node] ?? []), id];
  }
  return nodes;
}
