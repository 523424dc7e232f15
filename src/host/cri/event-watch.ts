import { RetryDelays } from '../../kit/backoff.ts';
import type { Clock } from '../../kit/clock.ts';
import { hasCode, messageOf } from '../../kit/errors.ts';
import type { Logger } from '../../kit/log.ts';
import type { Channel } from './channel.ts';
import { CONTAINERD_EVENT_FILTERS, ContainerdEvents } from './containerd-events.ts';
import { eventFromWire } from './convert-response.ts';
import { Events, RuntimeService } from './generated/services.js';
import type { CriRuntime, RuntimeEventListener } from './port.ts';

export interface EventWatchDeps {
  readonly channel: Channel;
  readonly cri: Pick<CriRuntime, 'version' | 'containerStatus' | 'podSandboxStatus'>;
  readonly clock: Clock;
  readonly log: Logger;
}

type Source = 'cri' | 'containerd';

/** A stream that lasted so long was a working one: the next attempt comes without back-off. */
const WORKING_MS = 5_000;

/** A refusal of the stream may come a little later than the answer to a call made after it. */
const REFUSAL_MS = 10;

/**
 * Listens to the best source of events that the runtime has, and reconnects until `signal` aborts. containerd's own
 * events come first: they tell of an exit 40 ms before the CRI does and every listener gets all of them. The CRI stream
 * of containerd 1.7 is one queue for all: it begins with up to 1,000 events from before, and a listener that has gone
 * still takes the next one. After each break the search begins anew, as another runtime may have been started.
 */
export async function watchRuntimeEvents(
  deps: EventWatchDeps,
  listener: RuntimeEventListener,
  signal: AbortSignal,
): Promise<'aborted' | 'unsupported'> {
  const { clock, log } = deps;
  const delays = new RetryDelays({ baseMs: 100, maxMs: 1000 });
  let source: Source = 'containerd';
  while (!signal.aborted) {
    const started = clock.monotonic();
    const { connected, reason } = await connectOnce(deps, source, listener, signal);
    if (signal.aborted) break;
    if (hasCode(reason, 'Unimplemented')) {
      if (source === 'cri') return 'unsupported';
      source = 'cri';
      continue;
    }
    const fields = { source, error: messageOf(reason) };
    if (connected) log.info(fields, 'stream of runtime events ended, connecting again');
    else log.debug(fields, 'no stream of runtime events yet, trying again');
    if (clock.monotonic() - started >= WORKING_MS) delays.reset();
    source = 'containerd';
    await clock.sleep(delays.next(), signal).catch(() => undefined);
  }
  return 'aborted';
}

/** Listens until the stream ends; tells whether it had begun, and why it ended. */
async function connectOnce(
  deps: EventWatchDeps,
  source: Source,
  listener: RuntimeEventListener,
  signal: AbortSignal,
): Promise<{ readonly connected: boolean; readonly reason: unknown }> {
  const { cri, clock, log } = deps;
  const attempt = new AbortController();
  const either = AbortSignal.any([signal, attempt.signal]);
  let connected = false;
  // A stream says nothing until its first event. A call made after it on the same connection is answered after the
  // server has the stream, so what happens from then on is seen.
  const connect = async (): Promise<unknown> => {
    try {
      await cri.version(either);
      await clock.sleep(REFUSAL_MS, either);
    } catch (error) {
      attempt.abort();
      return error;
    }
    connected = true;
    log.info({ source }, 'listening to runtime events');
    listener.onGap();
    return undefined;
  };
  const streaming = openStream(deps, source, listener, either).then(
    () => undefined,
    (error: unknown) => error,
  );
  const connecting = connect();
  const refused = await streaming;
  attempt.abort();
  return { connected, reason: refused ?? (await connecting) ?? new Error('the runtime ended the stream') };
}

function openStream(
  deps: EventWatchDeps,
  source: Source,
  listener: RuntimeEventListener,
  signal: AbortSignal,
): Promise<void> {
  if (source === 'cri') {
    return deps.channel.stream(
      RuntimeService.GetContainerEvents,
      {},
      {
        signal,
        onMessage: (message) => {
          const event = eventFromWire(message);
          if (event !== undefined) listener.onEvent(event);
        },
      },
    );
  }
  const events = new ContainerdEvents(deps, (event) => listener.onEvent(event), signal);
  return deps.channel.stream(
    Events.Subscribe,
    { filters: CONTAINERD_EVENT_FILTERS },
    { signal, onMessage: (envelope) => events.receive(envelope) },
  );
}
