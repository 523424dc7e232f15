import type { Profiler } from '../../host/profiler/port.ts';
import { drained } from '../../kit/drained.ts';
import { messageOf } from '../../kit/errors.ts';
import type { Logger } from '../../kit/log.ts';
import { type Exchange, sendText } from '../router.ts';

export interface ServeProfilesDeps {
  readonly profiler: Profiler;
  readonly argv: readonly string[];
  readonly log: Pick<Logger, 'warn'>;
}

const DEFAULT_SECONDS = 30;
const MOST_SECONDS = 120;
const PROFILES = {
  allocs: 'what is allocated and kept for ?seconds=30, sampled: V8 heap profile',
  cmdline: 'the command line',
  goroutine: 'what keeps the process going, by kind: text',
  heap: 'all objects: V8 heap snapshot; the process stands still while it is made',
  profile: 'what runs for ?seconds=30, sampled: V8 CPU profile',
} as const;

/** /debug/pprof/NAME, with V8's profiles in the place of Go's (kubelet server.go InstallProfilingHandler). */
export async function serveProfile({ response, query, path }: Exchange, deps: ServeProfilesDeps): Promise<void> {
  const name = path.replace(/^\/debug\/pprof\/?/, '');
  const { profiler } = deps;
  switch (name) {
    case '':
      return sendText(response, 200, index(), 'text/html; charset=utf-8');
    case 'cmdline':
      return sendText(response, 200, deps.argv.join('\0'));
    case 'goroutine': {
      const lines = [...profiler.active()]
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([kind, count]) => `${count} ${kind}\n`);
      return sendText(response, 200, lines.join(''));
    }
    case 'profile':
    case 'allocs':
    case 'heap':
      break;
    default:
      return sendText(response, 404, 'Unknown profile\n');
  }
  const text = query.get('seconds') ?? String(DEFAULT_SECONDS);
  const seconds = Number(text);
  if (!/^\d+$/.test(text) || seconds < 1 || seconds > MOST_SECONDS) {
    return sendText(response, 400, `seconds is ${JSON.stringify(text)}; expected 1 to ${MOST_SECONDS}\n`);
  }
  if (profiler.busy) return sendText(response, 429, 'a profile is being taken already; try again when it is done\n');
  const gone = new AbortController();
  response.once('close', () => gone.abort(new Error('the client went away')));
  const extension = { profile: 'cpuprofile', allocs: 'heapprofile', heap: 'heapsnapshot' }[name];
  response.writeHead(200, {
    'content-type': 'application/octet-stream',
    'content-disposition': `attachment; filename="deckhand.${extension}"`,
    'x-content-type-options': 'nosniff',
  });
  // It is long in coming: who waits is told that it does.
  response.flushHeaders();
  const sink = async (chunk: Buffer | string): Promise<void> => {
    if (!response.write(chunk)) await drained(response);
  };
  try {
    if (name === 'heap') await profiler.heap(sink, gone.signal);
    else {
      const take = name === 'profile' ? profiler.cpu : profiler.allocations;
      await sink(await take.call(profiler, seconds * 1000, gone.signal));
    }
    response.end();
  } catch (error) {
    if (!gone.signal.aborted) deps.log.warn({ profile: name, error: messageOf(error) }, 'a profile could not be taken');
    // Once the head is out there is no other way to tell.
    response.destroy();
  }
}

function index(): string {
  const rows = Object.entries(PROFILES).map(([name, what]) => `<li><a href="${name}">${name}</a>: ${what}</li>\n`);
  return `<!doctype html>\n<title>/debug/pprof/</title>\n<ul>\n${rows.join('')}</ul>\n`;
}
