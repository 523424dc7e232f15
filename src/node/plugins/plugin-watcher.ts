import type { PluginInfo, PluginRegistration } from '../../host/csi/port.ts';
import type { FileInfo, Files } from '../../host/files/port.ts';
import type { WatchDirectory } from '../../host/watch/port.ts';
import { afterFailure, type BackoffEntry } from '../../kit/backoff.ts';
import type { Clock } from '../../kit/clock.ts';
import { CodedError, messageOf } from '../../kit/errors.ts';
import type { Logger } from '../../kit/log.ts';
import type { PluginHandler } from './port.ts';

export interface PluginWatcherOptions {
  /** plugins_registry/ below kubelet's root directory. */
  readonly directory: string;
}

export interface PluginWatcherDeps {
  readonly files: Pick<Files, 'list' | 'lstat' | 'makeDirectory'>;
  readonly watch: WatchDirectory;
  readonly registration: PluginRegistration;
  /** By the type that a plugin gives. */
  readonly handlers: Readonly<Record<string, PluginHandler>>;
  readonly clock: Clock;
  readonly log: Logger;
}

/** A socket and how far its plugin is; another socket in its place is another entry. */
interface Entry {
  readonly identity: string;
  readonly stop: AbortController;
  done: Promise<void>;
  registered: { readonly plugin: PluginInfo; readonly handler: PluginHandler } | undefined;
  failure: BackoffEntry | undefined;
  retryAt: number;
}

/** inotify tells of changes at once; what it misses is found this much later. */
const RESCAN_MS = 10_000;
/** pluginmanager/reconciler: 500 ms, doubled up to 2 min 2 s. */
const RETRY = { baseMs: 500, maxMs: 122_000 };
/** Folders in folders are followed as kubelet does; a loop of mounts must not be. */
const DEEPEST = 5;

/**
 * Registers the plugins whose sockets are below plugins_registry/ and deregisters those whose sockets are gone. A plugin
 * that hangs holds up nobody but itself.
 */
export class PluginWatcher {
  private readonly directory: string;
  private readonly deps: PluginWatcherDeps;
  private readonly entries = new Map<string, Entry>();
  private readonly watches = new Map<string, { close(): void }>();
  private wake: () => void = () => {};
  private woken = false;

  constructor({ directory }: PluginWatcherOptions, deps: PluginWatcherDeps) {
    this.directory = directory;
    this.deps = deps;
  }

  /** Runs until aborted. Plugins stay registered in the cluster: deckhand goes, they do not. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, log, files } = this.deps;
    try {
      while (!signal.aborted) {
        this.woken = false;
        try {
          await files.makeDirectory(this.directory, 0o750);
          await this.look();
        } catch (error) {
          log.warn({ directory: this.directory, error: messageOf(error) }, 'plugin sockets cannot be listed');
        }
        await this.pause(this.nextRetry(clock.monotonic()), signal);
      }
    } finally {
      for (const watch of this.watches.values()) watch.close();
      for (const entry of this.entries.values()) entry.stop.abort();
      await Promise.all([...this.entries.values()].map(({ done }) => done));
    }
  }

  private async look(): Promise<void> {
    const sockets = new Map<string, string>();
    const folders = new Set<string>();
    await this.collect(this.directory, 0, sockets, folders);
    for (const [folder, watch] of this.watches) {
      if (folders.has(folder)) continue;
      watch.close();
      this.watches.delete(folder);
    }
    for (const [socket, entry] of this.entries) if (sockets.get(socket) !== entry.identity) this.end(socket, entry);
    const now = this.deps.clock.monotonic();
    for (const [socket, identity] of sockets) {
      const entry = this.entries.get(socket) ?? this.begin(socket, identity);
      const idle = entry.registered === undefined && entry.retryAt <= now;
      if (idle) this.register(socket, entry);
    }
  }

  private async collect(
    folder: string,
    depth: number,
    sockets: Map<string, string>,
    folders: Set<string>,
  ): Promise<void> {
    const { files } = this.deps;
    // Watched before it is listed: what comes in between is told of.
    this.watch(folder);
    folders.add(folder);
    for (const name of (await files.list(folder)) ?? []) {
      if (name.startsWith('.')) continue;
      const path = `${folder}/${name}`;
      const info = await files.lstat(path);
      if (info?.kind === 'socket') sockets.set(path, identityOf(info));
      else if (info?.kind === 'directory' && depth < DEEPEST) await this.collect(path, depth + 1, sockets, folders);
    }
  }

  private watch(folder: string): void {
    if (this.watches.has(folder)) return;
    const changed = (): void => {
      this.woken = true;
      this.wake();
    };
    this.watches.set(
      folder,
      this.deps.watch(folder, changed, () => this.watches.delete(folder)),
    );
  }

  private begin(socket: string, identity: string): Entry {
    const entry: Entry = {
      identity,
      stop: new AbortController(),
      done: Promise.resolve(),
      registered: undefined,
      failure: undefined,
      retryAt: 0,
    };
    this.entries.set(socket, entry);
    return entry;
  }

  private end(socket: string, entry: Entry): void {
    this.entries.delete(socket);
    entry.stop.abort();
    void entry.done.then(async () => {
      const { plugin, handler } = entry.registered ?? {};
      if (plugin === undefined || handler === undefined) return;
      this.deps.log.info({ plugin: plugin.name, type: plugin.type, socket }, 'a plugin is gone');
      await handler.deregister(plugin).catch((error: unknown) => {
        this.deps.log.warn({ plugin: plugin.name, error: messageOf(error) }, 'a plugin could not be deregistered');
      });
    });
  }

  private register(socket: string, entry: Entry): void {
    const { clock, log } = this.deps;
    entry.retryAt = Number.POSITIVE_INFINITY;
    entry.done = this.tryToRegister(socket, entry).then(
      () => {
        entry.failure = undefined;
      },
      (error: unknown) => {
        if (entry.stop.signal.aborted) return;
        entry.failure = afterFailure(entry.failure, clock.monotonic(), RETRY);
        entry.retryAt = clock.monotonic() + entry.failure.delayMs;
        log.warn({ socket, error: messageOf(error), inMs: entry.failure.delayMs }, 'a plugin could not be registered');
        this.wake();
      },
    );
  }

  private async tryToRegister(socket: string, entry: Entry): Promise<void> {
    const { registration, handlers, log } = this.deps;
    const { signal } = entry.stop;
    const given = await registration.info(socket, signal);
    const plugin = given.endpoint === '' ? { ...given, endpoint: socket } : given;
    const handler = handlers[plugin.type];
    try {
      if (handler === undefined) {
        const known = Object.keys(handlers).join(', ');
        throw new CodedError(
          'Unimplemented',
          `no handler registered for plugin type: ${plugin.type} at socket ${socket}; there are handlers for ${known}`,
          { plugin: plugin.name, type: plugin.type },
        );
      }
      try {
        handler.validate(plugin);
      } catch (error) {
        throw failed('plugin validation failed with err', error);
      }
      try {
        await handler.register(plugin, signal);
      } catch (error) {
        throw failed('plugin registration failed with err', error);
      }
    } catch (error) {
      if (!signal.aborted) await registration.notify(socket, `RegisterPlugin error -- ${messageOf(error)}`, signal);
      throw error;
    }
    entry.registered = { plugin, handler };
    try {
      await registration.notify(socket, '', signal);
    } catch (error) {
      entry.registered = undefined;
      await handler.deregister(plugin);
      throw error;
    }
    log.info({ plugin: plugin.name, type: plugin.type, socket }, 'a plugin has registered');
  }

  private nextRetry(now: number): number {
    const waits = [...this.entries.values()].map(({ retryAt }) => retryAt - now);
    return Math.max(0, Math.min(RESCAN_MS, ...waits));
  }

  private pause(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const end = (): void => {
        timer.cancel();
        signal.removeEventListener('abort', end);
        this.wake = () => {};
        resolve();
      };
      const timer = this.deps.clock.after(ms, end);
      this.wake = end;
      signal.addEventListener('abort', end, { once: true });
      if (signal.aborted || this.woken) end();
    });
  }
}

function identityOf({ device, inode, bornAt }: FileInfo): string {
  return `${device}:${inode}:${bornAt}`;
}

function failed(what: string, error: unknown): CodedError {
  const { code, metadata } = error instanceof CodedError ? error : new CodedError('Internal', '');
  return new CodedError(code, `${what}: ${messageOf(error)}`, metadata, error);
}
