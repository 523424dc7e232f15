/**
 * A 53-bit fingerprint of a chain's rules (two rounds of multiplicative hashing, mixed). Holding the fingerprint in
 * place of the text keeps what is believed of ten thousand Services small; it guards against change, not malice.
 */
export function digest(rules: readonly string[]): number {
  let low = 0xdeadbeef;
  let high = 0x41c6ce57;
  for (const rule of rules) {
    for (let index = 0; index < rule.length; index++) {
      const code = rule.charCodeAt(index);
      low = Math.imul(low ^ code, 2_654_435_761);
      high = Math.imul(high ^ code, 1_597_334_677);
    }
    low = Math.imul(low ^ 10, 2_654_435_761);
    high = Math.imul(high ^ 10, 1_597_334_677);
  }
  low = Math.imul(low ^ (low >>> 16), 2_246_822_507) ^ Math.imul(high ^ (high >>> 13), 3_266_489_909);
  high = Math.imul(high ^ (high >>> 16), 2_246_822_507) ^ Math.imul(low ^ (low >>> 13), 3_266_489_909);
  return 4_294_967_296 * (2_097_151 & high) + (low >>> 0);
}
