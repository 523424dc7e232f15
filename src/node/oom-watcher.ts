import type { KmsgPort } from '../host/kmsg/port.ts';
import { messageOf } from '../kit/errors.ts';
import type { Logger } from '../kit/log.ts';
import { OomParser } from './oom-parser.ts';

export interface OomWatcherDeps {
  readonly kmsg: KmsgPort;
  /** About the node. */
  readonly event: (event: { readonly type: 'Warning'; readonly reason: string; readonly message: string }) => void;
  readonly log: Logger;
}

/** Tells of processes that the kernel killed because the machine was out of memory (kubelet oom/oom_watcher_linux.go). */
export class OomWatcher {
  private readonly deps: OomWatcherDeps;

  constructor(deps: OomWatcherDeps) {
    this.deps = deps;
  }

  /** Watches until aborted; a kernel log that cannot be read is a warning, once, and the end of it. */
  async run(signal: AbortSignal): Promise<void> {
    const { kmsg, event, log } = this.deps;
    const parser = new OomParser();
    try {
      for await (const message of kmsg.messages(signal)) {
        const kill = parser.take(message);
        if (kill === undefined) continue;
        log.info({ ...kill }, 'the kernel killed a process for want of memory');
        // In a cgroup it is the container's own affair, which its status tells.
        if (kill.cgroup !== '/') continue;
        const victim =
          kill.process === '' || kill.pid === 0 ? '' : `, victim process: ${kill.process}, pid: ${kill.pid}`;
        event({ type: 'Warning', reason: 'SystemOOM', message: `System OOM encountered${victim}` });
      }
    } catch (error) {
      if (signal.aborted) return;
      log.warn({ error: messageOf(error) }, 'the kernel log cannot be read; the node has no SystemOOM events');
    }
  }
}
