import type { CsiDrivers, CsiNode, CsiNodeInfo, PluginInfo } from '../../host/csi/port.ts';
import { Emitter, type Unsubscribe } from '../../kit/emitter.ts';
import { CodedError, messageOf } from '../../kit/errors.ts';
import type { Logger } from '../../kit/log.ts';
import type { PluginHandler } from './port.ts';

export interface CsiDriverRegistryDeps {
  /** Connects to a driver's node service. */
  readonly open: (endpoint: string, name: string) => CsiNode & { close(): void };
  /** Tells the cluster which drivers this node has. */
  readonly cluster: {
    install(driver: string, info: CsiNodeInfo, signal?: AbortSignal): Promise<void>;
    uninstall(driver: string): Promise<void>;
  };
  readonly log: Logger;
}

interface Registered {
  readonly endpoint: string;
  readonly version: Version;
  readonly client: CsiNode & { close(): void };
}

type Version = readonly [major: number, minor: number, patch: number];

/** The CSI drivers of this node: taken from the plugin watcher, used by volumes (pkg/volume/csi RegistrationHandler). */
export class CsiDriverRegistry implements PluginHandler, CsiDrivers {
  private readonly deps: CsiDriverRegistryDeps;
  private readonly drivers = new Map<string, Registered>();
  private readonly registrations: Emitter<string>;

  constructor(deps: CsiDriverRegistryDeps) {
    this.deps = deps;
    this.registrations = new Emitter((error) =>
      deps.log.error({ error: messageOf(error) }, 'a listener of CSI registrations threw'),
    );
  }

  get(name: string): CsiNode | undefined {
    return this.drivers.get(name)?.client;
  }

  names(): string[] {
    return [...this.drivers.keys()];
  }

  subscribe(listener: (name: string) => void): Unsubscribe {
    return this.registrations.subscribe(listener);
  }

  validate(plugin: PluginInfo): void {
    this.versionOf(plugin);
  }

  async register(plugin: PluginInfo, signal: AbortSignal): Promise<void> {
    const { open, cluster } = this.deps;
    const { name, endpoint } = plugin;
    const version = this.versionOf(plugin);
    const client = open(endpoint, name);
    const previous = this.drivers.get(name);
    try {
      const info = await client.info(signal);
      await cluster.install(name, info, signal);
    } catch (error) {
      client.close();
      throw error;
    }
    this.drivers.set(name, { endpoint, version, client });
    previous?.client.close();
    this.registrations.emit(name);
  }

  async deregister({ name, endpoint }: PluginInfo): Promise<void> {
    const driver = this.drivers.get(name);
    // A newer driver of the name came on another socket: it stays when the old socket goes.
    if (driver === undefined || driver.endpoint !== endpoint) return;
    this.drivers.delete(name);
    driver.client.close();
    await this.deps.cluster.uninstall(name);
  }

  /** Asks a driver again how many volumes it can have here. */
  async update(name: string): Promise<void> {
    const client = this.drivers.get(name)?.client;
    if (client !== undefined) await this.deps.cluster.install(name, await client.info());
  }

  close(): void {
    for (const { client } of this.drivers.values()) client.close();
    this.drivers.clear();
  }

  private versionOf({ name, endpoint, versions }: PluginInfo): Version {
    const refuse = (why: string): CodedError =>
      new CodedError('InvalidArgument', `CSI driver "${name}" at endpoint ${endpoint}: ${why}`, { driver: name });
    if (versions.length === 0) throw refuse('plugin returned an empty list for supported versions');
    const known = versions.map(parseVersion).filter((version) => version !== undefined && version[0] === 1);
    const highest = known.reduce<Version | undefined>(
      (best, version) => (version !== undefined && (best === undefined || isLess(best, version)) ? version : best),
      undefined,
    );
    if (highest === undefined) {
      throw refuse(`none of the versions specified ${JSON.stringify(versions)} are supported; version 1 is`);
    }
    const other = this.drivers.get(name);
    if (other !== undefined && other.endpoint !== endpoint && !isLess(other.version, highest)) {
      const version = other.version.join('.');
      throw refuse(
        `another driver with the same name is already registered with a higher supported version: "${version}"`,
      );
    }
    return highest;
  }
}

function parseVersion(text: string): Version | undefined {
  const found = /^v?(\d+)(?:\.(\d+))?(?:\.(\d+))?/.exec(text.trim());
  if (found === null) return undefined;
  return [Number(found[1]), Number(found[2] ?? 0), Number(found[3] ?? 0)];
}

function isLess(a: Version, b: Version): boolean {
  const at = a.findIndex((part, index) => part !== b[index]);
  return at !== -1 && (a[at] ?? 0) < (b[at] ?? 0);
}
