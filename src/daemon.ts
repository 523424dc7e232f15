import type { HealthCheck } from './api/health-checks.ts';
import { HealthServer } from './api/health-server.ts';
import { HealthSlis } from './api/health-slis.ts';
import { ApiEventRecorder } from './cluster/api-event-recorder.ts';
import { ApiPodStatusWriter } from './cluster/api-pod-status-writer.ts';
import type { DrainOptions, NodeDrainDeps } from './cluster/drain/node-drain.ts';
import type { Config } from './config/config.ts';
import type { EffectiveDocument } from './config/effective-documents.ts';
import { openApiClients } from './daemon/api-clients.ts';
import { startCaches } from './daemon/caches.ts';
import { nodeIdentity } from './daemon/certificates.ts';
import type { CleanedUp } from './daemon/clean-up-rules.ts';
import { Closers } from './daemon/closers.ts';
import type { NodePlace } from './daemon/drain.ts';
import type { Foundation } from './daemon/foundation.ts';
import { cgroupDriver } from './daemon/host-requirements.ts';
import { holdLockFile } from './daemon/lock-file.ts';
import { makePodCgroups, openMachine } from './daemon/machine.ts';
import { MeasuredUse } from './daemon/measured-use.ts';
import { openNode, zoneOf } from './daemon/node.ts';
import { serveNodeApi } from './daemon/node-api.ts';
import { nodePods } from './daemon/node-pods.ts';
import { nodeStats } from './daemon/node-stats.ts';
import { openPlugins } from './daemon/plugins.ts';
import { openPodSources } from './daemon/pod-sources.ts';
import { type Pods, startPods } from './daemon/pods.ts';
import { explainServiceIdentity } from './daemon/service-identity.ts';
import { talkToServiceManager } from './daemon/service-manager.ts';
import { rulesFollowed, startServices } from './daemon/services.ts';
import { keepUtilChains } from './daemon/util-chains.ts';
import type { CriRuntime, VersionInfo } from './host/cri/port.ts';
import { RealCri } from './host/cri/real.ts';
import { RealFiles } from './host/files/real.ts';
import { RemoteGuard } from './host/files/remote-guard.ts';
import { RealMounts } from './host/mount/real.ts';
import { type Clock, SystemClock } from './kit/clock.ts';
import { CodedError, messageOf } from './kit/errors.ts';
import type { Logger } from './kit/log.ts';
import { Metrics } from './kit/metrics.ts';
import { isExtendedResource } from './node/extended-resources.ts';
import type { NodeAgent } from './node/node-agent.ts';
import { DevicePluginHandler } from './pods/devices/plugin-handler.ts';
import { LocalReadiness } from './pods/local-readiness.ts';
import type { ServiceLoop } from './services/loop.ts';

export interface DaemonOptions {
  readonly config: Config;
  readonly version: string;
  /** The configuration documents in force, and what was given on the command line: for people to look at. */
  readonly effective: () => readonly EffectiveDocument[];
  readonly flags: Readonly<Record<string, string>>;
  readonly log: Logger;
  /** How much `log` writes from now on (--v). */
  readonly setVerbosity: (verbosity: number) => void;
  /** Aborted: the daemon ends, containers and rules stay. */
  readonly signal: AbortSignal;
}

/** The runtime is asked again this often while it is not there yet. */
const RUNTIME_RETRY_MS = 500;
/** Finding the machine's addresses takes a millisecond or two, and every pod status has them. */
const HOST_IPS_MS = 5000;
/** A pod loop whose runtime has not been listed for this long is not live (kubelet's PLEG: 3 minutes). */
const RUNTIME_SILENCE_MS = 180_000;

/**
 * Builds everything in the order in which it depends on each other, and runs until the signal aborts or a part fails;
 * then ends everything in the reverse order. Resolves after a signal; throws what made it fail.
 */
export async function runDaemon(options: DaemonOptions): Promise<void> {
  const { config, version, log, setVerbosity, signal } = options;
  const clock = new SystemClock();
  const metrics = new Metrics();
  metrics.collectProcess();
  const closers = new Closers(log);
  let fail: (error: unknown) => void = () => {};
  const failure = new Promise<never>((_, reject) => {
    fail = reject;
  });
  failure.catch(() => {});
  const foundation: Foundation = {
    config,
    clock,
    log,
    setVerbosity,
    metrics,
    closers,
    version,
    failed: (what, error) => {
      log.error({ what, error: messageOf(error) }, 'a part of the daemon failed');
      fail(new CodedError('Internal', `${what}: ${messageOf(error)}`, {}, error));
    },
  };
  try {
    await Promise.race([start(foundation, options), failure]);
    await Promise.race([aborted(signal), failure]);
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    await closers.close();
  }
}

/** Reads a folder of manifests as `deckhand run --manifests` would, without an API: what is wrong, a line each. */
export async function checkManifests(
  dir: string,
): Promise<{ readonly mistakes: readonly string[]; readonly objects: number; readonly files: number }> {
  const { formatMistake, ManifestReader, SchemaTree } = await import('./daemon/manifest-check.ts');
  const { manifests, mistakes, files } = await new ManifestReader(new SchemaTree()).read(dir);
  return { mistakes: mistakes.map(formatMistake), objects: manifests.length, files };
}

/** Asks the daemon of this machine on its metrics port ("127.0.0.1:10249"). */
export async function askProxy(address: string, path: string): Promise<string> {
  const colon = address.lastIndexOf(':');
  const port = Number(address.slice(colon + 1));
  const ask = await import('./daemon/ask-proxy.ts');
  return ask.askProxy({ address: address.slice(0, colon).replace(/[[\]]/g, ''), port }, path);
}

/** Takes Service rules away, those of deckhand and, where asked, of kube-proxy. */
export async function cleanUpRules(kubeProxy: boolean): Promise<CleanedUp> {
  return (await import('./daemon/clean-up-rules.ts')).cleanUpRules(kubeProxy);
}

/** Takes the node of this machine out of service; false when pods are left. See NodeDrain. */
export async function drainNode(
  place: NodePlace,
  options: DrainOptions,
  say: Pick<NodeDrainDeps, 'say' | 'warn'>,
): Promise<boolean> {
  return (await import('./daemon/drain.ts')).withNode(place, { ...say, ask: askFor(place) }, (node) =>
    node.drain(options),
  );
}

const askFor =
  ({ metricsAddress }: NodePlace) =>
  (path: string): Promise<string> =>
    askProxy(metricsAddress, path);

/** Lets pods in again (or none, with `true`). */
export async function setUnschedulable(
  place: NodePlace,
  unschedulable: boolean,
  say: Pick<NodeDrainDeps, 'say' | 'warn'>,
): Promise<void> {
  await (await import('./daemon/drain.ts')).withNode(place, { ...say, ask: askFor(place) }, (node) =>
    node.setUnschedulable(unschedulable),
  );
}

async function start(foundation: Foundation, { signal, effective, flags }: DaemonOptions): Promise<void> {
  const { config, clock, log, metrics, closers } = foundation;
  await holdLockFile(foundation, signal);
  const utilChains = keepUtilChains(foundation);
  const files = await makeDirectories(foundation);
  const bareMachine = await openMachine(foundation, files);
  const use = new MeasuredUse(clock);
  const standalone =
    config.kubeconfig === undefined
      ? await (await import('./daemon/standalone.ts')).startStandalone(foundation, () => use.measure())
      : undefined;
  const identity = standalone === undefined ? await nodeIdentity(foundation, signal) : undefined;
  const connection = standalone?.connection ?? identity?.connection;
  if (connection === undefined) throw new CodedError('Internal', 'start: there is no API to connect to');
  const certificates = identity?.certificates;
  const clients = await openApiClients(foundation, { connection, embedded: standalone !== undefined, certificates });
  const api = clients.main;
  identity?.startRotation(api);

  const cri = new RealCri(
    {
      endpoint: config.runtime.endpoint,
      imageEndpoint: config.runtime.imageEndpoint,
      requestTimeoutMs: config.runtime.requestTimeoutMs,
    },
    { clock, log: log.child({ part: 'cri' }), metrics },
  );
  closers.add('runtime connection', () => cri.close());
  const runtimeVersion = await waitForRuntime(foundation, cri, signal);
  const driver = await cgroupDriver(config.cgroups.driver, { cri, machine: bareMachine.port, log });
  const machine = await makePodCgroups(foundation, bareMachine, driver);

  const events = new ApiEventRecorder(
    { nodeName: config.nodeName, ...config.events },
    { api: clients.events, clock, logger: log.child({ part: 'events' }), metrics },
  );
  closers.add('events', () => events.close(1000));
  const caches = startCaches(foundation, clients);
  explainServiceIdentity(foundation, clients.services);
  const embedded = standalone !== undefined;
  const nodeParts = await openNode(foundation, { clients, caches, cri, machine, events, files, embedded }, signal);
  const node = nodeParts.agent;
  const hostIPs = remembered(clock, HOST_IPS_MS, () => node.ips());
  const sources = await openPodSources(foundation, { caches, events, files, embedded });
  const statuses = new ApiPodStatusWriter({
    api,
    pods: caches.pods,
    target: (uid) => sources.pods.statusTarget(uid),
    clock,
    logger: log.child({ part: 'status' }),
    metrics,
  });
  closers.add('status writer', () => statuses.close());

  const localReadiness = new LocalReadiness((error) =>
    log.error({ error: messageOf(error) }, 'a readiness listener failed'),
  );
  // Two that write the same chain for the first time at once would both put a jump to it.
  await utilChains;
  const services = await startServices(foundation, {
    caches,
    events,
    localReadiness,
    node: () => node.current,
    hostIPs,
    podCIDRs: () => node.current?.spec?.podCIDRs ?? config.pods.podCIDR,
    zone: () => zoneOf(node.current),
    cores: machine.facts.cpuCount,
    effective,
  });
  const plugins = openPlugins(foundation, { api, files, metrics: caches.metrics });
  const pods = await startPods(foundation, {
    api,
    cri,
    machine,
    caches,
    events,
    statuses,
    localReadiness,
    endpointsLeft: () => rulesFollowed(services, clock),
    hostIPs,
    runtimeName: runtimeVersion.runtimeName,
    runtimeVersion: runtimeVersion.runtimeVersion,
    node: () => node.current,
    nodeChanged: () => node.refresh(),
    pressure: nodeParts.pressure,
    sources,
    plugins,
  });
  sources.run({ api, loop: pods.loop, statuses, node: () => caches.node.get(config.nodeName) });
  nodeParts.run({ pods, services, hostIPs });
  plugins.run(new DevicePluginHandler(pods.devices, { isExtendedResource }));
  const checks = healthChecks({ pods, services, node });
  await serveHealth(foundation, checks);
  const known = nodePods(sources.pods, pods.loop);
  const { runtime, statistics } = pods;
  const stats = nodeStats(foundation, { cri, machine, pods: known, runtime, statistics });
  use.begin(stats.usage);
  await serveNodeApi(foundation, {
    api,
    cri,
    files,
    pods: known,
    runtime: pods.runtime,
    stats,
    effective,
    flags,
    node: () => node.current,
    checks,
    slis: new HealthSlis(),
    authority: standalone?.authority,
    expectServing: standalone?.expect,
  });
  standalone?.followManifests();
  await talkToServiceManager(foundation, {
    checks,
    status: () => `node ${config.nodeName} is ${node.ready ? '' : 'not '}Ready; pods: ${pods.loop.size}`,
  });
  log.info(
    { node: config.nodeName, runtime: `${runtimeVersion.runtimeName} ${runtimeVersion.runtimeVersion}` },
    'deckhand is up',
  );
}

/** What `ask` answered last, asked again when that is older than `ms`. */
function remembered<T>(clock: Clock, ms: number, ask: () => T): () => T {
  let last: { readonly at: number; readonly answer: T } | undefined;
  return () => {
    const now = clock.monotonic();
    if (last === undefined || now - last.at >= ms) last = { at: now, answer: ask() };
    return last.answer;
  };
}

async function makeDirectories({ config, clock }: Foundation): Promise<RealFiles> {
  const mounts = new RealMounts({}, { clock });
  const files = new RealFiles({ guard: new RemoteGuard({}, { mounts, clock }) });
  await files.makeDirectory(config.rootDir, 0o750, 0o755);
  return files;
}

/** Waits for as long as it takes: containerd may start after deckhand. */
async function waitForRuntime(
  { clock, log, config }: Foundation,
  cri: CriRuntime,
  signal: AbortSignal,
): Promise<VersionInfo> {
  for (let told = false; ; told = true) {
    try {
      return await cri.version(signal);
    } catch (error) {
      if (signal.aborted) throw error;
      if (!told) {
        log.warn(
          { endpoint: config.runtime.endpoint, error: messageOf(error) },
          'the container runtime does not answer yet; waiting for it',
        );
      }
    }
    await clock.sleep(RUNTIME_RETRY_MS, signal);
  }
}

async function serveHealth(
  { config, metrics, clock, log, closers }: Foundation,
  checks: readonly HealthCheck[],
): Promise<void> {
  const { address, port } = config.healthz;
  if (port === 0) return;
  const server = new HealthServer({ address, port }, { checks, metrics, clock, logger: log.child({ part: 'health' }) });
  await server.start();
  closers.add('health server', () => server.close());
}

function healthChecks(parts: { pods: Pods; services: ServiceLoop; node: NodeAgent }): readonly HealthCheck[] {
  const { pods, services, node } = parts;
  return [
    { name: 'ping', kind: 'live', check: () => undefined },
    // kubelet's asks whether its log still gets flushed; here each line is written at once.
    { name: 'log', kind: 'live', check: () => undefined },
    {
      name: 'syncloop',
      kind: 'live',
      check: () => {
        const silence = pods.runtime.staleMs;
        const up = pods.loop.upMs;
        if (up === undefined || silence < RUNTIME_SILENCE_MS) return undefined;
        return `the runtime was last listed ${Math.round(silence / 1000)} s ago; expected within ${RUNTIME_SILENCE_MS / 1000} s`;
      },
    },
    { name: 'node', kind: 'ready', check: () => (node.ready ? undefined : 'the node is not Ready yet') },
    {
      name: 'services',
      kind: 'ready',
      check: () => (services.status().synced ? undefined : 'Service rules have not been written yet'),
    },
  ];
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
