/**
 * The words of Go's net package for the errors of Node's, because that is what people who read probe events know (and
 * search for): "dial tcp 10.0.0.7:80: connect: connection refused".
 */
const WORDS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connection refused',
  ECONNRESET: 'connection reset by peer',
  EHOSTUNREACH: 'no route to host',
  ENETUNREACH: 'network is unreachable',
  ETIMEDOUT: 'connection timed out',
  EPIPE: 'broken pipe',
  EADDRNOTAVAIL: 'cannot assign requested address',
  EMFILE: 'too many open files',
};

const MALFORMED = /^HPE_/;

export function codeOf(error: unknown): string {
  const code = error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined;
  return typeof code === 'string' ? code : '';
}

/** "host:port", IPv6 in brackets. */
export function addressOf(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

export function describeNetworkError(error: unknown, address: string): string {
  const code = codeOf(error);
  const { syscall, message } = error as NodeJS.ErrnoException;
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') {
    return `dial tcp: lookup ${address.replace(/:\d+$/, '')}: ${code === 'ENOTFOUND' ? 'no such host' : 'server misbehaving'}`;
  }
  // Node's HTTP client calls an end without an answer "socket hang up" and gives it the code of a reset.
  if (message === 'socket hang up') return 'EOF';
  const words = WORDS[code];
  if (words !== undefined && syscall === 'connect') return `dial tcp ${address}: connect: ${words}`;
  if (words !== undefined) return `${syscall ?? 'read'} tcp ${address}: ${words}`;
  if (MALFORMED.test(code)) return `malformed HTTP response: ${message}`;
  return `${address}: ${message}`;
}

/** OpenSSL's ways to say that what came was no TLS record. */
export function spokeNoTls(error: unknown): boolean {
  const message = error instanceof Error ? error.message : '';
  return (
    codeOf(error) === 'ERR_SSL_WRONG_VERSION_NUMBER' ||
    /wrong version number|packet length too long|http request/i.test(message)
  );
}
