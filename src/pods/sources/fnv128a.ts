const PRIME = 0x1000000000000000000013bn;
const BASIS = 0x6c62272e07bb014262b821756295c58dn;
const MASK = (1n << 128n) - 1n;

/** FNV-1a with 128 bits (draft-eastlake-fnv), in hex: Go's hash/fnv New128a. */
export function fnv128a(text: string): string {
  let hash = BASIS;
  for (const byte of Buffer.from(text)) hash = ((hash ^ BigInt(byte)) * PRIME) & MASK;
  return hash.toString(16).padStart(32, '0');
}
