import { runningPodList } from '../api/node-info/pod-lists.ts';
import type { Exchange, Handler, Router } from '../api/router.ts';
import { sendPieces, sendText } from '../api/router.ts';
import type { ServeStreamDeps } from '../api/streaming/serve-stream.ts';
import { RealJournal } from '../host/journal/real.ts';
import { RealLogFiles } from '../host/log-file/real.ts';
import type { Profiler } from '../host/profiler/port.ts';
import { watchDirectory } from '../host/watch/real.ts';
import { type Foundation, KUBERNETES_VERSION } from './foundation.ts';
import type { NodeApiDeps } from './node-api.ts';

/** kubelet InstallDebuggingDisabledHandlers */
const DEBUGGING = ['run', 'exec', 'attach', 'portForward', 'containerLogs', 'runningpods', 'debug/pprof', 'logs'];

/** Adds what concerns single pods: logs and streams. What is rarely used is loaded when it is. */
export function withPodRoutes(router: Router, foundation: Foundation, deps: NodeApiDeps): Router {
  const { config, clock } = foundation;
  const { nodeAPI } = config;
  if (!nodeAPI.debuggingHandlers) {
    const disabled: Handler = ({ response }) => sendText(response, 405, 'Debug endpoints are disabled.\n');
    const handlers = { GET: disabled, POST: disabled, PUT: disabled, PATCH: disabled, DELETE: disabled };
    for (const path of DEBUGGING) router.add(`/${path}/*`, handlers);
    return router;
  }
  const { pods, runtime, cri } = deps;
  const logs = {
    files: new RealLogFiles(),
    watch: watchDirectory,
    clock,
    pods,
    runtime,
    cri,
    splitStreams: config.featureGates['PodLogsQuerySplitStreams'] === true,
  };
  const streams: ServeStreamDeps = { pods, runtime, cri, clock, idleMs: nodeAPI.streamIdleMs };
  const streaming =
    (name: 'serveExec' | 'serveAttach' | 'servePortForward' | 'serveRun'): Handler =>
    async (exchange: Exchange) =>
      (await import('../api/streaming/serve-stream.ts'))[name](exchange, streams);
  const both = (handler: Handler) => ({ GET: handler, POST: handler });
  addNodeRoutes(router, foundation, deps);
  router.add('/containerLogs/{namespace}/{pod}/{container}', {
    GET: async (exchange) => (await import('../api/logs/serve-log.ts')).serveLog(exchange, logs),
  });
  for (const uid of ['', '/{uid}']) {
    router
      .add(`/exec/{namespace}/{pod}${uid}/{container}`, both(streaming('serveExec')))
      .add(`/attach/{namespace}/{pod}${uid}/{container}`, both(streaming('serveAttach')))
      .add(`/portForward/{namespace}/{pod}${uid}`, both(streaming('servePortForward')))
      .add(`/run/{namespace}/{pod}${uid}/{container}`, { POST: streaming('serveRun') });
  }
  return router;
}

/** What tells of the node itself. */
function addNodeRoutes(router: Router, foundation: Foundation, deps: NodeApiDeps): void {
  const { config, clock, version } = foundation;
  const { nodeAPI, rootDir } = config;
  const startedAt = clock.now();
  const { pods, runtime, cri, files } = deps;
  router
    .add('/runningpods', { GET: ({ response }) => sendPieces(response, runningPodList(runtime)) })
    .add('/configz', {
      GET: ({ response }) => {
        const of = (kind: string) => deps.effective().find((document) => document.kind === kind);
        const shown = {
          kubeletconfig: of('KubeletConfiguration'),
          'kubeproxy.config.k8s.io': of('KubeProxyConfiguration'),
        };
        sendText(response, 200, JSON.stringify(shown), 'application/json');
      },
    })
    .add('/checkpoint/{namespace}/{pod}/{container}', {
      POST: async (exchange) => {
        const { serveCheckpoint } = await import('../api/node-info/serve-checkpoint.ts');
        await serveCheckpoint(exchange, { pods, runtime, cri, files, clock, rootDir });
      },
    })
    .add('/flagz', {
      GET: async (exchange) => {
        const { serveFlagz } = await import('../api/node-info/z-pages.ts');
        await serveFlagz(exchange, deps.flags);
      },
    })
    .add('/statusz', {
      GET: async (exchange) => {
        const { serveStatusz } = await import('../api/node-info/z-pages.ts');
        const binaryVersion = `v${KUBERNETES_VERSION}.0+deckhand.${version}`;
        const emulationVersion = KUBERNETES_VERSION;
        const facts = { startedAt, now: clock.now(), binaryVersion, emulationVersion, paths: router.paths() };
        await serveStatusz(exchange, facts);
      },
    });
  addDebugRoutes(router, foundation);
  if (!nodeAPI.systemLogHandler) {
    router.add('/logs/*', {
      GET: ({ response }) => sendText(response, 405, 'logs endpoint is disabled.\n'),
    });
    return;
  }
  const journal = new RealJournal();
  const log = foundation.log.child({ part: 'system logs' });
  const systemLogs = { files, contents: new RealLogFiles(), directory: '/var/log', log };
  router.add('/logs/*', {
    GET: async (exchange) => {
      if (!nodeAPI.systemLogQuery) {
        const { serveSystemLogs } = await import('../api/node-info/serve-system-logs.ts');
        return await serveSystemLogs(exchange, systemLogs);
      }
      const { serveNodeLogQuery } = await import('../api/node-info/serve-node-log-query.ts');
      await serveNodeLogQuery(exchange, { ...systemLogs, journal, clock });
    },
  });
}

function addDebugRoutes(router: Router, { config, clock, log, setVerbosity }: Foundation): void {
  const { profilingHandler, debugFlagsHandler } = config.nodeAPI;
  const disabled =
    (what: string): Handler =>
    ({ response }) =>
      sendText(response, 405, `${what} endpoint is disabled.\n`);
  let profiler: Profiler | undefined;
  const profile: Handler = async (exchange) => {
    const { V8Profiler } = await import('../host/profiler/real.ts');
    const { serveProfile } = await import('../api/node-info/serve-profiles.ts');
    profiler ??= new V8Profiler({ clock });
    await serveProfile(exchange, { profiler, argv: process.argv, log });
  };
  router.add('/debug/pprof/*', { GET: profilingHandler ? profile : disabled('profiling') });
  const verbosity: Handler = debugFlagsHandler
    ? async (exchange) => {
        const { serveVerbosity } = await import('../api/node-info/serve-verbosity.ts');
        await serveVerbosity(exchange, (level) => {
          setVerbosity(level);
          log.info({ verbosity: level, by: exchange.caller.username }, 'the verbosity of the log was set');
        });
      }
    : disabled('flags');
  router.add('/debug/flags/v', { GET: verbosity, PUT: verbosity, POST: verbosity, DELETE: verbosity });
}
