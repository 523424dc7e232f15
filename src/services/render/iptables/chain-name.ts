/** SHA-256 of the text's UTF-8 bytes; given from outside, so that rendering needs nothing of Node. */
export type Sha256 = (text: string) => Uint8Array;

const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
const hashLength = 16;

/**
 * A chain's name as kube-proxy makes it: the prefix and the first 16 characters of the base32 text (RFC 4648) of
 * the SHA-256 of what the chain stands for. Ten bytes of the hash make 16 characters.
 */
export function chainName(prefix: string, what: string, sha256: Sha256): string {
  const hash = sha256(what);
  let name = prefix;
  let bits = 0;
  let held = 0;
  for (let index = 0; name.length < prefix.length + hashLength; index++) {
    bits = ((bits << 8) | (hash[index] ?? 0)) & 0xfff;
    held += 8;
    while (held >= 5 && name.length < prefix.length + hashLength) {
      held -= 5;
      name += alphabet[(bits >> held) & 31];
    }
  }
  return name;
}
