import { type Exchange, sendText } from '../router.ts';
import { negotiateZPage, type ZPageForm } from './z-page-forms.ts';

/** The notice above the pages that are for people (apiserver server/statusz, server/flagz). */
const NOTICE =
  'Warning: This endpoint is not meant to be machine parseable, has no formatting compatibility guarantees and is for debugging purposes only.';

export interface StatuszFacts {
  /** Milliseconds since the epoch. */
  readonly startedAt: number;
  readonly now: number;
  readonly binaryVersion: string;
  readonly emulationVersion: string;
  readonly paths: readonly string[];
}

/** /statusz, as text or as an object (KEP-4827). */
export async function serveStatusz(exchange: Exchange, facts: StatuszFacts): Promise<void> {
  const { startedAt, now, binaryVersion, emulationVersion, paths } = facts;
  await serve(exchange, 'Statusz', statusz(facts), {
    startTime: `${new Date(startedAt).toISOString().slice(0, 19)}Z`,
    uptimeSeconds: Math.max(0, Math.floor((now - startedAt) / 1000)),
    // The field is required, and there is no Go here.
    goVersion: `Node.js ${process.version}`,
    binaryVersion,
    emulationVersion,
    paths,
  });
}

/** /flagz, as text or as an object (KEP-4828): what was given on the command line. */
export async function serveFlagz(exchange: Exchange, flags: Readonly<Record<string, string>>): Promise<void> {
  const sorted = Object.entries(flags).sort(([a], [b]) => (a < b ? -1 : 1));
  const lines = sorted.map(([name, value]) => `${name}=${value}`);
  const text = ['', 'kubelet flagz', NOTICE, '', ...lines, ''].join('\n');
  await serve(exchange, 'Flagz', text, { flags: Object.fromEntries(sorted) });
}

async function serve(
  { request, response }: Exchange,
  kind: ZPageForm['kind'],
  text: string,
  fields: Readonly<Record<string, unknown>>,
): Promise<void> {
  const form = negotiateZPage(request.headers.accept, kind);
  if (form === 'text') return sendText(response, 200, text);
  if ('refused' in form) {
    const refusal = { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Failure', message: form.refused };
    const body = JSON.stringify({ ...refusal, reason: 'NotAcceptable', code: 406 });
    return sendText(response, 406, body, 'application/json');
  }
  if (form.version === 'v1alpha1') {
    const what = `This version of the ${kind.toLowerCase()} endpoint is deprecated. Please use a newer version.`;
    response.setHeader('warning', `299 - "${what}"`);
  }
  const object = { kind, apiVersion: `config.k8s.io/${form.version}`, metadata: { name: 'kubelet' }, ...fields };
  if (form.type === 'application/json') return sendText(response, 200, `${JSON.stringify(object)}\n`, form.type);
  const { stringify } = await import('yaml');
  sendText(response, 200, stringify(object), form.type);
}

function statusz(facts: StatuszFacts): string {
  const seconds = Math.max(0, Math.floor((facts.now - facts.startedAt) / 1000));
  const days = Math.floor(seconds / 86_400);
  const clock = [Math.floor(seconds / 3600) % 24, Math.floor(seconds / 60) % 60, seconds % 60]
    .map((part) => String(part).padStart(2, '0'))
    .join(':');
  return [
    '',
    'kubelet statusz',
    NOTICE,
    '',
    `Started: ${new Date(facts.startedAt).toUTCString()}`,
    `Up: ${days === 0 ? '' : `${days}d `}${clock}`,
    `Node.js version: ${process.version}`,
    `Binary version: ${facts.binaryVersion}`,
    `Emulation version: ${facts.emulationVersion}`,
    `Paths: ${facts.paths.join(' ')}`,
    '',
  ].join('\n');
}
