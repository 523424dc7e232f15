import type { EventRecorder } from '../cluster/port.ts';
import type { Files } from '../host/files/port.ts';
import { nodeReference } from '../node/node-agent.ts';
import { shutdownPeriods } from '../node/shutdown/shutdown-groups.ts';
import type { PodLoop } from '../pods/loop.ts';
import type { RuntimeCache } from '../pods/observe/runtime-cache.ts';
import { type Foundation, runPart } from './foundation.ts';

export interface ShutdownParts {
  readonly loop: PodLoop;
  readonly runtime: RuntimeCache;
  readonly files: Files;
  readonly events: EventRecorder;
  readonly refreshNode: () => void;
}

/** Holds up shutdowns of the machine where the configuration gives pods time; answers whether one is under way. */
export async function startShutdown(foundation: Foundation, parts: ShutdownParts): Promise<() => boolean> {
  const { config, clock, log, metrics } = foundation;
  const gate = (name: string): boolean => config.featureGates[name] !== false;
  const byPriority = gate('GracefulNodeShutdownBasedOnPodPriority') ? config.shutdown.byPriority : [];
  const periods = shutdownPeriods({ ...config.shutdown, byPriority });
  if (periods.length === 0 || !gate('GracefulNodeShutdown')) return () => false;
  // Most nodes have no use for a D-Bus.
  const [{ RealLogind }, { ShutdownManager }, { ShutdownStateFile }] = await Promise.all([
    import('../host/logind/real.ts'),
    import('../node/shutdown/shutdown-manager.ts'),
    import('../node/shutdown/shutdown-state.ts'),
  ]);
  const { loop, events, refreshNode, files, runtime } = parts;
  const manager = new ShutdownManager(
    { periods, keepState: gate('GracefulNodeShutdownBasedOnPodPriority') },
    {
      logind: new RealLogind({}, { clock }),
      pods: {
        activePods: () => loop.unfinishedPods(),
        end: (uid, end) => loop.evict(uid, end),
        isReclaimed: (uid) => loop.isReclaimed(uid),
      },
      event: ({ type, reason, message }) => events.event(nodeReference(config.nodeName), type, reason, message),
      refreshNode,
      state: new ShutdownStateFile(config.rootDir, files),
      clock,
      metrics,
      log: log.child({ part: 'shutdown' }),
    },
  );
  runPart(foundation, 'graceful shutdown', async (signal) => {
    await runtime.whenListed();
    await manager.run(signal);
  });
  return () => manager.shuttingDown;
}
