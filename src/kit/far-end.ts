import type { Socket } from 'node:net';

/** What tells a connection from all others of its server, under TLS and without: "address port". */
export function farEnd({ remoteAddress, remotePort }: Pick<Socket, 'remoteAddress' | 'remotePort'>): string {
  return `${remoteAddress} ${remotePort}`;
}
