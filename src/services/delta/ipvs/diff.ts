import { type ParsedServer, parseServer, serverText } from './kernel-state.ts';

/** Lines for one virtual server, and how it reads once they are done; undefined: it is gone. */
export interface ServerChange {
  readonly lines: readonly string[];
  readonly after: string | undefined;
}

/**
 * From what a virtual server is to what it is to be; undefined stands for none. A real server of TCP that goes gets no
 * new connections, and is taken away once those that it has are over (`drained`); UDP and SCTP have no such end, and
 * with expire_nodest_conn the next packet of a flow finds another one (pkg/proxy/ipvs/graceful_termination.go).
 */
export function changeServer(id: string, have: string | undefined, want: string | undefined): ServerChange {
  if (want === undefined) return { lines: have === undefined ? [] : [`-D ${id}`], after: undefined };
  if (have === want) return { lines: [], after: have };
  const wanted = parseServer(want);
  const there: ParsedServer = have === undefined ? { options: '', reals: new Map() } : parseServer(have);
  const lines: string[] = [];
  const after = new Map(wanted.reals);
  if (have === undefined) lines.push(`-A ${id} ${wanted.options}`);
  else if (there.options !== wanted.options) lines.push(`-E ${id} ${wanted.options}`);
  for (const [real, weight] of wanted.reals) {
    const now = there.reals.get(real);
    if (now === weight) continue;
    lines.push(`${now === undefined ? '-a' : '-e'} ${id} -r ${real} -m -w ${weight}`);
  }
  const isGraceful = id.startsWith('-t ');
  for (const [real, weight] of there.reals) {
    if (wanted.reals.has(real)) continue;
    if (!isGraceful) lines.push(`-d ${id} -r ${real}`);
    else {
      if (weight !== 0) lines.push(`-e ${id} -r ${real} -m -w 0`);
      after.set(real, 0);
    }
  }
  return { lines, after: serverText({ options: wanted.options, reals: after }) };
}

/** Real servers that wait for the end of their connections. */
export function drainingOf(text: string): readonly string[] {
  return text.endsWith(' 0') || text.includes(' 0\n')
    ? [...parseServer(text).reals].flatMap(([real, weight]) => (weight === 0 ? [real] : []))
    : [];
}

/** The server without these real ones. */
export function withoutReals(text: string, gone: readonly string[]): string {
  const { options, reals } = parseServer(text);
  return serverText({ options, reals: new Map([...reals].filter(([real]) => !gone.includes(real))) });
}
