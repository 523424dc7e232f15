import type { Socket } from 'node:net';
import { CodedError } from '../kit/errors.ts';

interface Endpoint {
  readonly host: string;
  readonly port: number;
}

const HEAD_LIMIT = 16 * 1024;

/** Opens a tunnel by CONNECT (RFC 9110 9.3.6). Throws Unavailable, never with the proxy's password. */
export async function connectThroughHttp(socket: Socket, proxy: URL, { host, port }: Endpoint): Promise<void> {
  const target = host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
  const lines = [`CONNECT ${target} HTTP/1.1`, `Host: ${target}`];
  if (proxy.username !== '') {
    const text = `${decodeURIComponent(proxy.username)}:${decodeURIComponent(proxy.password)}`;
    lines.push(`Proxy-Authorization: Basic ${Buffer.from(text).toString('base64')}`);
  }
  socket.write(`${lines.join('\r\n')}\r\n\r\n`);
  const reader = new ByteReader(socket);
  try {
    let head = Buffer.alloc(0);
    while (!head.includes('\r\n\r\n')) {
      head = Buffer.concat([head, await reader.take(1)]);
      if (head.length > HEAD_LIMIT) throw refused(proxy, 'its answer to CONNECT does not end');
    }
    const status = /^HTTP\/1\.[01] (\d{3})([^\r\n]*)/.exec(head.toString('latin1'));
    if (status?.[1] !== '200') throw refused(proxy, `it answered CONNECT with ${status?.[1] ?? 'no HTTP'}`);
  } finally {
    reader.release();
  }
}

/** SOCKS5 (RFC 1928), with user name and password (RFC 1929) where the URL has them; names are resolved by the proxy. */
export async function connectThroughSocks(socket: Socket, proxy: URL, { host, port }: Endpoint): Promise<void> {
  const reader = new ByteReader(socket);
  try {
    const named = proxy.username !== '';
    socket.write(Buffer.from(named ? [5, 2, 0, 2] : [5, 1, 0]));
    const [version, method] = await reader.take(2);
    if (version !== 5) throw refused(proxy, 'it does not speak SOCKS5');
    if (method === 2 && named) await login(socket, reader, proxy);
    else if (method !== 0) throw refused(proxy, 'it takes none of our ways to log in');
    const name = Buffer.from(host);
    socket.write(Buffer.concat([Buffer.from([5, 1, 0, 3, name.length]), name, Buffer.from([port >> 8, port & 255])]));
    const [, reply, , kind] = await reader.take(4);
    if (reply !== 0) throw refused(proxy, `it answered with SOCKS error ${reply}`);
    const length = kind === 1 ? 4 : kind === 4 ? 16 : ((await reader.take(1))[0] ?? 0);
    await reader.take(length + 2);
  } finally {
    reader.release();
  }
}

async function login(socket: Socket, reader: ByteReader, proxy: URL): Promise<void> {
  const name = Buffer.from(decodeURIComponent(proxy.username));
  const password = Buffer.from(decodeURIComponent(proxy.password));
  if (name.length > 255 || password.length > 255) throw refused(proxy, 'its user name or password is over 255 bytes');
  socket.write(Buffer.concat([Buffer.from([1, name.length]), name, Buffer.from([password.length]), password]));
  const [, status] = await reader.take(2);
  if (status !== 0) throw refused(proxy, 'it refused the user name or password');
}

function refused(proxy: URL, why: string): CodedError {
  return new CodedError('Unavailable', `proxy ${proxy.protocol}//${proxy.host}: ${why}`, { proxy: proxy.host });
}

/** Takes exact numbers of bytes from a socket and leaves the rest in it. */
class ByteReader {
  private readonly socket: Socket;
  private wake: () => void = () => {};
  private failure: Error | undefined;
  private readonly onReadable = (): void => this.wake();
  private readonly onError = (error: Error): void => {
    this.failure = error;
    this.wake();
  };
  private readonly onClose = (): void => {
    this.failure ??= new Error('the proxy closed the connection');
    this.wake();
  };

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on('readable', this.onReadable);
    socket.on('error', this.onError);
    socket.on('end', this.onClose);
    socket.on('close', this.onClose);
  }

  async take(length: number): Promise<Buffer> {
    if (length === 0) return Buffer.alloc(0);
    for (;;) {
      const chunk = this.socket.read(length) as Buffer | null;
      if (chunk !== null && chunk.length === length) return chunk;
      if (this.failure !== undefined) throw this.failure;
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    }
  }

  release(): void {
    this.socket.off('readable', this.onReadable);
    this.socket.off('error', this.onError);
    this.socket.off('end', this.onClose);
    this.socket.off('close', this.onClose);
  }
}
