import { runningPodList } from '../api/node-info/pod-lists.ts';
import type { Exchange, Handler, Router } from '../api/router.ts';
import { sendPieces, sendText } from '../api/router.ts';
import type { ServeStreamDeps } from '../api/streaming/serve-stream.ts';
import { RealJournal } from '../host/journal/real.ts';
import { RealLogFiles } from '../host/log-file/real.ts';
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
      GET: async ({ response }) =>
        sendText(response, 200, (await import('../api/node-info/z-pages.ts')).flagz(deps.flags)),
    })
    .add('/statusz', {
      GET: async ({ response }) => {
        const { statusz } = await import('../api/node-info/z-pages.ts');
        const binaryVersion = `v${KUBERNETES_VERSION}.0+deckhand.${version}`;
        sendText(response, 200, statusz({ startedAt, now: clock.now(), binaryVersion, paths: router.paths() }));
      },
    });
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
