/** The notice above the pages that are for people (apiserver server/statusz, server/flagz). */
const NOTICE =
  'Warning: This endpoint is not meant to be machine parseable, has no formatting compatibility guarantees and is for debugging purposes only.';

export interface StatuszFacts {
  /** Milliseconds since the epoch. */
  readonly startedAt: number;
  readonly now: number;
  readonly binaryVersion: string;
  readonly paths: readonly string[];
}

/** /statusz */
export function statusz(facts: StatuszFacts): string {
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
    `Paths: ${facts.paths.join(' ')}`,
    '',
  ].join('\n');
}

/** /flagz: what was given on the command line. */
export function flagz(flags: Readonly<Record<string, string>>): string {
  const lines = Object.entries(flags)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, value]) => `${name}=${value}`);
  return ['', 'kubelet flagz', NOTICE, '', ...lines, ''].join('\n');
}
