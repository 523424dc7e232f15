import { parseDuration } from '../config/duration.ts';
import { CodedError } from '../kit/errors.ts';

export interface PlaceOptions {
  readonly kubeconfig?: string;
  readonly hostnameOverride?: string;
  readonly metricsAddress: string;
}

export interface DrainCommandOptions extends PlaceOptions {
  readonly force?: true;
  readonly deleteEmptydirData?: true;
  readonly disableEviction?: true;
  readonly gracePeriod: string;
  readonly timeout: string;
}

const lines = {
  say: (line: string) => void process.stdout.write(`${line}\n`),
  warn: (line: string) => void process.stderr.write(`${line}\n`),
};

/** `deckhand drain`: `kubectl drain` of this node, with the identity that the node has. 1 when pods are left. */
export async function drain(options: DrainCommandOptions): Promise<number> {
  const timeoutMs = parseDuration(options.timeout);
  if (timeoutMs === undefined || timeoutMs < 0) {
    throw new CodedError('InvalidArgument', `--timeout is ${options.timeout}; expected a duration such as 90s or 5m`);
  }
  const grace = Number(options.gracePeriod);
  if (!Number.isInteger(grace) || options.gracePeriod.trim() === '') {
    throw new CodedError('InvalidArgument', `--grace-period is ${options.gracePeriod}; expected whole seconds`);
  }
  const { drainNode } = await import('../daemon.ts');
  const drained = await drainNode(
    placeOf(options),
    {
      force: options.force === true,
      deleteEmptyDirData: options.deleteEmptydirData === true,
      disableEviction: options.disableEviction === true,
      gracePeriodSeconds: grace < 0 ? undefined : grace,
      timeoutMs,
    },
    lines,
  );
  return drained ? 0 : 1;
}

/** `deckhand cordon` and `deckhand uncordon`. */
export async function cordon(which: 'cordon' | 'uncordon', options: PlaceOptions): Promise<number> {
  const { setUnschedulable } = await import('../daemon.ts');
  await setUnschedulable(placeOf(options), which === 'cordon', lines);
  return 0;
}

function placeOf({ kubeconfig, hostnameOverride: nodeName, metricsAddress }: PlaceOptions) {
  return { kubeconfig, nodeName, metricsAddress };
}
