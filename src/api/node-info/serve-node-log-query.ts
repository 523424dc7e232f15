import type { ServerResponse } from 'node:http';
import type { Writable } from 'node:stream';
import { constants, createGzip } from 'node:zlib';
import type { JournalPort } from '../../host/journal/port.ts';
import type { Clock } from '../../kit/clock.ts';
import { drained } from '../../kit/drained.ts';
import { hasCode, messageOf } from '../../kit/errors.ts';
import { type Exchange, sendText } from '../router.ts';
import { fileRefusal, type NodeLogQuery, parseNodeLogQuery } from './node-log-query.ts';
import { copyLogFile, type ServeSystemLogsDeps, serveSystemLogs } from './serve-system-logs.ts';

export interface ServeNodeLogQueryDeps extends ServeSystemLogsDeps {
  readonly journal: JournalPort;
  readonly clock: Pick<Clock, 'after'>;
}

/** All of an answer must be out by then. */
const DEADLINE_MS = 30_000;

/**
 * /logs/PATH?query=…: logs of services from the journal, of services that do not write to it from files of /var/log
 * (KEP-2258). Without a query it is a file of /var/log as always.
 */
export async function serveNodeLogQuery(exchange: Exchange, deps: ServeNodeLogQueryDeps): Promise<void> {
  const { response } = exchange;
  const parsed = parseNodeLogQuery(exchange.query);
  if (parsed === undefined) return await serveSystemLogs(exchange, deps);
  if ('refusal' in parsed) return sendText(response, parsed.refusal.status, `${parsed.refusal.message}\n`);
  const { query } = parsed;
  const [file] = query.files;
  if (file !== undefined) return await serveFile(exchange, file, deps);
  const over = new AbortController();
  const timer = deps.clock.after(DEADLINE_MS, () => over.abort(new Error('context deadline exceeded')));
  response.once('close', () => over.abort(new Error('the client went away')));
  const zipped = exchange.request.headers['accept-encoding'] === 'gzip';
  response.writeHead(200, {
    'content-type': 'text/plain;charset=UTF-8',
    'x-content-type-options': 'nosniff',
    ...(zipped ? { 'content-encoding': 'gzip' } : {}),
  });
  // The first entry may be long in coming.
  response.flushHeaders();
  const out = zipped ? gzipInto(response) : response;
  const sink = async (chunk: Buffer | string): Promise<void> => {
    if (!out.write(chunk)) await drained(out);
  };
  try {
    await answer(query, sink, deps, over.signal);
  } catch (error) {
    if (!response.destroyed && !over.signal.aborted) await sink(`\nerror: journal output not available\n`);
    deps.log.debug({ error: messageOf(error) }, 'a query of logs ended early');
  } finally {
    timer.cancel();
    out.end();
  }
}

async function serveFile(exchange: Exchange, file: string, deps: ServeNodeLogQueryDeps): Promise<void> {
  const relative = file.replaceAll('\\', '/').replace(/^\/+/, '');
  try {
    const resolved = await deps.files.resolveBeneath(deps.directory, relative);
    if (resolved !== '') await (await deps.files.openBeneath(deps.directory, resolved)).close();
  } catch (error) {
    const why = hasCode(error, 'NotFound')
      ? `stat ${deps.directory}/${relative}: no such file or directory`
      : 'path escapes from parent';
    const { status, message } = fileRefusal(file, why);
    return sendText(exchange.response, status, `${message}\n`);
  }
  const path = `/logs/${relative}`;
  await serveSystemLogs({ ...exchange, path }, deps);
}

type Sink = (chunk: Buffer | string) => Promise<void>;

async function answer(
  { services, options }: NodeLogQuery,
  sink: Sink,
  deps: ServeNodeLogQueryDeps,
  signal: AbortSignal,
): Promise<void> {
  const known = await deps.journal.known(services, signal);
  const inFiles = services.filter((service) => !known.has(service));
  if (inFiles.length > 0 && Object.keys(options).length > 0) {
    const list = `[${inFiles.join(' ')}]`;
    return await sink(
      `\noptions present and query resolved to log files for ${list}\ntry without specifying options\n`,
    );
  }
  for (const service of inFiles) await copyFirst(service, sink, deps, signal);
  const inJournal = services.filter((service) => known.has(service));
  if (inJournal.length > 0) await deps.journal.read({ services: inJournal, ...options }, sink, signal);
}

/** /var/log/SERVICE, SERVICE.log or SERVICE/SERVICE.log, whichever is there first. */
async function copyFirst(service: string, sink: Sink, deps: ServeNodeLogQueryDeps, signal: AbortSignal): Promise<void> {
  for (const name of [service, `${service}.log`, `${service}/${service}.log`]) {
    try {
      if (await copyFile(name, sink, deps, signal)) return;
    } catch (error) {
      signal.throwIfAborted();
      return await sink(`\nerror getting log for ${service}: ${messageOf(error)}\n`);
    }
  }
  await sink(`\nlog not found for ${service}\n`);
}

/** False: there is no such file. */
async function copyFile(name: string, sink: Sink, deps: ServeNodeLogQueryDeps, signal: AbortSignal): Promise<boolean> {
  const { files, directory } = deps;
  try {
    const opened = await files.openBeneath(directory, await files.resolveBeneath(directory, name));
    try {
      if (opened.info.kind !== 'file') return false;
      await copyLogFile(deps, opened.path, opened.info.size, sink, signal);
      return true;
    } finally {
      await opened.close();
    }
  } catch (error) {
    if (hasCode(error, 'NotFound')) return false;
    throw error;
  }
}

function gzipInto(response: ServerResponse): Writable {
  const gzip = createGzip({ level: constants.Z_BEST_SPEED });
  gzip.on('error', () => response.destroy());
  response.once('close', () => gzip.destroy());
  gzip.pipe(response);
  return gzip;
}
