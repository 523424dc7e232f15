import type { Exchange, Handler, Router } from '../api/router.ts';
import { sendText } from '../api/router.ts';
import type { ServeStreamDeps } from '../api/streaming/serve-stream.ts';
import { RealLogFiles } from '../host/log-file/real.ts';
import { watchDirectory } from '../host/watch/real.ts';
import type { Foundation } from './foundation.ts';
import type { NodeApiDeps } from './node-api.ts';

/** kubelet InstallDebuggingDisabledHandlers */
const DEBUGGING = ['run', 'exec', 'attach', 'portForward', 'containerLogs', 'runningpods', 'debug/pprof', 'logs'];

/** Adds what concerns single pods: logs and streams. What is rarely used is loaded when it is. */
export function withPodRoutes(router: Router, { config, clock }: Foundation, deps: NodeApiDeps): Router {
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
