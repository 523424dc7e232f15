import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';
import { promisify } from 'node:util';
import { deflate, deflateSync, inflate, inflateSync } from 'node:zlib';
import { CodedError, messageOf } from '../../kit/errors.ts';

const MAGIC = Buffer.from('deckhand sealed 1\n');
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
/** What is smaller is done at once: that takes less than a millisecond, and handing it to a thread no less. */
const SMALL_BYTES = 16 * 1024;
const compressAside = promisify(deflate);
const expandAside = promisify(inflate);

/** Compressed, then encrypted and signed with AES-256-GCM under a key derived from `secret` (HKDF-SHA-256, RFC 5869). */
export async function seal(text: string, secret: Buffer): Promise<Buffer> {
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv('aes-256-gcm', keyOf(secret), nonce);
  cipher.setAAD(MAGIC);
  const body = Buffer.concat([
    cipher.update(text.length < SMALL_BYTES ? deflateSync(text) : await compressAside(text)),
    cipher.final(),
  ]);
  return Buffer.concat([MAGIC, nonce, cipher.getAuthTag(), body]);
}

/** Throws InvalidObject when it was not sealed under this secret, was changed, or is larger than `maxBytes` inside. */
export async function unseal(sealed: Buffer, secret: Buffer, maxBytes: number): Promise<string> {
  if (!sealed.subarray(0, MAGIC.length).equals(MAGIC)) throw new CodedError('InvalidObject', 'is not a sealed file');
  const rest = sealed.subarray(MAGIC.length);
  const nonce = rest.subarray(0, NONCE_BYTES);
  const tag = rest.subarray(NONCE_BYTES, NONCE_BYTES + TAG_BYTES);
  try {
    const decipher = createDecipheriv('aes-256-gcm', keyOf(secret), nonce, { authTagLength: TAG_BYTES });
    decipher.setAAD(MAGIC);
    decipher.setAuthTag(tag);
    const body = Buffer.concat([decipher.update(rest.subarray(NONCE_BYTES + TAG_BYTES)), decipher.final()]);
    const limit = { maxOutputLength: maxBytes };
    return (body.length < SMALL_BYTES ? inflateSync(body, limit) : await expandAside(body, limit)).toString();
  } catch (error) {
    throw new CodedError('InvalidObject', `was changed, or is of another key: ${messageOf(error)}`, {}, error);
  }
}

function keyOf(secret: Buffer): Buffer {
  return Buffer.from(hkdfSync('sha256', secret, Buffer.alloc(0), 'deckhand checkpoint', 32));
}
