import { createPublicKey } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { join } from 'node:path';
import type { Clock } from '../../kit/clock.ts';
import { messageOf } from '../../kit/errors.ts';
import type { Logger } from '../../kit/log.ts';
import { alternativeNames, subjectName } from '../../model/x509/names.ts';
import { certificate, EXTENDED_KEY_USAGE, KEY_USAGE, keyIdentifierOf } from '../../model/x509/write-certificate.ts';
import { certificatePair, keyText, newKey } from './certificate-pair.ts';
import { writeDurably } from './certificate-store.ts';

const YEAR_MS = 365 * 24 * 3600_000;
/** Clocks of callers may be behind. */
const BACKDATE_MS = 3600_000;

/**
 * The serving certificate of a node that has no other: CERT-DIR/kubelet.crt and kubelet.key, made once for the node's
 * name and good for a year, as kubelet does it; made anew when they are damaged or have expired. Returns their paths.
 */
export async function selfSignedFiles(
  options: { readonly certDir: string; readonly nodeName: string },
  { clock, log }: { readonly clock: Clock; readonly log: Logger },
): Promise<{ readonly certFile: string; readonly keyFile: string }> {
  const files = { certFile: join(options.certDir, 'kubelet.crt'), keyFile: join(options.certDir, 'kubelet.key') };
  const wrong = await whyUnusable(files, clock.now());
  if (wrong === undefined) return files;
  if (wrong !== '') log.warn({ ...files, error: wrong }, 'the serving certificate cannot be used; making a new one');
  const { cert, key } = await selfSigned(options.nodeName, clock.now());
  // The key first: a crash in between leaves a pair that does not fit, which the next start makes anew.
  await writeDurably(files.keyFile, key);
  await writeDurably(files.certFile, cert);
  log.info({ ...files }, 'made a self-signed serving certificate');
  return files;
}

async function selfSigned(nodeName: string, now: number): Promise<{ readonly cert: string; readonly key: string }> {
  const key = await newKey();
  const publicKey = createPublicKey(key).export({ type: 'spki', format: 'der' });
  const name = subjectName({ commonName: `${nodeName}@${Math.floor(now / 1000)}`, organizations: [] });
  const isAddress = isIP(nodeName) !== 0;
  const names = { dnsNames: isAddress ? [] : [nodeName], ipAddresses: isAddress ? [nodeName] : [] };
  const cert = certificate(
    {
      subject: name,
      publicKey,
      alternativeNames: alternativeNames(names),
      notBefore: now - BACKDATE_MS,
      notAfter: now + YEAR_MS,
      // An authority of its own: callers that are given this very certificate to trust can check it.
      keyUsages: [KEY_USAGE.digitalSignature, KEY_USAGE.keyCertSign],
      extendedKeyUsages: [EXTENDED_KEY_USAGE.serverAuth],
      isAuthority: true,
    },
    { name, key, keyIdentifier: keyIdentifierOf(publicKey) },
  );
  return { cert, key: keyText(key) };
}

/** "": there is none; undefined: it will do. */
async function whyUnusable(files: { certFile: string; keyFile: string }, now: number): Promise<string | undefined> {
  try {
    const pair = certificatePair(await readFile(files.certFile, 'utf8'), await readFile(files.keyFile, 'utf8'));
    return pair.notAfter > now ? undefined : `it has expired at ${new Date(pair.notAfter).toISOString()}`;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT' ? '' : messageOf(error);
  }
}
