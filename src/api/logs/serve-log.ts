import type { ServerResponse } from 'node:http';
import type { CriRuntime } from '../../host/cri/port.ts';
import { drained } from '../../kit/drained.ts';
import { messageOf } from '../../kit/errors.ts';
import type { NodePods, RuntimeView } from '../port.ts';
import { type Exchange, sendText } from '../router.ts';
import { parseLogOptions } from './log-options.ts';
import { type LogReaderDeps, readLog } from './log-reader.ts';
import { hasContainer, loggedContainerId } from './logged-container.ts';

export interface ServeLogDeps extends LogReaderDeps {
  readonly pods: NodePods;
  readonly runtime: RuntimeView;
  readonly cri: Pick<CriRuntime, 'containerStatus'>;
  /** Feature gate PodLogsQuerySplitStreams. */
  readonly splitStreams: boolean;
}

/** Answers /containerLogs/{namespace}/{pod}/{container} (kubelet server.go getContainerLogs). */
export async function serveLog({ response, query, parameters }: Exchange, deps: ServeLogDeps): Promise<void> {
  const { namespace = '', pod: podName = '', container = '' } = parameters;
  const parsed = parseLogOptions(query, deps.clock.now(), deps.splitStreams);
  if ('error' in parsed) return sendText(response, parsed.error.status, parsed.error.message);
  const { options } = parsed;
  const pod = deps.pods.find(namespace, podName);
  if (pod === undefined) return sendText(response, 404, `pod ${JSON.stringify(podName)} does not exist`);
  if (!hasContainer(pod, container)) {
    const message = `container ${JSON.stringify(container)} not found in pod ${JSON.stringify(podName)}`;
    return sendText(response, 404, message);
  }
  const gone = new AbortController();
  response.once('close', () => gone.abort());
  try {
    const id = loggedContainerId(pod, container, options.previous);
    const { logPath } = await deps.cri.containerStatus(id);
    const uid = pod.metadata.uid ?? '';
    const logged = {
      path: logPath,
      isRunning: () => isRunning(deps.runtime, uid, id),
      subscribe: (listener: () => void) =>
        deps.runtime.subscribe((changed) => {
          if (changed === uid) listener();
        }),
    };
    await readLog(logged, options, (chunk) => give(response, chunk), deps, gone.signal);
    response.end();
  } catch (error) {
    if (gone.signal.aborted) return;
    // Once something was sent there is no other way to tell that not all of it was.
    if (response.headersSent) response.destroy();
    else sendText(response, 400, messageOf(error));
  }
}

async function give(response: ServerResponse, chunk: Buffer): Promise<void> {
  if (!response.headersSent) {
    response.writeHead(200, { 'content-type': 'text/plain; charset=utf-8', 'x-content-type-options': 'nosniff' });
    response.flushHeaders();
  }
  if (chunk.length > 0 && !response.write(chunk)) await drained(response);
}

function isRunning(runtime: RuntimeView, uid: string, id: string): boolean {
  const container = runtime.get(uid)?.containers.find((one) => one.id === id);
  return container !== undefined && (container.state !== 'EXITED' || container.provisional);
}
