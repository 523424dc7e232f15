import type { Files } from '../../host/files/port.ts';
import { hasCode } from '../../kit/errors.ts';

/** When the last shutdown was seen to begin and when pods had ended; milliseconds since the epoch. */
export interface ShutdownState {
  readonly startedAt: number | undefined;
  readonly endedAt: number | undefined;
}

/** How Go writes a time that is none. */
const NO_TIME = '0001-01-01T00:00:00Z';

/** kubelet's graceful_node_shutdown_state, which the metrics of the next start tell of (nodeshutdown/storage.go). */
export class ShutdownStateFile {
  private readonly path: string;
  private readonly files: Pick<Files, 'read' | 'write' | 'rename'>;

  constructor(rootDir: string, files: Pick<Files, 'read' | 'write' | 'rename'>) {
    this.path = `${rootDir}/graceful_node_shutdown_state`;
    this.files = files;
  }

  async write({ startedAt, endedAt }: ShutdownState): Promise<void> {
    const text = JSON.stringify({ startTime: timeText(startedAt), endTime: timeText(endedAt) });
    const temporary = `${this.path}.new`;
    await this.files.write(temporary, text, 0o644);
    await this.files.rename(temporary, this.path);
  }

  /** Nothing where there is no file. Throws when it cannot be read. */
  async read(): Promise<ShutdownState> {
    try {
      const found: unknown = JSON.parse((await this.files.read(this.path, { maxBytes: 4096 })).toString());
      const field = (name: string): unknown =>
        typeof found === 'object' && found !== null ? (found as Record<string, unknown>)[name] : undefined;
      return { startedAt: timeOf(field('startTime')), endedAt: timeOf(field('endTime')) };
    } catch (error) {
      if (hasCode(error, 'NotFound')) return { startedAt: undefined, endedAt: undefined };
      throw error;
    }
  }
}

function timeText(ms: number | undefined): string {
  return ms === undefined ? NO_TIME : new Date(ms).toISOString();
}

function timeOf(text: unknown): number | undefined {
  if (typeof text !== 'string' || text === NO_TIME) return undefined;
  const ms = Date.parse(text);
  return Number.isNaN(ms) ? undefined : ms;
}
