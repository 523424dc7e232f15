import type { Server } from 'node:net';
import { CodedError, messageOf } from '../kit/errors.ts';
import type { Logger } from '../kit/log.ts';

/**
 * Makes a server listen; later errors of it are logged. `what` it serves and what `otherwise` chooses another place are
 * for the message. Throws Unavailable when the address cannot be had.
 */
export async function listen(
  server: Server,
  place: { readonly address: string; readonly port: number },
  words: { readonly what: string; readonly otherwise: string },
  log: Logger,
): Promise<void> {
  const { address, port } = place;
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) => {
      const text = `serving ${words.what} on ${address}:${port}: ${messageOf(error)}; ${words.otherwise} choose another`;
      reject(new CodedError('Unavailable', text, { address, port }, error));
    });
    server.listen(port, address, () => {
      server.removeAllListeners('error');
      server.on('error', (error) => log.warn({ error: messageOf(error) }, `the server of ${words.what} met an error`));
      resolve();
    });
  });
}
