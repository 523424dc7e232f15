import type { CriRuntime } from '../../host/cri/port.ts';
import type { Files } from '../../host/files/port.ts';
import type { Clock } from '../../kit/clock.ts';
import { messageOf } from '../../kit/errors.ts';
import { rfc3339 } from '../../model/time.ts';
import { hasContainer } from '../logs/logged-container.ts';
import type { NodePods, RuntimeView } from '../port.ts';
import { type Exchange, sendText } from '../router.ts';

export interface ServeCheckpointDeps {
  readonly pods: NodePods;
  readonly runtime: RuntimeView;
  readonly cri: Pick<CriRuntime, 'checkpointContainer'>;
  readonly files: Pick<Files, 'makeDirectory'>;
  readonly clock: Pick<Clock, 'now'>;
  /** --root-dir; checkpoints are in a folder of it. */
  readonly rootDir: string;
}

/** Without ?timeout= the runtime's own. */
const NO_TIMEOUT = 0;

/** POST /checkpoint/{namespace}/{pod}/{container}?timeout=SECONDS (KEP-2008) */
export async function serveCheckpoint(exchange: Exchange, deps: ServeCheckpointDeps): Promise<void> {
  const { response, query, parameters } = exchange;
  const { namespace = '', pod: podName = '', container = '' } = parameters;
  const pod = deps.pods.find(namespace, podName);
  if (pod === undefined) return sendText(response, 404, 'pod does not exist');
  if (!hasContainer(pod, container)) return sendText(response, 404, `container ${container} does not exist`);
  const timeout = query.getAll('timeout').at(-1);
  if (timeout !== undefined && !/^-?\d{1,15}$/.test(timeout)) {
    return sendText(response, 404, 'cannot parse value of timeout parameter');
  }
  try {
    const running = deps.runtime
      .get(pod.metadata.uid ?? '')
      ?.containers.find(({ name, state }) => name === container && state === 'RUNNING');
    if (running === undefined) throw new Error(`container ${container} not found`);
    const directory = `${deps.rootDir}/checkpoints`;
    await deps.files.makeDirectory(directory, 0o700, 0o750);
    const name = `checkpoint-${podName}_${namespace}-${container}-${rfc3339(deps.clock.now())}.tar`;
    const location = `${directory}/${name}`;
    await deps.cri.checkpointContainer(running.id, location, timeout === undefined ? NO_TIMEOUT : Number(timeout));
    sendText(response, 200, JSON.stringify({ items: [location] }), 'application/json');
  } catch (error) {
    const what = `checkpointing of ${namespace}/${podName}/${container} failed (${messageOf(error)})`;
    sendText(response, 500, what);
  }
}
