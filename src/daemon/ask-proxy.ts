import { CodedError, messageOf } from '../kit/errors.ts';

/** Asks the daemon of this machine on its metrics port. Throws Unavailable without one, and what it refuses in its words. */
export async function askProxy(
  place: { readonly address: string; readonly port: number },
  path: string,
): Promise<string> {
  const host = place.address === '0.0.0.0' ? '127.0.0.1' : place.address === '::' ? '::1' : place.address;
  const origin = `http://${host.includes(':') ? `[${host}]` : host}:${place.port}`;
  let response: Response;
  try {
    response = await fetch(`${origin}${path}`);
  } catch (error) {
    throw new CodedError(
      'Unavailable',
      `ask deckhand at ${origin} (metricsBindAddress): ${messageOf(error)}; it must run on this machine`,
      {},
      error,
    );
  }
  const body = await response.text();
  if (response.ok) return body;
  let message = body;
  try {
    message = String((JSON.parse(body) as { message?: unknown }).message);
  } catch {
    // Another program answers on that port.
  }
  throw new CodedError(response.status === 404 ? 'NotFound' : 'InvalidArgument', message.trim());
}
