/** Which streams of a command are asked for (kubelet's names: input, output, error, tty). */
export interface StreamOptions {
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
  readonly tty: boolean;
}

/** A terminal has no standard error of its own. undefined: none is asked for. */
export function parseStreamOptions(query: URLSearchParams): StreamOptions | undefined {
  const is = (name: string): boolean => query.get(name) === '1';
  const tty = is('tty');
  const options = { stdin: is('input'), stdout: is('output'), stderr: is('error') && !tty, tty };
  return options.stdin || options.stdout || options.stderr ? options : undefined;
}

/** Ports that WebSocket port-forwarding names in its URL (server portforward NewV4Options). Throws what is no port. */
export function parsePorts(query: URLSearchParams): readonly number[] | string {
  const ports: number[] = [];
  for (const text of query.getAll('port').flatMap((one) => one.split(','))) {
    const port = Number(text);
    if (!/^\d+$/.test(text) || port > 65_535) return `unable to parse ${JSON.stringify(text)} as a port`;
    if (port < 1) return `port ${JSON.stringify(text)} must be > 0`;
    ports.push(port);
  }
  return ports.length === 0 ? 'query parameter "port" is required' : ports;
}
